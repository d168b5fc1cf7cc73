//! Tests of LAmbdaPACK. The oracle is the program unrolled.

mod algorithms;
mod counts;
mod coupled;
mod docs;
mod errors;
mod garbage;
mod generated;
mod inputs;
mod numeric;
mod oracle;
mod shipped;

use std::collections::BTreeMap;

use super::{Bound, Program};

/// `"m=4 nb=2"` as parameters.
pub(super) fn params(text: &str) -> BTreeMap<String, i64> {
    let pairs = text
        .split_whitespace()
        .map(|pair| pair.split_once('=').expect("name=value"));
    pairs
        .map(|(name, value)| (name.to_owned(), value.parse().expect("an integer")))
        .collect()
}

/// A shipped program.
pub(super) fn shipped(name: &str) -> Program {
    let source = Program::shipped(name).expect("a shipped program");
    match Program::parse(&format!("{name}.lp"), source) {
        Ok(program) => program,
        Err(error) => panic!("{}", error.render()),
    }
}

/// A shipped program with parameters.
pub(super) fn bound(name: &str, text: &str) -> Bound {
    match shipped(name).bind(&params(text)) {
        Ok(bound) => bound,
        Err(error) => panic!("{name} {text}: {}", error.render()),
    }
}
