//! Control through an object store, for nodes that no packet of theirs reaches: letters instead of a
//! connection. Never knows what they say, never lists names to find mail, and never reads a clock.
//!
//! ```text
//! mail/pulse                              the coordinator's epoch and a count that grows while it lives
//! mail/FROM/TO/EPOCH/NUMBER               the NUMBERth letter of one node to another, made once
//! mail/asked/KEY, mail/answered/KEY       a guest's question and its answer
//! ```
//!
//! A letter holds the messages that waited when it was sent, and proves who sent it: it is signed under
//! the certificate of the run, with both names, epoch and number, so that whoever can write to the store
//! can destroy mail but not forge, replay or reorder it. Its reader deletes it. Letters can be read by
//! whoever can read the store.

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guest;
mod letter;
mod link;
mod pace;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

pub use guest::{Answered, Question};
pub use letter::LetterError;
pub use link::{MailReceiver, MailSender};
pub use pace::{LETTER_WAIT_MAX, SILENCE_MAX};

use self::letter::{Header, LETTER_BYTES_MAX};
use crate::identity::{NodeId, Signer};
use crate::store::{Objects, StoreError};

/// Between two signs of life of a coordinator: 720 requests an hour.
const PULSE_EVERY: Duration = Duration::from_secs(5);
const PULSE: &str = "pulse";

/// Why mail does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A letter could not be signed.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// Somebody else keeps writing where a letter should go.
    #[error("the letter {0} cannot be written: others write there")]
    Taken(String),
    /// A letter of one message is too long.
    #[error("a message of {got} bytes where at most {limit} are allowed")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// Its length in bytes.
        got: usize,
    },
    /// The coordinator shows no sign of life, or another one is there.
    #[error("{0}")]
    Gone(&'static str),
}

/// What a node has asked of the store and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailStats {
    /// Reads, in vain or not.
    pub get: u64,
    /// Writes.
    pub put: u64,
    /// Letters that were forged, replayed, cut or another's.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Counters {
    get: AtomicU64,
    put: AtomicU64,
    refused: AtomicU64,
}

/// One node's way to the run's mail. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PostOffice {
    objects: Objects,
    signer: Signer,
    wall: fn() -> SystemTime,
    counters: Arc<Counters>,
}

/// A coordinator's sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pulse {
    /// Grows with each start of a coordinator of the run.
    pub epoch: u64,
    /// Grows while it lives.
    pub beat: u64,
}

impl PostOffice {
    /// Makes a node's way to the mail among a run's objects; `wall` tells the time of day, against which
    /// certificates are checked.
    pub fn new(run: &Objects, signer: Signer, wall: fn() -> SystemTime) -> Self {
        Self {
            objects: run.at("mail"),
            signer,
            wall,
            counters: Arc::default(),
        }
    }

    /// Begins a new epoch, as a coordinator does when it starts. Letters of older ones are nobody's.
    pub async fn open_epoch(&self) -> Result<u64, MailError> {
        let now = (self.wall)().duration_since(SystemTime::UNIX_EPOCH);
        let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(0);
        // A clock that was set back makes no epoch twice.
        let before = self.pulse().await?.map_or(0, |pulse| pulse.epoch + 1);
        let epoch = now.max(before);
        self.show(Pulse { epoch, beat: 0 }).await?;
        Ok(epoch)
    }

    /// Shows signs of life until it is dropped. A store that fails for a moment is tried again.
    pub async fn show_life(&self, epoch: u64) {
        for beat in 1.. {
            tokio::time::sleep(PULSE_EVERY).await;
            if let Err(error) = self.show(Pulse { epoch, beat }).await {
                tracing::warn!(%error, "the store took no sign of life");
            }
        }
    }

    /// Reads the coordinator's sign of life; `None` where there is none that it has signed.
    pub async fn pulse(&self) -> Result<Option<Pulse>, MailError> {
        let Some(bytes) = self.get(PULSE).await? else {
            return Ok(None);
        };
        let read = letter::open(&self.signer, &bytes, (self.wall)());
        Ok(match read {
            Ok((header, _)) if header.from == NodeId::Coordinator && header.to == header.from => {
                Some(Pulse {
                    epoch: header.epoch,
                    beat: header.number,
                })
            }
            _ => {
                self.refuse(PULSE, "no sign of the coordinator's");
                None
            }
        })
    }

    /// Makes the sending half of a link with `to`.
    pub fn sender(&self, to: NodeId, epoch: u64) -> MailSender {
        MailSender::new(self.clone(), to, epoch)
    }

    /// Makes the receiving half of a link with `from`. A link with the coordinator ends when that shows no
    /// sign of life any more, or another one takes its place.
    pub fn receiver(&self, from: NodeId, epoch: u64) -> MailReceiver {
        MailReceiver::new(self.clone(), from, epoch)
    }

    /// Returns what this node has asked of the store.
    pub fn stats(&self) -> MailStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MailStats {
            get: read(&self.counters.get),
            put: read(&self.counters.put),
            refused: read(&self.counters.refused),
        }
    }

    async fn show(&self, pulse: Pulse) -> Result<(), MailError> {
        let header = Header {
            from: self.signer.node(),
            to: NodeId::Coordinator,
            epoch: pulse.epoch,
            number: pulse.beat,
        };
        let bytes = letter::seal(&self.signer, &header, &[])?;
        count(&self.counters.put);
        Ok(self.objects.put(PULSE, bytes).await?)
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        count(&self.counters.get);
        match self.objects.get(name, LETTER_BYTES_MAX).await {
            Err(StoreError::TooLong { .. }) => {
                self.refuse(name, "longer than any letter");
                Ok(None)
            }
            read => read,
        }
    }

    /// Counts what is no letter for this node and takes it away, so that the true one finds room.
    fn refuse(&self, name: &str, why: &str) {
        count(&self.counters.refused);
        tracing::warn!(name, why, "mail is refused");
        if name != PULSE {
            self.delete(name);
        }
    }

    /// Deletes a letter without waiting for it: nobody reads it again.
    fn delete(&self, name: &str) {
        let (objects, name) = (self.objects.clone(), name.to_owned());
        tokio::spawn(async move {
            if let Err(error) = objects.delete(&name).await {
                tracing::debug!(name, %error, "a letter stays until the run ends");
            }
        });
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Returns the name of a letter.
fn name_of(header: &Header) -> String {
    let Header {
        from,
        to,
        epoch,
        number,
    } = header;
    format!("{from}/{to}/{epoch}/{number}")
}
