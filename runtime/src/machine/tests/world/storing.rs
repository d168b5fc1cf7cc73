//! The store of the world, as its client sees it: requests that fail are made again until they succeed, as
//! `peerwren_transports::store` does, so that a failure is time, and a write may take effect more than once.

use peerwren_transports::block::{BlockKey, Digest};

use super::{Event, US, World};

/// The first wait before a request is made again, and the longest.
const WAITS_US: (u64, u64) = (20_000, 2_000_000);
/// Requests in all: the store's client gives up after as many, which ends a run. Faults are drawn so that it does not.
const TRIES_MAX: u32 = 10;

impl World<'_> {
    /// How long a request takes that is made until it succeeds; it writes a block, or nothing.
    pub(super) fn store_takes(&mut self, once_us: u64, writes: Option<(BlockKey, Digest)>) -> u64 {
        let (mut wait, longest) = WAITS_US;
        let mut takes = 0;
        for _ in 1..TRIES_MAX {
            let is_out = self.store_is_out(self.now + takes * US);
            if is_out {
                self.strike("requests to a store that is out");
            }
            let fails = self.setup.faults.store_fails;
            if !is_out && !self.strikes("requests to the store that fail", fails) {
                break;
            }
            if !is_out
                && let Some((key, digest)) = writes
                && self.dice.chance(500)
            {
                self.strike("writes that fail and took effect");
                self.push((takes + once_us) * US, Event::Written(key, digest));
            }
            takes += once_us + wait;
            wait = longest.min(2 * wait);
        }
        takes + once_us
    }

    fn store_is_out(&self, at: u64) -> bool {
        let end = self.setup.faults.end_us;
        let is_rough = end == 0 || at < end * US;
        let mut outages = self.setup.faults.outages.iter();
        is_rough && outages.any(|&(from, to)| (from * US..to * US).contains(&at))
    }

    /// A write is over: what the store has now.
    pub(super) fn stored(&mut self, key: BlockKey, digest: Digest) {
        let faults = &self.setup.faults;
        let (loses, rots) = (faults.store_loses, faults.store_rots);
        let is_result = self.truth.plan.is_result(&key);
        if !is_result && self.strikes("blocks that the store loses", loses) {
            self.store.remove(&key);
        } else if !is_result && self.strikes("blocks that rot in the store", rots) {
            self.store.insert(key, garbled(digest));
        } else {
            self.store.insert(key, digest);
        }
    }

    /// Whether the store may not have what it took, or gives something else.
    pub(super) fn store_is_lossy(&self) -> bool {
        let faults = &self.setup.faults;
        faults.store_loses + faults.store_rots + faults.garbles > 0
    }
}

/// The digest of other bytes.
pub(super) fn garbled(digest: Digest) -> Digest {
    let mut other = digest;
    other.0[7] ^= 1;
    other
}
