//! How somebody who holds a run's token becomes a node of the run: it makes a key pair of its own, and the
//! authority certifies the public half. The secret half never leaves its maker.

use std::time::{Duration, SystemTime};

use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::{Authority, IdentityError, NodeId, NodeIdentity, VALID_AFTER};

/// Bytes of a public key: a point of P-256, both coordinates.
const PUBLIC_KEY_LEN: usize = 65;

impl Authority {
    /// Issues the identity that a token holds: good for asking to join and for nothing else, for `valid`
    /// from `now` on, at most as long as any certificate.
    pub fn issue_guest(
        &self,
        now: SystemTime,
        valid: Duration,
    ) -> Result<NodeIdentity, IdentityError> {
        let key = KeyPair::generate()?;
        let until = now + valid.min(VALID_AFTER);
        let certificate = self.certificate_of(NodeId::Guest, &key, now, until)?;
        NodeIdentity::new(certificate, self.certificate.clone(), key.serialize_der())
    }

    /// Certifies a public key that [`PendingIdentity`] made as that of `node`; valid as long as any
    /// certificate. Returns the certificate, which is no secret.
    pub fn certify(
        &self,
        node: NodeId,
        public_key: &[u8],
        now: SystemTime,
    ) -> Result<Vec<u8>, IdentityError> {
        check_public_key(public_key)?;
        let key = PublicKey(public_key);
        Ok(self
            .certificate_of(node, &key, now, now + VALID_AFTER)?
            .to_vec())
    }
}

/// Refuses bytes that cannot be certified as a public key.
///
/// # Errors
/// They have not the form of a point of P-256.
pub fn check_public_key(bytes: &[u8]) -> Result<(), IdentityError> {
    if bytes.len() != PUBLIC_KEY_LEN || bytes.first() != Some(&4) {
        return Err(IdentityError::Malformed("not a public key of P-256"));
    }
    Ok(())
}

/// The public half of a key pair that somebody else has.
struct PublicKey<'a>(&'a [u8]);

impl PublicKeyData for PublicKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// A key pair that waits for its certificate.
pub struct PendingIdentity {
    key: KeyPair,
    authority: CertificateDer<'static>,
}

impl PendingIdentity {
    /// Makes a key pair for a node of the run that `guest` may ask to join.
    pub fn of(guest: &NodeIdentity) -> Result<Self, IdentityError> {
        Ok(Self {
            key: KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?,
            authority: guest.authority.clone(),
        })
    }

    /// Returns the half that the authority certifies.
    pub fn public_key(&self) -> &[u8] {
        self.key.der_bytes()
    }

    /// Makes the identity of the certificate, which must be for this key and by the run's authority.
    pub fn complete(
        &self,
        certificate: &[u8],
        now: SystemTime,
    ) -> Result<NodeIdentity, IdentityError> {
        let certificate = CertificateDer::from(certificate.to_vec());
        let identity = NodeIdentity::new(
            certificate,
            self.authority.clone(),
            self.key.serialize_der(),
        )?;
        identity.check_validity(now)?;
        // Certificate and key belong together, or this fails.
        identity.client_config()?;
        Ok(identity)
    }
}

/// Shows no key.
impl std::fmt::Debug for PendingIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingIdentity")
    }
}

impl NodeIdentity {
    /// Checks that the run's authority issued the certificate and that it is valid at `now`.
    pub fn check_validity(&self, now: SystemTime) -> Result<(), IdentityError> {
        super::signature::check_certificate(&self.certificate, &self.authority, unix(now))
    }
}

/// A time of day as certificates are checked against; before 1970 is 1970.
pub(super) fn unix(now: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(
        now.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
    }

    #[test]
    fn a_guest_becomes_a_node_with_a_key_of_its_own() {
        let authority = Authority::new(5, now()).unwrap();
        let guest = authority
            .issue_guest(now(), Duration::from_secs(3600))
            .unwrap();
        assert_eq!((guest.node(), guest.run()), (NodeId::Guest, 5));
        let pending = PendingIdentity::of(&guest).unwrap();
        let certificate = authority
            .certify(NodeId::Worker(7), pending.public_key(), now())
            .unwrap();
        let identity = pending.complete(&certificate, now()).unwrap();
        assert_eq!((identity.node(), identity.run()), (NodeId::Worker(7), 5));
        // A certificate for another's key is of no use.
        let other = PendingIdentity::of(&guest).unwrap();
        assert!(other.complete(&certificate, now()).is_err());
        // Neither is one of another authority, even of the same run.
        let stranger = Authority::new(5, now()).unwrap();
        let certificate = stranger
            .certify(NodeId::Worker(7), pending.public_key(), now())
            .unwrap();
        assert!(pending.complete(&certificate, now()).is_err());
        for wrong in [&[][..], &[4; 64], &[2; 65]] {
            assert!(authority.certify(NodeId::Worker(7), wrong, now()).is_err());
        }
    }

    #[test]
    fn a_guest_is_one_for_as_long_as_was_said() {
        let authority = Authority::new(5, now()).unwrap();
        let hour = Duration::from_secs(3600);
        let guest = authority.issue_guest(now(), hour).unwrap();
        assert!(guest.check_validity(now() + hour / 2).is_ok());
        assert!(matches!(
            guest.check_validity(now() + 2 * hour),
            Err(IdentityError::Expired)
        ));
        let year = authority
            .issue_guest(now(), Duration::from_secs(365 * 24 * 3600))
            .unwrap();
        assert!(year.check_validity(now() + VALID_AFTER + hour).is_err());
    }
}
