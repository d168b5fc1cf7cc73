//! Bytes that nobody can guess, from the system. Never used where a run's bits depend on them.

/// Fills an array with random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .expect("the system has random bytes, or no handshake would work either");
    bytes
}
