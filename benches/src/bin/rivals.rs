//! Debian's ScaLAPACK and peerwren on the same work, alternately and in one run: medians and their ratio.
//! Owns the cases, the search for ScaLAPACK's best setting and the comparison; never computes a matrix and
//! never looks inside peerwren: `benches/scalapack/rival.c`, which it builds, and the `peerwren` command
//! tell their own seconds. Linux only.
//!
//! Nothing of the environment reaches either side that sets how it computes (`OPENBLAS_*`, `OMP_*`,
//! `PEERWREN_*`): a core type that is left over there would slow ScaLAPACK down unseen.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this binary is for"
)]

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use peerwren_benches::figures::{listed, median, table};
use peerwren_benches::machine::{cpu_line, machine};
use peerwren_benches::options::{Common, Words};
use peerwren_benches::peerwren::Peerwren;
use peerwren_benches::report::parse;
use peerwren_benches::scalapack::{BLOCKS, INSTALL, build, packages, ranks};
use serde_json::Value;

/// Ranks, and workers, of one core each.
const SIDES: u32 = 2;
/// Grids of [`SIDES`] ranks of which ScaLAPACK takes the best.
const GRIDS: [(u32, u32); 2] = [(SIDES, 1), (1, SIDES)];
/// Kernels of OpenBLAS that use AVX-512.
const WIDE_CORES: [&str; 3] = ["SkylakeX", "Cooperlake", "SapphireRapids"];
/// Flags of a CPU that can run the first of them.
const WIDE_FLAGS: [&str; 4] = ["avx512f", "avx512dq", "avx512bw", "avx512vl"];

const WORDS: Words = Words {
    usage: "usage: rivals [--repeat K] [--only cholesky|gemm|qr|tsqr] [--sizes full|small] \
            [--kernels CORETYPE] [--peerwren PATH]",
    repeat: 5,
    // 1000 runs of a few seconds each are an afternoon.
    repeat_max: 1000,
};

fn main() -> ExitCode {
    WORDS.main(Options::parse, compare_all)
}

// ---- options and cases

struct Options {
    common: Common,
    only: Option<String>,
    /// OpenBLAS's kernels, where they are not to be the fastest.
    kernels: Option<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let (mut only, mut kernels) = (None, None);
        let common = WORDS.parse(args, |name, value| {
            match name {
                "--only" if cases(false).iter().any(|case| case.name == value) => {
                    only = Some(value.to_owned());
                }
                "--only" => return Err("cholesky, gemm, qr or tsqr".to_owned()),
                "--kernels" => kernels = Some(value.to_owned()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self {
            common,
            only,
            kernels,
        })
    }
}

/// One row of the table.
struct Case {
    name: &'static str,
    work: String,
    /// Routine and sizes, as rival.c takes them.
    rival: String,
    /// Command and inputs, as peerwren takes them.
    peerwren: String,
    /// Blocks that peerwren tries.
    blocks: [u32; 3],
}

/// The four cases, large or for a smoke run.
fn cases(small: bool) -> [Case; 4] {
    let (n, blocks) = if small {
        (512, [64, 128, 256])
    } else {
        (4096, [256, 512, 1024])
    };
    let (tall, narrow, tall_blocks) = if small {
        (4096, 64, [128, 256, 512])
    } else {
        (65536, 512, [512, 1024, 2048])
    };
    [
        Case {
            name: "cholesky",
            work: format!("Cholesky {n}"),
            rival: format!("potrf {n}"),
            peerwren: format!("cholesky spd:{n}"),
            blocks,
        },
        Case {
            name: "gemm",
            work: format!("GEMM {n}"),
            rival: format!("gemm {n}"),
            peerwren: format!("gemm random:{n}x{n}:1 random:{n}x{n}:2"),
            blocks,
        },
        Case {
            name: "qr",
            work: format!("QR {n}"),
            rival: format!("geqrf {n} {n}"),
            peerwren: format!("qr random:{n}x{n}:1"),
            blocks,
        },
        Case {
            name: "tsqr",
            work: format!("TSQR {tall} x {narrow}"),
            rival: format!("geqrf {tall} {narrow}"),
            peerwren: format!("tsqr random:{tall}x{narrow}:1"),
            blocks: tall_blocks,
        },
    ]
}

// ---- the comparison

fn compare_all(options: &Options) -> Result<(), String> {
    let programs = Programs::find(options)?;
    print_machine(&programs)?;
    let mut rows = Vec::new();
    for case in cases(options.common.small) {
        if options.only.as_ref().is_none_or(|only| only == case.name) {
            rows.push(compare(&programs, &case, options)?);
        }
    }
    let head =
        "| work | ScaLAPACK's best block | GFLOP/s | peerwren's best block | GFLOP/s | ratio |";
    println!("\n{}", table(head, &rows));
    println!(
        "\nMedians; a ratio above 1: peerwren is faster. Flops by LAPACK's count on both sides."
    );
    Ok(())
}

/// A row of the table: who, where and how fast.
fn compare(programs: &Programs, case: &Case, options: &Options) -> Result<String, String> {
    println!("\n{}", case.work);
    let setting = match &options.kernels {
        Some(core) => best_with(programs, case, Some(core))?.1,
        None => best_setting(programs, case)?,
    };
    let block = best_block(programs, case)?;
    let (mut theirs, mut ours, mut flops) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..options.common.repeat {
        let sample = programs.rival(case, &setting)?;
        flops = sample.flops;
        theirs.push(sample.seconds);
        ours.push(programs.peerwren(case, block)?);
    }
    println!("    ScaLAPACK, s: {}", listed(&theirs, 4));
    println!("    peerwren, s:  {}", listed(&ours, 4));
    let (theirs, ours) = (median(&theirs), median(&ours));
    Ok(format!(
        "| {} | {setting} | {:.1} | {block} | {:.1} | {:.2} |",
        case.work,
        flops / theirs * 1e-9,
        flops / ours * 1e-9,
        theirs / ours
    ))
}

/// The fastest of peerwren's blocks, each run once.
fn best_block(programs: &Programs, case: &Case) -> Result<u32, String> {
    let (mut best, mut tried) = ((f64::INFINITY, case.blocks[0]), Vec::new());
    for block in case.blocks {
        let seconds = programs.peerwren(case, block)?;
        tried.push(format!("{block} {seconds:.4}"));
        if seconds < best.0 {
            best = (seconds, block);
        }
    }
    println!("    peerwren's blocks, s: {}", tried.join(", "));
    Ok(best.1)
}

/// The fastest of all blocks and grids, each run once; with OpenBLAS's kernels for AVX-512 too where the
/// CPU has it and OpenBLAS, older than the CPU, did not choose them.
fn best_setting(programs: &Programs, case: &Case) -> Result<Setting, String> {
    let (seconds, setting) = best_with(programs, case, None)?;
    let own = setting.core.as_deref().unwrap_or_default();
    if WIDE_CORES.contains(&own) || !has_wide_vectors() {
        return Ok(setting);
    }
    let (wide_seconds, wide) = best_with(programs, case, Some(WIDE_CORES[0]))?;
    Ok(if wide_seconds < seconds {
        wide
    } else {
        setting
    })
}

/// The fastest block and grid with the kernels named, or with those that OpenBLAS chooses itself; the
/// setting names them.
fn best_with(
    programs: &Programs,
    case: &Case,
    core: Option<&str>,
) -> Result<(f64, Setting), String> {
    let (mut best, mut tried) = ((f64::INFINITY, Setting::default()), Vec::new());
    for nb in BLOCKS {
        for (p, q) in GRIDS {
            let mut setting = Setting {
                nb,
                p,
                q,
                core: core.map(str::to_owned),
            };
            let sample = programs.rival(case, &setting)?;
            let gflops = sample.flops / sample.seconds * 1e-9;
            setting.core = Some(sample.core);
            tried.push(format!("{nb} on {p} x {q} {gflops:.1}"));
            if sample.seconds < best.0 {
                best = (sample.seconds, setting);
            }
        }
    }
    println!(
        "    ScaLAPACK with {}, GFLOP/s: {}",
        best.1.core.as_deref().unwrap_or_default(),
        tried.join(", ")
    );
    Ok(best)
}

fn has_wide_vectors() -> bool {
    let flags = cpu_line("flags");
    let flags: Vec<&str> = flags.split_whitespace().collect();
    WIDE_FLAGS.iter().all(|flag| flags.contains(flag))
}

// ---- the two sides

/// How ScaLAPACK is run.
#[derive(Default)]
struct Setting {
    nb: u32,
    p: u32,
    q: u32,
    /// OpenBLAS's kernels; `None` leaves the choice to it.
    core: Option<String>,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nb, p, q, core } = self;
        write!(f, "{nb} on {p} x {q}")?;
        core.iter().try_for_each(|core| write!(f, ", {core}"))
    }
}

