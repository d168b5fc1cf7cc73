//! What programs cost that are never unrolled: successors found a second, the unrolled graph beside the
//! program, and a run's scheduler with tasks that take no time. Linux only: memory and the thread's own
//! computing time, which a busy machine disturbs little, come from /proc.
//!
//! `programs [successors|graphs|drain [TILES]]`, by default all three; each part runs in a process of its
//! own, so that its memory is its own.
#![allow(clippy::print_stdout, reason = "the table is what this binary is for")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerwren::control::{Counts, FromWorker, Made, ToWorker, encode};
use peerwren::lambdapack::{Bound, Program, Task, Tile};
use peerwren::machine::scheduler::{Action, Input, Scheduler, Settings};
use peerwren::machine::{Timestamp, WorkerId};
use peerwren::matrix::SourceSpec;
use peerwren::options::{Durability, Exchange, Policy};
use peerwren::plan::{InputFrom, Kept, PhaseSpec, Plan, PlanSpec};
use peerwren_kernels::KernelSet;
use peerwren_transports::block::Digest;

/// Tiles a side of the drain: 1,436,438 tasks.
const DRAIN_TILES: i64 = 128;
/// Workers of the drain, of one core each.
const DRAIN_WORKERS: u32 = 4;
/// Side of a tile: nothing is computed, but shapes are checked.
const NB: i64 = 64;

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

/// The text of a program.
fn text(name: &str) -> Result<&'static str, String> {
    Program::shipped(name).ok_or_else(|| format!("{name} is not shipped"))
}

/// A shipped program on square matrices of so many tiles a side.
fn bound(name: &str, tiles: i64) -> Result<Bound, String> {
    let source = text(name)?;
    let program = Program::parse(&format!("{name}.lp"), source).map_err(|e| e.render())?;
    program
        .bind(&parameters(&program, tiles))
        .map_err(|e| e.render())
}

fn parameters(program: &Program, tiles: i64) -> BTreeMap<String, i64> {
    let size = |name: &str| match name {
        "m" | "n" => Some(NB * tiles),
        "nb" => Some(NB),
        _ => None,
    };
    program
        .params()
        .filter_map(|(name, _)| Some((name.to_owned(), size(name)?)))
        .collect()
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

fn phase(name: &str, source: &str, params: &BTreeMap<String, i64>) -> PhaseSpec {
    PhaseSpec {
        name: "factor".to_owned(),
        file: format!("{name}.lp"),
        source: source.to_owned(),
        includes: Vec::new(),
        params: params
            .iter()
            .map(|(name, value)| (name.clone(), *value))
            .collect(),
        inputs: Vec::new(),
        results: Vec::new(),
    }
}

// ---- drain

/// The authors' QR through the scheduler that runs use, with workers that finish a task when they hear
/// of it.
fn drain(tiles: i64) -> Result<(), String> {
    let name = "qr_numpywren";
    let source = text(name)?;
    let program = Program::parse(&format!("{name}.lp"), source).map_err(|e| e.render())?;
    let side = u64::try_from(NB * tiles).map_err(|_| USAGE.to_owned())?;
    let (m, n) = (side, side);
    let matrix = InputFrom::Matrix(SourceSpec::random(m, n, 1), (NB as u32, NB as u32));
    let phase = PhaseSpec {
        inputs: vec![("I".to_owned(), matrix)],
        results: vec![Kept {
            output: "R".to_owned(),
            array: None,
        }],
        ..phase(name, source, &parameters(&program, tiles))
    };
    let spec = PlanSpec {
        run: 1,
        phases: vec![phase],
    };
    let start = Instant::now();
    let plan = Plan::new(spec, KernelSet::standard()).map_err(|e| e.explain())?;
    let planned = start.elapsed();
    let (resident_before, start, began) = (status_kib("VmRSS:"), Instant::now(), computing());
    let done = run(&plan)?;
    let (drained, computed) = (start.elapsed(), computing().saturating_sub(began));
    println!("\n{name}, {tiles} tiles a side, through the scheduler with tasks that take no time");
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

/// Runs a plan to its end; returns how many tasks ran.
fn run(plan: &Arc<Plan>) -> Result<u64, String> {
    let settings = Settings {
        workers: DRAIN_WORKERS,
        elastic: None,
        cores: 1,
        policy: Policy::Locality,
        exchange: Exchange::Peer,
        durability: Durability::Outputs,
        checkpoint: None,
        preload: false,
        start_timeout: Duration::from_secs(1),
        lease: Duration::from_secs(3600),
        volunteers: None,
    };
    let digest = Digest::of(b"a block that was never made");
    let mut scheduler = Scheduler::new(Arc::clone(plan), settings);
    let (mut now, mut done) = (0u64, 0u64);
    let mut inputs = VecDeque::from([Input::Begin]);
    while let Some(input) = inputs.pop_front() {
        now += 1_000;
        scheduler.handle_input(Timestamp::from_nanos(now), input);
        while let Some(action) = scheduler.poll_action() {
            match action {
                Action::Start(worker, _) => {
                    inputs.push_back(Input::Joined(worker, Vec::new(), digest))
                }
                Action::Send(worker, ToWorker::Assign(assignment)) => {
                    done += 1;
                    let keys = plan.outputs(&assignment.task);
                    let made = keys.iter().map(|key| Made {
                        key: *key,
                        digest,
                        bytes: plan.bytes(key),
                        durable: plan.is_result(key),
                    });
                    let message = FromWorker::Done {
                        lease: assignment.lease,
                        made: made.collect(),
                        dropped: assignment.dead,
                        compute_ns: 1_000,
                        counts: Counts::default(),
                    };
                    inputs.push_back(said(worker, message));
                }
                Action::Completed => return Ok(done),
                Action::Failed(reason) => return Err(reason),
                _ => {}
            }
        }
    }
    Err(format!("after {done} tasks nothing happens any more"))
}

fn said(worker: WorkerId, message: FromWorker) -> Input {
    Input::Message(worker, message)
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
