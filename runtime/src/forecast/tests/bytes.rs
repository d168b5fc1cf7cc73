//! Bytes by exchange are those of `cost`, and those that all tasks unrolled come to.

use std::collections::{BTreeMap, BTreeSet};

use peerwren_transports::block::BlockKey;

use super::super::counts::{Counts, Exchanges, Moved, place};
use super::{all_phases, cases, job, plan, terms};
use crate::cost::{owner_traffic, store_traffic};
use crate::lambdapack::{Bound, Program};
use crate::linalg::Job;
use crate::plan::{Plan, TaskId};

fn bound(job: &Job) -> Bound {
    let phase = &job.plan.phases[0];
    let program = Program::parse(&phase.file, &phase.source).expect("a shipped program");
    let params = phase.params.iter().cloned().collect();
    program.bind(&params).expect("parameters of a job")
}

/// What tasks read that the program makes itself, or that is a constant of the operation.
fn constants(plan: &Plan) -> Moved {
    let mut moved = Moved::default();
    for task in plan.tasks(0) {
        for key in plan.input_slots(&task).into_iter().flatten() {
            if plan.is_source(&key) && !plan.is_input(&key) {
                moved.blocks += 1;
                moved.bytes += plan.likely_bytes(&key);
            }
        }
    }
    moved
}

fn moved(traffic: crate::cost::Traffic) -> Moved {
    Moved {
        blocks: traffic.blocks,
        bytes: traffic.bytes,
    }
}

#[test]
fn bytes_are_those_that_the_model_counts() {
    for case in cases() {
        for workers in [1, 2, 3, 4, 6] {
            let job = job(&case, workers, false);
            let (plan, bound) = (plan(&job), bound(&job));
            let counts = Counts::of(&plan, &[0], &terms(workers, 1)).exchanges;
            let what = format!("{} on {workers}", job.input);
            let model = store_traffic(&bound).expect("a sound program");
            let (mut read, constants) = (moved(model.read), constants(&plan));
            read.blocks -= constants.blocks;
            read.bytes -= constants.bytes;
            assert_eq!(counts.store.store_read, read, "{what}");
            assert_eq!(counts.store.store_written, moved(model.written), "{what}");
            assert_eq!(counts.cache.store_written, moved(model.written), "{what}");
            let model = owner_traffic(&bound, workers, |_| None).expect("a sound program");
            assert_eq!(counts.peer.peer, moved(model), "{what}");
            assert_eq!(counts.peer.store_written, Moved::default(), "{what}");
            assert_eq!(counts.store.peer, Moved::default(), "{what}");
        }
    }
}

/// The same by looking at who needs what, one task after the other.
fn unrolled(plan: &Plan, workers: u32) -> Exchanges {
    let terms = terms(workers, 1);
    let mut makers = BTreeMap::new();
    let mut needs = BTreeSet::new();
    let mut found = Exchanges::default();
    let add = |moved: &mut Moved, key: &BlockKey| {
        moved.blocks += 1;
        moved.bytes += plan.likely_bytes(key);
    };
    for task in all_phases(plan).into_iter().flat_map(|p| plan.tasks(p)) {
        let worker = place(plan, &terms, &task);
        for key in plan.outputs(&task) {
            makers.insert(key, worker);
            add(&mut found.store.store_written, &key);
            add(&mut found.cache.store_written, &key);
        }
        for key in plan.input_slots(&task).into_iter().flatten() {
            if !plan.is_source(&key) || plan.is_input(&key) {
                needs.insert((key, worker));
                add(&mut found.store.store_read, &key);
            }
        }
    }
    for (key, worker) in needs {
        match makers.get(&key) {
            Some(maker) if *maker == worker => {}
            Some(_) => {
                add(&mut found.peer.peer, &key);
                add(&mut found.cache.store_read, &key);
            }
            None => {
                add(&mut found.peer.store_read, &key);
                add(&mut found.cache.store_read, &key);
            }
        }
    }
    for key in makers.keys().filter(|key| plan.is_result(key)) {
        add(&mut found.peer.store_written, key);
    }
    found
}

#[test]
fn bytes_of_linked_phases_are_those_of_all_tasks() {
    for case in cases() {
        for workers in [1, 3, 4] {
            let plan = plan(&job(&case, workers, true));
            let terms = terms(workers, 1);
            let counts = Counts::of(&plan, &all_phases(&plan), &terms);
            assert_eq!(counts.exchanges, unrolled(&plan, workers), "{:?}", case.1);
        }
    }
}

/// Whoever reads a block is found from it, through outputs of phases that show blocks of earlier ones too.
#[test]
fn readers_of_linked_phases_are_those_of_all_tasks() {
    for case in cases() {
        let plan = plan(&job(&case, 4, true));
        let mut expected: BTreeMap<BlockKey, BTreeSet<TaskId>> = BTreeMap::new();
        for task in all_phases(&plan).into_iter().flat_map(|p| plan.tasks(p)) {
            for key in plan.inputs(&task) {
                expected.entry(key).or_default().insert(task);
            }
            for key in plan.outputs(&task) {
                expected.entry(key).or_default();
            }
        }
        for (key, readers) in expected {
            let mut found = Vec::new();
            plan.readers(&key, &mut found);
            let readers: Vec<_> = readers.into_iter().collect();
            found.sort_unstable();
            assert_eq!(found, readers, "{key:?} of {:?}", case.1);
        }
    }
}
