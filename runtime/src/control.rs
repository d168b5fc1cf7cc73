//! The messages between a coordinator and its workers. Data only: what they mean is decided in
//! [`crate::machine`], what carries them in `peerwren_transports`.
#![allow(
    missing_docs,
    reason = "the archived variants that rkyv derives cannot be documented"
)]

mod counts;
pub mod joining;

use peerwren_transports::block::{BlockKey, Digest};
use rkyv::api::high::{HighDeserializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::{Archive, Deserialize, Serialize};

pub use self::counts::{Counts, Moves, Origin, Purpose, StoreReason, Tally};
use crate::machine::{LeaseId, WorkerId};
use crate::options::{Durability, Exchange};
use crate::plan::{PlanSpec, TaskId};

/// Longest message: a plan (programs of some kB) or an assignment with 8 inputs of 4,096 holders
/// (8 x 4,096 x 4 B = 128 KiB) or 65,536 keys of 56 B (3.5 MiB), with room.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// What a coordinator tells a worker.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// The run that the worker has joined.
    Welcome {
        /// What to run.
        plan: PlanSpec,
        /// How to run it.
        settings: WorkerSettings,
    },
    /// Workers that came and went.
    Peers {
        /// Whom blocks can be asked of, and where.
        joined: Vec<Peer>,
        /// Whom no longer.
        left: Vec<WorkerId>,
    },
    /// A task to run under a lease.
    Assign(Assignment),
    /// Inputs to read into the cache before the first task.
    Preload {
        /// Their keys.
        keys: Vec<BlockKey>,
    },
    /// Blocks to put into the store: for a checkpoint, or since whoever made them is gone.
    Store {
        /// Their keys.
        keys: Vec<BlockKey>,
        /// Why.
        reason: StoreReason,
    },
    /// Blocks to keep from now on, since whoever keeps them is to leave.
    Take {
        /// What and where they are.
        blocks: Vec<InputHint>,
    },
    /// Where the coordinator sees the worker, and whom else to ask: what a NAT does shows there.
    Observed {
        /// The address that the worker's packets come from.
        address: String,
        /// The port of the coordinator's host that answers STUN, if one does.
        stun_port: Option<u16>,
    },
    /// Look for a path to a worker, which looks for one to this worker now.
    Introduce {
        /// The worker.
        peer: WorkerId,
        /// All its addresses.
        reach: PeerReach,
        /// What the two prove their probes with.
        secret: PathSecret,
    },
    /// The run goes on without this worker, which cannot take part.
    Refused {
        /// Why, in one sentence.
        reason: String,
    },
    /// The run is over, or goes on without this worker.
    Stop,
}

impl ToWorker {
    /// Whether the worker is to do something that a run waits for: it says how many of these it has had.
    #[must_use]
    pub fn is_order(&self) -> bool {
        matches!(
            self,
            Self::Assign(_) | Self::Preload { .. } | Self::Store { .. } | Self::Take { .. }
        )
    }
}

/// How a worker is to work.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct WorkerSettings {
    /// Where blocks may come from.
    pub exchange: Exchange,
    /// Which blocks are written through.
    pub durability: Durability,
    /// Bytes that the worker's blocks and scratch may take.
    pub memory_bytes: u64,
    /// Compute threads.
    pub cores: u32,
    /// Milliseconds between two signs of life.
    pub alive_ms: u32,
    /// STUN servers to ask for this worker's outside address, as `HOST:PORT`.
    pub stun: Vec<String>,
    /// Whether the worker tells what it does, for a trace.
    pub traces: bool,
}

/// Where a worker listens.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Peer {
    /// The worker.
    pub worker: WorkerId,
    /// UDP addresses of its own interfaces, as text.
    pub addresses: Vec<String>,
}

/// All addresses by which a worker may be reached, as text.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerReach {
    /// Those of its own interfaces.
    pub local: Vec<String>,
    /// Those that others see it come from.
    pub outside: Vec<String>,
}

/// How two workers exchange blocks.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerWay {
    /// By addresses of their own interfaces.
    Local,
    /// Through NATs.
    Punched,
    /// Not at all: there is no path, and what one has the other gets from the store.
    Store,
}

/// What two workers prove their probes with. Never shown.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct PathSecret(pub [u8; 32]);

impl std::fmt::Debug for PathSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PathSecret(..)")
    }
}

/// A task, the right to finish it, and where its inputs are.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The right.
    pub lease: LeaseId,
    /// The task.
    pub task: TaskId,
    /// One hint for each distinct present input that a task made.
    pub inputs: Vec<InputHint>,
    /// Blocks that no unfinished task reads, known since the last message.
    pub dead: Vec<BlockKey>,
}

/// What the directory knows of a block.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct InputHint {
    /// The block.
    pub key: BlockKey,
    /// What its bytes must hash to; absent where whoever made it has not hashed it.
    pub digest: Option<Digest>,
    /// Who has it, best first.
    pub holders: Vec<WorkerId>,
    /// Whether the store has it.
    pub durable: bool,
}

