//! Asking a coordinator with the run's token, over a connection that both sides have proved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{Block, BlockKey};
use peerwren_transports::identity::NodeIdentity;
use peerwren_transports::mailbox::Question;
use peerwren_transports::quic::{BlockSource, Node};
use peerwren_transports::store::{BlockStore, Place};
use tokio::time::timeout;

use super::token::Token;
use crate::actors::link::{Link, dial};
use crate::actors::mail;
use crate::actors::worker::{CLOSE_WAIT, WorkerError, limits};
use crate::control;
use crate::control::joining::{FromGuest, ToGuest};

/// How long the coordinator may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer by mail may take: the coordinator looks for questions every 2 s, and its store may
/// be slow.
const MAIL_TIMEOUT: Duration = Duration::from_secs(20);

/// A guest at a coordinator.
pub(crate) struct Asking {
    node: Node,
    link: Link,
}

impl Asking {
    /// Reaches the coordinator at the first of its addresses that answers.
    pub(crate) async fn open(
        identity: &NodeIdentity,
        coordinators: &[String],
        listen: SocketAddr,
    ) -> Result<Self, WorkerError> {
        // It serves and fetches no blocks, and has one connection.
        let (node, _) = Node::bind(identity, listen, Arc::new(Nothing), limits(0, 1))
            .map_err(|error| WorkerError::Bind(error.to_string()))?;
        let link = dial(&node, coordinators).await?;
        Ok(Self { node, link })
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&mut self, question: &FromGuest) -> Result<ToGuest, WorkerError> {
        let gone = |_| WorkerError::CoordinatorGone;
        let question = [control::encode(question)];
        let Link {
            sender, receiver, ..
        } = &mut self.link;
        sender.send(&question).await.map_err(gone)?;
        let answer = timeout(ANSWER_TIMEOUT, receiver.recv()).await;
        let answer = answer.map_err(|_| WorkerError::CoordinatorGone)?;
        let bytes = answer.map_err(gone)?.ok_or(WorkerError::CoordinatorGone)?;
        control::decode(&bytes).map_err(|error| WorkerError::Protocol(error.to_string()))
    }

    /// The asker's own node, and where the coordinator is.
    pub(crate) fn way(&self) -> (&Node, Option<SocketAddr>) {
        (&self.node, self.link.sender.remote_addr())
    }

    /// Leaves, so that the socket's address is free again.
    pub(crate) async fn close(self) {
        drop(self.link);
        self.node.close(CLOSE_WAIT).await;
    }
}

/// Asks through the run's store, where no packet gets through.
pub(crate) async fn ask_by_mail(
    token: &Token,
    key: u64,
    question: &FromGuest,
) -> Result<ToGuest, WorkerError> {
    let unreachable = |error: &dyn std::fmt::Display| WorkerError::Dial {
        addresses: format!("the store {}", token.store),
        error: error.to_string(),
    };
    let place: Place = token.store.parse().map_err(|e| unreachable(&e))?;
    let store = BlockStore::join(&place)
        .await
        .map_err(|e| unreachable(&e))?;
    let run = store.objects(token.identity.run());
    let office = mail::office(&run, &token.identity).map_err(WorkerError::Protocol)?;
    let pulse = office.pulse().await.map_err(|e| unreachable(&e))?;
    let pulse =
        pulse.ok_or_else(|| unreachable(&"no coordinator has shown a sign of life there"))?;
    let question = Question {
        key,
        message: control::encode(question),
    };
    let answer = office.ask(pulse.epoch, &question, MAIL_TIMEOUT).await;
    let answer = answer.map_err(|e| unreachable(&e))?;
    control::decode(&answer).map_err(|error| WorkerError::Protocol(error.to_string()))
}

struct Nothing;

impl BlockSource for Nothing {
    fn get(&self, _: &BlockKey) -> Option<Block> {
        None
    }
}
