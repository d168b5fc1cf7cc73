//! Which ready task goes to which worker, and when: backlogs at the coordinator, leases for the next
//! few, thefts that pay. The choice itself is [`policy`]'s.

use peerwren_kernels::op::TaskShapes;
use peerwren_transports::block::BlockKey;

use super::super::directory::Entry;
use super::super::fleet::{Member, Rank};
use super::super::lease::Lease;
use super::super::policy::{self, Candidate};
use super::super::{Timestamp, WorkerId};
use super::{Scheduler, Stage};
use crate::control::{Assignment, InputHint, ToWorker};
use crate::options::Policy;
use crate::plan::{Plan, TaskId};
use crate::trace::{RunEvent, Why};

/// Workers looked at for one theft: those with the longest backlogs.
const VICTIMS_MAX: usize = 4;
/// Backlog entries looked at for one theft, a victim.
const THEFT_TASKS_MAX: usize = 8;
/// Holders named in a hint: whoever has asked so many in vain asks the coordinator again.
const HOLDERS_MAX: usize = 8;

/// A task that could run now.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) inputs: Vec<BlockKey>,
    pub(super) output_bytes: u64,
    pub(super) flops: u64,
    pub(super) home: Option<i64>,
    pub(super) rank: Rank,
    pub(super) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    Backlog(WorkerId),
    Leased,
}

impl Scheduler {
    /// Makes a task ready if it may run, can run and does not run.
    pub(super) fn consider(&mut self, task: TaskId) {
        let Stage::Running { phase } = self.stage else {
            return;
        };
        if usize::from(task.phase) > phase
            || self.done.contains(&task)
            || self.ready.contains_key(&task)
        {
            return;
        }
        let slots = self.plan.input_slots(&task);
        let mut inputs = Vec::with_capacity(slots.len());
        for key in slots.iter().flatten() {
            if !self.plan.is_source(key) && !self.directory.is_available(key)
                || self.ways.is_relayed(key)
            {
                return;
            }
            if !inputs.contains(key) {
                inputs.push(*key);
            }
        }
        for key in &inputs {
            self.entry_of(*key);
        }
        let (output_bytes, flops) = cost(&self.plan, &task, &slots);
        self.got_ready += 1;
        let ready = Ready {
            inputs,
            output_bytes,
            flops,
            home: self.plan.home(&task),
            rank: (self.plan.priority(&task), self.got_ready, task),
            place: Place::Nowhere,
        };
        self.ready.insert(task, ready);
        self.place(task);
    }

    /// Puts a ready task into a worker's backlog, or among those that wait for any worker.
    pub(super) fn place(&mut self, task: TaskId) {
        let Some(ready) = self.ready.get(&task) else {
            return;
        };
        let (rank, flops) = (ready.rank, ready.flops);
        let task_view = self.view(ready);
        let candidates: Vec<_> = self
            .fleet
            .seated()
            .map(|(id, member)| self.candidate(id, member, &task_view))
            .collect();
        let draw = rank.1.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 17;
        let place = match policy::place(self.settings.policy, &candidates, draw) {
            None => {
                self.homeless.insert(rank);
                Place::Nowhere
            }
            Some(worker) => {
                if let Some(member) = self.fleet.get_mut(worker) {
                    member.backlog.insert(rank);
                    member.backlog_flops += flops;
                }
                self.touched.insert(worker);
                self.has_grown = true;
                Place::Backlog(worker)
            }
        };
        if let Some(ready) = self.ready.get_mut(&task) {
            ready.place = place;
        }
    }

    fn view<'a>(&'a self, ready: &'a Ready) -> TaskView<'a> {
        TaskView {
            home: ready.home.and_then(|rank| self.fleet.owner(rank)),
            inputs: ready
                .inputs
                .iter()
                .filter_map(|key| self.directory.get(key))
                .collect(),
            ready,
        }
    }

