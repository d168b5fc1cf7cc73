//! Asking a coordinator with the run's token, over a connection that both sides have proved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{Block, BlockKey};
use peerwren_transports::identity::NodeIdentity;
use peerwren_transports::quic::{BlockSource, Node};
use tokio::time::timeout;

use crate::actors::link::{Link, dial};
use crate::actors::worker::{CLOSE_WAIT, WorkerError, limits};
use crate::control;
use crate::control::joining::{FromGuest, ToGuest};

/// How long the coordinator may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

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

    /// Leaves, so that the socket's address is free again.
    pub(crate) async fn close(self) {
        drop(self.link);
        self.node.close(CLOSE_WAIT).await;
    }
}

struct Nothing;

impl BlockSource for Nothing {
    fn get(&self, _: &BlockKey) -> Option<Block> {
        None
    }
}
