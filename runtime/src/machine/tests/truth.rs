//! What a plan's blocks are, found by following the plan task by task in one thread. A kernel is
//! replaced by a hash of its name, its task and its inputs, so that a block's digest tells whether it
//! was made from the right inputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use peerwren_kernels::tile::Shape;
use peerwren_transports::block::{BlockKey, Digest};

use crate::control::{Origin, Tally};
use crate::machine::scheduler::PhaseFigures;
use crate::plan::{Plan, TaskId};
use crate::trace::{Record, RunEvent, WorkerEvent};

/// The oracle of a plan.
pub(super) struct Truth {
    pub(super) plan: Arc<Plan>,
    /// Every task with what it reads.
    pub(super) tasks: BTreeMap<TaskId, Vec<BlockKey>>,
    pub(super) blocks: BTreeMap<BlockKey, Digest>,
    /// Memory that the largest task takes.
    pub(super) largest_task: u64,
}

impl Truth {
    pub(super) fn of(plan: Arc<Plan>) -> Self {
        let mut truth = Self {
            plan,
            tasks: BTreeMap::new(),
            blocks: BTreeMap::new(),
            largest_task: 0,
        };
        let plan = Arc::clone(&truth.plan);
        for phase in 0..plan.phase_count() {
            let mut queue: VecDeque<_> = plan.starters(phase).into();
            let mut seen: BTreeSet<_> = queue.iter().copied().collect();
            while let Some(task) = queue.pop_front() {
                let inputs = plan.inputs(&task);
                for key in inputs.iter().filter(|key| plan.is_source(key)) {
                    truth.blocks.insert(*key, source(key));
                }
                if !inputs.iter().all(|key| truth.blocks.contains_key(key)) {
                    seen.remove(&task);
                    continue;
                }
                let slots = plan.input_slots(&task);
                let digests: Vec<_> = slots
                    .iter()
                    .map(|key| key.map(|key| truth.blocks[&key]))
                    .collect();
                let mut readers = Vec::new();
                for (key, digest) in compute(&plan, &task, &digests) {
                    let old = truth.blocks.insert(key, digest);
                    assert!(old.is_none(), "{key} is written twice");
                    plan.readers(&key, &mut readers);
                }
                truth.measure(&task, &inputs);
                truth.tasks.insert(task, inputs);
                readers.retain(|reader| usize::from(reader.phase) == phase);
                queue.extend(readers.into_iter().filter(|reader| seen.insert(*reader)));
            }
            let count = truth
                .tasks
                .keys()
                .filter(|t| usize::from(t.phase) == phase)
                .count();
            assert_eq!(
                count as u64,
                plan.task_count(phase),
                "tasks of phase {phase}"
            );
        }
        truth
    }

    fn measure(&mut self, task: &TaskId, inputs: &[BlockKey]) {
        let facts = self.plan.facts(task);
        let inputs: u64 = inputs.iter().map(|key| self.plan.bytes(key)).sum();
        self.largest_task = self
            .largest_task
            .max(inputs + facts.output_bytes + facts.scratch_bytes);
    }

    /// The blocks that a phase must leave in the store.
    pub(super) fn results(&self) -> impl Iterator<Item = BlockKey> {
        (0..self.plan.phase_count()).flat_map(|phase| self.plan.results(phase))
    }
}

/// The digest of an input.
pub(super) fn source(key: &BlockKey) -> Digest {
    Digest::of(format!("source {key}").as_bytes())
}

/// The payload of a block: where its shape is a bound, a part of it that its digest tells.
pub(super) fn bytes(plan: &Plan, key: &BlockKey, digest: &Digest) -> u64 {
    let shape = plan.shape(key);
    let rows = if shape.is_exact() {
        shape.rows
    } else {
        u32::from(digest.0[0]) % (shape.rows + 1)
    };
    Shape { rows, ..shape }.bytes() as u64
}

/// What a task makes of blocks with these digests.
pub(super) fn compute(
    plan: &Plan,
    task: &TaskId,
    inputs: &[Option<Digest>],
) -> Vec<(BlockKey, Digest)> {
    let mut text = format!(
        "{} {}.{}{:?}",
        plan.kernel(task),
        task.phase,
        task.stmt,
        task.at
    )
    .into_bytes();
    for digest in inputs {
        text.extend(digest.map_or([0; 32], |digest| digest.0));
    }
    let all = Digest::of(&text).0;
    let outputs = plan.output_slots(task).into_iter().enumerate();
    outputs
        .filter_map(|(slot, key)| {
            let mut digest = all;
            digest[31] ^= slot as u8;
            Some((key?, Digest(digest)))
        })
        .collect()
}

/// What moved by statement and by pair is what the workers counted, exactly.
pub(super) fn check_moves(phase: &PhaseFigures) {
    let tallies = phase.workers.iter().map(|(_, _, tally)| tally);
    let counted = tallies.fold(Tally::default(), |sum, tally| sum.plus(tally));
    let moved = phase.moves.total();
    let came = (counted.peer, counted.store_read, counted.inputs_read);
    assert_eq!((moved.peer, moved.store + moved.input, moved.input), came);
    let pairs = phase.moves.by_pair.values();
    let sums = pairs.fold((0, 0), |(bytes, blocks), pair| {
        (bytes + pair.bytes, blocks + pair.blocks)
    });
    assert_eq!(sums, (counted.peer, counted.peer_get));
}

/// The events of a traced run are what was counted: every task that workers computed, every byte.
pub(super) fn check_records(records: &[Record], phases: &[PhaseFigures]) {
    let tallies = phases.iter().flat_map(|phase| &phase.workers);
    let counted = tallies.fold(Tally::default(), |sum, (_, _, tally)| sum.plus(tally));
    let (mut ran, mut granted) = (0, BTreeSet::new());
    let mut came = Tally::default();
    for record in records {
        let events = match record {
            Record::Heard { events, .. } => events,
            Record::Run { event, .. } => {
                if let RunEvent::Granted { lease, .. } = event {
                    assert!(granted.insert(*lease), "{lease:?} is granted once");
                }
                continue;
            }
        };
        for event in events {
            match event {
                WorkerEvent::Ran { lease, .. } => {
                    assert!(
                        granted.contains(lease),
                        "{lease:?} ran before it was granted"
                    );
                    ran += 1;
                }
                WorkerEvent::Fetched {
                    origin,
                    bytes,
                    referred,
                    ..
                } => match (origin, bytes) {
                    (Origin::Peer(_), Some(bytes)) => {
                        came.peer += bytes;
                        came.peer_get += 1;
                    }
                    (Origin::Peer(_), None) if referred.is_some() => came.peer_referred += 1,
                    (Origin::Peer(_), None) => came.peer_failed += 1,
                    (_, bytes) => came.store_read += bytes.unwrap_or(0),
                },
                WorkerEvent::Stored { bytes, .. } => came.store_written += bytes,
                WorkerEvent::Dropped { .. } => {}
            }
        }
    }
    assert_eq!(ran, counted.tasks);
    let sums = |t: &Tally| {
        (
            t.peer,
            t.peer_get,
            t.peer_failed,
            t.peer_referred,
            t.store_read,
            t.store_written,
        )
    };
    assert_eq!(sums(&came), sums(&counted));
}
