//! What workers say that lie or are broken: the coordinator's machine takes any message of a worker at any time
//! without a panic. What it then believes is not judged here.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use peerwren::control::{Counts, FromWorker, Kept, Made, Missed, PeerWay, ToWorker, decode};
use peerwren::linalg::{self, Operation, Request};
use peerwren::machine::scheduler::{Action, Input, Scheduler, Settings};
use peerwren::machine::{LeaseId, Timestamp, WorkerId};
use peerwren::manifest::{Manifest, ManifestKey};
use peerwren::matrix::MatrixSource;
use peerwren::options::{MachineFacts, Resolved, RunOptions};
use peerwren::plan::Plan;
use peerwren_transports::block::{BlockKey, Digest, Indices};

/// The run: a QR of 3 x 3 tiles on two workers.
struct Run {
    plan: Arc<Plan>,
    options: Resolved,
    keys: Vec<BlockKey>,
}

static RUN: LazyLock<Run> = LazyLock::new(Run::make);

impl Run {
    fn make() -> Self {
        let input = MatrixSource::parse("random:12x12").expect("an input");
        let facts = MachineFacts {
            cores: 2,
            memory_available_bytes: 1 << 30,
        };
        let options = RunOptions {
            block: Some(4),
            workers: Some(2),
            durability: Some("checkpoint:1".parse().expect("a durability")),
            ..RunOptions::default()
        };
        let problem = Operation::Qr.problem(&[input.shape()]).expect("a problem");
        let options = options.resolve_for(&problem, &facts).expect("options");
        let request = Request::new(Operation::Qr, vec![input], options.clone());
        let job = linalg::plan(&request).expect("a job");
        let plan = Plan::new(job.plan, request.kernels).expect("a plan");
        let mut keys = Vec::new();
        for phase in 0..plan.phase_count() {
            keys.extend(plan.sources(phase));
            for task in plan.tasks(phase) {
                keys.extend(plan.outputs(&task));
            }
        }
        // Blocks of no plan: another run's, another family's, indices that are none.
        let run = plan.run();
        let far = Indices::new(&[-1, i64::from(i32::MAX)]).expect("indices");
        keys.push(BlockKey::new(run + 1, 0, far));
        keys.push(BlockKey::new(run, 0, far));
        keys.push(BlockKey::new(run, u16::MAX, far));
        Self {
            plan,
            options,
            keys,
        }
    }
}

/// A worker's sayings, told as bytes: what, who, and what it needs.
struct Words<'a> {
    bytes: std::slice::Iter<'a, u8>,
    now: Timestamp,
}

impl Words<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    fn worker(&mut self) -> WorkerId {
        WorkerId(u32::from(self.byte() % 6))
    }

    fn lease(&mut self) -> LeaseId {
        LeaseId(u64::from(self.byte()))
    }

    fn key(&mut self) -> BlockKey {
        let keys = &RUN.keys;
        keys[usize::from(self.byte()) % keys.len()]
    }

    fn keys(&mut self) -> Vec<BlockKey> {
        (0..self.byte() % 5).map(|_| self.key()).collect()
    }

    fn made(&mut self) -> Made {
        let key = self.key();
        let byte = self.byte();
        Made {
            key,
            digest: (!byte.is_multiple_of(5)).then(|| Digest::of(&[byte % 5])),
            bytes: if byte > 200 { u64::MAX } else { 128 },
            durable: byte.is_multiple_of(2),
        }
    }

    fn kept(&mut self) -> Kept {
        let key = self.key();
        let byte = self.byte();
        let digest = (!byte.is_multiple_of(5)).then(|| Digest::of(&[byte % 5]));
        Kept { key, digest }
    }

    fn missed(&mut self) -> Missed {
        Missed {
            key: self.key(),
            workers: vec![self.worker()],
            unreachable: vec![self.worker()],
            store: self.byte().is_multiple_of(2),
        }
    }

    /// What one worker says.
    fn message(&mut self) -> FromWorker {
        let counts = Counts::default();
        match self.byte() % 12 {
            0 => FromWorker::Done {
                lease: self.lease(),
                made: (0..self.byte() % 4).map(|_| self.made()).collect(),
                dropped: self.keys(),
                compute_ns: u64::from(self.byte()) << 56,
                counts,
            },
            1 => FromWorker::Missing {
                lease: self.lease(),
                blocks: (0..self.byte() % 3).map(|_| self.missed()).collect(),
            },
            2 => FromWorker::Durable {
                blocks: (0..self.byte() % 5).map(|_| self.kept()).collect(),
                counts,
            },
            3 => FromWorker::Preloaded {
                keys: self.keys(),
                counts,
            },
            4 => FromWorker::Leaving {
                until_ms: u64::from(self.byte()) << 50,
            },
            5 => FromWorker::Taken {
                keys: self.keys(),
                refused: self.keys(),
                counts,
            },
            6 => FromWorker::Alive {
                orders: u64::from(self.byte()),
                dropped: self.keys(),
                counts,
            },
            7 => FromWorker::Way {
                peer: self.worker(),
                way: [PeerWay::Local, PeerWay::Punched, PeerWay::Store]
                    [usize::from(self.byte()) % 3],
            },
            8 => FromWorker::WantPath {
                peer: self.worker(),
            },
            9 => FromWorker::Failed {
                lease: self.lease(),
                error: "a kernel refuses".to_owned(),
            },
            // As it would come, with counts that nobody has counted.
            _ => {
                let length = usize::from(self.byte());
                let said: Vec<u8> = self.bytes.by_ref().take(length).copied().collect();
                decode(&said).unwrap_or(FromWorker::Moved {
                    outside: Vec::new(),
                })
            }
        }
    }
}

