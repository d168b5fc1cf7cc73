//! One UDP socket a node: control channels and block exchange over QUIC.
//!
//! A connection joins a pair of nodes, whoever dialed; both prove who they are. It carries any
//! number of streams, and each stream is one of two things:
//!
//! ```text
//! control   open ->, <- accept, then frames both ways; their payload is opaque here
//! block     request(key) ->, <- response(status, length, digest) payload, end -> (the receipt)
//! ```
//!
//! Between nodes of one host the payload may cross at a door instead: a socket of the host, which a ticket opens.
//!
//! A node that has no turn for a request may refer it to a peer that has the block from it
//! ([`crate::serving`]); a request after that names whom it was referred to in vain.
//!
//! A node may be dialed at a known address, or a path to it found through NATs ([`crate::punch`]): probes
//! and STUN share the socket with QUIC, which always sets a bit that they never set.
//!
//! This module never decides which peer to ask, and never retries a fetch elsewhere: that is the
//! caller's ladder. Everything a peer can make this node hold or wait for is bounded by [`Limits`].

mod client;
mod control;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod limits;
mod links;
mod node;
mod paths;
mod race;
mod server;
mod socket;
mod stun;
mod wire;

pub use control::{ControlChannel, ControlReceiver, ControlSender, Incoming};
pub use error::{BindError, ChannelError, DialError, FetchError};
pub use limits::Limits;
pub use node::{BlockSource, Expected, Node, NodeStats};
pub use paths::PathEvent;
pub use stun::StunServer;
