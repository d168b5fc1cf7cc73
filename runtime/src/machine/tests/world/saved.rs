//! What outlives a driver of the world: the store with its manifests. A driver dies at any step with all
//! its workers, and the next one goes on from the newest manifest whose blocks are all there.

use std::sync::Arc;

use peerwren_transports::block::BlockKey;

use super::{Event, US, World, settings};
use crate::machine::scheduler::{Input, Scheduler};
use crate::manifest::{Manifest, ManifestKey};

const KEY: ManifestKey = ManifestKey([7; 32]);

impl World<'_> {
    /// Whether the store has each block of a manifest.
    fn is_whole(&self, manifest: &Manifest) -> bool {
        manifest
            .blocks()
            .all(|(key, digest)| self.store.get(&key) == Some(&digest))
    }

    pub(super) fn manifest_put(&mut self, manifest: Manifest) {
        let bytes = manifest.encode(&KEY);
        assert_eq!(Manifest::decode(&bytes, &KEY).as_ref(), Ok(&manifest));
        manifest
            .check(&self.truth.plan)
            .expect("a manifest follows from the plan and its tasks");
        for (key, digest) in manifest.blocks() {
            assert_eq!(Some(&digest), self.truth.blocks.get(&key), "{key}");
        }
        if !self.store_is_lossy() {
            assert!(self.is_whole(&manifest), "a manifest names what is not put");
            for task in manifest.tasks() {
                assert!(self.coordinator.is_done(&task), "{task:?} runs again");
            }
            self.settled = manifest.tasks().collect();
        }
        let newest = self.manifests.last_key_value();
        assert!(newest.is_none_or(|(&number, _)| number < manifest.number));
        self.manifests.insert(manifest.number, manifest);
        self.written += 1;
        let takes = self.dice.within(50, 5_000);
        self.push(takes * US, Event::ManifestWritten);
    }

    pub(super) fn swept(&mut self, before: u32, blocks: Vec<BlockKey>) {
        self.sweep(before, &blocks);
        self.coordinate(Input::Swept);
    }

    fn sweep(&mut self, before: u32, blocks: &[BlockKey]) {
        self.manifests.retain(|&number, _| number >= before);
        let (_, newest) = self.manifests.last_key_value().expect("the newest stays");
        for (key, _) in newest.blocks() {
            assert!(!blocks.contains(&key), "{key} of the newest manifest goes");
        }
        // Where the store has lost blocks of a manifest, its tasks may run again, and what they read is made again.
        let tasks = self.truth.tasks.iter().filter(|_| !self.store_is_lossy());
        for (task, inputs) in tasks {
            for key in inputs.iter().filter(|key| blocks.contains(key)) {
                assert!(self.coordinator.is_done(task), "{key} is still needed");
            }
        }
        for key in blocks {
            assert!(!self.truth.plan.is_result(key), "result {key} goes");
            self.store.remove(key);
        }
    }

    /// The driver and all workers end at once; what was under way may still take effect in the store.
    pub(super) fn driver_dies(&mut self) {
        for event in std::mem::take(&mut self.events).into_values() {
            if self.dice.chance(500) {
                continue;
            }
            match event {
                Event::Stored(id, copy) => {
                    let node = self.nodes.get(&id);
                    if let Some(&digest) = node.and_then(|node| node.table.get(&copy)) {
                        self.store.insert(copy.key, digest);
                    }
                }
                Event::ManifestPut(manifest) => {
                    self.manifests.insert(manifest.number, *manifest);
                }
                Event::Swept(before, mut blocks) => {
                    let left = self.dice.within(0, blocks.len() as u64 + 1);
                    blocks.truncate(usize::try_from(left).expect("an index"));
                    self.sweep(before, &blocks);
                }
                _ => {}
            }
        }
        self.nodes.clear();
        self.down.clear();
        self.coming = 0;
        self.channels = Default::default();
        self.cuts.clear();
        self.ledger = Default::default();
        self.effective.clear();
        self.phases.clear();
        (self.timer, self.progress_at, self.idle_events) = (u64::MAX, self.now, 0);
        self.drivers += 1;
        self.strike("drivers killed");
        self.setup.faults.driver_dies.remove(0);
        let next = self.setup.faults.driver_dies.first();
        self.dies_at = next.map(|steps| self.steps + steps);
        self.resume();
    }

    fn resume(&mut self) {
        while let Some((_, newest)) = self.manifests.last_key_value()
            && !self.is_whole(newest)
        {
            assert!(self.store_is_lossy(), "the newest manifest is not whole");
            self.manifests.pop_last();
        }
        let (plan, settings) = (Arc::clone(&self.truth.plan), settings(&self.setup));
        self.coordinator = match self.manifests.last_key_value() {
            None => {
                (self.restored, self.settled) = (0, Default::default());
                Scheduler::new(plan, settings)
            }
            Some((_, manifest)) => {
                self.restored = manifest.task_count();
                self.settled = manifest.tasks().collect();
                Scheduler::resumed(plan, settings, manifest)
            }
        };
        if self.store_is_lossy() {
            self.settled.clear();
        }
        self.coordinate(Input::Begin);
    }
}
