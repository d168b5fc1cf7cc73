//! What a run will do, frozen and checked before anything starts: programs bound to sizes, where
//! their inputs come from, which results are kept. Never moves a byte.

mod arrays;
mod failure;
mod figures;
mod names;
mod phases;
mod spec;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use peerwren_kernels::op::{KernelSet, TaskShapes};
use peerwren_kernels::tile::Shape;
use peerwren_transports::block::{BlockKey, BlockLen, Digest, Indices};
use peerwren_transports::store::Place;

use crate::lambdapack::{Bound, Diagnosis, ProgramError, Task, TaskError, Tile};
use crate::matrix::SourceSpec;
use crate::matrix::zarr::Layout;
use crate::options::ByteSize;

pub use self::arrays::{ChunkOf, Kept};
pub use self::names::block_name;
pub use self::phases::Source;
use self::phases::first_entry;
pub use self::spec::{InputFrom, PhaseSpec, PlanSpec, TaskId};

/// Why a plan is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The program is wrong or does not fit its parameters.
    #[error("{0}")]
    Program(Box<Diagnosis>),
    /// A kernel is not there.
    #[error("{0}")]
    NoKernel(Box<Diagnosis>),
    /// A kernel cannot take what the program gives it.
    #[error("{0}")]
    Signature(Box<Diagnosis>),
    /// The programs of a plan have more tile families than blocks can name.
    #[error("{file}: the programs of this plan have more than 65,536 tile families")]
    Families {
        /// The program that is one too many.
        file: String,
    },
    /// An input is not bound, or bound to nothing.
    #[error("{file}: input `{family}` {problem}")]
    Input {
        /// The program.
        file: String,
        /// The input family.
        family: String,
        /// What is wrong.
        problem: String,
    },
    /// A result cannot be the array that it is to be.
    #[error("{file}: output `{output}` cannot be a Zarr array: {problem}")]
    Array {
        /// The program.
        file: String,
        /// The output.
        output: String,
        /// What is wrong.
        problem: String,
    },
    /// A task does not fit a worker's memory.
    #[error(
        "--memory gives a worker {}, but {cores} x its largest task ({kernel}) need {}: give \
         it more --memory, fewer --cores or a smaller --block",
        ByteSize(*memory),
        ByteSize(*need)
    )]
    Memory {
        /// Threads of a worker.
        cores: u32,
        /// Bytes that so many of the largest task need.
        need: u64,
        /// The kernel of that task.
        kernel: String,
        /// Bytes that a worker has.
        memory: u64,
    },
}

impl PlanError {
    /// What is wrong with a program's text, if that is to blame.
    #[must_use]
    pub fn diagnosis(&self) -> Option<&Diagnosis> {
        match self {
            Self::Program(d) | Self::NoKernel(d) | Self::Signature(d) => Some(d),
            _ => None,
        }
    }

    /// What a person should see: with the line and a caret where a program is to blame, and without the
    /// word "error" before it.
    #[must_use]
    pub fn explain(&self) -> String {
        match self.diagnosis() {
            Some(diagnosis) => {
                let text = diagnosis.render();
                text.strip_prefix("error: ").unwrap_or(&text).to_owned()
            }
            None => self.to_string(),
        }
    }
}

impl From<ProgramError> for PlanError {
    fn from(error: ProgramError) -> Self {
        Self::Program(Box::new(error.diagnosis().clone()))
    }
}

/// What a task costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskFacts {
    /// Bytes of its outputs.
    pub output_bytes: u64,
    /// Bytes of its kernel's scratch.
    pub scratch_bytes: u64,
    /// Floating-point operations.
    pub flops: u64,
}

#[derive(Debug)]
struct Phase {
    spec: PhaseSpec,
    bound: Bound,
    /// Number of this phase's first family among the plan's matrices.
    base: u16,
    /// Outputs that a later phase reads: its tile -> indices of the output.
    outputs_by_tile: BTreeMap<String, HashMap<Tile, Vec<Indices>>>,
    outputs: BTreeMap<String, HashMap<Indices, Tile>>,
    results: Vec<BlockKey>,
    tasks: u64,
    flops: u64,
    is_shipped: bool,
}

