//! What a checkpoint leaves in the store, as data: which tasks are finished, and which of their blocks
//! are there with which bytes. Decides nothing, reads and writes no store.
//!
//! ```text
//! "pwrnckpt"  version u32  0 u32  rkyv payload  digest of all before, keyed, 32 bytes
//! ```
//!
//! The key of the digest lies in the run's private folder: a manifest that was cut, mixed up or made by
//! somebody who can write to the store alone is refused. Tasks and blocks are runs along the last index,
//! so that QR of 64 x 64 tiles with 183,334 tasks takes about 100 kB beside 32 bytes a block.
#![allow(
    missing_docs,
    reason = "the archived variants that rkyv derives cannot be documented"
)]

use std::collections::BTreeSet;

use peerwren_transports::block::{BlockKey, Digest, Indices};
use rkyv::{Archive, Deserialize, Serialize};

use crate::control::{self, Tally};
use crate::plan::{Plan, TaskId};

const MAGIC: [u8; 8] = *b"pwrnckpt";
/// Version of the form.
const VERSION: u32 = 1;
/// A header of 16 bytes, so that the payload is aligned where the whole is.
const HEADER_LEN: usize = 16;
const DIGEST_LEN: usize = 32;

/// The secret under which manifests of one run are digested.
#[derive(Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ManifestKey(pub [u8; 32]);

/// Never shows the secret.
impl std::fmt::Debug for ManifestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ManifestKey(..)")
    }
}

/// A set of finished tasks, and each block that they left and that unfinished tasks or results need.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The run.
    pub run: u64,
    /// Counts the run's manifests, from 1.
    pub number: u32,
    /// [`Plan::digest`].
    pub plan: Digest,
    /// Digest of the kernel self-test of the run's workers.
    pub bits: Digest,
    /// What all workers had counted when it was begun.
    pub counted: Tally,
    tasks: Vec<TaskRun>,
    blocks: Vec<BlockRun>,
    /// One for each block, in their order.
    digests: Vec<Digest>,
}

/// Tasks of one statement that differ in the last index alone, which counts up by one.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
struct TaskRun {
    first: TaskId,
    count: u32,
}

/// Blocks of one family that differ in the last index alone, which counts up by one.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
struct BlockRun {
    matrix: u16,
    first: Indices,
    count: u32,
}

/// Why a manifest is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The bytes are cut or changed, or another run's.
    #[error("its bytes are not those that were written")]
    Corrupt,
    /// Another version of peerwren wrote it.
    #[error("it has version {0}; this version of peerwren reads {VERSION}")]
    Version(u32),
    /// It is of another plan.
    #[error("it belongs to another plan")]
    OtherPlan,
    /// Its tasks or blocks are not those of the plan.
    #[error("it contradicts the plan: {0}")]
    Contradiction(String),
}

impl Manifest {
    /// The most bytes that a manifest of a plan can take: 64 kB, 64 for each task's run, and for each
    /// block 64 for its run and 32 for its digest.
    #[must_use]
    pub fn bytes_max(plan: &Plan) -> usize {
        let tasks: u64 = (0..plan.phase_count())
            .map(|phase| plan.task_count(phase))
            .sum();
        let bytes = (64 << 10) + 64 * tasks + 96 * plan.made_count();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// A manifest of these tasks and blocks, both in their order.
    pub(crate) fn new(
        plan: &Plan,
        number: u32,
        bits: Digest,
        counted: Tally,
        tasks: impl Iterator<Item = TaskId>,
        blocks: impl Iterator<Item = (BlockKey, Digest)>,
    ) -> Self {
        let mut manifest = Self {
            run: plan.run(),
            number,
            plan: plan.digest(),
            bits,
            counted,
            tasks: Vec::new(),
            blocks: Vec::new(),
            digests: Vec::new(),
        };
        for task in tasks {
            match manifest.tasks.last_mut() {
                Some(run) if run.at(run.count) == Some(task) => run.count += 1,
                _ => manifest.tasks.push(TaskRun {
                    first: task,
                    count: 1,
                }),
            }
        }
        for (key, digest) in blocks {
            manifest.digests.push(digest);
            match manifest.blocks.last_mut() {
                Some(run) if run.at(key.run, run.count) == Some(key) => run.count += 1,
                _ => manifest.blocks.push(BlockRun {
                    matrix: key.matrix,
                    first: key.indices,
                    count: 1,
                }),
            }
        }
        manifest
    }

    /// How many tasks are finished.
    #[must_use]
    pub fn task_count(&self) -> u64 {
        self.tasks.iter().map(|run| u64::from(run.count)).sum()
    }

    /// How many blocks are in the store.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.digests.len()
    }

