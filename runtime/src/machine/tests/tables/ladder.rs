//! Where a worker looks for blocks, and what it says of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use peerwren_transports::block::BlockKey;

use super::super::plans;
use super::{NOW, digest, fetch, one_core, shared};
use crate::control::{Assignment, FromWorker, InputHint, Missed, StoreReason, WorkerSettings};
use crate::machine::cache::Copy;
use crate::machine::worker::{Action, FetchFailure, Input, Origin, Worker};
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::matrix::Moved;
use crate::options::{Durability, Exchange};

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
        digest: Some(digest(1)),
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

/// A block that its maker has not hashed is asked of peers. Who asks for it again with its digest, since it was
/// stored, has the store asked with it, whatever was asked before.
#[test]
fn a_ladder_without_a_digest_takes_up_one_that_is_told() {
    let plan = plans::weave(2, 2);
    let first = plan.starters(0)[0];
    let block = plan.outputs(&first)[0];
    let mut readers = Vec::new();
    plan.readers(&block, &mut readers);
    let settings = WorkerSettings {
        cores: 2,
        ..one_core(Exchange::Peer, 1 << 20)
    };
    let mut worker = Worker::new(NOW, Arc::clone(&plan), settings);
    let assign = |worker: &mut Worker, lease, digest| {
        let hint = InputHint {
            key: block,
            digest,
            holders: vec![WorkerId(4)],
            durable: digest.is_some(),
        };
        let assignment = Assignment {
            lease: LeaseId(lease),
            task: readers[lease as usize - 1],
            inputs: vec![hint],
            dead: Vec::new(),
        };
        worker.handle_input(NOW, Input::Assigned(assignment));
    };
    let copy = shared(block);
    let elsewhere = || Input::Fetched(copy, Err(FetchFailure::Elsewhere));
    let of_block = |worker: &mut Worker| {
        std::iter::from_fn(|| worker.poll_action())
            .find(|action| matches!(action, Action::Fetch(fetch) if fetch.copy == copy))
    };
    assign(&mut worker, 1, None);
    let peer = Origin::Peer(WorkerId(4));
    assert_eq!(of_block(&mut worker), Some(fetch(copy, peer, None, None)));
    worker.handle_input(NOW, elsewhere());
    let store = |digest| Some(fetch(copy, Origin::Store, digest, None));
    assert_eq!(of_block(&mut worker), store(None));
    assign(&mut worker, 2, Some(digest(1)));
    worker.handle_input(NOW, elsewhere());
    assert_eq!(of_block(&mut worker), store(Some(digest(1))));
    worker.check_invariants();
}

