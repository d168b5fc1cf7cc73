//! Workers that come and go: when a run has enough of them, who is turned away, what is done again
//! when one is lost. Never starts or ends one itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use peerwren_transports::block::{BlockKey, Digest};

use super::super::fleet::Member;
use super::super::{Timestamp, WorkerId};
use super::{Action, Scheduler, Stage};
use crate::control::{Peer, ToWorker};
use crate::plan::TaskId;
use crate::trace::RunEvent;

/// Leases for which a worker that speaks may not have had an order: 30 s, more than a store may answer nothing
/// that carries its mail.
const DEAF_LEASES: u32 = 3;
/// Why a worker whose self-test gives another digest is refused: mixing recomputed V with applied V can break Q.
const OTHER_BITS: &str =
    "a worker computes other bits than the run's, as another kind of CPU may: run on one kind";

impl Scheduler {
    /// Asks for all wanted workers.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.stage = Stage::Gathering {
            deadline: now.after(self.settings.start_timeout),
        };
        self.expect_checkpoint(now);
        if self.settings.volunteers.is_some() {
            self.note_solitude(now);
            return;
        }
        for slot in 0..self.first_workers() {
            self.refill(now, slot);
        }
    }

    /// A worker is there.
    pub(super) fn joined(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        addresses: Vec<String>,
        bits: Digest,
    ) {
        let known: Vec<Peer> = self
            .fleet
            .joined()
            .filter_map(|(id, m)| {
                m.addresses.clone().map(|addresses| Peer {
                    worker: id,
                    addresses,
                })
            })
            .collect();
        let Some(member) = self.fleet.get_mut(worker) else {
            self.actions.push_back(Action::End(worker));
            return;
        };
        member.heard = now;
        member.addresses = Some(addresses.clone());
        member.bits = Some(bits);
        if self.bits.is_some_and(|common| common != bits) {
            self.turn_away(now, worker, OTHER_BITS.to_owned());
            return;
        }
        self.note(|| RunEvent::Joined(worker));
        for peer in &known {
            let joined = vec![Peer {
                worker,
                addresses: addresses.clone(),
            }];
            self.send(
                peer.worker,
                ToWorker::Peers {
                    joined,
                    left: Vec::new(),
                },
            );
        }
        self.send(
            worker,
            ToWorker::Peers {
                joined: known,
                left: Vec::new(),
            },
        );
        self.note_solitude(now);
        match self.stage {
            Stage::Gathering { .. } if self.has_all() => self.gathered(now),
            Stage::Running { .. } => {
                for (_, _, task) in std::mem::take(&mut self.homeless) {
                    self.place(task);
                }
                self.touched.insert(worker);
                self.dispatch(now);
            }
            _ => {}
        }
        self.look_for_last_copies(now);
    }

    /// Whether a worker, which says that it has had so many orders, has not had one for so long that it will not:
    /// a letter of its mail was destroyed, and none after that is read.
    pub(super) fn is_deaf(&mut self, now: Timestamp, worker: WorkerId, orders: u64) -> bool {
        let patience = self.settings.lease * DEAF_LEASES;
        self.fleet.get_mut(worker).is_some_and(|member| {
            member.orders.had(now, orders);
            member.orders.waiting(now) >= patience
        })
    }

    /// A worker cannot be waited for any more: its leases end, and it is ended, however it is.
    pub(super) fn taken_for_lost(&mut self, now: Timestamp, worker: WorkerId) {
        let leases = self.fleet.get(worker).map_or(0, |m| m.leases.len());
        self.counted.leases_expired += u32::try_from(leases).unwrap_or(u32::MAX);
        self.actions.push_back(Action::End(worker));
        self.left(now, worker);
    }

    /// A worker is lost: what only it had or did is done again.
    pub(super) fn left(&mut self, now: Timestamp, worker: WorkerId) {
        let admitted = self.fleet.get(worker).filter(|member| !member.is_joined());
        if let Some(slot) = admitted.map(|member| member.slot)
            && self.settings.volunteers.is_some()
        {
            // Nothing is lost with it, and whoever holds the token could end a run by such losses.
            self.counted.refused += 1;
            self.fleet.refuse(worker);
            self.refill(now, slot);
            return;
        }
        let is_replaced = self.retiring.remove(&worker).is_some();
        let Some(member) = self.fleet.remove(worker) else {
            return;
        };
        self.counted.lost += 1;
        self.note(|| RunEvent::Left {
            worker,
            is_lost: true,
        });
        self.do_without(worker, &member);
        if is_replaced {
            // Its replacement has been started, or it was one too many.
        } else if self.fleet.may_replace() {
            if self.refill(now, member.slot) {
                self.counted.replaced += 1;
            }
        } else {
            self.fail(format!(
                "workers keep dying: {} were lost, the last ones without finishing a task; see their \
                 last lines above, and try fewer --workers or more --memory",
                self.counted.lost
            ));
            return;
        }
        if self.preloading.remove(&worker) && self.preloading.is_empty() {
            self.start_phase(now, 0);
        }
        self.dispatch(now);
        self.look_for_last_copies(now);
    }

    /// Goes on without a worker that is no member any more: what it was to do is done by others, what
    /// only it had is made again.
    pub(super) fn do_without(&mut self, worker: WorkerId, member: &Member) {
        self.ways.left(worker);
        let others: Vec<_> = self.fleet.joined().map(|(id, _)| id).collect();
        for other in others {
            self.send(
                other,
                ToWorker::Peers {
                    joined: Vec::new(),
                    left: vec![worker],
                },
            );
        }
        let mut again: Vec<TaskId> = self
            .leases
            .take_all(worker)
            .iter()
            .map(|l| l.task)
            .collect();
        again.extend(member.backlog.iter().map(|&(_, _, task)| task));
        for task in &again {
            self.ready.remove(task);
        }
        for key in self.directory.drop_worker(worker) {
            self.mourn(key);
        }
        self.keep_instead_of(worker);
        self.put_instead_of_lost(worker);
        self.relay_all_instead_of(worker);
        for task in again {
            self.consider(task);
        }
        self.touched.remove(&worker);
    }

    /// A worker cannot take part. Where the run starts its own workers and none has joined, the next ones would be
    /// like this one, and the run ends.
    pub(super) fn unfit(&mut self, now: Timestamp, worker: WorkerId, reason: String) {
        if self.fleet.get(worker).is_none() {
            return;
        }
        let is_first = self.fleet.joined().next().is_none();
        if is_first && self.settings.volunteers.is_none() {
            self.refuse(worker, reason.clone());
            self.fail(reason);
        } else {
            self.turn_away(now, worker, reason);
        }
    }

    /// Turns a worker away and fills its slot again, which another machine may do better.
    fn turn_away(&mut self, now: Timestamp, worker: WorkerId, reason: String) {
        let Some(slot) = self.fleet.get(worker).map(|member| member.slot) else {
            return;
        };
        let may_fill = self.refuse(worker, reason.clone());
        if may_fill || self.settings.volunteers.is_some() {
            self.refill(now, slot);
        } else if self.fleet.is_empty() {
            self.fail(reason);
        }
    }

    /// Tells a worker, and those who were told of it, that it takes no part; whether its slot may be filled again.
    fn refuse(&mut self, worker: WorkerId, reason: String) -> bool {
        tracing::warn!(%worker, reason, "refused");
        self.counted.refused += 1;
        self.send(worker, ToWorker::Refused { reason });
        self.actions.push_back(Action::End(worker));
        let may_fill = self.fleet.refuse(worker);
        let others: Vec<_> = self.fleet.joined().map(|(id, _)| id).collect();
        for other in others {
            let (joined, left) = (Vec::new(), vec![worker]);
            self.send(other, ToWorker::Peers { joined, left });
        }
        may_fill
    }

    /// No more workers are waited for: decides whose bits are the run's, unless a manifest has, and begins.
    pub(super) fn gathered(&mut self, now: Timestamp) {
        self.bits = self.bits.or_else(|| self.fleet.common_bits());
        let other: Vec<_> = self
            .fleet
            .joined()
            .filter(|(_, member)| member.bits != self.bits)
            .map(|(id, _)| id)
            .collect();
        for worker in other {
            self.turn_away(now, worker, OTHER_BITS.to_owned());
        }
        if !self.settings.preload {
            self.start_phase(now, 0);
            return;
        }
        let mut wanted: BTreeMap<WorkerId, BTreeSet<BlockKey>> = BTreeMap::new();
        let plan = Arc::clone(&self.plan);
        let mut readers = Vec::new();
        for key in plan.sources(0) {
            readers.clear();
            plan.readers(&key, &mut readers);
            for task in readers.iter().filter(|task| task.phase == 0) {
                let owner = plan.home(task).and_then(|rank| self.fleet.owner(rank));
                if let Some(worker) = owner.or_else(|| self.fleet.seated().next().map(|(id, _)| id))
                {
                    wanted.entry(worker).or_default().insert(key);
                }
            }
        }
        if wanted.is_empty() {
            self.start_phase(now, 0);
            return;
        }
        self.stage = Stage::Preloading;
        for (worker, keys) in wanted {
            self.preloading.insert(worker);
            self.send(
                worker,
                ToWorker::Preload {
                    keys: keys.into_iter().collect(),
                },
            );
        }
    }
}
