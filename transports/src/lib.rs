//! Blocks, frames, identities, QUIC and object stores of peerwren.
//!
//! This crate carries bytes between workers and stores and proves who sent them. It never knows
//! tasks, the meaning of a message, or arithmetic.
//!
//! ```text
//! block     BlockKey names a block; Block is its bytes (shared, immutable), BlockBuf before that
//! frame     bounded, versioned frames on any byte stream
//! identity  the run's certificate authority and its nodes' identities
//! mailbox   control through an object store, where no packet gets through
//! path      addresses by which nodes may reach each other
//! punch     finding paths through NATs: a state machine, driven by quic
//! quic      one UDP socket a node: control channels and block exchange
//! serving   who is sent a block next, who waits, who is referred to another: a state machine, driven by quic
//! store     where blocks and other objects rest: memory, a folder, or a bucket of S3
//! ```
//!
//! Two nodes of a run, and a block that goes from one to the other. Each proves that it belongs to the
//! run, and what comes must have the length and the digest that the receiver expects:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::SystemTime;
//!
//! use peerwren_transports::block::{Block, BlockBuf, BlockKey, Indices};
//! use peerwren_transports::identity::{Authority, NodeId};
//! use peerwren_transports::quic::{BlockSource, Expected, Limits, Node};
//!
//! struct Holds(BlockKey, Block);
//!
//! impl BlockSource for Holds {
//!     fn get(&self, key: &BlockKey) -> Option<Block> {
//!         (*key == self.0).then(|| self.1.clone())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (run, now) = (7, SystemTime::now());
//! let authority = Authority::new(run, now)?;
//! let key = BlockKey::new(run, 0, Indices::new(&[3, 1]).expect("at most 8 indices of 32 bits"));
//! let block = BlockBuf::from_bytes(b"the bytes of a tile").freeze();
//! let expected = Expected { len: block.len().into(), digest: Some(block.digest()) };
//! let holds = Arc::new(Holds(key, block));
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let got = runtime.block_on(async {
//!     let here = "127.0.0.1:0".parse()?;
//!     let bind = |worker| -> Result<_, Box<dyn std::error::Error>> {
//!         let identity = authority.issue(NodeId::Worker(worker), now)?;
//!         Ok(Node::bind(&identity, here, holds.clone(), Limits::default())?)
//!     };
//!     let ((server, _control), (client, _)) = (bind(0)?, bind(1)?);
//!     let fetched = client.fetch(NodeId::Worker(0), server.local_addr(), key, Some(expected));
//!     Ok::<_, Box<dyn std::error::Error>>(fetched.await?)
//! })?;
//! assert_eq!(got.as_bytes(), b"the bytes of a tile");
//! # Ok(())
//! # }
//! ```
//!
//! Everything that a peer can make a node hold or wait for is bounded, each bound with its sum in
//! [`quic::Limits`]. Stores write a block whole or not at all; [`store::BlockStore`] checks its length,
//! the caller its digest.

pub mod block;
pub mod frame;
pub mod identity;
pub mod mailbox;
pub mod path;
pub mod punch;
pub mod quic;
mod random;
pub mod serving;
pub mod store;
