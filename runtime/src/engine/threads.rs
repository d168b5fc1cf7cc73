//! Workers as actors of this process, each with its own socket and its own compute threads.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use actix::Arbiter;
use peerwren_kernels::op::KernelSet;
use peerwren_transports::identity::NodeIdentity;
use peerwren_transports::store::BlockStore;
use tokio::sync::oneshot;

use super::Watched;
use crate::actors::worker::{Joining, work};
use crate::machine::WorkerId;
use crate::options::ControlChoice;

/// How long workers that were told to stop may take.
const GRACE: Duration = Duration::from_secs(2);

/// The engine `threads`.
pub(crate) struct Threads {
    coordinator: SocketAddr,
    control: ControlChoice,
    store: BlockStore,
    kernels: KernelSet,
    block_bytes_max: usize,
    /// I/O threads that the workers share.
    arbiters: Vec<Arbiter>,
    running: BTreeMap<WorkerId, (oneshot::Sender<()>, oneshot::Receiver<()>)>,
}

impl Threads {
    /// An engine whose workers share `io_threads` threads for all but computing.
    pub(crate) fn new(
        coordinator: SocketAddr,
        control: ControlChoice,
        store: BlockStore,
        kernels: KernelSet,
        block_bytes_max: usize,
        io_threads: usize,
    ) -> Self {
        let arbiters = (0..io_threads.max(1)).map(|_| Arbiter::new()).collect();
        let running = BTreeMap::new();
        Self {
            coordinator,
            control,
            store,
            kernels,
            block_bytes_max,
            arbiters,
            running,
        }
    }

    pub(crate) fn start(&mut self, worker: WorkerId, identity: NodeIdentity) -> Watched {
        let joining = Joining {
            coordinators: vec![self.coordinator.to_string()],
            identity,
            store: self.store.clone(),
            kernels: self.kernels.clone(),
            block_bytes_max: self.block_bytes_max,
            control: self.control,
            leave: None,
            listen: super::listen_beside(self.coordinator),
            life: None,
        };
        let (cancel, cancelled) = oneshot::channel();
        let (ended, watched) = oneshot::channel();
        let (finished, finish) = oneshot::channel();
        self.running.insert(worker, (cancel, finish));
        let arbiter = &self.arbiters[worker.0 as usize % self.arbiters.len()];
        arbiter.spawn(async move {
            if let Err(error) = work(joining, cancelled).await {
                tracing::warn!(%worker, %error, "ended");
            }
            // Nobody listens any more once the run is over.
            let _ = ended.send(Ok(()));
            let _ = finished.send(());
        });
        watched
    }

    pub(crate) fn end(&mut self, worker: WorkerId) {
        if let Some((cancel, _)) = self.running.remove(&worker) {
            let _ = cancel.send(());
        }
    }

    pub(crate) fn end_all(&mut self, at_once: bool) -> impl Future<Output = ()> + 'static {
        let mut running = std::mem::take(&mut self.running);
        async move {
            let all = async {
                while let Some(mut next) = running.first_entry() {
                    // However it ended, it has.
                    let _ = (&mut next.get_mut().1).await;
                    next.remove();
                }
            };
            let grace = if at_once { Duration::ZERO } else { GRACE };
            if tokio::time::timeout(grace, all).await.is_ok() {
                return;
            }
            for (_, (cancel, _)) in running {
                let _ = cancel.send(());
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for arbiter in self.arbiters.drain(..) {
            arbiter.stop();
            // Only a panic inside the thread makes this fail, and that was reported by then.
            let _ = arbiter.join();
        }
    }
}
