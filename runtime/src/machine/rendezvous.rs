//! Which workers are introduced to each other so that they find a path: on demand, each pair once for
//! both that ask. Never sends an introduction itself, nor knows its secret.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Timestamp, WorkerId};
use crate::control::PeerReach;

/// Addresses of each kind that are kept of a worker.
const ADDRESSES_MAX: usize = peerwren_transports::path::ADDRESSES_MAX;
/// A pair is not introduced again before this: both ask at about the same time, and who asks again for
/// lack of an introduction does so later than this.
const AGAIN_AFTER: Duration = Duration::from_millis(1000);

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A worker joined, with the addresses of its interfaces.
    Joined(WorkerId, Vec<String>),
    /// The coordinator sees a worker come from an address.
    Seen(WorkerId, String),
    /// A worker told its outside addresses.
    Moved(WorkerId, Vec<String>),
    /// A worker wants a path to another.
    Wanted(WorkerId, WorkerId),
    /// A worker is gone.
    Left(WorkerId),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Introduce two workers to each other, with one secret and each other's addresses.
    Introduce((WorkerId, PeerReach), (WorkerId, PeerReach)),
}

#[derive(Debug, Default)]
struct Member {
    reach: PeerReach,
    /// Where the coordinator sees it.
    seen: Option<String>,
}

/// The state machine of introductions.
#[derive(Debug, Default)]
pub struct Rendezvous {
    members: BTreeMap<WorkerId, Member>,
    /// Pairs introduced lately, the lower id first.
    introduced: BTreeMap<(WorkerId, WorkerId), Timestamp>,
    actions: VecDeque<Action>,
}

impl Rendezvous {
    /// Takes in what happened.
    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Joined(worker, local) => self.member(worker).reach.local = bounded(local),
            Input::Seen(worker, address) => self.member(worker).seen = Some(address),
            Input::Moved(worker, outside) => {
                if let Some(member) = self.members.get_mut(&worker) {
                    member.reach.outside = bounded(outside);
                }
            }
            Input::Wanted(worker, peer) => self.wanted(now, worker, peer),
            Input::Left(worker) => {
                self.members.remove(&worker);
                self.introduced
                    .retain(|(one, other), _| *one != worker && *other != worker);
            }
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Panics with a sentence if what this machine knows contradicts itself.
    pub fn check_invariants(&self) {
        for (one, other) in self.introduced.keys() {
            assert!(one < other, "{one} and {other} are in the wrong order");
            assert!(
                self.members.contains_key(one) && self.members.contains_key(other),
                "{one} and {other} were introduced but one is gone"
            );
        }
    }

    fn member(&mut self, worker: WorkerId) -> &mut Member {
        self.members.entry(worker).or_default()
    }

    fn wanted(&mut self, now: Timestamp, worker: WorkerId, peer: WorkerId) {
        let (one, other) = (worker.min(peer), worker.max(peer));
        let (Some(first), Some(second)) = (self.members.get(&one), self.members.get(&other)) else {
            return;
        };
        self.introduced.retain(|_, at| now.since(*at) < AGAIN_AFTER);
        if one == other || self.introduced.contains_key(&(one, other)) {
            return;
        }
        self.introduced.insert((one, other), now);
        let action = Action::Introduce((one, first.all()), (other, second.all()));
        self.actions.push_back(action);
    }
}

impl Member {
    fn all(&self) -> PeerReach {
        let mut reach = self.reach.clone();
        if let Some(seen) = &self.seen
            && !reach.outside.contains(seen)
            && !reach.local.contains(seen)
        {
            reach.outside.insert(0, seen.clone());
            reach.outside.truncate(ADDRESSES_MAX);
        }
        reach
    }
}

fn bounded(mut addresses: Vec<String>) -> Vec<String> {
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    struct Bench(Rendezvous);

    impl Bench {
        fn input(&mut self, ms: u64, input: Input) -> Vec<String> {
            let now = Timestamp::from_nanos(ms * 1_000_000);
            self.0.handle_input(now, input);
            self.0.check_invariants();
            let mut actions = Vec::new();
            while let Some(Action::Introduce((one, first), (other, second))) = self.0.poll_action()
            {
                let told = |reach: PeerReach| {
                    format!("{}|{}", reach.local.join(" "), reach.outside.join(" "))
                };
                actions.push(format!("{one} {}, {other} {}", told(first), told(second)));
            }
            actions
        }
    }

    #[test]
    fn pairs_are_introduced_on_demand_and_once_for_both() {
        let mut bench = Bench(Rendezvous::default());
        let (a, b) = (WorkerId(2), WorkerId(7));
        bench.input(0, Input::Joined(a, texts("10.1.0.2:4")));
        assert_eq!(
            bench.input(1, Input::Wanted(a, b)),
            [""; 0],
            "nobody is there yet"
        );
        bench.input(2, Input::Joined(b, texts("10.2.0.2:4")));
        assert_eq!(bench.input(3, Input::Wanted(a, a)), [""; 0]);
        assert_eq!(
            bench.input(4, Input::Wanted(b, a)),
            ["worker 2 10.1.0.2:4|, worker 7 10.2.0.2:4|"]
        );
        assert_eq!(
            bench.input(5, Input::Wanted(a, b)),
            [""; 0],
            "the other one asks too"
        );
        bench.input(6, Input::Seen(a, "203.0.113.11:4".to_owned()));
        bench.input(7, Input::Moved(a, texts("203.0.113.11:4 203.0.113.11:9")));
        bench.input(8, Input::Seen(b, "10.2.0.2:4".to_owned()));
        assert_eq!(
            bench.input(1004, Input::Wanted(a, b)),
            ["worker 2 10.1.0.2:4|203.0.113.11:4 203.0.113.11:9, worker 7 10.2.0.2:4|"],
            "asked again, with all that is known now"
        );
        bench.input(1005, Input::Left(b));
        assert_eq!(bench.input(3000, Input::Wanted(a, b)), [""; 0]);
    }

    #[test]
    fn what_workers_tell_is_bounded() {
        let mut bench = Bench(Rendezvous::default());
        let many: Vec<_> = (0..99).map(|n| format!("10.0.0.{n}:4")).collect();
        bench.input(0, Input::Joined(WorkerId(0), many.clone()));
        bench.input(0, Input::Joined(WorkerId(1), Vec::new()));
        bench.input(0, Input::Moved(WorkerId(0), many));
        bench.input(0, Input::Moved(WorkerId(9), Vec::new()));
        bench.0.handle_input(
            Timestamp::default(),
            Input::Wanted(WorkerId(0), WorkerId(1)),
        );
        let Some(Action::Introduce((_, reach), _)) = bench.0.poll_action() else {
            panic!("not introduced");
        };
        assert_eq!((reach.local.len(), reach.outside.len()), (8, 8));
    }
}
