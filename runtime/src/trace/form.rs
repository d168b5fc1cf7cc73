//! The form of a trace's entries: Chrome's trace event format, as it is written and read again. Knows no
//! run.

use serde::{Deserialize, Serialize};

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    /// What it is about: `task`, `fetch`, `put` or `drop` of a worker; `worker`, `phase`, `run`, `lease` or `block`
    /// of the coordinator.
    #[serde(default)]
    pub(super) cat: String,
    /// `X` for what lasts, `i` for a moment, `M` for names of lines.
    pub(super) ph: String,
    /// Microseconds since the coordinator began.
    #[serde(default)]
    pub(super) ts: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dur: Option<f64>,
    pub(super) pid: u32,
    pub(super) tid: u32,
    /// The reach of a moment: `t`, its line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) s: Option<String>,
    #[serde(default)]
    pub(super) args: Args,
}

/// What else is known of it; what does not apply is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Args {
    /// A name or a number for the lines of the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sort_index: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<String>,
    /// File and line of its statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lease: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) worker: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) block: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    /// `worker N`, `store` or `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    /// Whether a block did not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<bool>,
    /// Who was to be asked instead: `worker N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) referred: Option<String>,
    /// Microseconds from the grant of the task to the kernel's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) waited_us: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reads: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) makes: Vec<MadeBlock>,
    /// Blocks that could not be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) missing: Vec<String>,
}

/// A block that a task made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct MadeBlock {
    pub(super) block: String,
    pub(super) bytes: u64,
    pub(super) digest: String,
}

/// What a file says of its run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    /// Version of this form.
    pub(super) peerwren_trace: u32,
    /// Version of peerwren.
    pub(super) version: String,
    /// The operation and its inputs.
    pub(super) title: String,
    /// The run's number in hexadecimal.
    pub(super) run: String,
    /// Digest of the plan.
    pub(super) plan: String,
    /// How the run ended: `complete`, or why it failed.
    pub(super) outcome: String,
    /// Microseconds by which the times of workers may be wrong, but for drift.
    pub(super) clock_error_us: f64,
    /// Names of the families by number, as logs write it.
    pub(super) families: Vec<String>,
}

/// Version of the form. What is added changes it not.
pub(super) const FORM: u32 = 1;
