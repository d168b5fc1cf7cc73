//! A letter's bytes: who to whom, which one, what, and the proof. Pure: time is passed in.
//!
//! ```text
//! frame BODY       run u64, from u64, to u64, epoch u64, number u64, then a frame MESSAGE for each message
//! frame PROOF      the sender's certificate
//! frame SIGNATURE  of the body's payload, under the certificate's key
//! ```

use std::time::SystemTime;

use super::MailError;
use crate::frame::{self, FrameError};
use crate::identity::{IdentityError, NodeId, Signer};

/// Bytes of messages after which a letter takes no more: control messages have at most 8 MiB, so that a
/// letter of one that fits and one more stays below 16 MiB.
pub(super) const MESSAGES_BYTES: usize = 8 << 20;
/// Longest message.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Longest letter: 16 MiB of messages, a frame's header for each of 65,536, a certificate, a signature.
pub(super) const LETTER_BYTES_MAX: usize =
    (16 << 20) + MESSAGES_MAX * frame::HEADER_LEN + PROOF_MAX;
/// Most messages of a letter.
pub(super) const MESSAGES_MAX: usize = 65_536;
/// A certificate is under 2 KiB, a signature under 80 bytes.
const PROOF_MAX: usize = 8 << 10;

const BODY: u8 = 64;
const PROOF: u8 = 65;
const SIGNATURE: u8 = 66;
const MESSAGE: u8 = 67;

/// Which letter it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) epoch: u64,
    pub(super) number: u64,
}

impl Header {
    /// The first letter of a link.
    pub(super) fn first(from: NodeId, to: NodeId, epoch: u64) -> Self {
        Self {
            from,
            to,
            epoch,
            number: 0,
        }
    }
}

/// Why bytes are not the letter that is waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LetterError {
    /// They are no letter at all.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Who is named has not signed it.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It belongs elsewhere: another run, another pair, an older epoch, another place in the order.
    #[error("it is another letter")]
    Another,
}

/// Writes a letter.
pub(super) fn seal(
    signer: &Signer,
    header: &Header,
    messages: &[Vec<u8>],
) -> Result<Vec<u8>, MailError> {
    let mut body = Vec::new();
    let fields = [
        signer.run(),
        code(header.from),
        code(header.to),
        header.epoch,
        header.number,
    ];
    fields
        .iter()
        .for_each(|field| body.extend(field.to_le_bytes()));
    for message in messages {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(too_long(message.len()));
        }
        frame::encode(MESSAGE, message, &mut body).map_err(|_| too_long(message.len()))?;
    }
    prove(signer, &body)
}

/// Makes a letter of its body: the sender's certificate and signature follow it.
pub(super) fn prove(signer: &Signer, body: &[u8]) -> Result<Vec<u8>, MailError> {
    let signature = signer.sign(body)?;
    let mut letter = Vec::with_capacity(body.len() + PROOF_MAX);
    let parts = [
        (BODY, body),
        (PROOF, signer.certificate()),
        (SIGNATURE, &signature),
    ];
    for (kind, part) in parts {
        frame::encode(kind, part, &mut letter).map_err(|_| too_long(part.len()))?;
    }
    Ok(letter)
}

fn too_long(got: usize) -> MailError {
    MailError::TooLong {
        limit: MESSAGE_BYTES_MAX,
        got,
    }
}

/// Reads a letter that a node of the signer's run has signed.
pub(super) fn open(
    signer: &Signer,
    bytes: &[u8],
    now: SystemTime,
) -> Result<(Header, Vec<Vec<u8>>), LetterError> {
    let (body, rest) = part(bytes, BODY, LETTER_BYTES_MAX)?;
    let (certificate, rest) = part(rest, PROOF, PROOF_MAX)?;
    let (signature, rest) = part(rest, SIGNATURE, PROOF_MAX)?;
    if !rest.is_empty() {
        return Err(FrameError::Malformed("something follows the signature").into());
    }
    let (fields, mut rest) = body
        .split_first_chunk::<40>()
        .ok_or(FrameError::Truncated)?;
    let mut field = fields.chunks_exact(8).map(|bytes| {
        let mut word = [0; 8];
        word.copy_from_slice(bytes);
        u64::from_le_bytes(word)
    });
    let mut next = || field.next().ok_or(FrameError::Truncated);
    let run = next()?;
    let node = |code| named(code).ok_or(FrameError::Malformed("no such node"));
    let header = Header {
        from: node(next()?)?,
        to: node(next()?)?,
        epoch: next()?,
        number: next()?,
    };
    if run != signer.run() {
        return Err(LetterError::Another);
    }
    signer.verify(header.from, certificate, body, signature, now)?;
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (message, more) = part(rest, MESSAGE, MESSAGE_BYTES_MAX)?;
        if messages.len() == MESSAGES_MAX {
            return Err(FrameError::Malformed("more messages than a letter holds").into());
        }
        messages.push(message.to_vec());
        rest = more;
    }
    Ok((header, messages))
}

