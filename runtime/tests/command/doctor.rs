//! The examination of a machine: what it finds here, in words and as JSON, and how it ends.

use serde_json::Value;

use crate::tools::{Folder, is_alive, peerwren, signal, start, succeed, wait_until};

fn findings(folder: &Folder, options: &str) -> (Option<i32>, Value) {
    let output = peerwren(&folder.0, &format!("doctor --json {options}"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        found.unwrap_or_else(|error| panic!("{error}: {told}")),
    )
}

fn grade(found: &Value, name: &str) -> String {
    let all = found["findings"].as_array().unwrap();
    let one = all.iter().find(|finding| finding["name"] == name);
    one.map_or_else(String::new, |finding| {
        finding["grade"].as_str().unwrap().to_owned()
    })
}

#[test]
fn this_machine_can_run() {
    let folder = Folder::new("doctor");
    std::fs::create_dir(folder.0.join("store")).unwrap();
    let (status, found) = findings(&folder, "--store store");
    assert_eq!(
        (status, &found["well"]),
        (Some(0), &Value::Bool(true)),
        "{found}"
    );
    assert_eq!(found["schema"], 1);
    for name in ["processor", "UDP", "store's promises"] {
        assert_eq!(grade(&found, name), "ok", "{name}: {found}");
    }
    assert!(!grade(&found, "QUIC here").is_empty());
    let left = std::fs::read_dir(folder.0.join("store")).unwrap().count();
    assert_eq!(left, 0, "the probe is gone");
    let (status, found) = findings(&folder, "--engine processes");
    assert_eq!(status, Some(0), "{found}");
    for name in ["workers", "between workers"] {
        assert_eq!(grade(&found, name), "ok", "{name}: {found}");
    }
    let output = peerwren(&folder.0, "doctor");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("peerwren ") && text.contains("  ok    UDP "),
        "{text}"
    );
}

#[test]
fn what_does_not_work_is_said_with_what_to_do() {
    let folder = Folder::new("doctor-bad");
    std::fs::write(folder.0.join("file"), "no folder").unwrap();
    let (status, found) = findings(&folder, "--store file");
    assert_eq!(
        (status, grade(&found, "store").as_str()),
        (Some(1), "bad"),
        "{found}"
    );
    for (line, expected) in [
        ("doctor --token absent", "absent"),
        ("doctor --join 127.0.0.1:1", "--token"),
        ("doctor --store memory", "--store"),
        ("doctor --engine lambda:f", "--store"),
        ("doctor --engine gpu", "--engine"),
    ] {
        let output = peerwren(&folder.0, line);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {told}");
        assert!(told.contains(expected), "{line}: {told}");
    }
}

#[test]
fn the_way_to_a_coordinator_is_measured() {
    let folder = Folder::new("doctor-join");
    let line = "coordinator --listen 127.0.0.1:0 qr random:64x64 --workers 1 --store store --quiet";
    let mut run = start(&folder.0, line);
    wait_until("the token", || {
        folder.0.join("run.token").exists() || !is_alive(run.id())
    });
    let (status, found) = findings(&folder, "--token run.token");
    assert_eq!(status, Some(0), "{found}");
    assert_eq!(grade(&found, "coordinator"), "ok", "{found}");
    assert_eq!(grade(&found, "clock"), "ok", "{found}");
    // Asking costs the run nothing: it still waits.
    assert!(is_alive(run.id()));
    std::fs::copy(folder.0.join("run.token"), folder.0.join("copy")).unwrap();
    signal("INT", run.id());
    assert_eq!(run.wait().unwrap().code(), Some(1));
    let (status, found) = findings(&folder, "--token copy");
    assert_eq!(
        (status, grade(&found, "coordinator").as_str()),
        (Some(1), "bad"),
        "{found}"
    );
}

/// The simulator takes this machine as it was measured, and every kernel of QR has its own figure.
#[test]
fn this_machine_is_a_fleet() {
    let folder = Folder::new("doctor-fleet");
    succeed(&folder.0, "doctor --fleet here.toml");
    let fleet = String::from_utf8(folder.bytes("here.toml")).unwrap();
    for kernel in [
        "geqrt", "unmqr", "tsqrt", "tsmqr", "ttqrt", "ttmqr", "potrf", "gemm",
    ] {
        let section = format!("[kernels.at.{kernel}]\n128 = ");
        assert!(fleet.contains(&section), "no {kernel} in\n{fleet}");
    }
    let line = "sim qr random:600x600 --block 100 --workers 2 --fleet here.toml --quiet";
    succeed(&folder.0, line);
    let missing = peerwren(&folder.0, "doctor --fleet no/here.toml");
    let error = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(2), "{error}");
    assert!(error.starts_with("error: fleet no/here.toml: "), "{error}");
}
