//! What the tests of nodes share: a run, its nodes, and peers that do not keep to the protocol.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use peerwren_transports::block::{Block, BlockBuf, BlockKey, Digest, Indices};
use peerwren_transports::frame;
use peerwren_transports::identity::{ALPN, Authority, NodeId, NodeIdentity};
use peerwren_transports::quic::{BlockSource, Incoming, Limits, Node};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) const RUN: u64 = 0xfeed;

/// The environment variable that makes the test binary a serving child.
pub(crate) const CHILD: &str = "PEERWREN_TEST_CHILD_BLOCK_BYTES";

/// Runs a test on a runtime like a worker's; one that hangs fails.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(100), test)
            .await
            .expect("the test hangs");
    });
}

/// Waits until `is_so`.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

pub(crate) fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn key(number: i64) -> BlockKey {
    BlockKey::new(RUN, 0, Indices::new(&[number]).unwrap())
}

pub(crate) fn block(number: i64, len: usize) -> Block {
    let mut buf = BlockBuf::with_len(len);
    for (place, byte) in buf.as_bytes_mut().iter_mut().enumerate() {
        *byte = (place as i64 * 31 + place as i64 / 253 + number) as u8;
    }
    buf.freeze()
}

pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

pub(crate) fn name(node: NodeId) -> String {
    node.dns_name(RUN)
}

/// Blocks that a node serves.
#[derive(Default)]
pub(crate) struct Blocks(BTreeMap<BlockKey, Block>);

impl BlockSource for Blocks {
    fn get(&self, key: &BlockKey) -> Option<Block> {
        self.0.get(key).cloned()
    }
}

pub(crate) struct Run {
    pub(crate) authority: Authority,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self {
            authority: Authority::new(RUN, now()).unwrap(),
        }
    }

    /// Binds a node that holds blocks of the given numbers and lengths.
    pub(crate) fn node(
        &mut self,
        node: NodeId,
        held: &[(i64, usize)],
        limits: Limits,
    ) -> (Node, Incoming) {
        let identity = self.authority.issue(node, now()).unwrap();
        let blocks = held
            .iter()
            .map(|&(number, len)| (key(number), block(number, len)));
        Node::bind(
            &identity,
            local(),
            Arc::new(Blocks(blocks.collect())),
            limits,
        )
        .unwrap()
    }
}

/// An endpoint without our protocol on it, whose every word a test can choose.
pub(crate) fn raw_endpoint(
    authority: &Authority,
    node: NodeId,
    with_certificate: bool,
) -> quinn::Endpoint {
    let pem = authority.issue(node, now()).unwrap().to_pem();
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(Result::unwrap)
        .collect();
    let private = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain[1].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut client = match with_certificate {
        true => client
            .with_client_auth_cert(chain[..1].to_vec(), private.clone_key())
            .unwrap(),
        false => client.with_no_client_auth(),
    };
    client.alpn_protocols = vec![ALPN.to_vec()];
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain[..1].to_vec(), private)
        .unwrap();
    server.alpn_protocols = vec![ALPN.to_vec()];
    let server = QuicServerConfig::try_from(server).unwrap();
    let server = quinn::ServerConfig::with_crypto(Arc::new(server));
    let mut endpoint = quinn::Endpoint::server(server, local()).unwrap();
    let client = QuicClientConfig::try_from(client).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(client)));
    endpoint
}

/// The bytes of a request for a block.
pub(crate) fn request(key: BlockKey) -> Vec<u8> {
    wanted(key, false)
}

/// The bytes of a request from somebody who may be on the same host.
pub(crate) fn wanted(key: BlockKey, same_host: bool) -> Vec<u8> {
    let mut payload = vec![if same_host { 2 } else { 0 }];
    payload.extend(key.run.to_le_bytes());
    payload.extend(key.matrix.to_le_bytes());
    payload.push(key.indices.len() as u8);
    payload.extend(
        key.indices
            .as_slice()
            .iter()
            .flat_map(|index| index.to_le_bytes()),
    );
    let mut bytes = Vec::new();
    frame::encode(4, &payload, &mut bytes).unwrap();
    bytes
}

