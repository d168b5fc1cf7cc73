//! Workers that come by themselves, from any machine: which slot a volunteer fills, how long empty ones
//! are waited for, and when nobody is left to wait for. Never starts a worker.

use std::time::Duration;

use super::super::Timestamp;
use super::{Action, Scheduler, Stage};

/// How a run waits for workers that nobody starts.
#[derive(Clone, Copy, Debug)]
pub struct Volunteers {
    /// Workers beyond those wanted that may help.
    pub helpers_max: u32,
}

impl Scheduler {
    /// Somebody with the run's token asks to join, with so many compute threads.
    pub(super) fn volunteered(&mut self, now: Timestamp, request: u64, cores: u32) {
        let Some(Volunteers { helpers_max }) = self.settings.volunteers else {
            self.decline(request, "this run starts its own workers");
            return;
        };
        let worker = if let Some(slot) = self.fleet.empty_slot() {
            if self.vacated > 0 {
                self.vacated -= 1;
                self.counted.replaced += 1;
            }
            self.fleet.start(now, slot)
        } else if self.fleet.helpers() < helpers_max as usize {
            self.fleet.start_helper(now)
        } else {
            self.decline(request, "the run has all the workers that it takes");
            return;
        };
        if let Some(member) = self.fleet.get_mut(worker) {
            member.cores = cores;
        }
        self.cores.insert(worker, cores);
        self.actions.push_back(Action::Admit(request, worker));
    }

    fn decline(&mut self, request: u64, reason: &str) {
        let reason = reason.to_owned();
        self.actions.push_back(Action::Decline(request, reason));
    }

    /// Fills a slot whose worker is gone: with a new worker, or where workers come by themselves with
    /// a helper, if there is one.
    pub(super) fn refill(&mut self, now: Timestamp, slot: u32) -> bool {
        if self.settings.volunteers.is_none() {
            let replacement = self.fleet.start(now, slot);
            self.actions.push_back(Action::Start(replacement, slot));
            return true;
        }
        self.note_solitude(now);
        let promoted = self.fleet.promote(slot);
        match promoted {
            Some(worker) => {
                self.touched.insert(worker);
            }
            None if self.fleet.is_home(slot) => self.vacated += 1,
            None => {}
        }
        promoted.is_some()
    }

    /// Remembers since when no worker has been there.
    pub(super) fn note_solitude(&mut self, now: Timestamp) {
        self.alone_since = match self.fleet.joined().next() {
            None => self.alone_since.or(Some(now)),
            Some(_) => None,
        };
    }

    /// When a run that has no worker gives up, if it has none.
    pub(super) fn solitude_ends(&self) -> Option<Timestamp> {
        self.settings.volunteers?;
        Some(self.alone_since?.after(self.settings.start_timeout))
    }

    /// Gives up where nobody has come for too long.
    pub(super) fn give_up_alone(&mut self, now: Timestamp) {
        if self.solitude_ends().is_some_and(|end| now >= end) {
            let waited = self.settings.start_timeout.as_secs();
            let refused = match self.counted.refused {
                0 => String::new(),
                n => format!(", and {n} that came were refused (see above)"),
            };
            self.fail(format!(
                "no worker has joined for {waited} s{refused}: start some with `peerwren worker --join ADDRESS \
                 --token FILE`, or wait longer with --start-timeout"
            ));
        }
    }

    /// How long a worker may take from its start or admission until it has joined.
    pub(super) fn joining_patience(&self) -> Duration {
        if self.settings.volunteers.is_some() {
            // It has reached the coordinator a moment ago, by the same way.
            2 * self.settings.lease
        } else {
            self.settings.start_timeout
        }
    }

    /// Somebody wants the run to end.
    pub(super) fn cancelled(&mut self) {
        self.stop_all();
    }

    /// Whether as many workers have joined as are wanted.
    pub(super) fn has_all(&self) -> bool {
        let wanted = if self.settings.elastic.is_some() {
            self.fleet.filled()
        } else {
            self.settings.workers
        };
        matches!(self.stage, Stage::Gathering { .. })
            && self.fleet.seated().count() >= wanted as usize
    }
}
