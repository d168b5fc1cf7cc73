//! What a run took, whoever ran it: workers or the simulator. Data only.

use std::time::Duration;

use crate::machine::profile::Profile;
use crate::machine::scheduler::PhaseFigures;
use crate::matrix::Moved;
use crate::prices::{Fleet, Usage};

/// What a run took.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// From the run's begin to its first assignment.
    pub(crate) startup: Duration,
    pub(crate) preload: Duration,
    pub(crate) phases: Vec<PhaseFigures>,
    /// What tiling inputs into the store moved.
    pub(crate) uploaded: Moved,
    pub(crate) profile: Profile,
    /// The workers in the cloud; none where they ran elsewhere.
    pub(crate) fleet: Option<Fleet>,
    /// What each phase used of the cloud.
    pub(crate) used: Vec<Usage>,
    /// Why there is no trace, in a run that was to be traced.
    pub(crate) trace_error: Option<String>,
}
