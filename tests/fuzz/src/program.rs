//! LAmbdaPACK: parsed, bound to sizes, checked, and asked about its first tasks.

use std::collections::BTreeMap;

use peerwren::lambdapack::{Bound, Program};

/// Sizes that programs are bound to; a parameter that is not here is 2.
const SIZES: [&[(&str, i64)]; 3] = [
    &[("m", 5), ("n", 5), ("nb", 2)],
    &[("m", 5), ("n", 3), ("nb", 2), ("P", 2), ("Q", 1)],
    &[("n", 1), ("nb", 1)],
];
/// Beyond so many tasks only the first are looked at.
const CHECKED_TASKS_MAX: u64 = 500;
const ASKED_TASKS: usize = 20;

/// A program's text.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let program = match Program::parse("fuzzed.lp", text) {
        Ok(program) => program,
        Err(error) => {
            error.render();
            return;
        }
    };
    for sizes in SIZES {
        let known: BTreeMap<_, _> = sizes.iter().copied().collect();
        let wanted = program.params().filter(|(_, has_default)| !has_default);
        let params = wanted.map(|(name, _)| {
            let size = known.get(name).copied().unwrap_or(2);
            (name.to_owned(), size)
        });
        match program.bind(&params.collect()) {
            Ok(bound) => ask(&bound),
            Err(error) => drop(error.render()),
        }
    }
}

fn ask(bound: &Bound) {
    if bound.task_count() <= CHECKED_TASKS_MAX
        && let Err(error) = bound.check()
    {
        error.render();
        return;
    }
    let mut found = Vec::new();
    for task in bound.tasks().take(ASKED_TASKS) {
        let _ = bound.inputs(task);
        let _ = bound.predecessors(task, &mut found);
        let _ = bound.successors(task, &mut found);
        bound.home(task);
        bound.priority(task);
        bound.describe(task);
        let Ok(outputs) = bound.outputs(task) else {
            continue;
        };
        for tile in outputs.present() {
            let _ = bound.shape(tile);
            bound.readers(tile, &mut found);
            bound.writer(tile);
            bound.describe_tile(tile);
        }
    }
    bound.starters().take(ASKED_TASKS).for_each(drop);
    bound.results().take(ASKED_TASKS).for_each(drop);
}
