//! Programs of the user's own as an operation: which matrices their inputs and outputs are. Never looks at a
//! task.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use peerwren_kernels::tile::{Kind, Shape};
use peerwren_transports::block::Indices;

use super::job::Builder;
use crate::lambdapack::{Bound, Program, ProgramError, SOURCE_BYTES_MAX};
use crate::matrix::{ArrayForm, Entries};
use crate::plan::{PhaseSpec, PlanError};
use crate::run::RunError;

/// A program of the user's own, ready to be run: as [`Operation::Program`](super::Operation::Program) its inputs are
/// those that it is given here by name, its results all its outputs.
///
/// ```
/// use peerwren::lambdapack::Program;
/// use peerwren::linalg::ProgramCall;
///
/// let program = Program::parse("twice.lp", "program twice
///     param n
///     input A[i in 0..n] : full(8, 8)
///     tile B[i] : full(8, 8)
///     output B[i in 0..n] = B[i]
///     for i in 0..n { B[i] = identity(A[i]) }")?;
/// let call = ProgramCall::new(program).param("n", 3).input("A");
/// assert_eq!(call.outputs().collect::<Vec<_>>(), ["B"]);
/// # Ok::<(), peerwren::lambdapack::ProgramError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProgramCall {
    program: Program,
    params: BTreeMap<String, i64>,
    inputs: Vec<String>,
}

/// A program that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file cannot be read.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The program is wrong.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

impl ProgramCall {
    /// A call without parameters or inputs.
    #[must_use]
    pub fn new(program: Program) -> Self {
        Self {
            program,
            params: BTreeMap::new(),
            inputs: Vec::new(),
        }
    }

    /// Reads a program from a file; what it includes lies in the same folder, or is shipped.
    ///
    /// # Errors
    /// A file cannot be read, is no text or is too large, or the program is wrong.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |problem: String| OpenError::File {
            path: path.to_owned(),
            problem,
        };
        let source = read(path).map_err(failed)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or(path.as_os_str());
        // A file that is not there may be one that is shipped; any other fault is found by its name.
        let find = |wanted: &str| read(&folder.join(wanted)).ok();
        let program = Program::parse_finding(&name.to_string_lossy(), &source, &find)?;
        Ok(Self::new(program))
    }

    /// The same with a parameter that has a value.
    #[must_use]
    pub fn param(mut self, name: &str, value: i64) -> Self {
        self.params.insert(name.to_owned(), value);
        self
    }

    /// The same with one more input that is given: the request's inputs come in this order.
    #[must_use]
    pub fn input(mut self, name: &str) -> Self {
        self.inputs.push(name.to_owned());
        self
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// How many inputs are given.
    #[must_use]
    pub fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// The names of the program's outputs.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.program.outputs()
    }

    /// The longest side of a tile that is read from a matrix or written to one, which the report tells as
    /// its block.
    pub(super) fn block(&self) -> Option<u32> {
        let bound = self.bind().ok()?;
        let given: Vec<u16> = self
            .inputs
            .iter()
            .filter_map(|name| bound.family(name))
            .collect();
        let inputs = bound
            .input_tiles()
            .filter(|tile| given.contains(&tile.family));
        let tiles = inputs.chain(bound.results().map(|result| result.tile));
        tiles
            .filter_map(|tile| bound.shape(tile).ok())
            .map(|shape| shape.rows.max(shape.cols))
            .max()
    }

    /// Whether every entry of an input is read, so that none may be NaN or infinite.
    pub(super) fn reads_all(&self, input: usize) -> bool {
        let Ok(bound) = self.bind() else { return false };
        let tiles = self.tiles_of(&bound, input);
        let shapes: Vec<(Indices, Shape)> = tiles.collect();
        let Ok(extent) = Extent::of(shapes.iter().copied()) else {
            return false;
        };
        extent.is_full
    }

    /// The program's file, its parameters and what its inputs are, in a line.
    pub(super) fn applied_to(&self, inputs: &[&str]) -> String {
        let params = self.params.iter();
        let params = params.map(|(name, value)| format!("{name}={value}"));
        let inputs = self.inputs.iter().zip(inputs);
        let inputs = inputs.map(|(name, input)| format!("{name}={input}"));
        let words = std::iter::once(self.file().to_owned());
        let words: Vec<String> = words.chain(params).chain(inputs).collect();
        words.join(" ")
    }

    /// The name of the program's file.
    pub(super) fn file(&self) -> &str {
        let mut files = self.program.files();
        files.next().map_or("", |(name, _)| name)
    }

    fn bind(&self) -> Result<Bound, ProgramError> {
        self.program.bind(&self.params)
    }

    fn tiles_of<'a>(
        &'a self,
        bound: &'a Bound,
        input: usize,
    ) -> impl Iterator<Item = (Indices, Shape)> + 'a {
        let family = bound.family(&self.inputs[input]);
        let tiles = bound.input_tiles();
        let tiles = tiles.filter(move |tile| Some(tile.family) == family);
        tiles.filter_map(|tile| Some((tile.at, bound.shape(tile).ok()?)))
    }
}

