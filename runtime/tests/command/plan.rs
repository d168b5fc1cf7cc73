//! `peerwren plan`: what it tells, what it writes, what it refuses; and that a run then does as told.

use std::fs;

use serde_json::Value;

use crate::elements::elements;
use crate::tools::{Folder, peerwren, succeed};

fn told(folder: &Folder, line: &str) -> String {
    let output = peerwren(&folder.0, line);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "peerwren {line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_plan_is_a_page_and_leaves_nothing_behind() {
    let folder = Folder::new("plan-page");
    let line = "plan qr random:512x512 --block 64 --tree grid:2x2 --workers 4 --q q.npy --r r.zarr --check";
    let page = told(&folder, line);
    for expected in [
        "plan of qr of random:512x512\n",
        "  matrix   512 x 512, 2 MiB as float64\n",
        "  plan     8 x 8 tiles of 64 (ib 32), tree grid:2x2:chain\n",
        "  workers  4 workers of 1 core, engine processes, exchange peer\n",
        "  tasks    239, 179 MFLOP (qr_grid.lp)\n",
        " for `q` (apply_q.lp), not counted below\n",
        " for `check` (check_qr.lp), not counted below\n",
        " on any fleet: the critical path of 29 tasks\n",
        "\n  tsmqr          112 ",
        "\n  store ",
        "tasks that can run at once, by level: at most 16, 8.2 in the mean\n",
        "working set by level: at most ",
    ] {
        assert!(page.contains(expected), "no `{expected}` in\n{page}");
    }
    let narrow = |page: &str| {
        let widest = page.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?} columns in\n{page}");
    };
    narrow(&page);
    let open = told(&folder, "plan qr random:512x512 --workers 4");
    let chosen = "\n  chosen   --block and --tree: the least of ";
    assert!(open.contains(chosen), "no `{chosen}` in\n{open}");
    narrow(&open);
    assert!(folder.names().is_empty(), "{:?}", folder.names());
    assert_eq!(told(&folder, &format!("{line} --quiet")), "");
}

/// Tasks, operations, inputs and bytes are exact: a run with owners' placement reports the same. Where the length
/// of blocks shows in the run, as in LU, it moves about as much, and the page says so.
#[test]
fn a_run_does_what_was_told() {
    let folder = Folder::new("plan-run");
    for what in [
        "qr random:410x330:1 --tree grid:2x2 --r r.npy",
        "gemm random:410x330:1 random:330x230:2 --tree grid:2x1x2",
        "cholesky spd:400 --l l.npy",
        "lu random:410x330",
        "lstsq random:410x230 random:410x30",
    ] {
        let line = format!("{what} --block 50 --workers 4 --policy owner --engine threads --quiet");
        succeed(&folder.0, &format!("plan {line} --report plan.json"));
        succeed(&folder.0, &format!("{line} --report run.json"));
        let (plan, run) = (folder.report("plan.json"), folder.report("run.json"));
        for name in ["m", "n", "block", "ib", "tree", "tasks", "flops", "workers"] {
            assert_eq!(plan[name], run[name], "{name} of {what}");
        }
        assert_eq!(plan["plan"], run["plan"], "{what}");
        let said = plan["assumptions"][0].as_str().unwrap_or_default();
        assert_eq!(
            said.starts_with("bytes: the likely"),
            what.starts_with("lu")
        );
        let moved = &plan["bytes"]["peer"];
        for name in ["peer", "store_read", "store_written"] {
            let (told, bytes) = (&moved[name]["bytes"], &run["bytes"][name]);
            if what.starts_with("lu") && name == "peer" {
                let ratio = told.as_f64().unwrap() / bytes.as_f64().unwrap();
                assert!((0.9..1.1).contains(&ratio), "{told} told, {bytes} moved");
                continue;
            }
            // Of a triangle that is read whole tiles are moved.
            if name != "store_read" || !what.starts_with("cholesky") {
                assert_eq!(told, bytes, "{name} of {what}");
            }
        }
    }
}

#[test]
fn a_report_has_every_figure() {
    let folder = Folder::new("plan-report");
    let line = "plan svd random:300x200 --block 50 --workers 3 --report p.json --quiet";
    succeed(&folder.0, line);
    let report = folder.report("p.json");
    assert_eq!(report["schema"], 1);
    assert_eq!(report["command"], "svd");
    let sum = |name: &str| -> u64 {
        let kernels = report["kernels"].as_array().unwrap().iter();
        kernels.map(|kernel| kernel[name].as_u64().unwrap()).sum()
    };
    assert_eq!(report["tasks"], sum("tasks"));
    assert_eq!(report["flops"], sum("flops"));
    let list = |name: &str| report["profile"][name].as_array().unwrap().clone();
    let levels = report["profile"]["levels"].as_u64().unwrap();
    assert_eq!(report["critical_path"]["tasks"], levels);
    assert_eq!(
        list("tasks").len() as u64,
        levels,
        "short enough for a point each"
    );
    assert_eq!(list("live_bytes").len(), list("level").len());
    let sum: u64 = list("tasks").iter().filter_map(Value::as_u64).sum();
    assert_eq!(report["tasks"], sum);
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert!(number("/predicted/time_s") >= number("/critical_path/seconds"));
    assert!(number("/memory/least_bytes") > 0.0 && number("/cost_usd/estimate") == 0.0);
    assert_eq!(report["skipped"], "");

    // Nobody is asked: the store and the function need not be there.
    let line = "plan qr random:4096x4096 --engine lambda:f --store s3://bucket/x --report l.json";
    let page = told(&folder, line);
    assert!(page.contains("\n  cost     $0."), "{page}");
    let report = folder.report("l.json");
    assert_eq!(report["workers"], 16);
    assert_eq!(report["cost_usd"]["invocations"], 16);
    assert!(report["cost_usd"]["estimate"].as_f64() > Some(0.0));
}

