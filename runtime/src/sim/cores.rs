//! Kernels on the cores that several workers share: each gets an equal part of what moving blocks leaves.
//! Never knows what a kernel computes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Cores of one machine, and what runs on them.
#[derive(Debug)]
pub(super) struct SharedCores {
    cores: f64,
    /// Core-nanoseconds that each running kernel has had.
    had: f64,
    since: u64,
    /// Cores that are busy with other things.
    taken: f64,
    /// By what each will have had at its end, in core-picoseconds so that the order is exact.
    running: BinaryHeap<Reverse<(u64, u64)>>,
    version: u64,
}

/// Picoseconds in a nanosecond.
const PICO: f64 = 1e3;

impl SharedCores {
    pub(super) fn new(cores: u32) -> Self {
        Self {
            cores: f64::from(cores),
            had: 0.0,
            since: 0,
            taken: 0.0,
            running: BinaryHeap::new(),
            version: 0,
        }
    }

    /// Starts a kernel that takes so long on a core of its own.
    pub(super) fn start(&mut self, now: u64, takes: u64, tag: u64) -> Option<(u64, u64)> {
        self.pass(now);
        let end = ((self.had + takes as f64) * PICO).round() as u64;
        self.running.push(Reverse((end, tag)));
        self.next(now)
    }

    /// Other things take so many cores from now on.
    pub(super) fn take(&mut self, now: u64, cores: f64) -> Option<(u64, u64)> {
        if (cores - self.taken).abs() < 1e-3 {
            return None;
        }
        self.pass(now);
        self.taken = cores;
        self.next(now)
    }

    /// The kernel that is over at `now`, if that was told last, and when the next one will be.
    pub(super) fn over(&mut self, now: u64, version: u64) -> Option<(u64, Option<(u64, u64)>)> {
        if version != self.version {
            return None;
        }
        self.pass(now);
        let Reverse((_, tag)) = self.running.pop()?;
        Some((tag, self.next(now)))
    }

    fn pass(&mut self, now: u64) {
        self.had += (now - self.since) as f64 * self.speed();
        self.since = now;
    }

    /// The part of a core that each kernel gets; the least of it even where moving blocks takes all.
    fn speed(&self) -> f64 {
        let left = (self.cores - self.taken).max(0.05 * self.cores);
        (left / self.running.len().max(1) as f64).min(1.0)
    }

    /// When the first kernel ends as things are, and the version to say so with.
    fn next(&mut self, now: u64) -> Option<(u64, u64)> {
        self.version += 1;
        let Reverse((end, _)) = self.running.peek()?;
        let left = (*end as f64 / PICO - self.had).max(0.0);
        let at = now.saturating_add((left / self.speed()).ceil() as u64);
        Some((at, self.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When kernels end that all start at 0.
    fn ends(cores: u32, taken: f64, takes: &[u64]) -> Vec<(u64, u64)> {
        let mut shared = SharedCores::new(cores);
        let mut next = shared.take(0, taken);
        for (tag, &takes) in takes.iter().enumerate() {
            next = shared.start(0, takes, tag as u64);
        }
        let mut ends = Vec::new();
        while let Some((at, version)) = next {
            let (tag, after) = shared.over(at, version).expect("it was told last");
            ends.push((tag, at));
            next = after;
        }
        ends
    }

    #[test]
    fn kernels_share_cores_equally() {
        assert_eq!(ends(2, 0.0, &[100, 200]), [(0, 100), (1, 200)]);
        assert_eq!(ends(2, 0.0, &[100, 100, 100, 100]).last(), Some(&(3, 200)));
        // Three share two cores until 150, then two have one each.
        assert_eq!(
            ends(2, 0.0, &[100, 200, 200]),
            [(0, 150), (1, 250), (2, 250)]
        );
    }

    #[test]
    fn moving_blocks_slows_kernels_down() {
        assert_eq!(ends(2, 1.0, &[100, 100]), [(0, 200), (1, 200)]);
        assert_eq!(ends(2, 1.0, &[100]), [(0, 100)]);
    }
}