impl PartialEq for ProgramCall {
    fn eq(&self, other: &Self) -> bool {
        self.program.files().eq(other.program.files())
            && self.params == other.params
            && self.inputs == other.inputs
    }
}

/// The one phase of the program.
pub(super) fn build(builder: &mut Builder<'_>, call: &ProgramCall) -> Result<(), RunError> {
    let bound = call.bind().map_err(PlanError::from)?;
    let file = call.file();
    let refused = |what: &str, name: &str, problem: String| {
        RunError::Usage(format!("{file}: {what} `{name}` {problem}"))
    };
    let mut inputs = Vec::new();
    for (number, name) in call.inputs.iter().enumerate() {
        let tiles: Vec<_> = call.tiles_of(&bound, number).collect();
        // What is no input, or made by the program, the plan refuses by name.
        let tile = if tiles.is_empty() {
            builder.tile()
        } else {
            let extent =
                Extent::of(tiles.into_iter()).map_err(|problem| refused("input", name, problem))?;
            let (m, n) = builder.shape(number);
            if (extent.rows, extent.cols) != (m, n) {
                let problem = format!(
                    "is {m} x {n}, but the program reads {} x {} with these parameters",
                    extent.rows, extent.cols
                );
                return Err(refused("input", name, problem));
            }
            extent.tile
        };
        inputs.push((name.clone(), builder.input_tiled(number, tile)?));
    }
    let phase = builder.push(PhaseSpec {
        name: "run".to_owned(),
        file: file.to_owned(),
        source: call.program.source().to_owned(),
        includes: included(&call.program),
        params: call.params.clone().into_iter().collect(),
        inputs,
        results: Vec::new(),
    });
    for (number, name) in bound.output_names().iter().enumerate() {
        if !builder.wants(name) {
            continue;
        }
        let tiles = bound
            .results()
            .filter(|result| usize::from(result.output) == number);
        let mut shapes = Vec::new();
        for result in tiles {
            if bound.is_input(result.tile) {
                let problem = format!(
                    "shows {}, which no task writes",
                    bound.describe_tile(result.tile)
                );
                return Err(refused("output", name, problem));
            }
            shapes.extend(
                bound
                    .shape(result.tile)
                    .ok()
                    .map(|shape| (result.at, shape)),
            );
        }
        let extent =
            Extent::of(shapes.into_iter()).map_err(|problem| refused("output", name, problem))?;
        builder.result_tiled(name, (phase, name), extent.form(), extent.tile)?;
    }
    Ok(())
}

/// The files that a program includes and that workers do not have.
fn included(program: &Program) -> Vec<(String, String)> {
    let files = program.files().skip(1);
    let own = files.filter(|(name, text)| {
        Program::shipped(name.strip_suffix(".lp").unwrap_or(name)) != Some(*text)
    });
    own.map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

/// The array that tiles are parts of: tile [i, j] begins at i and j times the rows and columns of a tile, [i] in
/// column 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    rows: u64,
    cols: u64,
    tile: (u32, u32),
    /// Of one index and one column.
    is_vector: bool,
    is_index: bool,
    /// Whether the tiles are all of the array, with every entry.
    is_full: bool,
}

