//! What nodes say at the start of a stream: pure encoding and decoding, validated.

use crate::block::{BlockKey, Digest, Indices, RANK_MAX};
use crate::frame::FrameError;

/// The longest first frame of a stream: a request that was made in vain elsewhere, of
/// 4 + 8 + 2 + 1 + 8 x 4 = 47 bytes.
pub(super) const OPENING_LEN_MAX: usize = 15 + 4 * RANK_MAX;

/// The length of a block's response, before its payload.
pub(super) const RESPONSE_LEN: usize = 1 + 8 + 32;

/// The kinds of frames.
pub(super) mod kind {
    /// Asks for a control channel.
    pub(crate) const CONTROL_OPEN: u8 = 1;
    /// Grants it.
    pub(crate) const CONTROL_ACCEPT: u8 = 2;
    /// A message on a control channel.
    pub(crate) const CONTROL_MESSAGE: u8 = 3;
    /// Asks for a block.
    pub(crate) const BLOCK_REQUEST: u8 = 4;
    /// Answers it; the payload follows the frame.
    pub(crate) const BLOCK_RESPONSE: u8 = 5;
    /// Refuses whatever was asked for (and, like every frame, tells this side's version).
    pub(crate) const REFUSED: u8 = 6;
    /// Asks for a block again, after the worker of the number before its key was asked in vain.
    pub(crate) const BLOCK_REQUEST_AGAIN: u8 = 7;
}

/// What a stream is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Control,
    /// For a block; with the number of the worker to which the other side referred, if that brought nothing.
    Block(BlockKey, Option<u32>),
}

impl Opening {
    pub(super) fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Control => (kind::CONTROL_OPEN, Vec::new()),
            Self::Block(key, in_vain) => {
                let mut payload = Vec::with_capacity(OPENING_LEN_MAX);
                payload.extend(in_vain.iter().flat_map(|worker| worker.to_le_bytes()));
                payload.extend(key.run.to_le_bytes());
                payload.extend(key.matrix.to_le_bytes());
                payload.push(key.indices.len() as u8);
                payload.extend(
                    key.indices
                        .as_slice()
                        .iter()
                        .flat_map(|index| index.to_le_bytes()),
                );
                let kind = match in_vain {
                    None => kind::BLOCK_REQUEST,
                    Some(_) => kind::BLOCK_REQUEST_AGAIN,
                };
                (kind, payload)
            }
        }
    }

    pub(super) fn decode(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        match kind {
            kind::CONTROL_OPEN if payload.is_empty() => Ok(Self::Control),
            kind::BLOCK_REQUEST => decode_key(payload).map(|key| Self::Block(key, None)),
            kind::BLOCK_REQUEST_AGAIN => match payload.split_first_chunk() {
                Some((&worker, key)) => {
                    decode_key(key).map(|key| Self::Block(key, Some(u32::from_le_bytes(worker))))
                }
                None => Err(FrameError::Malformed("not a worker's number")),
            },
            _ => Err(FrameError::Malformed("not the start of a stream")),
        }
    }
}

fn decode_key(payload: &[u8]) -> Result<BlockKey, FrameError> {
    parse_key(payload).ok_or(FrameError::Malformed("not a block's key"))
}

fn parse_key(payload: &[u8]) -> Option<BlockKey> {
    let (&run, payload) = payload.split_first_chunk()?;
    let (&matrix, payload) = payload.split_first_chunk()?;
    let (&rank, payload) = payload.split_first()?;
    let (indices, []) = payload.as_chunks::<4>() else {
        return None;
    };
    let mut at = [0; RANK_MAX];
    if indices.len() != rank as usize || indices.len() > RANK_MAX {
        return None;
    }
    for (place, &index) in at.iter_mut().zip(indices) {
        *place = i32::from_le_bytes(index);
    }
    let indices = Indices::from_i32(&at[..rank as usize])?;
    Some(BlockKey::new(
        u64::from_le_bytes(run),
        u16::from_le_bytes(matrix),
        indices,
    ))
}

/// The answer to a block's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response {
    Found {
        len: u64,
        digest: Digest,
    },
    NotFound,
    Busy,
    /// The worker of this number has it.
    Refer(u32),
}

impl Response {
    pub(super) fn encode(&self) -> [u8; RESPONSE_LEN] {
        let mut payload = [0; RESPONSE_LEN];
        match self {
            Self::Found { len, digest } => {
                payload[1..9].copy_from_slice(&len.to_le_bytes());
                payload[9..].copy_from_slice(&digest.0);
            }
            Self::NotFound => payload[0] = 1,
            Self::Busy => payload[0] = 2,
            Self::Refer(worker) => {
                payload[0] = 3;
                payload[1..5].copy_from_slice(&worker.to_le_bytes());
            }
        }
        payload
    }

    pub(super) fn decode(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        let wrong = FrameError::Malformed("not the answer to a block's request");
        if kind == kind::REFUSED {
            return Err(FrameError::Malformed("the other side refused the request"));
        }
        let payload: &[u8; RESPONSE_LEN] = match payload.try_into() {
            Ok(payload) if kind == kind::BLOCK_RESPONSE => payload,
            _ => return Err(wrong),
        };
        let [status, l0, l1, l2, l3, l4, l5, l6, l7, digest @ ..] = *payload;
        match status {
            0 => {
                let len = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
                Ok(Self::Found {
                    len,
                    digest: Digest(digest),
                })
            }
            1 => Ok(Self::NotFound),
            2 => Ok(Self::Busy),
            3 => Ok(Self::Refer(u32::from_le_bytes([l0, l1, l2, l3]))),
            _ => Err(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_survive(
            run: u64,
            matrix: u16,
            at in prop::collection::vec(any::<i32>(), 0..=RANK_MAX),
            in_vain: Option<u32>,
        ) {
            let key = BlockKey::new(run, matrix, Indices::from_i32(&at).unwrap());
            let opening = Opening::Block(key, in_vain);
            let (kind, payload) = opening.encode();
            prop_assert!(payload.len() <= OPENING_LEN_MAX);
            prop_assert_eq!(Opening::decode(kind, &payload).unwrap(), opening);
            for len in 0..payload.len() {
                prop_assert!(Opening::decode(kind, &payload[..len]).is_err());
            }
        }

        #[test]
        fn garbage_is_an_error_or_means_what_it_says(kind in 0u8..9, payload in prop::collection::vec(0u8..12, 0..48)) {
            if let Ok(opening) = Opening::decode(kind, &payload) {
                prop_assert_eq!(opening.encode(), (kind, payload.clone()));
            }
            if let Ok(response @ Response::Found { .. }) = Response::decode(kind, &payload) {
                prop_assert_eq!(&response.encode()[..], &payload[..]);
            }
            if let Ok(response @ Response::Refer(_)) = Response::decode(kind, &payload) {
                prop_assert_eq!(&response.encode()[..5], &payload[..5]);
            }
        }
    }

    #[test]
    fn responses_survive() {
        let found = Response::Found {
            len: 1 << 40,
            digest: Digest::of(b"x"),
        };
        let refer = Response::Refer(0x0403_0201);
        for response in [found, Response::NotFound, Response::Busy, refer] {
            let payload = response.encode();
            assert_eq!(
                Response::decode(kind::BLOCK_RESPONSE, &payload).unwrap(),
                response
            );
            assert!(Response::decode(kind::BLOCK_RESPONSE, &payload[1..]).is_err());
            assert!(Response::decode(kind::REFUSED, &payload).is_err());
        }
        assert!(Response::decode(kind::BLOCK_RESPONSE, &[4; RESPONSE_LEN]).is_err());
    }
}
