//! Probes as bytes: small, authenticated, never taken for QUIC. Never decides when one is sent.

use std::fmt;

use crate::identity::NodeId;

/// The first bytes. QUIC sets bit 0x40 of the first byte (greasing it is off), STUN begins with 0x00
/// or 0x01.
const MAGIC: [u8; 4] = [0x3b, b'p', b'w', 1];

/// Magic 4, kind 1, from 4, to 4, number 8, authentication 32.
pub(crate) const PROBE_LEN: usize = 53;

const SIGNED_LEN: usize = PROBE_LEN - blake3::OUT_LEN;

/// What a pair of nodes proves its probes with; whoever introduces the two makes one for each
/// introduction. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl Secret {
    /// Makes a secret that nobody can guess.
    pub fn random() -> Self {
        Self(crate::random::bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// "Do you hear me?"
    Ping,
    /// The answer to the ping of that number.
    Pong,
}

/// A probe from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) kind: Kind,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) number: u64,
}

/// Tells whether a datagram claims to be a probe.
pub(crate) fn is_probe(bytes: &[u8]) -> bool {
    bytes.len() == PROBE_LEN && bytes.starts_with(&MAGIC)
}

/// The number of a node that takes part in punching: workers do.
pub(super) fn number(node: NodeId) -> Option<u32> {
    match node {
        NodeId::Worker(number) => Some(number),
        NodeId::Coordinator | NodeId::Guest => None,
    }
}

impl Probe {
    pub(super) fn seal(&self, secret: &Secret) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PROBE_LEN);
        bytes.extend(MAGIC);
        bytes.push(match self.kind {
            Kind::Ping => 1,
            Kind::Pong => 2,
        });
        bytes.extend(self.from.to_le_bytes());
        bytes.extend(self.to.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        let proof = blake3::keyed_hash(&secret.0, &bytes);
        bytes.extend(proof.as_bytes());
        bytes
    }

    /// Reads a probe whose proof is yet to be looked at: who says to have sent it?
    pub(super) fn claimed(bytes: &[u8]) -> Option<Self> {
        if !is_probe(bytes) {
            return None;
        }
        let word = |at: usize| bytes[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        Some(Self {
            kind: match bytes[4] {
                1 => Kind::Ping,
                2 => Kind::Pong,
                _ => return None,
            },
            from: word(5)?,
            to: word(9)?,
            number: bytes[13..21].try_into().map(u64::from_le_bytes).ok()?,
        })
    }

    /// Tells whether whoever sealed the bytes knew the secret; takes the same time either way.
    pub(super) fn is_proven(bytes: &[u8], secret: &Secret) -> bool {
        let (signed, proof) = bytes.split_at(SIGNED_LEN.min(bytes.len()));
        let Ok(proof) = <[u8; blake3::OUT_LEN]>::try_from(proof) else {
            return false;
        };
        blake3::keyed_hash(&secret.0, signed) == blake3::Hash::from_bytes(proof)
    }
}

/// Numbers of pings that were answered: each once, also where they come out of order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    highest: u64,
    /// Bit `n`: `highest - n` came.
    came: u64,
}

impl Window {
    /// Takes a number in; false where it came before or is too old to know.
    pub(super) fn take(&mut self, number: u64) -> bool {
        let shifted = |bits: u64, by: u64| {
            let by = u32::try_from(by).unwrap_or(u32::MAX);
            bits.checked_shl(by).unwrap_or(0)
        };
        if number > self.highest {
            self.came = shifted(self.came, number - self.highest);
            self.highest = number;
        }
        let bit = shifted(1, self.highest - number);
        let is_new = bit != 0 && self.came & bit == 0;
        self.came |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn probes_survive_and_forgeries_do_not(
            from: u32, to: u32, number: u64, ping: bool, secret: [u8; 32], at in 0..PROBE_LEN, flip in 1u8..,
        ) {
            let kind = if ping { Kind::Ping } else { Kind::Pong };
            let probe = Probe { kind, from, to, number };
            let secret = Secret(secret);
            let mut bytes = probe.seal(&secret);
            prop_assert_eq!(bytes.len(), PROBE_LEN);
            prop_assert_eq!(bytes[0] & 0xc0, 0, "never QUIC");
            prop_assert_eq!(Probe::claimed(&bytes), Some(probe));
            prop_assert!(Probe::is_proven(&bytes, &secret));
            let mut other = secret.clone();
            other.0[at % 32] ^= flip;
            prop_assert!(!Probe::is_proven(&bytes, &other));
            prop_assert!(!Probe::is_proven(&bytes[..at], &secret));
            bytes[at] ^= flip;
            prop_assert!(!Probe::is_proven(&bytes, &secret));
        }

        #[test]
        fn each_number_counts_once(numbers in prop::collection::vec(0u64..100, 0..200)) {
            let mut window = Window::default();
            let mut came = std::collections::BTreeSet::new();
            for number in numbers {
                let highest = came.last().copied();
                let taken = window.take(number);
                prop_assert!(!(taken && came.contains(&number)));
                let is_recent = highest.is_none_or(|highest| number + 64 > highest);
                prop_assert_eq!(taken, is_recent && !came.contains(&number));
                came.insert(number);
            }
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret([7; 32])), "Secret(..)");
        assert_ne!(Secret::random(), Secret::random());
        let mut window = Window::default();
        assert!(window.take(u64::MAX));
        assert!(!window.take(u64::MAX));
    }
}
