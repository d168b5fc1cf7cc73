//! What programs cost that are never unrolled: successors found a second, the unrolled graph beside the
//! program, and a run's scheduler with tasks that take no time. Linux only: memory and the thread's own
//! computing time, which a busy machine disturbs little, come from /proc.
//!
//! `programs [successors|graphs|drain [TILES]]`, by default all three; each part runs in a process of its
//! own, so that its memory is its own.
#![allow(clippy::print_stdout, reason = "the table is what this binary is for")]

use std::collections::HashMap;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use peerwren::control::encode;
use peerwren::lambdapack::{Bound, Program, Task, Tile};
use peerwren_benches::drain::{self, bound, parameters, phase, text};

/// Tiles a side of the drain: 1,436,438 tasks.
const DRAIN_TILES: i64 = 128;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match *words.as_slice() {
        [] => ["successors", "graphs", "drain"]
            .into_iter()
            .try_for_each(alone),
        ["successors"] => successors(),
        ["graphs"] => graphs(),
        ["drain"] => drain(DRAIN_TILES),
        ["drain", tiles] => tiles.parse().map_err(|_| USAGE.to_owned()).and_then(drain),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "usage: programs [successors|graphs|drain [TILES]]";

/// Runs one part in a process of its own.
fn alone(part: &str) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let ended = Command::new(program).arg(part).status();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{part}: {status}")),
        Err(error) => Err(format!("{part}: {error}")),
    }
}

// ---- successors

fn successors() -> Result<(), String> {
    println!("successors found, one core");
    println!(
        "{:16} {:>6} {:>9} {:>11} {:>9} {:>14} {:>12}",
        "program", "tiles", "tasks", "successors", "s", "successors/s", "us a task"
    );
    for (name, tiles) in [("cholesky", 64), ("qr_grid", 64), ("qr_numpywren", 64)] {
        let bound = bound(name, tiles)?;
        let tasks: Vec<Task> = bound.tasks().collect();
        let mut best = Duration::MAX;
        let mut found = 0u64;
        // What definitions remember is there from the second round on, as it is in a run.
        for _ in 0..3 {
            let mut out = Vec::new();
            found = 0;
            let start = computing();
            for task in &tasks {
                out.clear();
                bound.successors(*task, &mut out).map_err(|e| e.render())?;
                found += out.len() as u64;
            }
            best = best.min(computing().saturating_sub(start));
        }
        println!(
            "{name:16} {tiles:6} {:9} {found:11} {:9.3} {:14.0} {:12.2}",
            tasks.len(),
            best.as_secs_f64(),
            found as f64 / best.as_secs_f64(),
            best.as_secs_f64() * 1e6 / tasks.len() as f64
        );
    }
    Ok(())
}

// ---- graphs

/// A graph as an unrolled program is kept: tasks, and each task's successors by number.
struct Graph {
    tasks: Vec<Task>,
    first: Vec<u32>,
    successors: Vec<u32>,
}

impl Graph {
    /// Unrolls a program: writers in a table, then readers sorted by writer.
    fn of(bound: &Bound) -> Result<Self, String> {
        let mut tasks = Vec::new();
        let mut writers: HashMap<Tile, u32> = HashMap::new();
        for task in bound.tasks() {
            for tile in bound.outputs(task).map_err(|e| e.render())?.present() {
                writers.insert(tile, tasks.len() as u32);
            }
            tasks.push(task);
        }
        let mut edges = Vec::new();
        for (at, task) in tasks.iter().enumerate() {
            for tile in bound.inputs(*task).map_err(|e| e.render())?.present() {
                if let Some(writer) = writers.get(&tile) {
                    edges.push((*writer, at as u32));
                }
            }
        }
        edges.sort_unstable();
        edges.dedup();
        let mut first = vec![0; tasks.len() + 1];
        for (from, _) in &edges {
            first[*from as usize + 1] += 1;
        }
        for at in 1..first.len() {
            first[at] += first[at - 1];
        }
        let successors = edges.into_iter().map(|(_, to)| to).collect();
        Ok(Self {
            tasks,
            first,
            successors,
        })
    }

    fn bytes(&self) -> usize {
        self.tasks.len() * size_of::<Task>() + (self.first.len() + self.successors.len()) * 4
    }
}

fn graphs() -> Result<(), String> {
    println!("\nthe unrolled graph (tasks and successor lists alone) beside the program");
    println!(
        "{:16} {:>6} {:>9} {:>11} {:>12} {:>10} | {:>8} {:>8} {:>10} {:>8}",
        "program",
        "tiles",
        "tasks",
        "edges",
        "graph MiB",
        "unroll s",
        "text B",
        "sent B",
        "bind ms",
        "ratio"
    );
    for name in ["cholesky", "qr_grid", "qr_numpywren"] {
        for tiles in [16, 32, 64, 128] {
            let source = text(name)?;
            let start = computing();
            let program = Program::parse(&format!("{name}.lp"), source).map_err(|e| e.render())?;
            let params = parameters(&program, tiles);
            let bound = program.bind(&params).map_err(|e| e.render())?;
            let bind = computing().saturating_sub(start);
            let start = computing();
            let graph = Graph::of(&bound)?;
            let unroll = computing().saturating_sub(start);
            let text: usize = program.files().map(|(_, text)| text.len()).sum();
            let sent = encode(&phase(name, source, &params)).len();
            println!(
                "{name:16} {tiles:6} {:9} {:11} {:12.1} {:10.2} | {text:8} {sent:8} {:10.2} {:8.0}",
                graph.tasks.len(),
                graph.successors.len(),
                graph.bytes() as f64 / f64::from(1 << 20),
                unroll.as_secs_f64(),
                bind.as_secs_f64() * 1e3,
                graph.bytes() as f64 / text as f64
            );
        }
    }
    Ok(())
}

// ---- drain

/// The authors' QR through the scheduler that runs use, with workers that finish a task when they hear
/// of it.
fn drain(tiles: i64) -> Result<(), String> {
    let start = Instant::now();
    let plan = drain::plan(tiles)?;
    let planned = start.elapsed();
    let (resident_before, start, began) = (status_kib("VmRSS:"), Instant::now(), computing());
    let done = drain::run(&plan)?;
    let (drained, computed) = (start.elapsed(), computing().saturating_sub(began));
    println!(
        "\nqr_numpywren, {tiles} tiles a side, through the scheduler with tasks that take no time"
    );
    println!(
        "{:>10} {:>9} {:>9} {:>12} {:>12} {:>12} {:>10}",
        "tasks", "plan s", "drain s", "computing s", "us a task", "before MiB", "peak MiB"
    );
    println!(
        "{done:10} {:9.2} {:9.2} {:12.2} {:12.2} {:12.1} {:10.1}",
        planned.as_secs_f64(),
        drained.as_secs_f64(),
        computed.as_secs_f64(),
        computed.as_secs_f64() * 1e6 / done as f64,
        resident_before as f64 / 1024.0,
        status_kib("VmHWM:") as f64 / 1024.0
    );
    Ok(())
}

/// A size that the system keeps of this process, or 0 where it keeps none.
fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What this thread has computed so far, waiting left out; 0 where the system does not tell.
fn computing() -> Duration {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = counts
        .split_whitespace()
        .next()
        .and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}
