//! `peerwren sim`: the same bytes as a run, the same run for a seed, and what goes wrong on a fleet.

use serde_json::Value;

use crate::tools::{Folder, peerwren, succeed};
use crate::trace::check_tables;

/// A fleet without a deadline on which nothing waits for another thing than bytes and kernels.
const CALM: &str = "--set worker.life_s=0 --durability outputs --quiet";

fn simulated(folder: &Folder, line: &str) -> Value {
    let output = peerwren(&folder.0, &format!("sim {line} --report sim.json"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(0),
        "peerwren sim {line}: {error}"
    );
    folder.report("sim.json")
}

/// The hash of all that was computed, of the page's last line.
fn bits(folder: &Folder, line: &str) -> String {
    let output = peerwren(&folder.0, &format!("sim {line}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(0),
        "peerwren sim {line}: {error}"
    );
    let page = String::from_utf8(output.stdout).unwrap();
    let (_, bits) = page
        .rsplit_once(", bits ")
        .expect("the page ends with them");
    bits.trim().to_owned()
}

/// Owners move the same blocks whatever the time takes: a run of this machine and its simulation report the
/// same bytes and requests, to the last one.
#[test]
fn owners_move_the_bytes_of_a_real_run() {
    let folder = Folder::new("sim-bytes");
    for what in [
        "qr random:410x330:1 --tree grid:2x2 --r r.npy",
        "qr random:300x300 --tree numpywren --exchange store",
        "gemm random:410x330:1 random:330x230:2 --tree grid:2x1x2 --c c.npy",
        "cholesky spd:400 --l l.npy",
        "lstsq random:410x230 random:410x30",
        "qr random:400x400 --tree flat --exchange cache --q q.npy",
    ] {
        let line = format!("{what} --block 50 --workers 4 --cores 1 --policy owner");
        succeed(
            &folder.0,
            &format!("{line} --engine threads --quiet --report run.json"),
        );
        let run = folder.report("run.json");
        let sim = simulated(&folder, &format!("{line} {CALM}"));
        for name in [
            "m", "n", "block", "ib", "tree", "tasks", "flops", "workers", "plan",
        ] {
            assert_eq!(sim[name], run[name], "{name} of {what}");
        }
        for part in ["", "/q"] {
            for name in ["peer", "store_read", "store_written"] {
                let name = format!("{part}/bytes/{name}");
                // Of a triangle a run reads whole tiles.
                if !(name.ends_with("store_read") && what.starts_with("cholesky")) {
                    assert_eq!(sim.pointer(&name), run.pointer(&name), "{name} of {what}");
                }
            }
            for name in ["store_get", "store_put", "peer_get"] {
                let name = format!("{part}/requests/{name}");
                assert_eq!(sim.pointer(&name), run.pointer(&name), "{name} of {what}");
            }
        }
        check_tables(&sim, what);
        assert_eq!(sim["engine"], "sim:lambda-now");
    }
}

#[test]
fn a_seed_is_a_run() {
    let folder = Folder::new("sim-seed");
    let line = "qr random:4000x4000 --block 250 --workers 16 --set kernels.gflops=0.2 --set faults.kills_per_hour=30 \
                --set stragglers.share=0.2,stragglers.slowdown=3 --set nat.unreachable=0.2 --quiet";
    let once = simulated(&folder, line);
    assert_eq!(once, simulated(&folder, line), "the same seed");
    assert_ne!(
        once,
        simulated(&folder, &format!("{line} --seed 2")),
        "another seed"
    );
}

/// What is computed does not depend on who computes it, how blocks come there, and what goes wrong.
#[test]
fn every_fleet_computes_the_same() {
    let folder = Folder::new("sim-bits");
    let what = "qr random:3000x3000 --block 250 --tree grid:2x2";
    let calm = bits(&folder, &format!("{what} --workers 4 --exchange peer"));
    for how in [
        "--workers 1 --cores 1",
        "--workers 7 --exchange store",
        "--workers 4 --exchange cache --policy random",
        "--workers 4 --memory 20MiB --cores 2",
        "--workers 16 --fleet paper-2018 --set worker.life_s=30",
        "--workers 5 --set kernels.gflops=0.2 --set faults.kills_per_hour=60",
        "--workers 6 --set nat.unreachable=0.5 --policy fifo",
        "--workers 9 --autoscale --durability checkpoint:1",
        "--workers 3 --fleet this-machine --preload --durability all",
    ] {
        assert_eq!(bits(&folder, &format!("{what} {how}")), calm, "{how}");
    }
}

/// What goes wrong on a fleet shows in the report.
#[test]
fn mishaps_are_told() {
    let folder = Folder::new("sim-mishaps");
    let line =
        "qr random:4000x4000 --block 250 --workers 8 --tree grid:4x2 --durability outputs --quiet";
    let number = |report: &Value, name: &str| report.pointer(name).unwrap().as_f64().unwrap();
    let calm = simulated(&folder, &format!("{line} --set worker.life_s=0"));
    assert_eq!(number(&calm, "/workers_lost"), 0.0);
    assert_eq!(number(&calm, "/ways/store"), 0.0);
    assert_eq!(number(&calm, "/bytes/store_written"), 0.0);
    // Slow kernels make a run of minutes, in which something can happen.
    let line = format!("{line} --set kernels.gflops=0.03");
    let calm = simulated(&folder, &format!("{line} --set worker.life_s=0"));
    let deadly = simulated(&folder, &format!("{line} --set faults.kills_per_hour=20"));
    assert!(number(&deadly, "/workers_lost") > 0.0);
    assert!(number(&deadly, "/tasks_recomputed") > 0.0);
    assert!(number(&deadly, "/factor_s") > number(&calm, "/factor_s"));
    let short = simulated(&folder, &format!("{line} --set worker.life_s=60"));
    assert!(number(&short, "/workers_replaced") > 0.0);
    assert_eq!(number(&short, "/workers_lost"), 0.0);
    let cut = simulated(&folder, &format!("{line} --set nat.unreachable=0.5"));
    assert!(number(&cut, "/ways/store") > 0.0);
    assert!(number(&cut, "/bytes/store_written") > 0.0);
    let slow = "--set stragglers.share=1 --set stragglers.slowdown=2";
    let slow = simulated(&folder, &format!("{line} {slow}"));
    let ratio = number(&slow, "/compute_s") / number(&calm, "/compute_s");
    assert!((1.9..2.1).contains(&ratio), "{ratio}");
    // An invocation a worker, billed for as long as it was there.
    assert_eq!(number(&calm, "/cost_usd/invocations"), 8.0);
    let billed = number(&calm, "/cost_usd/gb_seconds") / 10.0 / 8.0;
    let there = number(&calm, "/wall_s");
    assert!((billed / there - 1.0).abs() < 0.2, "{billed} of {there} s");
}

#[test]
fn a_trace_of_a_fleet_tells_stories() {
    let folder = Folder::new("sim-trace");
    let line =
        "sim qr random:600x600 --block 100 --workers 4 --tree grid:2x2 --trace t.json --quiet";
    succeed(&folder.0, line);
    let story = peerwren(&folder.0, "story V[1,0] --trace t.json");
    let story = String::from_utf8(story.stdout).unwrap();
    assert!(
        story.contains("tsqrt") || story.contains("geqrt"),
        "{story}"
    );
}

#[test]
fn what_is_wrong_with_a_fleet_is_told_in_a_line() {
    let folder = Folder::new("sim-errors");
    for (line, expected) in [
        (
            "sim qr random:100x100 --fleet nowhere",
            "error: fleet nowhere: No such file or directory (os error 2); expected a TOML file, or one of the \
             fleets that are shipped: lambda-now, paper-2018, this-machine\n",
        ),
        (
            "sim qr random:100x100 --set nat.unreachable=x",
            "error: fleet lambda-now: invalid type: string \"x\", expected f64, in `nat.unreachable`\n",
        ),
        (
            "sim --show mine",
            "error: --show mine: expected one of lambda-now, paper-2018, this-machine\n",
        ),
        (
            "sim",
            "error: expected an operation, such as `peerwren sim qr random:65536x65536 --workers 16`\n",
        ),
        (
            "sim qr random:100x100 --memory 1KiB",
            "error: --memory gives a worker 1 KiB, but 6 x its largest task (geqrt) need 1.86 MiB: ",
        ),
    ] {
        let output = peerwren(&folder.0, line);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.starts_with(expected), "{line}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(output.status.code(), Some(2), "{line}");
    }
    let shown = peerwren(&folder.0, "sim --show lambda-now");
    std::fs::write(folder.0.join("mine.toml"), &shown.stdout).unwrap();
    let line = "qr random:300x300 --block 100 --workers 2 --quiet";
    let shipped = simulated(&folder, line);
    let mine = simulated(&folder, &format!("{line} --fleet mine.toml"));
    assert_eq!(mine, shipped);
}
