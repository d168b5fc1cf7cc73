//! A program bound to its parameters: what its tasks are, what each reads and writes, and who
//! comes before and after it. Answers from the index expressions; never holds a list of tasks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use peerwren_kernels::tile::Shape;
use peerwren_transports::block::{Indices, RANK_MAX};

use super::code::{Code, Fault};
use super::error::{ProgramError, TaskError};
use super::model::{AliasDecl, FamilyDecl, Model, OutputDecl, TaskDecl};
use super::queries::Queries;
use super::query::{Env, Query, SLOTS_MAX};
use super::task::{Generated, ResultTile, Slots, Task, Tile};
use super::walk::{Instr, Stop, Walker};

/// An input family of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputFamily<'a> {
    /// The family.
    pub family: u16,
    /// Its name.
    pub name: &'a str,
    /// How many indices its tiles have.
    pub rank: usize,
    /// How many tiles it has.
    pub tiles: u64,
    /// Whether the program says how its tiles are made, so that nobody gives them.
    pub generated: bool,
}

pub(crate) struct Inner {
    pub(crate) model: Arc<Model>,
    pub(crate) params: Vec<i64>,
    pub(crate) code: Code,
    pub(crate) families: Vec<FamilyDecl>,
    pub(crate) aliases: Vec<AliasDecl>,
    pub(crate) tasks: Vec<TaskDecl>,
    pub(crate) outputs: Vec<OutputDecl>,
    pub(crate) body: Vec<Instr>,
    pub(crate) output_walk: Vec<Instr>,
    pub(crate) input_walk: Vec<Instr>,
    pub(crate) queries: Queries,
    pub(crate) counts: Vec<u64>,
    /// Tiles of each input family.
    pub(crate) input_counts: Vec<u64>,
}

impl Inner {
    /// A fault of a walk as an error of the program.
    pub(crate) fn stopped(&self, stop: Stop) -> ProgramError {
        let (span, text) = match stop {
            Stop::Fault(Fault { kind, at }) => (self.code.spans[at as usize], kind.text()),
            Stop::Step(span) => (span, "a loop's step must be positive"),
            Stop::Wide(span) => (span, "a loop's variable must fit 32 bits"),
            Stop::Turns(span) => {
                let text = "more loop turns than can be counted in reasonable time";
                return ProgramError::TooLarge(Box::new(self.model.sources.diagnose(span, text)));
            }
        };
        ProgramError::Text(Box::new(self.model.sources.diagnose(span, text)))
    }
}

/// A program with its parameters: see the module's page. A clone shares everything.
#[derive(Clone)]
pub struct Bound {
    pub(crate) inner: Arc<Inner>,
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.program_name(), self.params())
    }
}

impl Bound {
    pub(crate) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Resolves every output once, so that [`Bound::results`] cannot fail later.
    pub(crate) fn check_results(&self) -> Result<(), ProgramError> {
        let inner = &*self.inner;
        let mut walker = Walker::new();
        while let Some(id) = walker
            .next(&inner.code, &inner.output_walk)
            .map_err(|stop| inner.stopped(stop))?
        {
            let access = &inner.outputs[usize::from(id)].access;
            if let Err(wrong) = self.tile_of(access, &walker.env) {
                return Err(ProgramError::Text(Box::new(self.diagnose(
                    wrong,
                    access.span,
                    "",
                ))));
            }
        }
        Ok(())
    }

    /// The program's name.
    pub fn program_name(&self) -> &str {
        &self.inner.model.name
    }

    /// The parameters, defaults included.
    pub fn params(&self) -> BTreeMap<&str, i64> {
        let names = self
            .inner
            .model
            .params
            .iter()
            .map(|param| param.name.as_str());
        names.zip(self.inner.params.iter().copied()).collect()
    }

    /// How many statements the program has.
    pub fn statements(&self) -> u16 {
        self.inner.tasks.len() as u16
    }

    /// The kernel of a statement.
    ///
    /// # Panics
    ///
    /// Where there is no such statement.
    pub fn kernel(&self, stmt: u16) -> &str {
        &self.inner.tasks[usize::from(stmt)].kernel
    }

