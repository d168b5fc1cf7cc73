//! What a run tells of itself: bytes by statement and by pair, the trace, and the stories in it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::tools::{
    Folder, children, is_alive, peerwren, peerwren_with, signal, start, succeed, wait_until,
};

/// Takes a second or more on any machine, in many small tasks.
const LONG: &str = "qr random:1200x900:5 --block 50 --ib 10 --tree grid:2x2 --quiet";

/// The parts of a report that have figures of their own.
const PARTS: [&str; 3] = ["", "/q", "/check"];

fn number(value: &Value, name: &str) -> u64 {
    let number = value.pointer(name).and_then(Value::as_u64);
    number.unwrap_or_else(|| panic!("{name} is no number"))
}

fn sum(rows: &Value, column: &str) -> u64 {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row[column].as_u64().unwrap()).sum()
}

/// The columns of both tables sum up to the totals, exactly.
pub(crate) fn check_tables(report: &Value, what: &str) {
    for part in PARTS {
        let of = |name: &str| number(report, &format!("{part}{name}"));
        let statements = report
            .pointer(&format!("{part}/moved_by_statement"))
            .unwrap();
        let pairs = report.pointer(&format!("{part}/moved_by_pair")).unwrap();
        assert_eq!(sum(statements, "peer"), of("/bytes/peer"), "{what}{part}");
        assert_eq!(sum(pairs, "bytes"), of("/bytes/peer"), "{what}{part}");
        assert_eq!(
            sum(pairs, "blocks"),
            of("/requests/peer_get"),
            "{what}{part}"
        );
        assert_eq!(sum(statements, "input"), of("/inputs_read"), "{what}{part}");
        let read = sum(statements, "store") + sum(statements, "input");
        assert_eq!(read, of("/bytes/store_read"), "{what}{part}");
        for pair in pairs.as_array().unwrap() {
            assert_ne!(pair["from"], pair["to"], "{what}{part}");
        }
    }
}

/// The entries of a trace of one kind.
pub(crate) fn entries<'a>(trace: &'a Value, cat: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = trace["traceEvents"].as_array().unwrap().iter();
    all.filter(move |entry| entry["cat"] == cat)
}

/// What Chrome's format asks of every entry.
fn check_form(trace: &Value) {
    for entry in trace["traceEvents"].as_array().unwrap() {
        assert!(
            entry["name"].is_string() && entry["pid"].is_u64(),
            "{entry}"
        );
        assert!(entry["tid"].is_u64(), "{entry}");
        match entry["ph"].as_str().unwrap() {
            "X" => assert!(
                entry["ts"].as_f64().unwrap() >= 0.0 && entry["dur"].as_f64().unwrap() >= 0.0,
                "{entry}"
            ),
            "i" => assert!(
                entry["ts"].as_f64().unwrap() >= 0.0 && entry["s"] == "t",
                "{entry}"
            ),
            "M" => {
                let names = [
                    "process_name",
                    "thread_name",
                    "process_sort_index",
                    "thread_sort_index",
                ];
                assert!(names.contains(&entry["name"].as_str().unwrap()), "{entry}");
            }
            other => panic!("{other} in {entry}"),
        }
    }
}

/// Sums over the parts of a report.
pub(crate) fn total(report: &Value, name: &str) -> u64 {
    PARTS
        .iter()
        .map(|part| number(report, &format!("{part}{name}")))
        .sum()
}