    fn candidate(&self, worker: WorkerId, member: &Member, task: &TaskView<'_>) -> Candidate {
        let missing = task.inputs.iter().filter(|entry| !entry.reaches(worker));
        Candidate {
            worker,
            is_home: task.home == Some(worker),
            cores: member.cores,
            available_s: (member.backlog_flops + member.leased_flops) as f64
                / (member.speed * f64::from(member.cores)),
            kernel_s: task.ready.flops as f64 / member.speed,
            missing_bytes: missing.map(|entry| entry.bytes).sum(),
            output_bytes: task.ready.output_bytes,
        }
    }

    /// Gives the workers whose state has changed their next tasks, then lets idle ones steal.
    pub(super) fn dispatch(&mut self, now: Timestamp) {
        if !matches!(self.stage, Stage::Running { .. }) {
            return;
        }
        let touched = std::mem::take(&mut self.touched);
        for &worker in &touched {
            while let Some(member) = self.fleet.get_mut(worker)
                && member.leases.len() < member.cores as usize + policy::AHEAD
                && let Some((_, _, task)) = member.backlog.pop_first()
            {
                member.backlog_flops -= self.ready[&task].flops;
                self.assign(now, worker, task, None);
            }
        }
        let is_idle = |member: &Member| member.leases.len() < member.cores as usize;
        let thieves: Vec<_> = if std::mem::take(&mut self.has_grown) {
            self.fleet
                .seated()
                .filter(|(_, member)| is_idle(member))
                .map(|(id, _)| id)
                .collect()
        } else {
            let is_idle = |id: &WorkerId| {
                self.fleet.is_seated(*id) && self.fleet.get(*id).is_some_and(is_idle)
            };
            touched.into_iter().filter(is_idle).collect()
        };
        if thieves.is_empty() {
            return;
        }
        let mut victims = self.victims();
        for thief in thieves {
            while self.fleet.get(thief).is_some_and(is_idle)
                && let Some((victim, task)) = self.theft(thief, &victims)
            {
                let ready = &self.ready[&task];
                if let Some(member) = self.fleet.get_mut(victim) {
                    member.backlog.remove(&ready.rank);
                    member.backlog_flops -= ready.flops;
                }
                self.assign(now, thief, task, Some(victim));
                victims = self.victims();
            }
        }
    }

    /// The workers with the longest backlogs, one more than a thief looks at.
    fn victims(&self) -> Vec<WorkerId> {
        let loaded = self
            .fleet
            .joined()
            .filter(|(_, member)| !member.backlog.is_empty());
        let mut victims: Vec<_> = loaded
            .map(|(id, member)| (std::cmp::Reverse(member.backlog_flops), id))
            .collect();
        if victims.len() > VICTIMS_MAX + 1 {
            victims.select_nth_unstable(VICTIMS_MAX);
            victims.truncate(VICTIMS_MAX + 1);
        }
        victims.sort_unstable();
        victims.into_iter().map(|(_, id)| id).collect()
    }

    /// A task in another's backlog that `thief` would finish so much earlier that its bytes pay.
    fn theft(&self, thief: WorkerId, victims: &[WorkerId]) -> Option<(WorkerId, TaskId)> {
        let policy = self.settings.policy;
        let member = self.fleet.get(thief)?;
        for &victim in victims.iter().filter(|&&id| id != thief).take(VICTIMS_MAX) {
            let owner = self.fleet.get(victim)?;
            for (_, _, task) in owner.backlog.iter().rev().take(THEFT_TASKS_MAX) {
                let ready = &self.ready[task];
                let mut view = TaskView {
                    ready,
                    home: None,
                    inputs: Vec::new(),
                };
                let theirs = self.candidate(victim, owner, &view);
                // What does not pay without its inputs' bytes does not pay with them.
                if !policy::steal_pays(policy, &self.candidate(thief, member, &view), &theirs) {
                    continue;
                }
                view = self.view(ready);
                if policy::steal_pays(policy, &self.candidate(thief, member, &view), &theirs) {
                    return Some((victim, *task));
                }
            }
        }
        None
    }

