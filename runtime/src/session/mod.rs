//! What a program computes with: a session holds engine, store and options; matrices lie on its store, and results
//! feed the next call without passing through this process.
//!
//! ```text
//! matrix    BigMatrix: a handle of a matrix, views of it, and what brings it here
//! call      work that is begun by being awaited, or waited for
//! make      matrices from functions, seeds and other libraries' matrices
//! solve     factorizations, systems, singular values
//! algebra   products, sums, norms, copies in other tiles
//! program   programs of the user's own
//! home      where the matrices of a session lie
//! ```

mod algebra;
mod call;
mod home;
mod make;
mod matrix;
mod program;
mod solve;

use std::sync::Arc;

use peerwren_kernels::op::KernelSet;

pub use self::algebra::Norm;
pub use self::call::{Call, Pending, Run};
use self::home::Home;
pub use self::matrix::BigMatrix;
pub use self::program::{Outputs, ProgramRun};
pub use self::solve::{Lu, Qr, Svd};
use crate::cloud::fit;
use crate::linalg::{Operation, Request};
use crate::matrix::{MatrixSource, ResultPlace};
use crate::options::{EngineKind, MachineFacts, RunOptions};
use crate::report::Report;
use crate::run::RunError;

/// Engine, store and options of many calls. Cheap to clone: clones share the store and what lies there.
///
/// Each call is a run of its own: workers come, compute, and go. Results are Zarr arrays on the session's store: the
/// folder or bucket of [`RunOptions::store`], else a folder for temporary files. A matrix goes when its last
/// handle is dropped; [`Session::write`] writes one to where it stays.
///
/// ```
/// use peerwren::Session;
///
/// let session = Session::new()?;
/// let a = session.random(300, 40, 1)?;
/// let b = session.from_fn(300, 1, |i, _| i as f64).wait()?;
/// let x = session.lstsq(&a, &b).wait()?;
/// assert_eq!(x.shape(), (40, 1));
/// // Results are inputs of the next call; a transpose is a view.
/// let fitted = session.matmul(&a, &x).wait()?;
/// let residual = session.add(1.0, &b, -1.0, &fitted).wait()?;
/// let normal = session.matmul(&a.transposed(), &residual).wait()?;
/// assert!(normal.to_vec().wait()?.iter().all(|entry| entry.abs() < 1e-9));
/// # Ok::<(), peerwren::RunError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Session {
    options: RunOptions,
    kernels: KernelSet,
    checked: bool,
    home: Arc<Home>,
}

impl Session {
    /// Opens a session whose workers are threads of this process, one a core.
    ///
    /// # Errors
    /// [`RunError::Usage`] where there can be no folder for temporary files.
    pub fn new() -> Result<Self, RunError> {
        Self::with(RunOptions {
            engine: EngineKind::Threads,
            ..RunOptions::default()
        })
    }

    /// Opens a session with other options. With [`EngineKind::Processes`] the program calls
    /// [`worker_main`](crate::worker_main) first in its `main`.
    ///
    /// # Errors
    /// [`RunError::Usage`] where options contradict each other, or the store cannot be written.
    pub fn with(options: RunOptions) -> Result<Self, RunError> {
        options.check_engine().map_err(usage)?;
        let options = fit(options.clone(), None).map_err(usage)?;
        let home = Home::open(&options.store, options.engine.is_remote())?;
        Ok(Self {
            options,
            kernels: KernelSet::standard(),
            checked: false,
            home: Arc::new(home),
        })
    }

    /// The same session with kernels of the user's own beside the standard ones. Workers in other processes get them
    /// by their [`worker_main`](crate::worker_main).
    #[must_use]
    pub fn kernels(mut self, kernels: KernelSet) -> Self {
        self.kernels = kernels;
        self
    }

    /// The same session in which each operation is checked as LAPACK's tests do, by the same workers; an unsound result
    /// is an error.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.checked = true;
        self
    }

    /// The same session with options changed: block, workers, exchange and the like for the calls that follow.
    /// Matrices are those of both.
    ///
    /// ```
    /// # use peerwren::Session;
    /// let session = Session::new()?;
    /// let a = session.random(100, 100, 1)?;
    /// let small = session.tuned(|options| options.block = Some(32));
    /// assert_eq!(small.qr(&a).wait()?.r.tile_shape(), Some((32, 32)));
    /// # Ok::<(), peerwren::RunError>(())
    /// ```
    #[must_use]
    pub fn tuned(&self, change: impl FnOnce(&mut RunOptions)) -> Self {
        let mut session = self.clone();
        let store = session.options.store.clone();
        change(&mut session.options);
        // Matrices stay where they are.
        session.options.store = store;
        session
    }

    /// The options of the calls.
    #[must_use]
    pub fn options(&self) -> &RunOptions {
        &self.options
    }

    /// Opens a matrix: a `.npy` file, a Zarr array in a folder or on S3, `random:MxN[:seed]` or `spd:N[:seed]`.
    ///
    /// # Errors
    /// [`RunError::Usage`] with whatever is wrong with the name or the file.
    pub fn open(&self, name: &str) -> Result<BigMatrix, RunError> {
        MatrixSource::parse(name)
            .map(BigMatrix::from)
            .map_err(usage)
    }

    /// Runs an operation of which the results with these names are wanted, in this order.
    fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        inputs: &[&BigMatrix],
        wanted: &[&str],
        finish: impl FnOnce(Vec<BigMatrix>) -> T + Send + 'static,
    ) -> Run<T> {
        let session = self.clone();
        let inputs: Vec<BigMatrix> = inputs.iter().map(|&input| input.clone()).collect();
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        Run::new(move |context| {
            let sources = inputs.iter().map(|input| input.source().clone());
            let mut request = session.request(operation, sources.collect())?;
            let places: Vec<_> = wanted.iter().map(|name| session.home.next(name)).collect();
            for (name, place) in wanted.iter().zip(&places) {
                request = request.wanting(name, ResultPlace::Zarr(place.clone()));
            }
            request.interrupt = context.interrupt.clone();
            let outcome = crate::linalg::run(request, &mut context.progress)?;
            let report = sound(outcome.report)?;
            let made = places.iter().map(|place| session.home.adopt(place));
            let made = made.collect::<Result<_, _>>()?;
            // The inputs were needed until here.
            drop(inputs);
            Ok((finish(made), report))
        })
    }

    fn request(
        &self,
        operation: Operation,
        sources: Vec<MatrixSource>,
    ) -> Result<Request, RunError> {
        let shapes: Vec<_> = sources.iter().map(MatrixSource::shape).collect();
        let problem = operation.problem(&shapes).map_err(usage)?;
        let block = operation.block((problem.m, problem.n));
        let mut options = self.options.clone();
        options.block = match &operation {
            // A program's tiles are its own.
            Operation::Program(_) => block,
            _ => options.block.or(block),
        };
        let options = options
            .resolve_for(&problem, &MachineFacts::read())
            .map_err(usage)?;
        let mut request = Request::new(operation, sources, options);
        request.kernels = self.kernels.clone();
        request.check = self.checked && request.operation.has_check();
        Ok(request)
    }
}

/// Refuses results that a check found unsound.
fn sound(report: Report) -> Result<Report, RunError> {
    if report.is_sound() {
        return Ok(report);
    }
    Err(RunError::Failed(format!(
        "the results are not sound: {} where 30 is the most; please report this with the input",
        report.ratios()
    )))
}

fn usage(error: impl std::fmt::Display) -> RunError {
    RunError::Usage(error.to_string())
}
