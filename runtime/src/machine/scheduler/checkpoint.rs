//! Checkpoints: a set fixed at one moment, the finished tasks and each block they left that unfinished
//! tasks or results need; once all of it is durable a manifest says so, and older ones are swept away.
//! Never writes a block or a manifest itself.
//!
//! A block of the set stays alive until it is durable, though its last reader may finish meanwhile. One
//! that is lost before ends the checkpoint; the next begins at once, and finds durable what was put. So a
//! task of a complete manifest never runs again, whatever is lost: its blocks that anybody needs are in
//! the store, and those of tasks after it are made of these.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{BlockKey, Digest};

use super::super::{Timestamp, WorkerId};
use super::{Action, Scheduler, Settings, Stage};
use crate::control::{StoreReason, Tally, ToWorker};
use crate::manifest::Manifest;
use crate::options::{Durability, Exchange};
use crate::plan::{Plan, TaskId};

/// A checkpoint begins no sooner than so many times the last one's duration after that began: at most a
/// tenth of the time is spent under checkpoints.
const DURATIONS_BETWEEN: u32 = 10;
/// Keys in one message: 32,768 of 48 B = 1.5 MiB.
const KEYS_MAX: usize = 32_768;

/// Where a run's checkpoints are.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Of the newest manifest, complete or not.
    number: u32,
    /// Finished tasks in the newest complete one.
    tasks: u64,
    /// Its blocks.
    blocks: BTreeSet<BlockKey>,
    /// When the next one begins.
    due: Timestamp,
    step: Step,
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    Idle,
    /// Blocks are being put.
    Putting(Fixed),
    /// The manifest is being written.
    Writing(Fixed),
    /// What only older manifests needed is being deleted.
    Sweeping(BTreeSet<BlockKey>),
}

/// What a checkpoint consists of.
#[derive(Debug)]
struct Fixed {
    began: Timestamp,
    manifest: Manifest,
    blocks: BTreeSet<BlockKey>,
    /// Those that are not durable yet, and who is to put each.
    wanted: BTreeMap<BlockKey, WorkerId>,
    /// Bytes that each worker was told to put.
    asked_bytes: BTreeMap<WorkerId, u64>,
}

impl Checkpoints {
    /// The state of a run that was restored from a manifest.
    fn after(manifest: &Manifest) -> Self {
        Self {
            number: manifest.number,
            tasks: manifest.task_count(),
            blocks: manifest.blocks().map(|(key, _)| key).collect(),
            ..Self::default()
        }
    }

    /// When the next checkpoint begins, if none is under way.
    pub(super) fn due(&self) -> Option<Timestamp> {
        matches!(self.step, Step::Idle).then_some(self.due)
    }

    /// Whether a block must stay although nobody reads it any more.
    pub(super) fn wants(&self, key: &BlockKey) -> bool {
        matches!(&self.step, Step::Putting(fixed) if fixed.wanted.contains_key(key))
    }

    /// Whether a block is on its way out of the store: what is put of it now may be deleted after.
    pub(super) fn sweeps(&self, key: &BlockKey) -> bool {
        matches!(&self.step, Step::Sweeping(blocks) if blocks.contains(key))
    }

    /// Whether `worker` is to put `key`.
    fn is_keeper(&self, key: &BlockKey, worker: WorkerId) -> bool {
        matches!(&self.step, Step::Putting(fixed) if fixed.wanted.get(key) == Some(&worker))
    }
}

impl Scheduler {
    /// A scheduler that waits for [`Input::Begin`](super::Input::Begin) and goes on from a manifest, which
    /// was [checked](Manifest::check) against the plan and whose blocks are in the store.
    #[must_use]
    pub fn resumed(plan: Arc<Plan>, settings: Settings, manifest: &Manifest) -> Self {
        let mut resumed = Self::new(plan, settings);
        resumed.bits = Some(manifest.bits);
        for task in manifest.tasks() {
            let phase = usize::from(task.phase);
            resumed.done.insert(task);
            resumed.remaining[phase] -= 1;
            resumed.restored[phase] += 1;
        }
        for (key, digest) in manifest.blocks() {
            let entry = resumed.entry_of(key);
            entry.digest = Some(digest);
            entry.durable = true;
            resumed.pending.remove(&key);
        }
        resumed.checkpoints = Checkpoints::after(manifest);
        let tasks = manifest.task_count();
        tracing::info!(number = manifest.number, tasks, "goes on from a checkpoint");
        resumed
    }

    /// Makes those tasks ready that can run since a manifest has what they read.
    pub(super) fn consider_restored(&mut self) {
        if self.restored.iter().all(|&tasks| tasks == 0) {
            return;
        }
        let mut readers = Vec::new();
        for (key, entry) in self.directory.iter() {
            if entry.durable && entry.readers_left > 0 {
                self.plan.readers(key, &mut readers);
            }
        }
        readers.sort_unstable();
        readers.dedup();
        for task in readers {
            self.consider(task);
        }
    }

