//! The machine by lists of inputs and actions, by random ones, and many of them passing one block on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::block::Indices;

const BIG: u64 = 1000;
const LIMITS: Limits = Limits {
    outgoing_max: 2,
    lagging_max: 1,
    queue_max: 4,
    refer_bytes_min: BIG,
};

fn key(number: i64) -> BlockKey {
    BlockKey::new(7, 0, Indices::new(&[number]).unwrap())
}

fn worker(number: u32) -> NodeId {
    NodeId::Worker(number)
}

fn request(id: u64, peer: u32, of: i64) -> Request {
    Request {
        id: RequestId(id),
        peer: worker(peer),
        key: key(of),
        bytes: BIG,
        in_vain: None,
    }
}

/// A request by the worker of the same number.
fn asked(id: u64, of: i64) -> Input {
    Input::Asked(request(id, id as u32, of))
}

fn asked_again(id: u64, peer: u32, of: i64, in_vain: u32) -> Input {
    Input::Asked(Request {
        in_vain: Some(worker(in_vain)),
        ..request(id, peer, of)
    })
}

fn served(id: u64) -> Input {
    Input::Served(RequestId(id))
}

fn lags(id: u64) -> Input {
    Input::Lags(RequestId(id))
}

fn gave_up(id: u64) -> Input {
    Input::GaveUp(RequestId(id))
}

fn send(id: u64) -> Action {
    Action::Send(RequestId(id))
}

fn refer(id: u64, to: u32) -> Action {
    Action::Refer(RequestId(id), worker(to))
}

fn busy(id: u64) -> Action {
    Action::Busy(RequestId(id))
}

/// Feeds inputs one by one and compares what each leads to.
fn check(what: &str, steps: Vec<(Input, Vec<Action>)>) {
    let mut server = Server::new(LIMITS);
    for (number, (input, expected)) in steps.into_iter().enumerate() {
        server.handle_input(input);
        server.check_invariants();
        let actions: Vec<_> = std::iter::from_fn(|| server.poll_action()).collect();
        assert_eq!(actions, expected, "{what}: step {number}, {input:?}");
    }
}

