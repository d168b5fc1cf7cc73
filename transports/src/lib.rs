//! Blocks, frames, identities, QUIC and object stores of peerwren.
//!
//! This crate carries bytes between workers and stores and proves who sent them. It never knows
//! tasks, the meaning of a message, or arithmetic.
//!
//! ```text
//! block     BlockKey names a block; Block is its bytes (shared, immutable), BlockBuf before that
//! frame     bounded, versioned frames on any byte stream
//! identity  the run's certificate authority and its nodes' identities
//! quic      one UDP socket a node: control channels and block exchange
//! store     where blocks rest: memory or a folder
//! ```

pub mod block;
pub mod frame;
pub mod identity;
pub mod quic;
pub mod store;
