//! Drivers that die, and whoever finishes their runs: the same bits, and nothing done twice.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::tools::{Folder, command, is_alive, signal, wait_until};
use crate::trace::{entries, total};

/// Takes some seconds on any machine, in many small tasks.
const PLAN: &str = "qr random:1600x1200:5 --block 50 --ib 10 --tree grid:2x2 --quiet";

/// A folder to run in, whose runs are kept in a folder of their own.
struct Place {
    folder: Folder,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        fs::create_dir(folder.0.join("tmp")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    fn command(&self, line: &str) -> Command {
        let (state, temporary) = (self.path("state"), self.path("tmp"));
        let set = [
            ("PEERWREN_STATE", state.to_str().unwrap()),
            ("TMPDIR", temporary.to_str().unwrap()),
        ];
        let words: Vec<_> = line.split_whitespace().collect();
        command(&self.folder.0, &words, &set)
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn succeed(&self, line: &str) -> String {
        let output = self.run(line);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "peerwren {line}: {told}");
        told
    }

    fn refused(&self, line: &str, reason: &str) {
        let output = self.run(line);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "peerwren {line}: {told}");
        assert!(told.contains(reason), "peerwren {line}: {told}");
        assert_eq!(told.lines().count(), 1, "peerwren {line}: {told}");
    }

    /// Starts a run and waits until it has a checkpoint; its number and its blocks' folder.
    fn start_checkpointed(&self, line: &str, mut stores: impl FnMut() -> Vec<PathBuf>) -> Started {
        let mut run = self.command(line).stderr(Stdio::piped()).spawn().unwrap();
        let mut found = None;
        wait_until("a checkpoint", || {
            found = stores().iter().find_map(|store| manifests(store).pop());
            found.is_some() || !is_alive(run.id())
        });
        let Some(manifest) = found else {
            panic!(
                "the run ended before its first checkpoint: {}",
                told(&mut run)
            );
        };
        let blocks = manifest.parent().and_then(Path::parent).unwrap().to_owned();
        let number = blocks.file_name().unwrap().to_str().unwrap().to_owned();
        (run, number, blocks)
    }
}

type Started = (Child, String, PathBuf);

/// All that a process says until it ends.
fn told(run: &mut Child) -> String {
    let mut told = String::new();
    run.stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    told
}

/// The manifests in a store, of whatever run.
fn manifests(store: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    for run in entries(store) {
        let numbered = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.bytes().all(|b| b.is_ascii_digit())
        };
        found.extend(entries(&run.join("manifest")).into_iter().filter(numbered));
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// How many tasks of a phase were restored, after checking that the others were executed once.
fn restored(phase: &Value) -> u64 {
    let number = |name: &str| phase[name].as_u64().unwrap();
    let workers = phase["per_worker"].as_array().unwrap().iter();
    let executed: u64 = workers.map(|w| w["tasks"].as_u64().unwrap()).sum();
    let restored = number("tasks_restored");
    assert_eq!(number("tasks_recomputed"), 0, "{phase}");
    assert_eq!(executed + restored, number("tasks"), "{phase}");
    restored
}

#[test]
fn a_run_whose_driver_died_is_finished_by_another() {
    let place = Place::new("resume");
    let same = |name: &str, other: &str| {
        let same = place.folder.bytes(name) == place.folder.bytes(other);
        assert!(same, "{name} and {other} have other bits");
    };
    // An array is a folder of files: each must be the same, and no other be there.
    let same_array = || {
        let differences = Command::new("diff")
            .args(["-r", "r1.zarr", "r2.zarr"])
            .current_dir(&place.folder.0)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&differences.stdout);
        assert!(differences.status.success(), "R: {told}");
    };
    place.succeed(&format!("{PLAN} --workers 2 --q q1.npy --r r1.zarr"));
    let store = place.path("store");
    let line = format!(
        "{PLAN} --workers 2 --durability checkpoint:1 --store store --q q2.npy --r r2.zarr --report p.json"
    );
    let (mut run, number, blocks) = place.start_checkpointed(&line, || vec![store.clone()]);

    // A driver that lives is left alone.
    place.refused(&format!("resume {number}"), "is still running (process ");
    let listed = place.run("resume").stdout;
    let listed = String::from_utf8(listed).unwrap();
    assert_eq!(
        listed,
        format!("{number}  qr random:1600x1200:5 (running)\n")
    );
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    let kept = place.path("state/runs").join(&number);
    assert_eq!(mode(&kept), 0o700);
    assert_eq!(mode(&kept.join("record")), 0o600);

    signal("KILL", run.id());
    run.wait().unwrap();
    assert!(!place.path("q2.npy").exists());
    assert!(
        !place.path("r2.zarr/zarr.json").exists(),
        "it does not open"
    );
    let other = if number.starts_with('0') { "1" } else { "0" };
    place.refused(&format!("resume {other}"), "is kept in");
    place.refused("resume nothing", "`nothing` is no run; expected");
    copy(&store, &place.path("store-then"));
    copy(&place.path("state"), &place.path("state-then"));

    // Manifests of later numbers that are cut, made up or mixed up are refused; the one before is used.
    let newest = manifests(&store).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    for (name, bytes) in [
        ("4000000001", &bytes[..]),
        ("4000000002", &bytes[..bytes.len() / 2]),
        ("4000000003", b"pwrnckpt"),
    ] {
        fs::write(newest.with_file_name(name), bytes).unwrap();
    }
    let told = place.succeed(&format!(
        "resume {} --workers 3 --trace t.json --quiet",
        &number[..6]
    ));
    assert_eq!(
        told.matches("a checkpoint is not used").count(),
        3,
        "{told}"
    );
    same("q1.npy", "q2.npy");
    same_array();
    let report = place.folder.report("p.json");
    let restored_tasks = restored(&report) + restored(&report["q"]);
    assert!(restored_tasks > 0);
    // What was restored did not run again.
    let ran = entries(&place.folder.report("t.json"), "task").count() as u64;
    let all = total(&report, "/tasks") + total(&report, "/tasks_recomputed");
    assert_eq!(ran, all - restored_tasks);
    assert_eq!(report["durability"], "checkpoint:1");
    assert_eq!(report["workers"], 3);
    assert!(
        !blocks.exists() && !kept.exists(),
        "what it left is removed"
    );

    // A block that is not what it was: the manifest is refused, and the run begins anew.
    for name in ["store", "state"] {
        fs::remove_dir_all(place.path(name)).unwrap();
        copy(&place.path(&format!("{name}-then")), &place.path(name));
    }
    fs::remove_file(place.path("q2.npy")).unwrap();
    for folder in fs::read_dir(&blocks).unwrap() {
        let folder = folder.unwrap().path();
        if folder.file_name().unwrap() == "manifest" {
            continue;
        }
        for (place, block) in fs::read_dir(&folder).unwrap().enumerate() {
            let block = block.unwrap().path();
            let mut bytes = fs::read(&block).unwrap();
            bytes[0] ^= 1;
            bytes.truncate(bytes.len() - place % 2);
            fs::write(&block, bytes).unwrap();
        }
    }
    let told = place.succeed(&format!("resume {number} --report other.json --quiet"));
    assert!(told.contains("is not in the store as it was"), "{told}");
    same("q1.npy", "q2.npy");
    same_array();
    let report = place.folder.report("other.json");
    assert_eq!(restored(&report) + restored(&report["q"]), 0);
}

