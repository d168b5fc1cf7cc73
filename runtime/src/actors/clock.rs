//! The only place that reads a clock.

use std::time::Instant;

use crate::machine::Timestamp;

/// Counts from the moment it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// A clock that shows zero.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time it shows.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The time of day, for certificates' validity.
pub(crate) fn wall() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