#[derive(Clone, Debug)]
enum Family {
    Made,
    Generated,
    Source(SourceSpec, (u32, u32)),
    Link { phase: usize, name: String },
}

/// A checked plan.
#[derive(Debug)]
pub struct Plan {
    run: u64,
    digest: Digest,
    phases: Vec<Phase>,
    families: Vec<Family>,
    results: BTreeSet<BlockKey>,
    /// Arrays that results become, and each such result's chunk.
    arrays: Vec<(Place, Layout)>,
    chunks: BTreeMap<BlockKey, ChunkOf>,
    kernels: KernelSet,
    largest: (u64, String),
    block_bytes_max: u64,
    made: u64,
    warnings: Vec<Diagnosis>,
}

impl Plan {
    /// Parses, binds and checks a plan with the kernels that there are.
    ///
    /// # Errors
    /// Whatever is wrong with a program, an input or a kernel's arguments.
    pub fn new(spec: PlanSpec, kernels: KernelSet) -> Result<Arc<Self>, PlanError> {
        let mut plan = Self::empty(&spec, kernels);
        for phase in spec.phases {
            let program = plan.add_phase(phase)?;
            plan.check_program(&program)?;
            plan.survey()?;
            plan.place_results()?;
        }
        plan.warn();
        Ok(Arc::new(plan))
    }

    /// Parses and binds a plan whose every task was checked where it was made, so that a worker joins
    /// in a time that does not grow with the number of tasks. Counts of tasks and flops and largest
    /// sizes are unknown to it.
    ///
    /// # Errors
    /// A program that does not parse or bind, or an input that is not given.
    pub(crate) fn checked_elsewhere(
        spec: PlanSpec,
        kernels: KernelSet,
    ) -> Result<Arc<Self>, PlanError> {
        let mut plan = Self::empty(&spec, kernels);
        for phase in spec.phases {
            plan.add_phase(phase)?;
            plan.place_results()?;
        }
        Ok(Arc::new(plan))
    }

    fn empty(spec: &PlanSpec, kernels: KernelSet) -> Self {
        Self {
            run: spec.run,
            digest: spec.digest(),
            phases: Vec::new(),
            families: Vec::new(),
            results: BTreeSet::new(),
            arrays: Vec::new(),
            chunks: BTreeMap::new(),
            kernels,
            largest: (0, String::new()),
            block_bytes_max: 0,
            made: 0,
            warnings: Vec::new(),
        }
    }

    /// Checks that `cores` of the largest task fit `memory` bytes.
    ///
    /// # Errors
    /// [`PlanError::Memory`].
    pub fn check_memory(&self, cores: u32, memory: u64) -> Result<(), PlanError> {
        let need = self.largest.0.saturating_mul(u64::from(cores));
        if need > memory {
            let kernel = self.largest.1.clone();
            return Err(PlanError::Memory {
                cores,
                need,
                kernel,
                memory,
            });
        }
        Ok(())
    }

