//! Workers and drivers that die: a run loses time only, and nothing is left behind.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so aloud")]

use std::io::Read;
use std::process::Child;
use std::time::Duration;

use crate::tools::{Folder, children, is_alive, peerwren, signal, start, succeed, wait_until};

/// Takes a second or more on any machine, in many small tasks.
const PLAN: &str = "qr random:1200x900:5 --block 50 --ib 10 --tree grid:2x2";

#[test]
fn a_killed_worker_costs_time_only() {
    let folder = Folder::new("killed");
    succeed(
        &folder.0,
        &format!("{PLAN} --workers 1 --q q1.npy --r r1.npy --quiet"),
    );
    let line = format!("{PLAN} --workers 3 --q q2.npy --r r2.npy --report p.json --quiet");
    let run = start(&folder.0, &line);
    // Three at different moments: while joining or computing, while others hold what it made.
    for pause_ms in [30, 150, 150] {
        wait_until("a worker to kill", || {
            !children(run.id()).is_empty() || !is_alive(run.id())
        });
        std::thread::sleep(Duration::from_millis(pause_ms));
        if let Some(&worker) = children(run.id()).last() {
            signal("KILL", worker);
        }
    }
    let (sum, told) = end_with_same_bits(&folder, run);
    assert!(sum("workers_lost") >= 1, "nobody was lost: {told}");
}

#[test]
fn a_worker_that_is_asked_to_leave_gives_its_blocks_away() {
    let folder = Folder::new("leaving");
    succeed(
        &folder.0,
        &format!("{PLAN} --workers 1 --q q1.npy --r r1.npy --quiet"),
    );
    let line = format!("{PLAN} --workers 3 --q q2.npy --r r2.npy --report p.json --quiet");
    let run = start(&folder.0, &line);
    let mut asked = Vec::new();
    for _ in 0..2 {
        let mut worker = None;
        wait_until("a worker that has joined", || {
            let mut workers = children(run.id()).into_iter();
            worker = workers.find(|pid| !asked.contains(pid) && computes(*pid));
            worker.is_some() || !is_alive(run.id())
        });
        std::thread::sleep(Duration::from_millis(100));
        if let Some(worker) = worker {
            signal("TERM", worker);
            asked.push(worker);
        }
    }
    let (sum, told) = end_with_same_bits(&folder, run);
    assert_eq!(
        ["workers_replaced", "workers_lost", "tasks_recomputed"].map(sum),
        [2, 0, 0],
        "replaced, lost, recomputed: {told}"
    );
}

/// Waits for a run that must succeed and write the bits of the run on one worker. Returns the sums of its report's
/// fields over both phases, and what it told.
fn end_with_same_bits(folder: &Folder, mut run: Child) -> (impl Fn(&str) -> u64, String) {
    let mut told = String::new();
    let status = run.wait().unwrap();
    run.stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert!(status.success(), "{told}");
    let report = folder.report("p.json");
    for (one, other) in [("q1.npy", "q2.npy"), ("r1.npy", "r2.npy")] {
        assert!(
            folder.bytes(one) == folder.bytes(other),
            "{other} has other bits"
        );
    }
    let sum = move |name: &str| {
        let of = |phase: &str| report.pointer(&format!("{phase}/{name}")).unwrap();
        ["", "/q"]
            .map(|phase| of(phase).as_u64().unwrap())
            .iter()
            .sum::<u64>()
    };
    (sum, told)
}

/// Whether a worker is welcomed: it starts its compute threads then.
fn computes(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let mut names = threads.map(|thread| std::fs::read_to_string(thread.path().join("comm")));
    names.any(|name| name.is_ok_and(|name| name.starts_with("compute-")))
}

