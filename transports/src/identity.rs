//! The run's certificate authority and the identities it gives to nodes. Never talks to anyone,
//! never reads a clock, never writes a key anywhere by itself.
//!
//! A node is who its certificate says: the name `worker-17.<run>.peerwren` (the run in 16
//! hexadecimal digits), signed by the run's authority. Both sides of every connection prove theirs.

mod enrolment;
mod signature;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub use enrolment::{PendingIdentity, check_public_key};
pub use signature::Signer;

/// How long certificates are valid after they are made: longer than any run.
pub const VALID_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long certificates are valid before they are made: clocks of hosts differ.
pub const VALID_BEFORE: Duration = Duration::from_secs(3600);

/// What the two sides of a connection agree to speak; frames carry the finer version.
pub const ALPN: &[u8] = b"peerwren/1";

/// The longest identity or authority text that is read: 3 certificates and a key of under 2 KiB.
const PEM_BYTES_MAX: usize = 16 << 10;

/// A node of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeId {
    /// The one that leads the run.
    Coordinator,
    /// A worker by its number, which no other worker of the run ever has.
    Worker(u32),
    /// Whoever holds the run's token: may ask the coordinator to join, and nothing else of anybody.
    Guest,
}

impl NodeId {
    /// Returns the name that the node's certificate holds.
    pub fn dns_name(self, run: u64) -> String {
        format!("{self}.{run:016x}.peerwren")
    }

    /// Reads a name that [`dns_name`](Self::dns_name) made: the node and its run.
    pub fn from_dns_name(name: &str) -> Option<(Self, u64)> {
        let mut parts = name.split('.');
        let node = parts.next()?.parse().ok()?;
        let run = u64::from_str_radix(parts.next()?, 16).ok()?;
        let made = Self::dns_name(node, run);
        (made == name).then_some((node, run))
    }
}

/// `coordinator`, `worker-17` or `guest`
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => f.write_str("coordinator"),
            Self::Worker(number) => write!(f, "worker-{number}"),
            Self::Guest => f.write_str("guest"),
        }
    }
}

impl FromStr for NodeId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let wrong =
            || IdentityError::Malformed("a node is `coordinator`, `worker-NUMBER` or `guest`");
        match text.strip_prefix("worker-") {
            Some(number) => number.parse().map(Self::Worker).map_err(|_| wrong()),
            None if text == "coordinator" => Ok(Self::Coordinator),
            None if text == "guest" => Ok(Self::Guest),
            None => Err(wrong()),
        }
    }
}

