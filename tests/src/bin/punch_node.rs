//! One node of a test network: a coordinator that introduces workers, a worker that serves blocks, or
//! one that fetches them and says by which way and how fast. Speaks the runtime's own messages. Or a STUN server.
//!
//! ```text
//! punch_node coordinator IDENTITY LISTEN
//! punch_node worker IDENTITY COORDINATOR serve BYTES
//! punch_node worker IDENTITY COORDINATOR fetch PEER BYTES COUNT
//! punch_node stun LISTEN
//! ```
//!
//! Ends when its standard input does.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use peerwren::control::{FromWorker, PathSecret, Peer, ToWorker, decode, encode};
use peerwren::machine::rendezvous::{Action, Input, Rendezvous};
use peerwren::machine::{Timestamp, WorkerId};
use peerwren_transports::block::{Block, BlockBuf, BlockKey, Digest, Indices};
use peerwren_transports::identity::{NodeId, NodeIdentity};
use peerwren_transports::path::Candidates;
use peerwren_transports::punch::Secret;
use peerwren_transports::quic::{
    BlockSource, ControlChannel, FetchError, Limits, Node, PathEvent, StunServer,
};
use tokio::sync::mpsc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Messages that wait for one worker.
const OUTBOX_MAX: usize = 64;
/// How long the fetching worker waits until it knows its peer and its own outside address.
const SETTLE: Duration = Duration::from_secs(5);

/// Blocks of one length, whatever their names.
struct Blocks(Block);

impl BlockSource for Blocks {
    fn get(&self, _: &BlockKey) -> Option<Block> {
        Some(self.0.clone())
    }
}

