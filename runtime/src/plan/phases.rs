//! Adds phases to a plan: parses and binds their programs, and finds where each input family comes
//! from. Never looks at a task.

use std::collections::{BTreeMap, HashMap};

use peerwren_kernels::tile::{Kind, Shape};
use peerwren_transports::block::Indices;

use super::{Family, InputFrom, Phase, PhaseSpec, Plan, PlanError};
use super::{output_number, task_error};
use crate::lambdapack::{Generated, InputFamily, Program, Tile};
use crate::matrix::SourceSpec;

/// Families of one program: the language allows so many.
const FAMILIES_MAX: u16 = 1_000;

/// Where an input tile comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source<'a> {
    /// A part of a matrix.
    Matrix {
        /// The matrix.
        matrix: &'a SourceSpec,
        /// The tile's first row in it.
        row: u64,
        /// Its first column.
        col: u64,
    },
    /// Made as the program says.
    Generated(Generated),
}

/// Row and column at which a tile of a matrix begins: tile (i, j) at i and j times the rows and columns of
/// a tile, tile (i) in column 0.
pub(super) fn first_entry(at: Indices, (rows, cols): (u32, u32)) -> Option<(u64, u64)> {
    let first = |index: i32, side: u32| Some(u64::try_from(index).ok()? * u64::from(side));
    match *at.as_slice() {
        [i] => Some((first(i, rows)?, 0)),
        [i, j] => Some((first(i, rows)?, first(j, cols)?)),
        _ => None,
    }
}

impl Plan {
    pub(super) fn add_phase(&mut self, spec: PhaseSpec) -> Result<Program, PlanError> {
        let number = self.phases.len();
        let includes: Vec<(&str, &str)> = spec
            .includes
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let program = Program::parse_with(&spec.file, &spec.source, &includes)?;
        let params: BTreeMap<String, i64> = spec.params.iter().cloned().collect();
        let bound = program.bind(&params)?;
        let base = u16::try_from(self.families.len())
            .ok()
            .filter(|base| base.checked_add(FAMILIES_MAX).is_some())
            .ok_or_else(|| PlanError::Families {
                file: spec.file.clone(),
            })?;
        check_names(&spec, bound.input_families())?;
        for (name, ..) in program.families() {
            let declared = bound.input_families().find(|input| input.name == name);
            let given = spec.inputs.iter().find(|(input, _)| input == name);
            let family = match (declared, given) {
                (Some(input), None) if input.generated => Family::Generated,
                (Some(input), None) if input.tiles > 0 => {
                    return Err(refused(&spec, name, "is not given"));
                }
                (_, None) => Family::Made,
                (_, Some((_, InputFrom::Matrix(source, nb)))) => {
                    Family::Source(source.clone(), *nb)
                }
                (_, Some((_, InputFrom::Phase(phase, link)))) => {
                    let phase = usize::from(*phase);
                    if phase >= number {
                        let problem =
                            format!("is bound to phase {phase}, which does not come before");
                        return Err(refused(&spec, name, problem));
                    }
                    let name = link.clone();
                    Family::Link { phase, name }
                }
            };
            self.families.push(family);
        }
        for (_, from) in &spec.inputs {
            if let InputFrom::Phase(phase, name) = from {
                self.index_output(usize::from(*phase), name);
            }
        }
        self.phases.push(Phase {
            bound,
            base,
            outputs_by_tile: BTreeMap::new(),
            outputs: BTreeMap::new(),
            results: Vec::new(),
            tasks: 0,
            flops: 0,
            is_shipped: program.is_shipped(),
            spec,
        });
        self.check_inputs(number)?;
        self.collect_results(number);
        Ok(program)
    }

