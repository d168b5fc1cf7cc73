//! Experiments as a user meets them: refused, told, run, interrupted and gone on with; and the page of one run.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::tools::{Folder, names, peerwren, peerwren_with, signal, start, succeed, wait_until};

/// Two points of two runs, each of some milliseconds.
const GRID: &str = r#"
title = "Exchange"
repeat = 2
[run]
command = "qr"
inputs = "random:96x96:1"
engine = "threads"
block = 32
workers = 2
check = true
[grid]
exchange = ["store", "peer"]
[show]
exchange = "peer"
"#;

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Names in a folder, but not those of files that are about to be renamed.
fn whole(folder: &Path) -> Vec<String> {
    let mut names = names(folder);
    names.retain(|name| !name.starts_with('.'));
    names
}

#[test]
fn grids_that_cannot_be_are_refused_before_anything_runs() {
    let folder = Folder::new("experiment-refused");
    let line = "g.toml: peerwren qr random:96x96:1 --engine threads --block 32 --workers 2 --check --exchange";
    let table = [
        ("exchange = [\"store\", \"mail\"]", "exchange = [\"store\", \"peer\"]",
            format!("{line} mail: invalid value 'mail' for '--exchange <HOW>': expected peer, cache or store")),
        ("block = 0", "block = 32",
            "g.toml: peerwren qr random:96x96:1 --engine threads --block 0 --workers 2 --check --exchange store: \
             --block is 0; expected 1 to 16384".to_owned()),
        ("blok = 32", "block = 32",
            "g.toml: peerwren qr random:96x96:1 --engine threads --blok 32 --workers 2 --check --exchange store: \
             unexpected argument '--blok' found; tip: a similar argument exists: '--block'".to_owned()),
        ("command = \"doctor\"", "command = \"qr\"",
            "g.toml: peerwren doctor random:96x96:1 --engine threads --block 32 --workers 2 --check --exchange store: \
             unexpected argument 'random:96x96:1' found".to_owned()),
        ("memory = 4096", "check = true",
            "g.toml: peerwren qr random:96x96:1 --engine threads --block 32 --workers 2 --memory 4096 --exchange store: \
             --memory gives a worker 4 KiB, but 1 x its largest task (tsqrt) need 80.4 KiB: give it more --memory, \
             fewer --cores or a smaller --block".to_owned()),
        ("repeat = 0", "repeat = 2", "g.toml:3: repeat: expected a number from 1 to 100, found 0".to_owned()),
    ];
    for (wrong, right, reason) in table {
        let grid = GRID.replace("[show]\nexchange = \"peer\"\n", "");
        fs::write(folder.0.join("g.toml"), grid.replace(right, wrong)).unwrap();
        let output = peerwren(&folder.0, "experiment g.toml --out out");
        assert_eq!(told(&output), format!("error: {reason}\n"));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert_eq!(folder.names(), ["g.toml"]);
    }
    fs::write(folder.0.join("g.toml"), GRID).unwrap();
    let table = [
        (
            "experiment g.toml",
            "expected --out FOLDER, where the runs are kept, or --dry-run",
        ),
        (
            "experiment none --out out",
            "none: No such file or directory (os error 2); expected a grid file, or one of ",
        ),
        (
            "experiment g.toml --out .",
            "--out .: has files of something else; name a new folder, or one of an experiment",
        ),
        (
            "experiment g.toml --out g.toml",
            "--out g.toml: is a file; name a folder",
        ),
        (
            "plan qr random:96x96 --report r.html",
            "--report FILE.html is of a run, and `peerwren plan` runs nothing; write it as .json",
        ),
    ];
    for (line, reason) in table {
        let output = peerwren(&folder.0, line);
        assert!(
            told(&output).starts_with(&format!("error: {reason}")),
            "{}",
            told(&output)
        );
        assert_eq!(output.status.code(), Some(2));
    }
    assert_eq!(folder.names(), ["g.toml"]);
}