fn block(bytes: usize) -> Block {
    let mut buf = BlockBuf::with_len(bytes);
    for (place, byte) in buf.as_bytes_mut().iter_mut().enumerate() {
        *byte = (place * 31 + place / 251) as u8;
    }
    buf.freeze()
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    std::thread::spawn(|| {
        while matches!(std::io::stdin().read(&mut [0; 64]), Ok(n) if n > 0) {}
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match args[..] {
            ["coordinator", identity, listen] => coordinate(identity, listen.parse()?).await,
            ["worker", identity, coordinator, "serve", bytes] => {
                let blocks = Blocks(block(bytes.parse()?));
                let mut worker = Worker::join(identity, coordinator.parse()?, blocks).await?;
                say("ready")?;
                loop {
                    worker.listen().await?;
                }
            }
            ["worker", identity, coordinator, "fetch", peer, bytes, count] => {
                let worker = Worker::join(identity, coordinator.parse()?, Blocks(block(0))).await?;
                worker
                    .fetch(peer.parse()?, bytes.parse()?, count.parse()?)
                    .await
            }
            ["stun", listen] => {
                let server = StunServer::bind(listen.parse()?).await?;
                say(&format!("ready at {}", server.local_addr()))?;
                std::future::pending().await
            }
            _ => Err("see the top of punch_node.rs".into()),
        }
    })
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn bind(
    identity: &str,
    listen: SocketAddr,
    blocks: Blocks,
) -> Result<(Node, peerwren_transports::quic::Incoming)> {
    let identity = NodeIdentity::from_pem(&std::fs::read_to_string(identity)?)?;
    Ok(Node::bind(
        &identity,
        listen,
        Arc::new(blocks),
        Limits::default(),
    )?)
}

// ---- the coordinator

/// Whom it knows: outboxes and addresses.
#[derive(Default)]
struct Known {
    rendezvous: Rendezvous,
    workers: BTreeMap<WorkerId, (mpsc::Sender<Vec<u8>>, Vec<String>)>,
}

async fn coordinate(identity: &str, listen: SocketAddr) -> Result<()> {
    let (node, mut incoming) = bind(identity, listen, Blocks(block(0)))?;
    let stun = StunServer::bind(SocketAddr::new(listen.ip(), listen.port() + 1)).await?;
    let (known, began) = (Arc::new(Mutex::new(Known::default())), Instant::now());
    say(&format!("ready at {}", node.local_addr()))?;
    while let Some(channel) = incoming.next().await {
        let (known, port) = (known.clone(), stun.local_addr().port());
        tokio::spawn(async move {
            // A worker that is gone is a test's own doing.
            let _ = serve(channel, &known, port, began).await;
        });
    }
    Ok(())
}

async fn serve(
    channel: ControlChannel,
    known: &Mutex<Known>,
    stun_port: u16,
    began: Instant,
) -> Option<()> {
    let NodeId::Worker(id) = channel.peer() else {
        return None;
    };
    let (me, seen) = (WorkerId(id), channel.remote_addr().to_string());
    let (mut sender, mut receiver) = channel.split();
    let (outbox, mut waiting) = mpsc::channel::<Vec<u8>>(OUTBOX_MAX);
    tokio::spawn(async move {
        while let Some(message) = waiting.recv().await {
            if sender.send(&message).await.is_err() {
                return;
            }
        }
    });
    while let Ok(Some(bytes)) = receiver.recv().await {
        let now = Timestamp::default().after(began.elapsed());
        let mut known = known.lock().ok()?;
        let input = match decode(&bytes).ok()? {
            FromWorker::Hello { addresses, .. } => {
                let seen = seen.clone();
                let observed = ToWorker::Observed {
                    address: seen.clone(),
                    stun_port: Some(stun_port),
                };
                outbox.try_send(encode(&observed)).ok()?;
                for (other, (theirs, at)) in &known.workers {
                    let joined = |worker, addresses| ToWorker::Peers {
                        joined: vec![Peer { worker, addresses }],
                        left: Vec::new(),
                    };
                    let _ = theirs.try_send(encode(&joined(me, addresses.clone())));
                    outbox.try_send(encode(&joined(*other, at.clone()))).ok()?;
                }
                known
                    .workers
                    .insert(me, (outbox.clone(), addresses.clone()));
                let joined = Input::Joined(me, addresses);
                known.rendezvous.handle_input(now, joined);
                Input::Seen(me, seen)
            }
            FromWorker::Moved { outside } => Input::Moved(me, outside),
            FromWorker::WantPath { peer } => Input::Wanted(me, peer),
            _ => continue,
        };
        known.rendezvous.handle_input(now, input);
        while let Some(Action::Introduce((one, first), (other, second))) =
            known.rendezvous.poll_action()
        {
            let secret = Secret::random().0;
            for (to, peer, reach) in [(one, other, second), (other, one, first)] {
                let secret = PathSecret(secret);
                let introduce = ToWorker::Introduce {
                    peer,
                    reach,
                    secret,
                };
                let (theirs, _) = &known.workers[&to];
                let _ = theirs.try_send(encode(&introduce));
            }
        }
    }
    Some(())
}

// ---- workers

struct Worker {
    node: Node,
    coordinator: SocketAddr,
    sender: peerwren_transports::quic::ControlSender,
    receiver: peerwren_transports::quic::ControlReceiver,
    events: mpsc::Receiver<PathEvent>,
    peers: Vec<WorkerId>,
}

impl Worker {
    async fn join(identity: &str, coordinator: SocketAddr, blocks: Blocks) -> Result<Self> {
        let everywhere = match coordinator {
            SocketAddr::V4(_) => "0.0.0.0:0",
            SocketAddr::V6(_) => "[::]:0",
        };
        let (node, _) = bind(identity, everywhere.parse()?, blocks)?;
        let channel = node.dial_control(coordinator, NodeId::Coordinator).await?;
        let (mut sender, receiver) = channel.split();
        let hello = FromWorker::Hello {
            version: String::new(),
            addresses: node
                .candidates()
                .local
                .iter()
                .map(ToString::to_string)
                .collect(),
            fingerprint: Digest([0; 32]),
            kernels: Vec::new(),
            cpu: String::new(),
        };
        sender.send(&encode(&hello)).await?;
        Ok(Self {
            events: node.path_events().ok_or("the events are taken")?,
            node,
            coordinator,
            sender,
            receiver,
            peers: Vec::new(),
        })
    }

    /// Passes on one message or event.
    async fn listen(&mut self) -> Result<()> {
        tokio::select! {
            message = self.receiver.recv() => {
                let bytes = message?.ok_or("the coordinator is gone")?;
                self.told(decode(&bytes)?)
            }
            Some(event) = self.events.recv() => {
                let message = match event {
                    PathEvent::Ask(NodeId::Worker(peer)) => FromWorker::WantPath { peer: WorkerId(peer) },
                    PathEvent::Moved { outside, .. } => FromWorker::Moved {
                        outside: outside.iter().map(ToString::to_string).collect(),
                    },
                    _ => return Ok(()),
                };
                Ok(self.sender.send(&encode(&message)).await?)
            }
        }
    }

    fn told(&mut self, message: ToWorker) -> Result<()> {
        let parsed = |texts: &[String]| -> Vec<SocketAddr> {
            texts.iter().filter_map(|text| text.parse().ok()).collect()
        };
        match message {
            ToWorker::Observed { address, stun_port } => {
                self.node.observed(self.coordinator, address.parse()?);
                if let Some(port) = stun_port {
                    let (node, ip) = (self.node.clone(), self.coordinator.ip());
                    tokio::spawn(async move { node.ask_stun(SocketAddr::new(ip, port)).await });
                }
            }
            ToWorker::Peers { joined, .. } => {
                for peer in joined {
                    let candidates = Candidates::told(parsed(&peer.addresses), []);
                    self.node.meet(NodeId::Worker(peer.worker.0), candidates);
                    self.peers.push(peer.worker);
                }
            }
            ToWorker::Introduce {
                peer,
                reach,
                secret,
            } => {
                let candidates = Candidates::told(parsed(&reach.local), parsed(&reach.outside));
                self.node
                    .introduce(NodeId::Worker(peer.0), candidates, Secret(secret.0));
            }
            _ => {}
        }
        Ok(())
    }

    async fn fetch(mut self, peer: u32, bytes: usize, count: usize) -> Result<()> {
        let settled = async {
            // Both observers' words: with one the kind of mapping stays unknown.
            while !self.peers.contains(&WorkerId(peer))
                || self.node.mapping() == peerwren_transports::path::Mapping::Unknown
            {
                self.listen().await?;
            }
            Ok::<(), Box<dyn Error>>(())
        };
        // Where no second observer answers there is still a try.
        if let Ok(settled) = tokio::time::timeout(SETTLE, settled).await {
            settled?;
        }
        let (node, mapping) = (self.node.clone(), self.node.mapping());
        let listening = async {
            loop {
                self.listen().await?;
            }
            #[allow(unreachable_code, reason = "names the error's type")]
            Ok::<(), Box<dyn Error>>(())
        };
        let fetching = async {
            let began = Instant::now();
            let mut opened = Duration::ZERO;
            let mut failures = Vec::new();
            let mut fetched = 0u64;
            for number in 0..count {
                let key =
                    BlockKey::new(0xfeed, 0, Indices::new(&[number as i64]).ok_or("an index")?);
                match node
                    .fetch_by_path(NodeId::Worker(peer), key, None, None)
                    .await
                {
                    Ok(block) if block.as_bytes() == self::block(bytes).as_bytes() => {
                        fetched += block.len() as u64;
                    }
                    Ok(_) => return Err("the block has other bytes".into()),
                    Err(FetchError::NoPath) => failures.push("no path".to_owned()),
                    Err(error) => failures.push(error.to_string()),
                }
                if number == 0 {
                    opened = began.elapsed();
                    let came = failures.is_empty();
                    say(if came { "first came" } else { "first failed" })?;
                }
                if failures.last().is_some_and(|last| last == "no path") {
                    break;
                }
            }
            let took = began.elapsed().saturating_sub(opened).as_secs_f64();
            let rest = fetched.saturating_sub(bytes as u64);
            let ways = node.ways();
            let way = match (ways.local, ways.punched) {
                (0, 0) => "store",
                (0, _) => "punched",
                _ => "local",
            };
            let rate = if rest > 0 {
                rest as f64 / took / 1e6
            } else {
                0.0
            };
            say(&format!(
                "way={way} mapping={mapping:?} first_ms={} MB/s={rate:.0} failures={failures:?}",
                opened.as_millis()
            ))
        };
        tokio::select! {
            done = fetching => done,
            gone = listening => gone,
        }
    }
}
