//! Where a ready task goes: one pure function of what is known of task and workers. Holds no state.
//!
//! The constants come from simulating tile QR at 16 to 256 workers: bandwidth is priced at no more
//! than 75 MB/s however fast a loopback measures, or stealing always pays.

use super::WorkerId;
use crate::options::Policy;

/// Bytes a second at which a moved byte is priced (600 Mbit/s, a Lambda's card).
pub const BYTE_PRICE: f64 = 75e6;
/// Weight of moved bytes against time.
const GAMMA: f64 = 4.0;
/// Others than home are looked at while they have at most this many kernels before them.
const GATE_KERNELS: f64 = 2.0;
/// A theft must gain this many times the time that its bytes take.
const THETA: f64 = 2.0;
/// Tasks at a worker beyond its cores: one waits behind the compute threads, two fetch.
pub const AHEAD: usize = 3;

/// What the policy sees of one worker for one task.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The worker.
    pub worker: WorkerId,
    /// Whether the program places the task there.
    pub is_home: bool,
    /// Compute threads.
    pub cores: u32,
    /// Seconds until a thread of it is free, by its own speed.
    pub available_s: f64,
    /// Seconds that the task's kernel takes there.
    pub kernel_s: f64,
    /// Bytes of inputs that it has not, nor will have without being told.
    pub missing_bytes: u64,
    /// Bytes of outputs, which others will want back if this is not their home.
    pub output_bytes: u64,
}

impl Candidate {
    fn fetch_s(&self) -> f64 {
        self.missing_bytes as f64 / BYTE_PRICE
    }

    fn score(&self) -> f64 {
        let returned = if self.is_home { 0 } else { self.output_bytes };
        let beta = (4.0 / f64::from(self.cores)).max(4.0 / 3.0);
        self.available_s.max(self.fetch_s())
            + self.kernel_s
            + GAMMA * (self.missing_bytes + returned) as f64 / BYTE_PRICE
            - if self.is_home {
                beta * self.kernel_s
            } else {
                0.0
            }
    }
}

/// The worker for a ready task: `candidates` in the order of worker ids, `draw` a number that
/// depends on the task alone. Of equals the one that came last: where lives end, it has the most time left, and
/// a task is not given to one leaving worker after the other. `None` only without candidates.
#[must_use]
pub fn place(policy: Policy, candidates: &[Candidate], draw: u64) -> Option<WorkerId> {
    let home = candidates.iter().find(|c| c.is_home);
    match policy {
        Policy::Owner if home.is_some() => home.map(|c| c.worker),
        Policy::Random => {
            let n = u64::try_from(candidates.len()).ok().filter(|&n| n > 0)?;
            candidates
                .get(usize::try_from(draw % n).ok()?)
                .map(|c| c.worker)
        }
        Policy::Fifo => least(candidates.iter(), |c| c.available_s),
        Policy::Locality | Policy::Owner => least(
            candidates.iter().filter(|c| {
                c.is_home || home.is_none() || c.available_s <= GATE_KERNELS * c.kernel_s
            }),
            Candidate::score,
        ),
    }
}

/// Whether a worker with nothing to do gains by taking a task from another's backlog.
#[must_use]
pub fn steal_pays(policy: Policy, thief: &Candidate, victim: &Candidate) -> bool {
    let moved = (thief.missing_bytes + thief.output_bytes) as f64 / BYTE_PRICE;
    let gain = (victim.available_s + victim.kernel_s)
        - (thief.available_s.max(thief.fetch_s()) + thief.kernel_s);
    match policy {
        Policy::Locality => gain > THETA * moved,
        Policy::Fifo => true,
        Policy::Owner | Policy::Random => false,
    }
}

fn least<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    cost: impl Fn(&Candidate) -> f64,
) -> Option<WorkerId> {
    candidates
        .min_by(|a, b| {
            cost(a)
                .total_cmp(&cost(b))
                .then(b.is_home.cmp(&a.is_home))
                .then(b.worker.cmp(&a.worker))
        })
        .map(|c| c.worker)
}
