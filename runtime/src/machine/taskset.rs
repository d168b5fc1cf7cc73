//! A set of tasks that stays small where most of a program's tasks are in it: 64 neighbours of the
//! innermost loop share one word. Never knows what a task is for.

use std::collections::BTreeMap;
use std::fmt;

use peerwren_transports::block::Indices;

use crate::plan::TaskId;

/// Tasks that share a word.
const WORD: i32 = 64;

/// A set of tasks, in their order.
#[derive(Clone, Default)]
pub struct TaskSet {
    /// By the task whose last index is the multiple of 64 below: which of the 64 are in the set.
    words: BTreeMap<TaskId, u64>,
    len: u64,
}

impl TaskSet {
    /// Adds a task; tells whether it was not there.
    pub fn insert(&mut self, task: TaskId) -> bool {
        let (word, bit) = place(&task);
        let bits = self.words.entry(word).or_default();
        let is_new = *bits & bit == 0;
        *bits |= bit;
        self.len += u64::from(is_new);
        is_new
    }

    /// Takes a task out; tells whether it was there.
    pub fn remove(&mut self, task: &TaskId) -> bool {
        let (word, bit) = place(task);
        let Some(bits) = self.words.get_mut(&word).filter(|bits| **bits & bit != 0) else {
            return false;
        };
        *bits &= !bit;
        if *bits == 0 {
            self.words.remove(&word);
        }
        self.len -= 1;
        true
    }

    /// Whether a task is there.
    #[must_use]
    pub fn contains(&self, task: &TaskId) -> bool {
        let (word, bit) = place(task);
        self.words.get(&word).is_some_and(|bits| bits & bit != 0)
    }

    /// How many tasks there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The tasks in their order.
    pub fn iter(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.words.iter().flat_map(|(word, bits)| {
            (0..WORD)
                .filter(move |at| bits >> at & 1 == 1)
                .map(move |at| moved(word, at))
        })
    }
}

impl fmt::Debug for TaskSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<TaskId> for TaskSet {
    fn from_iter<T: IntoIterator<Item = TaskId>>(tasks: T) -> Self {
        let mut set = Self::default();
        for task in tasks {
            set.insert(task);
        }
        set
    }
}

/// The word of a task and its bit there.
fn place(task: &TaskId) -> (TaskId, u64) {
    let last = task
        .at
        .as_slice()
        .last()
        .map_or(0, |last| last.rem_euclid(WORD));
    (moved(task, -last), 1 << last)
}

/// The task whose last index is larger by `by`; one without loops stays what it is.
fn moved(task: &TaskId, by: i32) -> TaskId {
    let mut at = [0; peerwren_transports::block::RANK_MAX];
    let len = task.at.len();
    at[..len].copy_from_slice(task.at.as_slice());
    if let Some(last) = at[..len].last_mut() {
        // A word begins at a multiple of 64, and i32::MIN is one.
        *last += by;
    }
    let at = Indices::from_i32(&at[..len]).expect("as many indices as before");
    TaskId { at, ..*task }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn task() -> impl Strategy<Value = TaskId> {
        let index = prop_oneof![-3..140, Just(i32::MIN), Just(i32::MAX), Just(i32::MIN + 63)];
        (0u8..2, 0u16..3, prop::collection::vec(index, 0..3)).prop_map(|(phase, stmt, at)| TaskId {
            phase,
            // A statement has as many indices as its loops.
            stmt: 10 * stmt + at.len() as u16,
            at: Indices::from_i32(&at).expect("few indices"),
        })
    }

    proptest! {
        #[test]
        fn is_a_set_in_order(steps in prop::collection::vec((task(), 0..3), 0..200)) {
            let (mut set, mut truth) = (TaskSet::default(), BTreeSet::new());
            for (task, step) in steps {
                match step {
                    0 => prop_assert_eq!(set.remove(&task), truth.remove(&task)),
                    _ => prop_assert_eq!(set.insert(task), truth.insert(task)),
                }
                prop_assert_eq!(set.contains(&task), truth.contains(&task));
                prop_assert_eq!(set.len(), truth.len() as u64);
            }
            prop_assert!(set.iter().eq(truth.iter().copied()));
            prop_assert_eq!(set.iter().collect::<TaskSet>().len(), set.len());
        }
    }
}
