//! The decisions of a run: state machines without I/O, clock or async.
//!
//! Every machine has the same verbs: `handle_input(now, input)`, `handle_timeout(now)`,
//! `poll_action()` (drain to `None`), `poll_timeout()` and `check_invariants()`. An actor receives,
//! stamps the time, calls the machine and performs its actions; each result comes back as another
//! input. A simulator does the same at any speed.

pub mod autoscaler;
pub mod cache;
pub mod directory;
pub mod fleet;
pub mod lease;
pub mod moves;
pub mod policy;
pub mod profile;
pub mod rendezvous;
pub mod scheduler;
pub mod taskset;
pub mod worker;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

/// A moment of a run: nanoseconds since the driver of the machine began to count.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `nanos` nanoseconds after the beginning.
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the beginning.
    #[must_use]
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `span` later, saturating.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// The time since `earlier`, zero if that lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// One incarnation of a worker; a replacement has another number.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct WorkerId(pub u32);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.0)
    }
}

/// The right to finish one task once; a newer lease of the task makes it stale.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct LeaseId(pub u64);
