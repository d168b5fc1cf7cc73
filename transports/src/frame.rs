//! Bounded, versioned frames on a byte stream. Never knows what a payload means.
//!
//! A frame is a header of 12 bytes, little endian, and a payload:
//!
//! ```text
//! "pwrn"  version u16  kind u8  0 u8  length u32  payload
//! ```
//!
//! Magic and version stay where they are in every version, so that two versions can tell each
//! other apart. The length is checked against the reader's limit before anything is allocated.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of the frames and of all that is said in them.
pub const VERSION: u16 = 1;

/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 12;

const MAGIC: [u8; 4] = *b"pwrn";

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The other side speaks another version: the two must be of one release.
    #[error("the other side speaks protocol version {theirs}, this one {ours}: use one release")]
    VersionSkew {
        /// The version here.
        ours: u16,
        /// The version in the frame.
        theirs: u16,
    },
    /// The payload is longer than the reader allows.
    #[error("a frame of {got} bytes where at most {limit} are allowed")]
    TooLong {
        /// The reader's limit in bytes.
        limit: usize,
        /// The announced length in bytes.
        got: usize,
    },
    /// The bytes end within a frame.
    #[error("the bytes end within a frame")]
    Truncated,
    /// The bytes are no frame of ours.
    #[error("not a peerwren frame: {0}")]
    Malformed(&'static str),
}

/// Why reading or writing a frame failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameIoError {
    /// The bytes are wrong: the other side is not to be trusted further.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream is broken.
    #[error("the stream is broken: {0}")]
    Io(#[from] io::Error),
}

/// A frame's header, validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is; its meaning is the protocol's above.
    pub kind: u8,
    /// The payload's length in bytes.
    pub len: usize,
}

impl Header {
    /// Encodes the header; an error if the payload's length does not fit 32 bits.
    pub fn encode(self) -> Result<[u8; HEADER_LEN], FrameError> {
        let limit = u32::MAX as usize;
        let too_long = FrameError::TooLong {
            limit,
            got: self.len,
        };
        let len = u32::try_from(self.len).map_err(|_| too_long)?;
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6] = self.kind;
        bytes[8..].copy_from_slice(&len.to_le_bytes());
        Ok(bytes)
    }

    /// Decodes a header whose payload may have up to `limit` bytes.
    pub fn decode(bytes: &[u8; HEADER_LEN], limit: usize) -> Result<Self, FrameError> {
        let [m0, m1, m2, m3, v0, v1, kind, zero, len @ ..] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(FrameError::Malformed("wrong magic"));
        }
        let theirs = u16::from_le_bytes([v0, v1]);
        if theirs != VERSION {
            return Err(FrameError::VersionSkew {
                ours: VERSION,
                theirs,
            });
        }
        if zero != 0 {
            return Err(FrameError::Malformed("reserved byte is not zero"));
        }
        let len = u32::from_le_bytes(len) as usize;
        if len > limit {
            return Err(FrameError::TooLong { limit, got: len });
        }
        Ok(Self { kind, len })
    }
}

/// Appends a frame to `out`.
pub fn encode(kind: u8, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    out.extend(
        Header {
            kind,
            len: payload.len(),
        }
        .encode()?,
    );
    out.extend(payload);
    Ok(())
}

/// Decodes the frame at the start of `bytes`: its kind, its payload and what follows it.
pub fn decode(bytes: &[u8], limit: usize) -> Result<(u8, &[u8], &[u8]), FrameError> {
    let (header, rest) = bytes.split_first_chunk().ok_or(FrameError::Truncated)?;
    let header = Header::decode(header, limit)?;
    let (payload, rest) = rest
        .split_at_checked(header.len)
        .ok_or(FrameError::Truncated)?;
    Ok((header.kind, payload, rest))
}

/// Writes a frame.
pub async fn write<W>(stream: &mut W, kind: u8, payload: &[u8]) -> Result<(), FrameIoError>
where
    W: AsyncWrite + Unpin + ?Sized,
{
    stream
        .write_all(
            &Header {
                kind,
                len: payload.len(),
            }
            .encode()?,
        )
        .await?;
    stream.write_all(payload).await?;
    Ok(())
}

/// Reads frames, keeping what has come of one: a read that is dropped midway loses nothing.
///
/// Memory grows with what has come, not with what is announced: a header alone buys 64 KiB.
#[derive(Debug)]
pub struct FrameReader {
    limit: usize,
    head: [u8; HEADER_LEN],
    head_filled: usize,
    payload: Vec<u8>,
    payload_filled: usize,
}

