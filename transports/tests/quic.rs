//! Nodes on this machine's loopback: what they carry, what they refuse, and what they survive.

#[path = "quic/attackers.rs"]
mod attackers;
#[path = "quic/flood.rs"]
mod flood;
#[path = "quic/handover.rs"]
mod handover;
#[path = "quic/paths.rs"]
mod paths;
#[path = "quic/spread.rs"]
mod spread;
mod support;

use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{BlockKey, BlockLen, Digest, Indices};
use peerwren_transports::frame::{self, FrameError};
use peerwren_transports::identity::{Authority, NodeId};
use peerwren_transports::quic::{ChannelError, DialError, Expected, FetchError, Limits, Node};
use support::*;

const W1: NodeId = NodeId::Worker(1);
const W2: NodeId = NodeId::Worker(2);

#[test]
fn blocks_go_both_ways_on_one_connection() {
    run(async {
        let mut run = Run::new();
        let (a, _channels) = run.node(W1, &[(0, 1 << 20), (1, 0), (2, 13)], Limits::default());
        let (b, _channels) = run.node(W2, &[(3, 3_000_000)], Limits::default());
        for (number, len) in [(0, 1 << 20), (1, 0), (2, 13)] {
            let block = block(number, len);
            let digest = block.digest();
            let known = [len.into(), BlockLen::AtMost(len), BlockLen::AtMost(2 << 20)];
            let known = known.map(|len| {
                Some(Expected {
                    len,
                    digest: Some(digest),
                })
            });
            for expected in known.into_iter().chain([None]) {
                let got = b
                    .fetch(W1, a.local_addr(), key(number), expected)
                    .await
                    .unwrap();
                assert_eq!((got.digest(), &got), (block.digest(), &block));
            }
        }
        assert_eq!(
            b.fetch(W1, a.local_addr(), key(9), None).await,
            Err(FetchError::NotFound)
        );
        // The address does not matter: there is a connection.
        let nowhere = "127.0.0.1:1".parse().unwrap();
        let got = a.fetch(W2, nowhere, key(3), None).await.unwrap();
        assert_eq!(got, block(3, 3_000_000));
        assert_eq!((a.stats().connections, b.stats().connections), (1, 1));
        until(|| a.stats().served == 12 && b.stats().served == 1).await;
        assert_eq!(a.stats().served_bytes, 4 * ((1 << 20) + 13));
        assert_eq!(a.stats().not_found, 1);
    });
}

#[test]
fn first_fetches_share_one_dial_and_nodes_may_dial_each_other_at_once() {
    run(async {
        let mut run = Run::new();
        let blocks = [(0, 100_000), (1, 50)];
        let (a, _channels) = run.node(W1, &blocks, Limits::default());
        let (b, _channels) = run.node(W2, &blocks, Limits::default());
        let (c, _channels) = run.node(NodeId::Worker(3), &[], Limits::default());
        let fetches = |from: &Node, peer, at: &Node, times: usize| -> Vec<_> {
            (0..times)
                .map(|number| {
                    let (from, addr) = (from.clone(), at.local_addr());
                    let key = key(number as i64 % 2);
                    tokio::spawn(async move { from.fetch(peer, addr, key, None).await })
                })
                .collect()
        };
        for fetch in fetches(&c, W1, &a, 30) {
            fetch.await.unwrap().unwrap();
        }
        assert_eq!((c.stats().connections, a.stats().connections), (1, 1));
        let crossing = [fetches(&a, W2, &b, 20), fetches(&b, W1, &a, 20)];
        for fetch in crossing.into_iter().flatten() {
            fetch.await.unwrap().unwrap();
        }
        assert!(b.stats().connections <= 2);
    });
}