#[test]
fn pictures_and_graphs_are_written_wherever_their_options_stand() {
    let folder = Folder::new("plan-files");
    succeed(
        &folder.0,
        "plan --svg a.svg cholesky spd:256 --block 32 --dot a.dot --quiet",
    );
    succeed(
        &folder.0,
        "plan --dot b.dot cholesky spd:256 --block 32 --svg b.svg --quiet",
    );
    assert_eq!(folder.names(), ["a.dot", "a.svg", "b.dot", "b.svg"]);
    let read = |name: &str| String::from_utf8(folder.bytes(name)).unwrap();
    let dot = read("a.dot");
    assert!(dot.starts_with("digraph cholesky {") && dot.contains("potrf(k=0)"));
    assert_eq!(dot, read("b.dot"));
    let svg = read("a.svg");
    let names = elements(&svg);
    let count = |name: &str| names.iter().filter(|seen| **seen == name).count();
    let areas = svg.matches("fill-opacity=\"0.25\"").count();
    assert_eq!((count("svg"), areas), (1, 2));
    assert!(
        svg.contains(">cholesky of spd:256: 256 x 256</text>"),
        "{svg}"
    );
    assert_eq!(svg, read("b.svg"), "nothing measured is in it");
    // One task, one level; a name that must be escaped.
    fs::write(folder.0.join("a&<b>.npy"), {
        let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }\n";
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        [&b"\x93NUMPY\x01\x00"[..], &length, text.as_bytes(), &[0; 8]].concat()
    })
    .unwrap();
    succeed(&folder.0, "plan qr a&<b>.npy --svg c.svg --quiet");
    let svg = read("c.svg");
    assert_eq!(
        elements(&svg).len(),
        elements(&svg.replace("&amp;&lt;b&gt;", "")).len()
    );
    assert!(
        svg.contains(">qr of a&amp;&lt;b&gt;.npy: 1 x 1</text>"),
        "{svg}"
    );
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_measured() {
    let folder = Folder::new("plan-refused");
    fs::write(folder.0.join("text.npy"), "1,2").unwrap();
    fs::create_dir(folder.0.join("folder")).unwrap();
    let before = folder.names();
    for (line, reason) in [
        (
            "plan qr random:4096x4096 --block 256 --tree grid:2x1 --dot g.dot --svg g.svg",
            "--dot g.dot: qr_grid has 1631 tasks at these parameters; a graph is drawn of up to 1000: choose a \
             larger --block or a smaller matrix, the shape is the same",
        ),
        (
            "plan qr random:64x64 --svg none/p.svg",
            "picture none/p.svg: its folder does not exist",
        ),
        (
            "plan qr random:64x64 --dot folder",
            "graph folder: is a folder; name a file",
        ),
        (
            "plan qr random:64x64 --svg p --dot ./p",
            "--dot and --svg are both ./p; name two files",
        ),
        (
            "plan qr random:64x64 --svg p.json --report p.json",
            "--report and --svg are both p.json; name two files",
        ),
        (
            "plan qr text.npy --svg text.npy",
            "text.npy: expected a .npy file, found other data, starting with `1,2`",
        ),
        (
            "plan cholesky random:64x32",
            "cholesky: A must be symmetric, so square; it is 64 x 32",
        ),
        (
            "plan qr random:4096x4096 --block 1024 --memory 1MiB",
            "--memory gives a worker 1 MiB, but 1 x its largest task (tsmqr) need 41.3 MiB: give it more \
             --memory, fewer --cores or a smaller --block",
        ),
        (
            "plan qr random:64x64 --engine lambda:f",
            "--engine lambda:NAME needs --store s3://bucket/prefix: workers on Lambda share nothing else",
        ),
        (
            "plan qr random:64x64 --engine lambda:f --store s3://bucket/x --cores 9",
            "--cores is 9 but function f has 5 with its 10240 MB: leave --cores out, or give it more memory",
        ),
        ("plan store ls", "`store` is no subcommand here; try --help"),
    ] {
        let output = peerwren(&folder.0, line);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told, format!("error: {reason}\n"), "peerwren {line}");
        assert_eq!(output.status.code(), Some(2), "peerwren {line}");
        assert!(output.stdout.is_empty(), "peerwren {line}");
        assert_eq!(folder.names(), before, "peerwren {line}");
    }
}
