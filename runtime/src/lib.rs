//! Dense linear algebra on serverless workers that talk to each other.
//!
//! A run computes with matrices, cut into tiles, on several workers. Each worker keeps the tiles that it
//! made or fetched and gives them to its peers over QUIC; the object store is the last resort, not
//! the only way. [`linalg::Operation`] lists what can be computed; workers are threads of this process, child
//! processes, invocations of an AWS Lambda function ([`cloud`]), or processes that join from any machine.
//!
//! # A first run
//!
//! ```
//! use peerwren::linalg::{Operation, Request, run};
//! use peerwren::matrix::MatrixSource;
//! use peerwren::options::{EngineKind, MachineFacts, RunOptions, StoreChoice};
//!
//! let source = MatrixSource::parse("random:300x200:1")?;
//! let (m, n) = source.shape();
//! let options = RunOptions {
//!     block: Some(64),
//!     workers: Some(2),
//!     engine: EngineKind::Threads,
//!     store: StoreChoice::Memory,
//!     ..RunOptions::default()
//! };
//! let options = options.resolve(m, n, &MachineFacts::read())?;
//! let request = Request::new(Operation::Qr, vec![source], options).checked();
//! let report = run(request, &mut |_progress| {})?.report;
//! // LAPACK's ratio |A - QR| / (max(m, n) eps |A|): below 30 is sound.
//! assert!(report.residual.is_some_and(|ratio| ratio < 30.0));
//! assert!(report.factor.bytes.peer > 0, "the two workers exchanged tiles");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`linalg::run`] blocks its caller and runs on a thread of its own, so that it works inside and
//! outside of any async runtime. A program that wants child processes for workers
//! (`EngineKind::Processes`, the default) calls [`worker_main`] first in its `main`.
//!
//! # Where things are
//!
//! ```text
//! linalg      the calls: from a matrix and options to factors and a report
//! matrix      where tiles come from (.npy, Zarr, generated) and where results go (.npy, Zarr)
//! options     what a user may choose, its defaults and contradictions
//! doctor      what a machine and its surroundings are good for
//! remote      workers that join a run from any machine
//! report      the figures of a run: JSON, summary, progress
//! lambdapack  programs over tiles, and who depends on whom in them
//! plan        programs bound to sizes, checked before anything starts
//! cost        counts the bytes that a program moves, without running it
//! forecast    what a plan would take: time, bytes, memory, dollars
//! cloud       the Lambda function that workers run in
//! prices      what a run in the cloud costs in dollars
//! control     the messages between a coordinator and its workers
//! manifest    what a checkpoint leaves in the store
//! runs        what the drivers of runs leave for whoever resumes them
//! machine     every decision of a run: state machines without I/O, clock or async
//! ```
//!
//! Private: `actors` drive the machines, `engine` runs workers, `run` puts a run together,
//! `durable` finds its durable blocks. The crates
//! below are `peerwren-kernels` (tiles; re-exported as [`kernels`]) and `peerwren-transports` (blocks,
//! QUIC, stores).

mod actors;
pub mod cloud;
pub mod control;
pub mod cost;
pub mod doctor;
mod durable;
mod engine;
pub mod forecast;
pub mod lambdapack;
pub mod linalg;
mod log;
pub mod machine;
pub mod manifest;
pub mod matrix;
pub mod options;
pub mod plan;
pub mod prices;
pub mod remote;
pub mod report;
mod run;
pub mod runs;

pub use engine::{lambda_main, worker_main};
pub use log::log_targets;
pub use peerwren_kernels as kernels;
pub use run::{Interrupt, RunError};