#[test]
fn inputs_lead_to_actions() {
    check(
        "every second one that waits is referred to whoever has just been served",
        vec![
            (asked(1, 0), vec![send(1)]),
            (asked(2, 0), vec![send(2)]),
            (asked(3, 0), vec![]),
            (asked(4, 0), vec![]),
            (asked(5, 0), vec![]),
            (asked(6, 0), vec![]),
            (asked(7, 0), vec![busy(7)]),
            (served(1), vec![refer(4, 1), refer(6, 1), send(3)]),
            (served(2), vec![send(5)]),
            (served(5), vec![]),
            (served(3), vec![]),
        ],
    );
    check(
        "who comes while no turn is free goes to whom the fewest were sent",
        vec![
            (asked(1, 0), vec![send(1)]),
            (asked(2, 0), vec![send(2)]),
            (served(2), vec![]),
            (served(1), vec![]),
            (asked(3, 1), vec![send(3)]),
            (asked(4, 1), vec![send(4)]),
            (asked(5, 0), vec![refer(5, 2)]),
            (asked(6, 0), vec![refer(6, 1)]),
            (asked(7, 0), vec![refer(7, 2)]),
            // Nobody is known to have that one.
            (asked(8, 2), vec![]),
        ],
    );
    check(
        "where other blocks wait all are referred, and turns are free again however they end",
        vec![
            (asked(1, 0), vec![send(1)]),
            (asked(2, 1), vec![send(2)]),
            (asked(3, 1), vec![]),
            (asked(4, 0), vec![]),
            (asked(5, 1), vec![]),
            (asked(6, 0), vec![]),
            (served(1), vec![refer(4, 1), refer(6, 1), send(3)]),
            (gave_up(2), vec![send(5)]),
            (gave_up(2), vec![]),
        ],
    );
    check(
        "who lags lends its turn, as many as may, and never has it back",
        vec![
            (asked(1, 0), vec![send(1)]),
            (asked(2, 1), vec![send(2)]),
            (asked(3, 2), vec![]),
            (lags(1), vec![send(3)]),
            (asked(4, 3), vec![]),
            // Another may not.
            (lags(2), vec![]),
            (served(1), vec![]),
            (lags(2), vec![send(4)]),
            (lags(9), vec![]),
            (gave_up(2), vec![]),
            (asked(5, 0), vec![refer(5, 1)]),
        ],
    );
    check(
        "a block that is not on its way goes before a second copy of one that is",
        vec![
            (asked(1, 0), vec![send(1)]),
            (asked(2, 1), vec![send(2)]),
            (asked(3, 0), vec![]),
            (asked(4, 2), vec![]),
            (asked(5, 3), vec![]),
            (gave_up(2), vec![send(4)]),
            (served(1), vec![refer(3, 1), send(5)]),
            (asked(6, 3), vec![]),
            // Only one that is on its way is asked for.
            (served(4), vec![send(6)]),
        ],
    );
    check(
        "who was referred in vain waits here, and nobody else goes where it was",
        vec![
            (asked(1, 0), vec![send(1)]),
            (served(1), vec![]),
            (asked(2, 1), vec![send(2)]),
            (asked(3, 1), vec![send(3)]),
            (asked(4, 0), vec![refer(4, 1)]),
            (asked_again(5, 4, 0, 1), vec![]),
            (asked(6, 0), vec![]),
            (served(2), vec![send(5)]),
            (served(5), vec![send(6)]),
        ],
    );
    check(
        "who asks has it no more, and who is gone serves nobody",
        vec![
            (asked(1, 0), vec![send(1)]),
            (served(1), vec![]),
            (asked(2, 1), vec![send(2)]),
            (asked(3, 1), vec![send(3)]),
            (Input::Asked(request(4, 1, 0)), vec![]),
            (asked(5, 0), vec![]),
            (Input::PeerLeft(worker(2)), vec![]),
            (asked(6, 1), vec![]),
            (asked(7, 1), vec![]),
            (served(2), vec![send(4)]),
            (served(3), vec![refer(6, 3), refer(7, 3), send(5)]),
            (Input::BlockLeft(key(1)), vec![]),
            (asked(8, 1), vec![]),
        ],
    );
    let small = |id| {
        Input::Asked(Request {
            bytes: BIG - 1,
            ..request(id, id as u32, 0)
        })
    };
    let driver = Input::Asked(Request {
        peer: NodeId::Coordinator,
        ..request(5, 0, 1)
    });
    check(
        "small blocks come from one holder, and a coordinator serves nobody",
        vec![
            (small(1), vec![send(1)]),
            (small(2), vec![send(2)]),
            (small(3), vec![]),
            (small(4), vec![]),
            (served(1), vec![send(3)]),
            (served(2), vec![send(4)]),
            (served(3), vec![]),
            (driver, vec![send(5)]),
            (asked(6, 1), vec![]),
            (asked(7, 1), vec![]),
            (served(5), vec![send(6)]),
        ],
    );
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut server = Server::new(LIMITS);
    let mut serve = |peer: u32, of: i64| {
        let id = u64::from(peer) << 32 | of as u64;
        server.handle_input(Input::Asked(request(id, peer, of)));
        server.handle_input(served(id));
        server.check_invariants();
    };
    for of in 0..3 * BLOCKS_MAX as i64 {
        serve(1, of);
    }
    for peer in 2..=3 * RECEIVERS_MAX as u32 {
        serve(peer, 3 * BLOCKS_MAX as i64 - 1);
    }
    while server.poll_action().is_some() {}
    // Only the latest blocks are: of two turns that others take, and two that ask for an early and a late one.
    let late = 3 * BLOCKS_MAX as i64 - 2;
    let steps = [
        asked(900, -1),
        asked(901, -1),
        asked(902, 0),
        asked(903, late),
    ];
    for input in steps {
        server.handle_input(input);
    }
    let actions: Vec<_> = std::iter::from_fn(|| server.poll_action()).collect();
    assert_eq!(actions, [send(900), send(901), refer(903, 1)]);
}