#[test]
fn a_run_whose_workers_all_die_goes_on() {
    let folder = Folder::new("all-killed");
    let mut run = start(
        &folder.0,
        &format!("{PLAN} --workers 2 --check --report p.json --quiet"),
    );
    wait_until("two workers", || {
        children(run.id()).len() == 2 || !is_alive(run.id())
    });
    std::thread::sleep(Duration::from_millis(200));
    for worker in children(run.id()) {
        signal("KILL", worker);
    }
    assert!(run.wait().unwrap().success());
    let report = folder.report("p.json");
    assert!(report["residual"].as_f64().unwrap() < 30.0);
    let lost = report["workers_lost"].as_u64().unwrap()
        + report["q"]["workers_lost"].as_u64().unwrap()
        + report["check"]["workers_lost"].as_u64().unwrap();
    assert!(lost >= 2, "{lost} workers were lost");
}

/// Half of the workers stand still for a while, and go on as if nothing had been or are taken for lost.
#[test]
fn workers_that_stand_still_cost_time_only() {
    let folder = Folder::new("still");
    succeed(
        &folder.0,
        &format!("{PLAN} --workers 1 --q q1.npy --r r1.npy --quiet"),
    );
    let line = format!("{PLAN} --workers 4 --q q2.npy --r r2.npy --report p.json --quiet");
    let run = start(&folder.0, &line);
    wait_until("workers that compute", || {
        let workers = children(run.id());
        !workers.is_empty() && workers.iter().all(|&pid| computes(pid)) || !is_alive(run.id())
    });
    let still: Vec<_> = children(run.id()).into_iter().take(2).collect();
    still.iter().for_each(|&pid| signal("STOP", pid));
    std::thread::sleep(Duration::from_secs(2));
    still.iter().for_each(|&pid| signal("CONT", pid));
    let _report = end_with_same_bits(&folder, run);
}

#[test]
fn workers_that_die_at_every_start_end_the_run() {
    let folder = Folder::new("hopeless");
    let mut run = start(&folder.0, &format!("{PLAN} --workers 1 --r r.npy --quiet"));
    while is_alive(run.id()) {
        for worker in children(run.id()) {
            signal("KILL", worker);
        }
    }
    let mut told = String::new();
    assert_eq!(run.wait().unwrap().code(), Some(1));
    run.stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert!(told.contains("error: workers keep dying"), "{told}");
    assert_eq!(folder.names(), [""; 0], "nothing half-written is left");
}

#[test]
fn a_killed_driver_leaves_no_worker_and_no_store() {
    let folder = Folder::new("orphans");
    let temporary = Folder::new("orphans-tmp");
    let set = [("TMPDIR", temporary.0.to_str().unwrap())];
    for name in ["KILL", "INT", "TERM"] {
        let line = format!("{PLAN} --workers 2 --exchange store --r r.npy --quiet");
        let words: Vec<_> = line.split_whitespace().collect();
        let mut run = crate::tools::command(&folder.0, &words, &set)
            .spawn()
            .unwrap();
        wait_until("two workers", || children(run.id()).len() == 2);
        wait_until("blocks in the store", || !temporary.names().is_empty());
        let workers = children(run.id());
        signal(name, run.id());
        let code = run.wait().unwrap().code();
        assert_eq!(code, if name == "KILL" { None } else { Some(1) }, "{name}");
        wait_until("the workers' end", || {
            !workers.iter().any(|&worker| is_alive(worker))
        });
        wait_until("an empty temporary folder", || temporary.names().is_empty());
        assert_eq!(
            folder.names(),
            [""; 0],
            "{name}: nothing half-written is left"
        );
    }
}

#[test]
fn a_full_disk_fails_the_run_in_clear_words() {
    let folder = Folder::new("full");
    let store = folder.0.join("store");
    std::fs::create_dir(&store).unwrap();
    let mount = |arguments: &[&str]| {
        let done = std::process::Command::new("mount")
            .args(arguments)
            .arg(&store)
            .output();
        done.is_ok_and(|output| output.status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=256k", "tmpfs"]) {
        eprintln!("SKIPPED: a full disk needs the right to mount a small file system");
        return;
    }
    let output = peerwren(
        &folder.0,
        &format!("{PLAN} --exchange store --store store --r r.npy --quiet"),
    );
    let unmounted = std::process::Command::new("umount").arg(&store).status();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("full") && told.contains("store"), "{told}");
    assert_eq!(folder.names(), ["store"], "nothing half-written is left");
    assert!(unmounted.is_ok_and(|status| status.success()));
}
