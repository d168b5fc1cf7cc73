//! Who holds a run's token, is admitted, and is no worker as the others are: of another version, without kernels, with
//! other bits, or with wrong blocks for its peers. Each is made of what the libraries show to everybody; it is refused
//! or disbelieved alone, and the run goes on with the same bits.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use peerwren::control::joining::{FromGuest, ToGuest};
use peerwren::control::{Counts, FromWorker, ToWorker, decode, encode};
use peerwren::plan::Plan;
use peerwren_kernels::{KernelSet, self_test};
use peerwren_transports::block::{Block, BlockBuf, BlockKey, Digest};
use peerwren_transports::identity::{NodeId, PendingIdentity};
use peerwren_transports::quic::{BlockSource, ControlReceiver, ControlSender, Limits, Node};

use crate::attackers::{Guest, Nothing, PLAN, Token, calm, coordinator_of, ended};
use crate::tools::{Folder, command, start, succeed};

/// How long others may take to hear that an impostor is gone.
const GOODBYE: Duration = Duration::from_millis(200);

/// Somebody whom a coordinator has admitted as a worker.
struct Impostor {
    node: Node,
    sender: ControlSender,
    receiver: ControlReceiver,
}

impl Impostor {
    async fn admitted(token: &Token, blocks: Arc<dyn BlockSource>) -> Self {
        let key = PendingIdentity::of(&token.identity).unwrap();
        let guest = token.node();
        let join = FromGuest::Join {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            public_key: key.public_key().to_vec(),
            cores: 1,
            memory_bytes: 1 << 30,
        };
        let answer = Guest::of(token, &guest).await.say(&encode(&join)).await;
        guest.close(GOODBYE).await;
        let Some(ToGuest::Joined { certificate, .. }) = answer else {
            panic!("not admitted: {answer:?}");
        };
        let identity = key.complete(&certificate, SystemTime::now()).unwrap();
        let here = "127.0.0.1:0".parse().unwrap();
        let (node, _) = Node::bind(&identity, here, blocks, Limits::default()).unwrap();
        let dialed = node.dial_control(token.coordinator, NodeId::Coordinator);
        let (sender, receiver) = dialed.await.unwrap().split();
        Self {
            node,
            sender,
            receiver,
        }
    }

    async fn say(&mut self, message: &FromWorker) {
        // The coordinator may have hung up.
        let _ = self.sender.send(&encode(message)).await;
    }

    async fn hear(&mut self) -> Option<ToWorker> {
        let bytes = self.receiver.recv().await.ok()??;
        Some(decode(&bytes).unwrap())
    }

    /// Says hello, as an honest worker but for `lie`.
    async fn hello(&mut self, lie: impl FnOnce(&mut Words)) {
        let words: Vec<f64> = self_test();
        let kernels = KernelSet::standard();
        let kernels = kernels.iter().map(|k| (k.name().to_owned(), k.version()));
        let mut words = Words {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fingerprint: Digest::of(bytemuck::cast_slice(&words)),
            kernels: kernels.collect(),
        };
        lie(&mut words);
        let hello = FromWorker::Hello {
            version: words.version,
            addresses: vec![self.node.local_addr().to_string()],
            fingerprint: words.fingerprint,
            kernels: words.kernels,
            cpu: "none".to_owned(),
        };
        self.say(&hello).await;
    }

    /// Why the coordinator does not take it.
    async fn refused(mut self) -> String {
        loop {
            match self.hear().await {
                Some(ToWorker::Refused { reason }) => {
                    self.node.close(GOODBYE).await;
                    return reason;
                }
                Some(_) => {}
                None => panic!("hung up without a word"),
            }
        }
    }
}

/// What a worker says of itself.
struct Words {
    version: String,
    fingerprint: Digest,
    kernels: Vec<(String, u32)>,
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(future);
}

#[test]
fn volunteers_that_cannot_take_part_are_refused_alone() {
    let folder = Folder::new("unfit");
    let expected = calm(&folder);
    let run = coordinator_of(&folder, &format!("{PLAN} --workers 1 --quiet"));
    let token = Token::read(&folder);
    block_on(async {
        let mut older = Impostor::admitted(&token, Arc::new(Nothing)).await;
        older
            .hello(|words| words.version = "0.0.7".to_owned())
            .await;
        let told = older.refused().await;
        let ours = env!("CARGO_PKG_VERSION");
        assert!(
            told.contains("0.0.7") && told.contains(ours),
            "both versions: {told}"
        );
        let mut empty = Impostor::admitted(&token, Arc::new(Nothing)).await;
        empty.hello(|words| words.kernels.clear()).await;
        let told = empty.refused().await;
        assert!(told.contains("lacks kernel"), "{told}");
        // They hang up instead: more than a run takes losses of workers that have done nothing.
        for _ in 0..5 {
            let mute = Impostor::admitted(&token, Arc::new(Nothing)).await;
            mute.node.close(GOODBYE).await;
        }
    });
    let worker = start(&folder.0, "worker --token run.token --cores 1 --quiet");
    let (status, told) = ended(run);
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(ended(worker).0, Some(0));
    assert!(folder.bytes("r.npy") == expected, "other bits");
    let report = folder.report("p.json");
    assert!(report["workers_refused"].as_u64() >= Some(2), "{report}");
    assert_eq!(report["workers_lost"], 0);
}

