//! Workers beyond those that the plan's ranks are spread over: they own no rank, they take what they are
//! given, and they are the first heirs of a slot that becomes empty.

use super::{Fleet, Timestamp, WorkerId};

impl Fleet {
    /// The first slot that owns ranks and has no worker.
    #[must_use]
    pub fn empty_slot(&self) -> Option<u32> {
        let empty = self.slots[..self.homes].iter().position(Option::is_none)?;
        u32::try_from(empty).ok()
    }

    /// Takes in a worker that no slot with ranks is left for.
    pub fn start_helper(&mut self, now: Timestamp) -> WorkerId {
        let free = self.slots[self.homes..].iter().position(Option::is_none);
        let slot = self.homes + free.unwrap_or(self.slots.len() - self.homes);
        if slot == self.slots.len() {
            self.slots.push(None);
            self.refusals.push(0);
        }
        self.start(now, u32::try_from(slot).unwrap_or(u32::MAX))
    }

    /// Whether ranks are spread over a slot.
    #[must_use]
    pub fn is_home(&self, slot: u32) -> bool {
        (slot as usize) < self.homes
    }

    /// How many helpers there are.
    #[must_use]
    pub fn helpers(&self) -> usize {
        self.slots[self.homes..].iter().flatten().count()
    }

    /// Moves a helper that has joined into an empty slot that owns ranks; no other is worth a move.
    pub fn promote(&mut self, slot: u32) -> Option<WorkerId> {
        if !self.is_home(slot) || self.slots[slot as usize].is_some() {
            return None;
        }
        let joined = |worker: &WorkerId| self.members.get(worker).is_some_and(|m| m.is_joined());
        let beyond = self.slots[self.homes..].iter();
        let (place, worker) = beyond
            .enumerate()
            .find_map(|(place, worker)| Some((place, worker.filter(joined)?)))?;
        self.slots[self.homes + place] = None;
        self.slots[slot as usize] = Some(worker);
        self.members.get_mut(&worker)?.slot = slot;
        Some(worker)
    }
}
