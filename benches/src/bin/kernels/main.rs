//! Times the kernels against the library's matrix product and against MKL's routines: one thread, the same process,
//! interleaved rounds, medians. Rates count useful flops only; packing is in the time.
//!
//! `kernels [--mkl DIR] [NB [IB [ROUNDS [NAME]]]]`, by default 512 32 21 and all kernels, without MKL.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this binary is for"
)]

mod mkl;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use peerwren_benches::figures::median;
use peerwren_benches::machine::machine;
use peerwren_kernels::op::LINE_BYTES;
use peerwren_kernels::{KernelOp, KernelSet, Shape, TaskShapes, TaskTiles, TileMut, TileRef};

use crate::mkl::{Mkl, Routine, Work};

const USAGE: &str = "usage: kernels [--mkl DIR] [NB [IB [ROUNDS [NAME]]]]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args == ["--help"] {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let done = match &args[..] {
        [probe, path, answer] if probe == mkl::PROBE => {
            mkl::answer_probe(path, answer).map(|found| println!("{found}"))
        }
        _ => Options::parse(args).and_then(|options| options.run()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

struct Options {
    mkl: Option<PathBuf>,
    nb: u32,
    ib: u32,
    rounds: u32,
    name: Option<String>,
}

impl Options {
    fn parse(args: Vec<String>) -> Result<Options, String> {
        let mut options = Options {
            mkl: None,
            nb: 512,
            ib: 32,
            rounds: 21,
            name: None,
        };
        let mut args = args.into_iter();
        let mut places = ["NB", "IB", "ROUNDS", "NAME"].into_iter();
        while let Some(arg) = args.next() {
            if arg == "--mkl" {
                let folder = args
                    .next()
                    .ok_or_else(|| format!("--mkl: expected a folder after it; {USAGE}"))?;
                options.mkl = Some(folder.into());
                continue;
            }
            let place = places.next().unwrap_or("nothing more");
            let number = match place {
                "NB" => &mut options.nb,
                "IB" => &mut options.ib,
                "ROUNDS" => &mut options.rounds,
                "NAME" if KernelSet::standard().get(&arg).is_some() => {
                    options.name = Some(arg);
                    continue;
                }
                _ => return Err(format!("expected {place}, got {arg}; {USAGE}")),
            };
            *number = arg
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| {
                    format!("{place}: expected a positive number, got {arg}; {USAGE}")
                })?;
        }
        Ok(options)
    }

    fn run(&self) -> Result<(), String> {
        let kernels = KernelSet::standard();
        let nb = self.nb as usize;
        println!("{}", machine());
        let loaded = self.mkl.as_deref().map(Mkl::best).transpose()?;
        match &loaded {
            Some((_, told)) => println!("MKL: {told}"),
            None => println!(
                "MKL: left out; --mkl DIR names the folder of libmkl_rt.so (python3 -m venv DIR; DIR/bin/pip install mkl)"
            ),
        }
        let mut cases = cases(&kernels, self.nb, self.ib);
        if let Some(name) = &self.name {
            cases.retain(|case| case.op.name() == name);
        }
        let rival = |case: &Case<'_>| {
            let (mkl, _) = loaded.as_ref()?;
            let routine = Routine::of(case.op.name())?;
            let works = routine.inner(nb).into_iter();
            let works = works.map(|ib| (ib, Work::new(mkl, routine, nb, ib), Vec::new()));
            Some(works.collect())
        };
        let mut rows: Vec<Row<'_, '_>> = cases
            .into_iter()
            .map(|case| Row {
                rivals: rival(&case).unwrap_or_default(),
                case,
                rates: Vec::new(),
            })
            .collect();
        let mut product = Product::new(nb);
        let mut product_rates = Vec::new();
        for _ in 0..self.rounds {
            for row in &mut rows {
                product_rates.push(product.rate());
                row.time();
            }
        }
        self.print(median(&product_rates), &rows);
        Ok(())
    }

    fn print(&self, reference: f64, rows: &[Row<'_, '_>]) {
        let Options { nb, ib, rounds, .. } = self;
        println!(
            "nb {nb}, ib {ib}, one thread, medians of {rounds} interleaved rounds, useful flops"
        );
        println!(
            "{:22} {:>9} {:>10} {:>9} {:>7} {:>7} {:>9}",
            "kernel", "GFLOP/s", "to matmul", "MKL", "its ib", "to MKL", "at least"
        );
        println!("{:22} {reference:9.1} {:10.2}", "faer matmul", 1.0);
        for row in rows {
            let rate = median(&row.rates);
            print!(
                "{:22} {rate:9.1} {:10.2}",
                row.case.op.name(),
                rate / reference
            );
            let best = row.rivals.iter().map(|(ib, _, rates)| (median(rates), ib));
            if let Some((best, ib)) = best.max_by(|x, y| x.0.total_cmp(&y.0)) {
                let goal = row
                    .case
                    .goal
                    .map_or(String::new(), |goal| format!("{goal:9.2}"));
                let ib = if *ib == 0 {
                    String::new()
                } else {
                    ib.to_string()
                };
                print!(" {best:9.1} {ib:>7} {:7.2} {goal}", rate / best);
            }
            println!();
        }
    }
}

