//! A coordinator and workers that join it by themselves, as processes on this machine: the same bits, with
//! workers that come and go, and nobody let in or left behind who should not be.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use peerwren_transports::identity::Authority;
use serde_json::Value;

use crate::tools::{Folder, command, is_alive, peerwren, signal, start, succeed, wait_until};

/// Takes some seconds on any machine, in many small tasks.
const PLAN: &str = "qr random:1200x900:5 --block 50 --ib 10 --tree grid:2x2";

/// Starts a coordinator that writes `q.npy` and `r.npy`, and waits until its token is there.
fn coordinator(folder: &Folder, options: &str, workers: u32) -> Child {
    std::fs::create_dir_all(folder.0.join("store")).unwrap();
    let run = start(
        &folder.0,
        &format!(
            "coordinator {options} --token run.token {PLAN} --workers {workers} --store store \
             --q q.npy --r r.npy --report p.json --quiet"
        ),
    );
    wait_until("the token", || {
        folder.0.join("run.token").exists() || !is_alive(run.id())
    });
    run
}

fn worker(folder: &Path, options: &str) -> Child {
    let line = format!("worker --token run.token --cores 1 {options}");
    command(folder, &line.split_whitespace().collect::<Vec<_>>(), &[])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for a process: its exit status and what it said.
fn ended(mut process: Child) -> (Option<i32>, String) {
    let mut told = String::new();
    let status = process.wait().unwrap();
    let mut stderr = process.stderr.take().unwrap();
    stderr.read_to_string(&mut told).unwrap();
    (status.code(), told)
}

fn expected(folder: &Folder) -> [Vec<u8>; 2] {
    succeed(
        &folder.0,
        &format!("{PLAN} --workers 1 --q q1.npy --r r1.npy --quiet"),
    );
    ["q1.npy", "r1.npy"].map(|name| folder.bytes(name))
}

fn sum(report: &Value, field: &str) -> u64 {
    let phases = ["", "/q"].iter();
    phases
        .map(|phase| report.pointer(&format!("{phase}/{field}")).unwrap())
        .map(|value| value.as_u64().unwrap())
        .sum()
}

#[test]
fn workers_that_join_by_themselves_give_the_same_bits() {
    let folder = Folder::new("remote");
    let expected = expected(&folder);
    for listen in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        let run = coordinator(&folder, &format!("--listen {listen}"), 3);
        let mode = std::os::unix::fs::MetadataExt::mode(
            &std::fs::metadata(folder.0.join("run.token")).unwrap(),
        );
        assert_eq!(mode & 0o777, 0o600, "the token is the user's alone");
        // One more than wanted: it helps, or comes too late, and both are fine.
        let workers = [(); 4].map(|()| worker(&folder.0, "--orphan 1"));
        let (status, told) = ended(run);
        assert_eq!(status, Some(0), "{listen}: {told}");
        let ends = workers.map(ended);
        let well = ends.iter().filter(|(status, _)| *status == Some(0)).count();
        assert!(well >= 3, "{listen}: {ends:?}");
        assert!(
            ["q.npy", "r.npy"].map(|name| folder.bytes(name)) == expected,
            "{listen}: other bits"
        );
        let report = folder.report("p.json");
        assert_eq!(report["engine"], "remote");
        assert!(sum(&report, "bytes/peer") > 0, "{listen}: peers exchange");
        assert!(!folder.0.join("run.token").exists(), "of no use any more");
        let left = std::fs::read_dir(folder.0.join("store")).unwrap().count();
        assert_eq!(left, 0, "the run's blocks are gone");
    }
}

#[test]
fn another_worker_takes_the_place_of_a_lost_one() {
    let folder = Folder::new("remote-lost");
    let expected = expected(&folder);
    let run = coordinator(&folder, "--listen 127.0.0.1:0", 2);
    let mut first = worker(&folder.0, "");
    let second = worker(&folder.0, "");
    std::thread::sleep(Duration::from_millis(700));
    first.kill().unwrap();
    first.wait().unwrap();
    // One is told to leave, which is no loss of work that nobody else can do.
    let third = worker(&folder.0, "");
    std::thread::sleep(Duration::from_millis(300));
    signal("INT", second.id());
    let fourth = worker(&folder.0, "");
    let (status, told) = ended(run);
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(ended(second).0, Some(0), "who is told to leave leaves well");
    for worker in [third, fourth] {
        let (status, told) = ended(worker);
        assert_eq!(status, Some(0), "{told}");
    }
    assert!(
        ["q.npy", "r.npy"].map(|name| folder.bytes(name)) == expected,
        "other bits"
    );
    let report = folder.report("p.json");
    assert!(sum(&report, "workers_lost") >= 1, "somebody was lost");
    assert!(sum(&report, "workers_replaced") >= 1, "and replaced");
}

