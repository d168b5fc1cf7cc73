//! Drives a [`Puncher`] on a node's socket: probes and STUN out and in, dials, whoever waits for a path.
//! Decides nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::error::PathError;
use super::node::Shared;
use super::socket::{Aside, Socket};
use super::stun::{self, Transaction};
use crate::identity::NodeId;
use crate::path::{Mapping, Way};
use crate::punch::{Action, Input, Limits, Puncher, is_probe};

/// Events that wait to be taken: an opened path a peer, of hundreds of peers. More are dropped, and what
/// is asked for is asked for again.
const EVENTS_MAX: usize = 4_096;

/// STUN requests that wait for their answers.
const ASKED_MAX: usize = 16;

/// STUN requests are repeated after 250, 500, 1000 and 2000 ms: 3.75 s in all.
const STUN_TRIES: u32 = 4;
const STUN_FIRST: Duration = Duration::from_millis(250);

/// What happens to a node's paths, for whoever speaks with the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathEvent {
    /// The outside addresses or what is known of the NAT have changed.
    Moved {
        /// The addresses that others see.
        outside: Vec<SocketAddr>,
        /// The kind of NAT.
        mapping: Mapping,
    },
    /// The coordinator is to introduce this node and a peer to each other.
    Ask(NodeId),
    /// There is a connection with a peer.
    Opened(NodeId, Way),
    /// There is no path to a peer for a while.
    Failed(NodeId),
}

/// Whether a path came of it.
type Found = watch::Receiver<Option<bool>>;

/// The paths of one node.
pub(super) struct Paths {
    socket: Arc<Socket>,
    began: Instant,
    state: Mutex<State>,
    changed: Notify,
    events: mpsc::Sender<PathEvent>,
}

struct State {
    machine: Puncher,
    waiting: BTreeMap<NodeId, watch::Sender<Option<bool>>>,
    asked: BTreeMap<Transaction, (SocketAddr, oneshot::Sender<SocketAddr>)>,
    events: Option<mpsc::Receiver<PathEvent>>,
}

impl Paths {
    pub(super) fn new(me: NodeId, socket: Arc<Socket>, local: Vec<SocketAddr>) -> Self {
        let (events, taken) = mpsc::channel(EVENTS_MAX);
        let mut machine = Puncher::new(me, Limits::default());
        machine.handle_input(Duration::ZERO, Input::Local(local));
        Self {
            socket,
            began: Instant::now(),
            state: Mutex::new(State {
                machine,
                waiting: BTreeMap::new(),
                asked: BTreeMap::new(),
                events: Some(taken),
            }),
            changed: Notify::new(),
            events,
        }
    }

    pub(super) fn take_events(&self) -> Option<mpsc::Receiver<PathEvent>> {
        self.state().events.take()
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Puncher) -> T) -> T {
        read(&self.state().machine)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Shared {
    /// Tells the machine something and does what it says. Nothing here waits.
    pub(super) fn path_input(self: &Arc<Self>, input: Input) {
        let mut state = self.paths.state();
        state.machine.handle_input(self.paths.now(), input);
        self.perform(&mut state);
    }

    fn perform(self: &Arc<Self>, state: &mut State) {
        let paths = &self.paths;
        while let Some(action) = state.machine.poll_action() {
            // What cannot be taken down is dropped; EVENTS_MAX says why.
            let tell = |event| drop(paths.events.try_send(event));
            match action {
                Action::Send { to, bytes } => paths.socket.send_aside(to, &bytes),
                Action::Dial { peer, addr } => {
                    tokio::spawn(self.clone().dial_path(peer, addr));
                }
                Action::Moved => tell(PathEvent::Moved {
                    outside: state.machine.candidates().outside.clone(),
                    mapping: state.machine.mapping(),
                }),
                Action::Ask(peer) => tell(PathEvent::Ask(peer)),
                Action::Opened(peer, way) => {
                    state.found(peer, true);
                    tell(PathEvent::Opened(peer, way));
                }
                Action::Failed { peer, lasting } => {
                    state.found(peer, false);
                    if lasting {
                        tell(PathEvent::Failed(peer));
                    }
                }
            }
        }
        if cfg!(debug_assertions) {
            state.machine.check_invariants();
        }
        paths.changed.notify_one();
    }

    async fn dial_path(self: Arc<Self>, peer: NodeId, addr: SocketAddr) {
        let connected = self.link(peer, addr).await.is_ok();
        self.path_input(Input::Dialed {
            peer,
            addr,
            connected,
        });
    }

    /// Waits for a connection with `peer` by whatever path is found.
    pub(super) async fn find_path(self: &Arc<Self>, peer: NodeId) -> Result<(), PathError> {
        let mut found = self.wait_for_path(peer);
        match found.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(true)) => Ok(()),
            _ => Err(PathError),
        }
    }

    fn wait_for_path(self: &Arc<Self>, peer: NodeId) -> Found {
        let mut state = self.paths.state();
        let found = match state.waiting.get(&peer) {
            Some(waiting) => return waiting.subscribe(),
            None => {
                let (waiting, found) = watch::channel(None);
                state.waiting.insert(peer, waiting);
                found
            }
        };
        state
            .machine
            .handle_input(self.paths.now(), Input::Want(peer));
        self.perform(&mut state);
        found
    }

    /// Asks a STUN server where it sees this node's socket, and takes that into account.
    pub(super) async fn stun(self: &Arc<Self>, server: SocketAddr) -> Option<SocketAddr> {
        let transaction = crate::random::bytes();
        let (answer, mut answered) = oneshot::channel();
        {
            let mut state = self.paths.state();
            state.asked.retain(|_, (_, answer)| !answer.is_closed());
            if state.asked.len() >= ASKED_MAX {
                return None;
            }
            state.asked.insert(transaction, (server, answer));
        }
        let request = stun::request(transaction);
        for again in 0..STUN_TRIES {
            self.paths.socket.send_aside(server, &request);
            let wait = STUN_FIRST * 2u32.pow(again);
            if let Ok(seen) = timeout(wait, &mut answered).await {
                let seen = seen.ok()?;
                let observer = server;
                self.path_input(Input::Observed { observer, seen });
                return Some(seen);
            }
        }
        None
    }

    fn aside(self: &Arc<Self>, (from, bytes): Aside) {
        if is_probe(&bytes) {
            self.path_input(Input::Received { from, bytes });
        } else if let Some((transaction, seen)) = stun::answer(&bytes) {
            let mut state = self.paths.state();
            if let Some((server, answer)) = state.asked.remove(&transaction) {
                if crate::path::canonical(server) == from {
                    // Whoever asked may have given up.
                    let _ = answer.send(seen);
                } else {
                    state.asked.insert(transaction, (server, answer));
                }
            }
        }
    }
}

impl State {
    fn found(&mut self, peer: NodeId, found: bool) {
        if let Some(waiting) = self.waiting.remove(&peer) {
            waiting.send_replace(Some(found));
        }
    }
}

/// Takes in datagrams and the passing of time, until aborted.
pub(super) async fn drive(shared: Arc<Shared>, mut aside: mpsc::Receiver<Aside>) {
    loop {
        let at = shared.paths.state().machine.poll_timeout();
        let at = at.map(|(at, _)| shared.paths.began + at);
        let time = async {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(datagram) = aside.recv() => shared.aside(datagram),
            () = shared.paths.changed.notified() => {}
            () = time => {
                let mut state = shared.paths.state();
                state.machine.handle_timeout(shared.paths.now());
                shared.perform(&mut state);
            }
        }
    }
}