/// Why an identity could not be made or read. No variant holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The text is not an identity or authority that this program wrote.
    #[error("not an identity of peerwren: {0}")]
    Malformed(&'static str),
    /// The system could not make keys or certificates.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The certificate is valid no longer: get a new token.
    #[error("it has expired")]
    Expired,
    /// The certificate is not valid yet: set the clock.
    #[error("it is not valid yet: is the clock of this machine right?")]
    NotYetValid,
    /// Another authority issued the certificate.
    #[error("it was not issued by the run's authority")]
    Foreign,
    /// The signature is not by the certificate's key.
    #[error("the signature is not by the node that is named")]
    Forged,
    /// Certificate and key do not make a working configuration.
    #[error("the identity cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// A run's certificate authority: made by the coordinator, never given away.
pub struct Authority {
    run: u64,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the authority of `run`, valid from an hour before `now` for a week after it.
    pub fn new(run: u64, now: SystemTime) -> Result<Self, IdentityError> {
        let key = KeyPair::generate()?;
        let params = Self::params(run, now)?;
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self {
            run,
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// Returns the run that this authority is for.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Issues the identity of `node`, valid from an hour before `now` for a week after it.
    pub fn issue(&self, node: NodeId, now: SystemTime) -> Result<NodeIdentity, IdentityError> {
        let key = KeyPair::generate()?;
        let certificate = self.certificate_of(node, &key, now, now + VALID_AFTER)?;
        NodeIdentity::new(certificate, self.certificate.clone(), key.serialize_der())
    }

    fn certificate_of(
        &self,
        node: NodeId,
        key: &impl PublicKeyData,
        now: SystemTime,
        until: SystemTime,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        let mut params = CertificateParams::new(vec![node.dns_name(self.run)])?;
        params
            .distinguished_name
            .push(DnType::CommonName, node.to_string());
        params.not_before = (now - VALID_BEFORE).into();
        params.not_after = until.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer)?.der().clone())
    }

    /// Writes certificate and **secret key** as PEM text, for the private run folder.
    pub fn to_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
            + &pem("PRIVATE KEY", self.issuer.key().serialized_der())
    }

    /// Reads what [`to_pem`](Self::to_pem) wrote.
    pub fn from_pem(text: &str) -> Result<Self, IdentityError> {
        let (certificates, key) = parse_pem(text)?;
        let [certificate] = <[_; 1]>::try_from(certificates)
            .map_err(|_| IdentityError::Malformed("expected one certificate and a key"))?;
        let name = dns_name(&certificate)?;
        let run = name.strip_prefix("authority.").and_then(|rest| {
            NodeId::from_dns_name(&format!("coordinator.{rest}")).map(|(_, run)| run)
        });
        let run = run.ok_or(IdentityError::Malformed("not an authority's certificate"))?;
        let key = KeyPair::try_from(&PrivateKeyDer::Pkcs8(key))?;
        let public = webpki::EndEntityCert::try_from(&certificate)
            .map_err(|_| IdentityError::Malformed("not an authority's certificate"))?
            .subject_public_key_info();
        if key.subject_public_key_info() != public.as_ref() {
            return Err(IdentityError::Malformed(
                "key and certificate do not belong together",
            ));
        }
        // Only the name and the key of the issuer count for what it signs, not its validity.
        let params = Self::params(run, SystemTime::UNIX_EPOCH + VALID_BEFORE)?;
        Ok(Self {
            run,
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    fn params(run: u64, now: SystemTime) -> Result<CertificateParams, IdentityError> {
        let mut params = CertificateParams::new(vec![format!("authority.{run:016x}.peerwren")])?;
        params
            .distinguished_name
            .push(DnType::CommonName, format!("peerwren run {run:016x}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = (now - VALID_BEFORE).into();
        params.not_after = (now + VALID_AFTER).into();
        Ok(params)
    }
}

/// Shows the run, never the key.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority(run {:016x})", self.run)
    }
}

/// A node's certificate and secret key, and the certificate of its run's authority.
pub struct NodeIdentity {
    node: NodeId,
    run: u64,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    key: Vec<u8>,
}

impl NodeIdentity {
    fn new(
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
        key: Vec<u8>,
    ) -> Result<Self, IdentityError> {
        let (node, run) = named(&certificate)?;
        Ok(Self {
            node,
            run,
            certificate,
            authority,
            key,
        })
    }

    /// Returns whose identity this is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Returns the run that the node belongs to.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Writes certificates and **secret key** as PEM text, to be handed to the node itself (a
    /// child's standard input), never to a log, an argument or a store.
    pub fn to_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
            + &pem("CERTIFICATE", &self.authority)
            + &pem("PRIVATE KEY", &self.key)
    }

    /// Reads what [`to_pem`](Self::to_pem) wrote, and checks that it can be used.
    pub fn from_pem(text: &str) -> Result<Self, IdentityError> {
        let (certificates, key) = parse_pem(text)?;
        let [certificate, authority] = <[_; 2]>::try_from(certificates)
            .map_err(|_| IdentityError::Malformed("expected two certificates and a key"))?;
        let key = key.secret_pkcs8_der().to_vec();
        let identity = Self::new(certificate, authority, key)?;
        identity.client_config()?;
        Ok(identity)
    }

    /// Makes the TLS configuration for dialing: proves this node, accepts this run's nodes alone.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, IdentityError> {
        let mut config = ClientConfig::builder_with_provider(ring_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(vec![self.certificate.clone()], self.private_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Every connection is proved afresh, by certificate.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    /// Makes the TLS configuration for being dialed: demands a certificate of this run.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, IdentityError> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots()?.into(), ring_provider())
                .build()
                .map_err(|_| IdentityError::Malformed("not an authority's certificate"))?;
        let mut config = ServerConfig::builder_with_provider(ring_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.certificate.clone()], self.private_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, IdentityError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        Ok(roots)
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

/// Shows node and run, never the key.
impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeIdentity({} of run {:016x})", self.node, self.run)
    }
}

/// Reads node and run from a certificate (whose signature is somebody else's to check).
pub(crate) fn named(certificate: &CertificateDer<'_>) -> Result<(NodeId, u64), IdentityError> {
    NodeId::from_dns_name(&dns_name(certificate)?).ok_or(IdentityError::Malformed(
        "the certificate does not name a node of a run",
    ))
}

fn dns_name(certificate: &CertificateDer<'_>) -> Result<String, IdentityError> {
    let wrong = IdentityError::Malformed("not a certificate with one name");
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else {
        return Err(wrong);
    };
    let mut names = certificate.valid_dns_names();
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name.to_owned()),
        _ => Err(wrong),
    }
}

/// The ring provider, passed explicitly, never the process's default. AES-128-GCM comes first: it
/// is the fastest suite on CPUs with AES instructions, and QUIC's own packets start with it.
fn ring_provider() -> Arc<CryptoProvider> {
    use provider::cipher_suite as suite;
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..provider::default_provider()
    })
}

