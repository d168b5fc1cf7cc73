//! A plan as plain data, as it travels to workers and is kept of a run that can be resumed. Checks nothing.

use peerwren_transports::block::{Digest, Indices};
use rkyv::{Archive, Deserialize, Serialize};

use super::Kept;
use crate::matrix::SourceSpec;

/// One statement of one phase at fixed loop indices.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
pub struct TaskId {
    /// The phase.
    pub phase: u8,
    /// The statement.
    pub stmt: u16,
    /// The loop indices.
    pub at: Indices,
}

/// A plan as plain data: all that a worker needs to know.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct PlanSpec {
    /// The run, part of every block's name.
    pub run: u64,
    /// Programs that run one after the other.
    pub phases: Vec<PhaseSpec>,
}

/// One program of a plan.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct PhaseSpec {
    /// What it is for: `factor`, `q`, `check`.
    pub name: String,
    /// The program's file, for messages.
    pub file: String,
    /// Its text.
    pub source: String,
    /// The files that it includes and that are not shipped: name and text.
    pub includes: Vec<(String, String)>,
    /// Its parameters.
    pub params: Vec<(String, i64)>,
    /// Where each input family comes from.
    pub inputs: Vec<(String, InputFrom)>,
    /// The outputs to be kept.
    pub results: Vec<Kept>,
}

/// Where the tiles of an input family come from.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum InputFrom {
    /// A matrix in tiles of so many rows and columns: tile (i, j) begins at i and j times those.
    Matrix(SourceSpec, (u32, u32)),
    /// An output or a family of an earlier phase, by name, at the same indices.
    Phase(u8, String),
}

impl PlanSpec {
    /// The digest of all that decides the bits: neither the run's number nor where its results go.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut spec = self.clone();
        spec.run = 0;
        for kept in spec.phases.iter_mut().flat_map(|phase| &mut phase.results) {
            kept.array = None;
        }
        Digest::of(&crate::control::encode(&spec))
    }
}
