//! What the benchmarks share: options and tables, processes that end with the benchmark, `peerwren` and its
//! reports, programs in C and packages of PyPI, ScaLAPACK, plans and nodes to measure, and what the machine is.
//! Each binary in `src/bin` prints a table, each in `benches` times small things; see README.md beside this
//! crate's manifest. Linux only.

pub mod call;
pub mod compile;
pub mod drain;
pub mod exchange;
pub mod figures;
pub mod guard;
pub mod machine;
pub mod options;
pub mod peerwren;
pub mod python;
pub mod report;
pub mod running;
pub mod scalapack;
