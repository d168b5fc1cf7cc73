//! Single decisions, as tables; and what tables of other tests begin with.

mod cache;
mod coordinator;
mod ladder;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{BlockKey, Digest};

use crate::control::{Counts, FromWorker, Made, ToWorker, WorkerSettings};
use crate::machine::cache::Copy;
use crate::machine::scheduler::{self, Scheduler, Settings};
use crate::machine::worker::{Action, Fetch, Origin};
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::options::{Durability, Exchange, Policy};
use crate::plan::{Plan, TaskId};

pub(super) const NOW: Timestamp = Timestamp(0);

fn shared(key: BlockKey) -> Copy {
    Copy { key, private: None }
}

pub(super) fn digest(number: u8) -> Digest {
    Digest([number; 32])
}

pub(super) fn one_core(exchange: Exchange, memory_bytes: u64) -> WorkerSettings {
    WorkerSettings {
        exchange,
        durability: Durability::Outputs,
        memory_bytes,
        cores: 1,
        alive_ms: 1000,
        stun: Vec::new(),
        traces: false,
    }
}

pub(super) fn fetch(
    copy: Copy,
    origin: Origin,
    digest: Option<Digest>,
    in_vain: Option<WorkerId>,
) -> Action {
    Action::Fetch(Fetch {
        copy,
        origin,
        digest,
        in_vain,
    })
}

pub(super) fn scheduler(plan: &Arc<Plan>, workers: u32) -> Scheduler {
    let settings = Settings {
        workers,
        elastic: None,
        cores: 1,
        policy: Policy::Locality,
        exchange: Exchange::Peer,
        durability: Durability::Outputs,
        checkpoint: None,
        preload: false,
        start_timeout: Duration::from_secs(2),
        lease: Duration::from_secs(3),
        volunteers: None,
    };
    let mut scheduler = Scheduler::new(Arc::clone(plan), settings);
    scheduler.handle_input(NOW, scheduler::Input::Begin);
    scheduler
}

pub(super) fn joined(scheduler: &mut Scheduler, id: u32, bits: u8) {
    let joined =
        scheduler::Input::Joined(WorkerId(id), vec![format!("address {id}")], digest(bits));
    scheduler.handle_input(NOW, joined);
}

/// What a scheduler does next, as words.
pub(super) fn actions(scheduler: &mut Scheduler) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(action) = scheduler.poll_action() {
        words.push(match action {
            scheduler::Action::Start(worker, slot) => format!("start {} in {slot}", worker.0),
            scheduler::Action::End(worker) => format!("end {}", worker.0),
            scheduler::Action::Send(_, ToWorker::Peers { .. }) => continue,
            scheduler::Action::Send(worker, ToWorker::Assign(a)) => {
                format!("{} gets lease {}", worker.0, a.lease.0)
            }
            scheduler::Action::Send(worker, ToWorker::Refused { .. }) => {
                format!("refuse {}", worker.0)
            }
            scheduler::Action::Send(worker, ToWorker::Stop) => format!("stop {}", worker.0),
            scheduler::Action::Send(worker, ToWorker::Take { blocks }) => {
                let holders = blocks.iter().map(|hint| hint.holders[0].0);
                format!("{} takes from {:?}", worker.0, holders.collect::<Vec<_>>())
            }
            scheduler::Action::Send(worker, message) => format!("{} gets {message:?}", worker.0),
            scheduler::Action::PhaseDone(phase, _) => format!("phase {phase} done"),
            scheduler::Action::Admit(request, worker) => format!("{request} is {}", worker.0),
            scheduler::Action::Decline(request, reason) => format!("{request} is not: {reason}"),
            scheduler::Action::WriteManifest(m) => {
                format!("write manifest {} of {} tasks", m.number, m.task_count())
            }
            scheduler::Action::Sweep { before, blocks } => {
                format!("sweep before {before}, {} blocks", blocks.len())
            }
            scheduler::Action::Completed => "completed".to_owned(),
            scheduler::Action::Failed(reason) => format!("failed: {}", &reason[..20]),
        });
    }
    scheduler.check_invariants();
    words
}

pub(super) fn done(plan: &Plan, lease: u64, task: &TaskId, durable: bool) -> FromWorker {
    let outputs = plan.outputs(task).into_iter();
    FromWorker::Done {
        lease: LeaseId(lease),
        made: outputs
            .map(|key| Made {
                key,
                digest: Some(digest(9)),
                bytes: plan.bytes(&key),
                durable,
            })
            .collect(),
        dropped: Vec::new(),
        compute_ns: 1,
        counts: Counts::default(),
    }
}
