//! Workers that must leave: what they give away, to whom, and what becomes of what they cannot.

use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{BlockKey, Indices};

use super::plans;
use super::setup::{Costs, Faults, Setup};
use super::tables::{NOW, actions, digest, done, fetch, joined, one_core, scheduler};
use super::truth::Truth;
use super::world::{Outcome, World};
use crate::control::{
    Assignment, Counts, FromWorker, InputHint, Kept, StoreReason, Tally, ToWorker,
};
use crate::machine::cache::Copy;
use crate::machine::fleet::FRUITLESS_LOSSES_A_SLOT_MAX;
use crate::machine::scheduler::{Input, Scheduler};
use crate::machine::worker::{self, Action, Origin, Worker};
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::matrix::Moved;
use crate::options::{Durability, Exchange, Policy};
use crate::plan::{Plan, TaskId};

fn says(coordinator: &mut Scheduler, now: Timestamp, id: u32, message: FromWorker) -> Vec<String> {
    coordinator.handle_input(now, Input::Message(WorkerId(id), message));
    actions(coordinator)
}

fn after(ms: u64) -> Timestamp {
    NOW.after(Duration::from_millis(ms))
}

/// A run on two workers in which worker 0 keeps the only copy of a block that is still read. A chain
/// of two tasks: the first has made the block, the second is leased to worker 0.
fn keeper() -> (Scheduler, Arc<Plan>, TaskId, BlockKey) {
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let block = plan.outputs(&first)[0];
    let mut coordinator = scheduler(&plan, 2);
    joined(&mut coordinator, 0, 1);
    joined(&mut coordinator, 1, 1);
    actions(&mut coordinator);
    let began = says(&mut coordinator, NOW, 0, done(&plan, 1, &first, false));
    assert_eq!(began, ["0 gets lease 2"]);
    // Its result is durable, or it would put it into the store before anything else: make it a
    // block that nobody stores by saying that the store has lost it.
    (coordinator, plan, first, block)
}

fn leaving(ms: u64) -> FromWorker {
    FromWorker::Leaving { until_ms: ms }
}

fn given_back(lease: u64) -> FromWorker {
    FromWorker::Missing {
        lease: LeaseId(lease),
        blocks: Vec::new(),
    }
}

fn taken(keys: &[BlockKey], refused: &[BlockKey]) -> FromWorker {
    FromWorker::Taken {
        keys: keys.to_vec(),
        refused: refused.to_vec(),
        counts: Counts::default(),
    }
}

fn durable(key: BlockKey) -> FromWorker {
    FromWorker::Durable {
        blocks: vec![Kept {
            key,
            digest: Some(digest(9)),
        }],
        counts: Counts::default(),
    }
}

#[test]
fn a_result_is_stored_before_its_maker_goes() {
    let (mut coordinator, _, _, block) = keeper();
    let words = says(&mut coordinator, NOW, 0, leaving(1_000));
    assert_eq!(words, ["start 2 in 0"], "it stores its result by itself");
    let words = says(&mut coordinator, NOW, 0, given_back(2));
    assert_eq!(words, ["1 gets lease 3"], "the other worker does its task");
    let words = says(&mut coordinator, NOW, 0, durable(block));
    assert_eq!(words, ["stop 0"]);
    assert_eq!(coordinator.lost(), 0);
    // What it says later changes nothing, nor does its end.
    coordinator.handle_input(NOW, Input::Left(WorkerId(0)));
    assert_eq!(actions(&mut coordinator), Vec::<String>::new());
    assert_eq!(coordinator.lost(), 0);
}

/// A QR plan, one worker, which keeps blocks that are no results.
fn lone_keeper() -> (Scheduler, Arc<Plan>, Vec<BlockKey>) {
    let plan = plans::qr(2, 2, 0, "flat", 1, false);
    let first = plan.starters(0)[0];
    let mut coordinator = scheduler(&plan, 1);
    joined(&mut coordinator, 0, 1);
    actions(&mut coordinator);
    says(&mut coordinator, NOW, 0, done(&plan, 1, &first, false));
    let mut kept = plan.outputs(&first);
    kept.retain(|key| {
        let mut readers = Vec::new();
        plan.readers(key, &mut readers);
        !readers.is_empty()
    });
    kept.sort_unstable();
    assert!(kept.len() > 1, "the panel's factors are read");
    (coordinator, plan, kept)
}

