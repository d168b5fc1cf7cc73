//! Single decisions, as tables.

use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{BlockKey, Digest, Indices};

use super::plans;
use crate::control::{
    Assignment, Counts, FromWorker, InputHint, Made, Missed, StoreReason, ToWorker, WorkerSettings,
};
use crate::machine::cache::{Cache, Copy};
use crate::machine::fleet::{FRUITLESS_LOSSES_A_SLOT_MAX, Fleet, REFUSALS_A_SLOT_MAX};
use crate::machine::policy::{self, BYTE_PRICE, Candidate};
use crate::machine::scheduler::{self, Scheduler, Settings};
use crate::machine::worker::{Action, Fetch, FetchFailure, Input, Origin, Worker};
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::matrix::Moved;
use crate::options::{Durability, Exchange, Policy};
use crate::plan::{Plan, TaskId};

pub(super) const NOW: Timestamp = Timestamp(0);

fn key(index: i64) -> BlockKey {
    BlockKey::new(7, 0, Indices::new(&[index]).expect("small"))
}

fn shared(key: BlockKey) -> Copy {
    Copy { key, private: None }
}

pub(super) fn digest(number: u8) -> Digest {
    Digest([number; 32])
}

// ---- the cache

/// Six copies of 10 bytes in 60: pinned, dead, spare read late, spare read early, live read late,
/// live read early. What leaves for so many bytes, what is spilled, whether they are there.
#[test]
fn the_dead_leave_first_then_the_spare_then_what_is_read_last() {
    let table: [(u64, bool, &[i64], &[i64]); 7] = [
        (0, true, &[], &[]),
        (5, true, &[1], &[]),
        (20, true, &[1, 2], &[]),
        (30, true, &[1, 2, 3], &[]),
        (31, false, &[1, 2, 3], &[4]),
        (45, false, &[1, 2, 3], &[4, 5]),
        // The pinned one stays, and so nothing leaves: a task must end first.
        (51, false, &[], &[]),
    ];
    for (bytes, taken, dropped, spill) in table {
        let mut cache = Cache::new(60);
        assert!(cache.take(60, (0, 0), |_| Vec::new()).taken);
        for index in 0..6 {
            let held = cache.insert(shared(key(index)), 10, true);
            held.pins = u32::from(index == 0);
            held.spare = index == 2 || index == 3;
        }
        cache.mark_dead(shared(key(1)));
        let uses = |key: &BlockKey| match key.indices.get(0) {
            Some(2 | 4) => vec![(0, 3), (0, 90)],
            _ => vec![(0, 8)],
        };
        // The front is beyond the first use of 2 and 4.
        let room = cache.take(bytes, (0, 5), uses);
        let copies = |indices: &[i64]| indices.iter().map(|i| shared(key(*i))).collect::<Vec<_>>();
        let came = (room.taken, room.dropped, room.spill);
        assert_eq!(
            came,
            (taken, copies(dropped), copies(spill)),
            "{bytes} bytes"
        );
        cache.check_invariants();
    }
}

#[test]
fn a_copy_that_is_shorter_than_its_room_gives_the_rest_back() {
    let mut cache = Cache::new(100);
    assert!(cache.take(90, (0, 0), |_| Vec::new()).taken);
    for index in 0..3 {
        cache.insert(shared(key(index)), 30, index > 0);
    }
    cache.mark_dead(shared(key(1)));
    cache.shrink(&shared(key(0)), 8);
    cache.shrink(&shared(key(1)), 0);
    // Never more than was taken for it.
    cache.shrink(&shared(key(2)), 31);
    cache.check_invariants();
    assert_eq!(cache.used(), (38, 90));
    cache.revive(&shared(key(1)));
    cache.remove(&shared(key(0)));
    cache.remove(&shared(key(1)));
    cache.check_invariants();
    assert_eq!(cache.used(), (30, 90));
    assert!(cache.take(70, (0, 0), |_| Vec::new()).taken);
}