#[test]
fn a_coordinator_is_found_at_whichever_of_its_addresses_answers() {
    run(async {
        let mut run = Run::new();
        let (other, _channels) = run.node(W2, &[], Limits::default());
        let silent = std::net::UdpSocket::bind(local()).unwrap();
        let bind = |node, addr: &str| {
            let identity = run.authority.issue(node, now()).unwrap();
            let blocks = Arc::new(Blocks::default());
            Node::bind(&identity, addr.parse().unwrap(), blocks, Limits::default()).unwrap()
        };
        let (server, mut channels) = bind(NodeId::Coordinator, "[::]:0");
        let port = server.local_addr().port();
        let at = |ip: &str| format!("{ip}:{port}").parse().unwrap();
        // One says nothing, one is somebody else, and `[::]` takes both kinds of addresses.
        for (from, ip) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::1]:0", "[::1]"),
            ("[::]:0", "127.0.0.1"),
        ] {
            let (worker, _channels) = bind(W1, from);
            let mut addrs = vec![at(ip)];
            if from.starts_with("127") {
                addrs.splice(0..0, [silent.local_addr().unwrap(), other.local_addr()]);
            }
            let channel = worker
                .dial_control_any(&addrs, NodeId::Coordinator)
                .await
                .unwrap();
            assert_eq!(channels.next().await.unwrap().peer(), W1);
            assert_eq!(channel.peer(), NodeId::Coordinator);
            worker.close(Duration::ZERO).await;
        }
        let (worker, _channels) = bind(W1, "127.0.0.1:0");
        let wrong = [other.local_addr(), silent.local_addr().unwrap()];
        let error = worker
            .dial_control_any(&wrong, NodeId::Coordinator)
            .await
            .unwrap_err();
        assert!(matches!(error, DialError::Refused(_)), "{error:?}");
    });
}

#[test]
fn strangers_are_refused() {
    run(async {
        let mut run = Run::new();
        let (server, mut channels) = run.node(W1, &[(0, 10)], Limits::default());
        let addr = server.local_addr();
        let node = |authority: &Authority, when| {
            let identity = authority.issue(W2, when).unwrap();
            Node::bind(
                &identity,
                local(),
                Arc::new(Blocks::default()),
                Limits::default(),
            )
            .unwrap()
        };
        // Another run's certificate, with the same run number even.
        let other = Authority::new(run.authority.run(), now()).unwrap();
        let (stranger, _c) = node(&other, now());
        let error = stranger.dial_control(addr, W1).await.unwrap_err();
        assert!(matches!(error, DialError::Refused(_)), "{error:?}");
        // This run's, expired.
        let week = Duration::from_secs(8 * 24 * 3600);
        let (expired, _c) = node(&run.authority, now() - week);
        let error = expired.dial_control(addr, W1).await.unwrap_err();
        assert!(matches!(error, DialError::Refused(_)), "{error:?}");
        // None at all.
        let conn = raw_endpoint(&run.authority, W2, false)
            .connect(addr, &name(W1))
            .unwrap()
            .await;
        if let Ok(conn) = conn {
            let closed = conn.closed().await;
            assert!(
                matches!(closed, quinn::ConnectionError::ConnectionClosed(_)),
                "{closed}"
            );
        }
        // This run's, but not who was asked for.
        let (honest, _c) = run.node(W2, &[], Limits::default());
        let error = honest
            .dial_control(addr, NodeId::Worker(7))
            .await
            .unwrap_err();
        assert!(matches!(error, DialError::Refused(_)), "{error:?}");
        let error = honest
            .fetch(NodeId::Worker(7), addr, key(0), None)
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::PeerGone(_)), "{error:?}");
        // The run is unharmed.
        until(|| server.stats().strangers >= 3).await;
        honest.fetch(W1, addr, key(0), None).await.unwrap();
        assert!(honest.dial_control(addr, W1).await.is_ok());
        assert_eq!(channels.next().await.unwrap().peer(), W2);
    });
}

