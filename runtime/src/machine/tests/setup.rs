//! What a world is made of and what goes wrong in it.

pub(super) use crate::dice::Dice;
use crate::machine::autoscaler::Elastic;
use crate::options::{Durability, Exchange, Policy};

impl Dice {
    /// One of `lo..hi`.
    pub(in crate::machine::tests) fn within(&mut self, lo: u64, hi: u64) -> u64 {
        lo + self.next() % (hi - lo)
    }

    pub(in crate::machine::tests) fn chance(&mut self, per_mille: u64) -> bool {
        self.next() % 1000 < per_mille
    }

    pub(in crate::machine::tests) fn one_of<T: std::marker::Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.next() % from.len() as u64).expect("an index")]
    }
}

/// What befalls a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Its connection ends at once.
    Told,
    /// Nobody is told; its lease ends.
    Silent,
    /// It goes on, but what it says arrives after its lease has ended.
    Stalled,
    /// Its connection breaks: the last of what was under way is lost, and it ends when it sees that.
    Severed,
    /// It stands still for so many microseconds, then goes on as if nothing had been.
    Paused(u64),
    /// What it says next arrives at the very moment when its lease ends.
    OnTheDot,
    /// What it says is held up for so many microseconds.
    Mute(u64),
    /// What it is told is held up for so many microseconds.
    Deaf(u64),
}

/// Something that befalls workers, once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kill {
    /// After so many finished tasks.
    pub(super) after: u64,
    pub(super) all: bool,
    pub(super) how: Loss,
}

/// Two workers that do not reach each other for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerCut {
    /// After so many finished tasks.
    pub(super) after: u64,
    pub(super) us: u64,
    /// Whether packets are lost in one direction alone. A fetch fails all the same, for want of an answer.
    pub(super) one_way: bool,
}

/// What goes wrong. Chances are per mille.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) kills: Vec<Kill>,
    pub(super) cuts: Vec<PeerCut>,
    /// The driver dies with all its workers after so many steps, each time counted from its start.
    pub(super) driver_dies: Vec<u64>,
    /// A worker that is to be ended goes on for a while.
    pub(super) undead: u64,
    /// A worker computes and fetches so many times slower.
    pub(super) slow_workers: u64,
    /// Messages take up to so many microseconds more.
    pub(super) latency_us: u64,
    /// A worker's messages go as letters, which overtake each other.
    pub(super) by_mail: u64,
    /// A letter comes twice.
    pub(super) mail_twice: u64,
    /// A letter is destroyed.
    pub(super) mail_lost: u64,
    /// A peer does not deliver what it has.
    pub(super) peer_fails: u64,
    /// A block comes with other bytes, from a peer or the store.
    pub(super) garbles: u64,
    /// The store takes a block and has it no more, results excepted.
    pub(super) store_loses: u64,
    /// The store takes a block and has other bytes, results excepted: nothing but a reader finds that.
    pub(super) store_rots: u64,
    pub(super) store_slow: u64,
    /// A request to the store fails and is made again; half of the writes have taken effect all the same.
    pub(super) store_fails: u64,
    /// From when to when, in microseconds, the store answers no request.
    pub(super) outages: Vec<(u64, u64)>,
    /// A worker starts after the others have begun.
    pub(super) late: u64,
    /// So many microseconds after its start was asked for, at most.
    pub(super) late_us: u64,
    /// A worker's kernels give other bits; at most one does, and it is outvoted.
    pub(super) other_bits: u64,
    /// A worker ends so many microseconds after its start, whatever it does; 0: it does not.
    pub(super) life_us: u64,
    /// So long before that it is told to leave.
    pub(super) notice_us: u64,
    /// Nobody starts workers: they come by themselves, one more than wanted at first.
    pub(super) volunteers: bool,
    /// Pairs of workers between which no packets get through, of a thousand.
    pub(super) no_path: u64,
    /// A worker that has a block refers who asks for it to another, rightly or not.
    pub(super) refers: u64,
    /// Nothing goes wrong any more after so many microseconds; 0: that never ends. Where there is no path, there is
    /// none for ever.
    pub(super) end_us: u64,
}

/// All that a world is made of, but its plan.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) workers: u32,
    pub(super) elastic: Option<Elastic>,
    pub(super) cores: u32,
    pub(super) policy: Policy,
    pub(super) exchange: Exchange,
    pub(super) durability: Durability,
    pub(super) preload: bool,
    /// Microseconds from one checkpoint to the next, at least.
    pub(super) checkpoint_us: Option<u64>,
    pub(super) memory: u64,
    pub(super) costs: Costs,
    pub(super) faults: Faults,
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Costs {
    /// Kernels 0.5 to 5 ms, fetches 0.2 to 3 ms, whatever they are of.
    Drawn,
    /// By flops and bytes: 20 Gflop/s a core, 75 MB/s and 10 ms a fetch.
    Modelled,
}
