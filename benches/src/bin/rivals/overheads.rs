//! What scheduling and moving blocks cost peerwren: CPU time of the coordinator, compute threads that idle
//! while a task is ready, and the rate of blocks between two processes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use peerwren_benches::exchange::Exchange;
use peerwren_benches::figures::{listed, median};
use peerwren_benches::options::Common;
use peerwren_benches::peerwren::Peerwren;
use peerwren_benches::report::parse;
use peerwren_benches::running::cpu_of;
use serde_json::Value;

use crate::record::{Figure, Record};

/// The case's name.
pub(crate) const OVERHEADS: &str = "overheads";
/// The thread of the driver that coordinates.
const COORDINATOR_THREAD: &str = "peerwren-run";
/// Workers of one core each.
const WORKERS: usize = 2;
const BLOCK_BYTES: usize = 8 << 20;
/// Blocks of one measurement, and how many are on their way at a time, as a worker has it.
const BLOCKS: usize = 64;
const AT_A_TIME: usize = 2;

/// Measures all of it.
///
/// # Errors
/// A run fails, or tells less than it should.
pub(crate) fn measure(
    peerwren: &Peerwren,
    common: &Common,
    mut record: Record,
) -> Result<Record, String> {
    println!("\n{}", record.title);
    let (side, blocks) = if common.small {
        (1024, [64, 128])
    } else {
        (8192, [256, 512])
    };
    for block in blocks {
        let (mut costs, mut idle) = (Vec::new(), Vec::new());
        let line = format!(
            "qr random:{side}x{side}:1 --block {block} --workers {WORKERS} --cores 1 --preload"
        );
        for _ in 0..common.repeat {
            costs.push(coordinator_us(peerwren, &line)?);
            idle.push(idle_share(peerwren, &line)?);
        }
        println!(
            "    block {block}: coordinator, us a task: {}",
            listed(&costs, 2)
        );
        println!(
            "    block {block}: idle while a task is ready, %: {}",
            listed(&idle, 2)
        );
        record.figures.push(Figure {
            name: format!("QR {side}, block {block}: CPU of the coordinator a task"),
            value: median(&costs),
            unit: "us".to_owned(),
            at_most: Some(20.0),
            at_least: None,
        });
        record.figures.push(Figure {
            name: format!("QR {side}, block {block}: compute threads idle while a task is ready"),
            value: median(&idle),
            unit: "%".to_owned(),
            at_most: Some(5.0),
            at_least: None,
        });
    }
    let exchange = Exchange::between_processes(BLOCK_BYTES)?;
    let mut rates = Vec::new();
    for _ in 0..common.repeat {
        let seconds = exchange.fetch(BLOCKS, AT_A_TIME)?.as_secs_f64();
        rates.push((BLOCKS * BLOCK_BYTES) as f64 / seconds * 1e-9);
    }
    println!(
        "    blocks of 8 MiB between processes, GB/s: {}",
        listed(&rates, 2)
    );
    record.figures.push(Figure {
        name: "blocks of 8 MiB between two processes".to_owned(),
        value: median(&rates),
        unit: "GB/s".to_owned(),
        at_most: None,
        at_least: Some(1.5),
    });
    Ok(record)
}

/// CPU time of the coordinator's thread from the command's start to its end, by task of the plan: sockets,
/// certificates and the start of workers are in it.
fn coordinator_us(peerwren: &Peerwren, line: &str) -> Result<f64, String> {
    let mut running = peerwren.start(line)?;
    let mut taken = Duration::ZERO;
    while running.is_on()? {
        taken = taken.max(cpu_of(running.id(), COORDINATOR_THREAD));
        std::thread::sleep(Duration::from_millis(2));
    }
    running.finish()?;
    let tasks = peerwren.report()?.positive("/tasks")?;
    Ok(taken.as_secs_f64() * 1e6 / tasks)
}

/// A task of a trace: when it could have run, and when it did.
struct Run {
    ready: f64,
    start: f64,
    end: f64,
}

/// Share in percent of compute-thread time, from the first task's start to the last one's end, in which a thread
/// idled while some task had all its inputs and ran nowhere. A block counts as there when the task that makes it
/// ends: the way to another worker, and the coordinator's, are idle time.
fn idle_share(peerwren: &Peerwren, line: &str) -> Result<f64, String> {
    let file = peerwren.file("trace.json");
    peerwren.run(&format!("{line} --trace {}", file.display()))?;
    let name = file.display().to_string();
    let text = fs::read_to_string(&file).map_err(|error| format!("{name}: {error}"))?;
    let trace = parse(&name, &text)?;
    let runs =
        runs(&trace).ok_or_else(|| format!("{name}: expected tasks with times and blocks"))?;
    let (idle, all) = idle_and_all(&runs);
    if all > 0.0 {
        Ok(idle / all * 100.0)
    } else {
        Err(format!("{name}: expected tasks, got none"))
    }
}

fn runs(trace: &Value) -> Option<Vec<Run>> {
    let events = trace["traceEvents"].as_array()?;
    let tasks = || {
        events
            .iter()
            .filter(|event| event["ph"] == "X" && event["cat"] == "task")
    };
    let mut made: BTreeMap<&str, f64> = BTreeMap::new();
    for task in tasks() {
        let end = task["ts"].as_f64()? + task["dur"].as_f64()?;
        for block in task["args"]["makes"].as_array()? {
            made.insert(block["block"].as_str()?, end);
        }
    }
    tasks()
        .map(|task| {
            let start = task["ts"].as_f64()?;
            let reads = task["args"]["reads"].as_array()?.iter();
            // Inputs are there from the start.
            let there = reads.filter_map(|block| made.get(block.as_str()?).copied());
            Some(Run {
                ready: there.fold(0.0, f64::max).min(start),
                start,
                end: start + task["dur"].as_f64()?,
            })
        })
        .collect()
}

/// Time of threads that idled while a task was ready, and of all threads.
fn idle_and_all(runs: &[Run]) -> (f64, f64) {
    let first = runs
        .iter()
        .map(|run| run.start)
        .fold(f64::INFINITY, f64::min);
    let mut events: Vec<(f64, isize, isize)> = Vec::new();
    for run in runs {
        // A change of tasks ready, and of tasks that run.
        events.push((run.ready.max(first), 1, 0));
        events.push((run.start, -1, 1));
        events.push((run.end, 0, -1));
    }
    events.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut idle, mut all, mut at, mut ready, mut running) = (0.0, 0.0, first, 0, 0);
    for (time, more_ready, more_running) in events {
        let idling = WORKERS.saturating_sub(usize::try_from(running).unwrap_or(0));
        if ready > 0 {
            idle += (time - at) * idling as f64;
        }
        all += (time - at) * WORKERS as f64;
        at = time;
        ready += more_ready;
        running += more_running;
    }
    (idle, all)
}

#[cfg(test)]
mod tests {
    use super::{Run, idle_and_all};

    fn run(ready: f64, start: f64, end: f64) -> Run {
        Run { ready, start, end }
    }

    #[test]
    fn a_thread_idles_only_while_a_task_is_ready() {
        // The second task is ready at 4 and starts at 6; from 4 to 6 one thread idles, the other computes.
        let runs = [run(0.0, 0.0, 10.0), run(4.0, 6.0, 10.0)];
        assert_eq!(idle_and_all(&runs), (2.0, 20.0));
        // Nothing is ready: idle threads do not count.
        assert_eq!(idle_and_all(&[run(0.0, 0.0, 10.0)]), (0.0, 20.0));
    }
}
