//! Lines of a picture: things that overlap in time go to different ones.

use std::collections::BTreeMap;

use crate::machine::WorkerId;

/// Ends of the last things on each line of each worker.
#[derive(Debug, Default)]
pub(super) struct Lanes(BTreeMap<WorkerId, Vec<f64>>);

impl Lanes {
    /// The first line of a worker that is free from `begin` on; it is taken until `end`.
    pub(super) fn place(&mut self, worker: WorkerId, begin: f64, end: f64) -> u32 {
        let ends = self.0.entry(worker).or_default();
        let free = ends.iter().position(|&last| last <= begin);
        let lane = free.unwrap_or(ends.len());
        match ends.get_mut(lane) {
            Some(last) => *last = end,
            None => ends.push(end),
        }
        u32::try_from(lane).unwrap_or(u32::MAX)
    }

    /// How many lines each worker has.
    pub(super) fn counts(&self) -> impl Iterator<Item = (WorkerId, usize)> {
        self.0.iter().map(|(&worker, ends)| (worker, ends.len()))
    }
}
