//! Two nodes that exchange blocks over QUIC on loopback, in one process or in two, as workers do. Knows no
//! task.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::try_join_all;
use peerwren_transports::block::{Block, BlockBuf, BlockKey, BlockLen, Digest, Indices};
use peerwren_transports::identity::{Authority, NodeId, NodeIdentity};
use peerwren_transports::quic::{BlockSource, Expected, Incoming, Limits, Node};
use tokio::runtime::Runtime;

/// Makes a process of a benchmark the one that serves: the bytes of its block.
const CHILD: &str = "BENCH_SERVES_BLOCK_BYTES";
const SERVER: NodeId = NodeId::Worker(0);
const CLIENT: NodeId = NodeId::Worker(1);

/// Serves the same bytes under every key.
struct OneBlock(Block);

impl BlockSource for OneBlock {
    fn get(&self, _: &BlockKey) -> Option<Block> {
        Some(self.0.clone())
    }
}

/// A client, and a server that has a block.
pub struct Exchange {
    runtime: Runtime,
    client: Node,
    _incoming: Vec<Incoming>,
    address: SocketAddr,
    expected: Expected,
    /// Keeps the server.
    _server: Server,
}

enum Server {
    Here(#[expect(dead_code, reason = "dropping it closes it")] Node),
    Process(Child),
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Process(child) = self {
            // Its standard input closes, at which it ends.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

impl Exchange {
    /// Both nodes on one thread of this process.
    ///
    /// # Errors
    /// There is no socket.
    pub fn in_one_process(block_bytes: usize) -> Result<Self, String> {
        let runtime = runtime()?;
        let authority = authority()?;
        let server = issue(&authority, SERVER)?;
        let (server, incoming) = bind(&runtime, &server, block_bytes)?;
        let address = server.local_addr();
        let mut made = Self::to(
            &authority,
            runtime,
            address,
            block_bytes,
            Server::Here(server),
        )?;
        made._incoming.push(incoming);
        Ok(made)
    }

    /// The server in a process of its own: this program, whose `main` must call [`serve`] where
    /// [`is_child`].
    ///
    /// # Errors
    /// The process cannot be started, or there is no socket.
    pub fn between_processes(block_bytes: usize) -> Result<Self, String> {
        let said = |error: std::io::Error| format!("a process that serves blocks: {error}");
        let authority = authority()?;
        let own = std::env::current_exe().map_err(said)?;
        let mut child = Command::new(own)
            .env(CHILD, block_bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(said)?;
        let identity = issue(&authority, SERVER)?.to_pem();
        let (input, output) = (child.stdin.as_mut(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err("a process that serves blocks: expected pipes".to_owned());
        };
        write!(input, "{:8}{identity}", identity.len()).map_err(said)?;
        input.flush().map_err(said)?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map_err(said)?;
        let address = line.trim().parse().map_err(|_| {
            format!("a process that serves blocks: expected its address, got {line}")
        })?;
        Self::to(
            &authority,
            runtime()?,
            address,
            block_bytes,
            Server::Process(child),
        )
    }

    fn to(
        authority: &Authority,
        runtime: Runtime,
        address: SocketAddr,
        block_bytes: usize,
        server: Server,
    ) -> Result<Self, String> {
        let (client, incoming) = bind(&runtime, &issue(authority, CLIENT)?, 0)?;
        let made = Self {
            runtime,
            client,
            _incoming: vec![incoming],
            address,
            expected: Expected {
                len: BlockLen::Exactly(block_bytes),
                digest: Some(Digest::of(block(block_bytes).as_bytes())),
            },
            _server: server,
        };
        // The first one meets a connection that is yet to find its pace.
        made.fetch(4, 1)?;
        Ok(made)
    }

    /// Fetches blocks, so many at a time; returns how long it took.
    ///
    /// # Errors
    /// One does not come.
    pub fn fetch(&self, blocks: usize, at_a_time: usize) -> Result<Duration, String> {
        let start = Instant::now();
        let lanes = (0..at_a_time).map(|lane| async move {
            for number in (lane..blocks).step_by(at_a_time) {
                self.fetch_one(number).await?;
            }
            Ok::<(), String>(())
        });
        self.runtime.block_on(try_join_all(lanes))?;
        Ok(start.elapsed())
    }

    async fn fetch_one(&self, number: usize) -> Result<(), String> {
        let indices = Indices::new(&[number as i64]).ok_or("no such key")?;
        let key = BlockKey::new(0, 0, indices);
        let fetched = self
            .client
            .fetch(SERVER, self.address, key, Some(self.expected));
        fetched.await.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// Whether this process is to [`serve`].
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Serves a block until standard input closes.
pub fn serve() -> ExitCode {
    match try_serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_serve() -> Result<(), String> {
    let bytes = std::env::var(CHILD).ok().and_then(|text| text.parse().ok());
    let bytes = bytes.ok_or("expected the bytes of a block")?;
    let mut length = [0; 8];
    let mut input = std::io::stdin().lock();
    let said = |error: std::io::Error| error.to_string();
    input.read_exact(&mut length).map_err(said)?;
    let length = String::from_utf8_lossy(&length).trim().parse();
    let mut pem = vec![0; length.map_err(|_| "expected the length of an identity")?];
    input.read_exact(&mut pem).map_err(said)?;
    let identity = NodeIdentity::from_pem(&String::from_utf8_lossy(&pem));
    let runtime = runtime()?;
    let (server, _incoming) = bind(
        &runtime,
        &identity.map_err(|error| error.to_string())?,
        bytes,
    )?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", server.local_addr()).map_err(said)?;
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    drop(input);
    let _ = runtime.block_on(end);
    Ok(())
}

fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
}

fn authority() -> Result<Authority, String> {
    Authority::new(0, SystemTime::now()).map_err(|error| error.to_string())
}

fn issue(authority: &Authority, node: NodeId) -> Result<NodeIdentity, String> {
    let identity = authority.issue(node, SystemTime::now());
    identity.map_err(|error| error.to_string())
}

fn bind(
    runtime: &Runtime,
    identity: &NodeIdentity,
    block_bytes: usize,
) -> Result<(Node, Incoming), String> {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let source = Arc::new(OneBlock(block(block_bytes)));
    let _inside = runtime.enter();
    Node::bind(identity, here, source, Limits::default()).map_err(|error| error.to_string())
}

fn block(bytes: usize) -> Block {
    let mut buf = BlockBuf::with_len(bytes);
    for (place, byte) in buf.as_bytes_mut().iter_mut().enumerate() {
        *byte = (place * 31 + place / 253) as u8;
    }
    buf.freeze()
}
