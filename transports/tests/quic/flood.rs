//! More requests than a node can serve, and readers that are slower than others: it holds what it must, and serves
//! who can take it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use peerwren_transports::frame;
use peerwren_transports::identity::NodeId;
use peerwren_transports::quic::{FetchError, Limits};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::support::*;
use super::{W1, W2};

/// Long blocks: 10,000 of them would be 80 GB.
const LEN: usize = 8 << 20;
const CONNECTIONS: u32 = 16;
const REQUESTS: u32 = 10_000;
/// What a node may take for those that it serves and those that wait: 4 windows of 8 MiB, and as much again for
/// connections, streams and what the allocator keeps.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

/// Requests that may have a turn or wait for one while the flood lasts: 2 turns, 2 lent ones, 64 that wait, and
/// whoever comes after a turn was lost, every 5 s.
const TURNS_MAX: u32 = 500;
/// The status of an answer to whoever is turned away.
const BUSY: u8 = 2;
/// Requests of one connection that have no answer yet: few enough that what waits at the node is of many.
const UNANSWERED_MAX: usize = 8;

/// What all connections together still have to ask, and how often they were turned away.
struct Flood {
    left: AtomicU32,
    busy: AtomicU32,
}

impl Flood {
    /// Asks on one connection until all was asked; reads no block.
    async fn ask(self: Arc<Self>, conn: quinn::Connection) -> Vec<quinn::RecvStream> {
        let places = Arc::new(Semaphore::new(UNANSWERED_MAX));
        let mut asked = JoinSet::new();
        while self.left.load(Ordering::Relaxed) > 0 {
            let place = places.clone().acquire_owned();
            // All places of this connection may belong to requests that wait: then others ask.
            let Ok(place) = tokio::time::timeout(Duration::from_millis(50), place).await else {
                continue;
            };
            let one_less = |left: u32| left.checked_sub(1);
            let relaxed = Ordering::Relaxed;
            if self.left.fetch_update(relaxed, relaxed, one_less).is_err() {
                break;
            }
            let (mut send, mut recv) = conn.open_bi().await.unwrap();
            send.write_all(&request(key(0))).await.unwrap();
            let flood = self.clone();
            asked.spawn(async move {
                let mut bytes = [0; frame::HEADER_LEN + ANSWER_LEN];
                let came = recv.read_exact(&mut bytes).await;
                if came.is_ok() && bytes[frame::HEADER_LEN] == BUSY {
                    flood.busy.fetch_add(1, Ordering::Relaxed);
                    drop(place);
                    return None;
                }
                // A block that nobody reads, or a turn that was lost so: neither side is let go.
                Some((send, recv, place))
            });
        }
        let mut unread = Vec::new();
        while let Some(Ok(held)) = asked.try_join_next() {
            unread.extend(held.map(|(_, recv, _)| recv));
        }
        unread
    }
}

#[test]
fn a_flood_of_requests_meets_back_pressure_and_takes_no_memory() {
    run(async {
        let mut run = Run::new();
        let child = Child::start(&run.authority, W1, LEN);
        let before = child.peak_bytes();
        let mut conns = Vec::new();
        for number in 0..CONNECTIONS {
            let endpoint = raw_endpoint(&run.authority, NodeId::Worker(10 + number), true);
            let conn = endpoint.connect(child.addr, &name(W1)).unwrap().await;
            conns.push(conn.unwrap());
        }
        let flood = Arc::new(Flood {
            left: AtomicU32::new(REQUESTS),
            busy: AtomicU32::new(0),
        });
        let mut asking = JoinSet::new();
        for conn in &conns {
            asking.spawn(flood.clone().ask(conn.clone()));
        }
        let unread = asking.join_all().await;
        // All but those that have a turn, lend one or wait are turned away at once.
        let busy = flood.busy.load(Ordering::Relaxed);
        assert!(busy >= REQUESTS - TURNS_MAX, "{busy} were turned away");
        if let (Some(before), Some(after)) = (before, child.peak_bytes()) {
            let growth = after - before;
            assert!(growth <= GROWTH_BYTES_MAX, "it grew by {growth} bytes");
        }
        drop((unread, conns));
        // The next one is served as ever.
        let (honest, _channels) = run.node(W2, &[], Limits::default());
        let mut got = honest.fetch(W1, child.addr, key(0), None).await;
        while got == Err(FetchError::Busy) {
            got = honest.fetch(W1, child.addr, key(0), None).await;
        }
        assert_eq!(got.unwrap(), block(0, LEN));
    });
}

/// Two that take their blocks drop by drop have all turns there are, and lend them.
#[test]
fn slow_readers_hold_up_nobody() {
    const PIECE: usize = 16 << 10;
    run(async {
        let mut run = Run::new();
        let patient = limits(|limits| {
            limits.stall_timeout = Duration::from_secs(100);
            limits.fetch_timeout = Duration::from_secs(100);
            limits.outgoing_max = 2;
        });
        let (server, _channels) = run.node(W1, &[(0, LEN), (1, LEN)], patient);
        let (honest, _channels) = run.node(W2, &[], Limits::default());
        let mut slow = Vec::new();
        for number in [7, 8] {
            let endpoint = raw_endpoint(&run.authority, NodeId::Worker(number), true);
            let conn = endpoint.connect(server.local_addr(), &name(W1)).unwrap();
            let conn = conn.await.unwrap();
            let (mut send, mut recv) = conn.open_bi().await.unwrap();
            send.write_all(&request(key(0))).await.unwrap();
            assert_eq!(status(&mut recv).await, 0, "it has a turn");
            slow.push((conn, send, recv));
        }
        let mut read = 0;
        let dribble = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                for (_, _, recv) in &mut slow {
                    let chunk = recv.read_chunk(PIECE, true).await.unwrap();
                    read += chunk.map_or(0, |chunk| chunk.bytes.len());
                }
            }
        };
        let served = async {
            for _ in 0..3 {
                let got = honest.fetch(W1, server.local_addr(), key(1), None).await;
                assert_eq!(got.unwrap(), block(1, LEN));
            }
        };
        tokio::select! {
            () = dribble => unreachable!("it never ends"),
            () = served => {}
        }
        assert!(
            read < LEN,
            "they had read {read} bytes until others were served"
        );
    });
}
