//! The table of a node's connections: who is linked, who is being dialed, what is unused.
//! Never dials, accepts or carries anything itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::error::{CloseCode, DialError};
use crate::identity::NodeId;

/// Connections that one peer may have: one dialed from each side, and as many that died and whose
/// idle time-out has not run out.
const LINKS_PER_PEER_MAX: usize = 4;

/// What all who wait for a dial will see.
pub(super) type Dialing = watch::Receiver<Option<Result<Arc<Link>, DialError>>>;

/// A connection with a proven peer.
pub(super) struct Link {
    pub(super) conn: quinn::Connection,
    pub(super) peer: NodeId,
    dialed_by: NodeId,
    /// Both sides are on one host, as far as addresses and doors have told.
    same_host: AtomicBool,
    uses: AtomicUsize,
    last_used: Mutex<Instant>,
}

impl Link {
    pub(super) fn new(conn: quinn::Connection, peer: NodeId, dialed_by: NodeId) -> Arc<Self> {
        let last_used = Mutex::new(Instant::now());
        let remote = conn.remote_address().ip().to_canonical();
        let local = conn.local_ip().map(|ip| ip.to_canonical());
        let same_host = remote.is_loopback() || local == Some(remote);
        Arc::new(Self {
            conn,
            peer,
            dialed_by,
            same_host: AtomicBool::new(same_host),
            uses: AtomicUsize::new(0),
            last_used,
        })
    }

    pub(super) fn close(&self, code: CloseCode) {
        self.conn.close(code.code(), code.reason());
    }

    pub(super) fn is_on_one_host(&self) -> bool {
        self.same_host.load(Ordering::Relaxed)
    }

    /// The other side's door was not found: it is elsewhere after all.
    pub(super) fn has_no_door(&self) {
        self.same_host.store(false, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.conn.close_reason().is_none()
    }

    fn last_used(&self) -> Instant {
        *self
            .last_used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_unused(&self) -> bool {
        self.uses.load(Ordering::Acquire) == 0
    }
}

/// Keeps a link from being dropped as unused while something is carried on it.
pub(super) struct LinkUse(Arc<Link>);

impl LinkUse {
    pub(super) fn new(link: &Arc<Link>) -> Self {
        link.uses.fetch_add(1, Ordering::AcqRel);
        Self(link.clone())
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.0
    }
}

impl Drop for LinkUse {
    fn drop(&mut self) {
        *self
            .0
            .last_used
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.uses.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How a peer can be reached now.
pub(super) enum Reach {
    /// There is a connection.
    Linked(LinkUse),
    /// Somebody is dialing already.
    Dialing(Dialing),
    /// The caller dials, and reports through this.
    Dial(watch::Sender<Option<Result<Arc<Link>, DialError>>>, Dialing),
}

/// The table.
pub(super) struct Links {
    max: usize,
    by_peer: HashMap<NodeId, Vec<Arc<Link>>>,
    dialing: HashMap<NodeId, Dialing>,
}

impl Links {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            by_peer: HashMap::new(),
            dialing: HashMap::new(),
        }
    }

    /// Finds the way to `peer`; whoever is told to dial must call [`dialed`](Self::dialed).
    pub(super) fn reach(&mut self, peer: NodeId) -> Reach {
        if let Some(link) = self.linked(peer) {
            return Reach::Linked(link);
        }
        if let Some(dialing) = self.dialing.get(&peer) {
            // A dial that ended without a word (its runtime ended) holds nobody up.
            if dialing.has_changed().is_ok() {
                return Reach::Dialing(dialing.clone());
            }
        }
        let (report, dialing) = watch::channel(None);
        self.dialing.insert(peer, dialing.clone());
        Reach::Dial(report, dialing)
    }

    /// The connection with `peer`, if there is one.
    pub(super) fn linked(&mut self, peer: NodeId) -> Option<LinkUse> {
        let links = self.by_peer.get_mut(&peer)?;
        links.retain(|link| link.is_open());
        // Where both dialed at once, both sides choose the same: the lower id's, newest.
        let best = links
            .iter()
            .enumerate()
            .min_by_key(|(age, link)| (link.dialed_by, !*age));
        best.map(|(_, link)| LinkUse::new(link))
    }

    /// Ends a dial: the table takes the link, or refuses it.
    pub(super) fn dialed(&mut self, peer: NodeId, link: Option<&Arc<Link>>) -> bool {
        self.dialing.remove(&peer);
        link.is_none_or(|link| self.insert(link))
    }

    /// Takes a new link; where there are too many, the one unused longest goes. False: all are in
    /// use, and the new one must go.
    pub(super) fn insert(&mut self, link: &Arc<Link>) -> bool {
        self.by_peer.retain(|_, links| {
            links.retain(|link| link.is_open());
            !links.is_empty()
        });
        let of_peer = self.by_peer.get(&link.peer).map_or(&[][..], Vec::as_slice);
        // Many may hold one token, and each is somebody else.
        let is_one = link.peer != NodeId::Guest;
        let crowded_by = if is_one && of_peer.len() >= LINKS_PER_PEER_MAX {
            Some(oldest_unused(of_peer.iter()))
        } else if self.len() >= self.max {
            Some(oldest_unused(self.by_peer.values().flatten()))
        } else {
            None
        };
        match crowded_by {
            Some(None) => return false,
            Some(Some(unused)) => {
                unused.close(CloseCode::Crowded);
                self.remove(&unused);
            }
            None => {}
        }
        self.by_peer
            .entry(link.peer)
            .or_default()
            .push(link.clone());
        true
    }

    pub(super) fn remove(&mut self, link: &Arc<Link>) {
        if let Some(links) = self.by_peer.get_mut(&link.peer) {
            links.retain(|other| !Arc::ptr_eq(other, link));
            if links.is_empty() {
                self.by_peer.remove(&link.peer);
            }
        }
    }

    pub(super) fn remove_peer(&mut self, peer: NodeId) -> Vec<Arc<Link>> {
        self.by_peer.remove(&peer).unwrap_or_default()
    }

    /// Removes and closes what has carried nothing for `unused_timeout`.
    pub(super) fn drop_unused(&mut self, now: Instant, unused_timeout: Duration) {
        let keep = |link: &Arc<Link>| {
            let keep = !link.is_unused() || now.duration_since(link.last_used()) < unused_timeout;
            if !keep {
                link.close(CloseCode::Idle);
            }
            keep
        };
        self.by_peer.retain(|_, links| {
            links.retain(keep);
            !links.is_empty()
        });
    }

    pub(super) fn len(&self) -> usize {
        self.by_peer.values().map(Vec::len).sum()
    }
}

fn oldest_unused<'a>(links: impl Iterator<Item = &'a Arc<Link>>) -> Option<Arc<Link>> {
    links
        .filter(|link| link.is_unused())
        .min_by_key(|link| link.last_used())
        .cloned()
}