#[test]
fn the_heir_takes_what_only_the_leaver_keeps() {
    let (mut coordinator, _, kept) = lone_keeper();
    let words = says(&mut coordinator, NOW, 0, leaving(1_000));
    assert_eq!(words, ["start 1 in 0"]);
    let leases: Vec<_> = coordinator
        .fleet()
        .get(WorkerId(0))
        .expect("it serves until it is told to stop")
        .leases
        .iter()
        .map(|lease| lease.0)
        .collect();
    for lease in leases {
        let words = says(&mut coordinator, NOW, 0, given_back(lease));
        assert_eq!(words, Vec::<String>::new(), "nobody else is there yet");
    }
    joined(&mut coordinator, 1, 1);
    let words = actions(&mut coordinator);
    let takes = format!("1 takes from {:?}", vec![0; kept.len()]);
    assert!(words.contains(&takes), "{words:?}");
    let words = says(&mut coordinator, NOW, 1, taken(&kept[..1], &[]));
    assert!(!words.contains(&"stop 0".to_owned()), "{words:?}");
    let words = says(&mut coordinator, NOW, 1, taken(&kept[1..], &[]));
    assert_eq!(words, ["stop 0"]);
    assert_eq!((coordinator.lost(), coordinator.progress().1), (0, 1));
}

#[test]
fn what_is_not_taken_in_time_goes_to_the_store() {
    let leaves = || {
        let (mut coordinator, _, kept) = lone_keeper();
        says(&mut coordinator, NOW, 0, leaving(1_000));
        let leases: Vec<_> = coordinator
            .fleet()
            .get(WorkerId(0))
            .expect("there")
            .leases
            .clone()
            .into_iter()
            .collect();
        for lease in leases {
            says(&mut coordinator, NOW, 0, given_back(lease.0));
        }
        (coordinator, kept)
    };
    let stores = |kept: &[BlockKey]| {
        format!(
            "0 gets {:?}",
            ToWorker::Store {
                keys: kept.to_vec(),
                reason: StoreReason::Handover,
            }
        )
    };
    // Nobody has come by half of the time.
    let (mut coordinator, kept) = leaves();
    assert_eq!(
        coordinator.poll_timeout().map(|(at, _)| at),
        Some(after(500))
    );
    coordinator.handle_timeout(after(500));
    assert_eq!(actions(&mut coordinator), [stores(&kept)]);
    for (place, key) in kept.iter().enumerate() {
        let words = says(&mut coordinator, after(600), 0, durable(*key));
        let last = place + 1 == kept.len();
        assert_eq!(words == ["stop 0"], last, "{words:?}");
    }
    // The heir has no room.
    let (mut coordinator, kept) = leaves();
    joined(&mut coordinator, 1, 1);
    actions(&mut coordinator);
    let words = says(&mut coordinator, NOW, 1, taken(&[], &kept));
    assert_eq!(words, [stores(&kept)]);
    // Not even that: it is told to stop before its end, and what it had is made again.
    let (mut coordinator, _) = leaves();
    joined(&mut coordinator, 1, 1);
    coordinator.handle_timeout(after(500));
    actions(&mut coordinator);
    coordinator.handle_timeout(after(900));
    let words = actions(&mut coordinator);
    assert!(words.contains(&"stop 0".to_owned()), "{words:?}");
    assert_eq!(coordinator.lost(), 0);
}

#[test]
fn who_dies_while_it_leaves_is_lost_but_replaced_once() {
    let (mut coordinator, ..) = lone_keeper();
    says(&mut coordinator, NOW, 0, leaving(1_000));
    coordinator.handle_input(NOW, Input::Left(WorkerId(0)));
    assert_eq!(actions(&mut coordinator), Vec::<String>::new());
    assert_eq!(coordinator.lost(), 1);
    joined(&mut coordinator, 1, 1);
    let words = actions(&mut coordinator);
    assert!(
        words.iter().any(|word| word.starts_with("1 gets lease")),
        "the first task again: {words:?}"
    );
}