impl FrameReader {
    /// Reads frames whose payloads have up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let head = [0; HEADER_LEN];
        Self {
            limit,
            head,
            head_filled: 0,
            payload: Vec::new(),
            payload_filled: 0,
        }
    }

    /// Reads one frame: its kind and payload; `None` where the stream ends before it.
    pub async fn read<R>(&mut self, stream: &mut R) -> Result<Option<(u8, Vec<u8>)>, FrameIoError>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        const PIECE: usize = 64 << 10;
        while self.head_filled < HEADER_LEN {
            match stream.read(&mut self.head[self.head_filled..]).await? {
                0 if self.head_filled == 0 => return Ok(None),
                0 => return Err(FrameError::Truncated.into()),
                more => self.head_filled += more,
            }
        }
        let Header { kind, len } = Header::decode(&self.head, self.limit)?;
        while self.payload_filled < len {
            if self.payload.len() == self.payload_filled {
                let grown = self.payload_filled + PIECE.max(self.payload_filled);
                self.payload.resize(len.min(grown), 0);
            }
            match stream
                .read(&mut self.payload[self.payload_filled..])
                .await?
            {
                0 => return Err(FrameError::Truncated.into()),
                more => self.payload_filled += more,
            }
        }
        self.head_filled = 0;
        self.payload_filled = 0;
        Ok(Some((kind, std::mem::take(&mut self.payload))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(kind, payload, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn wrong_frames_are_told_apart() {
        let good = frame(7, b"payload");
        let with = |place: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[place] = byte;
            bytes
        };
        let cases = [
            (with(0, b'x'), FrameError::Malformed("wrong magic")),
            (
                with(4, 9),
                FrameError::VersionSkew {
                    ours: VERSION,
                    theirs: 9,
                },
            ),
            (
                with(7, 1),
                FrameError::Malformed("reserved byte is not zero"),
            ),
            (with(8, 65), FrameError::TooLong { limit: 64, got: 65 }),
            (
                with(11, 255),
                FrameError::TooLong {
                    limit: 64,
                    got: (255 << 24) + 7,
                },
            ),
            (with(8, 8), FrameError::Truncated),
            (good[..good.len() - 1].to_vec(), FrameError::Truncated),
            (good[..5].to_vec(), FrameError::Truncated),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decode(&bytes, 64).unwrap_err(), expected);
            match run(FrameReader::new(64).read(&mut &bytes[..])) {
                Err(FrameIoError::Frame(error)) => assert_eq!(error, expected),
                other => panic!("expected {expected:?}, got {other:?}"),
            }
        }
        assert_eq!(decode(&good, 7).unwrap(), (7, &b"payload"[..], &b""[..]));
        assert!(
            run(FrameReader::new(64).read(&mut &b""[..]))
                .unwrap()
                .is_none()
        );
    }

    proptest! {
        #[test]
        fn frames_survive(frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300_000)), 0..4)) {
            run(async {
                let mut bytes = Vec::new();
                for (kind, payload) in &frames {
                    write(&mut bytes, *kind, payload).await.unwrap();
                }
                let mut reader = FrameReader::new(300_000);
                let (mut stream, mut rest) = (&bytes[..], &bytes[..]);
                for (kind, payload) in &frames {
                    let read = reader.read(&mut stream).await.unwrap().unwrap();
                    assert_eq!((read.0, &read.1), (*kind, payload));
                    let (k, p, r) = decode(rest, 300_000).unwrap();
                    assert_eq!((k, p), (*kind, &payload[..]));
                    rest = r;
                }
                assert!(reader.read(&mut stream).await.unwrap().is_none());
            });
        }

        #[test]
        fn garbage_is_an_error_or_fits(bytes in prop::collection::vec(any::<u8>(), 0..64), valid_start: bool) {
            let mut bytes = bytes;
            if valid_start {
                let mut start = b"pwrn\x01\x00".to_vec();
                start.append(&mut bytes);
                bytes = start;
            }
            if let Ok((_, payload, rest)) = decode(&bytes, 32) {
                prop_assert!(payload.len() <= 32);
                prop_assert_eq!(HEADER_LEN + payload.len() + rest.len(), bytes.len());
            }
            let _ = run(FrameReader::new(32).read(&mut &bytes[..]));
        }
    }
}
