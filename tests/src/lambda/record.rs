//! What was executed and what it would be billed: read by tests to compare with what a run reports.
//! Never decides anything.

use serde::Serialize;

/// One execution of one event on one instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Execution {
    /// Counts executions from 0, in the order they began.
    pub ordinal: u64,
    /// The event's request id; a retry and a duplicate have their event's.
    pub request_id: String,
    /// The function.
    pub function: String,
    /// `RequestResponse` or `Event`.
    pub kind: String,
    /// 0 for the first attempt.
    pub attempt: u32,
    /// Whether the service delivered an event that it had delivered before.
    pub duplicate: bool,
    /// The instance's number; none where none could be started.
    pub instance: Option<u64>,
    /// Whether the instance was started for it.
    pub cold: bool,
    /// From the request's arrival to the execution's start.
    pub queued_ms: u64,
    /// When the instance had the event, in ms since 1970.
    pub started_ms: u64,
    /// Duration of the initialisation, cold start included.
    pub init_ms: u64,
    /// From the event's delivery until the runtime asked for the next, ended, or was ended.
    pub duration_ms: u64,
    /// What is billed: initialisation and duration, rounded up to a whole ms.
    pub billed_ms: u64,
    /// The function's memory.
    pub memory_mb: u32,
    /// Most memory that the process used.
    pub memory_used_mb: u64,
    /// `ok`, `error` (the function said so), `exited`, `timeout` or `init`.
    pub outcome: String,
    /// What went wrong, where something did.
    pub error: String,
}

impl Execution {
    /// What is billed in GB-seconds (a GB of 1,024 MB, as AWS counts).
    pub fn gb_seconds(&self) -> f64 {
        self.billed_ms as f64 / 1_000.0 * f64::from(self.memory_mb) / 1_024.0
    }
}

/// An environment that runs or is frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceRecord {
    /// Counts instances from 0.
    pub id: u64,
    /// The function.
    pub function: String,
    /// The process group, which is its leader's process id.
    pub pid: i32,
    /// Whether it has an event now; frozen otherwise.
    pub busy: bool,
    /// Events that it has had.
    pub served: u64,
}

/// Counts of events that never were executed, or not again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventCounts {
    /// Events accepted with 202.
    pub accepted: u64,
    /// Waiting now, retries that are not due included.
    pub waiting: u64,
    /// Older than MaximumEventAge before they could run.
    pub dropped_by_age: u64,
    /// Failed for the last time that MaximumRetryAttempts allows.
    pub dropped_by_failures: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Requests refused with 429.
    pub throttled: u64,
}
