//! Inputs in, actions out.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::*;

const ME: NodeId = NodeId::Worker(3);
const LOW: NodeId = NodeId::Worker(1);
const HIGH: NodeId = NodeId::Worker(7);

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn told(local: &str, outside: &str) -> Candidates {
    let addrs = |text: &str| text.split_whitespace().map(addr).collect::<Vec<_>>();
    Candidates::told(addrs(local), addrs(outside))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secret() -> Secret {
    Secret([9; 32])
}

/// A machine under test at a time that only goes on.
struct Bench {
    machine: Puncher,
    now: Duration,
}

impl Bench {
    fn at(local: &str) -> Self {
        let mut bench = Self {
            machine: Puncher::new(ME, Limits::default()),
            now: Duration::ZERO,
        };
        let local = local.split_whitespace().map(addr).collect();
        assert_eq!(bench.input(Input::Local(local)), [""; 0]);
        bench
    }

    fn input(&mut self, input: Input) -> Vec<String> {
        self.machine.handle_input(self.now, input);
        self.drain()
    }

    fn introduce(&mut self, peer: NodeId, candidates: Candidates) -> Vec<String> {
        let secret = secret();
        self.input(Input::Introduced {
            peer,
            candidates,
            secret,
        })
    }

    fn probe(&mut self, from: &str, kind: Kind, peer: NodeId, number: u64) -> Vec<String> {
        let probe = Probe {
            kind,
            from: super::super::number(peer).unwrap(),
            to: super::super::number(ME).unwrap(),
            number,
        };
        self.input(Input::Received {
            from: addr(from),
            bytes: probe.seal(&secret()),
        })
    }

    /// Lets time pass, stopping wherever the machine asks for it.
    fn wait(&mut self, until: u64) -> Vec<String> {
        let mut done = Vec::new();
        while let Some((at, _)) = self
            .machine
            .poll_timeout()
            .filter(|(at, _)| *at <= ms(until))
        {
            assert!(at >= self.now, "a time-out lies in the past");
            self.now = at;
            self.machine.handle_timeout(at);
            let actions = self.drain();
            assert!(
                !actions.is_empty()
                    || self
                        .machine
                        .poll_timeout()
                        .is_none_or(|(next, _)| next > at),
                "a time-out changes nothing"
            );
            done.extend(actions);
        }
        self.now = ms(until);
        done
    }

    fn drain(&mut self) -> Vec<String> {
        self.machine.check_invariants();
        let mut actions = Vec::new();
        while let Some(action) = self.machine.poll_action() {
            actions.push(match action {
                Action::Send { to, bytes } => {
                    let probe = Probe::claimed(&bytes).unwrap();
                    format!("{:?} {} -> {to}", probe.kind, probe.number)
                }
                Action::Dial { peer, addr } => format!("Dial {peer} at {addr}"),
                Action::Ask(peer) => format!("Ask {peer}"),
                Action::Opened(peer, way) => format!("Opened {peer} {way}"),
                Action::Failed { peer, lasting } => {
                    format!("Failed {peer}{}", if lasting { "" } else { " for now" })
                }
                Action::Moved => format!(
                    "Moved {:?} {}",
                    self.machine.candidates().outside,
                    self.machine.mapping()
                ),
            });
        }
        actions
    }
}

#[test]
fn on_one_machine_peers_are_dialed_at_once() {
    let mut bench = Bench::at("127.0.0.1:40");
    bench.input(Input::Known(LOW, told("127.0.0.1:50", "")));
    assert_eq!(
        bench.input(Input::Want(LOW)),
        ["Dial worker-1 at 127.0.0.1:50"]
    );
    assert_eq!(bench.input(Input::Want(LOW)), [""; 0], "once");
    let dialed = |connected| Input::Dialed {
        peer: LOW,
        addr: addr("127.0.0.1:50"),
        connected,
    };
    assert_eq!(bench.input(dialed(false)), ["Failed worker-1 for now"]);
    assert_eq!(
        bench.input(Input::Want(LOW)),
        ["Dial worker-1 at 127.0.0.1:50"]
    );
    assert_eq!(bench.input(dialed(true)), ["Opened worker-1 local"]);
    // The connection was dropped as unused: there is another at once.
    assert_eq!(
        bench.input(Input::Want(LOW)),
        ["Dial worker-1 at 127.0.0.1:50"]
    );
    assert_eq!(bench.machine.ways().local, 1);
}

#[test]
fn loopback_and_other_machines_do_not_mix() {
    let mut bench = Bench::at("127.0.0.1:40");
    bench.input(Input::Known(LOW, told("10.1.0.2:50", "")));
    assert_eq!(bench.input(Input::Want(LOW)), ["Failed worker-1"]);
    let mut bench = Bench::at("10.1.0.3:40");
    bench.input(Input::Known(LOW, told("127.0.0.1:50", "")));
    assert_eq!(bench.input(Input::Want(LOW)), ["Failed worker-1"]);
    assert_eq!(
        bench.introduce(LOW, told("127.0.0.1:50", "")),
        [""; 0],
        "nothing to ping"
    );
}

#[test]
fn the_lower_id_dials_the_first_local_address_that_answers() {
    let mut bench = Bench::at("10.1.0.2:40");
    assert_eq!(bench.input(Input::Want(HIGH)), ["Ask worker-7"]);
    bench.now = ms(10);
    let theirs = told("10.1.0.9:50 192.168.0.9:50", "203.0.113.12:50");
    assert_eq!(
        bench.introduce(HIGH, theirs),
        ["Ping 0 -> 10.1.0.9:50", "Ping 1 -> 192.168.0.9:50"]
    );
    assert_eq!(
        bench.wait(40),
        ["Ping 2 -> 203.0.113.12:50"],
        "a little later"
    );
    // The outside address answers first, but local ones have 150 ms, and are asked again.
    assert_eq!(
        bench.probe("203.0.113.12:50", Kind::Pong, HIGH, 2),
        ["Ping 3 -> 10.1.0.9:50", "Ping 4 -> 192.168.0.9:50"]
    );
    assert_eq!(
        bench.probe("10.1.0.9:50", Kind::Pong, HIGH, 0),
        ["Dial worker-7 at 10.1.0.9:50"]
    );
    assert_eq!(bench.wait(300), [""; 0], "no pings while dialing");
    let connected = Input::Dialed {
        peer: HIGH,
        addr: addr("10.1.0.9:50"),
        connected: true,
    };
    assert_eq!(bench.input(connected), ["Opened worker-7 local"]);
    assert_eq!(
        bench.probe("10.1.0.9:50", Kind::Ping, HIGH, 0),
        ["Pong 0 -> 10.1.0.9:50"],
        "the peer's pings are still answered"
    );
    assert_eq!(bench.wait(5000), [""; 0]);
    assert_eq!(
        bench.probe("10.1.0.9:50", Kind::Ping, HIGH, 1),
        [""; 0],
        "not for ever"
    );
}

#[test]
fn an_outside_address_is_taken_when_no_local_one_answers() {
    let mut bench = Bench::at("10.1.0.2:40");
    let theirs = told("10.2.0.2:50", "203.0.113.12:50");
    bench.introduce(HIGH, theirs);
    bench.wait(35);
    assert_eq!(
        bench.probe("203.0.113.12:50", Kind::Pong, HIGH, 1),
        ["Ping 2 -> 10.2.0.2:50"]
    );
    let then = bench.wait(185);
    assert_eq!(
        then.last().unwrap(),
        "Dial worker-7 at 203.0.113.12:50",
        "{then:?}"
    );
}

#[test]
fn the_higher_id_waits_to_be_dialed() {
    let mut bench = Bench::at("10.1.0.2:40");
    assert_eq!(
        bench.introduce(LOW, told("", "203.0.113.12:50")),
        ["Ping 0 -> 203.0.113.12:50"]
    );
    assert_eq!(bench.probe("203.0.113.12:50", Kind::Pong, LOW, 0), [""; 0]);
    assert!(
        !bench.wait(300).is_empty(),
        "pings keep the way open until the peer has dialed"
    );
    let connected = Input::Connected {
        peer: LOW,
        addr: addr("203.0.113.12:50"),
    };
    assert_eq!(bench.input(connected), ["Opened worker-1 punched"]);
    assert_eq!(bench.wait(9000), [""; 0]);
}

#[test]
fn a_peer_that_never_dials_is_given_up() {
    let mut bench = Bench::at("10.1.0.2:40");
    bench.introduce(LOW, told("", "203.0.113.12:50"));
    bench.probe("203.0.113.12:50", Kind::Pong, LOW, 0);
    let until = bench.wait(5900);
    assert!(until.iter().all(|action| action.starts_with("Ping")));
    assert_eq!(bench.wait(6100), ["Failed worker-1"]);
}

#[test]
fn answers_go_to_where_a_ping_came_from() {
    let mut bench = Bench::at("10.1.0.2:40");
    bench.introduce(HIGH, told("", "203.0.113.12:50"));
    // A symmetric NAT: the ping comes from a port that nobody told.
    assert_eq!(
        bench.probe("203.0.113.12:61234", Kind::Ping, HIGH, 0),
        [
            "Pong 0 -> 203.0.113.12:61234",
            "Ping 1 -> 203.0.113.12:61234"
        ]
    );
    assert_eq!(
        bench.probe("203.0.113.12:61234", Kind::Pong, HIGH, 1),
        ["Dial worker-7 at 203.0.113.12:61234"]
    );
}

#[test]
fn what_is_forged_replayed_or_of_another_run_changes_nothing() {
    let mut bench = Bench::at("10.1.0.2:40");
    let from = "203.0.113.12:50";
    assert_eq!(
        bench.probe(from, Kind::Ping, HIGH, 0),
        [""; 0],
        "not introduced"
    );
    bench.introduce(HIGH, told("", from));
    assert_eq!(
        bench.probe(from, Kind::Ping, HIGH, 5),
        ["Pong 5 -> 203.0.113.12:50", "Ping 1 -> 203.0.113.12:50"]
    );
    assert_eq!(bench.probe(from, Kind::Ping, HIGH, 5), [""; 0], "a replay");
    assert_eq!(
        bench.probe(from, Kind::Ping, HIGH, 4),
        ["Pong 4 -> 203.0.113.12:50"],
        "out of order"
    );
    assert_eq!(
        bench.probe(from, Kind::Pong, HIGH, 99),
        [""; 0],
        "never asked"
    );
    assert_eq!(
        bench.probe("203.0.113.66:50", Kind::Pong, HIGH, 0),
        [""; 0],
        "from elsewhere"
    );
    let ping = Probe {
        kind: Kind::Ping,
        from: 7,
        to: 3,
        number: 9,
    };
    for (bytes, why) in [
        (ping.seal(&Secret([8; 32])), "another secret"),
        (Probe { to: 4, ..ping }.seal(&secret()), "to another node"),
        (
            Probe { from: 8, ..ping }.seal(&secret()),
            "from another node",
        ),
        (Probe { from: 3, ..ping }.seal(&secret()), "its own"),
        (ping.seal(&secret())[..52].to_vec(), "cut short"),
        (vec![0; 53], "no probe"),
    ] {
        let from = addr(from);
        assert_eq!(
            bench.input(Input::Received { from, bytes }),
            [""; 0],
            "{why}"
        );
    }
    assert_eq!(
        bench.probe(from, Kind::Pong, HIGH, 0),
        ["Dial worker-7 at 203.0.113.12:50"]
    );
}

#[test]
fn own_link_local_and_loopback_addresses_are_not_pinged() {
    let mut bench = Bench::at("10.1.0.2:40");
    let theirs = told(
        "10.1.0.2:40 169.254.76.1:50 127.0.0.1:50",
        "10.1.0.2:41 [fe80::1]:50",
    );
    assert_eq!(bench.introduce(HIGH, theirs), ["Ping 0 -> 10.1.0.2:41"]);
}

#[test]
fn nobody_is_waited_for_for_ever() {
    // Nobody introduces.
    let mut bench = Bench::at("10.1.0.2:40");
    assert_eq!(bench.input(Input::Want(LOW)), ["Ask worker-1"]);
    assert_eq!(bench.wait(4400), ["Ask worker-1", "Ask worker-1"]);
    assert_eq!(bench.wait(4600), ["Failed worker-1"]);
    // Failed is remembered, and tried again after the retry time.
    assert_eq!(bench.input(Input::Want(LOW)), ["Failed worker-1"]);
    assert_eq!(bench.machine.ways().store, 1);
    bench.wait(64_400);
    assert_eq!(bench.input(Input::Want(LOW)), ["Failed worker-1"]);
    bench.wait(64_600);
    assert_eq!(bench.input(Input::Want(LOW)), ["Ask worker-1"]);
    // Nobody answers.
    bench.introduce(LOW, told("10.2.0.2:50", "203.0.113.12:50"));
    let tried = bench.wait(68_500);
    assert!((10..=24).contains(&tried.len()), "{} pings", tried.len());
    assert_eq!(bench.wait(68_700).last().unwrap(), "Failed worker-1");
    assert!(bench.machine.poll_timeout().is_none());
    // An introduction comes before the retry time: the peer thinks that it may work now.
    assert_eq!(bench.introduce(LOW, told("", "203.0.113.12:50")).len(), 1);
}

#[test]
fn a_lost_connection_is_found_anew_and_a_leaver_is_forgotten() {
    let mut bench = Bench::at("10.1.0.2:40");
    bench.input(Input::Known(LOW, told("10.1.0.9:50", "")));
    let connected = Input::Connected {
        peer: LOW,
        addr: addr("10.1.0.9:50"),
    };
    assert_eq!(bench.input(connected.clone()), ["Opened worker-1 local"]);
    assert_eq!(bench.input(Input::Want(LOW)), ["Ask worker-1"]);
    assert_eq!(bench.input(Input::Gone(LOW)), ["Failed worker-1 for now"]);
    assert!(bench.machine.poll_timeout().is_none());
    assert_eq!(
        bench.input(Input::Want(NodeId::Coordinator)),
        ["Failed coordinator for now"]
    );
    assert_eq!(bench.input(Input::Want(ME)), ["Failed worker-3 for now"]);
}

#[test]
fn attempts_are_bounded() {
    let mut bench = Bench::at("10.1.0.2:40");
    let max = bench.machine.limits.attempts_max as u32;
    for number in 0..2 * max {
        let pings = bench.introduce(NodeId::Worker(100 + number), told("", "203.0.113.12:50"));
        assert_eq!(pings.len(), usize::from(number < max));
    }
    let many: Vec<_> = (0..255)
        .map(|n| SocketAddr::from(([10, 3, 0, n], 50)))
        .collect();
    let mut bench = Bench::at("10.1.0.2:40");
    bench.introduce(LOW, Candidates::told(many.clone(), many.clone()));
    for (number, from) in many.iter().chain(&many).enumerate() {
        bench.probe(&from.to_string(), Kind::Ping, LOW, number as u64);
    }
    let pings = bench.wait(10_000);
    assert!(pings.len() < 24 * 14, "{} pings", pings.len());
}

#[test]
fn what_observers_see_is_passed_on() {
    let mut bench = Bench::at("10.1.0.2:40");
    let mut observed = |observer: &str, seen: &str| {
        bench.input(Input::Observed {
            observer: addr(observer),
            seen: addr(seen),
        })
    };
    assert_eq!(
        observed("198.51.100.1:1", "203.0.113.11:40"),
        ["Moved [203.0.113.11:40] unknown"]
    );
    assert_eq!(observed("198.51.100.1:1", "203.0.113.11:40"), [""; 0]);
    assert_eq!(
        observed("198.51.100.1:2", "203.0.113.11:40"),
        ["Moved [203.0.113.11:40] independent of the destination"]
    );
    assert_eq!(
        observed("198.51.100.1:2", "203.0.113.11:77"),
        ["Moved [203.0.113.11:40, 203.0.113.11:77] depends on the destination"]
    );
}
