//! Paths that nodes find by themselves, on real sockets.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so aloud")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::identity::NodeId;
use peerwren_transports::path::{Candidates, Mapping};
use peerwren_transports::punch::Secret;
use peerwren_transports::quic::{FetchError, Incoming, Limits, Node, PathEvent, StunServer};

use super::support::{Blocks, Run, key, now, run};

const W1: NodeId = NodeId::Worker(1);
const W2: NodeId = NodeId::Worker(2);

impl Run {
    fn everywhere(&self, node: NodeId) -> (Node, Incoming) {
        let identity = self.authority.issue(node, now()).unwrap();
        let blocks = Arc::new(Blocks::default());
        let addr = "0.0.0.0:0".parse().unwrap();
        Node::bind(&identity, addr, blocks, Limits::default()).unwrap()
    }
}

#[test]
fn nodes_on_loopback_dial_each_other_without_a_word_to_the_coordinator() {
    run(async {
        let mut run = Run::new();
        let (server, _channels) = run.node(W1, &[(1, 4000)], Limits::default());
        let (client, _channels) = run.node(W2, &[], Limits::default());
        let mut events = client.path_events().unwrap();
        assert!(
            client.path_events().is_none(),
            "the first who asks has them"
        );
        client.meet(W1, server.candidates());
        let (one, two) = tokio::join!(
            client.fetch_by_path(W1, key(1), None, None),
            client.fetch_by_path(W1, key(1), None, None),
        );
        assert_eq!((one.unwrap().len(), two.unwrap().len()), (4000, 4000));
        let opened = events.recv().await.unwrap();
        assert!(matches!(opened, PathEvent::Opened(peer, _) if peer == W1));
        // The server has the connection too, and asks nobody for it.
        let missing = server.fetch_by_path(W2, key(7), None, None).await;
        assert_eq!(missing.unwrap_err(), FetchError::NotFound);
        assert_eq!((client.ways().local, server.ways().local), (1, 1));
        client.forget(W1);
        assert_eq!(client.ways().local, 0);
    });
}

#[test]
fn introduced_nodes_find_each_other_and_strangers_do_not() {
    run(async {
        let run = Run::new();
        let ((one, _a), (two, _b)) = (run.everywhere(W1), run.everywhere(W2));
        if one.candidates().is_loopback() {
            eprintln!("SKIPPED: this machine has no address but loopback");
            return;
        }
        let mut events = two.path_events().unwrap();
        let secret = Secret::random();
        let fetching = two.fetch_by_path(W1, key(7), None, None);
        let introducing = async {
            assert_eq!(events.recv().await, Some(PathEvent::Ask(W1)));
            // Whoever does not know the secret is not heard.
            one.introduce(W2, two.candidates(), Secret::random());
            two.introduce(W1, one.candidates(), secret.clone());
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!((one.ways().local, two.ways().local), (0, 0));
            one.introduce(W2, two.candidates(), secret.clone());
        };
        let (fetched, ()) = tokio::join!(fetching, introducing);
        assert_eq!(fetched.unwrap_err(), FetchError::NotFound, "it was asked");
        assert_eq!((one.ways().local, two.ways().local), (1, 1));
    });
}

#[test]
fn a_pair_without_a_path_is_told_so_and_remembered() {
    run(async {
        let run = Run::new();
        let (one, _channels) = run.everywhere(W1);
        if one.candidates().is_loopback() {
            eprintln!("SKIPPED: this machine has no address but loopback");
            return;
        }
        // Nobody listens there, nor answers pings.
        let silent = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let ip = one.candidates().local[0].ip();
        one.introduce(
            W2,
            Candidates::told([SocketAddr::new(ip, port)], []),
            Secret::random(),
        );
        let failed = one.fetch_by_path(W2, key(7), None, None).await;
        assert_eq!(failed.unwrap_err(), FetchError::NoPath);
        assert_eq!(one.ways().store, 1);
        let again = one.fetch_by_path(W2, key(7), None, None).await;
        assert_eq!(again.unwrap_err(), FetchError::NoPath, "at once");
    });
}

#[test]
fn stun_servers_tell_a_node_where_it_is_seen() {
    run(async {
        let run = Run::new();
        let (node, _channels) = run.everywhere(W1);
        let local = "127.0.0.1:0".parse().unwrap();
        let (first, second) = (
            StunServer::bind(local).await.unwrap(),
            StunServer::bind(local).await.unwrap(),
        );
        let seen = node.ask_stun(first.local_addr()).await.unwrap();
        assert_eq!(seen, SocketAddr::new(local.ip(), node.local_addr().port()));
        assert_eq!(node.ask_stun(second.local_addr()).await, Some(seen));
        assert_eq!(node.mapping(), Mapping::Independent);
        // Nobody answers there.
        let silent = std::net::UdpSocket::bind(local).unwrap();
        assert_eq!(node.ask_stun(silent.local_addr().unwrap()).await, None);
    });
}
