//! Blocks handed over between nodes of one host: whom a door lets in, and what happens where there is none.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::support::*;
use super::{W1, W2};
use peerwren_transports::block::Digest;
use peerwren_transports::quic::{FetchError, Limits};

const LEN: usize = 1 << 20;

/// Where a door of this name is.
fn path(door: [u8; 16]) -> String {
    let hex: String = door.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\0peerwren-{hex}")
}

/// A name that no other test uses.
fn unguessed() -> [u8; 16] {
    let mut name = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut name)
        .unwrap();
    name
}

#[test]
fn large_blocks_are_handed_over_on_one_host_unless_it_is_not_wanted() {
    let alone = limits(|limits| limits.hand_over_bytes_min = None);
    for (of_holder, of_asker, handed_over) in [
        (Limits::default(), Limits::default(), 3),
        (alone.clone(), Limits::default(), 0),
        (Limits::default(), alone, 0),
    ] {
        run(async {
            let mut run = Run::new();
            let held = [(0, LEN), (1, 3_000_001), (2, 32 << 10), (3, 1000), (4, 0)];
            let (holder, _channels) = run.node(W1, &held, of_holder);
            let (asker, _channels) = run.node(W2, &[], of_asker);
            for (number, len) in held {
                let got = asker
                    .fetch(W1, holder.local_addr(), key(number), None)
                    .await;
                assert_eq!(got, Ok(block(number, len)));
            }
            until(|| holder.stats().served == 5).await;
            assert_eq!(holder.stats().handed_over, handed_over);
            let bytes: usize = held.iter().map(|(_, len)| len).sum();
            assert_eq!(holder.stats().served_bytes, bytes as u64);
        });
    }
}

#[test]
fn a_ticket_lets_one_caller_in_once_and_nothing_else_does() {
    run(async {
        let mut run = Run::new();
        let (holder, _channels) = run.node(W1, &[(0, LEN)], Limits::default());
        let conn = raw_endpoint(&run.authority, W2, true)
            .connect(holder.local_addr(), &name(W1))
            .unwrap()
            .await
            .unwrap();
        let (mut send, mut recv) = conn.open_bi().await.unwrap();
        send.write_all(&wanted(key(0), true)).await.unwrap();
        let answer = answer(&mut recv).await;
        assert_eq!(answer[0], 4);
        let door: [u8; 16] = answer[41..57].try_into().unwrap();
        let ticket = &answer[57..];

        // Whoever knows the door's name alone: a wrong ticket, half of one, none.
        let mut wrong = ticket.to_vec();
        wrong[15] ^= 1;
        for shown in [&wrong[..], &ticket[..8], &[]] {
            let mut caller = UnixStream::connect(path(door)).await.unwrap();
            caller.write_all(shown).await.unwrap();
            let mut got = Vec::new();
            caller.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, [], "nothing is handed over for {} bytes", shown.len());
        }
        let mut caller = UnixStream::connect(path(door)).await.unwrap();
        caller.write_all(ticket).await.unwrap();
        let mut got = Vec::new();
        caller.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, block(0, LEN).as_bytes());
        send.finish().unwrap();
        until(|| holder.stats().served == 1).await;

        let mut again = UnixStream::connect(path(door)).await.unwrap();
        again.write_all(ticket).await.unwrap();
        let mut got = Vec::new();
        again.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, [], "a ticket is good for one block");
        assert_eq!((holder.stats().served, holder.stats().handed_over), (1, 1));
    });
}

#[test]
fn callers_that_stay_away_or_take_nothing_hold_a_turn_no_longer_than_others() {
    run(async {
        let mut run = Run::new();
        let limits = limits(|limits| {
            limits.outgoing_max = 1;
            limits.outgoing_lagging_max = 0;
            limits.stall_timeout = Duration::from_millis(200);
        });
        let (holder, _channels) = run.node(W1, &[(0, 8 * LEN)], limits);
        let conn = raw_endpoint(&run.authority, W2, true)
            .connect(holder.local_addr(), &name(W1))
            .unwrap()
            .await
            .unwrap();
        let ask = async || {
            let (mut send, mut recv) = conn.open_bi().await.unwrap();
            send.write_all(&wanted(key(0), true)).await.unwrap();
            let answer = answer(&mut recv).await;
            (send, recv, answer)
        };
        let away = ask().await;
        until(|| holder.stats().unserved == 1).await;
        let idle = ask().await;
        let mut caller = UnixStream::connect(path(idle.2[41..57].try_into().unwrap()))
            .await
            .unwrap();
        caller.write_all(&idle.2[57..]).await.unwrap();
        until(|| holder.stats().unserved == 2).await;
        // Whoever asks next has the turn.
        assert_eq!(ask().await.2[0], 4);
        drop((away, idle, caller));
    });
}