/// A kernel and MKL's routine for it with each inner block, and the rates of both.
struct Row<'a, 'b> {
    case: Case<'a>,
    rates: Vec<f64>,
    rivals: Vec<(usize, Work<'b>, Vec<f64>)>,
}

impl Row<'_, '_> {
    /// One round: each is timed after a run of its own that warms the caches.
    fn time(&mut self) {
        self.rates.push(self.case.rate());
        for (_, work, rates) in &mut self.rivals {
            work.run();
            work.prepare();
            let start = clock();
            work.run();
            rates.push(self.case.flops as f64 / (clock() - start) / 1e9);
            work.prepare();
        }
    }
}

/// The kernels with the ratios to MKL that the project asks for at nb = 512.
fn cases(kernels: &KernelSet, nb: u32, ib: u32) -> Vec<Case<'_>> {
    let (full, upper, tfac) = (
        Shape::full(nb, nb),
        Shape::upper(nb, nb),
        Shape::tfac(nb, ib),
    );
    let (a, b) = (&noise(full, 1), &noise(full, 2));
    let run = |name: &str, inputs: &[&Tile], outputs: &[Shape]| {
        let mut case = Case::new(kernels, name, inputs, outputs, None);
        case.run();
        case.outputs
    };
    let qr = run("geqrt", &[a], &[Shape::unit(nb, nb), tfac, upper]);
    let ts = run("tsqrt", &[&qr[2], b], &[full, tfac, upper]);
    let other = run("geqrt", &[b], &[Shape::unit(nb, nb), tfac, upper]);
    let tt = run("ttqrt", &[&qr[2], &other[2]], &[upper, tfac, upper]);
    let leaf = run("qr_factor", &[a], &[full, full, full]);
    let tall = Shape::full(2 * nb, nb);
    let pair = run("qr_factor_triangular", &[&leaf[2], b], &[tall, full, full]);
    let case = |name, inputs: &[&Tile], outputs: &[Shape], goal| {
        Case::new(kernels, name, inputs, outputs, goal)
    };
    vec![
        case(
            "geqrt",
            &[a],
            &[Shape::unit(nb, nb), tfac, upper],
            Some(1.5),
        ),
        case("unmqr", &[&qr[0], &qr[1], b], &[full], Some(1.5)),
        case("unmqr_n", &[&qr[0], &qr[1], b], &[full], None),
        case("tsqrt", &[&qr[2], b], &[full, tfac, upper], Some(1.2)),
        case("tsmqr", &[&ts[0], &ts[1], a, b], &[full, full], Some(1.15)),
        case("tsmqr_n", &[&ts[0], &ts[1], a, b], &[full, full], None),
        case(
            "ttqrt",
            &[&qr[2], &other[2]],
            &[upper, tfac, upper],
            Some(1.3),
        ),
        case("ttmqr", &[&tt[0], &tt[1], a, b], &[full, full], Some(1.2)),
        case("ttmqr_n", &[&tt[0], &tt[1], a, b], &[full, full], None),
        case("qr_factor", &[a], &[full, full, full], None),
        case(
            "qr_factor_triangular",
            &[&leaf[2], b],
            &[tall, full, full],
            None,
        ),
        case("qr_leaf", &[&leaf[0], &leaf[1], b], &[full], None),
        case(
            "qr_trailing_update",
            &[&pair[0], &pair[1], a, b],
            &[full, full],
            None,
        ),
    ]
    .into_iter()
    .chain(others(kernels, nb, (a, b), (&ts[0], &ts[1])))
    .collect()
}