    /// File and line, from 1, where a statement calls its kernel.
    ///
    /// # Panics
    ///
    /// Where there is no such statement.
    pub fn statement_place(&self, stmt: u16) -> (&str, usize) {
        let span = self.inner.tasks[usize::from(stmt)].kernel_span;
        self.inner.model.sources.place(span)
    }

    /// How many tasks there are.
    pub fn task_count(&self) -> u64 {
        self.inner
            .counts
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How many tasks each statement has.
    pub fn task_counts(&self) -> &[u64] {
        &self.inner.counts
    }

    /// How many tasks each kernel has.
    pub fn kernel_counts(&self) -> BTreeMap<&str, u64> {
        let mut out = BTreeMap::new();
        for (task, count) in self.inner.tasks.iter().zip(&self.inner.counts) {
            *out.entry(task.kernel.as_str()).or_insert(0) += count;
        }
        out
    }

    /// All tasks in the program's order, made one by one.
    pub fn tasks(&self) -> impl Iterator<Item = Task> + Send + use<> {
        let bound = self.clone();
        let mut walker = Walker::new();
        std::iter::from_fn(move || {
            let stmt = walker.advance(&bound.inner.code, &bound.inner.body)?;
            Some(bound.task_at(stmt, &walker.env))
        })
    }

    pub(crate) fn task_at(&self, stmt: u16, env: &[i64]) -> Task {
        let mut at = [0; RANK_MAX];
        let mut count = 0;
        for slot in self.inner.tasks[usize::from(stmt)].nest.loops() {
            at[count] = env[usize::from(slot)];
            count += 1;
        }
        let at = Indices::new(&at[..count]).expect("loop variables were seen to fit 32 bits");
        Task { stmt, at }
    }

    /// The tiles that a task reads, in the order of its kernel's arguments.
    pub fn inputs(&self, task: Task) -> Result<Slots, TaskError> {
        let env = self.env(task)?;
        self.operands(task, &self.inner.tasks[usize::from(task.stmt)].ins, &env)
    }

    /// The tiles that a task writes, in the order of its kernel's results.
    pub fn outputs(&self, task: Task) -> Result<Slots, TaskError> {
        let env = self.env(task)?;
        self.operands(task, &self.inner.tasks[usize::from(task.stmt)].outs, &env)
    }

    /// The task that writes `tile`; `None` for an input of the program, and where nobody does.
    pub fn writer(&self, tile: Tile) -> Option<Task> {
        let mut found = None;
        self.solve(&self.inner.queries.writers, tile, &mut |query, env| {
            found = Some(self.task_at(query.owner, env));
            true
        });
        found
    }

    /// Whether `tile` is one of the program's inputs.
    pub fn is_input(&self, tile: Tile) -> bool {
        let Some(FamilyDecl {
            input: Some(nest), ..
        }) = self.inner.families.get(usize::from(tile.family))
        else {
            return false;
        };
        let mut env = [0; super::walk::WALK_SLOTS];
        self.fill(nest, tile.at, &mut env).is_ok()
    }

    /// Adds the tasks that read `tile`, each once, in their order.
    pub fn readers(&self, tile: Tile, out: &mut Vec<Task>) {
        let start = out.len();
        self.add_readers(tile, out);
        sort_from(out, start);
    }

    /// Adds the tasks that must be done before `task`, each once, in their order.
    pub fn predecessors(&self, task: Task, out: &mut Vec<Task>) -> Result<(), TaskError> {
        let start = out.len();
        for (place, tile) in self.inputs(task)?.iter().enumerate() {
            let Some(tile) = *tile else { continue };
            if self.inner.families[usize::from(tile.family)]
                .input
                .is_none()
            {
                out.push(
                    self.writer(tile)
                        .ok_or_else(|| self.unwritten(task, place, tile))?,
                );
            }
        }
        sort_from(out, start);
        Ok(())
    }

    /// Adds the tasks that read what `task` writes, each once, in their order.
    pub fn successors(&self, task: Task, out: &mut Vec<Task>) -> Result<(), TaskError> {
        let start = out.len();
        for tile in self.outputs(task)?.present() {
            self.add_readers(tile, out);
        }
        sort_from(out, start);
        Ok(())
    }

    /// The tasks all of whose inputs are the program's.
    pub fn starters(&self) -> impl Iterator<Item = Task> + '_ {
        (0..self.statements())
            .flat_map(|stmt| self.starter_candidates(stmt))
            .filter(|task| {
                let inputs = self.inputs(*task);
                inputs.is_ok_and(|tiles| tiles.present().all(|tile| self.is_input(tile)))
            })
    }