/// What a random test knows of a server without being one.
#[derive(Default)]
struct Oracle {
    /// Requests without an answer, in the order they came.
    open: VecDeque<Request>,
    sending: BTreeMap<RequestId, Request>,
    /// Who was served which block, and has neither asked for it again nor left, nor was said not to have it.
    has: BTreeSet<(BlockKey, NodeId)>,
    answered: BTreeSet<RequestId>,
}

impl Oracle {
    fn hear(&mut self, input: &Input) {
        match *input {
            Input::Asked(request) => {
                self.has.remove(&(request.key, request.peer));
                if let Some(peer) = request.in_vain {
                    self.has.remove(&(request.key, peer));
                }
                self.open.push_back(request);
            }
            Input::Served(id) => {
                let sent = self.sending.remove(&id).filter(|sent| sent.bytes >= BIG);
                self.has.extend(sent.map(|sent| (sent.key, sent.peer)));
            }
            Input::GaveUp(id) => {
                self.sending.remove(&id);
                self.open.retain(|request| request.id != id);
            }
            Input::PeerLeft(peer) => {
                self.has.retain(|(_, other)| *other != peer);
                // What is still on its way there is passed on by nobody.
                let left = self.sending.values_mut().filter(|it| it.peer == peer);
                left.for_each(|request| request.bytes = 0);
            }
            Input::BlockLeft(key) => self.has.retain(|(other, _)| *other != key),
            Input::Lags(_) => {}
        }
    }

    /// Whether a block is on its way to somebody who could pass it on.
    fn spreads(&self, key: BlockKey) -> bool {
        let mut sending = self.sending.values();
        sending.any(|sent| sent.key == key && sent.bytes >= BIG)
    }

    fn see(&mut self, action: Action) {
        let (Action::Send(id) | Action::Refer(id, _) | Action::Busy(id)) = action;
        assert!(self.answered.insert(id), "{id:?} is answered twice");
        let at = self.open.iter().position(|request| request.id == id);
        let at = at.unwrap_or_else(|| panic!("{id:?} is not open"));
        let request = self.open.remove(at).expect("it was found");
        match action {
            Action::Send(_) => {
                let mut earlier = self.open.iter().take(at);
                let passed = earlier.find(|before| !self.spreads(before.key));
                assert_eq!(passed, None, "{id:?} goes before it");
                let is_fresh = !self.spreads(request.key);
                assert!(is_fresh || at == 0, "{id:?} goes before others");
                self.sending.insert(id, request);
            }
            Action::Refer(_, to) => {
                assert_ne!(request.peer, to);
                assert_eq!(request.in_vain, None);
                assert!(request.bytes >= BIG);
                assert!(self.has.contains(&(request.key, to)), "{to} was not served");
            }
            Action::Busy(_) => {
                assert_eq!(
                    at, LIMITS.queue_max,
                    "{id:?} is sent away while there is room"
                );
            }
        }
        assert!(self.sending.len() <= LIMITS.outgoing_max + LIMITS.lagging_max);
    }
}

