//! An operation made ready to run: its plan, which outputs become which results, and what the norms of
//! a check mean. Plain data, kept of a run that can be resumed; runs nothing.
#![allow(
    missing_docs,
    reason = "the archived fields that rkyv derives cannot be documented"
)]

use rkyv::{Archive, Deserialize, Serialize};

use super::request::Request;
use crate::lambdapack::Program;
use crate::matrix::zarr::{Layout, ZarrSpec};
use crate::matrix::{ArrayForm, Place, ResultPlace};
use crate::options::{Resolved, StoreChoice, Tree};
use crate::plan::{InputFrom, Kept, PhaseSpec, PlanSpec};
use crate::run::{RunError, new_run};

/// An operation made ready to run.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Job {
    /// The operation's name.
    pub operation: String,
    /// The inputs as a user names them.
    pub input: String,
    /// Rows of the first input.
    pub m: u64,
    /// Columns of the first input.
    pub n: u64,
    /// Results that become files or arrays.
    pub wanted: Vec<Wanted>,
    /// What the check measures; empty without one.
    pub ratios: Vec<Ratio>,
    /// The plan.
    pub plan: PlanSpec,
}

/// An output that becomes a result.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The result's name.
    pub name: String,
    /// The phase that makes it.
    pub phase: u8,
    /// The phase's output.
    pub output: String,
    /// Sizes, dimensions and type.
    pub form: ArrayForm,
    /// Rows and columns of its tiles.
    pub tile: (u32, u32),
}

/// Which figure of the report a ratio is.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// How far the factors' product is from the matrix.
    Residual,
    /// How far a factor is from having orthonormal columns.
    Orthogonality,
}

/// One of LAPACK's test ratios: a norm over the product of other norms, a factor and eps; 0/0 = 0. Of
/// several with the same measure the largest counts.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Ratio {
    /// The figure that it is.
    pub measure: Measure,
    /// The phase that computes the norms.
    pub phase: u8,
    /// The 1 x 1 output above the line.
    pub above: String,
    /// The 1 x 1 outputs below it.
    pub below: Vec<String>,
    /// What else is below it, beside eps.
    pub factor: f64,
}

/// What a phase named `A` or `L` was given of the matrix of a linear system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// All of it.
    Full,
    /// The lower triangle of a symmetric matrix.
    Symmetric,
    /// A lower triangle, or the transpose of one.
    Triangle { transposed: bool, unit: bool },
}