    /// Remembers which tiles an output shows, in both directions.
    fn index_output(&mut self, phase: usize, name: &str) {
        let phase = &mut self.phases[phase];
        if phase.outputs.contains_key(name) {
            return;
        }
        let mut by_tile: HashMap<Tile, Vec<Indices>> = HashMap::new();
        let mut by_index = HashMap::new();
        let Some(number) = output_number(&phase.bound, name) else {
            return;
        };
        for result in phase
            .bound
            .results()
            .filter(|result| result.output == number)
        {
            by_tile.entry(result.tile).or_default().push(result.at);
            by_index.insert(result.at, result.tile);
        }
        phase.outputs_by_tile.insert(name.to_owned(), by_tile);
        phase.outputs.insert(name.to_owned(), by_index);
    }

    /// Checks that every input tile is a tile of an earlier phase, lies in its matrix, or can be made.
    fn check_inputs(&self, number: usize) -> Result<(), PlanError> {
        let phase = &self.phases[number];
        for tile in phase.bound.input_tiles() {
            let name = phase.bound.family_name(tile.family);
            let failed = |problem| refused(&phase.spec, name, problem);
            match &self.families[usize::from(phase.base + tile.family)] {
                Family::Link { .. } if self.find_key(number, tile).is_none() => {
                    let what = phase.bound.describe_tile(tile);
                    let problem = format!("is bound to a phase that has no tile {what}");
                    return Err(failed(problem));
                }
                Family::Source(matrix, side) => {
                    let shape = phase.bound.shape(tile).map_err(task_error(&phase.bound))?;
                    let what = phase.bound.describe_tile(tile);
                    fits(matrix, *side, tile.at, shape)
                        .map_err(|problem| failed(format!("cannot give {what}: {problem}")))?;
                }
                Family::Generated => {
                    phase
                        .bound
                        .generator(tile)
                        .map_err(task_error(&phase.bound))?;
                }
                Family::Link { .. } | Family::Made => {}
            }
        }
        Ok(())
    }

    /// Names the blocks of a phase that are to be kept.
    fn collect_results(&mut self, number: usize) {
        let phase = &self.phases[number];
        let mut results = Vec::new();
        for result in phase.bound.results() {
            let name = &phase.bound.output_names()[usize::from(result.output)];
            if phase.spec.results.iter().any(|kept| kept.output == *name) {
                results.push(self.key(number, result.tile));
            }
        }
        self.results.extend(results.iter().copied());
        self.phases[number].results = results;
    }
}

/// Checks that what is bound is an input that the program does not make itself.
fn check_names<'a>(
    spec: &PhaseSpec,
    inputs: impl Iterator<Item = InputFamily<'a>>,
) -> Result<(), PlanError> {
    let inputs: Vec<_> = inputs.collect();
    for (at, (name, _)) in spec.inputs.iter().enumerate() {
        if spec.inputs[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(refused(spec, name, "is given twice"));
        }
        match inputs.iter().find(|input| input.name == name) {
            None => {
                let known: Vec<&str> = inputs.iter().map(|input| input.name).collect();
                let problem = format!("is none of the program's: {}", known.join(", "));
                return Err(refused(spec, name, problem));
            }
            Some(input) if input.generated => {
                let problem = "is made by the program itself: it is not given";
                return Err(refused(spec, name, problem));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn refused(spec: &PhaseSpec, family: &str, problem: impl Into<String>) -> PlanError {
    PlanError::Input {
        file: spec.file.clone(),
        family: family.to_owned(),
        problem: problem.into(),
    }
}

/// Checks that a tile can be read from a matrix in tiles of so many rows and columns.
fn fits(matrix: &SourceSpec, side: (u32, u32), at: Indices, shape: Shape) -> Result<(), String> {
    if matches!(shape.kind, Kind::Index | Kind::Tfac | Kind::Few) {
        return Err(format!("a matrix has no {} tiles", shape.kind.name()));
    }
    let Some((row, col)) = first_entry(at, side) else {
        return Err("a matrix has tiles [i, j], or [i] in one column, from 0 on".to_owned());
    };
    let (m, n) = matrix.shape();
    if row + u64::from(shape.rows) > m || col + u64::from(shape.cols) > n {
        return Err(format!(
            "{shape} at row {row}, column {col} does not lie in a matrix of {m} x {n}"
        ));
    }
    Ok(())
}