    /// Gives a task to a worker, from its own backlog or from that of `victim`.
    fn assign(&mut self, now: Timestamp, worker: WorkerId, task: TaskId, victim: Option<WorkerId>) {
        if self.relays_inputs(now, worker, &task) {
            return;
        }
        let Some(ready) = self.ready.get_mut(&task) else {
            return;
        };
        ready.place = Place::Leased;
        let (inputs, flops) = (ready.inputs.clone(), ready.flops);
        let home = ready.home.and_then(|rank| self.fleet.owner(rank));
        let policy = self.settings.policy;
        let id = self.leases.grant(Lease {
            task,
            worker,
            flops,
            granted: now,
        });
        self.note(|| RunEvent::Granted {
            lease: id,
            task,
            worker,
            why: why(policy, worker, home, victim),
        });
        let mut hints = Vec::with_capacity(inputs.len());
        for key in inputs {
            let Some(entry) = self.directory.get_mut(&key) else {
                continue;
            };
            let is_here = entry.holders.contains(&worker);
            if !is_here && !entry.coming.contains(&worker) {
                entry.coming.push(worker);
            }
            if self.plan.is_source(&key) {
                continue;
            }
            let digest = entry.digest;
            let mut holders: Vec<_> = entry
                .holders
                .iter()
                .copied()
                .filter(|&holder| holder != worker && self.ways.reaches(now, worker, holder))
                .collect();
            // Whoever is to leave may be gone when it is asked.
            holders.sort_by_key(|&h| {
                let asked = self.fleet.get(h).map_or(u64::MAX, |m| m.asked_bytes);
                (!self.fleet.is_seated(h), asked, h)
            });
            holders.truncate(HOLDERS_MAX);
            if !is_here
                && let Some(&first) = holders.first()
                && let Some(member) = self.fleet.get_mut(first)
            {
                member.asked_bytes += entry.bytes;
            }
            hints.push(InputHint {
                key,
                digest,
                holders,
                durable: entry.durable,
            });
        }
        let Some(member) = self.fleet.get_mut(worker) else {
            return;
        };
        member.leases.insert(id);
        member.leased_flops += flops;
        let dead = std::mem::take(&mut member.dead);
        self.send(
            worker,
            ToWorker::Assign(Assignment {
                lease: id,
                task,
                inputs: hints,
                dead,
            }),
        );
    }
}

/// A ready task with what is the same for all candidates.
struct TaskView<'a> {
    ready: &'a Ready,
    home: Option<WorkerId>,
    inputs: Vec<&'a Entry>,
}

/// Why a task goes to `worker`.
fn why(policy: Policy, worker: WorkerId, home: Option<WorkerId>, victim: Option<WorkerId>) -> Why {
    match (victim, home) {
        (Some(from), home) => Why::Stolen { from, home },
        (None, _) if matches!(policy, Policy::Fifo | Policy::Random) => Why::Policy,
        (None, Some(home)) if home == worker => Why::Home,
        (None, Some(home)) => Why::Away { home },
        (None, None) => Why::Homeless,
    }
}

/// Bytes of a task's outputs and its flops.
fn cost(plan: &Plan, task: &TaskId, input_slots: &[Option<BlockKey>]) -> (u64, u64) {
    let (inputs, outputs) = (
        plan.shapes(input_slots),
        plan.shapes(&plan.output_slots(task)),
    );
    let kernel = plan
        .kernels()
        .get(plan.kernel(task))
        .expect("the plan was checked");
    let flops = kernel.flops(&TaskShapes {
        inputs: &inputs,
        outputs: &outputs,
    });
    (
        outputs
            .iter()
            .flatten()
            .map(|shape| shape.bytes() as u64)
            .sum(),
        flops,
    )
}