#[test]
fn a_trace_has_each_task_once_and_every_byte() {
    let folder = Folder::new("traced");
    let table = [
        "qr random:200x150:3 --block 25 --ib 5 --workers 3 --r r.npy --check",
        "qr random:160x160:4 --block 32 --ib 8 --workers 2 --cores 2 --engine threads --preload",
        "cholesky spd:150:5 --block 30 --workers 4 --exchange cache --l l.npy",
        "lu random:120x120:6 --block 30 --workers 2 --exchange store --engine threads",
        "qr random:150x150:7 --block 25 --ib 5 --workers 2 --durability all",
    ];
    for line in table {
        succeed(
            &folder.0,
            &format!("{line} --trace t.json --report p.json --quiet"),
        );
        let (trace, report) = (folder.report("t.json"), folder.report("p.json"));
        check_tables(&report, line);
        check_form(&trace);
        let about = &trace["otherData"];
        assert_eq!(about["outcome"], "complete", "{line}");
        assert_eq!(about["plan"], report["plan"]["digest"], "{line}");
        // Nothing was lost: each task ran once, and was granted once.
        let tasks = |cat: &str| {
            let all = entries(&trace, cat).map(|e| e["args"]["task"].as_str().unwrap().to_owned());
            let lines = entries(&trace, cat).map(|e| e["args"]["lease"].as_u64().unwrap());
            (all.count() as u64, lines.collect::<BTreeSet<_>>())
        };
        let (ran, leases) = tasks("task");
        assert_eq!(ran, total(&report, "/tasks"), "{line}");
        assert_eq!(leases, tasks("lease").1, "{line}");
        let came = |is_from: &dyn Fn(&str) -> bool| -> u64 {
            entries(&trace, "fetch")
                .filter(|entry| is_from(entry["args"]["from"].as_str().unwrap()))
                .map(|entry| entry["args"]["bytes"].as_u64().unwrap_or(0))
                .sum()
        };
        let peer = came(&|from| from.starts_with("worker "));
        assert_eq!(peer, total(&report, "/bytes/peer"), "{line}");
        let read = came(&|from| !from.starts_with("worker "));
        assert_eq!(read, total(&report, "/bytes/store_read"), "{line}");
        let put: u64 = entries(&trace, "put")
            .map(|entry| entry["args"]["bytes"].as_u64().unwrap())
            .sum();
        assert_eq!(put, total(&report, "/bytes/store_written"), "{line}");
        // The numbers of one thread never overlap: its clock is one, and so is its offset.
        let mut threads: Vec<_> = entries(&trace, "task")
            .map(|e| {
                let at = |name: &str| e[name].as_f64().unwrap();
                let line = (e["pid"].as_u64().unwrap(), e["tid"].as_u64().unwrap());
                (line, at("ts"), at("ts") + at("dur"))
            })
            .collect();
        threads.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for pair in threads.windows(2) {
            assert!(
                pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1 + 0.01,
                "{line}: {pair:?}"
            );
        }
    }
}

