//! Bytes that the ranks of Debian's ScaLAPACK and the workers of peerwren receive from each other on the
//! same work and grid, in times the matrix. Owns the choice of ScaLAPACK's block and what counts as
//! peerwren's; never counts: the counter of `benches/rivals/count.c`, which is checked first, and
//! peerwren's report tell. Linux only.
//!
//! Nothing is timed, so that there may be fewer cores than ranks. What ScaLAPACK moves is the same every
//! time; what peerwren moves differs by what idle workers steal, which is why it is run more than once.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this binary is for"
)]

mod cases;
mod counter;

use std::process::ExitCode;

use peerwren_benches::figures::table;
use peerwren_benches::machine::machine;
use peerwren_benches::options::{Common, Words};
use peerwren_benches::peerwren::Peerwren;
use peerwren_benches::scalapack::{BLOCKS, packages};

use cases::{Case, Work, cases};
use counter::{Counted, Counter};

const WORDS: Words = Words {
    usage: "usage: bytes [--repeat K] [--only qr|cholesky|lu|gemm] [--sizes full|small] \
            [--peerwren PATH]",
    repeat: 3,
    // 100 runs of all cases are an afternoon.
    repeat_max: 100,
};

fn main() -> ExitCode {
    WORDS.main(Options::parse, compare_all)
}

struct Options {
    common: Common,
    only: Option<Work>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut only = None;
        let common = WORDS.parse(args, |name, value| {
            if name != "--only" {
                return Ok(false);
            }
            let work = Work::ALL.into_iter().find(|work| work.name() == value);
            only = Some(work.ok_or("qr, cholesky, lu or gemm")?);
            Ok(true)
        })?;
        Ok(Self { common, only })
    }
}

fn compare_all(options: &Options) -> Result<(), String> {
    let Common {
        repeat,
        small,
        peerwren,
    } = &options.common;
    let peerwren = Peerwren::find(peerwren.as_deref())?;
    let (counter, checked) = Counter::new()?;
    println!("{}", machine());
    println!("packages: {}", packages());
    println!("peerwren: {}", peerwren.version()?);
    println!("the counter: {checked}");
    let mut rows = Vec::new();
    for case in cases(*small, options.only) {
        rows.push(compare(&counter, &peerwren, &case, *repeat)?);
    }
    let head = "| work | grid | ScaLAPACK's block | ScaLAPACK | peerwren, between workers | inputs again | sum | \
                ratio |";
    println!("\n{}", table(head, &rows));
    println!(
        "\nBytes in times the matrix (8 n^2); ScaLAPACK's least block, peerwren's worst of {repeat} runs; a \
         ratio above 1: peerwren moves less."
    );
    Ok(())
}

/// A row of the table.
fn compare(
    counter: &Counter,
    peerwren: &Peerwren,
    case: &Case,
    repeat: usize,
) -> Result<String, String> {
    let Case { p, q, .. } = case;
    println!("\n{case} on {p} x {q}");
    let times = |bytes| case.times_matrix(bytes);
    let (block, theirs) = least(counter, case)?;
    let ours = worst(peerwren, case, repeat)?;
    let (theirs, sum) = (times(theirs.bytes()), times(ours.bytes()));
    Ok(format!(
        "| {case} | {p} x {q} | {block} | {theirs:.3} | {:.3} | {:.3} | {sum:.3} | {:.2} |",
        times(ours.peer_bytes),
        times(ours.again_bytes),
        theirs / sum
    ))
}

/// ScaLAPACK's block that moves least, each run once: what it moves is the same every time.
fn least(counter: &Counter, case: &Case) -> Result<(u32, Counted), String> {
    let times = |bytes| case.times_matrix(bytes);
    let mut all = Vec::new();
    for block in BLOCKS {
        let counted = counter.count(case, block)?;
        println!(
            "    ScaLAPACK, {block}: {:.3} to one rank and {:.3} among all",
            times(counted.point_bytes),
            times(counted.collective_bytes)
        );
        all.push((block, counted));
    }
    let least = all.into_iter().min_by_key(|(_, counted)| counted.bytes());
    least.ok_or_else(|| "expected blocks for ScaLAPACK, got none".to_owned())
}

/// What moved in a run of peerwren.
#[derive(Clone, Copy)]
struct Moved {
    /// From worker to worker.
    peer_bytes: u64,
    /// Of the inputs, beyond once: a worker may read a tile that another holds from where it comes from,
    /// which is no less moved.
    again_bytes: u64,
}

impl Moved {
    fn bytes(&self) -> u64 {
        self.peer_bytes + self.again_bytes
    }
}

/// The run of peerwren that moves most.
fn worst(peerwren: &Peerwren, case: &Case, repeat: usize) -> Result<Moved, String> {
    let times = |bytes| case.times_matrix(bytes);
    let mut worst: Option<Moved> = None;
    for _ in 0..repeat {
        let moved = run(peerwren, case)?;
        println!(
            "    peerwren: {:.3} between workers and {:.3} of inputs again",
            times(moved.peer_bytes),
            times(moved.again_bytes)
        );
        if worst.is_none_or(|worst| worst.bytes() < moved.bytes()) {
            worst = Some(moved);
        }
    }
    worst.ok_or_else(|| "expected runs of peerwren, got none".to_owned())
}

/// Runs peerwren once. Refuses a run that was disturbed, or that moved bytes in ways that are not counted.
fn run(peerwren: &Peerwren, case: &Case) -> Result<Moved, String> {
    let line = case.peerwren();
    let report = peerwren.run(&line)?;
    // Whole numbers far below 2^53, which a float holds exactly.
    let number = |pointer: &str| report.number(pointer).map(|number| number as u64);
    for pointer in ["/workers_lost", "/tasks_recomputed", "/bytes/store_written"] {
        let value = number(pointer)?;
        if value != 0 {
            return Err(format!(
                "`peerwren {line}`: expected 0 at {pointer} of its report, got {value}"
            ));
        }
    }
    let (read, inputs) = (number("/bytes/store_read")?, number("/inputs_read")?);
    let once = case.inputs_once_bytes();
    if read != inputs || inputs < once {
        return Err(format!(
            "`peerwren {line}`: expected at least {once} bytes of inputs and no others from the store, got \
             {inputs} of {read}"
        ));
    }
    Ok(Moved {
        peer_bytes: number("/bytes/peer")?,
        again_bytes: inputs - once,
    })
}