#[test]
fn the_environment_is_not_a_rows() {
    let folder = Folder::new("experiment-lines");
    fs::write(folder.0.join("g.toml"), GRID).unwrap();
    let environment = [
        ("PEERWREN_BLOCK", "0"),
        ("PEERWREN_IB", "7"),
        ("PEERWREN_CHECK", "1"),
    ];
    let words = ["experiment", "g.toml", "--dry-run"];
    let output = peerwren_with(&folder.0, &words, &environment);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let qr =
        "peerwren qr random:96x96:1 --engine threads --block 32 --workers 2 --check --exchange";
    let expected = ["store", "peer", "store", "peer"].map(|exchange| format!("{qr} {exchange}"));
    assert_eq!(lines(&output.stdout), expected);
    assert_eq!(folder.names(), ["g.toml"]);
    let shipped = lines(&peerwren(&folder.0, "experiment").stdout);
    assert!(
        shipped.iter().any(|line| line.starts_with("block-size ")),
        "{shipped:?}"
    );
    for line in shipped {
        let name = line.split(' ').next().unwrap();
        succeed(&folder.0, &format!("experiment {name} --dry-run"));
    }
}

#[test]
fn an_experiment_leaves_tables_pictures_and_a_page() {
    let folder = Folder::new("experiment-run");
    fs::write(folder.0.join("g.toml"), GRID).unwrap();
    let output = peerwren_with(
        &folder.0,
        &["experiment", "g.toml", "--out", "out"],
        &[("PEERWREN_IB", "7")],
    );
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let out = folder.0.join("out");
    // A run of a tenth of a second has no profile.
    let names = whole(&out).into_iter().filter(|name| name != "profile.svg");
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            "bytes.svg",
            "experiment.toml",
            "index.html",
            "pairs.svg",
            "results.csv",
            "runs",
            "table.md",
            "time.svg",
            "timeline.svg"
        ]
    );
    let csv = lines(&fs::read(out.join("results.csv")).unwrap());
    assert_eq!(csv.len(), 5);
    let column = |name: &str| csv[0].split(',').position(|column| column == name).unwrap();
    for row in &csv[1..] {
        let cells: Vec<&str> = row.split(',').collect();
        // The environment would have said 7.
        assert_eq!((cells[column("block")], cells[column("ib")]), ("32", "32"));
        let peer_bytes: u64 = cells[column("peer_bytes")].parse().unwrap();
        assert_eq!(peer_bytes > 0, cells[column("exchange")] == "peer");
        // A row is its line's run.
        let line = cells[column("line")].strip_prefix("peerwren ").unwrap();
        succeed(&folder.0, &format!("{line} --report again.json --quiet"));
        let again = folder.report("again.json");
        assert_eq!(again["tasks"].to_string(), cells[column("tasks")]);
        assert_eq!(
            again["residual"].to_string(),
            cells[column("residual")],
            "the same bits"
        );
    }
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    for part in [
        "<h1>Exchange</h1>",
        "fetching from peers",
        "receiver",
        "<pre>peerwren qr",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for fetched in ["src=", "href=", "url(", "<script"] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    // Again: nothing runs.
    let output = peerwren(&folder.0, "experiment g.toml --out out");
    let said = lines(&output.stdout);
    assert!(
        said[..4].iter().all(|line| line.contains("] kept ")),
        "{said:?}"
    );
    assert_eq!(csv, lines(&fs::read(out.join("results.csv")).unwrap()));
}

