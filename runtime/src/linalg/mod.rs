//! The user's calls: from matrices and options to results and a report.
//!
//! ```text
//! operation   the operations by name: inputs, results, shapes
//! request     what a user asks for; run
//! qr, ..      one file an operation: its phases
//! program     a user's own program as an operation
//! job         phases, results and ratios as plain data
//! execute     runs a job and fills in the report
//! assemble    result tiles into files and numbers
//! figures     what workers counted as a report
//! simulated   a request on a fleet that is not there
//! resume      finishes the job of a driver that died
//! ```

mod algebra;
mod assemble;
mod cholesky;
mod execute;
mod figures;
mod gemm;
pub mod job;
mod least_squares;
mod lu;
mod operation;
mod program;
mod qr;
mod request;
mod resume;
mod simulated;
mod svd;
mod triangular;
mod truncated;
mod tsqr;

pub use job::Job;
pub use operation::{Norm, Operation, Scales, ShapeError, Triangle};
pub use program::{OpenError, ProgramCall};
pub use request::{Outcome, Request, plan, run};
pub use resume::{ResumeOptions, forget, resume};
pub use simulated::{Simulation, simulate};
pub use truncated::Truncation;
