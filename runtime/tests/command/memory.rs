//! What processes keep to where a matrix is many times what their caches hold: bits, the cache's bound, and the
//! memory that the system says they took.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::tools::{Folder, children, is_alive, start, succeed};

/// What a process may take beyond `--memory`: code, windows of connections, buffers, tables.
const BEYOND_BYTES: u64 = 200 << 20;
/// Sets the side of the matrices, for larger ones than a test has time for.
const SIDE: &str = "PEERWREN_MEMORY_SIDE";

/// The most memory that a process has had so far, in bytes.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// Runs a line to its good end; the peaks of its driver and of all of its workers.
fn peaks(folder: &Folder, line: &str) -> (u64, BTreeMap<u32, u64>) {
    let mut run = start(&folder.0, line);
    let (mut driver, mut workers) = (0, BTreeMap::new());
    while is_alive(run.id()) {
        driver = peak(run.id()).unwrap_or(driver);
        for worker in children(run.id()) {
            // One that ends just now says nothing.
            if let Some(bytes) = peak(worker) {
                workers.insert(worker, bytes);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let told = std::io::read_to_string(run.stderr.take().unwrap()).unwrap();
    assert!(run.wait().unwrap().success(), "peerwren {line}: {told}");
    (driver, workers)
}

/// The largest of a field in both phases.
fn largest(report: &Value, field: &str) -> u64 {
    let phases = ["", "/q"].iter();
    let fields = phases.map(|phase| report.pointer(&format!("{phase}/{field}")).unwrap());
    fields.map(|value| value.as_u64().unwrap()).max().unwrap()
}

/// Each matrix is 8 times what both caches hold together: 2 x 288 KiB for 4.5 MiB.
#[test]
fn a_matrix_of_eight_times_the_caches_completes_by_spilling() {
    let side: u64 = std::env::var(SIDE).map_or(768, |side| side.parse().unwrap());
    let block = (side / 16).max(64);
    let memory = side * side * 8 / 16;
    let plan = format!("--block {block} --tree grid:2x1 --workers 2");
    for (line, results) in [
        (
            format!("qr random:{side}x{side}:1 --ib 16"),
            &["q", "r"][..],
        ),
        (format!("cholesky spd:{side}:1"), &["l"]),
        (format!("lu random:{side}x{side}:1"), &["l", "u", "p"]),
        (
            format!("gemm random:{side}x{side}:1 random:{side}x{side}:2"),
            &["c"],
        ),
    ] {
        let folder = Folder::new("spilling");
        let asked = |own: &str| {
            let results = results.iter();
            let results = results.map(|name| format!("--{name} {own}{name}.npy"));
            results.collect::<Vec<_>>().join(" ")
        };
        let with = |how: &str, own: &str| format!("{line} {plan} {how} {} --quiet", asked(own));
        succeed(&folder.0, &with("", "roomy-"));
        let how = format!("--memory {memory} --report p.json");
        let (driver, workers) = peaks(&folder, &with(&how, "small-"));
        for name in results {
            let [roomy, small] =
                ["roomy", "small"].map(|own| folder.bytes(&format!("{own}-{name}.npy")));
            assert!(roomy == small, "{line}: {name} has other bits");
        }
        let report = folder.report("p.json");
        let spilled = report["bytes"]["store_written"].as_u64().unwrap()
            - report["outputs_written"].as_u64().unwrap();
        let cache = largest(&report, "peak_cache_bytes");
        let worker = workers.values().max().unwrap();
        crate::tools::say(&format!(
            "{line}: --memory {memory}, cache {cache}, spilled {spilled}; peaks: worker {worker}, driver {driver}"
        ));
        assert!(cache <= memory, "{line}: a cache of {cache} of {memory}");
        assert_eq!(largest(&report, "tasks_recomputed"), 0, "{line}");
        assert!(
            line.starts_with("gemm") || spilled > 0,
            "{line}: nothing was spilled"
        );
        assert!(workers.len() >= 2, "{line}: {workers:?}");
        assert!(*worker <= memory + BEYOND_BYTES, "{line}: {workers:?}");
        assert!(driver <= BEYOND_BYTES, "{line}: the driver took {driver}");
    }
}
