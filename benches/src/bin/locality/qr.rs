//! Bytes that QR moves between workers, beside what is asked of it and what ScaLAPACK moves. Owns the
//! cases alone.

use peerwren_benches::figures::{listed, median, table};

use crate::options::{Bench, MIB, figures, largest};

/// A QR on a grid of workers.
struct Case {
    n: u32,
    block: u32,
    ib: u32,
    grid: [u32; 2],
    engine: &'static str,
    /// Bytes between workers in times the matrix that are the most, and ScaLAPACK's own (pdgeqrf, counted
    /// by an MPI profiling wrapper); none at sizes for a smoke run.
    bound: Option<[f64; 2]>,
}

impl Case {
    fn new(n: u32, block: u32, ib: u32, grid: [u32; 2], bound: [f64; 2]) -> Self {
        Self {
            n,
            block,
            ib,
            grid,
            engine: "processes",
            bound: Some(bound),
        }
    }

    fn name(&self) -> String {
        let Self {
            n, grid: [p, q], ..
        } = self;
        format!("{n} on {p}x{q}")
    }

    fn line(&self) -> String {
        let Self {
            n,
            block,
            ib,
            grid: [p, q],
            engine,
            ..
        } = self;
        let store = if *engine == "threads" {
            " --store memory --memory 2GiB"
        } else {
            ""
        };
        format!(
            "qr random:{n}x{n}:1 --block {block} --ib {ib} --tree grid:{p}x{q} --workers {} --cores 1 \
             --engine {engine}{store}",
            p * q
        )
    }
}

/// The cases of the comparison with ScaLAPACK; more workers than a machine has memory for are threads.
fn cases(small: bool) -> Vec<Case> {
    let mut cases = vec![
        Case::new(4096, 256, 32, [2, 2], [1.12, 1.52]),
        Case::new(4096, 256, 32, [1, 4], [1.62, 1.55]),
        Case::new(4096, 256, 32, [4, 4], [3.5, 4.56]),
        Case::new(8192, 128, 16, [8, 8], [8.5, 10.6]),
    ];
    cases[3].engine = "threads";
    if small {
        for case in &mut cases {
            (case.n, case.block, case.ib, case.bound) = (512, 32, 4, None);
        }
    }
    cases
}

/// Prints the table.
pub(crate) fn run(bench: &Bench) -> Result<(), String> {
    let mut rows = Vec::new();
    for case in bench.wanted(cases(bench.small), Case::name)? {
        rows.push(row(bench, &case)?);
    }
    let head = "| QR | block, ib | workers | MiB between workers | times the matrix | owners alone | at most | ScaLAPACK | s |";
    println!("\n{}", table(head, &rows));
    println!(
        "\nThe largest of {} runs, the median of their seconds. Owners alone: peerwren's own count with every \
         task at its home. ScaLAPACK: pdgeqrf on as many processes.",
        bench.repeat
    );
    Ok(())
}

fn row(bench: &Bench, case: &Case) -> Result<String, String> {
    let line = case.line();
    let model = bench.model(&line)?;
    let reports = bench.repeated(&line)?;
    let matrix = reports[0].matrix_bytes()?;
    let bytes = figures(&reports, |report| report.peer_bytes())?;
    let times: Vec<f64> = bytes.iter().map(|bytes| bytes / matrix).collect();
    let seconds = figures(&reports, |report| report.positive("/factor_s"))?;
    println!("    between workers, bytes: {}", listed(&bytes, 0));
    println!("    times the matrix: {}", listed(&times, 4));
    println!("    s: {}", listed(&seconds, 3));
    let owners = model.number("/bytes/peer/peer/bytes")? / matrix;
    let told = |at: usize| {
        case.bound
            .map_or("-".to_owned(), |bound| bound[at].to_string())
    };
    let Case {
        n,
        block,
        ib,
        grid: [p, q],
        engine,
        ..
    } = case;
    Ok(format!(
        "| {n} | {block}, {ib} | {p}x{q} {engine} | {:.1} | {:.3} | {owners:.3} | {} | {} | {:.2} |",
        largest(&bytes) / MIB,
        largest(&times),
        told(0),
        told(1),
        median(&seconds)
    ))
}
