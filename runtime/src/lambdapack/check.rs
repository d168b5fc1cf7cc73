//! Checks that need a program's tasks: on small models it is unrolled and looked at from every
//! side. Never used where a program runs.

use std::collections::{BTreeMap, BTreeSet};

use super::bound::Bound;
use super::error::{Diagnosis, ProgramError, Span, TaskError};
use super::program::Program;
use super::task::{Slots, Task, Tile};

/// Tasks of a small model: 7 x 7 tiles make a few hundred.
const TASKS_MAX: u64 = 4_000;
/// Small models tried.
const MODELS_MAX: usize = 24;
/// Draws of parameters until enough models are found.
const DRAWS_MAX: usize = 400;
/// Values that are drawn for parameters without and with a default.
const SIZES: [i64; 8] = [1, 2, 3, 4, 6, 7, 12, 13];
const OPTIONS: [i64; 5] = [0, 1, 2, 3, 4];

impl Program {
    /// Unrolls the program for small parameters of its own choice and checks each model as
    /// [`Bound::check`] does. Returns how many models were found that the program accepts.
    ///
    /// # Errors
    ///
    /// The first fault found.
    pub fn check_small_models(&self) -> Result<usize, ProgramError> {
        // A fixed sequence: the same program gets the same answer.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut draw = |values: &[i64]| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            values[(state >> 33) as usize % values.len()]
        };
        let mut models = 0;
        for at in 0..DRAWS_MAX {
            let mut params = BTreeMap::new();
            for (name, has_default) in self.params() {
                if !has_default {
                    params.insert(name.to_owned(), draw(&SIZES));
                } else if at % 4 != 0 {
                    // Every fourth model has the defaults.
                    if draw(&[0, 1]) == 1 {
                        params.insert(name.to_owned(), draw(&OPTIONS));
                    }
                }
            }
            match self.bind(&params) {
                Ok(bound) if bound.task_count() <= TASKS_MAX => bound.check()?,
                Ok(_) | Err(ProgramError::Parameters(_)) => continue,
                Err(error) => return Err(error),
            }
            models += 1;
            if models == MODELS_MAX {
                break;
            }
        }
        Ok(models)
    }
}

impl Bound {
    /// Unrolls the program and checks it: one writer of each tile, no read of a tile that nobody
    /// writes, no write of an alias, no circle of tasks, shapes and hints that have values, outputs
    /// that exist, and that solving finds what unrolling finds.
    ///
    /// Needs memory for every task: meant for models of a few thousand tasks.
    ///
    /// # Errors
    ///
    /// The first fault found, with an example.
    pub fn check(&self) -> Result<(), ProgramError> {
        let model = Unrolled::of(self)?;
        model.reads()?;
        model.results()?;
        model.circles()?;
        model.solver()
    }

    fn text(&self, span: Span, text: String) -> ProgramError {
        let diagnosis = self.inner.model.sources.diagnose(span, text);
        let values: Vec<String> = self
            .params()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        ProgramError::Text(Box::new(
            diagnosis.help(format!("seen with {}", values.join(", "))),
        ))
    }
}

fn text(error: TaskError, bound: &Bound) -> ProgramError {
    match error {
        TaskError::Program(diagnosis) => ProgramError::Text(diagnosis),
        error @ TaskError::NoSuchTask { .. } => bound.text(Span::default(), error.to_string()),
    }
}

struct Unrolled<'a> {
    bound: &'a Bound,
    tasks: Vec<(Task, Slots, Slots)>,
    writers: BTreeMap<Tile, Task>,
    readers: BTreeMap<Tile, BTreeSet<Task>>,
}

impl<'a> Unrolled<'a> {
    fn of(bound: &'a Bound) -> Result<Self, ProgramError> {
        let mut all = Self {
            bound,
            tasks: Vec::new(),
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
        };
        for task in bound.tasks() {
            let outs = bound.outputs(task).map_err(|error| text(error, bound))?;
            let ins = bound.inputs(task).map_err(|error| text(error, bound))?;
            all.hints(task)?;
            for (place, tile) in outs.iter().enumerate() {
                if let Some(tile) = *tile {
                    all.write(task, place, tile)?;
                }
            }
            for tile in ins.present() {
                all.shape(tile)?;
                all.readers.entry(tile).or_default().insert(task);
            }
            all.tasks.push((task, ins, outs));
        }
        Ok(all)
    }

    fn write(&mut self, task: Task, place: usize, tile: Tile) -> Result<(), ProgramError> {
        let bound = self.bound;
        let access = &bound.inner.tasks[usize::from(task.stmt)].outs[place];
        if access.family != tile.family {
            let text = format!(
                "{} writes {} under the name of an alias",
                bound.describe(task),
                bound.describe_tile(tile)
            );
            return Err(bound.text(access.span, text));
        }
        if let Some(earlier) = self.writers.insert(tile, task) {
            let tile = bound.describe_tile(tile);
            let text = if earlier == task {
                format!("{tile} is written twice by {}", bound.describe(task))
            } else {
                let by = (bound.describe(earlier), bound.describe(task));
                format!("{tile} is written twice: by {} and {}", by.0, by.1)
            };
            return Err(bound.text(access.span, text));
        }
        self.shape(tile)
    }

    fn shape(&self, tile: Tile) -> Result<(), ProgramError> {
        self.bound
            .shape(tile)
            .map(|_| ())
            .map_err(|error| text(error, self.bound))
    }

