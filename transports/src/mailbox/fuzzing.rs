//! A door for fuzzers: letters from anybody, opened as a coordinator opens them. Decides nothing.

use std::time::{Duration, SystemTime};

use super::letter;
use crate::identity::{Authority, NodeId, Signer};

/// Two nodes of one run: a worker that signs whatever it is given, and the coordinator that reads it.
pub struct Post {
    worker: Signer,
    coordinator: Signer,
    now: SystemTime,
}

impl Post {
    /// Makes a run and its two nodes.
    #[must_use]
    pub fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let authority = Authority::new(1, now).expect("an authority can be made");
        let signer = |node| {
            let identity = authority.issue(node, now).expect("a node can be certified");
            identity.signer().expect("its key can sign")
        };
        Self {
            worker: signer(NodeId::Worker(0)),
            coordinator: signer(NodeId::Coordinator),
            now,
        }
    }

    /// Opens bytes as a letter, as they are.
    pub fn open(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        let opened = letter::open(&self.coordinator, bytes, self.now);
        opened.ok().map(|(_, messages)| messages)
    }

    /// Opens a letter of this body that the worker has signed.
    pub fn open_signed(&self, body: &[u8]) -> Option<Vec<Vec<u8>>> {
        self.open(&letter::prove(&self.worker, body).ok()?)
    }
}

impl Default for Post {
    fn default() -> Self {
        Self::new()
    }
}