impl Extent {
    fn of(tiles: impl Iterator<Item = (Indices, Shape)>) -> Result<Self, String> {
        let (mut rows, mut cols) = (Side::default(), Side::default());
        let (mut kinds, mut ranks, mut count) = (BTreeSet::new(), BTreeSet::new(), 0_u64);
        for (at, shape) in tiles {
            let (i, j) = match *at.as_slice() {
                [i] => (i, 0),
                [i, j] => (i, j),
                _ => {
                    return Err(format!(
                        "has tiles of {} indices, expected 1 or 2",
                        at.as_slice().len()
                    ));
                }
            };
            let (height, width) = shape.dense();
            rows.add(i, height)?;
            cols.add(j, width)?;
            kinds.insert(shape.kind.name());
            ranks.insert(at.as_slice().len());
            count += 1;
        }
        for kind in [Kind::Tfac, Kind::Few].map(Kind::name) {
            if kinds.contains(kind) {
                return Err(format!("has {kind} tiles, which are no part of a matrix"));
            }
        }
        let is_index = kinds.contains(Kind::Index.name());
        if is_index && kinds.len() > 1 {
            return Err("has index tiles and others".to_owned());
        }
        let (m, mb) = rows.length("rows")?;
        let (n, nb) = cols.length("columns")?;
        Ok(Self {
            rows: m,
            cols: n,
            tile: (mb, nb),
            is_vector: n == 1 && (is_index || !ranks.contains(&2)),
            is_index,
            is_full: kinds.iter().all(|kind| *kind == Kind::Full.name())
                && count == rows.count() * cols.count()
                && m == rows.sum()
                && n == cols.sum(),
        })
    }

    fn form(&self) -> ArrayForm {
        ArrayForm {
            rows: self.rows,
            cols: self.cols,
            is_vector: self.is_vector,
            entries: if self.is_index {
                Entries::I64
            } else {
                Entries::F64
            },
        }
    }
}

/// Rows or columns of tiles by their index, and how long each is.
#[derive(Debug, Default)]
struct Side(BTreeMap<i32, u32>);

impl Side {
    fn add(&mut self, index: i32, length: usize) -> Result<(), String> {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if index < 0 {
            return Err(format!("has a tile of index {index}; a matrix begins at 0"));
        }
        match self.0.insert(index, length) {
            Some(before) if before != length => Err(format!(
                "has tiles of index {index} that are {before} and {length} long; in a matrix they are equally long"
            )),
            _ => Ok(()),
        }
    }

    fn count(&self) -> u64 {
        self.0.len() as u64
    }

    fn sum(&self) -> u64 {
        self.0.values().map(|length| u64::from(*length)).sum()
    }

    /// The length of all, and that of a tile which is not the last.
    fn length(&self, what: &str) -> Result<(u64, u32), String> {
        let Some((&last, &end)) = self.0.last_key_value() else {
            return Err("has no tiles with these parameters".to_owned());
        };
        let mut whole = self.0.range(..last).map(|(_, length)| *length);
        let side = match whole.next() {
            Some(side) if whole.all(|length| length == side) && end <= side => side,
            Some(_) => {
                return Err(format!(
                    "has tiles of different {what}; in a matrix all but the last are equally long"
                ));
            }
            None if last == 0 => end,
            None => {
                return Err(format!(
                    "has tiles of one index alone, {last}, so that the {what} before it cannot be told"
                ));
            }
        };
        let first = u64::from(side) * u64::from(last.unsigned_abs());
        Ok((first + u64::from(end), side))
    }
}

/// Reads a text that is no longer than a program may be.
fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let limit = SOURCE_BYTES_MAX as u64 + 1;
    let read = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        file.take(limit).read_to_string(&mut text)
    });
    match read {
        Ok(_) if text.len() > SOURCE_BYTES_MAX => Err(format!(
            "is longer than a program may be, {SOURCE_BYTES_MAX} bytes"
        )),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err("expected a program, which is text in UTF-8".to_owned())
        }
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}