    fn hints(&self, task: Task) -> Result<(), ProgramError> {
        let decl = &self.bound.inner.tasks[usize::from(task.stmt)];
        let env = self
            .bound
            .env(task)
            .map_err(|error| text(error, self.bound))?;
        for hint in [decl.home, decl.prio].into_iter().flatten() {
            if let Err(fault) = self.bound.inner.code.eval(hint, &env) {
                let at = format!(" at {}", self.bound.describe(task));
                let diagnosis: Diagnosis = self.bound.diagnose(fault.into(), decl.span, &at);
                return Err(ProgramError::Text(Box::new(diagnosis)));
            }
        }
        Ok(())
    }

    fn reads(&self) -> Result<(), ProgramError> {
        for (task, ins, _) in &self.tasks {
            for (place, tile) in ins.iter().enumerate() {
                if let Some(tile) = *tile
                    && !self.bound.is_input(tile)
                    && !self.writers.contains_key(&tile)
                {
                    return Err(text(self.bound.unwritten(*task, place, tile), self.bound));
                }
            }
        }
        Ok(())
    }

    fn results(&self) -> Result<(), ProgramError> {
        let mut seen = BTreeMap::new();
        for result in self.bound.results() {
            let name = &self.bound.output_names()[usize::from(result.output)];
            let decl = self
                .bound
                .inner
                .outputs
                .iter()
                .find(|decl| decl.output == result.output);
            let span = decl.map_or_else(Span::default, |decl| decl.access.span);
            if !self.bound.is_input(result.tile) && !self.writers.contains_key(&result.tile) {
                let tile = self.bound.describe_tile(result.tile);
                return Err(self.bound.text(
                    span,
                    format!("{tile} is never written, but {name} asks for it"),
                ));
            }
            if seen
                .insert((result.output, result.at), result.tile)
                .is_some()
            {
                return Err(self
                    .bound
                    .text(span, format!("{name}[{}] is given twice", result.at)));
            }
            self.shape(result.tile)?;
        }
        Ok(())
    }

    fn predecessors(&self, ins: &Slots) -> BTreeSet<Task> {
        ins.present()
            .filter_map(|tile| self.writers.get(&tile).copied())
            .collect()
    }

    /// Refuses tasks that wait for each other, naming one circle.
    fn circles(&self) -> Result<(), ProgramError> {
        let before: BTreeMap<Task, BTreeSet<Task>> = self
            .tasks
            .iter()
            .map(|(task, ins, _)| (*task, self.predecessors(ins)))
            .collect();
        let mut left: BTreeMap<Task, usize> = before
            .iter()
            .map(|(task, set)| (*task, set.len()))
            .collect();
        let mut ready: Vec<Task> = left
            .iter()
            .filter(|(_, n)| **n == 0)
            .map(|(t, _)| *t)
            .collect();
        let mut next: BTreeMap<Task, Vec<Task>> = BTreeMap::new();
        for (task, set) in &before {
            for earlier in set {
                next.entry(*earlier).or_default().push(*task);
            }
        }
        while let Some(task) = ready.pop() {
            left.remove(&task);
            for later in next.get(&task).into_iter().flatten() {
                if let Some(count) = left.get_mut(later) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(*later);
                    }
                }
            }
        }
        let Some((start, _)) = left.first_key_value() else {
            return Ok(());
        };
        // Each task left waits for one that is left: going back must meet itself.
        let mut path = vec![*start];
        loop {
            let last = path[path.len() - 1];
            let Some(earlier) = before[&last].iter().find(|task| left.contains_key(task)) else {
                return Ok(());
            };
            if let Some(at) = path.iter().position(|task| task == earlier) {
                let mut names: Vec<String> = path[at..]
                    .iter()
                    .rev()
                    .map(|t| self.bound.describe(*t))
                    .collect();
                names.truncate(4);
                names.push(if path.len() - at > 4 {
                    "..".to_owned()
                } else {
                    names[0].clone()
                });
                let span = self.bound.inner.tasks[usize::from(earlier.stmt)].span;
                return Err(self.bound.text(
                    span,
                    format!("tasks wait for each other: {}", names.join(" -> ")),
                ));
            }
            path.push(*earlier);
        }
    }

    /// Refuses a program whose dependencies are not all found from its expressions.
    fn solver(&self) -> Result<(), ProgramError> {
        let mut out = Vec::new();
        for (task, ins, outs) in &self.tasks {
            let bound = self.bound;
            let span = bound.inner.tasks[usize::from(task.stmt)].span;
            let differs = |what: &str| {
                Err(bound.text(
                    span,
                    format!(
                        "the {what} of {} cannot be solved for",
                        bound.describe(*task)
                    ),
                ))
            };
            out.clear();
            bound
                .predecessors(*task, &mut out)
                .map_err(|error| text(error, bound))?;
            if !out.iter().eq(self.predecessors(ins).iter()) {
                return differs("predecessors");
            }
            out.clear();
            bound
                .successors(*task, &mut out)
                .map_err(|error| text(error, bound))?;
            let readers = outs.present().filter_map(|tile| self.readers.get(&tile));
            if !out.iter().eq(readers.flatten().collect::<BTreeSet<_>>()) {
                return differs("successors");
            }
        }
        let starters: BTreeSet<Task> = self.bound.starters().collect();
        let free = self
            .tasks
            .iter()
            .filter(|(_, ins, _)| self.predecessors(ins).is_empty());
        if starters != free.map(|(task, ..)| *task).collect() {
            let text = "the tasks that can start first cannot be solved for".to_owned();
            return Err(self.bound.text(Span::default(), text));
        }
        Ok(())
    }
}