/// A peer that names a door which is not there, for the reason that it is elsewhere, is asked again and for good
/// without one.
#[test]
fn where_no_door_is_found_blocks_come_by_quic() {
    run(async {
        let mut run = Run::new();
        let (asker, _channels) = run.node(W2, &[], Limits::default());
        let server = raw_endpoint(&run.authority, W1, true);
        let addr = server.local_addr().unwrap();
        let right = block(0, LEN);
        let (asked, mut asks) = tokio::sync::mpsc::unbounded_channel();
        let payload = right.clone();
        tokio::spawn(async move {
            let conn = server.accept().await.unwrap().await.unwrap();
            let mut open = Vec::new();
            while let Ok((mut send, mut recv)) = conn.accept_bi().await {
                let mut opening = [0; 64];
                let read = recv.read(&mut opening).await.unwrap().unwrap();
                let same_host = opening[..read] == wanted(key(0), true);
                asked.send(same_host).unwrap();
                let at = same_host.then(|| (unguessed(), [2; 16]));
                let bytes = if same_host {
                    &[][..]
                } else {
                    payload.as_bytes()
                };
                let answer = found_at(LEN as u64, payload.digest(), at, bytes);
                let _ = send.write_all(&answer).await;
                let _ = send.finish();
                open.push((send, recv));
            }
        });
        for _ in 0..2 {
            assert_eq!(asker.fetch(W1, addr, key(0), None).await, Ok(right.clone()));
        }
        let mut seen = Vec::new();
        while let Ok(same_host) = asks.try_recv() {
            seen.push(same_host);
        }
        assert_eq!(seen, [true, false, false]);
    });
}

#[test]
fn what_comes_through_a_door_is_held_against_its_digest() {
    run(async {
        let mut run = Run::new();
        let (asker, _channels) = run.node(W2, &[], Limits::default());
        let server = raw_endpoint(&run.authority, W1, true);
        let addr = server.local_addr().unwrap();
        let right = block(0, LEN);
        let mut wrong = right.as_bytes().to_vec();
        wrong[LEN / 2] ^= 1;
        let long = [right.as_bytes(), &[0]].concat();
        let cases = [
            (wrong, FetchError::Corrupt("its digest is wrong")),
            (
                right.as_bytes()[1..].to_vec(),
                FetchError::Corrupt("it ended early"),
            ),
            (long, FetchError::Corrupt("it is longer than announced")),
        ];
        let door = unguessed();
        let listener = UnixListener::bind(path(door)).unwrap();
        let payloads: Vec<_> = cases.iter().map(|(payload, _)| payload.clone()).collect();
        let digest: Digest = right.digest();
        tokio::spawn(async move {
            let conn = server.accept().await.unwrap().await.unwrap();
            let mut open = Vec::new();
            for payload in payloads {
                let (mut send, recv) = conn.accept_bi().await.unwrap();
                let answer = found_at(LEN as u64, digest, Some((door, [7; 16])), &[]);
                send.write_all(&answer).await.unwrap();
                let (mut caller, _) = listener.accept().await.unwrap();
                let mut ticket = [0; 16];
                caller.read_exact(&mut ticket).await.unwrap();
                assert_eq!(ticket, [7; 16]);
                let _ = caller.write_all(&payload).await;
                open.push((send, recv));
            }
            conn.closed().await;
        });
        for (_, error) in cases {
            let got = asker.fetch(W1, addr, key(0), None).await;
            assert_eq!(got, Err(error));
        }
    });
}