#[test]
fn a_restored_authority_issues_for_the_same_run() {
    run(async {
        let mut run = Run::new();
        let (a, _channels) = run.node(W1, &[(0, 10)], Limits::default());
        run.authority = Authority::from_pem(&run.authority.to_pem()).unwrap();
        let (b, _channels) = run.node(W2, &[], Limits::default());
        b.fetch(W1, a.local_addr(), key(0), None).await.unwrap();
    });
}

#[test]
fn lies_about_blocks_are_found() {
    run(async {
        let mut run = Run::new();
        let limits = limits(|limits| {
            limits.block_bytes_max = 1000;
            limits.stall_timeout = Duration::from_millis(200);
        });
        let (client, _channels) = run.node(W2, &[], limits);
        let good = block(0, 500);
        let expected = Some(Expected {
            len: 500.into(),
            digest: Some(good.digest()),
        });
        let bound = Some(Expected {
            len: BlockLen::AtMost(499),
            digest: Some(good.digest()),
        });
        let digest = |bytes: &[u8]| Digest::of(bytes);
        let cases = [
            (
                "another length",
                expected,
                found(499, good.digest(), &good.as_bytes()[..499]),
                true,
                FetchError::Corrupt("another length is announced"),
            ),
            (
                "beyond the bound",
                bound,
                found(500, good.digest(), good.as_bytes()),
                true,
                FetchError::Corrupt("another length is announced"),
            ),
            (
                "within the bound, but other bytes",
                bound,
                found(300, good.digest(), &good.as_bytes()[..300]),
                true,
                FetchError::Corrupt("its digest is wrong"),
            ),
            (
                "another digest",
                expected,
                found(500, digest(b"x"), good.as_bytes()),
                true,
                FetchError::Corrupt("another digest is announced"),
            ),
            (
                "other bytes",
                expected,
                found(500, good.digest(), &[7; 500]),
                true,
                FetchError::Corrupt("its digest is wrong"),
            ),
            (
                "other bytes, nothing expected",
                None,
                found(500, good.digest(), &[7; 500]),
                true,
                FetchError::Corrupt("its digest is wrong"),
            ),
            (
                "early end",
                expected,
                found(500, good.digest(), &good.as_bytes()[..499]),
                true,
                FetchError::Corrupt("it ended early"),
            ),
            (
                "late end",
                expected,
                found(500, good.digest(), &[good.as_bytes(), &[0]].concat()),
                true,
                FetchError::Corrupt("it is longer than announced"),
            ),
            (
                "too long",
                None,
                found(1001, good.digest(), &[0; 1001]),
                true,
                FetchError::TooLong {
                    limit: 1000,
                    got: 1001,
                },
            ),
            (
                "giant",
                None,
                found(u64::MAX, good.digest(), &[]),
                true,
                FetchError::TooLong {
                    limit: 1000,
                    got: u64::MAX,
                },
            ),
            (
                "stall",
                expected,
                found(500, good.digest(), &good.as_bytes()[..100]),
                false,
                FetchError::TimedOut,
            ),
            (
                "garbage",
                expected,
                b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
                true,
                FetchError::Protocol(FrameError::Malformed("wrong magic")),
            ),
            (
                "newer",
                expected,
                b"pwrn\x09\x00\x06\x00\x00\x00\x00\x00".to_vec(),
                true,
                FetchError::Protocol(FrameError::VersionSkew {
                    ours: frame::VERSION,
                    theirs: 9,
                }),
            ),
            (
                "giant answer",
                expected,
                b"pwrn\x01\x00\x05\x00\xff\xff\xff\xff".to_vec(),
                true,
                FetchError::Protocol(FrameError::TooLong {
                    limit: ANSWER_LEN,
                    got: u32::MAX as usize,
                }),
            ),
        ];
        let server = raw_endpoint(&run.authority, W1, true);
        let addr = server.local_addr().unwrap();
        let answers: Vec<_> = cases.iter().map(|case| (case.2.clone(), case.3)).collect();
        tokio::spawn(async move {
            let conn = server.accept().await.unwrap().await.unwrap();
            let mut open = Vec::new();
            for (answer, finish) in answers {
                let (mut send, mut recv) = conn.accept_bi().await.unwrap();
                recv.read(&mut [0; 64]).await.unwrap();
                let _ = send.write_all(&answer).await;
                if finish {
                    let _ = send.finish();
                }
                open.push((send, recv));
            }
            conn.closed().await;
        });
        for (what, expected, _, _, error) in cases {
            let got = client.fetch(W1, addr, key(0), expected).await;
            assert_eq!(got, Err(error), "{what}");
        }
    });
}