    /// What is odd about the programs that are not shipped and does this run no harm: tiles that nobody
    /// reads, where there are at most a few thousand tasks; else what is wrong at small parameters.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnosis] {
        &self.warnings
    }

    /// The run, part of every block's name.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.run
    }

    /// [`PlanSpec::digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The kernels of the plan.
    #[must_use]
    pub fn kernels(&self) -> &KernelSet {
        &self.kernels
    }

    /// Name and version of each kernel that the plan's programs name.
    pub fn kernels_used(&self) -> impl Iterator<Item = (&str, u32)> {
        let used: BTreeSet<&str> = self
            .phases
            .iter()
            .flat_map(|p| p.bound.kernel_counts().into_keys())
            .collect();
        used.into_iter()
            .filter_map(|name| Some((name, self.kernels.get(name)?.version())))
    }

    /// The largest block of the plan.
    #[must_use]
    pub fn block_bytes_max(&self) -> u64 {
        self.block_bytes_max
    }

    /// How many phases there are.
    #[must_use]
    pub fn phase_count(&self) -> usize {
        self.phases.len()
    }

    /// What a phase is for.
    #[must_use]
    pub fn phase_name(&self, phase: usize) -> &str {
        &self.phases[phase].spec.name
    }

    /// How many tasks a phase has.
    #[must_use]
    pub fn task_count(&self, phase: usize) -> u64 {
        self.phases[phase].tasks
    }

    /// The tasks of a phase, in the order of its program.
    pub fn tasks(&self, phase: usize) -> impl Iterator<Item = TaskId> + use<> {
        let tasks = self.phases[phase].bound.tasks();
        tasks.map(move |task| id_of(phase, task))
    }

    /// How many blocks all tasks make.
    #[must_use]
    pub fn made_count(&self) -> u64 {
        self.made
    }

    /// Floating-point operations of a phase.
    #[must_use]
    pub fn phase_flops(&self, phase: usize) -> u64 {
        self.phases[phase].flops
    }

    /// The tasks of a phase that read only what is there before it starts.
    #[must_use]
    pub fn starters(&self, phase: usize) -> Vec<TaskId> {
        self.phases[phase]
            .bound
            .starters()
            .map(|task| id_of(phase, task))
            .collect()
    }

    /// The blocks of a phase that are to be kept.
    pub fn results(&self, phase: usize) -> impl Iterator<Item = BlockKey> + '_ {
        self.phases[phase].results.iter().copied()
    }

    /// The tiles of one of a phase's outputs: indices and block.
    #[must_use]
    pub fn output(&self, phase: usize, name: &str) -> Vec<(Indices, BlockKey)> {
        let bound = &self.phases[phase].bound;
        let Some(number) = output_number(bound, name) else {
            return Vec::new();
        };
        bound
            .results()
            .filter(|result| result.output == number)
            .map(|result| (result.at, self.key(phase, result.tile)))
            .collect()
    }

    /// The tiles of the user's input that a phase reads from matrices; constants are none.
    #[must_use]
    pub fn sources(&self, phase: usize) -> Vec<BlockKey> {
        let bound = &self.phases[phase].bound;
        let keys = bound.input_tiles().map(|tile| self.key(phase, tile));
        keys.filter(|key| self.is_input(key)).collect()
    }

    /// The distinct blocks that a task reads, in the order of its arguments.
    #[must_use]
    pub fn inputs(&self, task: &TaskId) -> Vec<BlockKey> {
        let mut keys = Vec::with_capacity(4);
        for key in self.input_slots(task).into_iter().flatten() {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// A task's arguments; an absent optional one is `None`.
    #[must_use]
    pub fn input_slots(&self, task: &TaskId) -> Vec<Option<BlockKey>> {
        let (phase, task) = self.of(task);
        let slots = self.phases[phase].bound.inputs(task).expect(CHECKED);
        slots
            .iter()
            .map(|tile| tile.map(|tile| self.key(phase, tile)))
            .collect()
    }

    /// The blocks that a task writes.
    #[must_use]
    pub fn outputs(&self, task: &TaskId) -> Vec<BlockKey> {
        self.output_slots(task).into_iter().flatten().collect()
    }

    /// A task's results; an absent optional one is `None`.
    #[must_use]
    pub fn output_slots(&self, task: &TaskId) -> Vec<Option<BlockKey>> {
        let (phase, task) = self.of(task);
        let slots = self.phases[phase].bound.outputs(task).expect(CHECKED);
        slots
            .iter()
            .map(|tile| tile.map(|tile| self.key(phase, tile)))
            .collect()
    }

    /// The task that writes a block; none for an input.
    #[must_use]
    pub fn writer(&self, key: &BlockKey) -> Option<TaskId> {
        let (phase, tile) = self.tile(key);
        let task = self.phases[phase].bound.writer(tile)?;
        Some(id_of(phase, task))
    }

    /// Adds the tasks that read a block, of all phases, each once, in their order.
    pub fn readers(&self, key: &BlockKey, out: &mut Vec<TaskId>) {
        let start = out.len();
        let (home, tile) = self.tile(key);
        self.add_readers(home, tile, out);
        let mut found = out.split_off(start);
        found.sort_unstable();
        found.dedup();
        out.append(&mut found);
    }

    /// Adds the readers of a phase's tile, and those of every later phase that is shown it: by this phase,
    /// or by one that was shown it itself.
    fn add_readers(&self, home: usize, tile: Tile, out: &mut Vec<TaskId>) {
        let mut tasks = Vec::new();
        self.phases[home].bound.readers(tile, &mut tasks);
        out.extend(tasks.into_iter().map(|task| id_of(home, task)));
        for (number, later) in self.phases.iter().enumerate().skip(home + 1) {
            for (family, from) in &later.spec.inputs {
                let InputFrom::Phase(phase, name) = from else {
                    continue;
                };
                if usize::from(*phase) != home {
                    continue;
                }
                for at in self.seen_as(home, name, tile) {
                    if let Some(alias) = resolve(&later.bound, family, at) {
                        self.add_readers(number, alias, out);
                    }
                }
            }
        }
    }

    /// Whether there is such a block: an input, a constant or a task's output of this run.
    #[must_use]
    pub fn has(&self, key: &BlockKey) -> bool {
        let family = self.families.get(usize::from(key.matrix));
        if key.run != self.run || family.is_none_or(|f| matches!(f, Family::Link { .. })) {
            return false;
        }
        let (phase, tile) = self.tile(key);
        let bound = &self.phases[phase].bound;
        bound.is_input(tile) || bound.writer(tile).is_some()
    }

    /// Whether a block comes from a matrix or a generator, not from a task: any worker can make it.
    #[must_use]
    pub fn is_source(&self, key: &BlockKey) -> bool {
        let family = &self.families[usize::from(key.matrix)];
        matches!(family, Family::Source(..) | Family::Generated)
    }

    /// Whether a block is part of the user's input, not a constant.
    #[must_use]
    pub fn is_input(&self, key: &BlockKey) -> bool {
        match &self.families[usize::from(key.matrix)] {
            Family::Source(source, _) => !source.is_constant(),
            _ => false,
        }
    }

    /// Where a source block comes from; none for a block that a task makes.
    #[must_use]
    pub fn source_of(&self, key: &BlockKey) -> Option<Source<'_>> {
        match &self.families[usize::from(key.matrix)] {
            Family::Source(matrix, tile) => {
                let (row, col) = first_entry(key.indices, *tile)?;
                Some(Source::Matrix { matrix, row, col })
            }
            Family::Generated => {
                let (phase, tile) = self.tile(key);
                let made = self.phases[phase].bound.generator(tile).expect(CHECKED);
                made.map(Source::Generated)
            }
            Family::Made | Family::Link { .. } => None,
        }
    }

    /// Whether a block is to be kept.
    #[must_use]
    pub fn is_result(&self, key: &BlockKey) -> bool {
        self.results.contains(key)
    }

    /// Kind and size of a block.
    #[must_use]
    pub fn shape(&self, key: &BlockKey) -> Shape {
        let (phase, tile) = self.tile(key);
        self.phases[phase].bound.shape(tile).expect(CHECKED)
    }

    /// What is known of a block's length before it is made.
    pub(crate) fn block_len(&self, key: &BlockKey) -> BlockLen {
        let shape = self.shape(key);
        if shape.is_exact() {
            BlockLen::Exactly(shape.bytes())
        } else {
            BlockLen::AtMost(shape.bytes())
        }
    }

    /// Payload of a block; where its tile is of few rows, the most that it may be.
    #[must_use]
    pub fn bytes(&self, key: &BlockKey) -> u64 {
        self.shape(key).bytes() as u64
    }

    /// Payload that a block likely has.
    pub(crate) fn likely_bytes(&self, key: &BlockKey) -> u64 {
        let (phase, tile) = self.tile(key);
        let likely = self.phases[phase].bound.likely_shape(tile);
        likely.expect(CHECKED).bytes() as u64
    }

    /// The kernel that a task runs.
    #[must_use]
    pub fn kernel(&self, task: &TaskId) -> &str {
        self.phases[usize::from(task.phase)].bound.kernel(task.stmt)
    }

    /// The rank that the program would place a task on.
    #[must_use]
    pub fn home(&self, task: &TaskId) -> Option<i64> {
        let (phase, task) = self.of(task);
        self.phases[phase].bound.home(task)
    }

    /// Whether all readers of what a task makes have its home.
    #[must_use]
    pub fn stays_home(&self, task: &TaskId, key: &BlockKey) -> bool {
        let Some(home) = self.home(task) else {
            return false;
        };
        let mut readers = Vec::new();
        self.readers(key, &mut readers);
        readers.iter().all(|reader| self.home(reader) == Some(home))
    }

    /// The priority of a task, lowest first.
    #[must_use]
    pub fn priority(&self, task: &TaskId) -> i64 {
        let (phase, task) = self.of(task);
        self.phases[phase].bound.priority(task)
    }

    /// What a task costs.
    #[must_use]
    pub fn facts(&self, task: &TaskId) -> TaskFacts {
        let inputs = self.shapes(&self.input_slots(task));
        let outputs = self.shapes(&self.output_slots(task));
        let shapes = TaskShapes {
            inputs: &inputs,
            outputs: &outputs,
        };
        let kernel = self.kernels.get(self.kernel(task)).expect(CHECKED);
        TaskFacts {
            output_bytes: outputs
                .iter()
                .flatten()
                .map(|shape| shape.bytes() as u64)
                .sum(),
            scratch_bytes: kernel.scratch_words(&shapes) as u64 * 8,
            flops: kernel.flops(&shapes),
        }
    }

    /// The shapes of a task's arguments or results.
    #[must_use]
    pub fn shapes(&self, slots: &[Option<BlockKey>]) -> Vec<Option<Shape>> {
        slots
            .iter()
            .map(|key| key.map(|key| self.shape(&key)))
            .collect()
    }

    // ---- names

    fn of(&self, task: &TaskId) -> (usize, Task) {
        (
            usize::from(task.phase),
            Task {
                stmt: task.stmt,
                at: task.at,
            },
        )
    }

    /// The block behind a tile of a phase: that of an earlier phase where the family is a link.
    fn key(&self, phase: usize, tile: Tile) -> BlockKey {
        self.find_key(phase, tile).expect(CHECKED)
    }

    fn find_key(&self, phase: usize, tile: Tile) -> Option<BlockKey> {
        let matrix = self.phases[phase].base + tile.family;
        let Family::Link {
            phase: earlier,
            name,
        } = &self.families[usize::from(matrix)]
        else {
            return Some(BlockKey {
                run: self.run,
                matrix,
                indices: tile.at,
            });
        };
        let target = &self.phases[*earlier];
        let tile = match target.outputs.get(name) {
            Some(output) => output.get(&tile.at).copied(),
            None => resolve(&target.bound, name, tile.at),
        };
        self.find_key(*earlier, tile?)
    }

    fn tile(&self, key: &BlockKey) -> (usize, Tile) {
        let after = self
            .phases
            .partition_point(|phase| phase.base <= key.matrix);
        let phase = after - 1;
        (
            phase,
            Tile {
                family: key.matrix - self.phases[phase].base,
                at: key.indices,
            },
        )
    }

    /// The indices under which a later phase, bound to `name`, sees a tile.
    fn seen_as(&self, phase: usize, name: &str, tile: Tile) -> Vec<Indices> {
        let phase = &self.phases[phase];
        if let Some(by_tile) = phase.outputs_by_tile.get(name) {
            return by_tile.get(&tile).cloned().unwrap_or_default();
        }
        let same = resolve(&phase.bound, name, tile.at) == Some(tile);
        if same { vec![tile.at] } else { Vec::new() }
    }
}

/// Every task of a plan was looked at when the plan was made.
const CHECKED: &str = "the plan was checked when it was made";

fn id_of(phase: usize, task: Task) -> TaskId {
    let phase = u8::try_from(phase).expect("a plan has a few phases");
    TaskId {
        phase,
        stmt: task.stmt,
        at: task.at,
    }
}

fn output_number(bound: &Bound, name: &str) -> Option<u16> {
    let at = bound
        .output_names()
        .iter()
        .position(|output| output == name)?;
    u16::try_from(at).ok()
}

fn resolve(bound: &Bound, family: &str, at: Indices) -> Option<Tile> {
    let at: Vec<i64> = at
        .as_slice()
        .iter()
        .map(|&index| i64::from(index))
        .collect();
    bound.resolve(bound.family(family)?, &at)
}

fn task_error(bound: &Bound) -> impl Fn(TaskError) -> PlanError + '_ {
    move |error| PlanError::Program(Box::new(bound.diagnosis_of(error)))
}
