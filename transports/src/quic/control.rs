//! Control channels: bounded messages in order, both ways. Never knows what they say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{RecvStream, SendStream};
use tokio::sync::mpsc;

use super::error::ChannelError;
use super::links::LinkUse;
use super::wire::kind;
use crate::frame::{self, FrameError, FrameReader};
use crate::identity::NodeId;

/// Control goes before payload on the connection that both share.
const PRIORITY: i32 = 1;

/// A control channel with a peer that proved who it is.
pub struct ControlChannel {
    sender: ControlSender,
    receiver: ControlReceiver,
}

impl ControlChannel {
    pub(super) fn new(
        link: LinkUse,
        (send, recv): (SendStream, RecvStream),
        bytes_max: usize,
    ) -> Self {
        // Fails only on a stream that is closed already, which the first send will tell.
        let _ = send.set_priority(PRIORITY);
        let link = Arc::new(link);
        let reader = FrameReader::new(bytes_max);
        Self {
            sender: ControlSender {
                link: link.clone(),
                send,
                bytes_max,
                midway: false,
            },
            receiver: ControlReceiver { link, recv, reader },
        }
    }

    /// Returns who is on the other side.
    pub fn peer(&self) -> NodeId {
        self.sender.peer()
    }

    /// Returns where the other side is now.
    pub fn remote_addr(&self) -> SocketAddr {
        self.sender.remote_addr()
    }

    /// Splits the channel; it stays open until both halves are dropped.
    pub fn split(self) -> (ControlSender, ControlReceiver) {
        (self.sender, self.receiver)
    }
}

impl std::fmt::Debug for ControlChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ControlChannel({} at {})",
            self.peer(),
            self.remote_addr()
        )
    }
}

/// The half that sends.
pub struct ControlSender {
    link: Arc<LinkUse>,
    send: SendStream,
    bytes_max: usize,
    midway: bool,
}

impl ControlSender {
    /// Sends a message; waits while the other side does not read. A call that is dropped midway
    /// breaks the channel.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), ChannelError> {
        if self.midway {
            return Err(ChannelError::Broken);
        }
        let limit = self.bytes_max;
        if message.len() > limit {
            return Err(FrameError::TooLong {
                limit,
                got: message.len(),
            }
            .into());
        }
        self.midway = true;
        frame::write(&mut self.send, kind::CONTROL_MESSAGE, message).await?;
        self.midway = false;
        Ok(())
    }

    /// Ends this direction and waits, up to `wait`, until the other side has all of it. Dropping
    /// the sender ends it too, without waiting.
    pub async fn finish(mut self, wait: Duration) -> Result<(), ChannelError> {
        let lost = |error: &dyn std::fmt::Display| ChannelError::Lost(error.to_string());
        self.send.finish().map_err(|error| lost(&error))?;
        match tokio::time::timeout(wait, self.send.stopped()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(lost(&error)),
            Err(error) => Err(lost(&error)),
        }
    }

    /// Returns who is on the other side.
    pub fn peer(&self) -> NodeId {
        self.link.link().peer
    }

    /// Returns where the other side is now.
    pub fn remote_addr(&self) -> SocketAddr {
        self.link.link().conn.remote_address()
    }
}

/// The half that receives.
pub struct ControlReceiver {
    link: Arc<LinkUse>,
    recv: RecvStream,
    reader: FrameReader,
}

impl ControlReceiver {
    /// Receives the next message; `None` when the other side ended the channel, an error when it
    /// is lost. A call that is dropped midway loses nothing.
    pub async fn recv(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        match self.reader.read(&mut self.recv).await? {
            Some((kind::CONTROL_MESSAGE, message)) => Ok(Some(message)),
            Some(_) => Err(FrameError::Malformed("not a control message").into()),
            None => Ok(None),
        }
    }

    /// Returns who is on the other side.
    pub fn peer(&self) -> NodeId {
        self.link.link().peer
    }
}

/// Control channels that peers open to this node. A node that drops it takes none.
#[derive(Debug)]
pub struct Incoming(pub(super) mpsc::Receiver<ControlChannel>);

impl Incoming {
    /// Waits for the next channel; `None` when the node is closed.
    pub async fn next(&mut self) -> Option<ControlChannel> {
        self.0.recv().await
    }
}