#[test]
fn the_dead_are_shed_while_they_are_more_than_the_living() {
    const MIB: u64 = 1 << 20;
    let mut cache = Cache::new(1 << 30);
    assert!(cache.take(100 * MIB, (0, 0), |_| Vec::new()).taken);
    for index in 0..10 {
        cache.insert(shared(key(index)), 10 * MIB, true);
    }
    for index in 0..5 {
        cache.mark_dead(shared(key(index)));
    }
    assert_eq!(cache.shed(), [], "50 of 100 MiB are dead");
    assert!(cache.pin(&shared(key(0))));
    cache.mark_dead(shared(key(5)));
    cache.mark_dead(shared(key(6)));
    assert_eq!(
        cache.shed(),
        [shared(key(1)), shared(key(2))],
        "60 of 100, then 50 of 90, 40 of 80"
    );
    cache.check_invariants();
}

// ---- the ladder

pub(super) fn one_core(exchange: Exchange, memory_bytes: u64) -> WorkerSettings {
    WorkerSettings {
        exchange,
        durability: Durability::Outputs,
        memory_bytes,
        cores: 1,
        alive_ms: 1000,
        stun: Vec::new(),
        traces: false,
    }
}

pub(super) fn fetch(
    copy: Copy,
    origin: Origin,
    digest: Option<Digest>,
    in_vain: Option<WorkerId>,
) -> Action {
    Action::Fetch(Fetch {
        copy,
        origin,
        digest,
        in_vain,
    })
}

/// A worker with one task that reads one made block (and the identity is not asked for).
fn one_reader(exchange: Exchange, holders: &[u32], durable: bool) -> (Worker, BlockKey) {
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let block = plan.outputs(&first)[0];
    let mut readers = Vec::new();
    plan.readers(&block, &mut readers);
    let settings = one_core(exchange, 1 << 20);
    let mut worker = Worker::new(NOW, Arc::clone(&plan), settings);
    let hint = InputHint {
        key: block,
        digest: digest(1),
        holders: holders.iter().map(|id| WorkerId(*id)).collect(),
        durable,
    };
    let assignment = Assignment {
        lease: LeaseId(1),
        task: readers[0],
        inputs: vec![hint],
        dead: Vec::new(),
    };
    worker.handle_input(NOW, Input::Assigned(assignment));
    (worker, block)
}

/// Holders, whether the block is durable, and where it is looked for until it is given up.
#[test]
fn a_block_is_looked_for_on_each_rung_and_then_missed() {
    use Exchange::{Cache, Peer, Store};
    let peer = |id| Origin::Peer(WorkerId(id));
    let table: [(Exchange, &[u32], bool, Vec<Origin>); 6] = [
        (Peer, &[4, 2], true, vec![peer(4), peer(2), Origin::Store]),
        (Peer, &[4, 2], false, vec![peer(4), peer(2), Origin::Store]),
        (Peer, &[], true, vec![Origin::Store]),
        (Peer, &[], false, vec![Origin::Store]),
        (Cache, &[4, 2], true, vec![Origin::Store]),
        (Store, &[4, 2], true, vec![Origin::Store]),
    ];
    for (exchange, holders, durable, rungs) in table {
        let (mut worker, block) = one_reader(exchange, holders, durable);
        let private = (exchange == Store).then_some(LeaseId(1));
        let copy = Copy {
            key: block,
            private,
        };
        for rung in &rungs {
            let fetch = fetch(copy, *rung, Some(digest(1)), None);
            assert_eq!(
                worker.poll_action(),
                Some(fetch),
                "{exchange} {holders:?} {durable}"
            );
            worker.handle_input(NOW, Input::Fetched(copy, Err(FetchFailure::Elsewhere)));
        }
        let workers = rungs.iter().filter_map(|rung| match rung {
            Origin::Peer(peer) => Some(*peer),
            _ => None,
        });
        let missed = Missed {
            key: block,
            unreachable: Vec::new(),
            workers: workers.collect(),
            store: rungs.contains(&Origin::Store),
        };
        let said = FromWorker::Missing {
            lease: LeaseId(1),
            blocks: vec![missed],
        };
        assert_eq!(worker.poll_action(), Some(Action::Send(said)));
        assert_eq!(worker.cache().used().0, 0, "nothing stays reserved");
        worker.check_invariants();
    }
}