    /// The first checkpoint of a run begins so much later.
    pub(super) fn expect_checkpoint(&mut self, now: Timestamp) {
        if let Some(every) = self.settings.checkpoint {
            self.checkpoints.due = now.after(every);
        }
    }

    /// When a checkpoint is wanted, if one is: where nothing was finished since the last one, none is.
    pub(super) fn checkpoint_due(&self) -> Option<Timestamp> {
        self.settings.checkpoint?;
        let has_news = self.done.len() != self.checkpoints.tasks;
        let is_running = matches!(self.stage, Stage::Running { .. });
        self.checkpoints.due().filter(|_| has_news && is_running)
    }

    /// Begins a checkpoint that is due: fixes its set and has what is not durable of it put.
    pub(super) fn maybe_checkpoint(&mut self, now: Timestamp) {
        if self.checkpoint_due().is_none_or(|due| now < due) {
            return;
        }
        let (Some(every), Some(bits)) = (self.settings.checkpoint, self.bits) else {
            return;
        };
        let Some(fixed) = self.fix(now, bits) else {
            self.checkpoints.due = now.after(every);
            return;
        };
        self.checkpoints.number += 1;
        let wanted: Vec<_> = fixed.wanted.keys().copied().collect();
        tracing::info!(
            number = fixed.manifest.number,
            tasks = fixed.manifest.task_count(),
            blocks = fixed.blocks.len(),
            to_put = wanted.len(),
            "a checkpoint begins"
        );
        self.checkpoints.step = Step::Putting(fixed);
        self.ask_to_put(&wanted);
        self.maybe_write();
    }

    /// The finished tasks, and each block they left that unfinished tasks or results need. `None` if one of
    /// those is nowhere.
    fn fix(&self, now: Timestamp, bits: Digest) -> Option<Fixed> {
        let mut blocks = BTreeMap::new();
        let mut wanted = BTreeMap::new();
        for (key, entry) in self.directory.iter() {
            let is_needed = entry.readers_left > 0 || self.plan.is_result(key);
            let Some(digest) = entry.digest.filter(|_| is_needed) else {
                continue;
            };
            // A block whose task is to run again is not a finished task's: it may be nowhere.
            let is_left = |writer: TaskId| self.done.contains(&writer);
            if !self.plan.writer(key).is_some_and(is_left) {
                continue;
            }
            blocks.insert(*key, digest);
            if !entry.durable {
                wanted.insert(*key, *entry.holders.first()?);
            }
        }
        let counted = self
            .fleet
            .tallies()
            .fold(Tally::default(), |sum, (_, _, tally)| sum.plus(&tally));
        Some(Fixed {
            began: now,
            manifest: Manifest::new(
                &self.plan,
                self.checkpoints.number + 1,
                bits,
                counted,
                self.done.iter(),
                blocks.iter().map(|(key, digest)| (*key, *digest)),
            ),
            blocks: blocks.into_keys().collect(),
            wanted,
            asked_bytes: BTreeMap::new(),
        })
    }

    /// Has holders of wanted blocks put them, each the one that was told to put the fewest bytes; where
    /// every block is written through the first, who made it and may have put it. Results are put by their
    /// keepers without being told.
    fn ask_to_put(&mut self, keys: &[BlockKey]) {
        let Step::Putting(fixed) = &mut self.checkpoints.step else {
            return;
        };
        let mut told: BTreeMap<WorkerId, Vec<BlockKey>> = BTreeMap::new();
        for key in keys {
            let Some(entry) = self.directory.get(key) else {
                continue;
            };
            let load = |worker: &WorkerId| fixed.asked_bytes.get(worker).copied().unwrap_or(0);
            let holder = match self.settings.durability {
                Durability::All => entry.holders.first(),
                _ => entry.holders.iter().min_by_key(|&worker| load(worker)),
            };
            let Some(&holder) = holder.filter(|_| !self.pending.contains(key)) else {
                continue;
            };
            *fixed.asked_bytes.entry(holder).or_default() += entry.bytes;
            fixed.wanted.insert(*key, holder);
            told.entry(holder).or_default().push(*key);
        }
        for (worker, keys) in told {
            for keys in keys.chunks(KEYS_MAX) {
                let (keys, reason) = (keys.to_vec(), StoreReason::Checkpoint);
                self.send(worker, ToWorker::Store { keys, reason });
            }
        }
    }

