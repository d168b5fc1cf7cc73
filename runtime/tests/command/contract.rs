//! What the figures of a report promise: exact counts, few bytes, and one set of bits however a plan
//! is run.

use peerwren::cost::{owner_traffic, store_traffic};
use peerwren::lambdapack::Program;
use serde_json::Value;

use crate::tools::{Folder, succeed};

fn times_the_matrix(report: &Value, fields: &[&str]) -> f64 {
    let bytes: u64 = fields
        .iter()
        .map(|f| report["bytes"][f].as_u64().unwrap())
        .sum();
    let (m, n) = (report["m"].as_u64().unwrap(), report["n"].as_u64().unwrap());
    bytes as f64 / (m * n * 8) as f64
}

#[test]
fn the_bits_are_those_of_block_and_tree_alone() {
    let folder = Folder::new("bits");
    let plan = "random:310x230:5 --block 32 --ib 8 --tree grid:2x2";
    let mut first: Option<(Vec<u8>, Vec<u8>)> = None;
    for workers in [1, 2, 4, 7] {
        for engine in ["threads", "processes"] {
            for exchange in ["peer", "cache", "store"] {
                let how = format!("--workers {workers} --engine {engine} --exchange {exchange}");
                succeed(
                    &folder.0,
                    &format!("qr {plan} {how} --q q.npy --r r.npy --quiet"),
                );
                let bits = (folder.bytes("q.npy"), folder.bytes("r.npy"));
                let first = first.get_or_insert_with(|| bits.clone());
                assert!(*first == bits, "{how}: other bits than with one worker");
            }
        }
    }
    for how in [
        "--workers 3 --cores 2 --engine threads --policy random",
        "--workers 3 --policy fifo --durability all",
        "--workers 2 --policy owner --preload",
        "--workers 2 --memory 100KiB",
    ] {
        succeed(
            &folder.0,
            &format!("qr {plan} {how} --q q.npy --r r.npy --quiet"),
        );
        let bits = (folder.bytes("q.npy"), folder.bytes("r.npy"));
        assert!(
            first.as_ref() == Some(&bits),
            "{how}: other bits than with one worker"
        );
    }
}

/// An elastic fleet begins with fewer workers, grows with the work up to its ceiling, and gives the bits of a
/// fixed one; the report's profile tells how.
#[test]
fn a_fleet_that_follows_the_work_gives_the_same_bits() {
    let folder = Folder::new("elastic");
    let plan = "random:1200x900:5 --block 50 --ib 10 --tree grid:2x2 --workers 3";
    let run = |how: &str| {
        let line = format!("qr {plan} {how} --q q.npy --r r.npy --report p.json --quiet");
        succeed(&folder.0, &line);
        let bits = ["q.npy", "r.npy"].map(|name| folder.bytes(name));
        (folder.report("p.json"), bits)
    };
    let (_, fixed) = run("");
    for engine in ["threads", "processes"] {
        let (report, bits) = run(&format!(
            "--engine {engine} --autoscale=0.5 --idle-timeout 1"
        ));
        assert!(bits == fixed, "{engine}: other bits");
        let workers = report["profile"]["workers"].as_array().unwrap();
        let workers: Vec<_> = workers.iter().filter_map(Value::as_u64).collect();
        // A fixed fleet waits for all before the first task.
        assert!(workers.first() < Some(&3), "{engine}: {workers:?}");
        assert_eq!(workers.iter().max(), Some(&3), "{engine}: {workers:?}");
        assert_eq!(report["workers_lost"], 0, "{engine}");
    }
}

#[test]
fn workers_send_each_other_little() {
    let folder = Folder::new("bytes");
    // 16 x 16 tiles; the strict-owner model gives 1.03 and 3.1 times the matrix.
    for (workers, most) in [(4, 1.25), (16, 4.3)] {
        let how = format!("--workers {workers} --engine threads --report p.json --quiet");
        succeed(
            &folder.0,
            &format!("qr random:1024x1024:1 --block 64 --ib 8 {how}"),
        );
        let report = folder.report("p.json");
        let times = times_the_matrix(&report, &["peer"]);
        assert!(
            times > 0.2 && times <= most,
            "{workers} workers: {times} times the matrix"
        );
        assert_eq!(
            report["inputs_read"],
            1024 * 1024 * 8,
            "each input tile is read once"
        );
        assert_eq!(report["bytes"]["store_read"], report["inputs_read"]);
        assert_eq!(report["bytes"]["store_written"], 0, "nothing was asked for");
    }
}