type PemContents = (Vec<CertificateDer<'static>>, PrivatePkcs8KeyDer<'static>);

fn parse_pem(text: &str) -> Result<PemContents, IdentityError> {
    if text.len() > PEM_BYTES_MAX {
        return Err(IdentityError::Malformed("longer than any identity"));
    }
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| IdentityError::Malformed("a certificate cannot be read"))?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| IdentityError::Malformed("no secret key, or one that cannot be read"))?;
    Ok((certificates, key))
}

fn pem(label: &str, der: &[u8]) -> String {
    let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), unix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
    }

    #[test]
    fn names_are_read_in_one_spelling() {
        for node in [
            NodeId::Coordinator,
            NodeId::Worker(0),
            NodeId::Worker(u32::MAX),
        ] {
            let name = node.dns_name(0xabc);
            assert_eq!(NodeId::from_dns_name(&name), Some((node, 0xabc)), "{name}");
        }
        assert_eq!(
            NodeId::Worker(17).dns_name(0xabc),
            "worker-17.0000000000000abc.peerwren"
        );
        for wrong in [
            "",
            "worker-1",
            "worker-01.0000000000000abc.peerwren",
            "worker-+1.0000000000000abc.peerwren",
            "worker-4294967296.0000000000000abc.peerwren",
            "worker-1.abc.peerwren",
            "worker-1.0000000000000ABC.peerwren",
            "worker-1.0000000000000abc.peerwren.evil",
            "authority.0000000000000abc.peerwren",
        ] {
            assert_eq!(NodeId::from_dns_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn identities_survive_as_text_and_never_show_keys() {
        let authority = Authority::new(5, now()).unwrap();
        let identity = authority.issue(NodeId::Worker(3), now()).unwrap();
        let text = identity.to_pem();
        let again = NodeIdentity::from_pem(&text).unwrap();
        assert_eq!((again.node(), again.run()), (NodeId::Worker(3), 5));
        assert_eq!(again.to_pem(), text);
        assert_eq!(
            format!("{again:?}"),
            "NodeIdentity(worker-3 of run 0000000000000005)"
        );
        let restored = Authority::from_pem(&authority.to_pem()).unwrap();
        assert_eq!(restored.run(), 5);
        assert_eq!(format!("{restored:?}"), "Authority(run 0000000000000005)");
        assert_eq!(restored.to_pem(), authority.to_pem());
    }

    #[test]
    fn texts_that_are_no_identity_are_refused() {
        let authority = Authority::new(5, now()).unwrap();
        let other = Authority::new(5, now()).unwrap();
        let [one, two] = [1, 2].map(|number| {
            let identity = authority
                .issue(NodeId::Worker(number), now())
                .unwrap()
                .to_pem();
            let key = identity.find("-----BEGIN PRIVATE").unwrap();
            let (certificates, key) = identity.split_at(key);
            (certificates.to_owned(), key.to_owned())
        });
        let whole = one.0.clone() + &one.1;
        assert!(NodeIdentity::from_pem(&whole).is_ok());
        for (what, wrong) in [
            ("nothing", String::new()),
            ("no key", one.0.clone()),
            ("no certificate", one.1.clone()),
            ("another's key", one.0.clone() + &two.1),
            ("too many certificates", one.0.clone() + &whole),
            ("an authority", authority.to_pem()),
            ("cut", whole[..whole.len() / 2].to_owned()),
            ("too long", whole.clone() + &" ".repeat(PEM_BYTES_MAX)),
        ] {
            assert!(NodeIdentity::from_pem(&wrong).is_err(), "{what}");
        }
        let split = |pem: &str| {
            let key = pem.find("-----BEGIN PRIVATE").unwrap();
            (pem[..key].to_owned(), pem[key..].to_owned())
        };
        let mixed = split(&authority.to_pem()).0 + &split(&other.to_pem()).1;
        assert!(
            Authority::from_pem(&mixed).is_err(),
            "another authority's key"
        );
        assert!(Authority::from_pem(&whole).is_err(), "a node's identity");
    }
}