    /// `worker` does not have `key` any more, but others do: if it was to put it, one of them does.
    pub(super) fn put_instead_of(&mut self, key: &BlockKey, worker: WorkerId) {
        if !self.checkpoints.is_keeper(key, worker) || self.pending.contains(key) {
            return;
        }
        let Some(&holder) = self
            .directory
            .get(key)
            .and_then(|entry| entry.holders.first())
        else {
            return;
        };
        if let Step::Putting(fixed) = &mut self.checkpoints.step {
            fixed.wanted.insert(*key, holder);
        }
        let (keys, reason) = (vec![*key], StoreReason::Checkpoint);
        self.send(holder, ToWorker::Store { keys, reason });
    }

    /// The same for all that a lost worker was to put.
    pub(super) fn put_instead_of_lost(&mut self, worker: WorkerId) {
        let Step::Putting(fixed) = &self.checkpoints.step else {
            return;
        };
        let orphans: Vec<_> = fixed
            .wanted
            .iter()
            .filter(|&(_, &keeper)| keeper == worker)
            .map(|(key, _)| *key)
            .collect();
        for key in orphans {
            self.put_instead_of(&key, worker);
        }
    }

    /// The store has a block of the set now.
    pub(super) fn was_put(&mut self, key: &BlockKey) {
        let Step::Putting(fixed) = &mut self.checkpoints.step else {
            return;
        };
        if fixed.wanted.remove(key).is_some() {
            self.let_go(key);
            self.maybe_write();
        }
    }

    /// All is durable: a manifest may say so.
    fn maybe_write(&mut self) {
        match std::mem::take(&mut self.checkpoints.step) {
            Step::Putting(fixed) if fixed.wanted.is_empty() => {
                self.actions
                    .push_back(Action::WriteManifest(Box::new(fixed.manifest.clone())));
                self.checkpoints.step = Step::Writing(fixed);
            }
            step => self.checkpoints.step = step,
        }
    }

    /// A block of the set is nowhere, or the store has lost it: the checkpoint ends; the next one begins
    /// at once.
    pub(super) fn was_lost(&mut self, key: &BlockKey) {
        match std::mem::take(&mut self.checkpoints.step) {
            Step::Putting(fixed) if fixed.blocks.contains(key) => {
                self.checkpoints.due = Timestamp::default();
                for key in fixed.wanted.keys() {
                    self.let_go(key);
                }
                tracing::debug!(%key, "was lost before it was put: the checkpoint begins anew");
            }
            step => self.checkpoints.step = step,
        }
    }

    /// A block is no longer kept for a checkpoint; if nobody reads it any more, it dies.
    fn let_go(&mut self, key: &BlockKey) {
        let entry = self.directory.get(key);
        if entry.is_some_and(|entry| entry.readers_left == 0) && !self.pending.contains(key) {
            self.died(key);
        }
    }

    /// The manifest is in the store, or cannot be written.
    pub(super) fn manifest_written(&mut self, now: Timestamp, result: Result<(), String>) {
        let fixed = match std::mem::take(&mut self.checkpoints.step) {
            Step::Writing(fixed) => fixed,
            step => {
                self.checkpoints.step = step;
                return;
            }
        };
        let took = now.since(fixed.began);
        let pause = self
            .settings
            .checkpoint
            .unwrap_or(Duration::ZERO)
            .max(took * DURATIONS_BETWEEN);
        self.checkpoints.due = fixed.began.after(pause);
        if let Err(error) = result {
            tracing::warn!(%error, "a checkpoint could not be completed; the last one stays");
            return;
        }
        let number = fixed.manifest.number;
        let old = std::mem::replace(&mut self.checkpoints.blocks, fixed.blocks);
        self.checkpoints.tasks = fixed.manifest.task_count();
        let unneeded = self.take_unneeded(old);
        self.actions.push_back(Action::Sweep {
            before: number,
            blocks: unneeded.iter().copied().collect(),
        });
        self.checkpoints.step = Step::Sweeping(unneeded);
    }

    /// What was to be deleted is deleted.
    pub(super) fn swept(&mut self) {
        if let Step::Sweeping(_) = self.checkpoints.step {
            self.checkpoints.step = Step::Idle;
        }
    }

    /// The blocks of an older manifest that nobody needs: from now on they count as not in the store.
    /// Where every block is written through, those of older manifests are a few of many and stay too.
    fn take_unneeded(&mut self, old: BTreeSet<BlockKey>) -> BTreeSet<BlockKey> {
        let is_written_through =
            self.settings.exchange != Exchange::Peer || self.settings.durability == Durability::All;
        if is_written_through {
            return BTreeSet::new();
        }
        let mut unneeded = old;
        unneeded.retain(|key| {
            !self.checkpoints.blocks.contains(key)
                && !self.plan.is_result(key)
                && self
                    .directory
                    .get(key)
                    .is_none_or(|entry| entry.readers_left == 0)
        });
        for key in &unneeded {
            if let Some(entry) = self.directory.get_mut(key) {
                entry.durable = false;
                if entry.holders.is_empty() {
                    self.directory.remove(key);
                }
            }
        }
        unneeded
    }
}
