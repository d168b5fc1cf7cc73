//! A program unrolled into lists, and the solver compared with them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Bound, Task, Tile};

/// Every relation of a program, by brute force.
#[derive(Default)]
pub(super) struct Unrolled {
    pub(super) tasks: Vec<Task>,
    pub(super) reads: u64,
    writers: BTreeMap<Tile, Task>,
    readers: BTreeMap<Tile, BTreeSet<Task>>,
    results: BTreeSet<Tile>,
}

impl Unrolled {
    pub(super) fn of(bound: &Bound) -> Self {
        let mut all = Unrolled {
            tasks: bound.tasks().collect(),
            ..Unrolled::default()
        };
        for task in &all.tasks {
            for tile in bound.outputs(*task).expect("outputs").present() {
                let earlier = all.writers.insert(tile, *task);
                assert_eq!(
                    earlier,
                    None,
                    "{} is written twice",
                    bound.describe_tile(tile)
                );
            }
            for tile in bound.inputs(*task).expect("inputs").present() {
                all.reads += 1;
                all.readers.entry(tile).or_default().insert(*task);
            }
        }
        all.results = bound.results().map(|result| result.tile).collect();
        all
    }

    /// The input tiles that some task reads.
    pub(super) fn inputs_read(&self, bound: &Bound) -> BTreeSet<Tile> {
        self.readers
            .keys()
            .filter(|tile| bound.is_input(**tile))
            .copied()
            .collect()
    }

    fn predecessors(&self, bound: &Bound, task: Task) -> Vec<Task> {
        let tiles = bound.inputs(task).expect("inputs");
        let found: BTreeSet<Task> = tiles
            .present()
            .filter_map(|t| self.writers.get(&t).copied())
            .collect();
        found.into_iter().collect()
    }

    fn successors(&self, bound: &Bound, task: Task) -> Vec<Task> {
        let tiles = bound.outputs(task).expect("outputs");
        let found: BTreeSet<Task> = tiles
            .present()
            .filter_map(|t| self.readers.get(&t))
            .flatten()
            .copied()
            .collect();
        found.into_iter().collect()
    }
}

/// Compares every answer of `bound` with the unrolled program.
pub(super) fn compare(bound: &Bound) -> Unrolled {
    let all = Unrolled::of(bound);
    assert_eq!(bound.task_count(), all.tasks.len() as u64, "{bound:?}");
    let mut out = Vec::new();
    for task in &all.tasks {
        let what = || format!("{bound:?} {}", bound.describe(*task));
        out.clear();
        bound
            .predecessors(*task, &mut out)
            .unwrap_or_else(|error| panic!("{}", error.render()));
        assert_eq!(
            out,
            all.predecessors(bound, *task),
            "predecessors of {}",
            what()
        );
        out.clear();
        bound
            .successors(*task, &mut out)
            .unwrap_or_else(|error| panic!("{}", error.render()));
        assert_eq!(
            out,
            all.successors(bound, *task),
            "successors of {}",
            what()
        );
    }
    let tiles: BTreeSet<Tile> = all
        .writers
        .keys()
        .chain(all.readers.keys())
        .copied()
        .collect();
    for tile in &tiles {
        let name = || format!("{bound:?} {}", bound.describe_tile(*tile));
        assert_eq!(
            bound.writer(*tile),
            all.writers.get(tile).copied(),
            "writer of {}",
            name()
        );
        out.clear();
        bound.readers(*tile, &mut out);
        let readers: Vec<Task> = all
            .readers
            .get(tile)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        assert_eq!(out, readers, "readers of {}", name());
        assert_eq!(
            bound.is_result(*tile, |_| true),
            all.results.contains(tile),
            "result {}",
            name()
        );
        assert!(
            bound.is_input(*tile) != all.writers.contains_key(tile),
            "origin of {}",
            name()
        );
        bound
            .shape(*tile)
            .unwrap_or_else(|error| panic!("{}", error.render()));
    }
    let starters: Vec<Task> = bound.starters().collect();
    let expected: Vec<Task> = all
        .tasks
        .iter()
        .filter(|t| all.predecessors(bound, **t).is_empty())
        .copied()
        .collect();
    assert_eq!(
        starters.iter().collect::<BTreeSet<_>>(),
        expected.iter().collect::<BTreeSet<_>>(),
        "{bound:?}"
    );
    assert_eq!(starters.len(), expected.len(), "{bound:?}");
    assert!(
        all.results
            .iter()
            .all(|t| all.writers.contains_key(t) || bound.is_input(*t)),
        "{bound:?}"
    );
    assert_all_run(bound, &all);
    all
}

/// Runs the program by what it says of itself: from the starters on, every task becomes ready.
fn assert_all_run(bound: &Bound, all: &Unrolled) {
    let mut waiting: BTreeMap<Task, usize> = all
        .tasks
        .iter()
        .map(|task| (*task, all.predecessors(bound, *task).len()))
        .collect();
    let mut ready: Vec<Task> = bound.starters().collect();
    let (mut done, mut out) = (0, Vec::new());
    while let Some(task) = ready.pop() {
        done += 1;
        out.clear();
        bound.successors(task, &mut out).expect("successors");
        for next in &out {
            let left = waiting.get_mut(next).expect("a task");
            *left -= 1;
            if *left == 0 {
                ready.push(*next);
            }
        }
    }
    assert_eq!(
        done,
        all.tasks.len(),
        "{bound:?}: tasks wait for each other"
    );
}

/// Compares readers and writers alone, for programs that may read what nobody writes or that have
/// tasks without a value.
pub(super) fn compare_relations(bound: &Bound) {
    let mut writers = BTreeMap::new();
    let mut readers: BTreeMap<Tile, BTreeSet<Task>> = BTreeMap::new();
    for task in bound.tasks() {
        for tile in bound.outputs(task).iter().flat_map(|tiles| tiles.present()) {
            writers.insert(tile, task);
            readers.entry(tile).or_default();
        }
        // A task with a fault in one input still reads the others: leave it out only as a whole.
        match bound.inputs(task) {
            Ok(tiles) => tiles.present().for_each(|tile| {
                readers.entry(tile).or_default().insert(task);
            }),
            Err(_) => return,
        }
    }
    let mut out = Vec::new();
    for (tile, expected) in &readers {
        out.clear();
        bound.readers(*tile, &mut out);
        let expected: Vec<Task> = expected.iter().copied().collect();
        assert_eq!(
            out,
            expected,
            "readers of {} in\n{}",
            bound.describe_tile(*tile),
            bound.inner.model.sources.files[0].text
        );
        assert_eq!(
            bound.writer(*tile),
            writers.get(tile).copied(),
            "writer of {}",
            bound.describe_tile(*tile)
        );
    }
}