/// The story of a block, line by line.
fn story(folder: &Folder, key: &str) -> Vec<String> {
    let output = peerwren_with(&folder.0, &["story", key, "--trace", "t.json"], &[]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{key}: {told}");
    let story = String::from_utf8(output.stdout).unwrap();
    story.lines().map(str::to_owned).collect()
}

/// How many lines of a story tell of one thing.
fn lines_of(story: &[String], what: &str) -> usize {
    let is_of = |line: &&String| {
        line.split_once("ms  ")
            .is_some_and(|(_, text)| text.starts_with(what))
    };
    story.iter().filter(is_of).count()
}

#[test]
fn a_story_tells_of_making_reading_and_the_end() {
    let folder = Folder::new("story");
    let line = "cholesky spd:120:2 --block 30 --workers 2 --engine threads --l l.npy --quiet";
    succeed(&folder.0, &format!("{line} --trace t.json"));
    let trace = folder.report("t.json");
    for entry in entries(&trace, "task") {
        for made in entry["args"]["makes"].as_array().unwrap() {
            let key = made["block"].as_str().unwrap();
            let told = story(&folder, key);
            assert!(told[0].starts_with(&format!("{key}: ")), "{told:?}");
            assert!(
                told[0].ends_with(made["digest"].as_str().unwrap()),
                "{told:?}"
            );
            assert_eq!(lines_of(&told, "made "), 1, "{told:?}");
            let readers = entries(&trace, "task").filter(|reader| {
                let reads = reader["args"]["reads"].as_array().unwrap();
                reads.iter().any(|block| block == key)
            });
            assert_eq!(lines_of(&told, "read "), readers.count(), "{told:?}");
            let fetches = entries(&trace, "fetch").filter(|fetch| fetch["args"]["block"] == key);
            assert_eq!(lines_of(&told, "fetched "), fetches.count(), "{told:?}");
            assert!(lines_of(&told, "done with ") <= 1, "{told:?}");
            // In the order of time.
            let times: Vec<f64> = told[2..]
                .iter()
                .map(|line| {
                    line.trim_start()
                        .split_once(' ')
                        .unwrap()
                        .0
                        .parse()
                        .unwrap()
                })
                .collect();
            assert!(times.is_sorted(), "{told:?}");
        }
    }
    // An input is made by nobody; however it is named it is one block.
    let told = story(&folder, "A[0,0]");
    assert!(told[0].contains("an input"), "{told:?}");
    for name in ["A[0, 0]", "A/0.0", "A(0,0)", "0/0.0"] {
        assert_eq!(story(&folder, name), told, "{name}");
    }
}

#[test]
fn a_story_that_is_not_there_is_refused() {
    let folder = Folder::new("no-story");
    let line = "cholesky spd:60:2 --block 30 --workers 1 --engine threads --quiet";
    succeed(&folder.0, &format!("{line} --trace t.json --report p.json"));
    std::fs::write(folder.0.join("broken.json"), "{\"traceEvents\": [").unwrap();
    let form = "expected a family and indices, such as V[1,0], or 3/1.0 as logs write it";
    let no_trace = "expected a file that `--trace` of a run has written, found";
    let table = [
        (
            "A[9,9]",
            "t.json",
            "block A[9,9] is not in the trace: A goes from A[0,0] to A[1,1]".to_owned(),
        ),
        (
            "a[0,0]",
            "t.json",
            "block a[0,0] is not in the trace: A goes from A[0,0] to A[1,1]".to_owned(),
        ),
        (
            "Nope[0]",
            "t.json",
            "block Nope[0] is not in the trace: its families are ".to_owned(),
        ),
        ("A", "t.json", format!("`A` is no block's name; {form}")),
        (
            "A[x]",
            "t.json",
            format!("`A[x]` is no block's name; {form}"),
        ),
        (
            "A[0,0]",
            "none.json",
            "trace none.json: No such file or directory (os error 2)".to_owned(),
        ),
        (
            "A[0,0]",
            "p.json",
            format!("trace p.json: {no_trace} another one's"),
        ),
        (
            "A[0,0]",
            "broken.json",
            format!("trace broken.json: {no_trace} EOF while parsing"),
        ),
    ];
    for (key, trace, reason) in table {
        let output = peerwren_with(&folder.0, &["story", key, "--trace", trace], &[]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.starts_with(&format!("error: {reason}")),
            "{key}: {told}"
        );
        assert_eq!(
            (told.lines().count(), output.status.code()),
            (1, Some(2)),
            "{key}: {told}"
        );
        assert!(output.stdout.is_empty());
    }
}

/// Kills a worker of a traced run so long after the work began; whether something had to be made again.
fn kill_one(folder: &Folder, pause_ms: u64) -> bool {
    let line = format!("{LONG} --workers 3 --q q.npy --trace t.json --report p.json --log info");
    let mut run = start(&folder.0, &line);
    let log = BufReader::new(run.stderr.take().unwrap());
    let (joined, all_joined) = mpsc::channel();
    // Read to its end: a run whose log nobody reads stands still.
    let reading = std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if line.contains(" joined ") {
                let _ = joined.send(());
            }
        }
    });
    for _ in 0..3 {
        all_joined.recv_timeout(Duration::from_secs(60)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(pause_ms));
    if let Some(&worker) = children(run.id()).last() {
        signal("KILL", worker);
    }
    assert!(run.wait().unwrap().success());
    reading.join().unwrap();
    let trace = folder.report("t.json");
    entries(&trace, "block").any(|entry| entry["name"] == "reopened")
}

