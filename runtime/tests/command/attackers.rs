//! Attacks on runs as processes: what a holder of the token can do who is no worker, what comes of a store that
//! somebody else writes to, and where secrets show. The run goes on, with the same bits.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peerwren::control::joining::{ECHO_BYTES_MAX, FromGuest, ToGuest};
use peerwren::control::{decode, encode};
use peerwren_transports::block::{Block, BlockKey, Indices};
use peerwren_transports::identity::{NodeId, NodeIdentity, PendingIdentity};
use peerwren_transports::quic::{BlockSource, ControlReceiver, ControlSender, Limits, Node};

use crate::tools::{Folder, children, command, is_alive, peerwren, start, succeed, wait_until};

pub(crate) const PLAN: &str = "qr random:600x500:5 --block 50 --ib 10 --tree grid:2x2";

pub(crate) struct Nothing;

impl BlockSource for Nothing {
    fn get(&self, _: &BlockKey) -> Option<Block> {
        None
    }
}

/// What a token says.
pub(crate) struct Token {
    pub(crate) coordinator: SocketAddr,
    pub(crate) identity: NodeIdentity,
}

impl Token {
    pub(crate) fn read(folder: &Folder) -> Self {
        let text = String::from_utf8(folder.bytes("run.token")).unwrap();
        let mut lines = text.lines();
        let coordinator = lines.find_map(|line| line.strip_prefix("coordinator "));
        Self {
            coordinator: coordinator.unwrap().parse().unwrap(),
            identity: NodeIdentity::from_pem(&text).unwrap(),
        }
    }

    pub(crate) fn node(&self) -> Node {
        let here = "127.0.0.1:0".parse().unwrap();
        let bound = Node::bind(&self.identity, here, Arc::new(Nothing), Limits::default());
        bound.unwrap().0
    }
}

/// Somebody who holds the token and says what a worker would not.
pub(crate) struct Guest {
    sender: ControlSender,
    receiver: ControlReceiver,
}

impl Guest {
    pub(crate) async fn of(token: &Token, node: &Node) -> Self {
        let dialed = node.dial_control(token.coordinator, NodeId::Coordinator);
        let (sender, receiver) = dialed.await.unwrap().split();
        Self { sender, receiver }
    }

    /// The answer to bytes; none where the coordinator hangs up.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> Option<ToGuest> {
        self.sender.send(bytes).await.ok()?;
        let answer = self.receiver.recv().await.ok()??;
        Some(decode(&answer).unwrap())
    }

    async fn refused(&mut self, question: &FromGuest) -> String {
        match self.say(&encode(question)).await {
            Some(ToGuest::Refused { reason }) => reason,
            other => panic!("{question:?}: {other:?}"),
        }
    }
}

/// A coordinator of [`PLAN`] that waits for one worker, when its token is there.
fn coordinator(folder: &Folder, options: &str) -> Child {
    coordinator_of(folder, &format!("{PLAN} --workers 1 {options}"))
}

/// The same of any plan.
pub(crate) fn coordinator_of(folder: &Folder, plan: &str) -> Child {
    fs::create_dir_all(folder.0.join("store")).unwrap();
    let line = format!(
        "coordinator --listen 127.0.0.1:0 --token run.token {plan} --store store --r r.npy --report p.json"
    );
    let run = start(&folder.0, &line);
    wait_until("the token", || {
        folder.0.join("run.token").exists() || !is_alive(run.id())
    });
    run
}

pub(crate) fn ended(mut process: Child) -> (Option<i32>, String) {
    let mut told = String::new();
    let mut stderr = process.stderr.take().unwrap();
    stderr.read_to_string(&mut told).unwrap();
    (process.wait().unwrap().code(), told)
}

/// R as it is when nothing happens.
pub(crate) fn calm(folder: &Folder) -> Vec<u8> {
    succeed(&folder.0, &format!("{PLAN} --workers 1 --r r1.npy --quiet"));
    folder.bytes("r1.npy")
}

