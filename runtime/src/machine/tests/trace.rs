//! What happens in a world, written down for whoever has to find out why a seed fails: the last events that
//! touch what is wrong.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::truth::Truth;

/// Events that are shown: those that touch what is wrong, and the last ones whatever they touch.
const TOUCHING_MAX: usize = 40;
const LAST_MAX: usize = 6;

/// What happened and when, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Rc<RefCell<Vec<(u64, String)>>>);

impl Log {
    pub(super) fn add(&self, at: u64, line: String) {
        self.0.borrow_mut().push((at, line));
    }

    /// The last events that name what an error names: a block or task of the plan, else a lease or worker.
    pub(super) fn last_of(&self, error: &str, truth: &Truth) -> String {
        let lines = self.0.borrow();
        let names = names_in(error, truth);
        let touching = lines.iter().enumerate().filter(|(_, (_, line))| {
            names.iter().any(|name| contains_word(line, name)) || line.starts_with('-')
        });
        let mut shown: BTreeSet<_> = touching.map(|(at, _)| at).collect();
        while shown.len() > TOUCHING_MAX {
            shown.pop_first();
        }
        shown.extend(lines.len().saturating_sub(LAST_MAX)..lines.len());
        let what = if names.is_empty() {
            "the last events".to_owned()
        } else {
            format!("the last events that name {}", names.join(", "))
        };
        let lines = shown.iter().map(|&at| {
            let (at, line) = &lines[at];
            format!("\n{:>12.3} ms  {line}", *at as f64 / 1e6)
        });
        format!("{what}:{}", lines.collect::<String>())
    }
}

/// The most telling names in the first line of an error.
fn names_in(error: &str, truth: &Truth) -> Vec<String> {
    let error = error.lines().next().unwrap_or_default();
    let blocks = truth.blocks.keys().map(ToString::to_string);
    let tasks = truth.tasks.keys().map(|task| format!("{task:?}"));
    let named: Vec<_> = blocks
        .chain(tasks)
        .filter(|name| contains_word(error, name))
        .collect();
    if !named.is_empty() {
        return named;
    }
    let numbered = (0..1_000).flat_map(|n| [format!("LeaseId({n})"), format!("worker {n}")]);
    numbered.filter(|name| contains_word(error, name)).collect()
}

/// Whether a text has a name that is not part of a longer one.
fn contains_word(text: &str, name: &str) -> bool {
    let goes_on = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '/');
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        !goes_on(before.chars().next_back()) && !goes_on(after.chars().next())
    })
}

#[test]
fn a_name_is_found_where_it_is_not_part_of_another() {
    let error = "worker 1 lets 2/0.1 go";
    assert!(contains_word(error, "2/0.1") && contains_word(error, "worker 1"));
    assert!(!contains_word("worker 12 has 12/0.10", "worker 1"));
    assert!(!contains_word("worker 12 has 12/0.10", "2/0.1"));
}