/// Answers of those that are asked, and who is asked then: a worker, and the one to which it referred before.
#[test]
fn whoever_refers_is_asked_again_after_the_one_it_named() {
    let elsewhere = Err(FetchFailure::Elsewhere);
    let refers = |id| Err(FetchFailure::Referred(WorkerId(id)));
    type Asked = Vec<(u32, Option<u32>)>;
    type Table = Vec<(&'static str, Vec<Result<Moved, FetchFailure>>, Asked)>;
    let table: Table = vec![
        (
            "the one named has it",
            vec![refers(7), Ok(Moved::once(8))],
            vec![(4, None), (7, None)],
        ),
        (
            "nobody has it",
            vec![
                refers(7),
                elsewhere.clone(),
                elsewhere.clone(),
                elsewhere.clone(),
            ],
            vec![(4, None), (7, None), (4, Some(7)), (2, None)],
        ),
        (
            "a path is missing",
            vec![refers(7), Err(FetchFailure::NoPath), Ok(Moved::once(8))],
            vec![(4, None), (7, None), (4, Some(7))],
        ),
        (
            "the one named refers on, and to a later rung",
            vec![
                refers(7),
                refers(2),
                elsewhere.clone(),
                elsewhere.clone(),
                elsewhere.clone(),
            ],
            vec![(4, None), (7, None), (2, None), (7, Some(2)), (4, Some(7))],
        ),
        (
            "two refer to each other",
            vec![
                refers(7),
                refers(4),
                elsewhere.clone(),
                elsewhere.clone(),
                refers(4),
            ],
            vec![
                (4, None),
                (7, None),
                (7, Some(4)),
                (4, Some(7)),
                (2, None),
                (2, Some(4)),
            ],
        ),
        (
            "it refers to itself, and again when it must not",
            vec![refers(4), refers(9), elsewhere],
            vec![(4, None), (4, Some(4)), (2, None)],
        ),
        (
            "a long way",
            (10..30).map(refers).collect(),
            [(4, None)]
                .into_iter()
                .chain((10..18).map(|id| (id, None)))
                .chain([(17, Some(18)), (16, Some(17)), (15, Some(16))])
                .collect(),
        ),
    ];
    for (what, answers, asked) in table {
        let (mut worker, block) = one_reader(Exchange::Peer, &[4, 2], false);
        let copy = shared(block);
        let referred = answers
            .iter()
            .filter(|a| matches!(a, Err(FetchFailure::Referred(_))));
        let referred = referred.count() as u64;
        let mut answers = answers.into_iter();
        for (peer, in_vain) in asked {
            let peer = Origin::Peer(WorkerId(peer));
            let expected = fetch(copy, peer, Some(digest(1)), in_vain.map(WorkerId));
            assert_eq!(worker.poll_action(), Some(expected), "{what}");
            if let Some(answer) = answers.next() {
                worker.handle_input(NOW, Input::Fetched(copy, answer));
            }
            worker.check_invariants();
        }
        assert!(worker.tally().peer_referred <= referred, "{what}");
    }
}

#[test]
fn a_result_is_put_again_when_its_task_runs_again_or_its_maker_is_lost() {
    let (mut worker, block) = one_reader(Exchange::Peer, &[4], false);
    worker.poll_action();
    let copy = shared(block);
    worker.handle_input(NOW, Input::Fetched(copy, Ok(Moved::once(8))));
    assert!(matches!(
        worker.poll_action(),
        Some(Action::Compute(LeaseId(1), _))
    ));
    for _ in 0..2 {
        worker.handle_input(NOW, Input::Store(vec![block], StoreReason::Result));
        assert_eq!(worker.poll_action(), Some(Action::Store(copy)));
        assert_eq!(worker.poll_action(), None, "one put at a time");
        worker.handle_input(NOW, Input::Stored(copy, Ok(Moved::once(8))));
        let said = worker.poll_action();
        let Some(Action::Send(FromWorker::Durable { keys, .. })) = said else {
            panic!("{said:?}")
        };
        assert_eq!(keys, [block]);
    }
}

/// Of three inputs of one size two fit: the third is left for when it is read.
#[test]
fn a_preload_ends_where_memory_does() {
    let plan = plans::weave(2, 3);
    let keys = plan.sources(0);
    let settings = one_core(Exchange::Peer, 2 * plan.bytes(&keys[0]));
    let mut worker = Worker::new(NOW, Arc::clone(&plan), settings);
    worker.handle_input(NOW, Input::Preload(keys.clone()));
    for key in &keys[..2] {
        let fetch = fetch(shared(*key), Origin::Source, None, None);
        assert_eq!(worker.poll_action(), Some(fetch));
    }
    assert_eq!(worker.poll_action(), None);
    worker.handle_input(NOW, Input::Fetched(shared(keys[1]), Ok(Moved::once(8))));
    assert_eq!(worker.poll_action(), None);
    worker.handle_input(NOW, Input::Fetched(shared(keys[0]), Ok(Moved::once(8))));
    let said = worker.poll_action();
    let Some(Action::Send(FromWorker::Preloaded { keys: came, .. })) = said else {
        panic!("{said:?}")
    };
    assert_eq!(came, [keys[1], keys[0]]);
}

// ---- the coordinator

pub(super) fn scheduler(plan: &Arc<Plan>, workers: u32) -> Scheduler {
    let settings = Settings {
        workers,
        elastic: None,
        cores: 1,
        policy: Policy::Locality,
        exchange: Exchange::Peer,
        durability: Durability::Outputs,
        checkpoint: None,
        preload: false,
        start_timeout: Duration::from_secs(2),
        lease: Duration::from_secs(3),
        volunteers: None,
    };
    let mut scheduler = Scheduler::new(Arc::clone(plan), settings);
    scheduler.handle_input(NOW, scheduler::Input::Begin);
    scheduler
}

pub(super) fn joined(scheduler: &mut Scheduler, id: u32, bits: u8) {
    let joined =
        scheduler::Input::Joined(WorkerId(id), vec![format!("address {id}")], digest(bits));
    scheduler.handle_input(NOW, joined);
}

/// What a scheduler does next, as words.
pub(super) fn actions(scheduler: &mut Scheduler) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(action) = scheduler.poll_action() {
        words.push(match action {
            scheduler::Action::Start(worker, slot) => format!("start {} in {slot}", worker.0),
            scheduler::Action::End(worker) => format!("end {}", worker.0),
            scheduler::Action::Send(_, ToWorker::Peers { .. }) => continue,
            scheduler::Action::Send(worker, ToWorker::Assign(a)) => {
                format!("{} gets lease {}", worker.0, a.lease.0)
            }
            scheduler::Action::Send(worker, ToWorker::Stop) => format!("stop {}", worker.0),
            scheduler::Action::Send(worker, ToWorker::Take { blocks }) => {
                let holders = blocks.iter().map(|hint| hint.holders[0].0);
                format!("{} takes from {:?}", worker.0, holders.collect::<Vec<_>>())
            }
            scheduler::Action::Send(worker, message) => format!("{} gets {message:?}", worker.0),
            scheduler::Action::PhaseDone(phase, _) => format!("phase {phase} done"),
            scheduler::Action::Admit(request, worker) => format!("{request} is {}", worker.0),
            scheduler::Action::Decline(request, reason) => format!("{request} is not: {reason}"),
            scheduler::Action::WriteManifest(m) => {
                format!("write manifest {} of {} tasks", m.number, m.task_count())
            }
            scheduler::Action::Sweep { before, blocks } => {
                format!("sweep before {before}, {} blocks", blocks.len())
            }
            scheduler::Action::Completed => "completed".to_owned(),
            scheduler::Action::Failed(reason) => format!("failed: {}", &reason[..20]),
        });
    }
    scheduler.check_invariants();
    words
}