/// A worker of another version is refused with both versions named, and so is each question that makes no
/// sense; who talks nonsense is cut off.
#[test]
fn a_holder_of_the_token_harms_nobody() {
    let folder = Folder::new("guest");
    let expected = calm(&folder);
    let run = coordinator(&folder, "--quiet");
    let token = Token::read(&folder);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let node = token.node();
        let mut guest = Guest::of(&token, &node).await;
        let key = PendingIdentity::of(&token.identity).unwrap();
        let ours = env!("CARGO_PKG_VERSION");
        let join = |version: &str, public_key: &[u8], cores, memory_bytes| FromGuest::Join {
            version: version.to_owned(),
            public_key: public_key.to_vec(),
            cores,
            memory_bytes,
        };
        let told = guest
            .refused(&join("0.0.7", key.public_key(), 1, 1 << 30))
            .await;
        assert!(
            told.contains("0.0.7") && told.contains(ours),
            "both versions: {told}"
        );
        let bad: [(FromGuest, &str); 5] = [
            (join(ours, key.public_key(), 0, 1 << 30), "--cores"),
            (join(ours, key.public_key(), u32::MAX, 1 << 30), "--cores"),
            (join(ours, key.public_key(), 1, 1), "--memory"),
            (join(ours, b"no key", 1, 1 << 30), "public key"),
            (
                FromGuest::Echo {
                    bytes: vec![0; ECHO_BYTES_MAX + 1],
                },
                "echo",
            ),
        ];
        for (question, reason) in bad {
            let told = guest.refused(&question).await;
            assert!(told.contains(reason), "{reason}: {told}");
        }
        // Not a word of the protocol, and one longer than any.
        assert_eq!(guest.say(b"\xff\x00garbage").await, None);
        let mut giant = Guest::of(&token, &node).await;
        assert_eq!(giant.say(&vec![0; 12 << 20]).await, None);
        // A block of the run: a guest is no worker.
        let run = token.identity.run();
        for run in [run, run ^ 1] {
            let key = BlockKey::new(run, 0, Indices::new(&[0, 0]).unwrap());
            let got = node.fetch(NodeId::Coordinator, token.coordinator, key, None);
            assert!(got.await.is_err());
        }
    });
    let worker = start(&folder.0, "worker --token run.token --cores 1 --quiet");
    let (status, told) = ended(run);
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(ended(worker).0, Some(0));
    assert!(folder.bytes("r.npy") == expected, "other bits");
    let report = folder.report("p.json");
    assert_eq!(
        (&report["workers_lost"], &report["workers"]),
        (&0.into(), &1.into())
    );
}

/// The token of a run that is over, at the address of the next one.
#[test]
fn a_token_of_another_run_is_refused() {
    let folder = Folder::new("replayed");
    let first = coordinator(&folder, "--quiet");
    let old = Token::read(&folder);
    let worker = start(&folder.0, "worker --token run.token --cores 1 --quiet");
    assert_eq!(ended(first).0, Some(0));
    assert_eq!(ended(worker).0, Some(0));
    let second = coordinator(&folder, "--quiet");
    let new = Token::read(&folder);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let dialed = old.node();
        let dialed = dialed.dial_control(new.coordinator, NodeId::Coordinator);
        let Err(error) = dialed.await else {
            panic!("let in");
        };
        assert!(error.to_string().starts_with("refused"), "{error}");
    });
    let worker = start(&folder.0, "worker --token run.token --cores 1 --quiet");
    assert_eq!(ended(second).0, Some(0));
    assert_eq!(ended(worker).0, Some(0));
}

