//! A door for fuzzers: what a node reads of streams and datagrams before it knows what they are.
//! Decides nothing.

use std::net::{Ipv4Addr, SocketAddr};

use super::stun;
use super::wire::{OPENING_LEN_MAX, Opening, RESPONSE_LEN, Response};
use crate::frame;

/// Reads the first frame of a stream, as whoever is asked and as whoever asks. What is understood means
/// what it says.
pub fn stream(bytes: &[u8]) {
    if let Ok((kind, payload, _)) = frame::decode(bytes, OPENING_LEN_MAX)
        && let Ok(opening) = Opening::decode(kind, payload)
    {
        assert_eq!(opening.encode(), (kind, payload.to_vec()));
    }
    if let Ok((kind, payload, _)) = frame::decode(bytes, RESPONSE_LEN)
        && let Ok(response @ Response::Found { .. }) = Response::decode(kind, payload)
    {
        assert_eq!(response.encode(), payload);
    }
}

/// Reads a datagram, as a server of STUN and as whoever asked one.
pub fn datagram(bytes: &[u8]) {
    stun::answer(bytes);
    let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    if let Some(answer) = stun::serve(bytes, from) {
        assert!(answer.len() <= 2 * bytes.len(), "an answer amplifies");
    }
}
