//! What carries messages between the coordinator and its workers, as the real ones do. A connection keeps
//! order, delivers once, may be held up, and may break at any moment with what was under way. Letters are numbered:
//! they may overtake each other, come twice or be destroyed, and are read by number, each once; who waits for a
//! destroyed one reads none after it. The numbering is `peerwren_transports::mailbox`'s rule, modelled here, since that is
//! bound to a store.

use std::collections::{BTreeMap, BTreeSet};

use super::{Event, US, World};
use crate::machine::WorkerId;

/// From or to a worker.
pub(super) type Link = (WorkerId, bool);

/// A letter is found so much later at most: looks for mail become rare while none comes.
const LOOK_US: u64 = 300_000;

/// All links between the coordinator and its workers.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// When the last message of a link arrives.
    last: BTreeMap<Link, u64>,
    /// Until when nothing of a link arrives.
    held: BTreeMap<Link, u64>,
    /// Whose link is broken.
    closed: BTreeSet<WorkerId>,
    by_mail: BTreeSet<WorkerId>,
    post: BTreeMap<Link, Post>,
}

/// The letters of a link.
#[derive(Debug, Default)]
struct Post {
    sent: u64,
    /// The next one that is read.
    next: u64,
    /// What letters say that are not read yet.
    texts: BTreeMap<u64, Event>,
    /// Those that can be read.
    there: BTreeSet<u64>,
}

impl Channels {
    pub(super) fn is_by_mail(&self, id: WorkerId) -> bool {
        self.by_mail.contains(&id)
    }

    pub(super) fn choose_mail(&mut self, id: WorkerId) {
        self.by_mail.insert(id);
    }

    pub(super) fn close(&mut self, id: WorkerId) {
        self.closed.insert(id);
    }
}

impl World<'_> {
    pub(super) fn latency(&mut self) -> u64 {
        let more = if self.is_rough() {
            self.setup.faults.latency_us
        } else {
            0
        };
        self.dice.within(50, 1_000 + more) * US
    }

    /// Sends a message, which takes so long.
    pub(super) fn deliver(&mut self, link: Link, takes: u64, event: Event) {
        if self.channels.closed.contains(&link.0) {
            return;
        }
        if self.channels.is_by_mail(link.0) {
            return self.post(link, takes, event);
        }
        let held = self.channels.held.get(&link).copied().unwrap_or(0);
        let last = self.channels.last.entry(link).or_default();
        *last = (*last).max(self.now + takes).max(held);
        let takes = *last - self.now;
        self.push(takes, event);
    }

    fn post(&mut self, link: Link, takes: u64, event: Event) {
        let post = self.channels.post.entry(link).or_default();
        let number = post.sent;
        post.sent += 1;
        post.texts.insert(number, event);
        if self.strikes("letters destroyed", self.setup.faults.mail_lost) {
            return;
        }
        let held = self.channels.held.get(&link).copied().unwrap_or(0);
        let found = self.now + takes + self.dice.within(1_000, LOOK_US) * US;
        let takes = found.max(held) - self.now;
        self.push(takes, Event::Letter(link, number));
        if self.strikes("letters that come twice", self.setup.faults.mail_twice) {
            let later = self.dice.within(1, 1_000_000) * US;
            self.push(takes + later, Event::Letter(link, number));
        }
    }

    pub(super) fn letter_came(&mut self, link: Link, number: u64) {
        let Some(post) = self.channels.post.get_mut(&link) else {
            return;
        };
        if number < post.next {
            return;
        }
        post.there.insert(number);
        let overtakes = number > post.next;
        let mut read = Vec::new();
        while post.there.remove(&post.next) {
            read.extend(post.texts.remove(&post.next));
            post.next += 1;
        }
        if overtakes {
            *(self.strikes.entry("letters that overtake others")).or_default() += 1;
        }
        for event in read {
            self.push(0, event);
        }
    }

    /// Nothing of a link arrives before that.
    pub(super) fn hold(&mut self, link: Link, until: u64) {
        let held = self.channels.held.entry(link).or_default();
        *held = (*held).max(until);
    }

    /// When the last of what a worker has said arrives, if that is under way.
    pub(super) fn last_under_way(&self, id: WorkerId) -> Option<u64> {
        let mut last = self.events.iter().rev();
        last.find_map(|(&(at, _), e)| {
            matches!(e, Event::Said(from, _) if *from == id).then_some(at)
        })
    }

    /// What is under way is lost, but for the first messages of it.
    pub(super) fn lose_under_way(&mut self, id: WorkerId, from_worker: bool, kept: u64) {
        let is_of_link = |event: &Event| match event {
            Event::Said(other, _) => from_worker && *other == id,
            Event::Told(other, _) => !from_worker && *other == id,
            Event::Letter(link, _) => *link == (id, from_worker),
            _ => false,
        };
        let mut seen = 0;
        self.events.retain(|_, event| {
            let is_of_link = is_of_link(event);
            seen += u64::from(is_of_link);
            !is_of_link || seen <= kept
        });
    }
}