/// Blocks in the store are replaced by others of the same size: the directory's digest refuses them, and they are
/// made again.
#[test]
fn blocks_that_are_swapped_in_the_store_are_refused_and_made_again() {
    let folder = Folder::new("swapped");
    let expected = calm(&folder);
    fs::create_dir(folder.0.join("store")).unwrap();
    let line =
        format!("{PLAN} --workers 2 --exchange cache --store store --r r.npy --report p.json");
    let run = start(&folder.0, &line);
    let mut swapped = BTreeSet::new();
    while is_alive(run.id()) && swapped.len() < 40 {
        for path in blocks(&folder.0.join("store")) {
            if swapped.len() < 40 && !swapped.contains(&path) && swap(&path).is_some() {
                swapped.insert(path);
            }
        }
    }
    let (status, told) = ended(run);
    assert_eq!(status, Some(0), "{told}");
    assert!(folder.bytes("r.npy") == expected, "other bits");
    let found = told
        .matches("the store has other bytes than were made")
        .count();
    let report = folder.report("p.json");
    assert!(
        found > 0 && report["tasks_recomputed"].as_u64().unwrap() > 0,
        "of {} swapped blocks none was read: {told}",
        swapped.len()
    );
}

/// The blocks below a store's folder.
fn blocks(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            found.extend(blocks(&path));
        } else if !entry.file_name().to_string_lossy().contains("tmp") {
            found.push(path);
        }
    }
    found
}

/// Replaces a file by one of the same size with another first byte.
fn swap(path: &Path) -> Option<()> {
    let mut bytes = fs::read(path).ok()?;
    *bytes.first_mut()? ^= 1;
    let other = path.with_file_name("swap.tmp");
    fs::write(&other, bytes).ok()?;
    fs::rename(&other, path).ok()
}

/// All that a run says at its most talkative, all that it writes, and how its processes were called.
#[test]
fn secrets_show_nowhere() {
    let folder = Folder::new("secrets");
    let run = coordinator(&folder, "--trace t.json --log trace");
    let token = String::from_utf8(folder.bytes("run.token")).unwrap();
    let (_, private) = token.split_once("PRIVATE KEY-----").unwrap();
    let worker = start(&folder.0, "worker --token run.token --cores 1 --log trace");
    let mut shown = called(run.id()) + &called(worker.id());
    // Both are listened to at once: who is not would wait for that.
    let listening = [run, worker].map(|process| thread::spawn(move || ended(process)));
    for listening in listening {
        let (status, told) = listening.join().unwrap();
        assert_eq!(status, Some(0));
        shown += &told;
    }
    let run = start(
        &folder.0,
        &format!("{PLAN} --workers 2 --log trace --trace t2.json --report p2.json"),
    );
    let id = run.id();
    let listening = thread::spawn(move || ended(run));
    wait_until("the workers", || children(id).len() == 2 || !is_alive(id));
    for child in children(id) {
        shown += &called(child);
    }
    shown += &called(id);
    let (status, told) = listening.join().unwrap();
    assert_eq!(status, Some(0));
    shown += &told;
    for file in ["p.json", "t.json", "p2.json", "t2.json"] {
        shown += &String::from_utf8(folder.bytes(file)).unwrap();
    }
    assert!(shown.len() > 100_000, "it was talkative");
    let lines = private.lines().filter(|line| line.len() > 16);
    for secret in lines.take(3).chain(["PRIVATE KEY", "BEGIN CERTIFICATE"]) {
        assert!(!shown.contains(secret), "a secret is shown");
    }
    let output = peerwren(&folder.0, "worker --token run.token");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!told.contains("PRIVATE"), "{told}");
}

/// Arguments and environment of a process.
fn called(pid: u32) -> String {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let bytes = [read("cmdline"), read("environ")].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Two runs in one store at once: each has a folder of its own in it, and both are right.
#[test]
fn two_runs_share_a_store() {
    let folder = Folder::new("shared-store");
    let expected = calm(&folder);
    fs::create_dir(folder.0.join("store")).unwrap();
    let runs = ["a", "b"].map(|name| {
        let line = format!(
            "{PLAN} --workers 2 --exchange store --durability all --store store --r {name}.npy --quiet"
        );
        command(&folder.0, &line.split_whitespace().collect::<Vec<_>>(), &[])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    });
    for run in runs {
        let (status, told) = ended(run);
        assert_eq!(status, Some(0), "{told}");
    }
    for name in ["a.npy", "b.npy"] {
        assert!(folder.bytes(name) == expected, "{name}: other bits");
    }
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(blocks(&folder.0.join("store")), Vec::<PathBuf>::new());
}