#[test]
fn an_interrupted_experiment_goes_on_where_it_was() {
    let folder = Folder::new("experiment-interrupted");
    // Six runs of up to a second; the first ones are the fastest.
    let grid = GRID
        .replace("96x96", "384x384")
        .replace("check = true\n", "")
        .replace("[\"store\", \"peer\"]", "[\"peer\", \"cache\", \"store\"]");
    fs::write(folder.0.join("g.toml"), grid).unwrap();
    let child = start(&folder.0, "experiment g.toml --out out");
    let runs = folder.0.join("out/runs");
    wait_until("a row", || runs.is_dir() && !whole(&runs).is_empty());
    signal("INT", child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = told(&output);
    assert!(
        said.starts_with("error: interrupted after ")
            && said.ends_with(" of 6 runs; the same command goes on from here\n"),
        "{said}"
    );
    let kept = whole(&runs);
    let page = fs::read_to_string(folder.0.join("out/index.html")).unwrap();
    assert!(page.contains(" of 6 runs so far"));
    let written = |name: &String| fs::metadata(runs.join(name)).unwrap().modified().unwrap();
    let times: Vec<_> = kept.iter().map(written).collect();
    succeed(&folder.0, "experiment g.toml --out out --quiet");
    assert_eq!(kept.iter().map(written).collect::<Vec<_>>(), times);
    let csv = lines(&fs::read(folder.0.join("out/results.csv")).unwrap());
    assert_eq!(csv.len(), 7);
    // The trace of the shown one is the seventh.
    assert_eq!(whole(&runs).len(), 7);
}

#[test]
fn a_simulated_experiment_is_the_same_wherever_it_runs() {
    let folder = Folder::new("experiment-simulated");
    let grid = GRID
        .replace(
            "engine = \"threads\"",
            "fleet = \"lambda-now\"\nset.nat.punch_s = 0.5",
        )
        .replace("check = true\n", "")
        .replace("96x96", "512x512")
        .replace("[show]", "set.nat.unreachable = [0.0, 1.0]\n[show]");
    fs::write(folder.0.join("g.toml"), grid).unwrap();
    for out in ["a", "b"] {
        succeed(&folder.0, &format!("experiment g.toml --out {out} --quiet"));
    }
    let read = |name: &str| fs::read_to_string(folder.0.join(name)).unwrap();
    assert_eq!(read("a/results.csv"), read("b/results.csv"));
    let rows = lines(read("a/results.csv").as_bytes());
    assert_eq!(rows.len(), 9);
    assert!(
        rows[8].contains(
            "peerwren sim qr random:512x512:1 --fleet lambda-now --set nat.punch_s=0.5 --block 32 --workers 2 \
             --exchange peer --set nat.unreachable=1.0 --seed 2"
        ),
        "{}",
        rows[8]
    );
    let column = |name: &str| {
        rows[0]
            .split(',')
            .position(|column| column == name)
            .unwrap()
    };
    let peer: Vec<&str> = rows[1..]
        .iter()
        .map(|row| row.split(',').nth(column("peer_bytes")).unwrap())
        .collect();
    // By each of two seeds: store, store, and peers that reach each other or do not.
    assert!(peer[2] != "0" && peer[6] != "0", "{peer:?}");
    assert!(
        [0, 1, 3, 4, 5, 7].iter().all(|row| peer[*row] == "0"),
        "{peer:?}"
    );
    let grid = read("g.toml").replace("nat.punch_s", "nat.punsh_s");
    fs::write(folder.0.join("g.toml"), grid).unwrap();
    let output = peerwren(&folder.0, "experiment g.toml --out c");
    assert!(told(&output).contains("nat.punsh_s"), "{}", told(&output));
    assert_eq!(output.status.code(), Some(2));
    assert!(!folder.0.join("c").exists());
}

#[test]
fn a_row_that_fails_is_told_and_tried_again() {
    let folder = Folder::new("experiment-failed");
    // Not positive definite: that shows in the run alone.
    let grid = GRID
        .replace("\"qr\"", "\"cholesky\"")
        .replace("check = true\n", "")
        .replace("[show]\nexchange = \"peer\"\n", "");
    fs::write(folder.0.join("g.toml"), grid).unwrap();
    let output = peerwren(&folder.0, "experiment g.toml --out out");
    assert_eq!(output.status.code(), Some(1));
    let said = told(&output);
    assert!(
        said.starts_with("error: 4 of 4 runs failed, first peerwren cholesky random:96x96:1 ")
            && said.contains("leading minor of order "),
        "{said}"
    );
    let page = fs::read_to_string(folder.0.join("out/index.html")).unwrap();
    assert!(page.contains("<h2>Failed</h2>") && page.contains("leading minor of order "));
    assert!(whole(&folder.0.join("out/runs")).is_empty());
}

#[test]
fn the_report_of_one_run_can_be_a_page() {
    let folder = Folder::new("experiment-page");
    let qr = "qr random:96x96:1 --engine threads --block 32 --workers 2 --q q.npy --check --quiet";
    succeed(&folder.0, &format!("{qr} --report r.html --trace t.json"));
    let page = String::from_utf8(folder.bytes("r.html")).unwrap();
    for part in [
        "<h1>qr of random:96x96:1</h1>",
        "<dt>checked</dt><dd>sound: ",
        "--report r.html --trace t.json</pre>",
        "What each worker did when",
        "Bytes between pairs of workers",
        "forming Q",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for fetched in ["src=", "href=", "url(", "<script"] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    succeed(&folder.0, &format!("{qr} --report r.HTML"));
    let page = String::from_utf8(folder.bytes("r.HTML")).unwrap();
    assert!(page.contains("--trace FILE.json") && !page.contains("What each worker did when"));
}