pub(super) fn done(plan: &Plan, lease: u64, task: &TaskId, durable: bool) -> FromWorker {
    let outputs = plan.outputs(task).into_iter();
    FromWorker::Done {
        lease: LeaseId(lease),
        made: outputs
            .map(|key| Made {
                key,
                digest: digest(9),
                bytes: plan.bytes(&key),
                durable,
            })
            .collect(),
        dropped: Vec::new(),
        compute_ns: 1,
        counts: Counts::default(),
    }
}

#[test]
fn a_stale_lease_changes_nothing() {
    // A chain of 2 tasks: the first is done once, whoever says so again.
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let mut coordinator = scheduler(&plan, 2);
    joined(&mut coordinator, 0, 1);
    joined(&mut coordinator, 1, 1);
    let began = actions(&mut coordinator);
    assert_eq!(began, ["start 0 in 0", "start 1 in 1", "0 gets lease 1"]);
    let say = |scheduler: &mut Scheduler, id, message| {
        scheduler.handle_input(NOW, scheduler::Input::Message(WorkerId(id), message));
        (actions(scheduler), scheduler.progress().1)
    };
    let nothing = || (Vec::<String>::new(), 0);
    // Somebody else's lease, one that was never granted, and a worker that never was.
    assert_eq!(
        say(&mut coordinator, 1, done(&plan, 1, &first, false)),
        nothing()
    );
    assert_eq!(
        say(&mut coordinator, 0, done(&plan, 5, &first, false)),
        nothing()
    );
    assert_eq!(
        say(&mut coordinator, 9, done(&plan, 1, &first, false)),
        nothing()
    );
    // Lost in time: the heir gets the task, and what the lost one says later is not heard.
    coordinator.handle_input(NOW, scheduler::Input::Left(WorkerId(0)));
    assert_eq!(
        actions(&mut coordinator),
        ["start 2 in 0", "1 gets lease 2"]
    );
    assert_eq!(
        say(&mut coordinator, 0, done(&plan, 1, &first, false)),
        nothing()
    );
    let came = say(&mut coordinator, 1, done(&plan, 2, &first, true));
    assert_eq!(came, (vec!["1 gets lease 3".to_owned()], 1));
    assert_eq!(
        say(&mut coordinator, 1, done(&plan, 2, &first, true)),
        (Vec::new(), 1)
    );
}

