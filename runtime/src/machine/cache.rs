//! What a worker keeps in memory: which copies, how many bytes, what may go when room is needed.
//! Knows sizes, never the bytes themselves; spilling is decided here and done elsewhere.

use std::collections::{BTreeMap, VecDeque};

use peerwren_transports::block::BlockKey;

use super::LeaseId;

/// Bytes of dead copies that are always kept while there is room.
const DEAD_BYTES_KEPT: u64 = 16 << 20;

/// One copy of a block in a worker's memory: shared by all its tasks, or private to one (exchange
/// `store`, where nothing is kept between tasks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Copy {
    /// The block.
    pub key: BlockKey,
    /// The only task that sees it, if it is private.
    pub private: Option<LeaseId>,
}

/// When a copy is read next: a phase and a priority in it; larger is later.
pub type NextUse = (u8, i64);

/// The next use of what is not read again.
const NEVER: NextUse = (u8::MAX, i64::MAX);

/// What is known of one copy.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its payload.
    pub bytes: u64,
    /// Whether its bytes are here, not only room for them.
    pub present: bool,
    /// Tasks that need it where it is.
    pub pins: u32,
    /// Whether no unfinished task reads it.
    pub dead: bool,
    /// Whether it can be had again without computing: from store, input or the worker that made it.
    pub spare: bool,
    /// Whether it is on its way to the store.
    pub storing: bool,
    /// Whether that is so that it can leave.
    pub leaving: bool,
    /// Whether the store has it.
    pub durable: bool,
    /// When its readers read it, earliest first, once asked.
    uses: Option<Vec<NextUse>>,
}

/// The memory of a worker.
#[derive(Debug)]
pub struct Cache {
    limit: u64,
    used: u64,
    peak: u64,
    held: BTreeMap<Copy, Held>,
    /// Dead copies, first the one that died first; some may have left or been revived since.
    dead: VecDeque<Copy>,
    dead_bytes: u64,
}

/// What must happen before room is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Whether it is there now, and taken.
    pub taken: bool,
    /// Copies that left to make it.
    pub dropped: Vec<Copy>,
    /// Live copies to be put into the store; they can leave after that.
    pub spill: Vec<Copy>,
}

