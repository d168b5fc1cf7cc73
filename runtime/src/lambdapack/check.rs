//! Checks that need a program's tasks: on small models it is unrolled and looked at from every
//! side. Never used where a program runs.

use std::collections::{BTreeMap, BTreeSet};

use super::bound::Bound;
use super::error::{Diagnosis, ProgramError, Span, TaskError};
use super::program::Program;
use super::task::{Slots, Task, Tile};

/// Tasks of a small model: 7 x 7 tiles make a few hundred.
pub(crate) const TASKS_MAX: u64 = 4_000;
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
        self.check_models(None)
    }

    /// The same for models that differ from `given` in the parameters without a default alone.
    pub(crate) fn check_models_like(
        &self,
        given: &BTreeMap<String, i64>,
    ) -> Result<usize, ProgramError> {
        self.check_models(Some(given))
    }

    fn check_models(&self, like: Option<&BTreeMap<String, i64>>) -> Result<usize, ProgramError> {
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
                } else if let Some(given) = like {
                    params.extend(given.get(name).map(|value| (name.to_owned(), *value)));
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

/// How the headline of tasks that wait for each other begins.
const CIRCLE: &str = "tasks wait for each other";

/// Whether a check found tasks that wait for each other, which would never end.
pub(crate) fn is_circle(error: &ProgramError) -> bool {
    error.diagnosis().headline().starts_with(CIRCLE)
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

    /// Checks one task of a program that is not unrolled: each tile it writes is written by nobody
    /// else, and under its own name; each tile it reads is an input or written by a task.
    pub(crate) fn check_task(
        &self,
        task: Task,
        ins: &Slots,
        outs: &Slots,
    ) -> Result<(), ProgramError> {
        for (place, tile) in outs.iter().enumerate() {
            let Some(tile) = *tile else { continue };
            self.check_name(task, place, tile)?;
            let other = self.writer(tile).filter(|writer| *writer != task);
            if other.is_some() || outs[..place].contains(&Some(tile)) {
                return Err(self.written_twice(other.unwrap_or(task), task, place, tile));
            }
        }
        for (place, tile) in ins.iter().enumerate() {
            let Some(tile) = *tile else { continue };
            let is_input = self.inner.families[usize::from(tile.family)]
                .input
                .is_some();
            if !is_input && self.writer(tile).is_none() {
                return Err(text(self.unwritten(task, place, tile), self));
            }
        }
        Ok(())
    }

    /// What tasks make and nobody needs: a warning for each output of a statement none of whose tiles is
    /// read or asked for, with the family. Looks at every task.
    pub(crate) fn dead_blocks(&self) -> Vec<(u16, Diagnosis)> {
        let mut example: BTreeMap<(u16, usize), Option<Tile>> = BTreeMap::new();
        let mut readers = Vec::new();
        for task in self.tasks() {
            for (place, tile) in self
                .outputs(task)
                .iter()
                .flat_map(|outs| outs.iter().enumerate())
            {
                let Some(tile) = *tile else { continue };
                let dead = example.entry((task.stmt, place)).or_insert(Some(tile));
                if dead.is_some() {
                    readers.clear();
                    self.readers(tile, &mut readers);
                    if !readers.is_empty() || self.is_result(tile, |_| true) {
                        *dead = None;
                    }
                }
            }
        }
        let dead = example
            .into_iter()
            .filter_map(|(place, tile)| Some((place, tile?)));
        dead.map(|((stmt, place), tile)| {
            let decl = &self.inner.tasks[usize::from(stmt)];
            let span = decl.outs[place].span;
            let text = format!(
                "{} makes {} and nobody reads it",
                decl.kernel,
                self.describe_tile(tile)
            );
            let diagnosis = self.inner.model.sources.diagnose(span, text);
            let help = "name it in an `output` if it is wanted, or leave the task out";
            (tile.family, diagnosis.help(help))
        })
        .collect()
    }

    /// `error` with its place, or with the program's first line where it has none.
    pub(crate) fn diagnosis_of(&self, error: TaskError) -> Diagnosis {
        match error {
            TaskError::Program(diagnosis) => *diagnosis,
            error @ TaskError::NoSuchTask { .. } => {
                let sources = &self.inner.model.sources;
                sources.diagnose(Span::default(), error.to_string())
            }
        }
    }

    /// `text` about a task, at its kernel's name.
    pub(crate) fn fault_at(&self, stmt: u16, text: String) -> Diagnosis {
        let span = self.inner.tasks[usize::from(stmt)].kernel_span;
        self.inner.model.sources.diagnose(span, text)
    }

    /// Refuses a tile that is written under the name of an alias.
    fn check_name(&self, task: Task, place: usize, tile: Tile) -> Result<(), ProgramError> {
        let access = &self.inner.tasks[usize::from(task.stmt)].outs[place];
        if access.family == tile.family {
            return Ok(());
        }
        let names = (self.describe(task), self.describe_tile(tile));
        let text = format!("{} writes {} under the name of an alias", names.0, names.1);
        Err(self.text(access.span, text))
    }

    fn written_twice(&self, earlier: Task, task: Task, place: usize, tile: Tile) -> ProgramError {
        let span = self.inner.tasks[usize::from(task.stmt)].outs[place].span;
        let tile = self.describe_tile(tile);
        let text = if earlier == task {
            format!("{tile} is written twice by {}", self.describe(task))
        } else {
            let by = (self.describe(earlier), self.describe(task));
            format!("{tile} is written twice: by {} and {}", by.0, by.1)
        };
        self.text(span, text)
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
    ProgramError::Text(Box::new(bound.diagnosis_of(error)))
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
        self.bound.check_name(task, place, tile)?;
        if let Some(earlier) = self.writers.insert(tile, task) {
            return Err(self.bound.written_twice(earlier, task, place, tile));
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
                return Err(self
                    .bound
                    .text(span, format!("{CIRCLE}: {}", names.join(" -> "))));
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
