//! All that comes from other nodes before it is believed: frames, streams, datagrams, control messages (those
//! that announce blocks among them), letters, manifests. What is understood is understood again after it was
//! written.

use std::fmt::Debug;

use peerwren::control::joining::{FromGuest, ToGuest};
use peerwren::control::{self, FromWorker, ToWorker};
use peerwren::manifest::{Manifest, ManifestKey};
use peerwren_transports::mailbox::fuzzing::Post;
use peerwren_transports::{frame, quic};

use super::tagged;

/// A control channel's bound.
const FRAME_BYTES_MAX: usize = 8 << 20;
const KEY: ManifestKey = ManifestKey([7; 32]);

thread_local! {
    static POST: Post = Post::new();
}

/// A byte for the kind, then the message.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = tagged(bytes) else {
        return;
    };
    match kind % 10 {
        0 => frames(bytes),
        1 => quic::fuzzing::stream(bytes),
        2 => quic::fuzzing::datagram(bytes),
        3 => said::<FromWorker>(bytes),
        4 => said::<ToWorker>(bytes),
        5 => said::<FromGuest>(bytes),
        6 => said::<ToGuest>(bytes),
        7 => drop(POST.with(|post| post.open(bytes))),
        8 => drop(POST.with(|post| post.open_signed(bytes))),
        _ => manifest(bytes),
    }
}

/// The same bytes at once and piece by piece.
fn frames(bytes: &[u8]) {
    let mut rest = bytes;
    let mut reader = frame::FrameReader::new(FRAME_BYTES_MAX);
    let mut stream = bytes;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(async {
        while let Ok((kind, payload, more)) = frame::decode(rest, FRAME_BYTES_MAX) {
            let read = reader.read(&mut stream).await;
            assert_eq!(read.expect("a frame"), Some((kind, payload.to_vec())));
            rest = more;
        }
        let read = reader.read(&mut stream).await;
        assert!(
            !matches!(read, Ok(Some(_))),
            "a frame of bytes that are none"
        );
    });
}

fn said<M>(bytes: &[u8])
where
    M: Message,
{
    if let Some(message) = M::read(bytes) {
        let again = message.written();
        assert_eq!(M::read(&again).as_ref(), Some(&message));
    }
}

/// What is read by `control::decode`; a trait only because its bounds are long.
trait Message: PartialEq + Debug + Sized {
    fn read(bytes: &[u8]) -> Option<Self>;
    fn written(&self) -> Vec<u8>;
}

macro_rules! message {
    ($($name:ty),+) => {$(
        impl Message for $name {
            fn read(bytes: &[u8]) -> Option<Self> {
                control::decode(bytes).ok()
            }

            fn written(&self) -> Vec<u8> {
                control::encode(self)
            }
        }
    )+};
}

message!(FromWorker, ToWorker, FromGuest, ToGuest);

/// A manifest as it is, and one whose digest is right.
fn manifest(bytes: &[u8]) {
    let _ = Manifest::decode(bytes, &KEY);
    let digest = blake3::keyed_hash(&KEY.0, bytes);
    let _ = Manifest::decode(&[bytes, digest.as_bytes()].concat(), &KEY);
}
