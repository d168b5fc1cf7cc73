//! What the tasks of a plan come to, task by task: operations by kernel, and bytes by exchange. Holds no
//! list of tasks; knows no time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use peerwren_kernels::tile::Shape;
use peerwren_transports::block::BlockKey;
use serde::Serialize;

use super::Terms;
use super::frontier::readers;
use super::rates::{Rate, Rates};
use super::task::{View, Work, bytes};
use crate::plan::{Plan, TaskId};

/// Blocks that move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// How many blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Moved {
    fn add(&mut self, bytes: u64, times: u64) {
        self.blocks += times;
        self.bytes += bytes * times;
    }
}

/// What moves by one exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Read from the store, inputs included.
    pub store_read: Moved,
    /// Written to the store, results included.
    pub store_written: Moved,
    /// Received by a worker from another worker.
    pub peer: Moved,
}

impl Traffic {
    /// All bytes that move.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.store_read.bytes + self.store_written.bytes + self.peer.bytes
    }
}

/// What moves by each exchange when every task runs at its home rank modulo the workers, or at worker 0
/// where the program gives it none, and no cache is ever full. Constants that a program makes itself move
/// by none; a triangle of an input counts as packed, though whole tiles are read for it. Blocks of few rows
/// count as what is likely: with them bytes are an estimate, and so is what follows from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exchanges {
    /// Every task reads its inputs from the store and writes its outputs to it.
    pub store: Traffic,
    /// Every output is written to the store; each worker reads what it did not make from there, once.
    pub cache: Traffic,
    /// Each block goes once to each other worker that reads it, each input once to each worker that reads
    /// it, and results go to the store; with durability `all` every output does.
    pub peer: Traffic,
}

/// A kernel's arguments and results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Shapes {
    pub(super) inputs: Vec<Option<Shape>>,
    pub(super) outputs: Vec<Option<Shape>>,
}

impl Shapes {
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.inputs) + bytes(&self.outputs)
    }
}

/// The tasks of one kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct KernelCount {
    pub(super) tasks: u64,
    pub(super) flops: u64,
    /// Bytes that its tasks without operations read and write.
    pub(super) bytes: u64,
    /// How many tasks have each combination of shapes.
    shapes: HashMap<Shapes, u64>,
}

impl KernelCount {
    /// The shapes that most of its tasks have; of several the first in their order.
    pub(super) fn commonest(&self) -> Option<&Shapes> {
        let most =
            |(shapes, tasks): &(&Shapes, &u64)| (**tasks, std::cmp::Reverse((*shapes).clone()));
        self.shapes
            .iter()
            .max_by_key(most)
            .map(|(shapes, _)| shapes)
    }

    /// Seconds of all its tasks on one thread, and the rate that most of them go by.
    pub(super) fn time(&self, name: &str, rates: &Rates) -> (f64, Rate) {
        let work = [Work::Flops(self.flops), Work::Bytes(self.bytes)];
        let seconds = work.map(|work| rates.seconds(name, work)).iter().sum();
        (
            seconds,
            rates.rate(name, work[usize::from(self.flops == 0)]),
        )
    }
}

/// What tasks come to: see the module's page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    pub(super) kernels: BTreeMap<String, KernelCount>,
    pub(super) exchanges: Exchanges,
}

impl Counts {
    /// Looks at every task of these phases once.
    #[must_use]
    pub fn of(plan: &Plan, phases: &[usize], terms: &Terms) -> Self {
        let mut counts = Self::default();
        let mut results = BTreeSet::new();
        let mut inputs = BTreeSet::new();
        for &phase in phases {
            results.extend(plan.results(phase));
            inputs.extend(plan.sources(phase));
            for task in plan.tasks(phase) {
                let view = View::of(plan, &task);
                counts.count_kernel(plan.kernel(&task), &view);
                counts.count_blocks(plan, phases, terms, &task, &view);
            }
        }
        for key in inputs {
            let here = places(plan, phases, terms, &key);
            let (bytes, times) = (plan.bytes(&key), here.len() as u64);
            counts.exchanges.cache.store_read.add(bytes, times);
            counts.exchanges.peer.store_read.add(bytes, times);
        }
        let made = results.into_iter().filter(|key| !plan.is_source(key));
        for key in made.filter(|_| !terms.writes_all) {
            let written = &mut counts.exchanges.peer.store_written;
            written.add(plan.bytes(&key), 1);
        }
        counts
    }

    /// Whether bytes are an estimate: some blocks have a length that shows when they are made.
    #[must_use]
    pub fn is_estimate(&self) -> bool {
        let mut shapes = self.kernels.values().flat_map(|count| count.shapes.keys());
        shapes.any(|shapes| {
            shapes
                .outputs
                .iter()
                .flatten()
                .any(|shape| !shape.is_exact())
        })
    }

    fn count_kernel(&mut self, name: &str, view: &View) {
        if !self.kernels.contains_key(name) {
            self.kernels.insert(name.to_owned(), KernelCount::default());
        }
        let Some(count) = self.kernels.get_mut(name) else {
            return;
        };
        count.tasks += 1;
        match view.work() {
            Work::Flops(flops) => count.flops += flops,
            Work::Bytes(bytes) => count.bytes += bytes,
        }
        let shapes = Shapes {
            inputs: view.input_shapes.clone(),
            outputs: view.output_shapes.clone(),
        };
        *count.shapes.entry(shapes).or_default() += 1;
    }

    fn count_blocks(
        &mut self,
        plan: &Plan,
        phases: &[usize],
        terms: &Terms,
        task: &TaskId,
        view: &View,
    ) {
        let Exchanges { store, cache, peer } = &mut self.exchanges;
        for (key, bytes) in view.inputs.iter().zip(&view.input_bytes) {
            if let (Some(key), Some(bytes)) = (key, bytes)
                && (!plan.is_source(key) || plan.is_input(key))
            {
                store.store_read.add(*bytes, 1);
            }
        }
        let from = place(plan, terms, task);
        for (key, bytes) in view.makes() {
            store.store_written.add(bytes, 1);
            cache.store_written.add(bytes, 1);
            if terms.writes_all {
                peer.store_written.add(bytes, 1);
            }
            let others = places(plan, phases, terms, &key);
            let others = others.iter().filter(|to| **to != from).count() as u64;
            cache.store_read.add(bytes, others);
            peer.peer.add(bytes, others);
        }
    }
}

/// The worker that a task's home is.
pub(super) fn place(plan: &Plan, terms: &Terms, task: &TaskId) -> u32 {
    let workers = i64::from(terms.workers.max(1));
    let place = plan.home(task).unwrap_or(0).rem_euclid(workers);
    u32::try_from(place).unwrap_or(0)
}

/// The workers whose tasks of these phases read a block, each once.
fn places(plan: &Plan, phases: &[usize], terms: &Terms, key: &BlockKey) -> Vec<u32> {
    let readers = readers(plan, key).into_iter();
    let readers = readers.filter(|reader| phases.contains(&reader.phase.into()));
    let mut places: Vec<u32> = readers.map(|task| place(plan, terms, &task)).collect();
    places.sort_unstable();
    places.dedup();
    places
}