    fn starter_candidates(&self, stmt: u16) -> Box<dyn Iterator<Item = Task> + '_> {
        let Some(queries) = &self.inner.queries.starters[usize::from(stmt)] else {
            return Box::new(self.tasks().filter(move |task| task.stmt == stmt));
        };
        let mut found = Vec::new();
        for query in queries {
            query.run(&self.inner.code, &mut [0; SLOTS_MAX], &mut |env| {
                found.push(self.task_at(stmt, env));
                false
            });
        }
        sort_from(&mut found, 0);
        Box::new(found.into_iter())
    }

    /// The home rank of a task: a hint, so a task that cannot say it has none.
    pub fn home(&self, task: Task) -> Option<i64> {
        let env = self.env(task).ok()?;
        self.inner
            .code
            .eval(self.inner.tasks[usize::from(task.stmt)].home?, &env)
            .ok()
    }

    /// The priority of a task, lowest first; 0 where it says none.
    pub fn priority(&self, task: Task) -> i64 {
        let hint = || {
            let env = self.env(task).ok()?;
            self.inner
                .code
                .eval(self.inner.tasks[usize::from(task.stmt)].prio?, &env)
                .ok()
        };
        hint().unwrap_or(0)
    }

    /// The shape of a tile; of one of few rows the largest that it may have.
    pub fn shape(&self, tile: Tile) -> Result<Shape, TaskError> {
        self.shape_of(tile)
    }

    /// The shape of a tile; of one of few rows, perhaps none, that which its program takes for likely, or the
    /// largest where it does not say.
    ///
    /// # Errors
    ///
    /// Where an expression of the shape has no value.
    pub fn likely_shape(&self, tile: Tile) -> Result<Shape, TaskError> {
        self.likely_shape_of(tile)
    }

    /// How an input tile is made that nobody gives; `None` for one that is given, and for a tile that
    /// is no input.
    ///
    /// # Errors
    ///
    /// Where an expression of the generator has no value.
    pub fn generator(&self, tile: Tile) -> Result<Option<Generated>, TaskError> {
        self.generated(tile)
    }

    /// The outputs' names.
    pub fn output_names(&self) -> &[String] {
        &self.inner.model.output_names
    }

    /// The tiles of all outputs with the tiles that they are.
    pub fn results(&self) -> impl Iterator<Item = ResultTile> + Send + use<> {
        let bound = self.clone();
        let mut walker = Walker::new();
        std::iter::from_fn(move || {
            let id = walker.advance(&bound.inner.code, &bound.inner.output_walk)?;
            let decl = &bound.inner.outputs[usize::from(id)];
            let tile = bound.tile_of(&decl.access, &walker.env).ok();
            let at = Indices::new(&walker.env[..decl.nest.names.len()]);
            let (tile, at) = tile
                .zip(at)
                .expect("every output was resolved when the program was bound");
            Some(ResultTile {
                output: decl.output,
                at,
                tile,
            })
        })
    }

    /// Whether `tile` is part of an output that `wanted` (a place in [`Bound::output_names`]) asks for.
    pub fn is_result(&self, tile: Tile, mut wanted: impl FnMut(u16) -> bool) -> bool {
        self.solve(&self.inner.queries.results, tile, &mut |query, _| {
            wanted(self.inner.outputs[usize::from(query.owner)].output)
        })
    }

    /// The input families.
    pub fn input_families(&self) -> impl Iterator<Item = InputFamily<'_>> {
        let inputs = self
            .inner
            .families
            .iter()
            .enumerate()
            .filter(|(_, f)| f.input.is_some());
        inputs.map(|(id, f)| InputFamily {
            family: id as u16,
            name: &f.name,
            rank: f.indices.len(),
            tiles: self.inner.input_counts[id],
            generated: f.generator.is_some(),
        })
    }

    /// All input tiles, family by family.
    pub fn input_tiles(&self) -> impl Iterator<Item = Tile> + Send + use<> {
        let bound = self.clone();
        let mut walker = Walker::new();
        std::iter::from_fn(move || {
            let family = walker.advance(&bound.inner.code, &bound.inner.input_walk)?;
            let rank = bound.inner.families[usize::from(family)].indices.len();
            let at =
                Indices::new(&walker.env[..rank]).expect("input indices were seen to fit 32 bits");
            Some(Tile { family, at })
        })
    }

    /// The family of a name.
    pub fn family(&self, name: &str) -> Option<u16> {
        self.inner
            .families
            .iter()
            .position(|f| f.name == name)
            .map(|at| at as u16)
    }

    /// The name of a family.
    ///
    /// # Panics
    ///
    /// Where there is no such family.
    pub fn family_name(&self, family: u16) -> &str {
        &self.inner.families[usize::from(family)].name
    }

    /// The tile that `family[at]` is, aliases followed; `None` where the family has another rank
    /// or the aliases have no value there.
    pub fn resolve(&self, family: u16, at: &[i64]) -> Option<Tile> {
        let decl = self.inner.families.get(usize::from(family))?;
        (decl.indices.len() == at.len()).then_some(())?;
        let mut index = [0; RANK_MAX];
        index[..at.len()].copy_from_slice(at);
        self.follow(family, index).ok()
    }

    /// `tsmqr(k=0, s=1, t=2, j=3)`: a task as people read it.
    pub fn describe(&self, task: Task) -> String {
        let Some(decl) = self.inner.tasks.get(usize::from(task.stmt)) else {
            return format!("statement {} at {}", task.stmt, task.at);
        };
        let names = decl
            .nest
            .loops()
            .map(|slot| decl.nest.names[usize::from(slot)].as_str());
        let values: Vec<String> = names
            .zip(task.at.as_slice())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("{}({})", decl.kernel, values.join(", "))
    }

    /// `S[2, 2, 1]`: a tile as people read it.
    pub fn describe_tile(&self, tile: Tile) -> String {
        let name = self
            .inner
            .families
            .get(usize::from(tile.family))
            .map_or("?", |f| f.name.as_str());
        let values: Vec<String> = tile.at.as_slice().iter().map(i32::to_string).collect();
        format!("{name}[{}]", values.join(", "))
    }

    fn add_readers(&self, tile: Tile, out: &mut Vec<Task>) {
        self.solve(&self.inner.queries.readers, tile, &mut |query, env| {
            out.push(self.task_at(query.owner, env));
            false
        });
    }

    /// Runs the queries about `tile`'s family until `found` says `true`; tells whether it did.
    fn solve(
        &self,
        queries: &[Vec<Query>],
        tile: Tile,
        found: &mut dyn FnMut(&Query, &Env) -> bool,
    ) -> bool {
        let Some(queries) = queries.get(usize::from(tile.family)) else {
            return false;
        };
        let at = tile.at.as_slice();
        if at.len() != self.inner.families[usize::from(tile.family)].indices.len() {
            return false;
        }
        let mut env = [0; SLOTS_MAX];
        queries.iter().any(|query| {
            for (slot, value) in env[usize::from(query.coords)..].iter_mut().zip(at) {
                *slot = i64::from(*value);
            }
            query.run(&self.inner.code, &mut env, &mut |env| found(query, env))
        })
    }
}

/// Sorts `out[start..]` and drops what is there twice.
fn sort_from(out: &mut Vec<Task>, start: usize) {
    out[start..].sort_unstable();
    let mut kept = start;
    for at in start..out.len() {
        if at == start || out[at] != out[kept - 1] {
            out[kept] = out[at];
            kept += 1;
        }
    }
    out.truncate(kept);
}