/// One thing that happens: what, and two numbers to choose with.
fn event() -> impl Strategy<Value = (u8, u8, u8)> {
    (0u8..11, any::<u8>(), any::<u8>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Every request gets one answer, those that are not referred in the order they came but for second copies
    /// of one block, and nobody is referred to itself or to who was not served.
    #[test]
    fn every_request_gets_one_answer(events in prop::collection::vec(event(), 0..120)) {
        let (mut server, mut oracle) = (Server::new(LIMITS), Oracle::default());
        let mut asked = 0;
        let feed = |server: &mut Server, oracle: &mut Oracle, input: Input| {
            oracle.hear(&input);
            server.handle_input(input);
            server.check_invariants();
            while let Some(action) = server.poll_action() {
                oracle.see(action);
            }
            assert_eq!(server.waiting(), oracle.open.len(), "whoever waits is known");
        };
        for (what, one, two) in events {
            let under_way = oracle.sending.len();
            let sent = |oracle: &Oracle| *oracle.sending.keys().nth(one as usize % under_way).unwrap();
            let input = match what {
                0..=4 => {
                    asked += 1;
                    // One of the blocks is small.
                    let bytes = BIG - u64::from(two % 3 == 0);
                    let in_vain = (two % 4 == 0).then_some(worker(u32::from(two / 4 % 7)));
                    let asked = request(asked, u32::from(one % 7), i64::from(two % 3));
                    Input::Asked(Request { bytes, in_vain, ..asked })
                }
                5 | 6 if under_way > 0 => Input::Served(sent(&oracle)),
                7 if under_way > 0 => Input::GaveUp(sent(&oracle)),
                8 if !oracle.open.is_empty() => {
                    let at = one as usize % oracle.open.len();
                    Input::GaveUp(oracle.open[at].id)
                }
                9 if one % 2 == 0 => Input::PeerLeft(worker(u32::from(two % 7))),
                9 => Input::BlockLeft(key(i64::from(two % 3))),
                10 if under_way > 0 => Input::Lags(sent(&oracle)),
                _ => continue,
            };
            feed(&mut server, &mut oracle, input);
        }
        while let Some(id) = oracle.sending.keys().next().copied() {
            feed(&mut server, &mut oracle, Input::Served(id));
        }
        prop_assert!(oracle.open.is_empty(), "nobody waits for ever");
    }
}

/// What became of one block that many nodes asked one holder for at once.
#[derive(Debug, PartialEq, Eq)]
struct Spread {
    /// In what a block takes to be sent.
    rounds: u64,
    /// Blocks that the first holder sent.
    by_root: usize,
    /// The most that any other one sent.
    by_other: usize,
    referred: usize,
}

/// Askers 1, 2, ... ask node 0, and then whom they are referred to; a word takes no time and a block one
/// round. Everybody keeps what it got.
fn spread(askers: u32, refer_bytes_min: u64) -> Spread {
    let limits = Limits {
        queue_max: askers as usize,
        refer_bytes_min,
        ..LIMITS
    };
    let mut servers: Vec<_> = (0..=askers).map(|_| Server::new(limits)).collect();
    let mut counts = vec![0; servers.len()];
    let (mut referred, mut rounds) = (0, 0);
    let mut asking: VecDeque<(u32, usize)> = (1..=askers).map(|peer| (peer, 0)).collect();
    let mut arriving = Vec::new();
    loop {
        while let Some((peer, at)) = asking.pop_front() {
            servers[at].handle_input(asked(u64::from(peer), 0));
        }
        for (at, server) in servers.iter_mut().enumerate() {
            while let Some(action) = server.poll_action() {
                match action {
                    Action::Send(id) => arriving.push((at, id)),
                    Action::Refer(id, NodeId::Worker(to)) => {
                        referred += 1;
                        asking.push_back((id.0 as u32, to as usize));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        if !asking.is_empty() {
            continue;
        }
        if arriving.is_empty() {
            break;
        }
        rounds += 1;
        for (at, id) in std::mem::take(&mut arriving) {
            counts[at] += 1;
            servers[at].handle_input(Input::Served(id));
        }
    }
    assert_eq!(
        counts.iter().sum::<usize>(),
        askers as usize,
        "everybody has it once"
    );
    Spread {
        rounds,
        by_root: counts[0],
        by_other: counts[1..].iter().copied().max().unwrap_or(0),
        referred,
    }
}

#[test]
fn a_block_that_many_want_spreads_as_a_tree() {
    // Rounds, blocks that the first holder and any other one sends, requests that are referred.
    let table = [
        (1, [1, 1, 0, 0]),
        (2, [1, 2, 0, 0]),
        (8, [3, 4, 3, 4]),
        (16, [3, 5, 4, 14]),
        (64, [5, 7, 6, 111]),
        (256, [7, 9, 8, 688]),
    ];
    for (askers, [rounds, by_root, by_other, referred]) in table {
        let tree = Spread {
            rounds: rounds as u64,
            by_root,
            by_other,
            referred,
        };
        assert_eq!(spread(askers, BIG), tree, "{askers} askers");
        let star = Spread {
            rounds: u64::from(askers.div_ceil(2)),
            by_root: askers as usize,
            by_other: 0,
            referred: 0,
        };
        assert_eq!(
            spread(askers, BIG + 1),
            star,
            "{askers} askers of a small block"
        );
    }
}
