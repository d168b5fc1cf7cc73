//! The two halves of a link by mail. What they decide is `pace`'s and `letter`'s; here it is done.

use std::collections::VecDeque;
use std::time::Duration;

use super::letter::{self, Header, MESSAGES_BYTES, MESSAGES_MAX};
use super::pace::{Backoff, Vigil};
use super::{MailError, PostOffice, count, name_of};
use crate::identity::NodeId;
use crate::store::{Created, StoreError};

/// Tries to write a letter where others write, or whose store fails: 10 s in all.
const TRIES_MAX: u32 = 10;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The half that sends.
#[derive(Debug)]
pub struct MailSender {
    office: PostOffice,
    next: Header,
}

impl MailSender {
    pub(super) fn new(office: PostOffice, to: NodeId, epoch: u64) -> Self {
        let next = Header::first(office.signer.node(), to, epoch);
        Self { office, next }
    }

    /// Sends messages in order, in as few letters as hold them.
    pub async fn send(&mut self, messages: &[Vec<u8>]) -> Result<(), MailError> {
        let mut rest = messages;
        while !rest.is_empty() {
            let mut bytes = 0;
            let room = rest.iter().take(MESSAGES_MAX).take_while(|message| {
                let fits = bytes < MESSAGES_BYTES;
                bytes += message.len();
                fits
            });
            let (now, later) = rest.split_at(room.count());
            self.post(now).await?;
            rest = later;
        }
        Ok(())
    }

    /// Ends the link with a letter that says nothing.
    pub async fn finish(mut self) -> Result<(), MailError> {
        self.post(&[]).await
    }

    async fn post(&mut self, messages: &[Vec<u8>]) -> Result<(), MailError> {
        let bytes = letter::seal(&self.office.signer, &self.next, messages)?;
        let name = name_of(&self.next);
        for _ in 0..TRIES_MAX {
            count(&self.office.counters.put);
            match self.office.objects.create(&name, bytes.clone()).await {
                Ok(Created::New | Created::Same) => {
                    self.next.number += 1;
                    return Ok(());
                }
                // Somebody else's: its reader takes it away.
                Ok(Created::Clash) => {}
                Err(error @ (StoreError::Full { .. } | StoreError::Unusable { .. })) => {
                    return Err(error.into());
                }
                Err(error) => tracing::warn!(name, %error, "a letter is written again"),
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        Err(MailError::Taken(name))
    }
}

/// The half that receives.
#[derive(Debug)]
pub struct MailReceiver {
    office: PostOffice,
    next: Header,
    came: VecDeque<Vec<u8>>,
    backoff: Backoff,
    /// Of links with the coordinator.
    vigil: Option<Vigil>,
    ended: bool,
}

impl MailReceiver {
    pub(super) fn new(office: PostOffice, from: NodeId, epoch: u64) -> Self {
        Self {
            next: Header::first(from, office.signer.node(), epoch),
            office,
            came: VecDeque::new(),
            backoff: Backoff::new(),
            vigil: (from == NodeId::Coordinator).then(|| Vigil::new(epoch)),
            ended: false,
        }
    }

    /// Waits until there is something to receive, or the link has ended.
    pub async fn wait(&mut self) -> Result<(), MailError> {
        if let Some(message) = self.recv().await? {
            self.came.push_front(message);
        }
        Ok(())
    }

    /// Receives the next message; `None` when the other side has ended the link. A call that is dropped
    /// midway loses nothing.
    pub async fn recv(&mut self) -> Result<Option<Vec<u8>>, MailError> {
        loop {
            if let Some(message) = self.came.pop_front() {
                return Ok(Some(message));
            }
            if self.ended {
                return Ok(None);
            }
            if self.look().await? {
                self.backoff.found();
                continue;
            }
            let wait = self.backoff.missed();
            tokio::time::sleep(wait).await;
            if self.vigil.as_mut().is_some_and(|vigil| vigil.waited(wait)) {
                let pulse = self.office.pulse().await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "the coordinator's sign of life cannot be read");
                    None
                });
                if let Some(vigil) = &mut self.vigil {
                    vigil.looked(pulse).map_err(MailError::Gone)?;
                }
            }
        }
    }

    /// Looks for the next letter; true if it was there.
    async fn look(&mut self) -> Result<bool, MailError> {
        let name = name_of(&self.next);
        let bytes = match self.office.get(&name).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(false),
            Err(error @ StoreError::Unusable { .. }) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(name, %error, "a letter is looked for again");
                return Ok(false);
            }
        };
        let now = (self.office.wall)();
        match letter::open_as(&self.office.signer, &bytes, &self.next, now) {
            Ok(messages) => {
                self.ended = messages.is_empty();
                self.came.extend(messages);
                self.next.number += 1;
                if let Some(vigil) = &mut self.vigil {
                    vigil.wrote();
                }
                self.office.delete(&name);
                Ok(true)
            }
            Err(error) => {
                self.office.refuse(&name, &error.to_string());
                Ok(false)
            }
        }
    }
}