#[test]
fn garbage_and_foreign_keys_harm_nobody() {
    run(async {
        let mut run = Run::new();
        let limits = limits(|limits| limits.stall_timeout = Duration::from_millis(100));
        let (server, _channels) = run.node(W1, &[(0, 10)], limits);
        let conn = raw_endpoint(&run.authority, W2, true)
            .connect(server.local_addr(), &name(W1))
            .unwrap()
            .await
            .unwrap();
        let frames: [(&str, &[u8]); 8] = [
            ("garbage", b"GET / HTTP/1.1\r\n\r\n"),
            ("newer", b"pwrn\x09\x00\x04\x00\x0b\x00\x00\x00"),
            ("giant", b"pwrn\x01\x00\x04\x00\xff\xff\xff\xff"),
            ("truncated header", b"pwrn\x01\x00"),
            (
                "truncated payload",
                b"pwrn\x01\x00\x04\x00\x0b\x00\x00\x00xxx",
            ),
            ("unknown kind", b"pwrn\x01\x00\x63\x00\x00\x00\x00\x00"),
            ("empty key", b"pwrn\x01\x00\x04\x00\x00\x00\x00\x00"),
            (
                "rank 9",
                b"pwrn\x01\x00\x04\x00\x0b\x00\x00\x00xxxxxxxxyy\x09",
            ),
        ];
        for (number, (what, bytes)) in frames.into_iter().enumerate() {
            let (mut send, mut recv) = conn.open_bi().await.unwrap();
            send.write_all(bytes).await.unwrap();
            send.finish().unwrap();
            // Every answer tells the version, so that a newer node can say what is wrong.
            let answer = recv.read_to_end(100).await.unwrap();
            assert_eq!(answer, b"pwrn\x01\x00\x06\x00\x00\x00\x00\x00", "{what}");
            assert_eq!(server.stats().malformed, number as u64 + 1, "{what}");
        }
        // Whoever says nothing, or says it too slowly, is left.
        let (mut send, mut recv) = conn.open_bi().await.unwrap();
        send.write_all(b"pwrn").await.unwrap();
        assert_eq!(recv.read_to_end(100).await.unwrap(), b"");
        assert_eq!(server.stats().malformed, 9);
        // Streams of one direction are not possible at all.
        let uni = tokio::time::timeout(Duration::from_millis(50), conn.open_uni()).await;
        assert!(uni.is_err());
        let (honest, _channels) = run.node(NodeId::Worker(3), &[], Limits::default());
        let foreign = BlockKey::new(RUN + 1, 0, Indices::new(&[0]).unwrap());
        let got = honest.fetch(W1, server.local_addr(), foreign, None).await;
        assert_eq!(got, Err(FetchError::NotFound));
        assert_eq!(server.stats().foreign, 1);
        honest
            .fetch(W1, server.local_addr(), key(0), None)
            .await
            .unwrap();
    });
}

