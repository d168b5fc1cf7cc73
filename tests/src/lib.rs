//! Servers and suites that tests of several crates share. Never part of what is published.

pub mod command;
pub mod conformance;
pub mod lambda;
pub mod s3_server;
pub mod seaweedfs;
