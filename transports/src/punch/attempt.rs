//! One try at a path between two nodes: which addresses are pinged when, and which one answered.
//! Never sends; never knows who dials.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Limits;
use super::probe::{Secret, Window};
use crate::path::{Candidates, Way, canonical};

/// Addresses that one attempt pings: 8 local and 8 outside candidates, and 8 that the peer turned out
/// to send from.
pub(super) const REMOTES_MAX: usize = 3 * crate::path::ADDRESSES_MAX;

/// Pings that one attempt answers: the other side sends no more than 24 addresses x 12 rounds.
const ANSWERS_MAX: u32 = 288;

#[derive(Clone, Debug)]
struct Remote {
    addr: SocketAddr,
    is_local: bool,
    next_at: Duration,
    interval: Duration,
}

/// A try at a path, from an introduction on.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) secret: Secret,
    pub(super) until: Duration,
    /// How long an outside address that answered waits for a local one.
    grace: Duration,
    remotes: Vec<Remote>,
    next_number: u64,
    /// Pings that were not answered: their numbers and where they went.
    sent: BTreeMap<u64, SocketAddr>,
    answered: Window,
    answers: u32,
    /// The outside address that answered first, and when it is taken.
    best: Option<(SocketAddr, Duration)>,
}

impl Attempt {
    /// Begins to try `theirs`, except for addresses that are this node's own too.
    pub(super) fn new(
        now: Duration,
        limits: &Limits,
        secret: Secret,
        theirs: &Candidates,
        own: &Candidates,
    ) -> Self {
        let is_own = |addr: &SocketAddr| own.local.contains(addr) || own.outside.contains(addr);
        let remote = |addr: &SocketAddr, is_local, delay| Remote {
            addr: *addr,
            is_local,
            next_at: now + delay,
            interval: limits.ping_first,
        };
        let can = |addr: &&SocketAddr| !is_own(addr) && !addr.ip().is_loopback();
        let local: Vec<_> = theirs.local.iter().filter(can).collect();
        let outside = theirs.outside.iter().filter(can);
        let outside = outside.filter(|addr| !local.contains(addr));
        let (grace, delay) = if local.is_empty() {
            (Duration::ZERO, Duration::ZERO)
        } else {
            (limits.local_grace, limits.outside_after)
        };
        let local = local.iter().map(|addr| remote(addr, true, Duration::ZERO));
        let outside = outside.map(|addr| remote(addr, false, delay));
        Self {
            secret,
            until: now + limits.attempt,
            grace,
            remotes: local.chain(outside).take(REMOTES_MAX).collect(),
            next_number: 0,
            sent: BTreeMap::new(),
            answered: Window::default(),
            answers: 0,
            best: None,
        }
    }

    /// The pings that are due: numbers and addresses.
    pub(super) fn due(&mut self, now: Duration, limits: &Limits) -> Vec<(u64, SocketAddr)> {
        let mut due = Vec::new();
        for remote in &mut self.remotes {
            if remote.next_at <= now {
                due.push((self.next_number, remote.addr));
                self.sent.insert(self.next_number, remote.addr);
                self.next_number += 1;
                remote.next_at = now + remote.interval;
                remote.interval = (remote.interval * 2).min(limits.ping_every);
            }
        }
        due
    }

    /// When the next ping is due.
    pub(super) fn next_ping(&self) -> Option<Duration> {
        self.remotes.iter().map(|remote| remote.next_at).min()
    }

    /// A proven ping came from `from`; tells whether to answer it. An address that is new is where the
    /// peer's NAT lets it come from: it is pinged too, as is one that is known, at once.
    pub(super) fn pinged(
        &mut self,
        now: Duration,
        limits: &Limits,
        from: SocketAddr,
        number: u64,
    ) -> bool {
        if self.answers >= ANSWERS_MAX || !self.answered.take(number) {
            return false;
        }
        self.answers += 1;
        let from = canonical(from);
        let known = self.remotes.iter_mut().find(|remote| remote.addr == from);
        if let Some(remote) = known {
            // What is pinged often enough already is not pinged more often.
            if remote.interval <= limits.ping_first * 2 {
                remote.next_at = now;
            }
        } else if self.remotes.len() < REMOTES_MAX {
            self.remotes.push(Remote {
                addr: from,
                is_local: false,
                next_at: now,
                interval: limits.ping_first,
            });
        }
        true
    }

    /// A proven answer came from `from`: remembers the first outside address; returns the address to
    /// take, if it is time to.
    pub(super) fn answered(
        &mut self,
        now: Duration,
        from: SocketAddr,
        number: u64,
        theirs: &Candidates,
    ) -> Option<SocketAddr> {
        let from = canonical(from);
        if self.sent.get(&number) != Some(&from) {
            return None;
        }
        self.sent.remove(&number);
        if theirs.way_at(from) == Way::Local {
            return Some(from);
        }
        if self.best.is_none() {
            self.best = Some((from, now + self.grace));
            // The peer hears by now: local addresses get one more ping, which can be answered in time.
            let local = self.remotes.iter_mut().filter(|remote| remote.is_local);
            local.for_each(|remote| remote.next_at = now);
        }
        self.chosen(now)
    }

    /// The outside address that answered, once local ones have had their time.
    pub(super) fn chosen(&self, now: Duration) -> Option<SocketAddr> {
        self.best.filter(|(_, at)| now >= *at).map(|(addr, _)| addr)
    }

    /// When an address that has answered is taken.
    pub(super) fn choice_at(&self) -> Option<Duration> {
        self.best.map(|(_, at)| at)
    }

    pub(super) fn check_invariants(&self, own: &[SocketAddr]) {
        assert!(
            self.remotes.len() <= REMOTES_MAX,
            "an attempt pings too many addresses"
        );
        assert!(
            self.answers <= ANSWERS_MAX,
            "an attempt answers too many pings"
        );
        for addr in self.sent.values() {
            assert!(!own.contains(addr), "{addr} is this node's own");
        }
    }
}
