//! Those who are let in and do harm, and those who hold less than they claim: what they get, and that others notice
//! nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use peerwren_transports::frame::FrameError;
use peerwren_transports::identity::{NodeId, NodeIdentity};
use peerwren_transports::quic::{ChannelError, DialError, FetchError, Limits, Node};

use super::support::*;
use super::{W1, W2};

const W3: NodeId = NodeId::Worker(3);

fn node_of(identity: &NodeIdentity) -> Node {
    let blocks = Arc::new(Blocks::default());
    Node::bind(identity, local(), blocks, Limits::default())
        .unwrap()
        .0
}

/// A connection of a worker of this run, without our protocol on it.
async fn raw(run: &Run, to: &Node) -> quinn::Connection {
    let dialed = raw_endpoint(&run.authority, W2, true);
    let name = name(to.id());
    dialed
        .connect(to.local_addr(), &name)
        .unwrap()
        .await
        .unwrap()
}

#[test]
fn streams_that_say_one_byte_at_a_time_are_cut_and_hold_nobody_up() {
    run(async {
        const STREAMS: u32 = 16;
        let mut run = Run::new();
        let limits = limits(|limits| {
            limits.stall_timeout = Duration::from_millis(300);
            limits.streams_max = STREAMS;
        });
        let (server, _channels) = run.node(W1, &[(0, 1000)], limits);
        let conn = raw(&run, &server).await;
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let (mut send, recv) = conn.open_bi().await.unwrap();
            send.write_all(b"p").await.unwrap();
            streams.push((send, recv));
        }
        let one_more = tokio::time::timeout(Duration::from_millis(50), conn.open_bi()).await;
        assert!(one_more.is_err(), "a peer has so many streams and no more");
        let (honest, _channels) = run.node(W3, &[], Limits::default());
        let began = Instant::now();
        let dribble = async {
            for byte in b"wrn\x01\x00\x04\x00\x0b\x00\x00\x00xxx" {
                tokio::time::sleep(Duration::from_millis(50)).await;
                for (send, _) in &mut streams {
                    let _ = send.write_all(&[*byte]).await;
                }
            }
        };
        let fetch = async {
            for _ in 0..20 {
                honest
                    .fetch(W1, server.local_addr(), key(0), None)
                    .await
                    .unwrap();
            }
            began.elapsed()
        };
        let cut = until(|| server.stats().malformed == u64::from(STREAMS));
        let ((), took, ()) = tokio::join!(dribble, fetch, cut);
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}

#[test]
fn who_asks_and_does_not_read_loses_its_turn() {
    run(async {
        let mut run = Run::new();
        let limits = limits(|limits| {
            limits.stall_timeout = Duration::from_millis(300);
            limits.outgoing_max = 1;
            limits.outgoing_lagging_max = 0;
            limits.send_window_bytes = 10_000;
        });
        let (server, _channels) = run.node(W1, &[(0, 8 << 20)], limits);
        let conn = raw(&run, &server).await;
        let mut unread = Vec::new();
        for _ in 0..3 {
            let (mut send, recv) = conn.open_bi().await.unwrap();
            send.write_all(&request(key(0))).await.unwrap();
            unread.push((send, recv));
        }
        until(|| server.stats().waiting >= 2).await;
        let (honest, _channels) = run.node(W3, &[], Limits::default());
        honest
            .fetch(W1, server.local_addr(), key(0), None)
            .await
            .unwrap();
        let stats = server.stats();
        assert!(stats.unserved >= 1, "{stats:?}");
    });
}

#[test]
fn a_token_is_good_for_asking_the_coordinator_and_for_nothing_else() {
    run(async {
        let mut run = Run::new();
        let hour = Duration::from_secs(3600);
        let (worker, _channels) = run.node(W1, &[(0, 10)], Limits::default());
        let (coordinator, mut channels) =
            run.node(NodeId::Coordinator, &[(0, 10)], Limits::default());
        let token = run.authority.issue_guest(now(), hour).unwrap();
        let guest = node_of(&token);
        // At a worker: neither blocks nor control.
        let error = guest.dial_control(worker.local_addr(), W1).await;
        assert!(matches!(error, Err(DialError::Refused(_))), "no control");
        let error = guest.fetch(W1, worker.local_addr(), key(0), None).await;
        assert!(matches!(error, Err(FetchError::PeerGone(_))), "{error:?}");
        until(|| worker.stats().strangers >= 1).await;
        // At the coordinator: to ask, as a guest and under no other name.
        guest
            .dial_control(coordinator.local_addr(), NodeId::Coordinator)
            .await
            .unwrap();
        assert_eq!(channels.next().await.unwrap().peer(), NodeId::Guest);
        // After its time: nothing at all.
        let old = run.authority.issue_guest(now() - 3 * hour, hour).unwrap();
        let error = node_of(&old)
            .dial_control(coordinator.local_addr(), NodeId::Coordinator)
            .await;
        assert!(matches!(error, Err(DialError::Refused(_))), "expired");
        until(|| coordinator.stats().strangers >= 1).await;
    });
}

#[test]
fn giant_truncated_and_foreign_messages_end_their_channel_alone() {
    run(async {
        let mut run = Run::new();
        let (server, mut channels) = run.node(NodeId::Coordinator, &[], Limits::default());
        let (honest, _channels) = run.node(W3, &[], Limits::default());
        let kept = honest.dial_control(server.local_addr(), NodeId::Coordinator);
        let (mut kept, _receiver) = kept.await.unwrap().split();
        let (_sender, mut heard) = channels.next().await.unwrap().split();
        let conn = raw(&run, &server).await;
        let limit = Limits::default().control_bytes_max;
        let cases: [(&[u8], FrameError); 4] = [
            (
                b"pwrn\x01\x00\x03\x00\xff\xff\xff\xff",
                FrameError::TooLong {
                    limit,
                    got: u32::MAX as usize,
                },
            ),
            (
                b"pwrn\x01\x00\x03\x00\x09\x00\x00\x00xxx",
                FrameError::Truncated,
            ),
            (
                b"pwrn\x09\x00\x03\x00\x00\x00\x00\x00",
                FrameError::VersionSkew { ours: 1, theirs: 9 },
            ),
            (
                b"GET / HTTP/1.1\r\n\r\n",
                FrameError::Malformed("wrong magic"),
            ),
        ];
        for (bytes, expected) in cases {
            let (mut send, mut recv) = conn.open_bi().await.unwrap();
            let open = b"pwrn\x01\x00\x01\x00\x00\x00\x00\x00";
            send.write_all(open).await.unwrap();
            let mut accept = [0; 12];
            recv.read_exact(&mut accept).await.unwrap();
            let channel = channels.next().await.unwrap();
            assert_eq!(channel.peer(), W2, "who it has proved to be");
            let (_sender, mut receiver) = channel.split();
            send.write_all(bytes).await.unwrap();
            send.finish().unwrap();
            let came = receiver.recv().await;
            assert_eq!(came, Err(ChannelError::Protocol(expected)));
        }
        kept.send(b"still here").await.unwrap();
        assert_eq!(heard.recv().await.unwrap().unwrap(), b"still here");
    });
}