/// Reads the letter that is waited for, and no other.
pub(super) fn open_as(
    signer: &Signer,
    bytes: &[u8],
    expected: &Header,
    now: SystemTime,
) -> Result<Vec<Vec<u8>>, LetterError> {
    let (header, messages) = open(signer, bytes, now)?;
    if header == *expected {
        Ok(messages)
    } else {
        Err(LetterError::Another)
    }
}

fn part(bytes: &[u8], expected: u8, limit: usize) -> Result<(&[u8], &[u8]), FrameError> {
    let (kind, payload, rest) = frame::decode(bytes, limit)?;
    if kind != expected {
        return Err(FrameError::Malformed("not a letter's part"));
    }
    Ok((payload, rest))
}

fn code(node: NodeId) -> u64 {
    match node {
        NodeId::Coordinator => 0,
        NodeId::Guest => 1,
        NodeId::Worker(number) => 2 + u64::from(number),
    }
}

fn named(code: u64) -> Option<NodeId> {
    match code {
        0 => Some(NodeId::Coordinator),
        1 => Some(NodeId::Guest),
        _ => u32::try_from(code - 2).ok().map(NodeId::Worker),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Authority;
    use proptest::prelude::*;
    use std::time::Duration;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
    }

    fn signer(authority: &Authority, node: NodeId) -> Signer {
        authority.issue(node, now()).unwrap().signer().unwrap()
    }

    const HEADER: Header = Header {
        from: NodeId::Worker(3),
        to: NodeId::Coordinator,
        epoch: 9,
        number: 4,
    };

    #[test]
    fn only_the_very_letter_is_taken() {
        let authority = Authority::new(5, now()).unwrap();
        let [reader, writer, other] = [NodeId::Coordinator, NodeId::Worker(3), NodeId::Worker(4)]
            .map(|node| signer(&authority, node));
        let messages = [b"one".to_vec(), Vec::new(), vec![7; 100_000]];
        let sealed = |signer: &Signer, header| seal(signer, &header, &messages).unwrap();
        let good = sealed(&writer, HEADER);
        let read = |bytes: &[u8]| open_as(&reader, bytes, &HEADER, now());
        assert_eq!(read(&good).unwrap(), messages);
        let another = |header| matches!(read(&sealed(&writer, header)), Err(LetterError::Another));
        // Replayed at another place, of an older epoch, to somebody else.
        assert!(another(Header {
            number: 3,
            ..HEADER
        }));
        assert!(another(Header { epoch: 8, ..HEADER }));
        assert!(another(Header {
            to: NodeId::Worker(4),
            ..HEADER
        }));
        // Signed by another node in its name, by another run, by another authority of this run.
        assert!(read(&sealed(&other, HEADER)).is_err());
        let other_run = Authority::new(6, now()).unwrap();
        assert!(read(&sealed(&signer(&other_run, HEADER.from), HEADER)).is_err());
        let impostor = Authority::new(5, now()).unwrap();
        assert!(read(&sealed(&signer(&impostor, HEADER.from), HEADER)).is_err());
        // Long after.
        let late = now() + Duration::from_secs(30 * 24 * 3600);
        assert!(open_as(&reader, &good, &HEADER, late).is_err());
        // Cut anywhere near an edge, longer, or changed in one place.
        for len in (0..200).chain(good.len() - 700..good.len()) {
            assert!(read(&good[..len]).is_err(), "cut to {len}");
        }
        assert!(read(&[&good[..], b"x"].concat()).is_err());
        for place in (0..200).chain(good.len() - 100..good.len()) {
            let mut changed = good.clone();
            changed[place] ^= 1;
            assert!(read(&changed).is_err(), "changed at {place}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let authority = Authority::new(5, now()).unwrap();
            let reader = signer(&authority, NodeId::Coordinator);
            prop_assert!(open(&reader, &bytes, now()).is_err());
        }
    }
}
