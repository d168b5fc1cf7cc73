//! What carries control between a worker and its coordinator. Whoever sends or receives does not know
//! which way it goes, and an actor never waits for a network: it feeds a bounded queue.

use std::net::SocketAddr;

use peerwren_transports::identity::NodeId;
use peerwren_transports::quic::{self, ChannelError, ControlChannel, DialError, Node};
use tokio::sync::mpsc;

use super::worker::WorkerError;

/// Addresses of a coordinator that are tried: a few names with a few addresses each. At 250 ms between
/// the starts and 5 s for the last one a dial ends within 9 s.
const ADDRESSES_MAX: usize = 16;

/// A way between a coordinator and one node of its run.
pub(crate) struct Link {
    /// Who is on the other side, proved.
    pub(crate) peer: NodeId,
    /// Where it is seen, if it is seen at all.
    pub(crate) observed: Option<SocketAddr>,
    pub(crate) sender: ControlSender,
    pub(crate) receiver: ControlReceiver,
}

impl From<ControlChannel> for Link {
    fn from(channel: ControlChannel) -> Self {
        let seen = channel.remote_addr();
        let (peer, (sender, receiver)) = (channel.peer(), channel.split());
        Self {
            peer,
            observed: Some(SocketAddr::new(seen.ip().to_canonical(), seen.port())),
            sender: ControlSender::Quic(sender),
            receiver: ControlReceiver::Quic(receiver),
        }
    }
}

/// The half that sends.
pub(crate) enum ControlSender {
    Quic(quic::ControlSender),
}

impl ControlSender {
    /// Sends messages in order; waits while the other side does not take them.
    pub(crate) async fn send(&mut self, messages: &[Vec<u8>]) -> Result<(), ChannelError> {
        match self {
            Self::Quic(sender) => {
                for message in messages {
                    sender.send(message).await?;
                }
                Ok(())
            }
        }
    }
}

/// The half that receives.
pub(crate) enum ControlReceiver {
    Quic(quic::ControlReceiver),
}

impl ControlReceiver {
    /// The next message; `None` when the other side has ended the link.
    pub(crate) async fn recv(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        match self {
            Self::Quic(receiver) => receiver.recv().await,
        }
    }
}

/// Sends what is queued, in order, until the queue ends or the other side is gone.
pub(super) async fn send_all(mut sender: ControlSender, mut waiting: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = waiting.recv().await {
        let mut messages = vec![message];
        while let Ok(message) = waiting.try_recv() {
            messages.push(message);
        }
        if sender.send(&messages).await.is_err() {
            return;
        }
    }
}

/// Reaches the coordinator at the first of its addresses that answers.
pub(crate) async fn dial(node: &Node, coordinators: &[String]) -> Result<Link, WorkerError> {
    let addresses = || coordinators.join(", ");
    let unreachable = |error: String| WorkerError::Dial {
        addresses: addresses(),
        error,
    };
    let found = resolve(coordinators).await.map_err(unreachable)?;
    let dialed = node.dial_control_any(&found, NodeId::Coordinator).await;
    match dialed {
        Ok(channel) => Ok(Link::from(channel)),
        Err(DialError::Refused(error)) => Err(WorkerError::Refused {
            addresses: addresses(),
            error,
        }),
        Err(error) => Err(unreachable(error.to_string())),
    }
}

/// The addresses behind `host:port` texts, each once, in their order.
pub(crate) async fn resolve(texts: &[String]) -> Result<Vec<SocketAddr>, String> {
    let mut addresses = Vec::new();
    let mut unknown = None;
    for text in texts {
        match tokio::net::lookup_host(text).await {
            Ok(found) => {
                for address in found {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
            }
            Err(error) => unknown = Some(format!("{}: {error}", text.escape_debug())),
        }
    }
    addresses.truncate(ADDRESSES_MAX);
    match unknown {
        Some(error) if addresses.is_empty() => Err(error),
        _ if addresses.is_empty() => Err("no address is known".to_owned()),
        _ => Ok(addresses),
    }
}