#[test]
fn beyond_its_turns_and_queue_a_node_is_busy() {
    const LEN: usize = 1 << 20;
    run(async {
        let mut run = Run::new();
        let limits = limits(|limits| {
            limits.outgoing_max = 1;
            limits.outgoing_lagging_max = 0;
            limits.outgoing_queue_max = 1;
            limits.send_window_bytes = 10_000;
        });
        let (server, _channels) = run.node(W1, &[(0, LEN)], limits);
        let conn = raw_endpoint(&run.authority, W2, true)
            .connect(server.local_addr(), &name(W1))
            .unwrap()
            .await
            .unwrap();
        let ask = async || {
            let (mut send, recv) = conn.open_bi().await.unwrap();
            send.write_all(&request(key(0))).await.unwrap();
            (send, recv)
        };
        // The first is being sent, and its peer does not acknowledge it.
        let (mut send, mut first) = ask().await;
        assert_eq!(status(&mut first).await, 0);
        // Of two more, one waits and one is turned away.
        let (_second_send, mut second) = ask().await;
        let (_third_send, mut third) = ask().await;
        let waiting = tokio::select! {
            busy = status(&mut second) => { assert_eq!(busy, 2); third },
            busy = status(&mut third) => { assert_eq!(busy, 2); second },
        };
        assert_eq!(server.stats().busy, 1);
        // When the first gives up, the one that waited has its turn.
        send.reset(0u32.into()).unwrap();
        drop(first);
        let mut waiting = waiting;
        assert_eq!(status(&mut waiting).await, 0);
        until(|| server.stats().unserved == 1).await;
        assert_eq!(
            waiting.read_to_end(LEN).await.unwrap(),
            block(0, LEN).as_bytes()
        );
        assert_eq!(
            server.stats().served,
            0,
            "without a receipt nothing was served"
        );
    });
}

#[test]
fn a_cancelled_fetch_frees_its_turn() {
    run(async {
        let mut run = Run::new();
        // Nothing but the cancellation itself may free the turn within the test's time.
        let one = limits(|limits| {
            limits.outgoing_max = 1;
            limits.outgoing_lagging_max = 0;
            limits.stall_timeout = Duration::from_secs(1000);
            limits.fetch_timeout = Duration::from_secs(1000);
        });
        let (server, _channels) = run.node(W1, &[(0, 64 << 20), (1, 10)], one.clone());
        let (client, _channels) = run.node(W2, &[], one);
        client
            .fetch(W1, server.local_addr(), key(1), None)
            .await
            .unwrap();
        for _ in 0..3 {
            let fetch = client.fetch(W1, server.local_addr(), key(0), None);
            let cancelled = tokio::time::timeout(Duration::from_millis(3), fetch).await;
            assert!(cancelled.is_err());
        }
        client
            .fetch(W1, server.local_addr(), key(1), None)
            .await
            .unwrap();
        assert_eq!(client.stats().connections, 1);
    });
}

#[test]
fn control_messages_keep_their_order_and_end_cleanly() {
    run(async {
        let mut run = Run::new();
        let (server, mut channels) = run.node(NodeId::Coordinator, &[], Limits::default());
        let (client, _channels) = run.node(W1, &[], Limits::default());
        let dialed = client
            .dial_control(server.local_addr(), NodeId::Coordinator)
            .await
            .unwrap();
        let accepted = channels.next().await.unwrap();
        assert_eq!((dialed.peer(), accepted.peer()), (NodeId::Coordinator, W1));
        assert_eq!(accepted.remote_addr(), client.local_addr());
        let message = |number: usize| vec![number as u8; number * number % 5000];
        let (mut there, mut here) = accepted.split();
        let echo = tokio::spawn(async move {
            while let Some(message) = here.recv().await.unwrap() {
                there.send(&message).await.unwrap();
            }
            there.finish(Duration::from_secs(5)).await.unwrap();
        });
        let (mut sender, mut receiver) = dialed.split();
        let sending = tokio::spawn(async move {
            for number in 0..1000 {
                sender.send(&message(number)).await.unwrap();
            }
            let long = vec![0; (16 << 20) + 1];
            let error = sender.send(&long).await.unwrap_err();
            assert!(matches!(
                error,
                ChannelError::Protocol(FrameError::TooLong { .. })
            ));
            sender.send(&long[1..]).await.unwrap();
            sender.finish(Duration::from_secs(5)).await.unwrap();
        });
        for number in 0..1000 {
            // A receive that is dropped midway loses nothing.
            let received = loop {
                tokio::select! {
                    biased;
                    () = tokio::task::yield_now() => {}
                    received = receiver.recv() => break received,
                }
            };
            assert_eq!(received.unwrap().unwrap(), message(number), "{number}");
        }
        assert_eq!(receiver.recv().await.unwrap().unwrap().len(), 16 << 20);
        assert_eq!(receiver.recv().await.unwrap(), None);
        sending.await.unwrap();
        echo.await.unwrap();
    });
}

