//! Benchmarks of peerwren; each is a binary in `src/bin` that prints a table. See README.md beside
//! this crate's manifest.
