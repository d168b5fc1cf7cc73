//! Questions of guests, who have no number yet: each asks under a name made of the key that it wants
//! certified, and finds the answer under the same.

use std::collections::BTreeSet;
use std::time::Duration;

use super::letter::{self, Header};
use super::pace::Backoff;
use super::{MailError, PostOffice, count};
use crate::identity::NodeId;

/// Guests whose questions are read at one look; more are left for the next.
const QUESTIONS_MAX: usize = 64;

/// Questions that are remembered: 32 a second for half an hour, 512 KiB. Beyond, no more are read.
const ANSWERED_MAX: usize = 65_536;

/// The questions that were read. Each is read once: whoever asks again chooses another key, and a letter that is
/// put back asks for nobody.
#[derive(Debug, Default)]
pub struct Answered(BTreeSet<u64>);

/// What a guest asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Names question and answer; whoever asks chooses it so that nobody else does.
    pub key: u64,
    /// What is asked.
    pub message: Vec<u8>,
}

impl PostOffice {
    /// Asks the coordinator of this epoch as a guest, and waits up to `wait` for the answer.
    pub async fn ask(
        &self,
        epoch: u64,
        question: &Question,
        wait: Duration,
    ) -> Result<Vec<u8>, MailError> {
        let key = question.key;
        let asked = Header {
            from: NodeId::Guest,
            to: NodeId::Coordinator,
            epoch,
            number: key,
        };
        let answered = Header {
            from: NodeId::Coordinator,
            to: NodeId::Guest,
            ..asked
        };
        let message = std::slice::from_ref(&question.message);
        let bytes = letter::seal(&self.signer, &asked, message)?;
        count(&self.counters.put);
        self.objects.create(&asked_as(key), bytes).await?;
        let name = answered_as(key);
        let mut backoff = Backoff::new();
        let mut waited = Duration::ZERO;
        while waited < wait {
            if let Some(bytes) = self.get(&name).await? {
                match letter::open_as(&self.signer, &bytes, &answered, (self.wall)()) {
                    Ok(mut messages) => {
                        self.delete(&name);
                        return messages
                            .pop()
                            .ok_or(MailError::Gone("the coordinator's answer is empty"));
                    }
                    Err(error) => self.refuse(&name, &error.to_string()),
                }
            }
            let pause = backoff.missed();
            tokio::time::sleep(pause).await;
            waited += pause;
        }
        self.delete(&asked_as(key));
        Err(MailError::Gone("the coordinator does not answer"))
    }

    /// Reads what guests have asked in this epoch. Only here names are listed: a guest has no number that
    /// its letter could be looked for under.
    pub async fn questions(
        &self,
        epoch: u64,
        answered: &mut Answered,
    ) -> Result<Vec<Question>, MailError> {
        count(&self.counters.get);
        let found = self.objects.list("asked/").await?;
        let mut questions = Vec::new();
        for (name, _) in found.into_iter().take(QUESTIONS_MAX) {
            let Some(bytes) = self.get(&name).await? else {
                continue;
            };
            let question = self.question(&name, &bytes, epoch);
            match question.filter(|question| answered.is_new(question.key)) {
                Some(question) => {
                    questions.push(question);
                    self.delete(&name);
                }
                None => self.refuse(&name, "no question of a guest, or one that was read before"),
            }
        }
        Ok(questions)
    }

    fn question(&self, name: &str, bytes: &[u8], epoch: u64) -> Option<Question> {
        let (header, mut messages) = letter::open(&self.signer, bytes, (self.wall)()).ok()?;
        let expected = Header {
            from: NodeId::Guest,
            to: NodeId::Coordinator,
            epoch,
            number: header.number,
        };
        let message = messages.pop()?;
        let right = header == expected && name == asked_as(header.number) && messages.is_empty();
        right.then_some(Question {
            key: header.number,
            message,
        })
    }

    /// Answers a guest.
    pub async fn answer(&self, epoch: u64, key: u64, message: Vec<u8>) -> Result<(), MailError> {
        let header = Header {
            from: NodeId::Coordinator,
            to: NodeId::Guest,
            epoch,
            number: key,
        };
        let bytes = letter::seal(&self.signer, &header, &[message])?;
        count(&self.counters.put);
        Ok(self.objects.put(&answered_as(key), bytes).await?)
    }
}

impl Answered {
    fn is_new(&mut self, key: u64) -> bool {
        self.0.len() < ANSWERED_MAX && self.0.insert(key)
    }
}

fn asked_as(key: u64) -> String {
    format!("asked/{key:016x}")
}

fn answered_as(key: u64) -> String {
    format!("answered/{key:016x}")
}