/// What is read at other homes, or is a result, is hashed where it is made; where blocks are stored anyway, all are.
#[test]
fn what_is_expected_to_stay_is_not_hashed() {
    let plan = plans::qr(4, 4, 0, "grid:2x2", 4, false);
    let count = |exchange, durability| {
        let settings = WorkerSettings {
            durability,
            ..one_core(exchange, 1 << 30)
        };
        let worker = Worker::new(NOW, Arc::clone(&plan), settings);
        let mut counts = [0, 0];
        let mut tasks = plan.starters(0);
        let mut seen: BTreeSet<_> = tasks.iter().copied().collect();
        while let Some(task) = tasks.pop() {
            for key in plan.outputs(&task) {
                let mut readers = Vec::new();
                plan.readers(&key, &mut readers);
                let is_hashed = worker.is_to_be_hashed(&task, &key);
                counts[usize::from(is_hashed)] += 1;
                let leaves = readers.iter().any(|r| plan.home(r) != plan.home(&task));
                if exchange == Exchange::Peer && durability == Durability::Outputs {
                    assert_eq!(is_hashed, leaves || plan.is_result(&key), "{key}");
                }
                tasks.extend(readers.into_iter().filter(|reader| seen.insert(*reader)));
            }
        }
        counts
    };
    let [not_hashed, hashed] = count(Exchange::Peer, Durability::Outputs);
    assert!(not_hashed > 0 && hashed > 0, "{not_hashed} and {hashed}");
    let all = [0, not_hashed + hashed];
    let every_s = 1;
    for (exchange, durability) in [
        (Exchange::Cache, Durability::Outputs),
        (Exchange::Store, Durability::Outputs),
        (Exchange::Peer, Durability::All),
        (Exchange::Peer, Durability::Checkpoint { every_s }),
    ] {
        assert_eq!(count(exchange, durability), all, "{exchange} {durability}");
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
        worker.handle_input(NOW, Input::Stored(copy, Ok((Moved::once(8), digest(1)))));
        let said = worker.poll_action();
        let Some(Action::Send(FromWorker::Durable { blocks, .. })) = said else {
            panic!("{said:?}")
        };
        let keys: Vec<_> = blocks.iter().map(|kept| kept.key).collect();
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
        digest: Some(digest(1)),
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

/// Peer 4 sends other bytes than were made: after three times it is passed over, also where another refers to
/// it, and counts as asked in vain.
#[test]
fn a_peer_that_sends_wrong_blocks_is_not_asked_again() {
    let plan = plans::weave(2, 5);
    let blocks: Vec<_> = plan.starters(0)[..5]
        .iter()
        .map(|task| plan.outputs(task)[0])
        .collect();
    let settings = one_core(Exchange::Peer, 1 << 20);
    let mut worker = Worker::new(NOW, Arc::clone(&plan), settings);
    let peer = |id| Origin::Peer(WorkerId(id));
    let asked = |worker: &mut Worker, key| {
        let hint = InputHint {
            key,
            digest: Some(digest(1)),
            holders: vec![WorkerId(4), WorkerId(2)],
            durable: false,
        };
        worker.handle_input(NOW, Input::Take(vec![hint]));
        origin(worker)
    };
    let came = |worker: &mut Worker, key, result| {
        worker.handle_input(NOW, Input::Fetched(shared(key), result));
    };
    for key in &blocks[..3] {
        assert_eq!(asked(&mut worker, *key), Some(peer(4)));
        came(&mut worker, *key, Err(FetchFailure::Wrong));
        assert_eq!(origin(&mut worker), Some(peer(2)));
        came(&mut worker, *key, Ok(Moved::once(8)));
        origin(&mut worker);
    }
    assert_eq!(asked(&mut worker, blocks[3]), Some(peer(2)));
    came(
        &mut worker,
        blocks[3],
        Err(FetchFailure::Referred(WorkerId(4))),
    );
    let again = Some(peer(2));
    assert_eq!(origin(&mut worker), again, "who referred is asked again");
    came(&mut worker, blocks[3], Err(FetchFailure::Elsewhere));
    assert_eq!(origin(&mut worker), Some(Origin::Store));
    let tally = worker.tally();
    assert_eq!((tally.peer_wrong, tally.peer_failed), (3, 4));
    worker.check_invariants();
}

/// From where a worker fetches next, whatever it says before.
fn origin(worker: &mut Worker) -> Option<Origin> {
    while let Some(action) = worker.poll_action() {
        if let Action::Fetch(fetch) = action {
            return Some(fetch.origin);
        }
    }
    None
}

/// A task's input whose only holder is not trusted: the coordinator is told that it did not deliver, so that the
/// block is made again.
#[test]
fn a_block_that_only_a_distrusted_peer_has_is_missed_there() {
    let (mut worker, block) = one_reader(Exchange::Peer, &[4], false);
    for failure in [FetchFailure::Wrong, FetchFailure::Elsewhere] {
        origin(&mut worker);
        worker.handle_input(NOW, Input::Fetched(shared(block), Err(failure)));
    }
    let plan = plans::weave(2, 1);
    let mut readers = Vec::new();
    plan.readers(&block, &mut readers);
    for lease in 2..6 {
        while worker.poll_action().is_some() {}
        let hint = InputHint {
            key: block,
            digest: Some(digest(1)),
            holders: vec![WorkerId(4)],
            durable: false,
        };
        let assignment = Assignment {
            lease: LeaseId(lease),
            task: readers[0],
            inputs: vec![hint],
            dead: Vec::new(),
        };
        worker.handle_input(NOW, Input::Assigned(assignment));
        let is_trusted = lease < 4;
        let first = if is_trusted {
            Origin::Peer(WorkerId(4))
        } else {
            Origin::Store
        };
        assert_eq!(origin(&mut worker), Some(first), "lease {lease}");
        if is_trusted {
            let wrong = Err(FetchFailure::Wrong);
            worker.handle_input(NOW, Input::Fetched(shared(block), wrong));
            origin(&mut worker);
        }
        let nowhere = Err(FetchFailure::Elsewhere);
        worker.handle_input(NOW, Input::Fetched(shared(block), nowhere));
        let said = worker.poll_action();
        let Some(Action::Send(FromWorker::Missing { blocks, .. })) = said else {
            panic!("{said:?}")
        };
        assert_eq!(blocks[0].workers, [WorkerId(4)], "lease {lease}");
    }
}