#[test]
fn a_result_whose_maker_is_lost_is_put_by_who_has_it() {
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let block = plan.outputs(&first)[0];
    let mut readers = Vec::new();
    plan.readers(&block, &mut readers);
    let mut coordinator = scheduler(&plan, 2);
    joined(&mut coordinator, 0, 1);
    joined(&mut coordinator, 1, 1);
    let message = |id, message| scheduler::Input::Message(WorkerId(id), message);
    coordinator.handle_input(NOW, message(0, done(&plan, 1, &first, false)));
    actions(&mut coordinator);
    // The second task is given back, its maker lost, and done by the other worker: neither of the
    // two results is durable.
    coordinator.handle_input(NOW, scheduler::Input::Left(WorkerId(0)));
    let again = ["start 2 in 0", "1 gets lease 3"];
    assert_eq!(
        actions(&mut coordinator),
        again,
        "the first task, since its block is nowhere"
    );
    coordinator.handle_input(NOW, message(1, done(&plan, 3, &first, false)));
    joined(&mut coordinator, 2, 1);
    coordinator.handle_input(NOW, message(1, done(&plan, 4, &readers[0], false)));
    actions(&mut coordinator);
    // Worker 2 has got a replica of the first result.
    let counts = Counts::default();
    coordinator.handle_input(
        NOW,
        message(
            2,
            FromWorker::Preloaded {
                keys: vec![block],
                counts,
            },
        ),
    );
    coordinator.handle_input(NOW, scheduler::Input::Left(WorkerId(1)));
    let words = actions(&mut coordinator);
    let keys = vec![block];
    let reason = StoreReason::Result;
    let store = format!("2 gets {:?}", ToWorker::Store { keys, reason });
    assert!(words.contains(&store), "{words:?}");
}

#[test]
fn who_misses_a_block_does_not_hold_it() {
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let block = plan.outputs(&first)[0];
    let mut coordinator = scheduler(&plan, 1);
    joined(&mut coordinator, 0, 1);
    let message = |message| scheduler::Input::Message(WorkerId(0), message);
    coordinator.handle_input(NOW, message(done(&plan, 1, &first, false)));
    let began = ["start 0 in 0", "0 gets lease 1", "0 gets lease 2"];
    assert_eq!(actions(&mut coordinator), began);
    // It made the block and has dropped it, but has not come to say so.
    let missed = Missed {
        key: block,
        unreachable: Vec::new(),
        workers: Vec::new(),
        store: true,
    };
    let missing = FromWorker::Missing {
        lease: LeaseId(2),
        blocks: vec![missed],
    };
    coordinator.handle_input(NOW, message(missing));
    assert_eq!(actions(&mut coordinator), ["0 gets lease 3"]);
    coordinator.handle_input(NOW, message(done(&plan, 3, &first, true)));
    assert_eq!(
        coordinator.progress().1,
        1,
        "the first task was done again, not the second"
    );
}

