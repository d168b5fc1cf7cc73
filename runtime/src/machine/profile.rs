//! How parallel a run was over time, beside the workers that it had: a bounded series. Decides
//! nothing.

use std::time::Duration;

use super::Timestamp;

/// Most points: when they are reached every other one goes, and they are taken half as often.
pub const POINTS_MAX: usize = 256;
/// Time between two points at first.
const EVERY_FIRST: Duration = Duration::from_millis(100);

/// One moment of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// Tasks that ran or could have.
    pub ready: u64,
    /// Tasks that workers' threads had.
    pub running: u64,
    /// Workers that took tasks.
    pub workers: u32,
}

/// The series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    every: Duration,
    points: Vec<Point>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            every: EVERY_FIRST,
            points: Vec::new(),
        }
    }
}

impl Profile {
    /// Whether a point is wanted now.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.points
            .last()
            .is_none_or(|last| now.since(last.at) >= self.every)
    }

    /// Adds a point, later than all before it.
    pub fn add(&mut self, point: Point) {
        self.points.push(point);
        if self.points.len() > POINTS_MAX {
            let mut place = 0;
            self.points.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// All points, first to last.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }
}
