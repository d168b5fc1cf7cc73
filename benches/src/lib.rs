//! What the benchmarks share: options and tables, processes that end with the benchmark, `peerwren` and its reports, ScaLAPACK,
//! and what the machine is. Each benchmark is a binary in `src/bin` that prints a table; see README.md beside
//! this crate's manifest. Linux only.

pub mod call;
pub mod figures;
pub mod guard;
pub mod machine;
pub mod options;
pub mod peerwren;
pub mod report;
pub mod running;
pub mod scalapack;
