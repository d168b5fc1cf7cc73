//! Servers and suites that tests of several crates share. Never part of what is published.

pub mod conformance;
pub mod s3_server;
