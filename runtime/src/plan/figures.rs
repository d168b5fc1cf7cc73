//! What a forecast asks of a plan beyond what a run does. Counts nothing itself.

use peerwren_transports::block::BlockKey;

use super::Plan;
use crate::lambdapack::ProgramError;

impl Plan {
    /// The phase that a block belongs to: the one that makes it, or that it is an input of.
    #[must_use]
    pub fn phase_of(&self, key: &BlockKey) -> usize {
        self.tile(key).0
    }

    /// The file of a phase's program.
    #[must_use]
    pub fn phase_file(&self, phase: usize) -> &str {
        &self.phases[phase].spec.file
    }

    /// Bytes of inputs, outputs and scratch of the largest task, and its kernel.
    #[must_use]
    pub fn largest_task(&self) -> (u64, &str) {
        (self.largest.0, &self.largest.1)
    }

    /// Draws a phase's program: see [`Bound::to_dot`](crate::lambdapack::Bound::to_dot).
    ///
    /// # Errors
    /// The phase has more tasks than a graph is drawn of.
    pub fn phase_to_dot(&self, phase: usize) -> Result<String, ProgramError> {
        self.phases[phase].bound.to_dot()
    }
}