/// The bytes of an answer that announces one thing and carries another.
pub(crate) fn found(len: u64, digest: Digest, payload: &[u8]) -> Vec<u8> {
    found_at(len, digest, None, payload)
}

/// The same with the name of a door and a ticket to it.
pub(crate) fn found_at(
    len: u64,
    digest: Digest,
    at: Option<([u8; 16], [u8; 16])>,
    payload: &[u8],
) -> Vec<u8> {
    let status = if at.is_some() { 4 } else { 0 };
    let (door, ticket) = at.unwrap_or_default();
    let response = [&[status][..], &len.to_le_bytes(), &digest.0, &door, &ticket].concat();
    let mut bytes = Vec::new();
    frame::encode(5, &response, &mut bytes).unwrap();
    bytes.extend(payload);
    bytes
}

/// The length of an answer without its frame's header.
pub(crate) const ANSWER_LEN: usize = 1 + 8 + 32 + 16 + 16;

/// Reads the status of an answer: 0 found, 1 not found, 2 busy, 3 referred, 4 found at a door.
pub(crate) async fn status(recv: &mut quinn::RecvStream) -> u8 {
    answer(recv).await[0]
}

/// Reads an answer.
pub(crate) async fn answer(recv: &mut quinn::RecvStream) -> [u8; ANSWER_LEN] {
    let mut bytes = [0; frame::HEADER_LEN + ANSWER_LEN];
    recv.read_exact(&mut bytes).await.unwrap();
    bytes[frame::HEADER_LEN..].try_into().unwrap()
}

/// Another process with a node in it, killed when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    lines: BufReader<ChildStdout>,
    pub(crate) addr: SocketAddr,
}

impl Child {
    /// Starts a process that serves block 0 of `block_bytes` bytes.
    pub(crate) fn start(authority: &Authority, node: NodeId, block_bytes: usize) -> Self {
        let identity = authority.issue(node, now()).unwrap().to_pem();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_serves", "--nocapture"])
            .env(CHILD, block_bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        process
            .stdin
            .take()
            .unwrap()
            .write_all(identity.as_bytes())
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        let mut child = Self {
            process,
            lines,
            addr: local(),
        };
        child.addr = child.line_with("ADDRESS ").parse().unwrap();
        child
    }

    /// Kills the process as soon as it has begun to send a block.
    pub(crate) fn kill_when_it_sends(&mut self) {
        self.line_with("SENDING ");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// The most memory that it has had so far, in bytes; none where the system does not tell.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib << 10)
    }

    fn line_with(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.lines.read_line(&mut line).unwrap(),
                0,
                "the child ended"
            );
            if let Some(at) = line.find(start) {
                return line[at + start.len()..].trim().to_owned();
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Tells that its block is asked for, once: nobody reads more.
struct Telling(Block, Once);

impl BlockSource for Telling {
    fn get(&self, _: &BlockKey) -> Option<Block> {
        self.1.call_once(|| tell("SENDING ", &self.0.len()));
        Some(self.0.clone())
    }
}

/// Serves until killed.
pub(crate) fn serve_as_child() {
    let len = std::env::var(CHILD).unwrap().parse().unwrap();
    let identity = std::io::read_to_string(std::io::stdin()).unwrap();
    let identity = NodeIdentity::from_pem(&identity).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let source = Arc::new(Telling(block(0, len), Once::new()));
        let (node, mut channels) =
            Node::bind(&identity, local(), source, Limits::default()).unwrap();
        tell("ADDRESS ", &node.local_addr());
        let mut held = Vec::new();
        while let Some(channel) = channels.next().await {
            held.push(channel);
        }
    });
}

fn tell(what: &str, value: &dyn std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}{value}").unwrap();
    out.flush().unwrap();
}