#[test]
fn a_run_that_fails_after_a_checkpoint_can_go_on_or_be_given_up() {
    let place = Place::new("interrupted");
    let line = format!("{PLAN} --workers 2 --durability checkpoint:1 --r r.npy");
    // The store is the run's own, among the temporary files.
    let stores = || {
        let stores = fs::read_dir(place.path("tmp")).unwrap().flatten();
        stores.map(|store| store.path()).collect()
    };
    let (mut run, number, blocks) = place.start_checkpointed(&line, stores);
    signal("INT", run.id());
    let told = told(&mut run);
    assert_eq!(run.wait().unwrap().code(), Some(1), "{told}");
    let hint = format!("`peerwren resume {number}` goes on from its last checkpoint");
    assert!(told.contains(&hint), "{told}");
    assert!(blocks.exists());
    assert_eq!(place.path("tmp").read_dir().unwrap().count(), 1);

    place.succeed(&format!("resume {number} --forget"));
    assert_eq!(place.path("tmp").read_dir().unwrap().count(), 0);
    assert_eq!(place.path("state/runs").read_dir().unwrap().count(), 0);
    place.refused(&format!("resume {number}"), "is kept in");
    assert!(!place.path("r.npy").exists());
}

/// Workers on other machines wait for a coordinator to come back, and go on with whoever resumes the run.
#[test]
fn workers_that_outlive_their_coordinator_work_for_the_next_one() {
    let place = Place::new("outlived");
    place.succeed(&format!("{PLAN} --workers 1 --r r1.npy"));
    let store = place.path("store");
    fs::create_dir(&store).unwrap();
    let port = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let line = format!(
        "coordinator --listen 127.0.0.1:{port} --token run.token {PLAN} --workers 2 --store store \
         --durability checkpoint:1 --r r2.npy --report p.json"
    );
    let worker = || {
        let line = "worker --token run.token --cores 1 --orphan 60 --quiet";
        place.command(line).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut started = None;
    let (mut run, number, _) = place.start_checkpointed(&line, || {
        if started.is_none() && place.path("run.token").exists() {
            started = Some([worker(), worker()]);
        }
        vec![store.clone()]
    });
    signal("KILL", run.id());
    run.wait().unwrap();
    place.succeed(&format!("resume {number} --quiet"));
    for mut worker in started.expect("they were started") {
        let told = told(&mut worker);
        assert_eq!(worker.wait().unwrap().code(), Some(0), "{told}");
    }
    let same = place.folder.bytes("r1.npy") == place.folder.bytes("r2.npy");
    assert!(same, "R has other bits");
    let report = place.folder.report("p.json");
    assert!(restored(&report) > 0);
    assert_eq!(report["engine"], "remote");
}