impl Cache {
    /// An empty memory of `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            used: 0,
            peak: 0,
            held: BTreeMap::new(),
            dead: VecDeque::new(),
            dead_bytes: 0,
        }
    }

    /// Bytes taken now, and the most that ever were.
    #[must_use]
    pub fn used(&self) -> (u64, u64) {
        (self.used, self.peak)
    }

    /// Bytes that can be taken without any task's end and without putting anything into the store.
    #[must_use]
    pub fn free(&self) -> u64 {
        let may_go = |held: &&Held| held.present && held.pins == 0 && !held.storing;
        let loose = self.held.values().filter(may_go);
        let loose = loose.filter(|held| held.dead || held.spare);
        self.limit - self.used + loose.map(|held| held.bytes).sum::<u64>()
    }

    /// Bytes of copies that are still needed and that nobody else is known to have.
    #[must_use]
    pub fn kept(&self) -> u64 {
        let is_kept = |held: &&Held| held.present && !held.dead && !held.spare && !held.durable;
        let kept = self.held.values().filter(is_kept);
        kept.map(|held| held.bytes).sum()
    }

    /// Bytes that may be taken in all.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// What is known of `copy`.
    #[must_use]
    pub fn get(&self, copy: &Copy) -> Option<&Held> {
        self.held.get(copy)
    }

    /// What is known of `copy`.
    pub fn get_mut(&mut self, copy: &Copy) -> Option<&mut Held> {
        self.held.get_mut(copy)
    }

    /// All copies, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Copy, &Held)> {
        self.held.iter()
    }

    /// Takes `bytes` if they are there or can be had by dropping copies; else says which to spill. Where all that
    /// may leave is too little, nothing leaves: a task must end first. `uses` lists the readers of a block.
    pub fn take(
        &mut self,
        bytes: u64,
        front: NextUse,
        uses: impl Fn(&BlockKey) -> Vec<NextUse>,
    ) -> Room {
        let want = (self.used + bytes).saturating_sub(self.limit);
        let mut room = self.make_room(want, front, uses);
        room.taken = self.used + bytes <= self.limit;
        if room.taken {
            room.spill.clear();
            self.used += bytes;
            self.peak = self.peak.max(self.used);
        }
        for copy in &room.spill {
            if let Some(held) = self.held.get_mut(copy) {
                held.leaving = true;
            }
        }
        room
    }

    /// Drops copies of `want` bytes, or says which are to be spilled for that. What is dead goes first, then what
    /// is not read again, then what is read last; of equals what need not be spilled.
    fn make_room(
        &mut self,
        want: u64,
        front: NextUse,
        uses: impl Fn(&BlockKey) -> Vec<NextUse>,
    ) -> Room {
        let mut room = Room::default();
        let sum = |held: &Self, which: fn(&Held) -> bool| -> u64 {
            let loose = held
                .held
                .values()
                .filter(|held| held.present && held.pins == 0);
            loose
                .filter(|held| which(held))
                .map(|held| held.bytes)
                .sum()
        };
        if want == 0 || sum(self, |_| true) < want {
            return room;
        }
        let mut order = Vec::new();
        for (copy, held) in &mut self.held {
            if held.present && held.pins == 0 && !held.storing {
                let next = held.next_use(front, || uses(&copy.key));
                let class = match (held.dead, held.spare && next == NEVER) {
                    (true, _) => 0,
                    (_, true) => 1,
                    _ => 2,
                };
                let is_live = !held.dead && !held.spare;
                let next = std::cmp::Reverse(next);
                order.push((class, next, is_live, *copy, held.bytes));
            }
        }
        order.sort_unstable();
        let storing = sum(self, |held| held.storing);
        // What is stored for other reasons may stay, while others could leave now.
        let leaving = sum(self, |held| held.storing && held.leaving);
        let (mut dropped, mut spilled) = (0, 0);
        for (class, _, is_live, copy, bytes) in order {
            let awaited = match (class, is_live) {
                (0, _) => 0,
                (_, true) => storing + spilled,
                (_, false) => leaving + spilled,
            };
            if dropped + awaited >= want {
                continue;
            }
            if is_live {
                spilled += bytes;
                room.spill.push(copy);
            } else {
                dropped += bytes;
                self.remove(&copy);
                room.dropped.push(copy);
            }
        }
        room
    }

    /// Marks a copy that no unfinished task reads.
    pub fn mark_dead(&mut self, copy: Copy) {
        if let Some(held) = self.held.get_mut(&copy)
            && !held.dead
        {
            held.dead = true;
            self.dead_bytes += held.bytes;
            self.dead.push_back(copy);
        }
        // What has left or been revived is forgotten here too, before it is the larger part.
        if self.dead.len() > 2 * self.held.len() + 16 {
            let held = &self.held;
            self.dead
                .retain(|copy| held.get(copy).is_some_and(|held| held.dead));
        }
    }

    /// Pins a copy for a task that reads it, which brings it back to life if it was dead; false if it
    /// is not here.
    pub fn pin(&mut self, copy: &Copy) -> bool {
        self.revive(copy);
        let Some(held) = self.held.get_mut(copy) else {
            return false;
        };
        held.pins += 1;
        true
    }

    /// Brings a copy back to life: somebody may read it.
    pub fn revive(&mut self, copy: &Copy) {
        if let Some(held) = self.held.get_mut(copy)
            && std::mem::take(&mut held.dead)
        {
            self.dead_bytes -= held.bytes;
        }
    }

    /// Drops the copies that died first until the dead take no more than the living, and at least
    /// 16 MiB. Lineage may want some of them, but memory that is used again is much
    /// faster than memory that is new to the process.
    pub fn shed(&mut self) -> Vec<Copy> {
        let mut dropped = Vec::new();
        for _ in 0..self.dead.len() {
            if self.dead_bytes <= DEAD_BYTES_KEPT.max(self.used / 2) {
                break;
            }
            let Some(copy) = self.dead.pop_front() else {
                break;
            };
            let Some(held) = self.held.get(&copy).filter(|held| held.dead) else {
                continue;
            };
            if held.present && held.pins == 0 && !held.storing {
                self.remove(&copy);
                dropped.push(copy);
            } else {
                self.dead.push_back(copy);
            }
        }
        dropped
    }

    /// Gives back bytes that were taken and never became a copy.
    pub fn give_back(&mut self, bytes: u64) {
        self.used -= bytes;
    }

    /// Turns `bytes` that were taken into a copy.
    pub fn insert(&mut self, copy: Copy, bytes: u64, present: bool) -> &mut Held {
        let held = Held {
            bytes,
            present,
            pins: 0,
            dead: false,
            spare: false,
            storing: false,
            leaving: false,
            durable: false,
            uses: None,
        };
        let old = self.held.insert(copy, held);
        assert!(old.is_none(), "{} is cached twice", copy.key);
        self.held.get_mut(&copy).expect("it was inserted above")
    }

    /// Frees the bytes that a copy turned out not to need: it has `bytes`, if those are fewer than were
    /// taken for it.
    pub fn shrink(&mut self, copy: &Copy, bytes: u64) {
        if let Some(held) = self.held.get_mut(copy) {
            let freed = held.bytes.saturating_sub(bytes);
            held.bytes -= freed;
            self.used -= freed;
            if held.dead {
                self.dead_bytes -= freed;
            }
        }
    }

    /// Forgets a copy and frees its bytes.
    pub fn remove(&mut self, copy: &Copy) {
        if let Some(held) = self.held.remove(copy) {
            self.used -= held.bytes;
            if held.dead {
                self.dead_bytes -= held.bytes;
            }
        }
    }

    /// Panics if the bytes of all copies are more than are taken, or more than the limit is.
    pub fn check_invariants(&self) {
        let sum: u64 = self.held.values().map(|held| held.bytes).sum();
        let dead: u64 = self
            .held
            .values()
            .filter(|held| held.dead)
            .map(|held| held.bytes)
            .sum();
        assert_eq!(
            dead, self.dead_bytes,
            "the bytes of dead copies are miscounted"
        );
        assert!(
            sum <= self.used,
            "copies have {sum} bytes but only {} are taken",
            self.used
        );
        assert!(
            self.used <= self.limit,
            "{} bytes are taken of {}",
            self.used,
            self.limit
        );
    }
}

impl Held {
    /// The first use at or after `front`; without one, the latest there is.
    fn next_use(&mut self, front: NextUse, uses: impl FnOnce() -> Vec<NextUse>) -> NextUse {
        let uses = self.uses.get_or_insert_with(|| {
            let mut uses = uses();
            uses.sort_unstable();
            uses
        });
        uses.iter()
            .copied()
            .find(|&at| at >= front)
            .unwrap_or(NEVER)
    }
}
