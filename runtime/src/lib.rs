//! Dense linear algebra on serverless workers that talk to each other.

mod actors;
pub mod control;
pub mod cost;
mod engine;
pub mod lambdapack;
pub mod linalg;
pub mod machine;
pub mod matrix;
pub mod options;
pub mod plan;
pub mod report;
mod run;

pub use engine::worker_main;
pub use peerwren_kernels as kernels;
pub use run::{Interrupt, RunError};