#[test]
fn a_control_channel_ends_with_its_node_and_outlives_disuse() {
    run(async {
        let mut run = Run::new();
        let brief = limits(|limits| limits.unused_timeout = Duration::from_millis(40));
        let (server, mut channels) = run.node(NodeId::Coordinator, &[(0, 10)], brief.clone());
        let (client, _channels) = run.node(W1, &[], brief.clone());
        let (other, _channels) = run.node(W2, &[], brief);
        let dialed = client
            .dial_control(server.local_addr(), NodeId::Coordinator)
            .await
            .unwrap();
        let (mut sender, mut receiver) = channels.next().await.unwrap().split();
        // A connection that only carried a block is dropped, and dialed again when needed.
        for _ in 0..3 {
            other
                .fetch(NodeId::Coordinator, server.local_addr(), key(0), None)
                .await
                .unwrap();
            until(|| server.stats().connections == 1 && other.stats().connections == 0).await;
        }
        sender.send(b"still here").await.unwrap();
        let (_kept, mut dialed) = dialed.split();
        assert_eq!(dialed.recv().await.unwrap().unwrap(), b"still here");
        client.close(Duration::from_secs(1)).await;
        assert!(matches!(receiver.recv().await, Err(ChannelError::Lost(_))));
        let closed = client
            .dial_control(server.local_addr(), NodeId::Coordinator)
            .await;
        assert_eq!(closed.unwrap_err(), DialError::Closed);
        let gone = server.dial_control(client.local_addr(), W1);
        let gone = tokio::time::timeout(Duration::from_millis(100), gone).await;
        assert!(!matches!(gone, Ok(Ok(_))));
    });
}

#[test]
fn a_forgotten_peer_is_cut_off_and_may_come_back() {
    run(async {
        let mut run = Run::new();
        let (server, mut channels) = run.node(NodeId::Coordinator, &[(0, 10)], Limits::default());
        let (client, _channels) = run.node(W1, &[], Limits::default());
        let _dialed = client
            .dial_control(server.local_addr(), NodeId::Coordinator)
            .await
            .unwrap();
        let (_sender, mut receiver) = channels.next().await.unwrap().split();
        server.forget(W1);
        assert!(matches!(receiver.recv().await, Err(ChannelError::Lost(_))));
        until(|| client.stats().connections == 0).await;
        client
            .fetch(NodeId::Coordinator, server.local_addr(), key(0), None)
            .await
            .unwrap();
    });
}

