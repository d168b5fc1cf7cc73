//! Runs one QR with many workers as threads of one process, real QUIC on loopback between all, and tells
//! what the coordinator and each worker take. Linux only: counts come from /proc.
//!
//! `fleet [WORKERS SIZE BLOCK]...`, by default 200 workers at 8192/256, and 500 of which 8192/1024 leaves
//! nearly all idle. Runs the `peerwren` that lies beside it.
#![allow(clippy::print_stdout, reason = "the table is what this binary is for")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use peerwren_benches::running::cpu_of;
use serde_json::Value;

/// Between two looks at the threads.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The thread on which the coordinator, its socket and its timers run.
const COORDINATOR_THREAD: &str = "peerwren-run";

const CASES: [[u32; 3]; 2] = [[200, 8192, 256], [500, 8192, 1024]];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let numbers: Result<Vec<u32>, _> = std::env::args().skip(1).map(|arg| arg.parse()).collect();
    let numbers = numbers.map_err(|_| "usage: fleet [WORKERS SIZE BLOCK]...".to_owned())?;
    let mut cases: Vec<[u32; 3]> = numbers
        .chunks(3)
        .map(|chunk| {
            chunk
                .try_into()
                .map_err(|_| "numbers come in threes: WORKERS SIZE BLOCK")
        })
        .collect::<Result<_, _>>()?;
    if cases.is_empty() {
        cases.extend(CASES);
    }
    let peerwren = peerwren()?;
    println!(
        "{:>7} {:>11} {:>8} {:>9} {:>9} {:>13} {:>12} {:>12} {:>6} {:>8}",
        "workers",
        "matrix",
        "tasks",
        "startup s",
        "factor s",
        "coordinator s",
        "us a task",
        "MiB a worker",
        "lost",
        "expired"
    );
    // What a run with one worker takes is the process's own.
    let mut alone: BTreeMap<[u32; 2], u64> = BTreeMap::new();
    for [workers, size, block] in cases {
        let base = match alone.get(&[size, block]) {
            Some(&kib) => kib,
            None => {
                let kib = one(&peerwren, 1, size, block)?.peak_kib;
                alone.insert([size, block], kib);
                kib
            }
        };
        let seen = one(&peerwren, workers, size, block)?;
        let figure = |name: &str| seen.report[name].as_f64().unwrap_or(f64::NAN);
        let mib = seen.peak_kib.saturating_sub(base) as f64 / 1024.0 / f64::from(workers);
        println!(
            "{workers:7} {:>11} {:8} {:9.2} {:9.2} {:13.2} {:12.1} {mib:12.2} {:6} {:8}",
            format!("{size}/{block}"),
            figure("tasks"),
            figure("startup_s"),
            figure("factor_s"),
            seen.coordinator.as_secs_f64(),
            seen.coordinator.as_secs_f64() * 1e6 / figure("tasks"),
            figure("workers_lost"),
            figure("leases_expired"),
        );
    }
    println!(
        "coordinator s: CPU time of thread {COORDINATOR_THREAD} from start to end; MiB a worker: peak resident \
         size above that of one worker, blocks included"
    );
    Ok(())
}

/// The command beside this binary.
fn peerwren() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let file = here.with_file_name("peerwren");
    if file.is_file() {
        return Ok(file);
    }
    Err(format!(
        "{} is not there: build it with cargo build --release --bin peerwren",
        file.display()
    ))
}

struct Seen {
    report: Value,
    /// CPU time of the coordinator's thread.
    coordinator: Duration,
    /// Largest resident size of the process.
    peak_kib: u64,
}

fn one(peerwren: &Path, workers: u32, size: u32, block: u32) -> Result<Seen, String> {
    let file = std::env::temp_dir().join(format!("peerwren-fleet-{}.json", std::process::id()));
    let mut child = Command::new(peerwren)
        .args([
            "qr",
            &format!("random:{size}x{size}:1"),
            "--engine",
            "threads",
        ])
        .args([
            "--workers",
            &workers.to_string(),
            "--block",
            &block.to_string(),
        ])
        .args([
            "--memory", "2GiB", "--store", "memory", "--quiet", "--report",
        ])
        .arg(&file)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", peerwren.display()))?;
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    let (mut coordinator, mut peak_kib) = (Duration::ZERO, 0);
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        coordinator = coordinator.max(cpu_of(child.id(), COORDINATOR_THREAD));
        peak_kib = peak_kib.max(resident_peak_kib(&process));
        std::thread::sleep(LOOK_EVERY);
    };
    if !status.success() {
        return Err(format!(
            "{workers} workers, {size}/{block}: {status} after {:?}",
            began.elapsed()
        ));
    }
    let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let removed = std::fs::remove_file(&file);
    removed.map_err(|error| error.to_string())?;
    let report = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    Ok(Seen {
        report,
        coordinator,
        peak_kib,
    })
}

fn resident_peak_kib(process: &Path) -> u64 {
    let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