#[test]
fn workers_that_leave_at_once_are_not_replaced_for_ever() {
    let plan = plans::weave(2, 4);
    let mut coordinator = scheduler(&plan, 1);
    for id in 0..FRUITLESS_LOSSES_A_SLOT_MAX {
        joined(&mut coordinator, id, 1);
        actions(&mut coordinator);
        let held = coordinator.fleet().get(WorkerId(id)).expect("there");
        let held: Vec<_> = held.leases.iter().map(|lease| lease.0).collect();
        assert!(!held.is_empty(), "it was given tasks");
        let words = says(&mut coordinator, NOW, id, leaving(100));
        for lease in held {
            says(&mut coordinator, NOW, id, given_back(lease));
        }
        assert!(
            words.iter().any(|word| word.starts_with("start")),
            "{words:?}"
        );
    }
    joined(&mut coordinator, FRUITLESS_LOSSES_A_SLOT_MAX, 1);
    actions(&mut coordinator);
    let words = says(
        &mut coordinator,
        NOW,
        FRUITLESS_LOSSES_A_SLOT_MAX,
        leaving(100),
    );
    assert!(
        words.contains(&"failed: workers have to leav".to_owned()),
        "{words:?}"
    );
}

// ---- the worker

fn hint(key: BlockKey) -> InputHint {
    InputHint {
        key,
        digest: Some(digest(1)),
        holders: vec![WorkerId(4)],
        durable: false,
    }
}

fn one_worker(plan: &Arc<Plan>, memory_bytes: u64) -> Worker {
    let settings = one_core(Exchange::Peer, memory_bytes);
    Worker::new(NOW, Arc::clone(plan), settings)
}

fn all(worker: &mut Worker) -> Vec<Action> {
    worker.check_invariants();
    std::iter::from_fn(|| worker.poll_action()).collect()
}

#[test]
fn a_leaver_gives_back_what_it_has_not_begun() {
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let block = plan.outputs(&first)[0];
    let mut readers = Vec::new();
    plan.readers(&block, &mut readers);
    let mut worker = one_worker(&plan, 1 << 20);
    let assign = |lease, inputs| {
        worker::Input::Assigned(Assignment {
            lease: LeaseId(lease),
            task: readers[0],
            inputs,
            dead: Vec::new(),
        })
    };
    worker.handle_input(NOW, assign(1, vec![hint(block)]));
    let copy = Copy {
        key: block,
        private: None,
    };
    let fetch = fetch(copy, Origin::Peer(WorkerId(4)), Some(digest(1)), None);
    assert_eq!(all(&mut worker), [fetch]);
    worker.handle_input(NOW, worker::Input::Leave(Duration::from_secs(3)));
    let back = |lease| Action::Send(given_back(lease));
    assert_eq!(all(&mut worker), [Action::Send(leaving(3_000)), back(1)]);
    // What comes is kept for others, what is given is given back, and being told twice is once.
    worker.handle_input(NOW, worker::Input::Fetched(copy, Ok(Moved::once(8))));
    worker.handle_input(NOW, assign(2, vec![hint(block)]));
    worker.handle_input(NOW, worker::Input::Leave(Duration::from_secs(3)));
    assert_eq!(all(&mut worker), [back(2)]);
    let bytes = plan.bytes(&block);
    assert_eq!(worker.cache().used().0, bytes, "only the block takes room");
}

#[test]
fn what_was_taken_is_spilled_before_it_leaves() {
    let plan = plans::weave(2, 6);
    let keys = plan.sources(0);
    let bytes = plan.bytes(&keys[0]);
    // Room for 4 blocks, one of them the tasks' own: the fourth is refused.
    let mut worker = one_worker(&plan, 4 * bytes);
    let outputs: Vec<_> = (0..4)
        .map(|row| BlockKey::new(7, 1, Indices::new(&[1, row]).expect("small")))
        .collect();
    worker.handle_input(
        NOW,
        worker::Input::Take(outputs.iter().map(|key| hint(*key)).collect()),
    );
    let said = all(&mut worker);
    assert!(
        said.contains(&Action::Send(FromWorker::Taken {
            keys: Vec::new(),
            refused: outputs[3..].to_vec(),
            counts: Counts {
                tally: Tally {
                    cache_bytes: 3 * bytes,
                    cache_bytes_peak: 3 * bytes,
                    ..Tally::default()
                },
                ..Counts::default()
            },
        })),
        "{said:?}"
    );
    let copy = |key: BlockKey| Copy { key, private: None };
    worker.handle_input(
        NOW,
        worker::Input::Fetched(copy(outputs[0]), Ok(Moved::once(8))),
    );
    let said = all(&mut worker);
    assert!(
        said.iter().any(|action| matches!(action, Action::Send(FromWorker::Taken { keys, .. }) if keys == &outputs[..1])),
        "{said:?}"
    );
    let held = worker.cache().get(&copy(outputs[0])).expect("it came");
    assert!(!held.spare, "nobody else has it");
}

