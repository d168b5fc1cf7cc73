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
//! use peerwren::Session;
//!
//! let session = Session::new()?.checked();
//! let a = session.random(300, 200, 1)?;
//! let (qr, report) = session.qr(&a).reported().wait()?;
//! assert_eq!(qr.r.shape(), (200, 200));
//! // LAPACK's ratio |A - QR| / (max(m, n) eps |A|): below 30 is sound.
//! assert!(report.residual.is_some_and(|ratio| ratio < 30.0));
//! # Ok::<(), peerwren::RunError>(())
//! ```
//!
//! The [`guide`] goes on from here. A program that wants child processes for workers
//! (`EngineKind::Processes`) calls [`worker_main`] first in its `main`.
//!
//! # Where things are
//!
//! ```text
//! session     sessions, matrices that stay on a store, and calls on them
//! linalg      the operations: from matrices and options to results and a report
//! matrix      where tiles come from (.npy, Zarr, generated) and where results go (.npy, Zarr)
//! options     what a user may choose, its defaults and contradictions
//! doctor      what a machine and its surroundings are good for
//! remote      workers that join a run from any machine
//! report      the figures of a run: JSON, summary, progress
//! lambdapack  programs over tiles, and who depends on whom in them
//! plan        programs bound to sizes, checked before anything starts
//! cost        counts the bytes that a program moves, without running it
//! forecast    what a plan would take: time, bytes, memory, dollars
//! sim         runs of a plan on a fleet that is not there, with the machines of real ones
//! experiment  grids of runs: what varies, their table and their pictures
//! cloud       the Lambda function that workers run in
//! prices      what a run in the cloud costs in dollars
//! control     the messages between a coordinator and its workers
//! manifest    what a checkpoint leaves in the store
//! runs        what the drivers of runs leave for whoever resumes them
//! machine     every decision of a run: state machines without I/O, clock or async
//! trace       what a traced run tells, and what a trace says of one block
//! chart       figures as SVG
//! ```
//!
//! Private: `actors` drive the machines, `engine` runs workers, `run` puts a run together,
//! `durable` finds its durable blocks, `whole` writes files that are whole or not there, `text` reads files up to a bound, `page` puts pictures on
//! a page. The crates below are `peerwren-kernels` (tiles; re-exported as [`kernels`]) and
//! `peerwren-transports` (blocks, QUIC, stores).

#[cfg(feature = "fuzzing")]
extern crate self as peerwren;

mod actors;
pub mod chart;
pub mod cloud;
pub mod control;
pub mod cost;
mod dice;
pub mod doctor;
mod durable;
mod engine;
pub mod experiment;
pub mod forecast;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}
pub mod lambdapack;
pub mod linalg;
mod log;
pub mod machine;
pub mod manifest;
pub mod matrix;
pub mod options;
mod outcome;
mod page;
pub mod plan;
pub mod prices;
pub mod remote;
pub mod report;
mod run;
pub mod runs;
pub mod session;
pub mod sim;
mod text;
pub mod trace;
mod whole;

pub use engine::{lambda_main, worker_main};
pub use log::log_targets;
pub use peerwren_kernels as kernels;
pub use run::{Interrupt, RunError};
pub use session::{BigMatrix, Norm, Session};
