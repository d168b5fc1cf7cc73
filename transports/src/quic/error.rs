//! What can go wrong between nodes, by what the caller can do about it.

use std::io;
use std::net::SocketAddr;

use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use crate::frame::{FrameError, FrameIoError};
use crate::identity::{IdentityError, NodeId};

/// Why a node could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The socket cannot be had: choose another address.
    #[error("cannot bind UDP {addr}: {source}")]
    Socket {
        /// The address asked for.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The identity does not make a working TLS configuration.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is no tokio runtime to run on.
    #[error("a node must be bound inside a tokio runtime")]
    NoRuntime,
    /// A limit is beyond what the protocol can say.
    #[error("the limit {0} is out of range")]
    Limit(&'static str),
}

/// Why a node could not be reached. Cheap to clone: all who wait for one dial get it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody answered in time.
    #[error("no answer within the handshake time-out")]
    TimedOut,
    /// Somebody answered who is not the node asked for, or who does not take this one for a node
    /// of its run.
    #[error("refused: {0}")]
    Refused(String),
    /// The other side speaks another version, or something else altogether.
    #[error(transparent)]
    Protocol(FrameError),
    /// All connections that this node may have are in use.
    #[error("all connections are in use")]
    Crowded,
    /// The connection was lost again before it could be used.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The address cannot be dialed.
    #[error("{0} cannot be dialed")]
    Address(SocketAddr),
    /// This node is closed.
    #[error("this node is closed")]
    Closed,
}

/// Why a block did not come from a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The peer cannot be reached, or was lost midway.
    #[error("the peer is gone: {0}")]
    PeerGone(String),
    /// No packets get through to the peer, in either direction or in one: it may well have the block.
    #[error("there is no path to the peer")]
    NoPath,
    /// The peer does not have the block.
    #[error("the peer does not have the block")]
    NotFound,
    /// The peer serves as many as it may: ask another or later.
    #[error("the peer is busy")]
    Busy,
    /// The peer refers this node to another, which it has sent the block: ask that one, and if it does not
    /// deliver, the peer again.
    #[error("the peer refers to {0}")]
    Referred(NodeId),
    /// What came is not the block: its peer is not to be trusted with this block again.
    #[error("the peer sent a wrong block: {0}")]
    Corrupt(&'static str),
    /// The block did not come in time.
    #[error("the block did not come in time")]
    TimedOut,
    /// The block is longer than this node takes.
    #[error("a block of {got} bytes where at most {limit} are allowed")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// The announced length in bytes.
        got: u64,
    },
    /// The other side speaks another version, or something else altogether.
    #[error(transparent)]
    Protocol(FrameError),
}

/// Why a control channel ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The other side is gone: closed, killed, or cut off.
    #[error("the control channel is lost: {0}")]
    Lost(String),
    /// The other side sent what is no frame of ours.
    #[error(transparent)]
    Protocol(#[from] FrameError),
    /// An earlier send was dropped midway; what follows it could not be read.
    #[error("an earlier message was sent only in part")]
    Broken,
}

/// Why a connection is closed, as told to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCode {
    /// The node ends.
    Done = 0,
    /// Unused for long: dial again when needed.
    Idle = 1,
    /// Too many connections.
    Crowded = 2,
    /// The certificate names no node of this run.
    Stranger = 3,
}

impl CloseCode {
    pub(super) fn code(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }

    pub(super) fn reason(self) -> &'static [u8] {
        match self {
            Self::Done => b"done",
            Self::Idle => b"idle",
            Self::Crowded => b"crowded",
            Self::Stranger => b"not a node of this run",
        }
    }
}

/// Tells whether a connection that was used before ended in a way that a new dial may mend.
pub(super) fn worth_redialing(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            close.error_code == CloseCode::Idle.code()
                || close.error_code == CloseCode::Crowded.code()
        }
        // The peer has no memory of the connection: another process has its address.
        ConnectionError::Reset => true,
        _ => false,
    }
}

impl From<ConnectionError> for DialError {
    fn from(error: ConnectionError) -> Self {
        match &error {
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::LocallyClosed => Self::Closed,
            ConnectionError::ApplicationClosed(close)
                if close.error_code == CloseCode::Crowded.code() =>
            {
                Self::Crowded
            }
            ConnectionError::ApplicationClosed(close)
                if close.error_code == CloseCode::Stranger.code() =>
            {
                Self::Refused(error.to_string())
            }
            ConnectionError::TransportError(_) | ConnectionError::ConnectionClosed(_) => {
                Self::Refused(error.to_string())
            }
            _ => Self::Lost(error.to_string()),
        }
    }
}

impl From<DialError> for FetchError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Crowded => Self::Busy,
            DialError::Protocol(error) => Self::Protocol(error),
            other => Self::PeerGone(other.to_string()),
        }
    }
}

/// No path was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathError;

impl From<PathError> for FetchError {
    fn from(_: PathError) -> Self {
        Self::NoPath
    }
}

impl From<ConnectionError> for ChannelError {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<WriteError> for ChannelError {
    fn from(error: WriteError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<FrameIoError> for ChannelError {
    fn from(error: FrameIoError) -> Self {
        match error {
            FrameIoError::Frame(error) => Self::Protocol(error),
            FrameIoError::Io(error) => Self::Lost(error.to_string()),
        }
    }
}

impl From<ReadError> for FetchError {
    fn from(error: ReadError) -> Self {
        Self::PeerGone(error.to_string())
    }
}
