//! Signatures under the key of a node's certificate, for what travels through places that anybody with
//! access can write to. Never hides anything: what is signed can be read.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::crypto::ring::sign;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::SigningKey;
use webpki::{EndEntityCert, KeyUsage};

use super::enrolment::unix;
use super::{IdentityError, NodeId, NodeIdentity, named};

/// Every key is of P-256.
const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;

/// Signs in a node's name, and checks what other nodes of its run have signed. Clones are the same.
#[derive(Clone)]
pub struct Signer {
    node: NodeId,
    run: u64,
    key: Arc<dyn SigningKey>,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
}

impl NodeIdentity {
    /// Makes a signer of this identity.
    pub fn signer(&self) -> Result<Signer, IdentityError> {
        Ok(Signer {
            node: self.node,
            run: self.run,
            key: sign::any_supported_type(&self.private_key())?,
            certificate: self.certificate.clone(),
            authority: self.authority.clone(),
        })
    }
}

impl Signer {
    /// Returns in whose name this signs.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Returns the run that the node belongs to.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Returns the certificate that proves the signatures.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let signer = self
            .key
            .choose_scheme(&[SCHEME])
            .ok_or(IdentityError::Malformed("not a key of P-256"))?;
        Ok(signer.sign(message)?)
    }

    /// Checks that the node `from` of this run signed `message`: its certificate is valid at `now` and
    /// issued by the run's authority, and the signature is by its key.
    pub fn verify(
        &self,
        from: NodeId,
        certificate: &[u8],
        message: &[u8],
        signature: &[u8],
        now: SystemTime,
    ) -> Result<(), IdentityError> {
        let certificate = CertificateDer::from(certificate);
        if named(&certificate)? != (from, self.run) {
            return Err(IdentityError::Malformed("the certificate is another's"));
        }
        check_certificate(&certificate, &self.authority, unix(now))?;
        let certificate =
            EndEntityCert::try_from(&certificate).map_err(|_| IdentityError::Forged)?;
        certificate
            .verify_signature(webpki::ring::ECDSA_P256_SHA256, message, signature)
            .map_err(|_| IdentityError::Forged)
    }
}

/// Shows whose it is, never the key.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} of run {:016x})", self.node, self.run)
    }
}

/// Checks that `authority` issued `certificate` and that it is valid at `now`.
pub(super) fn check_certificate(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'_>,
    now: UnixTime,
) -> Result<(), IdentityError> {
    let wrong = |_| IdentityError::Malformed("not a certificate");
    let anchors = [webpki::anchor_from_trusted_cert(authority).map_err(wrong)?];
    let certificate = EndEntityCert::try_from(certificate).map_err(wrong)?;
    let usage = KeyUsage::client_auth();
    let algorithms = [webpki::ring::ECDSA_P256_SHA256];
    let checked = certificate.verify_for_usage(&algorithms, &anchors, &[], now, usage, None, None);
    match checked {
        Ok(_) => Ok(()),
        Err(webpki::Error::CertExpired { .. }) => Err(IdentityError::Expired),
        Err(webpki::Error::CertNotValidYet { .. }) => Err(IdentityError::NotYetValid),
        Err(_) => Err(IdentityError::Foreign),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Authority;
    use super::*;
    use std::time::Duration;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
    }

    #[test]
    fn only_what_a_node_of_the_run_signed_is_taken() {
        let authority = Authority::new(5, now()).unwrap();
        let signer =
            |authority: &Authority, node| authority.issue(node, now()).unwrap().signer().unwrap();
        let [reader, one, two] = [NodeId::Coordinator, NodeId::Worker(1), NodeId::Worker(2)]
            .map(|node| signer(&authority, node));
        let signature = one.sign(b"what it says").unwrap();
        let check = |from, by: &Signer, message: &[u8], signature: &[u8], at| {
            reader.verify(from, by.certificate(), message, signature, at)
        };
        let worker = NodeId::Worker(1);
        assert!(check(worker, &one, b"what it says", &signature, now()).is_ok());
        // Other words, another's name, another's key, no signature, another time, another authority.
        assert!(check(worker, &one, b"what it sayz", &signature, now()).is_err());
        assert!(check(NodeId::Worker(2), &one, b"what it says", &signature, now()).is_err());
        assert!(check(NodeId::Worker(2), &two, b"what it says", &signature, now()).is_err());
        assert!(check(worker, &one, b"what it says", &[], now()).is_err());
        let later = now() + Duration::from_secs(30 * 24 * 3600);
        assert!(matches!(
            check(worker, &one, b"what it says", &signature, later),
            Err(IdentityError::Expired)
        ));
        let stranger = signer(&Authority::new(5, now()).unwrap(), worker);
        let forged = stranger.sign(b"what it says").unwrap();
        assert!(matches!(
            check(worker, &stranger, b"what it says", &forged, now()),
            Err(IdentityError::Foreign)
        ));
        let other_run = signer(&Authority::new(6, now()).unwrap(), worker);
        let signed = other_run.sign(b"what it says").unwrap();
        assert!(check(worker, &other_run, b"what it says", &signed, now()).is_err());
    }
}
