//! What befalls workers of the world, and when: kills, pauses, links that break or are held up, cuts between
//! two of them.

use std::time::Duration;

use super::super::setup::{Loss, PeerCut};
use super::{Event, US, World};
use crate::control::StoreReason;
use crate::machine::WorkerId;
use crate::trace::{DropReason, Record, WorkerEvent};

/// What a stalled worker says takes so long.
const STALL_US: u64 = 8_000_000;
/// A worker that is to end and does not yet ends in this time.
const UNDEAD_US: u64 = 5_000_000;
/// A worker sees in this time that its link is broken.
const BLIND_US: u64 = 1_500_000;
/// How long a worker may be silent.
pub(super) const LEASE: Duration = Duration::from_secs(3);

impl World<'_> {
    // ---- whether anything goes wrong

    /// Whether something goes wrong now that does so many times of a thousand.
    pub(super) fn strikes(&mut self, what: &'static str, per_mille: u64) -> bool {
        let strikes = per_mille > 0 && self.is_rough() && self.dice.chance(per_mille);
        if strikes {
            self.strike(what);
        }
        strikes
    }

    /// Whether things go wrong still.
    pub(super) fn is_rough(&self) -> bool {
        let end = self.setup.faults.end_us;
        end == 0 || self.now < end * US
    }

    pub(super) fn strike(&mut self, what: &'static str) {
        *self.strikes.entry(what).or_default() += 1;
        if let Some(log) = &self.log {
            log.add(self.now, format!("- {what}"));
        }
    }

    /// How often memory was short.
    pub(super) fn count_pressure(&mut self, records: &[Record]) {
        let heard = records.iter().filter_map(|record| match record {
            Record::Heard { events, .. } => Some(events),
            Record::Run { .. } => None,
        });
        for event in heard.flatten() {
            let what = match event {
                WorkerEvent::Dropped { reason, .. } if *reason == DropReason::Room => {
                    "blocks dropped for room"
                }
                WorkerEvent::Stored { reason, .. } if *reason == StoreReason::Spill => {
                    "blocks spilled for room"
                }
                _ => continue,
            };
            *self.strikes.entry(what).or_default() += 1;
        }
    }

    // ---- what is due

    /// What befalls workers after so many finished tasks.
    pub(super) fn mishaps(&mut self) {
        if !self.is_rough() {
            return;
        }
        let finished: u64 = self.effective.values().sum();
        let faults = &mut self.setup.faults;
        let is_due = |after: u64| after <= finished;
        let cut = faults.cuts.iter().position(|cut| is_due(cut.after));
        let cut = cut.map(|at| faults.cuts.swap_remove(at));
        let kill = faults.kills.iter().position(|kill| is_due(kill.after));
        let kill = kill.map(|at| faults.kills.swap_remove(at));
        let all: Vec<_> = self.nodes.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        if let Some(cut) = cut {
            let (one, other) = (self.dice.one_of(&all), self.dice.one_of(&all));
            self.cut(one, other, cut);
        }
        if let Some(kill) = kill {
            let one = self.dice.one_of(&all);
            for id in all.into_iter().filter(|&id| kill.all || id == one) {
                self.befall(id, kill.how);
            }
        }
    }

    fn cut(&mut self, one: WorkerId, other: WorkerId, cut: PeerCut) {
        if one == other {
            return;
        }
        let until = self.now + cut.us * US;
        self.cuts.insert((one, other), until);
        if cut.one_way {
            self.strike("pairs of workers cut off one way");
        } else {
            self.strike("pairs of workers cut off");
            self.cuts.insert((other, one), until);
        }
    }

    fn befall(&mut self, id: WorkerId, how: Loss) {
        match how {
            Loss::Told => {
                self.strike("workers killed");
                self.expire(id);
            }
            Loss::Silent => {
                self.strike("workers gone without a word");
                // What it has said last may be lost with it.
                if self.dice.chance(500) {
                    self.lose_under_way(id, true, 0);
                }
                self.end(id);
            }
            Loss::Stalled => {
                self.strike("workers stalled");
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.stalled = STALL_US * US;
                }
            }
            Loss::Severed => self.sever(id),
            Loss::Paused(us) => {
                self.strike("workers paused");
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.paused_until = self.now + us * US;
                }
            }
            Loss::OnTheDot => {
                self.strike("signs of life at the lease's end");
                let last = self.last_under_way(id);
                let heard = self.coordinator.fleet().get(id);
                let heard = heard.map_or(self.now, |member| member.heard.as_nanos());
                let lease = u64::try_from(LEASE.as_nanos()).expect("seconds");
                self.hold((id, true), last.unwrap_or(heard) + lease);
            }
            Loss::Mute(us) => {
                self.strike("links cut towards the coordinator");
                self.hold((id, true), self.now + us * US);
            }
            Loss::Deaf(us) => {
                self.strike("links cut towards a worker");
                self.hold((id, false), self.now + us * US);
            }
        }
    }

    /// A link breaks. A worker by mail has none: it ends as if it were told to.
    fn sever(&mut self, id: WorkerId) {
        if self.channels.is_by_mail(id) {
            return self.befall(id, Loss::Told);
        }
        self.strike("links broken");
        for from_worker in [true, false] {
            let kept = self.dice.within(0, 4);
            self.lose_under_way(id, from_worker, kept);
        }
        let takes = self.latency();
        self.deliver((id, true), takes, Event::Left(id));
        self.channels.close(id);
        let blind = self.dice.within(1, BLIND_US);
        self.push(blind * US, Event::Expire(id));
    }

    /// The engine is told to end a worker; it may be out of its reach.
    pub(super) fn end_or_not(&mut self, id: WorkerId) {
        let undead = self.setup.faults.undead;
        if self.nodes.contains_key(&id) && self.strikes("workers back from the dead", undead) {
            let takes = self.dice.within(1_000, UNDEAD_US);
            self.push(takes * US, Event::Expire(id));
        } else {
            self.end(id);
        }
    }

    /// Until when a worker to which this happens stands still, if it does.
    pub(super) fn paused_until(&self, event: &Event) -> Option<u64> {
        let id = match event {
            Event::Told(id, _)
            | Event::Fetched(id, _)
            | Event::Computed(id, ..)
            | Event::Stored(id, _)
            | Event::Leave(id)
            | Event::WorkerTimer(id) => id,
            _ => return None,
        };
        let until = self.nodes.get(id)?.paused_until;
        (until > self.now).then_some(until)
    }
}
