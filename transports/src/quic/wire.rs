//! What nodes say at the start of a stream: pure encoding and decoding, validated.

use crate::block::{BlockKey, Digest, Indices, RANK_MAX};
use crate::frame::FrameError;

/// The longest first frame of a stream: a request that was made in vain elsewhere, of
/// 1 + 4 + 8 + 2 + 1 + 8 x 4 = 48 bytes.
pub(super) const OPENING_LEN_MAX: usize = 16 + 4 * RANK_MAX;

/// The length of a block's response, before its payload.
pub(super) const RESPONSE_LEN: usize = 1 + 8 + 32 + 2 * SECRET_LEN;

/// The length of a door's name and of a ticket to it.
pub(super) const SECRET_LEN: usize = 16;

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
}

/// What a stream is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Control,
    Block(Wanted),
}

/// What is said with a request for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) key: BlockKey,
    /// The worker to which the other side referred this one, if that brought nothing.
    pub(super) in_vain: Option<u32>,
    /// Whether both sides are on one host, as far as this one knows.
    pub(super) same_host: bool,
}

/// The bits of a request's first byte.
const IN_VAIN: u8 = 1;
const SAME_HOST: u8 = 2;

impl Opening {
    pub(super) fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Control => (kind::CONTROL_OPEN, Vec::new()),
            Self::Block(Wanted {
                key,
                in_vain,
                same_host,
            }) => {
                let mut payload = Vec::with_capacity(OPENING_LEN_MAX);
                let flags = in_vain.map_or(0, |_| IN_VAIN) | if *same_host { SAME_HOST } else { 0 };
                payload.push(flags);
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
                (kind::BLOCK_REQUEST, payload)
            }
        }
    }

    pub(super) fn decode(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        match kind {
            kind::CONTROL_OPEN if payload.is_empty() => Ok(Self::Control),
            kind::BLOCK_REQUEST => parse_wanted(payload)
                .map(Self::Block)
                .ok_or(FrameError::Malformed("not a request for a block")),
            _ => Err(FrameError::Malformed("not the start of a stream")),
        }
    }
}

fn parse_wanted(payload: &[u8]) -> Option<Wanted> {
    let (&flags, mut rest) = payload.split_first()?;
    if flags & !(IN_VAIN | SAME_HOST) != 0 {
        return None;
    }
    let mut in_vain = None;
    if flags & IN_VAIN != 0 {
        let (&worker, key) = rest.split_first_chunk()?;
        (in_vain, rest) = (Some(u32::from_le_bytes(worker)), key);
    }
    Some(Wanted {
        key: parse_key(rest)?,
        in_vain,
        same_host: flags & SAME_HOST != 0,
    })
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
    /// It follows on the stream, or is handed over at a door.
    Found {
        len: u64,
        digest: Digest,
        at: Option<Admission>,
    },
    NotFound,
    Busy,
    /// The worker of this number has it.
    Refer(u32),
}

/// Where a block is handed over, and to whoever shows what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    pub(super) door: [u8; SECRET_LEN],
    pub(super) ticket: [u8; SECRET_LEN],
}

impl Response {
    pub(super) fn encode(&self) -> [u8; RESPONSE_LEN] {
        let mut payload = [0; RESPONSE_LEN];
        match self {
            Self::Found { len, digest, at } => {
                payload[1..9].copy_from_slice(&len.to_le_bytes());
                payload[9..41].copy_from_slice(&digest.0);
                if let Some(Admission { door, ticket }) = at {
                    payload[0] = 4;
                    payload[41..57].copy_from_slice(door);
                    payload[57..].copy_from_slice(ticket);
                }
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
        if kind != kind::BLOCK_RESPONSE || payload.len() != RESPONSE_LEN {
            return Err(wrong);
        }
        Self::parse(payload).ok_or(wrong)
    }

    fn parse(payload: &[u8]) -> Option<Self> {
        let (&status, rest) = payload.split_first()?;
        let (&len, after) = rest.split_first_chunk()?;
        let (&worker, _) = rest.split_first_chunk()?;
        let (&digest, after) = after.split_first_chunk()?;
        let (&door, ticket) = after.split_first_chunk()?;
        let found = |at| Self::Found {
            len: u64::from_le_bytes(len),
            digest: Digest(digest),
            at,
        };
        match status {
            0 => Some(found(None)),
            1 => Some(Self::NotFound),
            2 => Some(Self::Busy),
            3 => Some(Self::Refer(u32::from_le_bytes(worker))),
            4 => {
                let ticket = ticket.try_into().ok()?;
                Some(found(Some(Admission { door, ticket })))
            }
            _ => None,
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
            same_host: bool,
        ) {
            let key = BlockKey::new(run, matrix, Indices::from_i32(&at).unwrap());
            let opening = Opening::Block(Wanted { key, in_vain, same_host });
            let (kind, payload) = opening.encode();
            prop_assert!(payload.len() <= OPENING_LEN_MAX);
            prop_assert_eq!(Opening::decode(kind, &payload).unwrap(), opening);
            for len in 0..payload.len() {
                prop_assert!(Opening::decode(kind, &payload[..len]).is_err());
            }
        }

        #[test]
        fn garbage_is_an_error_or_means_what_it_says(kind in 0u8..9, payload in prop::collection::vec(0u8..12, 0..80)) {
            if let Ok(opening) = Opening::decode(kind, &payload) {
                prop_assert_eq!(opening.encode(), (kind, payload.clone()));
            }
            if let Ok(response @ Response::Found { at, .. }) = Response::decode(kind, &payload) {
                let said = if at.is_some() { RESPONSE_LEN } else { 41 };
                prop_assert_eq!(&response.encode()[..said], &payload[..said]);
            }
            if let Ok(response @ Response::Refer(_)) = Response::decode(kind, &payload) {
                prop_assert_eq!(&response.encode()[..5], &payload[..5]);
            }
        }
    }

    #[test]
    fn responses_survive() {
        let found = |at| Response::Found {
            len: 1 << 40,
            digest: Digest::of(b"x"),
            at,
        };
        let handed = found(Some(Admission {
            door: [7; SECRET_LEN],
            ticket: [8; SECRET_LEN],
        }));
        let refer = Response::Refer(0x0403_0201);
        for response in [
            found(None),
            handed,
            Response::NotFound,
            Response::Busy,
            refer,
        ] {
            let payload = response.encode();
            assert_eq!(
                Response::decode(kind::BLOCK_RESPONSE, &payload).unwrap(),
                response
            );
            assert!(Response::decode(kind::BLOCK_RESPONSE, &payload[1..]).is_err());
            assert!(Response::decode(kind::REFUSED, &payload).is_err());
        }
        assert!(Response::decode(kind::BLOCK_RESPONSE, &[5; RESPONSE_LEN]).is_err());
    }
}
