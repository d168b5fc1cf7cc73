//! Benchmarks of peerwren.
