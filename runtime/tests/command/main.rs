//! The command as a user meets it: one test binary, so that it is linked once.

mod algorithms;
mod attackers;
mod cli;
mod contract;
mod doctor;
#[path = "../../src/page/elements.rs"]
mod elements;
mod end_to_end;
mod experiment;
mod faults;
mod liars;
mod memory;
mod options;
mod pivots;
mod plan;
mod programs;
mod remote;
mod report;
mod resume;
mod schema;
mod session;
mod sim;
mod tools;
mod trace;
mod zarr;