#[test]
fn the_owner_policy_moves_what_the_model_counts() {
    let folder = Folder::new("owner");
    let program = Program::parse("qr_grid.lp", Program::shipped("qr_grid").unwrap()).unwrap();
    // Of the last ones' blocks many are wanted at once, and come from those that have just received them.
    for (p, q, m, n, nb) in [
        (2, 2, 512, 512, 50),
        (3, 2, 600, 400, 50),
        (4, 1, 700, 100, 50),
        (1, 6, 1200, 1800, 200),
    ] {
        let workers = u32::try_from(p * q).unwrap();
        let sizes = [
            ("m", m),
            ("n", n),
            ("nb", nb),
            ("ib", 10),
            ("P", p),
            ("Q", q),
            ("HP", p),
            ("HQ", q),
        ];
        let sizes = sizes.map(|(name, value)| (name.to_owned(), value)).into();
        let model = owner_traffic(&program.bind(&sizes).unwrap(), workers, |_| None).unwrap();
        let how = format!(
            "--tree grid:{p}x{q}:chain --workers {workers} --policy owner --engine threads"
        );
        succeed(
            &folder.0,
            &format!("qr random:{m}x{n}:1 --block {nb} --ib 10 {how} --report p.json --quiet"),
        );
        let report = folder.report("p.json");
        assert_eq!(report["bytes"]["peer"], model.bytes, "{p}x{q}");
        assert_eq!(report["requests"]["peer_get"], model.blocks, "{p}x{q}");
    }
}

#[test]
fn the_authors_tree_through_the_store_moves_what_they_said() {
    let folder = Folder::new("numpywren");
    let how = "--exchange store --tree numpywren --workers 2 --engine threads --store memory";
    succeed(
        &folder.0,
        &format!("qr random:512x512:1 --block 32 {how} --report p.json --quiet"),
    );
    let report = folder.report("p.json");
    assert_eq!(report["tasks"], 3_138);
    assert_eq!(report["tasks_recomputed"], 0);
    assert_eq!(report["bytes"]["peer"], 0);
    assert_eq!(report["bytes"]["cache_hit"], 0);
    assert!(times_the_matrix(&report, &["store_read", "store_written"]) >= 40.0);
    // Every read and every write of the counting model, no more and no fewer.
    let program =
        Program::parse("qr_numpywren.lp", Program::shipped("qr_numpywren").unwrap()).unwrap();
    let sizes = [("n".to_owned(), 512), ("nb".to_owned(), 32)].into();
    let model = store_traffic(&program.bind(&sizes).unwrap()).unwrap();
    assert_eq!(report["requests"]["store_get"], model.read.blocks);
    assert_eq!(report["requests"]["store_put"], model.written.blocks);
    assert_eq!(report["bytes"]["store_read"], model.read.bytes);
    assert_eq!(report["bytes"]["store_written"], model.written.bytes);
}

/// Who asks for R or X alone has the reflectors applied where they were made; none is stored.
#[test]
fn the_store_gets_what_was_asked_for_alone() {
    let folder = Folder::new("asked");
    let how = "--block 32 --workers 4 --tree grid:2x2 --durability outputs --report p.json --quiet";
    for (what, chunks) in [
        // Tiles on and above the diagonal.
        ("qr random:192x96:1 --r r.zarr", 6_u64),
        ("lstsq random:192x96:1 random:192x32:2 --x x.zarr", 3),
    ] {
        succeed(&folder.0, &format!("{what} {how}"));
        let report = folder.report("p.json");
        let written = &report["bytes"]["store_written"];
        assert_eq!(written, &report["outputs_written"], "{what}");
        assert_eq!(report["requests"]["store_put"], chunks, "{what}");
        assert!(written.as_u64() >= Some(chunks * 32 * 32 * 8), "{what}");
    }
}

#[test]
fn a_small_memory_is_kept_to_by_spilling() {
    let folder = Folder::new("memory");
    let plan = "random:512x512:2 --block 64 --ib 16 --tree grid:2x1 --workers 2";
    for (memory, spills) in [("256KiB", true), ("64MiB", false)] {
        let how = format!("--memory {memory} --check --report p.json --quiet");
        succeed(&folder.0, &format!("qr {plan} {how}"));
        let report = folder.report("p.json");
        let limit = report["memory"].as_u64().unwrap();
        let peak = ["", "/q", "/check"].map(|phase| {
            report
                .pointer(&format!("{phase}/peak_cache_bytes"))
                .unwrap()
                .as_u64()
                .unwrap()
        });
        assert!(
            peak.iter().all(|&peak| peak > 0 && peak <= limit),
            "{peak:?} of {limit}"
        );
        let written = report["bytes"]["store_written"].as_u64().unwrap();
        assert_eq!(
            written > 0,
            spills,
            "--memory {memory}: {written} bytes were written"
        );
        assert_eq!(
            report["tasks_recomputed"], 0,
            "what is needed is spilled, not lost"
        );
        assert!(report["residual"].as_f64().unwrap() < 30.0);
    }
}