/// What the workers of a run have for bits, in the order of joining, and who is sent away when the
/// last has joined.
#[test]
fn workers_with_other_bits_are_refused() {
    let plan = plans::weave(2, 4);
    let table: [(&[u8], &[&str]); 4] = [
        (&[1, 1, 1], &[]),
        (&[1, 2, 1], &["stop 1", "end 1", "start 3 in 1"]),
        (&[2, 1, 1], &["stop 0", "end 0", "start 3 in 0"]),
        // Of equals the smallest.
        (&[2, 1], &["stop 0", "end 0", "start 2 in 0"]),
    ];
    for (bits, expected) in table {
        let mut coordinator = scheduler(&plan, u32::try_from(bits.len()).expect("a few"));
        actions(&mut coordinator);
        for (id, bits) in (0..).zip(bits) {
            joined(&mut coordinator, id, *bits);
        }
        let mut words = actions(&mut coordinator);
        words.retain(|word| !word.contains("lease"));
        assert_eq!(words, expected, "{bits:?}");
    }
}

#[test]
fn a_slot_is_not_filled_for_ever() {
    let plan = plans::weave(2, 4);
    // Refused: the slot is given up and the run goes on without it.
    let mut coordinator = scheduler(&plan, 2);
    joined(&mut coordinator, 0, 1);
    joined(&mut coordinator, 1, 1);
    coordinator.handle_input(NOW, scheduler::Input::Left(WorkerId(1)));
    actions(&mut coordinator);
    for refused in 0..=REFUSALS_A_SLOT_MAX {
        joined(&mut coordinator, 2 + refused, 5);
        let words = actions(&mut coordinator);
        let replaced = words.iter().any(|word| word.starts_with("start"));
        assert_eq!(replaced, refused < REFUSALS_A_SLOT_MAX, "{words:?}");
    }
    // Lost, none with a task done: the run fails.
    let mut coordinator = scheduler(&plan, 2);
    for id in 0..=2 * FRUITLESS_LOSSES_A_SLOT_MAX {
        actions(&mut coordinator);
        coordinator.handle_input(NOW, scheduler::Input::Left(WorkerId(id)));
    }
    assert_eq!(actions(&mut coordinator), ["failed: workers keep dying: "]);
}

#[test]
fn ranks_pass_to_heirs_and_return() {
    let mut fleet = Fleet::new(3, 1);
    let owners = |fleet: &Fleet| {
        let owner = |rank| fleet.owner(rank).map_or(-1, |worker| i64::from(worker.0));
        [0, 1, 2, 3, 7, -1].map(owner)
    };
    let join = |fleet: &mut Fleet, slot| {
        let worker = fleet.start(NOW, slot);
        fleet.get_mut(worker).expect("it was started").addresses = Some(Vec::new());
        worker
    };
    assert_eq!(owners(&fleet), [-1; 6]);
    for slot in 0..3 {
        join(&mut fleet, slot);
    }
    assert_eq!(owners(&fleet), [0, 1, 2, 0, 1, 2]);
    fleet.remove(WorkerId(1));
    assert_eq!(
        owners(&fleet),
        [0, 2, 2, 0, 2, 2],
        "the next slot's worker is the heir"
    );
    fleet.remove(WorkerId(2));
    assert_eq!(owners(&fleet), [0; 6]);
    let started = fleet.start(NOW, 1);
    assert_eq!(owners(&fleet), [0; 6], "who has not joined owns nothing");
    fleet.get_mut(started).expect("started").addresses = Some(Vec::new());
    assert_eq!(owners(&fleet), [0, 3, 0, 0, 3, 0]);
}

// ---- the policy

/// A worker by number, home or not: seconds until it is free, for the kernel, for the bytes that it
/// lacks and for those of the output.
fn candidate(id: u32, is_home: bool, [free, kernel, missing, output]: [f64; 4]) -> Candidate {
    Candidate {
        worker: WorkerId(id),
        is_home,
        cores: 1,
        available_s: free,
        kernel_s: kernel,
        missing_bytes: (missing * BYTE_PRICE) as u64,
        output_bytes: (output * BYTE_PRICE) as u64,
    }
}