/// Puts a job together, phase by phase.
pub(super) struct Builder<'a> {
    pub(super) request: &'a Request,
    phases: Vec<PhaseSpec>,
    wanted: Vec<Wanted>,
    ratios: Vec<Ratio>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        Self {
            request,
            phases: Vec::new(),
            wanted: Vec::new(),
            ratios: Vec::new(),
        }
    }

    pub(super) fn options(&self) -> &'a Resolved {
        &self.request.options
    }

    /// Sizes of a square operation without a reduction tree, and the grid of ranks that places its tasks.
    pub(super) fn square_params(&self, n: u64) -> Result<Vec<(&'static str, u64)>, RunError> {
        let (p, q) = self.grid()?;
        let nb = self.options().block.into();
        Ok(vec![("n", n), ("nb", nb), ("P", p), ("Q", q)])
    }

    /// The grid of ranks, for an operation that has no reduction tree.
    pub(super) fn grid(&self) -> Result<(u64, u64), RunError> {
        let Tree::Grid {
            p, q, layers: 1, ..
        } = self.options().tree
        else {
            return Err(self.no_such_tree("auto or grid:PxQ"));
        };
        Ok((p.into(), q.into()))
    }

    /// The tree that was asked for is not one of the operation's.
    pub(super) fn no_such_tree(&self, expected: &str) -> RunError {
        let (tree, name) = (&self.options().tree, self.request.operation.name());
        RunError::Usage(format!(
            "--tree {tree}: {name} has no such tree; expected {expected}"
        ))
    }

    /// Rows and columns of the run's tiles.
    pub(super) fn tile(&self) -> (u32, u32) {
        let block = self.options().block;
        (block, block)
    }

    /// Rows and columns of an input.
    pub(super) fn shape(&self, input: usize) -> (u64, u64) {
        self.request.inputs[input].shape()
    }

    /// An input in the run's tiles.
    pub(super) fn input(&self, input: usize) -> Result<InputFrom, RunError> {
        self.input_tiled(input, self.tile())
    }

    /// An input in tiles of so many rows and columns.
    pub(super) fn input_tiled(
        &self,
        input: usize,
        tile: (u32, u32),
    ) -> Result<InputFrom, RunError> {
        let source = self.request.inputs[input].spec();
        let source = source.map_err(|error| RunError::Usage(error.to_string()))?;
        Ok(InputFrom::Matrix(source, tile))
    }

    /// The transpose of an input in the run's tiles.
    pub(super) fn input_transposed(&self, input: usize) -> Result<InputFrom, RunError> {
        let source = self.request.inputs[input].clone().transposed().spec();
        let source = source.map_err(|error| RunError::Usage(error.to_string()))?;
        Ok(InputFrom::Matrix(source, self.tile()))
    }

    /// Whether a result is to be written.
    pub(super) fn wants(&self, result: &str) -> bool {
        self.request.place(result).is_some()
    }

    /// Adds a phase that runs a shipped program, and returns its number.
    pub(super) fn phase(
        &mut self,
        name: &str,
        program: &str,
        params: &[(&str, u64)],
        inputs: Vec<(&str, InputFrom)>,
    ) -> u8 {
        let source = Program::shipped(program).expect("the program is shipped with this crate");
        let params = params.iter();
        self.push(PhaseSpec {
            name: name.to_owned(),
            file: format!("{program}.lp"),
            source: source.to_owned(),
            includes: Vec::new(),
            params: params
                .map(|&(name, value)| (name.to_owned(), int(value)))
                .collect(),
            inputs: inputs
                .into_iter()
                .map(|(name, from)| (name.to_owned(), from))
                .collect(),
            results: Vec::new(),
        })
    }

    /// Adds a phase, and returns its number.
    pub(super) fn push(&mut self, phase: PhaseSpec) -> u8 {
        self.phases.push(phase);
        u8::try_from(self.phases.len() - 1).expect("a job has a few phases")
    }

    /// Makes an output of a phase a result, if that is wanted.
    pub(super) fn result(
        &mut self,
        name: &str,
        output: (u8, &str),
        shape: (u64, u64),
    ) -> Result<(), RunError> {
        self.result_in(name, output, ArrayForm::matrix(shape.0, shape.1))
    }

    /// The same for an X that has as many dimensions as B, the second input.
    pub(super) fn result_like_b(
        &mut self,
        name: &str,
        output: (u8, &str),
        (rows, cols): (u64, u64),
    ) -> Result<(), RunError> {
        let form = ArrayForm {
            is_vector: self.request.inputs[1].is_vector(),
            ..ArrayForm::matrix(rows, cols)
        };
        self.result_in(name, output, form)
    }

    /// The same for a result of another form.
    pub(super) fn result_in(
        &mut self,
        name: &str,
        output: (u8, &str),
        form: ArrayForm,
    ) -> Result<(), RunError> {
        self.result_tiled(name, output, form, self.tile())
    }

    /// The same in tiles of other sizes.
    pub(super) fn result_tiled(
        &mut self,
        name: &str,
        (phase, output): (u8, &str),
        form: ArrayForm,
        tile: (u32, u32),
    ) -> Result<(), RunError> {
        let Some(place) = self.request.place(name) else {
            return Ok(());
        };
        let array = array(place, form, tile, self.options())?;
        self.keep(phase, output, array);
        self.wanted.push(Wanted {
            name: name.to_owned(),
            phase,
            output: output.to_owned(),
            form,
            tile,
        });
        Ok(())
    }

    /// Adds the check of A X = B, X of n x r an output of `solved`, if it is wanted.
    pub(super) fn check_solution(
        &mut self,
        solved: u8,
        (n, r): (u64, u64),
        given: Given,
    ) -> Result<(), RunError> {
        if !self.request.check {
            return Ok(());
        }
        let (p, q) = self.grid()?;
        let (kind, unit) = match given {
            Given::Full => (0, false),
            Given::Symmetric => (1, false),
            Given::Triangle { transposed, unit } => (2 + u64::from(transposed), unit),
        };
        let sizes = [
            ("m", n),
            ("n", n),
            ("r", r),
            ("nb", self.options().block.into()),
            ("kind", kind),
            ("unit", unit.into()),
            ("P", p),
            ("Q", q),
        ];
        let a = if let Given::Triangle { .. } = given {
            "L"
        } else {
            "A"
        };
        let inputs = vec![
            ("A", link(solved, a)),
            ("X", link(solved, "X")),
            ("B", link(solved, "B")),
        ];
        let check = self.phase("check", "check_solution", &sizes, inputs);
        self.ratio(Measure::Residual, check, "rnorm", &["anorm", "xnorm"], n);
        Ok(())
    }

    /// Adds a ratio to what the check measures: `above` and `below` are outputs of the phase.
    pub(super) fn ratio(
        &mut self,
        measure: Measure,
        phase: u8,
        above: &str,
        below: &[&str],
        factor: u64,
    ) {
        for norm in [above].iter().chain(below) {
            self.keep(phase, norm, None);
        }
        self.ratios.push(Ratio {
            measure,
            phase,
            above: above.to_owned(),
            below: below.iter().map(|&name| name.to_owned()).collect(),
            factor: factor as f64,
        });
    }

    fn keep(&mut self, phase: u8, output: &str, array: Option<ZarrSpec>) {
        let kept = &mut self.phases[usize::from(phase)].results;
        if array.is_some() || kept.iter().all(|kept| kept.output != output) {
            kept.push(Kept {
                output: output.to_owned(),
                array,
            });
        }
    }

    pub(super) fn finish(self) -> Result<Job, RunError> {
        let (m, n) = self.request.inputs.first().map_or((0, 0), |a| a.shape());
        Ok(Job {
            operation: self.request.operation.name().to_owned(),
            input: self.request.named(),
            m,
            n,
            wanted: self.wanted,
            ratios: self.ratios,
            plan: PlanSpec {
                run: new_run(),
                phases: self.phases,
            },
        })
    }
}

/// An output or a family of an earlier phase as an input.
pub(super) fn link(phase: u8, name: &str) -> InputFrom {
    InputFrom::Phase(phase, name.to_owned())
}

/// Sizes are checked to fit 63 bits when an input is opened.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The array that a result becomes, if it is one.
fn array(
    place: &ResultPlace,
    form: ArrayForm,
    tile: (u32, u32),
    options: &Resolved,
) -> Result<Option<ZarrSpec>, RunError> {
    match place {
        ResultPlace::Npy(_) => Ok(None),
        ResultPlace::Zarr(Place::Folder(_))
            if options.engine.is_remote() && !matches!(options.store, StoreChoice::Folder(_)) =>
        {
            Err(RunError::Usage(format!(
                "output {place}: a folder of this machine, which workers on others cannot write; name \
                 s3://bucket/name.zarr"
            )))
        }
        ResultPlace::Zarr(_) => {
            let layout = Layout::tiled(form, tile).map_err(RunError::Usage)?;
            Ok(Some(ZarrSpec::new(&place.absolute(), &layout)))
        }
    }
}
