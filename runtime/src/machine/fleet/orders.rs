//! What a worker was told to do, and how much of that it has had. Decides nothing about what it is told.

use std::time::Duration;

use super::Timestamp;

/// How many orders a worker was sent, and since when one is on its way that it has not had.
#[derive(Clone, Copy, Debug, Default)]
pub struct Orders {
    sent: u64,
    /// The number of an order, and since when it is waited for.
    awaited: Option<(u64, Timestamp)>,
}

impl Orders {
    /// One more is sent.
    pub fn sent(&mut self, now: Timestamp) {
        self.sent += 1;
        self.awaited.get_or_insert((self.sent, now));
    }

    /// The worker says that it has had so many.
    pub fn had(&mut self, now: Timestamp, orders: u64) {
        if self.awaited.is_some_and(|(number, _)| orders >= number) {
            self.awaited = (orders < self.sent).then_some((self.sent, now));
        }
    }

    /// For how long one has been on its way.
    #[must_use]
    pub fn waiting(&self, now: Timestamp) -> Duration {
        self.awaited
            .map_or(Duration::ZERO, |(_, since)| now.since(since))
    }
}