#[test]
fn a_volunteer_with_other_bits_is_refused_alone() {
    let folder = Folder::new("other-bits");
    let expected = calm(&folder);
    let run = coordinator_of(&folder, &format!("{PLAN} --workers 2 --quiet"));
    let token = Token::read(&folder);
    let mut worker = None;
    block_on(async {
        let mut other = Impostor::admitted(&token, Arc::new(Nothing)).await;
        // Of equally many the smallest digest is the run's.
        let lie = |words: &mut Words| words.fingerprint = Digest([0xff; 32]);
        other.hello(lie).await;
        worker = Some(start(
            &folder.0,
            "worker --token run.token --cores 1 --quiet",
        ));
        let told = other.refused().await;
        assert!(told.contains("other bits"), "{told}");
    });
    let (status, told) = ended(run);
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(worker.map(ended).and_then(|(status, _)| status), Some(0));
    assert!(folder.bytes("r.npy") == expected, "other bits");
    let report = folder.report("p.json");
    assert_eq!(
        (&report["workers_refused"], &report["workers_lost"]),
        (&1.into(), &0.into())
    );
}

/// A worker of another version than the driver that starts it.
#[test]
fn a_worker_process_of_another_version_says_so() {
    let folder = Folder::new("other-version");
    let worker = command(&folder.0, &[], &[("PEERWREN_WORKER_PROCESS", "0.0.7")]).output();
    let worker = worker.unwrap();
    let told = String::from_utf8(worker.stderr).unwrap();
    assert_eq!(worker.status.code(), Some(1), "{told}");
    let ours = env!("CARGO_PKG_VERSION");
    assert!(
        told.contains("0.0.7") && told.contains(ours) && told.lines().count() == 1,
        "both versions: {told}"
    );
}

/// Zeros for every block of a plan.
#[derive(Default)]
struct Zeros(OnceLock<Arc<Plan>>);

impl BlockSource for Zeros {
    fn get(&self, key: &BlockKey) -> Option<Block> {
        let bytes = self.0.get()?.bytes(key);
        Some(BlockBuf::with_len(usize::try_from(bytes).ok()?).freeze())
    }
}

/// Some seconds on any machine.
const LONG: &str = "qr random:1200x900:5 --block 50 --ib 10 --tree grid:2x2";

/// A worker says that it has every block that there is, and gives zeros to whoever asks: what comes has not the digest
/// that the directory has from the block's maker.
#[test]
fn wrong_blocks_from_a_peer_change_no_bit() {
    let folder = Folder::new("wrong-blocks");
    succeed(&folder.0, &format!("{LONG} --workers 1 --r r1.npy --quiet"));
    // A helper owns nothing, so that the liar has no task to fail at.
    let mut run = coordinator_of(
        &folder,
        &format!("{LONG} --workers 2 --policy owner --log info"),
    );
    let token = Token::read(&folder);
    // On loopback, where nobody has to be introduced.
    let worker = "worker --token run.token --listen 127.0.0.1:0 --cores 1 --quiet";
    let workers = [(); 2].map(|()| start(&folder.0, worker));
    let told = after_joining(&mut run, 2);
    block_on(async {
        let blocks = Arc::new(Zeros::default());
        let mut liar = Impostor::admitted(&token, Arc::clone(&blocks) as _).await;
        liar.hello(|_| {}).await;
        let Some(ToWorker::Welcome { plan, .. }) = liar.hear().await else {
            panic!("not welcomed");
        };
        let plan = Plan::new(plan, KernelSet::standard()).unwrap();
        let tasks = (0..plan.phase_count()).flat_map(|phase| plan.tasks(phase));
        let keys: Vec<_> = tasks.flat_map(|task| plan.outputs(&task)).collect();
        assert!(blocks.0.set(Arc::clone(&plan)).is_ok());
        let mut every = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                message = liar.hear() => match message {
                    None | Some(ToWorker::Stop) => break,
                    Some(_) => {}
                },
                _ = every.tick() => {
                    let (keys, refused) = (keys.clone(), Vec::new());
                    let counts = Counts::default();
                    liar.say(&FromWorker::Taken { keys, refused, counts }).await;
                }
            }
        }
        liar.node.close(GOODBYE).await;
    });
    assert_eq!(
        run.wait().unwrap().code(),
        Some(0),
        "{}",
        told.join().unwrap()
    );
    for worker in workers {
        assert_eq!(ended(worker).0, Some(0));
    }
    assert!(
        folder.bytes("r.npy") == folder.bytes("r1.npy"),
        "other bits"
    );
    let report = folder.report("p.json");
    let wrong = report["requests"]["peer_wrong"].as_u64().unwrap();
    // Three each, and what is under way when the third comes.
    assert!((1..=10).contains(&wrong), "{wrong} wrong blocks");
    assert_eq!(report["workers_lost"], 0);
}

/// Waits until so many workers have joined; what is told later comes from the thread.
fn after_joining(run: &mut Child, workers: usize) -> thread::JoinHandle<String> {
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let mut told = String::new();
    while told.matches("joined").count() < workers {
        let line = lines.next().expect("it is told who joins").unwrap();
        told = told + &line + "\n";
    }
    thread::spawn(move || told + &lines.map_while(Result::ok).collect::<String>())
}