    /// The finished tasks.
    pub fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        let of = |run: &TaskRun| {
            let run = *run;
            (0..run.count).map_while(move |step| run.at(step))
        };
        self.tasks.iter().flat_map(of)
    }

    /// The blocks that are in the store, and what each hashes to.
    pub fn blocks(&self) -> impl Iterator<Item = (BlockKey, Digest)> + '_ {
        let run = self.run;
        let of = move |blocks: &BlockRun| {
            let blocks = *blocks;
            (0..blocks.count).map_while(move |step| blocks.at(run, step))
        };
        self.blocks
            .iter()
            .flat_map(of)
            .zip(self.digests.iter().copied())
    }

    /// The bytes of the manifest, with their digest at the end.
    #[must_use]
    pub fn encode(&self, key: &ManifestKey) -> Vec<u8> {
        let payload = control::encode(self);
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len() + DIGEST_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&payload);
        let digest = blake3::keyed_hash(&key.0, &bytes);
        bytes.extend_from_slice(digest.as_bytes());
        bytes
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// Bytes that [`Self::encode`] has not made under this key.
    pub fn decode(bytes: &[u8], key: &ManifestKey) -> Result<Self, ManifestError> {
        let (all, digest) = bytes
            .split_last_chunk::<DIGEST_LEN>()
            .ok_or(ManifestError::Corrupt)?;
        let (header, payload) = all
            .split_at_checked(HEADER_LEN)
            .ok_or(ManifestError::Corrupt)?;
        if header[..8] != MAGIC {
            return Err(ManifestError::Corrupt);
        }
        let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if version != VERSION {
            return Err(ManifestError::Version(version));
        }
        // Compared in constant time.
        if blake3::keyed_hash(&key.0, all) != *digest {
            return Err(ManifestError::Corrupt);
        }
        control::decode(payload).map_err(|_| ManifestError::Corrupt)
    }

    /// Checks that the manifest is one of this plan: its tasks are the plan's, and its blocks are exactly
    /// those that they left and that unfinished tasks or results need.
    ///
    /// # Errors
    /// What is not so.
    pub fn check(&self, plan: &Plan) -> Result<(), ManifestError> {
        if self.plan != plan.digest() || self.run != plan.run() {
            return Err(ManifestError::OtherPlan);
        }
        let wrong = |what: String| Err(ManifestError::Contradiction(what));
        let in_runs: u64 = self.blocks.iter().map(|run| u64::from(run.count)).sum();
        if in_runs != self.digests.len() as u64 {
            return wrong(format!(
                "{in_runs} blocks but {} digests",
                self.digests.len()
            ));
        }
        // Before anything is allocated for them.
        let all: u64 = (0..plan.phase_count())
            .map(|phase| plan.task_count(phase))
            .sum();
        if self.task_count() > all {
            return wrong(format!("{} tasks of {all}", self.task_count()));
        }
        let done: BTreeSet<TaskId> = self.tasks().collect();
        let blocks: BTreeSet<BlockKey> = self.blocks().map(|(key, _)| key).collect();
        let (mut tasks_found, mut blocks_found) = (0, 0);
        let mut readers = Vec::new();
        for task in (0..plan.phase_count()).flat_map(|phase| plan.tasks(phase)) {
            if !done.contains(&task) {
                continue;
            }
            tasks_found += 1;
            for key in plan.outputs(&task) {
                readers.clear();
                plan.readers(&key, &mut readers);
                let is_needed =
                    plan.is_result(&key) || readers.iter().any(|reader| !done.contains(reader));
                if is_needed && !blocks.contains(&key) {
                    return wrong(format!("block {key} is needed and is not in it"));
                }
                blocks_found += usize::from(is_needed);
            }
        }
        if tasks_found != self.task_count() {
            return wrong("a task that the plan does not have".to_owned());
        }
        if blocks_found != self.digests.len() {
            return wrong("a block that nobody needs".to_owned());
        }
        Ok(())
    }
}

impl TaskRun {
    fn at(&self, step: u32) -> Option<TaskId> {
        Some(TaskId {
            at: later(&self.first.at, step)?,
            ..self.first
        })
    }
}

impl BlockRun {
    fn at(&self, run: u64, step: u32) -> Option<BlockKey> {
        Some(BlockKey::new(run, self.matrix, later(&self.first, step)?))
    }
}

/// Indices whose last one is `step` larger.
fn later(at: &Indices, step: u32) -> Option<Indices> {
    if step == 0 {
        return Some(*at);
    }
    let mut indices: Vec<i64> = at.as_slice().iter().map(|&index| index.into()).collect();
    *indices.last_mut()? += i64::from(step);
    Indices::new(&indices)
}
