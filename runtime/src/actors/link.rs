//! What carries control between a worker and its coordinator. Whoever sends or receives does not know
//! which way it goes, and an actor never waits for a network: it feeds a bounded queue.

use std::net::SocketAddr;

use peerwren_transports::frame::FrameError;
use peerwren_transports::identity::NodeId;
use peerwren_transports::mailbox::{MailError, MailReceiver, MailSender, PostOffice, Pulse};
use peerwren_transports::quic::{self, ChannelError, ControlChannel, DialError, Node};
use tokio::sync::mpsc;

use super::worker::WorkerError;
use crate::options::ControlChoice;

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

impl Link {
    /// A way through the object store.
    pub(super) fn by_mail(peer: NodeId, sender: MailSender, receiver: MailReceiver) -> Self {
        Self {
            peer,
            observed: None,
            sender: ControlSender::Mailbox(sender),
            receiver: ControlReceiver::Mailbox(receiver),
        }
    }

    /// Whether it goes through the object store.
    pub(super) fn is_by_mail(&self) -> bool {
        matches!(self.receiver, ControlReceiver::Mailbox(_))
    }
}

/// Why a link has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Mail(#[from] MailError),
}

/// The half that sends.
pub(crate) enum ControlSender {
    Quic(quic::ControlSender),
    Mailbox(MailSender),
}

impl ControlSender {
    /// Where the other side is, if it is reached by UDP.
    pub(crate) fn remote_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Quic(sender) => Some(sender.remote_addr()),
            Self::Mailbox(_) => None,
        }
    }

    /// Sends messages in order; waits while the other side does not take them.
    pub(crate) async fn send(&mut self, messages: &[Vec<u8>]) -> Result<(), LinkError> {
        match self {
            Self::Quic(sender) => {
                for message in messages {
                    sender.send(message).await?;
                }
                Ok(())
            }
            Self::Mailbox(sender) => Ok(sender.send(messages).await?),
        }
    }

    /// Ends the link in good order. A stream ends by itself when it is dropped.
    async fn finish(self) {
        if let Self::Mailbox(sender) = self
            && let Err(error) = sender.finish().await
        {
            tracing::debug!(%error, "the other side is not told that the link ends");
        }
    }
}

/// The half that receives.
pub(crate) enum ControlReceiver {
    Quic(quic::ControlReceiver),
    Mailbox(MailReceiver),
}

impl ControlReceiver {
    /// The next message; `None` when the other side has ended the link.
    pub(crate) async fn recv(&mut self) -> Result<Option<Vec<u8>>, LinkError> {
        match self {
            Self::Quic(receiver) => Ok(receiver.recv().await?),
            Self::Mailbox(receiver) => Ok(receiver.recv().await?),
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
        if let Err(error) = sender.send(&messages).await {
            tracing::debug!(%error, "a link ends");
            return;
        }
    }
    sender.finish().await;
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
        Err(DialError::Protocol(error @ FrameError::VersionSkew { .. })) => Err(
            WorkerError::Protocol(format!("the coordinator at {}: {error}", addresses())),
        ),
        Err(error) => Err(unreachable(error.to_string())),
    }
}

/// Reaches the coordinator in the ways that may be tried: by packets, and where none gets through, by
/// mail through the run's store.
pub(crate) async fn reach(
    node: &Node,
    coordinators: &[String],
    control: ControlChoice,
    mail: impl AsyncFnOnce() -> Result<PostOffice, String>,
) -> Result<Link, WorkerError> {
    let silent = match control {
        ControlChoice::Quic => return dial(node, coordinators).await,
        ControlChoice::Store => String::new(),
        ControlChoice::Auto => match dial(node, coordinators).await {
            Err(error @ WorkerError::Dial { .. }) => {
                tracing::info!(%error, "tries the store instead");
                format!("{error}; ")
            }
            dialed => return dialed,
        },
    };
    let unreachable = |error: String| WorkerError::Dial {
        addresses: "the store".to_owned(),
        error: format!("{silent}{error}"),
    };
    let office = mail().await.map_err(unreachable)?;
    let pulse = office.pulse().await;
    let pulse = pulse.map_err(|error| unreachable(error.to_string()))?;
    let Pulse { epoch, .. } = pulse
        .ok_or_else(|| unreachable("no coordinator has shown a sign of life there".to_owned()))?;
    let peer = NodeId::Coordinator;
    Ok(Link::by_mail(
        peer,
        office.sender(peer, epoch),
        office.receiver(peer, epoch),
    ))
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
