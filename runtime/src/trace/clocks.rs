//! Puts workers' clocks on the coordinator's. Reads none.
//!
//! What a worker says arrives after it was sent, and a task arrives after it was granted: the difference of
//! two clocks lies between the least `arrival - sending` of the one way and the greatest of the other. Its
//! middle is wrong by no more than half of the shortest round trip, and by what the clocks drift in a run.

use std::collections::BTreeMap;

use crate::machine::{LeaseId, Timestamp, WorkerId};

use super::{Record, RunEvent, WorkerEvent};

#[derive(Clone, Copy, Debug)]
struct Bounds {
    least: i128,
    most: i128,
}

/// The clocks of a run's workers.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    workers: BTreeMap<WorkerId, Bounds>,
    granted: BTreeMap<LeaseId, Timestamp>,
}

impl Clocks {
    /// Learns from a record, first to last.
    pub(super) fn learn(&mut self, record: &Record) {
        match record {
            Record::Run {
                at,
                event: RunEvent::Granted { lease, .. },
            } => {
                self.granted.insert(*lease, *at);
            }
            Record::Run {
                event: RunEvent::GivenBack { lease, .. },
                ..
            } => {
                self.granted.remove(lease);
            }
            Record::Run { .. } => {}
            Record::Heard {
                at,
                worker,
                sent_ns,
                events,
            } => {
                let most = nanos(*at) - i128::from(*sent_ns);
                self.bound(*worker, i128::MIN, most);
                for event in events {
                    if let WorkerEvent::Ran { lease, told_ns, .. } = event
                        && let Some(granted) = self.granted.remove(lease)
                    {
                        let least = nanos(granted) - i128::from(*told_ns);
                        self.bound(*worker, least, i128::MAX);
                    }
                }
            }
        }
    }

    fn bound(&mut self, worker: WorkerId, least: i128, most: i128) {
        let new = Bounds {
            least: i128::MIN,
            most: i128::MAX,
        };
        let bounds = self.workers.entry(worker).or_insert(new);
        bounds.least = bounds.least.max(least);
        bounds.most = bounds.most.min(most);
    }

    /// Microseconds by the coordinator's clock when a worker's shows `nanos`.
    pub(super) fn micros(&self, worker: WorkerId, nanos: u64) -> f64 {
        let ahead = self.workers.get(&worker).map_or(0, Bounds::middle);
        (i128::from(nanos) + ahead).max(0) as f64 / 1e3
    }

    /// Microseconds by which a worker's times may be wrong at most, but for drift.
    pub(super) fn error_us(&self) -> f64 {
        let errors = self.workers.values().filter_map(Bounds::error);
        errors.max().unwrap_or(0) as f64 / 1e3
    }
}

impl Bounds {
    fn middle(&self) -> i128 {
        match self.error() {
            Some(_) => i128::midpoint(self.least, self.most),
            None if self.most == i128::MAX => self.least,
            None => self.most,
        }
    }

    fn error(&self) -> Option<i128> {
        let is_whole = self.least != i128::MIN && self.most != i128::MAX;
        is_whole.then(|| (self.most - self.least).max(0) / 2)
    }
}

fn nanos(at: Timestamp) -> i128 {
    i128::from(at.as_nanos())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use peerwren_transports::block::Indices;

    use super::super::Why;
    use super::*;
    use crate::plan::TaskId;

    const WORKER: WorkerId = WorkerId(3);

    fn granted(lease: u64, at: u64) -> Record {
        let task = TaskId {
            phase: 0,
            stmt: 0,
            at: Indices::default(),
        };
        Record::Run {
            at: Timestamp::from_nanos(at),
            event: RunEvent::Granted {
                lease: LeaseId(lease),
                task,
                worker: WORKER,
                why: Why::Home,
            },
        }
    }

    fn ran(lease: u64, told_ns: u64, sent_ns: u64, at: u64) -> Record {
        Record::Heard {
            at: Timestamp::from_nanos(at),
            worker: WORKER,
            sent_ns,
            events: vec![WorkerEvent::Ran {
                lease: LeaseId(lease),
                thread: 0,
                told_ns,
                began_ns: told_ns,
                took_ns: 1,
                made: Vec::new(),
            }],
        }
    }

    /// A clock that is `ahead` of the worker's, and ways that take so long there and back.
    fn check(ahead: i64, ways: &[(u64, u64)], off: i64, error_us: f64) {
        let mut clocks = Clocks::default();
        let second = Duration::from_secs(1).as_nanos() as u64;
        for (number, (there, back)) in ways.iter().enumerate() {
            let lease = number as u64;
            let here = (lease + 10) * second;
            clocks.learn(&granted(lease, here));
            let told = (here + there).checked_add_signed(-ahead).expect("in range");
            let sent = told + second / 2;
            let heard = sent.checked_add_signed(ahead).expect("in range") + back;
            clocks.learn(&ran(lease, told, sent, heard));
        }
        let shown = 20 * second;
        let truth = shown.checked_add_signed(ahead + off).expect("in range") as f64 / 1e3;
        assert_eq!(clocks.micros(WORKER, shown), truth, "{ahead} {ways:?}");
        assert_eq!(clocks.error_us(), error_us, "{ahead} {ways:?}");
    }

    #[test]
    fn clocks_differ_by_no_more_than_half_of_the_shortest_way_there_and_back() {
        for ahead in [0, 5_000_000_000, -3_000_000_000] {
            // As long there as back: exact.
            check(ahead, &[(200_000, 200_000)], 0, 200.0);
            // Longer back than there: wrong by half of the difference.
            check(ahead, &[(100_000, 300_000)], 100_000, 200.0);
            // The shortest way there and the shortest way back count, whichever task had them.
            check(ahead, &[(10_000, 900_000), (700_000, 30_000)], 10_000, 20.0);
        }
    }
}