/// Products, Cholesky, LU and triangular systems, and LQ's application of QR's V and T.
fn others<'a>(
    kernels: &'a KernelSet,
    nb: u32,
    (a, b): (&Tile, &Tile),
    (v, t): (&Tile, &Tile),
) -> Vec<Case<'a>> {
    let (full, lower, upper) = (
        Shape::full(nb, nb),
        Shape::lower(nb, nb),
        Shape::upper(nb, nb),
    );
    let l = &dominant(lower);
    let lu = [Shape::index(nb), Shape::unit(nb, nb), upper];
    let mut place = 0;
    let places = Words::new(nb as usize, || {
        place += 1;
        f64::from_bits(place)
    });
    let order = &(Shape::index(nb), places);
    let playoff = [full, Shape::index(nb)];
    let rows: [(&str, &[&Tile], &[Shape]); 12] = [
        ("gemm", &[a, a, b], &[full]),
        ("gemm_sub", &[a, a, b], &[full]),
        ("gemm_sub_nt", &[a, a, b], &[full]),
        ("gemm_sub_tn", &[a, a, b], &[full]),
        ("syrk", &[l, a], &[lower]),
        ("potrf", &[l], &[lower]),
        ("trsm", &[l, a], &[full]),
        ("trsm_lower", &[l, a], &[full]),
        ("trsm_right", &[&dominant(upper), a], &[full]),
        ("getrf", &[a], &lu),
        ("playoff", &[a, order, b, order], &playoff),
        ("tsmlq", &[v, t, a, b], &[full, full]),
    ];
    rows.into_iter()
        .map(|(name, inputs, outputs)| Case::new(kernels, name, inputs, outputs, None))
        .collect()
}

/// A triangle whose diagonal outweighs the rest, so that it has a Cholesky factor and tame solutions.
fn dominant(shape: Shape) -> Tile {
    let n = shape.rows as usize;
    let mut dense = noise(Shape::full(shape.rows, shape.cols), 3);
    dense
        .1
        .get_mut()
        .iter_mut()
        .step_by(n + 1)
        .for_each(|x| *x = n as f64);
    let mut words = Words::new(shape.words(), || 0.0);
    TileMut::new(shape, words.get_mut()).pack(dense.1.get(), n);
    (shape, words)
}

/// Seconds that this thread has computed, where the system tells it (Linux), so that others on the
/// machine disturb less; else seconds on the clock.
fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    // The count is brought up to date when a thread yields.
    std::thread::yield_now();
    let computed = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = computed
        .as_deref()
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |n| n as f64 / 1e9)
}

type Tile = (Shape, Words);

/// Words that begin at a cache line, as the library's matrices do and a worker's tiles.
struct Words {
    data: Vec<f64>,
    skip: usize,
}

