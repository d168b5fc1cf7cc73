//! The machines under test: a world that drives them as actors would, faults from seeds, and tables
//! of single decisions.

mod calm;
mod elastic;
mod faults;
mod leaving;
mod plans;
mod setup;
mod tables;
mod truth;
mod volunteers;
mod world;
