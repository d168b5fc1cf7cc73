//! The machines under test: a world that drives them as actors would, faults from seeds, and tables
//! of single decisions.

mod calm;
mod faults;
mod plans;
mod setup;
mod tables;
mod truth;
mod volunteers;
mod world;