/// What a worker tells its coordinator.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// The first message.
    Hello {
        /// The worker's version of this crate.
        version: String,
        /// Addresses of its own interfaces.
        addresses: Vec<String>,
        /// Digest of the kernel self-test.
        fingerprint: Digest,
        /// Name and version of every kernel it has.
        kernels: Vec<(String, u32)>,
        /// The CPU as a person would name it.
        cpu: String,
    },
    /// A task is finished and its outputs are cached, or durable.
    Done {
        /// The right under which it ran.
        lease: LeaseId,
        /// The outputs.
        made: Vec<Made>,
        /// Blocks that left the cache since the last message.
        dropped: Vec<BlockKey>,
        /// Nanoseconds in the kernel.
        compute_ns: u64,
        /// What the worker has counted.
        counts: Counts,
    },
    /// A kernel refused its inputs: the run cannot succeed.
    Failed {
        /// The right under which it ran.
        lease: LeaseId,
        /// One sentence.
        error: String,
    },
    /// Inputs that could not be had, or none where the worker is to leave: the lease is given back.
    Missing {
        /// The right that is given back.
        lease: LeaseId,
        /// What could not be had.
        blocks: Vec<Missed>,
    },
    /// Blocks that the store has now.
    Durable {
        /// What was put, or had been before.
        blocks: Vec<Kept>,
        /// What the worker has counted.
        counts: Counts,
    },
    /// The preload is done, as far as memory goes.
    Preloaded {
        /// What is in the cache.
        keys: Vec<BlockKey>,
        /// What the worker has counted.
        counts: Counts,
    },
    /// The worker must leave: it takes no more tasks and finishes those that are in its threads.
    Leaving {
        /// Milliseconds that it can still give blocks away.
        until_ms: u64,
    },
    /// What became of blocks that the worker was to keep.
    Taken {
        /// Those that it keeps now.
        keys: Vec<BlockKey>,
        /// Those that it has no room for or could not get.
        refused: Vec<BlockKey>,
        /// What the worker has counted.
        counts: Counts,
    },
    /// A sign of life.
    Alive {
        /// Orders that the worker has had: tasks, and blocks to preload, to store and to take.
        orders: u64,
        /// Blocks that left the cache since the last message.
        dropped: Vec<BlockKey>,
        /// What the worker has counted.
        counts: Counts,
    },
    /// The worker's outside addresses have changed.
    Moved {
        /// The addresses that others see.
        outside: Vec<String>,
    },
    /// A path to a worker is wanted: introduce the two to each other.
    WantPath {
        /// The worker.
        peer: WorkerId,
    },
    /// How a worker is reached, from now on.
    Way {
        /// The worker.
        peer: WorkerId,
        /// How.
        way: PeerWay,
    },
    /// The worker cannot go on, and neither can the run: a full disk, an input that is gone.
    Broken {
        /// One sentence.
        error: String,
    },
}

/// A block that could not be had.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Missed {
    /// The block.
    pub key: BlockKey,
    /// The workers that did not deliver it.
    pub workers: Vec<WorkerId>,
    /// The workers that could not be asked, since there is no path to them: they may well have it.
    pub unreachable: Vec<WorkerId>,
    /// Whether the store was asked too.
    pub store: bool,
}

/// A block that a task made.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Made {
    /// The block.
    pub key: BlockKey,
    /// What its bytes hash to; absent for one that is expected to stay where it was made.
    pub digest: Option<Digest>,
    /// Its payload.
    pub bytes: u64,
    /// Whether the store has it already.
    pub durable: bool,
}

/// A block that the store has.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Kept {
    /// The block.
    pub key: BlockKey,
    /// What its bytes hash to; absent where it was told before.
    pub digest: Option<Digest>,
}

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
#[error("a message is malformed: {0}")]
pub struct MessageError(String);

/// Encodes a message.
pub fn encode<M>(message: &M) -> Vec<u8>
where
    M: for<'a> Serialize<
        rkyv::api::high::HighSerializer<
            rkyv::util::AlignedVec,
            rkyv::ser::allocator::ArenaHandle<'a>,
            rkyv::rancor::Error,
        >,
    >,
{
    rkyv::to_bytes::<rkyv::rancor::Error>(message)
        .expect("messages hold plain data, which always serialises")
        .to_vec()
}

/// Decodes and validates a message, from bytes at any address.
///
/// # Errors
///
/// Bytes that are no such message.
pub fn decode<M>(bytes: &[u8]) -> Result<M, MessageError>
where
    M: Archive,
    M::Archived: for<'a> CheckBytes<HighValidator<'a, rkyv::rancor::Error>>
        + Deserialize<M, HighDeserializer<rkyv::rancor::Error>>,
{
    let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    rkyv::from_bytes(&aligned).map_err(|error: rkyv::rancor::Error| MessageError(error.to_string()))
}