#[test]
fn only_the_token_of_the_run_lets_in() {
    let folder = Folder::new("remote-token");
    let run = coordinator(&folder, "--listen 127.0.0.1:0", 1);
    let token = String::from_utf8(folder.bytes("run.token")).unwrap();
    let (terms, _) = token.split_once("-----BEGIN").unwrap();
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    let foreign = |made| {
        let authority = Authority::new(7, made).unwrap();
        let identity = authority.issue_guest(made, hour).unwrap();
        format!("{terms}{}", identity.to_pem())
    };
    let half = token.len() / 2;
    for (name, text, status, line) in [
        ("foreign", foreign(now), 1, "is it the token of that run?"),
        ("expired", foreign(now - 3 * hour), 2, "it has expired"),
        ("cut", token[..half].to_owned(), 2, "cannot be used"),
        ("other", "PK".to_owned(), 2, "is no token of peerwren"),
    ] {
        std::fs::write(folder.0.join(name), text).unwrap();
        let output = peerwren(&folder.0, &format!("worker --token {name} --orphan 20"));
        let told = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<_> = told.lines().filter(|l| l.starts_with("error:")).collect();
        assert_eq!(output.status.code(), Some(status), "{name}: {told}");
        assert!(
            errors.len() == 1 && errors[0].contains(line),
            "{name}: {told}"
        );
        assert!(!told.contains("PRIVATE"), "{name}: {told}");
    }
    let output = peerwren(&folder.0, "worker --token absent");
    assert_eq!(output.status.code(), Some(2));
    // Too little memory for one task: said by whoever knows the plan.
    let (status, told) = ended(worker(&folder.0, "--memory 1KiB"));
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("--memory"), "{told}");
    // None of them has cost the run anything.
    assert_eq!(ended(worker(&folder.0, "")).0, Some(0));
    assert_eq!(ended(run).0, Some(0));
    assert_eq!(sum(&folder.report("p.json"), "workers_lost"), 0);
}

#[test]
fn nobody_outlives_a_coordinator_for_long() {
    let folder = Folder::new("remote-orphans");
    for (name, code, status) in [("KILL", None, 1), ("INT", Some(1), 0)] {
        let run = coordinator(&folder, "--listen 127.0.0.1:0", 2);
        let workers = [(); 2].map(|()| worker(&folder.0, "--orphan 1"));
        wait_until("the workers' blocks", || {
            let runs = std::fs::read_dir(folder.0.join("store")).unwrap();
            let has_blocks = |run: std::fs::DirEntry| {
                let mut found = std::fs::read_dir(run.path())
                    .into_iter()
                    .flatten()
                    .flatten();
                found.any(|entry| entry.file_name() != "mail")
            };
            runs.flatten().any(has_blocks) || !is_alive(run.id())
        });
        signal(name, run.id());
        let (came, told) = ended(run);
        assert_eq!(came, code, "{name}: {told}");
        for worker in workers {
            let (came, told) = ended(worker);
            assert_eq!(came, Some(status), "{name}: {told}");
            if status == 1 {
                assert!(told.contains("no coordinator has come back"), "{told}");
            }
        }
        let _ = std::fs::remove_file(folder.0.join("run.token"));
        std::fs::remove_dir_all(folder.0.join("store")).unwrap();
    }
}

#[test]
fn a_run_that_nobody_joins_says_so() {
    let folder = Folder::new("remote-alone");
    let (status, told) = ended(coordinator(
        &folder,
        "--listen 127.0.0.1:0 --start-timeout 1",
        2,
    ));
    assert_eq!(status, Some(1), "{told}");
    assert!(
        told.contains("error: no worker has joined for 1 s"),
        "{told}"
    );
    assert_eq!(folder.names(), ["store"]);
    for (line, expected) in [
        ("coordinator qr random:9x9 --workers 2", "--store"),
        ("coordinator qr random:9x9 --store store", "--workers"),
        ("coordinator --listen here qr random:9x9", "--listen"),
        ("coordinator", "subcommand"),
        ("worker --join 127.0.0.1:1", "--token"),
        ("qr random:9x9 --engine remote", "peerwren coordinator"),
    ] {
        let output = peerwren(&folder.0, line);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {told}");
        assert!(
            told.lines().count() == 1 && told.contains(expected),
            "{line}: {told}"
        );
    }
}

#[test]
fn control_goes_through_the_store_where_no_packet_reaches_the_coordinator() {
    let folder = Folder::new("remote-mail");
    let plan = "qr random:600x500:5 --block 100 --ib 20 --tree grid:2x2";
    succeed(
        &folder.0,
        &format!("{plan} --workers 1 --q q1.npy --r r1.npy --quiet"),
    );
    let expected = ["q1.npy", "r1.npy"].map(|name| folder.bytes(name));
    let check = |how: &str| {
        let came = ["q.npy", "r.npy"].map(|name| folder.bytes(name));
        assert!(came == expected, "{how}: other bits");
        let report = folder.report("p.json");
        assert!(
            sum(&report, "bytes/peer") > 0,
            "{how}: peers exchange by QUIC"
        );
        assert_eq!(sum(&report, "workers_lost"), 0, "{how}");
        let left = std::fs::read_dir(folder.0.join("store")).unwrap().count();
        assert_eq!(left, 0, "{how}: no mail is left");
    };
    let wanted = "--control store --store store --q q.npy --r r.npy --report p.json --quiet";
    succeed(&folder.0, &format!("{plan} --workers 3 {wanted}"));
    check("processes");
    // A socket that takes everything and answers nothing, as a network that drops all packets.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let join = format!("--join {}", silent.local_addr().unwrap());
    for (control, join) in [("store", ""), ("auto", join.as_str())] {
        let line = format!(
            "coordinator --listen 127.0.0.1:0 {plan} --workers 2 --control {control} --store store \
             --q q.npy --r r.npy --report p.json --quiet"
        );
        let run = start(&folder.0, &line);
        wait_until("the token", || {
            folder.0.join("run.token").exists() || !is_alive(run.id())
        });
        let workers = [(); 2].map(|()| worker(&folder.0, join));
        let (status, told) = ended(run);
        assert_eq!(status, Some(0), "{control}: {told}");
        for worker in workers {
            let (status, told) = ended(worker);
            assert_eq!(status, Some(0), "{control}: {told}");
        }
        check(control);
    }
}