/// A run as its workers tell it.
pub fn run(bytes: &[u8]) {
    let settings = Settings::of(&RUN.options);
    let mut scheduler = Scheduler::new(RUN.plan.clone(), settings);
    let mut words = Words {
        bytes: bytes.iter(),
        now: Timestamp::default(),
    };
    let mut leases: Vec<(WorkerId, LeaseId, Vec<BlockKey>)> = Vec::new();
    feed(&mut scheduler, words.now, Input::Begin, &mut leases);
    while !words.bytes.as_slice().is_empty() {
        words.now = words.now.after(Duration::from_millis(10));
        let input = match words.byte() % 12 {
            0 | 1 => {
                let worker = words.worker();
                match words.byte() {
                    77 => Input::Unfit(worker, "another version".to_owned()),
                    byte => {
                        let bits = Digest::of(&[byte / 128]);
                        Input::Joined(worker, vec!["127.0.0.1:1".to_owned()], bits)
                    }
                }
            }
            2 => Input::Left(words.worker()),
            3 => Input::ManifestWritten(Ok(())),
            4 => Input::Swept,
            5 => {
                words.now = words.now.after(Duration::from_millis(300));
                scheduler.handle_timeout(words.now);
                continue;
            }
            // What an honest worker would say of a task.
            6..=8 if !leases.is_empty() => {
                let chosen = usize::from(words.byte()) % leases.len();
                let (worker, lease, keys) = leases.swap_remove(chosen);
                Input::Message(worker, done(lease, &keys))
            }
            _ => {
                let worker = words.worker();
                Input::Message(worker, words.message())
            }
        };
        feed(&mut scheduler, words.now, input, &mut leases);
    }
}

fn done(lease: LeaseId, keys: &[BlockKey]) -> FromWorker {
    let made = keys.iter().map(|key| Made {
        key: *key,
        digest: Some(Digest::of(key.to_string().as_bytes())),
        bytes: 128,
        durable: false,
    });
    FromWorker::Done {
        lease,
        made: made.collect(),
        dropped: Vec::new(),
        compute_ns: 1_000,
        counts: Counts::default(),
    }
}

fn feed(
    scheduler: &mut Scheduler,
    now: Timestamp,
    input: Input,
    leases: &mut Vec<(WorkerId, LeaseId, Vec<BlockKey>)>,
) {
    scheduler.handle_input(now, input);
    while let Some(action) = scheduler.poll_action() {
        match action {
            Action::Send(worker, ToWorker::Assign(assignment)) => {
                let keys = RUN.plan.outputs(&assignment.task);
                leases.push((worker, assignment.lease, keys));
            }
            Action::WriteManifest(manifest) => {
                let key = ManifestKey([7; 32]);
                let again = Manifest::decode(&manifest.encode(&key), &key);
                assert!(again.is_ok(), "{:?}", again.err());
            }
            _ => {}
        }
    }
    let _ = scheduler.poll_timeout();
}