impl Words {
    fn new(len: usize, mut word: impl FnMut() -> f64) -> Words {
        let mut data = vec![0.0; len + LINE_BYTES / 8 - 1];
        let skip = data.as_ptr().align_offset(LINE_BYTES);
        data.truncate(skip + len);
        data[skip..].fill_with(&mut word);
        Words { data, skip }
    }

    fn get(&self) -> &[f64] {
        &self.data[self.skip..]
    }

    fn get_mut(&mut self) -> &mut [f64] {
        &mut self.data[self.skip..]
    }

    fn copy(&self) -> Words {
        let mut words = self.get().iter();
        Words::new(words.len(), || words.next().copied().unwrap_or(0.0))
    }
}

/// Entries in [-1, 1) from a linear congruence.
fn noise(shape: Shape, seed: u64) -> Tile {
    let mut state = seed;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (shape, Words::new(shape.words(), next))
}

/// A kernel with its tiles, ready to run again and again.
struct Case<'a> {
    op: &'a KernelOp,
    inputs: Vec<Tile>,
    outputs: Vec<Tile>,
    scratch: Vec<f64>,
    flops: u64,
    goal: Option<f64>,
}

impl<'a> Case<'a> {
    fn new(
        kernels: &'a KernelSet,
        name: &str,
        inputs: &[&Tile],
        outputs: &[Shape],
        goal: Option<f64>,
    ) -> Case<'a> {
        let op = kernels.get(name).expect("a kernel of the standard set");
        let input_shapes: Vec<_> = inputs.iter().map(|tile| Some(tile.0)).collect();
        let output_shapes: Vec<_> = outputs.iter().copied().map(Some).collect();
        let shapes = TaskShapes {
            inputs: &input_shapes,
            outputs: &output_shapes,
        };
        op.check(&shapes).expect("shapes that fit");
        Case {
            op,
            inputs: inputs
                .iter()
                .map(|(shape, words)| (*shape, words.copy()))
                .collect(),
            outputs: outputs
                .iter()
                .map(|shape| (*shape, Words::new(shape.words(), || 0.0)))
                .collect(),
            scratch: vec![0.0; op.scratch_words(&shapes)],
            flops: op.flops(&shapes),
            goal,
        }
    }

    fn run(&mut self) {
        let inputs: Vec<_> = self
            .inputs
            .iter()
            .map(|(shape, data)| Some(TileRef::new(*shape, data.get())))
            .collect();
        let mut outputs: Vec<_> = self
            .outputs
            .iter_mut()
            .map(|(shape, data)| Some(TileMut::new(*shape, data.get_mut())))
            .collect();
        let mut tiles = TaskTiles {
            inputs: &inputs,
            outputs: &mut outputs,
            scratch: &mut self.scratch,
        };
        self.op.run(&mut tiles).expect("finite tiles");
    }

    /// GFLOP/s of one run, after another that warms the caches.
    fn rate(&mut self) -> f64 {
        self.run();
        let start = clock();
        self.run();
        self.flops as f64 / (clock() - start) / 1e9
    }
}

/// C = A B of the library.
struct Product {
    a: Mat<f64>,
    b: Mat<f64>,
    c: Mat<f64>,
}

impl Product {
    fn new(n: usize) -> Product {
        let entry = |i: usize, j: usize| ((i * 31 + j * 17) % 101) as f64 / 101.0 - 0.5;
        Product {
            a: Mat::from_fn(n, n, entry),
            b: Mat::from_fn(n, n, entry),
            c: Mat::zeros(n, n),
        }
    }

    fn run(&mut self) {
        matmul(
            self.c.as_mut(),
            Accum::Replace,
            self.a.as_ref(),
            self.b.as_ref(),
            1.0,
            Par::Seq,
        );
    }

    /// GFLOP/s of one run, after another that warms the caches.
    fn rate(&mut self) -> f64 {
        self.run();
        let start = clock();
        self.run();
        2.0 * (self.a.nrows() as f64).powi(3) / (clock() - start) / 1e9
    }
}
