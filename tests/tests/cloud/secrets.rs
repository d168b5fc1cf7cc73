//! What shows of runs over a bucket to whoever reads their logs, reports, traces, arguments and objects: no key of the
//! bucket's, and none of the run's.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use peerwren_tests::command::{Folder, command, peerwren};
use peerwren_tests::s3_server::{S3Server, SECRET_KEY};

const SESSION_TOKEN: &str = "a-token-of-a-session-that-nobody-may-see";

/// All that shows of some processes and their bucket.
#[derive(Default)]
struct Shown {
    /// Each is listened to from its start on: who is not would wait for that.
    processes: Vec<(Child, JoinHandle<String>)>,
    told: String,
    objects: BTreeMap<String, Vec<u8>>,
}

impl Shown {
    /// Starts a command.
    fn start(&mut self, folder: &Folder, line: &str, variables: &[(&str, String)]) {
        let mut command = command(&folder.0, line, variables);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = process.stderr.take().unwrap();
        let listening = thread::spawn(move || std::io::read_to_string(stderr).unwrap());
        self.processes.push((process, listening));
    }

    /// Looks at arguments and objects until all processes have ended well.
    fn watch(&mut self, server: &S3Server) {
        while !self.processes.iter().all(|(_, told)| told.is_finished()) {
            for (process, _) in &self.processes {
                self.told += &called(process.id());
            }
            for key in server.keys() {
                // It may be gone by now.
                if let Some(bytes) = server.read(&key) {
                    self.objects.insert(key, bytes);
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
        for (mut process, told) in self.processes.drain(..) {
            let told = told.join().unwrap();
            assert!(process.wait().unwrap().success(), "{told}");
            self.told += &told;
        }
    }

    fn holds(&self, secret: &str) -> bool {
        let contains = |bytes: &[u8]| bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        self.told.contains(secret) || self.objects.values().any(|bytes| contains(bytes))
    }
}

/// Arguments of a process and its children. The bucket's keys are in the user's environment, by their own hand.
fn called(pid: u32) -> String {
    let read = |pid: &str| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let mut told = read(&pid.to_string());
    for child in children.unwrap_or_default().split_whitespace() {
        told.extend(read(child));
    }
    String::from_utf8_lossy(&told).into_owned()
}

/// Lines of the secret keys in a file.
fn keys_in(path: &Path) -> Vec<String> {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let keys = text.split("PRIVATE KEY-----").skip(1).step_by(2);
    let lines = keys.flat_map(|key| key.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| line.len() > 16).collect()
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let below = |path: std::path::PathBuf| match path.is_dir() {
        true => files_below(&path),
        false => vec![path],
    };
    paths.flat_map(below).collect()
}

#[test]
fn no_key_shows_in_runs_over_a_bucket() {
    if peerwren().is_none() {
        return;
    }
    let (server, folder) = (S3Server::start(), Folder::new("s3-secrets"));
    let state = folder.0.join("state");
    let mut variables = server.variables();
    variables.push(("AWS_SESSION_TOKEN", SESSION_TOKEN.to_owned()));
    variables.push(("PEERWREN_STATE", state.to_string_lossy().into_owned()));
    let plan = "qr random:160x128:7 --block 32 --ib 8 --store s3://bucket/runs --log trace";
    let mut shown = Shown::default();
    // Control by letters in the bucket, and a run that can be resumed.
    let line = format!(
        "coordinator --listen 127.0.0.1:0 --token run.token {plan} --workers 1 --control store --trace t1.json --report p1.json"
    );
    shown.start(&folder, &line, &variables);
    let token = folder.0.join("run.token");
    let mut secrets = loop {
        let kept = files_below(&state)
            .into_iter()
            .flat_map(|path| keys_in(&path));
        let kept: Vec<_> = kept.collect();
        if token.exists() && !kept.is_empty() {
            break kept;
        }
        let ended = shown.processes[0].0.try_wait().unwrap();
        assert!(ended.is_none(), "the coordinator has ended: {ended:?}");
        thread::sleep(Duration::from_millis(10));
    };
    secrets.extend(keys_in(&token));
    shown.start(
        &folder,
        "worker --token run.token --cores 1 --log trace",
        &variables,
    );
    shown.watch(&server);
    let line = format!(
        "{plan} --workers 2 --engine processes --exchange cache --trace t2.json --report p2.json"
    );
    shown.start(&folder, &line, &variables);
    shown.watch(&server);
    for file in ["t1.json", "p1.json", "t2.json", "p2.json"] {
        shown.told += &String::from_utf8(folder.bytes(file)).unwrap();
    }
    assert!(shown.told.len() > 100_000, "they were talkative");
    assert!(shown.objects.len() > 10, "the bucket was looked at");
    assert!(secrets.len() >= 4, "two keys are known: {secrets:?}");
    secrets.extend([SECRET_KEY, SESSION_TOKEN, "PRIVATE KEY"].map(str::to_owned));
    for secret in secrets {
        assert!(!shown.holds(&secret), "a secret is shown: {secret}");
    }
}