#[test]
fn more_connections_than_allowed_are_refused_unless_one_is_unused() {
    run(async {
        let mut run = Run::new();
        let two = limits(|limits| limits.connections_max = 2);
        let (server, mut channels) = run.node(NodeId::Coordinator, &[(0, 10)], two);
        let addr = server.local_addr();
        let mut held = Vec::new();
        for number in 1..=2 {
            let (node, _) = run.node(NodeId::Worker(number), &[], Limits::default());
            let channel = node.dial_control(addr, NodeId::Coordinator).await.unwrap();
            held.push((node, channel, channels.next().await.unwrap()));
        }
        let (third, _channels) = run.node(NodeId::Worker(3), &[], Limits::default());
        let refused = third
            .dial_control(addr, NodeId::Coordinator)
            .await
            .unwrap_err();
        assert_eq!(refused, DialError::Crowded);
        held.pop();
        until(|| server.stats().connections < 2).await;
        third
            .fetch(NodeId::Coordinator, addr, key(0), None)
            .await
            .unwrap();
        // The third carries nothing now, and makes room.
        let (fourth, _channels) = run.node(NodeId::Worker(4), &[], Limits::default());
        fourth
            .dial_control(addr, NodeId::Coordinator)
            .await
            .unwrap();
        until(|| third.stats().connections == 0).await;
    });
}

#[test]
fn a_node_that_takes_no_control_refuses_it() {
    run(async {
        let mut run = Run::new();
        let (server, channels) = run.node(W1, &[(0, 10)], Limits::default());
        drop(channels);
        let (client, _channels) = run.node(W2, &[], Limits::default());
        let refused = client
            .dial_control(server.local_addr(), W1)
            .await
            .unwrap_err();
        assert_eq!(refused, DialError::Refused("no control channel".to_owned()));
        client
            .fetch(W1, server.local_addr(), key(0), None)
            .await
            .unwrap();
    });
}

#[test]
fn nobody_there_is_noticed() {
    run(async {
        let mut run = Run::new();
        let brief = limits(|limits| limits.handshake_timeout = Duration::from_millis(100));
        let (client, _channels) = run.node(W2, &[], brief);
        let silent = std::net::UdpSocket::bind(local()).unwrap();
        let addr = silent.local_addr().unwrap();
        assert_eq!(
            client.dial_control(addr, W1).await.unwrap_err(),
            DialError::TimedOut
        );
        let gone = client.fetch(W1, addr, key(0), None).await.unwrap_err();
        assert!(matches!(gone, FetchError::PeerGone(_)), "{gone:?}");
        let nowhere = client
            .dial_control("127.0.0.1:0".parse().unwrap(), W1)
            .await
            .unwrap_err();
        assert!(matches!(nowhere, DialError::Address(_)), "{nowhere:?}");
    });
}

#[test]
fn a_killed_peer_is_noticed_in_control_and_in_a_fetch_and_replaced() {
    run(async {
        let mut run = Run::new();
        let slow = limits(|limits| {
            limits.idle_timeout = Duration::from_millis(500);
            limits.keep_alive = Duration::from_millis(100);
            // So small that the block is on its way for long.
            limits.stream_window_bytes = 4096;
        });
        let (client, _channels) = run.node(W2, &[], slow);
        let mut child = Child::start(&run.authority, W1, 64 << 20);
        let (_sender, mut receiver) = client.dial_control(child.addr, W1).await.unwrap().split();
        let fetch = {
            let (client, addr) = (client.clone(), child.addr);
            tokio::spawn(async move { client.fetch(W1, addr, key(0), None).await })
        };
        // Elsewhere, since this thread is the client's.
        tokio::task::spawn_blocking(move || child.kill_when_it_sends())
            .await
            .unwrap();
        let gone = fetch.await.unwrap().unwrap_err();
        assert!(matches!(gone, FetchError::PeerGone(_)), "{gone:?}");
        assert!(matches!(receiver.recv().await, Err(ChannelError::Lost(_))));
        // Its replacement, under another name and address, is reached.
        let again = Child::start(&run.authority, NodeId::Worker(9), 1000);
        let got = client
            .fetch(NodeId::Worker(9), again.addr, key(0), None)
            .await
            .unwrap();
        assert_eq!(got, block(0, 1000));
    });
}

/// Not a test of its own: what [`Child`] runs in another process.
#[test]
fn child_that_serves() {
    if std::env::var_os(CHILD).is_some() {
        serve_as_child();
    }
}
