//! What happens in the world, in a line each.

use std::fmt::Display;

use super::{Event, World};
use crate::control::{Assignment, FromWorker, Made, ToWorker};
use crate::machine::WorkerId;

/// Names shown of a list.
const NAMES_MAX: usize = 12;

impl World<'_> {
    pub(super) fn log_event(&self, event: &Event) {
        if let Some(log) = &self.log
            && let Some(line) = line_of(event)
        {
            log.add(self.now, line);
        }
    }
}

/// What an event is; none for timers.
fn line_of(event: &Event) -> Option<String> {
    Some(match event {
        Event::Timer | Event::WorkerTimer(_) | Event::Letter(..) | Event::Volunteer => {
            return None;
        }
        Event::Up(id) => format!("{id} is up"),
        Event::Left(id) => format!("the coordinator sees {id} gone"),
        Event::Said(id, message) => said(*id, message)?,
        Event::Told(id, message) => told(*id, message)?,
        Event::Fetched(id, fetch) => {
            let (key, origin) = (fetch.copy.key, fetch.origin);
            format!("{id} has an answer about {key} from {origin:?}")
        }
        Event::Computed(id, lease, task, _) => format!("{id} ends {task:?} under {lease:?}"),
        Event::Written(key, _) => format!("the store has {key}, and nobody is told"),
        Event::Stored(id, copy) => format!("{id} has put {} into the store", copy.key),
        Event::Leave(id) => format!("{id} is to leave"),
        Event::Expire(id) => format!("{id} ends"),
        Event::ManifestPut(manifest) => format!("manifest {} is written", manifest.number),
        Event::ManifestWritten => "the coordinator hears of the manifest".to_owned(),
        Event::Swept(before, blocks) => {
            let blocks = list(blocks.iter());
            format!("manifests before {before} and blocks {blocks} are deleted")
        }
    })
}

fn said(id: WorkerId, message: &FromWorker) -> Option<String> {
    Some(match message {
        FromWorker::Alive { dropped, .. } if dropped.is_empty() => return None,
        FromWorker::Alive { dropped, .. } => format!("{id} says: dropped {}", list(dropped.iter())),
        FromWorker::Done {
            lease,
            made,
            dropped,
            ..
        } => {
            let name = |made: &Made| format!("{}{}", made.key, if made.durable { "+" } else { "" });
            let (made, dropped) = (list(made.iter().map(name)), list(dropped.iter()));
            format!("{id} says: {lease:?} is done, made {made}, dropped {dropped}")
        }
        FromWorker::Missing { lease, blocks } => {
            let missed = list(blocks.iter().map(|missed| missed.key));
            format!("{id} says: gives {lease:?} back, for want of {missed}")
        }
        FromWorker::Durable { blocks, .. } => {
            let keys = blocks.iter().map(|kept| kept.key);
            format!("{id} says: durable {}", list(keys))
        }
        FromWorker::Taken { keys, refused, .. } => {
            let (keys, refused) = (list(keys.iter()), list(refused.iter()));
            format!("{id} says: keeps {keys}, not {refused}")
        }
        FromWorker::Preloaded { keys, .. } => format!("{id} says: preloaded {}", keys.len()),
        other => format!("{id} says: {other:?}"),
    })
}

fn told(id: WorkerId, message: &ToWorker) -> Option<String> {
    Some(match message {
        ToWorker::Peers { .. } | ToWorker::Welcome { .. } | ToWorker::Observed { .. } => {
            return None;
        }
        ToWorker::Assign(Assignment {
            lease,
            task,
            inputs,
            dead,
        }) => {
            let inputs = inputs.iter().map(|hint| {
                let holders = list(hint.holders.iter().map(|holder| holder.0));
                let store = if hint.durable { "+" } else { "" };
                format!("{} at {holders}{store}", hint.key)
            });
            let (inputs, dead) = (list(inputs), list(dead.iter()));
            format!("{id} is told: {task:?} under {lease:?}, reads {inputs}, dead {dead}")
        }
        ToWorker::Preload { keys } => format!("{id} is told: preload {}", keys.len()),
        ToWorker::Store { keys, reason } => {
            format!("{id} is told: store {} for {reason:?}", list(keys.iter()))
        }
        ToWorker::Take { blocks } => {
            let keys = list(blocks.iter().map(|hint| hint.key));
            format!("{id} is told: keep {keys}")
        }
        ToWorker::Introduce { peer, .. } => format!("{id} is told: look for {peer}"),
        ToWorker::Refused { reason } => format!("{id} is refused: {reason}"),
        ToWorker::Stop => format!("{id} is told: stop"),
    })
}

/// The first of some names.
fn list(names: impl Iterator<Item = impl Display>) -> String {
    let mut names: Vec<_> = names.map(|name| name.to_string()).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    format!("[{}]", names.join(", "))
}