/// What rival.c tells of one run.
struct Sample {
    seconds: f64,
    flops: f64,
    core: String,
}

/// The two programs.
struct Programs {
    rival: PathBuf,
    peerwren: Peerwren,
}

impl Programs {
    /// Finds peerwren and builds rival.c beside this program.
    fn find(options: &Options) -> Result<Self, String> {
        let peerwren = Peerwren::find(options.common.peerwren.as_deref())?;
        let rival = build("rival", &["rival.c"], &[])?;
        Ok(Self { rival, peerwren })
    }

    /// Runs ScaLAPACK once.
    fn rival(&self, case: &Case, setting: &Setting) -> Result<Sample, String> {
        let numbers = [setting.nb, setting.p, setting.q].map(|number| number.to_string());
        let mut call = ranks(SIDES, &["--bind-to", "core"], &self.rival)
            .args(case.rival.split_whitespace())
            .args(&numbers);
        if let Some(core) = &setting.core {
            call = call.env("OPENBLAS_CORETYPE", core);
        }
        let text = call.run()?;
        let told = parse(&call.to_string(), &text)?;
        let core = told["core"].as_str().unwrap_or("none");
        if core == "none" {
            return Err(format!(
                "expected ScaLAPACK on OpenBLAS, got another BLAS, which may be far slower: {INSTALL}"
            ));
        }
        Ok(Sample {
            seconds: positive(&call.to_string(), &told, "seconds")?,
            flops: positive(&call.to_string(), &told, "flops")?,
            core: core.to_owned(),
        })
    }

    /// Runs peerwren once; returns the seconds of the operation alone, as its report has them.
    fn peerwren(&self, case: &Case, block: u32) -> Result<f64, String> {
        let line = format!(
            "{} --block {block} --workers {SIDES} --cores 1 --preload",
            case.peerwren
        );
        self.peerwren.run(&line)?.positive("/factor_s")
    }
}

fn positive(whose: &str, told: &Value, name: &str) -> Result<f64, String> {
    let value = &told[name];
    value
        .as_f64()
        .filter(|number| *number > 0.0 && number.is_finite())
        .ok_or_else(|| format!("{whose}: expected a positive `{name}`, got {value}"))
}

// ---- the machine

/// Prints what the times depend on.
fn print_machine(programs: &Programs) -> Result<(), String> {
    println!("{}", machine());
    println!("packages: {}", packages());
    println!("peerwren: {}", programs.peerwren.version()?);
    println!(
        "Nothing else should run on this machine: each side computes on {SIDES} cores, one thread each."
    );
    Ok(())
}