/// A worker that keeps nothing leaves in time for a replacement to start, one with much to give away
/// earlier, and none before half of its life.
#[test]
fn how_early_a_worker_leaves_follows_from_what_it_keeps() {
    let plan = plans::weave(2, 6);
    let keys: Vec<_> = (0..4)
        .map(|row| BlockKey::new(7, 1, Indices::new(&[1, row]).expect("small")))
        .collect();
    let bytes = plan.bytes(&keys[0]);
    // Seconds of life, seconds that a block takes to come, and when it says that it leaves.
    let table = [
        (60, 0, 49),
        (60, 3, 37),
        (60, 60, 29),
        (900, 3, 877),
        (10, 0, 4),
    ];
    for (life, fetch, leaves) in table {
        let mut worker = one_worker(&plan, 8 * bytes);
        let second = |s: u64| NOW.after(Duration::from_secs(s));
        worker.must_end(second(life));
        if fetch > 0 {
            let blocks = keys.iter().map(|key| hint(*key)).collect();
            worker.handle_input(NOW, worker::Input::Take(blocks));
            for (place, key) in (0..).zip(&keys) {
                // Two are on their way at a time.
                let at = second(fetch * (1 + place / 2));
                let copy = Copy {
                    key: *key,
                    private: None,
                };
                worker.handle_input(at, worker::Input::Fetched(copy, Ok(Moved::once(bytes))));
            }
        }
        let left = (0..life).find(|&s| {
            worker.handle_timeout(second(s));
            let said = all(&mut worker);
            said.iter()
                .any(|action| matches!(action, Action::Send(FromWorker::Leaving { .. })))
        });
        assert_eq!(left, Some(leaves), "{life} s of life, {fetch} s a block");
    }
}

// ---- the world

fn waves(seed: u64, workers: u32, memory: u64, work_us: u64, notice_us: u64) -> Setup {
    Setup {
        seed,
        workers,
        elastic: None,
        cores: 1 + u32::from(seed.is_multiple_of(3)),
        policy: Policy::Locality,
        exchange: Exchange::Peer,
        durability: Durability::Outputs,
        preload: seed.is_multiple_of(4),
        checkpoint_us: None,
        memory,
        costs: Costs::Drawn,
        faults: Faults {
            life_us: work_us + notice_us,
            notice_us,
            ..Faults::default()
        },
    }
}

/// All workers end at about the same time, again and again: with time to give their blocks away no
/// task runs twice.
#[test]
fn nothing_is_computed_again_while_there_is_time() {
    let truth = Truth::of(plans::qr(7, 5, 1, "grid:2x2", 4, true));
    let (mut replaced, mut moved) = (0, 0);
    for seed in 0..40 {
        let workers = 1 + (seed % 5) as u32;
        let memory = truth.largest_task * [3, 6, 1_000][(seed % 3) as usize];
        let outcome = World::new(&truth, waves(seed, workers, memory, 80_000, 2_000_000)).run();
        let Outcome {
            recomputed, lost, ..
        } = outcome;
        assert_eq!((recomputed, lost), (0, 0), "seed {seed}");
        assert!(
            outcome.started as u32 <= workers + outcome.replaced,
            "seed {seed}: one replacement a slot"
        );
        replaced += outcome.replaced;
        moved += outcome.tally.peer;
    }
    assert!(replaced > 40 && moved > 0, "{replaced} replaced");
}

/// Without time for it blocks are lost, and made again: the run completes all the same.
#[test]
fn no_notice_is_a_loss_but_not_the_end() {
    let truth = Truth::of(plans::qr(5, 4, 1, "grid:2x2", 4, true));
    let mut recomputed = 0;
    for seed in 0..40 {
        let memory = truth.largest_task * 6;
        let outcome = World::new(&truth, waves(seed, 2, memory, 400_000, 2_000)).run();
        recomputed += outcome.recomputed;
    }
    assert!(recomputed > 0, "2 ms are too short");
}