#[test]
fn a_task_goes_home_unless_it_would_wait_there_for_long() {
    use Policy::{Fifo, Locality, Owner, Random};
    // beta = 4 kernels for 1 core; gamma = 4; gate = 2 kernels.
    let table = [
        (
            "idle home",
            Locality,
            [0.0, 1.0, 0.0, 0.5],
            [0.0, 1.0, 0.0, 0.5],
            0,
        ),
        (
            "home's backlog below the bias",
            Locality,
            [3.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            0,
        ),
        (
            "home's backlog above it",
            Locality,
            [5.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            1,
        ),
        (
            "but bytes cost more",
            Locality,
            [5.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.2, 0.1],
            0,
        ),
        (
            "a tie",
            Locality,
            [4.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            0,
        ),
        (
            "the other is beyond the gate",
            Locality,
            [9.0, 1.0, 0.0, 0.0],
            [2.1, 1.0, 0.0, 0.0],
            0,
        ),
        (
            "within the gate",
            Locality,
            [9.0, 1.0, 0.0, 0.0],
            [2.0, 1.0, 0.0, 0.0],
            1,
        ),
        (
            "strict",
            Owner,
            [99.0, 1.0, 9.0, 9.0],
            [0.0, 1.0, 0.0, 0.0],
            0,
        ),
        (
            "blind to bytes",
            Fifo,
            [0.1, 1.0, 0.0, 0.0],
            [0.0, 1.0, 9.0, 9.0],
            1,
        ),
        (
            "by chance",
            Random,
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            1,
        ),
    ];
    for (what, policy, home, other, expected) in table {
        let candidates = [candidate(0, true, home), candidate(1, false, other)];
        let placed = policy::place(policy, &candidates, 7);
        assert_eq!(placed, Some(WorkerId(expected)), "{what}");
    }
    for policy in [Locality, Owner, Fifo, Random] {
        assert_eq!(policy::place(policy, &[], 7), None);
        // Without a home anybody may have it.
        let one = [candidate(3, false, [50.0, 1.0, 1.0, 1.0])];
        assert_eq!(policy::place(policy, &one, 7), Some(WorkerId(3)));
    }
}

#[test]
fn a_theft_must_pay_twice_for_its_bytes() {
    use Policy::{Fifo, Locality, Owner, Random};
    let victim = |free| candidate(0, true, [free, 1.0, 0.0, 0.0]);
    let thief = |missing, output| candidate(1, false, [0.0, 1.0, missing, output]);
    // Gain: the victim's backlog, less what fetching takes; price: 2 x (missing + output).
    let table = [
        (Locality, victim(4.0), thief(1.0, 0.4), true),
        (Locality, victim(4.0), thief(1.0, 0.5), false),
        (Locality, victim(1.0), thief(0.0, 0.0), true),
        (Locality, victim(0.0), thief(0.0, 0.0), false),
        (Fifo, victim(0.0), thief(9.0, 9.0), true),
        (Owner, victim(99.0), thief(0.0, 0.0), false),
        (Random, victim(99.0), thief(0.0, 0.0), false),
    ];
    for (policy, victim, thief, expected) in table {
        assert_eq!(
            policy::steal_pays(policy, &thief, &victim),
            expected,
            "{policy} {victim:?}"
        );
    }
}

/// Two blocks are on their way at once, one of them by way of a peer that does not have it: what the line
/// was busy for counts once.
#[test]
fn a_line_is_busy_while_any_block_is_on_its_way() {
    let at = |millis: u64| Timestamp::from_nanos(millis * 1_000_000);
    let plan = plans::weave(2, 2);
    let blocks = [0, 1].map(|task| plan.outputs(&plan.starters(0)[task])[0]);
    let settings = one_core(Exchange::Peer, 1 << 20);
    let mut worker = Worker::new(NOW, Arc::clone(&plan), settings);
    let hints = blocks.map(|key| InputHint {
        key,
        digest: digest(1),
        holders: vec![WorkerId(4), WorkerId(2)],
        durable: false,
    });
    worker.handle_input(NOW, Input::Take(hints.to_vec()));
    let copies = blocks.map(shared);
    let came = |copy, result| Input::Fetched(copy, result);
    worker.handle_input(at(3), came(copies[0], Err(FetchFailure::Elsewhere)));
    worker.handle_input(at(7), came(copies[1], Ok(Moved::once(8))));
    worker.handle_input(at(10), came(copies[0], Ok(Moved::once(8))));
    assert_eq!(worker.tally().fetch_ns, 10_000_000);
    assert_eq!(worker.tally().peer, 16);
}
