//! What a traced run tells: its events as data, how they become a file, and what the file says of one
//! block, or of each worker's time. Decides nothing: the machines note what they do, and only in a run that is traced.
#![allow(
    missing_docs,
    reason = "the archived variants that rkyv derives cannot be documented"
)]

mod chrome;
mod clocks;
mod form;
mod lanes;
mod read;
mod spool;
mod story;
mod timeline;
mod words;

use peerwren_transports::block::{BlockKey, Digest};
use rkyv::{Archive, Deserialize, Serialize};

pub(crate) use self::chrome::Header;
pub use self::read::TraceError;
pub(crate) use self::spool::{Spool, TraceFile};
pub use self::story::{Story, StoryError};
pub use self::timeline::Timeline;
use crate::control::{Origin, Purpose, StoreReason};
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::plan::TaskId;

/// Events that a worker keeps until it says something: of at most 1 KiB each (a task with 8 outputs), 4 MiB,
/// half of the longest message.
pub const EVENTS_MAX: usize = 4_096;

/// What a worker did. Times are nanoseconds by its own clock.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// A task was computed.
    Ran {
        lease: LeaseId,
        /// Number of the compute thread.
        thread: u32,
        /// When the worker was given the task.
        told_ns: u64,
        began_ns: u64,
        took_ns: u64,
        /// Blocks with their digests, where they were hashed, and payloads.
        made: Vec<(BlockKey, Option<Digest>, u64)>,
    },
    /// A block was asked for.
    Fetched {
        key: BlockKey,
        origin: Origin,
        purpose: Purpose,
        /// The task that was the first to wait for it, if one did.
        task: Option<TaskId>,
        began_ns: u64,
        ended_ns: u64,
        /// Its payload; none where it did not come.
        bytes: Option<u64>,
        /// To whom the worker that was asked referred this one instead.
        referred: Option<WorkerId>,
    },
    /// A block was put into the store.
    Stored {
        key: BlockKey,
        reason: StoreReason,
        began_ns: u64,
        ended_ns: u64,
        bytes: u64,
    },
    /// A block left the cache.
    Dropped {
        key: BlockKey,
        reason: DropReason,
        at_ns: u64,
    },
}

/// Why a block left a cache.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// No unfinished task reads it, and such blocks took too much.
    Dead,
    /// Others needed the room, and it can be had again or is not needed.
    Room,
    /// Only one task saw it, which is over: nothing is kept between tasks.
    Private,
}

/// What a coordinator decided or learned.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// A worker is there.
    Joined(WorkerId),
    /// A worker is to leave.
    Leaving(WorkerId),
    /// A worker is gone.
    Left {
        worker: WorkerId,
        /// Whether it was not let go.
        is_lost: bool,
    },
    /// A phase begins.
    Phase(u8),
    /// A task was given to a worker.
    Granted {
        lease: LeaseId,
        task: TaskId,
        worker: WorkerId,
        why: Why,
    },
    /// A worker gave a task back, since it could not have these blocks; none where it is to leave.
    GivenBack {
        lease: LeaseId,
        task: TaskId,
        worker: WorkerId,
        missing: Vec<BlockKey>,
    },
    /// A block that is still needed is nowhere any more.
    Lost(BlockKey),
    /// A finished task must run again, for a block of its own that is nowhere.
    Reopened { task: TaskId, block: BlockKey },
    /// No unfinished task reads a block any more.
    Dead(BlockKey),
    /// The run failed.
    Failed(String),
}

/// Why a task went to a worker.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The program places it there.
    Home,
    /// It was estimated to be done earlier there than at its home.
    Away { home: WorkerId },
    /// The worker had nothing to do, and taking the task from another's backlog paid for its bytes.
    Stolen {
        from: WorkerId,
        home: Option<WorkerId>,
    },
    /// The program places it nowhere.
    Homeless,
    /// The run's policy knows no homes.
    Policy,
}

/// What happened, and when by the coordinator's clock.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Record {
    /// At the coordinator.
    Run { at: Timestamp, event: RunEvent },
    /// At a worker, whose clock showed `sent_ns` when it told so.
    Heard {
        at: Timestamp,
        worker: WorkerId,
        sent_ns: u64,
        events: Vec<WorkerEvent>,
    },
}

/// Collects what a machine does; nothing in a run that is not traced.
#[derive(Debug)]
pub struct Notes<T>(Option<Vec<T>>);

impl<T> Notes<T> {
    /// Notes that are kept only if `traces`.
    #[must_use]
    pub fn new(traces: bool) -> Self {
        Self(traces.then(Vec::new))
    }

    /// Notes something.
    pub fn add(&mut self, note: impl FnOnce() -> T) {
        if let Some(notes) = &mut self.0 {
            notes.push(note());
        }
    }

    /// How many notes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, Vec::len)
    }

    /// Whether none wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the run is traced.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Takes what waits.
    pub fn take(&mut self) -> Vec<T> {
        self.0.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
