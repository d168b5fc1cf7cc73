//! The machines under test: a world that drives them as actors would, faults from seeds, and tables
//! of single decisions.

mod calm;
mod checkpoints;
mod elastic;
mod faults;
mod leaving;
mod manifests;
mod orders;
mod plans;
mod setup;
mod tables;
mod trace;
mod truth;
mod volunteers;
mod world;
