//! The messages between a coordinator and somebody who holds its run's token. Data only.
#![allow(
    missing_docs,
    reason = "the archived variants that rkyv derives cannot be documented"
)]

use rkyv::{Archive, Deserialize, Serialize};

use crate::machine::WorkerId;

/// Longest piece of an [`FromGuest::Echo`].
pub const ECHO_BYTES_MAX: usize = 1 << 20;

/// What somebody asks who holds a run's token.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum FromGuest {
    /// To become a worker.
    Join {
        /// The asker's version of this crate.
        version: String,
        /// The public half of the key that the worker is to be known by.
        public_key: Vec<u8>,
        /// Its compute threads.
        cores: u32,
        /// Bytes that its blocks and scratch may take.
        memory_bytes: u64,
    },
    /// To hear where its packets come from.
    Look,
    /// To get these bytes back, to see how fast the way is.
    Echo {
        /// At most [`ECHO_BYTES_MAX`].
        bytes: Vec<u8>,
    },
}

/// What the coordinator answers.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum ToGuest {
    /// The asker is a worker of the run.
    Joined {
        /// Its number.
        worker: WorkerId,
        /// The certificate of its key.
        certificate: Vec<u8>,
        /// Where the run's store is.
        store: String,
        /// Largest block of the plan.
        block_bytes_max: u64,
    },
    /// The asker cannot join.
    Refused {
        /// One sentence.
        reason: String,
    },
    /// Where the asker's packets come from.
    Seen {
        /// As `HOST:PORT`; absent where it asks by mail.
        address: Option<String>,
        /// The port of the coordinator's host that answers STUN, if one does.
        stun_port: Option<u16>,
    },
    /// The bytes that came.
    Echo {
        /// As they came.
        bytes: Vec<u8>,
        /// The coordinator's time of day, in milliseconds since 1970.
        unix_ms: u64,
    },
}