#[test]
fn the_story_of_a_killed_worker_tells_of_the_second_making() {
    let folder = Folder::new("story-killed");
    // A worker that is killed may have had nothing that anybody needs: then another one is.
    assert!(
        [300, 600, 150, 1200, 2400]
            .into_iter()
            .any(|pause_ms| kill_one(&folder, pause_ms)),
        "nothing was made again"
    );
    let (trace, report) = (folder.report("t.json"), folder.report("p.json"));
    check_tables(&report, "killed");
    let lost = entries(&trace, "worker").filter(|entry| entry["name"] == "lost");
    assert_eq!(lost.count() as u64, total(&report, "/workers_lost"));
    let ran = entries(&trace, "task").count() as u64;
    let recomputed = total(&report, "/tasks_recomputed");
    assert_eq!(ran, total(&report, "/tasks") + recomputed);
    let again: BTreeSet<&str> = entries(&trace, "block")
        .filter(|entry| entry["name"] == "reopened")
        .map(|entry| entry["args"]["block"].as_str().unwrap())
        .collect();
    let stories: Vec<_> = again.iter().map(|key| story(&folder, key)).collect();
    let tells = |told: &[String], what: &str| told.iter().any(|line| line.contains(what));
    let twice = stories.iter().find(|told| {
        lines_of(told, "made again ") >= 1
            && lines_of(told, "reopened ") >= 1
            && tells(told, "was lost, and its copy with it")
    });
    assert!(twice.is_some(), "no story of {again:?} tells of it");
    // Whether bits can be compared depends on who had to hash the block: it may never have left its maker.
    let other = stories.iter().find(|told| tells(told, "OTHER BITS"));
    assert_eq!(other, None);
}

#[test]
fn a_run_that_fails_leaves_its_trace() {
    let folder = Folder::new("trace-failed");
    // Not positive definite: the run fails where it finds that.
    let output = peerwren(
        &folder.0,
        "cholesky random:90x90:1 --block 30 --workers 2 --l l.npy --trace t.json --quiet",
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(folder.names(), ["t.json"]);
    let trace = folder.report("t.json");
    check_form(&trace);
    let outcome = trace["otherData"]["outcome"].as_str().unwrap();
    assert!(outcome.contains("not positive definite"), "{outcome}");
    let failed: Vec<_> = entries(&trace, "run").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["args"]["why"].as_str(), Some(outcome));
    assert!(story(&folder, "A[0,0]")[2].contains("the run failed"));
}

#[test]
fn a_trace_goes_where_it_is_told() {
    let folder = Folder::new("trace-place");
    // A device is written to, not replaced.
    let line = "cholesky spd:60:2 --block 30 --workers 1 --engine threads --quiet";
    let output = peerwren(&folder.0, &format!("{line} --trace /dev/stdout"));
    assert_eq!(output.status.code(), Some(0));
    let trace: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(entries(&trace, "task").count(), 4);
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn workers_that_join_by_themselves_are_traced_too() {
    let folder = Folder::new("trace-remote");
    let line = "coordinator --listen 127.0.0.1:0 --token run.token cholesky spd:120:2 --block 30 \
        --workers 1 --store store --l l.npy --trace t.json --report p.json --quiet";
    std::fs::create_dir(folder.0.join("store")).unwrap();
    let mut run = start(&folder.0, line);
    wait_until("the token", || {
        folder.0.join("run.token").exists() || !is_alive(run.id())
    });
    succeed(&folder.0, "worker --token run.token --cores 2 --quiet");
    assert!(run.wait().unwrap().success());
    let (trace, report) = (folder.report("t.json"), folder.report("p.json"));
    check_tables(&report, "remote");
    check_form(&trace);
    assert_eq!(
        entries(&trace, "task").count() as u64,
        total(&report, "/tasks")
    );
}
