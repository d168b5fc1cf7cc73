//! What runs workers: threads of this process, child processes, or Lambda. Never decides how many or when.

mod bootstrap;
mod invitation;
pub(crate) mod lambda;
pub(crate) mod processes;
pub(crate) mod threads;
pub(crate) mod ticket;
pub(crate) mod volunteers;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use peerwren_kernels::op::KernelSet;
use peerwren_transports::identity::NodeIdentity;
use tokio::sync::oneshot;

use crate::machine::WorkerId;

/// Where a worker on the coordinator's own machine listens: nobody else is to reach it.
fn listen_beside(coordinator: SocketAddr) -> SocketAddr {
    let ip = if coordinator.is_ipv4() {
        IpAddr::from(Ipv4Addr::LOCALHOST)
    } else {
        Ipv6Addr::LOCALHOST.into()
    };
    SocketAddr::new(ip, 0)
}

pub use bootstrap::lambda_main;

/// The object that a run's store has while the run is not over.
pub(crate) const OPEN: &str = "open";

/// How a worker ended: an error is one for which no worker can ever be started.
pub(crate) type Ended = Result<(), String>;

/// Resolves when a worker has ended, however it did.
pub(crate) type Watched = oneshot::Receiver<Ended>;

/// One way to run workers.
pub(crate) enum Engine {
    Threads(threads::Threads),
    Processes(processes::Processes),
    Volunteers(volunteers::Volunteers),
    Lambda(Box<lambda::Lambda>),
}

impl Engine {
    /// Starts a worker; the receiver resolves when it has ended, however it did.
    pub(crate) fn start(
        &mut self,
        worker: WorkerId,
        identity: NodeIdentity,
    ) -> Result<Watched, String> {
        match self {
            Self::Threads(engine) => Ok(engine.start(worker, identity)),
            Self::Processes(engine) => engine.start(worker, &identity),
            Self::Lambda(engine) => engine.start(worker, &identity),
            Self::Volunteers(_) => Err(format!("{worker} is to come by itself")),
        }
    }

    /// Notes that a worker was let in that nobody started.
    pub(crate) fn admit(&mut self, worker: WorkerId) {
        if let Self::Volunteers(engine) = self {
            engine.admit(worker);
        }
    }

    /// Ends a worker, if it still runs.
    pub(crate) fn end(&mut self, worker: WorkerId) {
        match self {
            Self::Threads(engine) => engine.end(worker),
            Self::Processes(engine) => engine.end(worker),
            Self::Volunteers(engine) => engine.end(worker),
            Self::Lambda(engine) => engine.end(worker),
        }
    }

    /// Lets every worker end by itself for a moment, unless `at_once`, then ends it; resolves when all
    /// have ended.
    pub(crate) fn end_all(&mut self, at_once: bool) -> Pin<Box<dyn Future<Output = ()>>> {
        match self {
            Self::Threads(engine) => Box::pin(engine.end_all(at_once)),
            Self::Processes(engine) => Box::pin(engine.end_all(at_once)),
            Self::Volunteers(engine) => Box::pin(engine.end_all()),
            Self::Lambda(engine) => Box::pin(engine.end_all(at_once)),
        }
    }
}

/// Whether this process calls [`worker_main`] first, so that it can be started again as a worker.
static CALLS_WORKER_MAIN: AtomicBool = AtomicBool::new(false);

/// Makes this executable able to be a worker: call it first in `main`.
///
/// Returns at once in an ordinary process. In a process that the engine `processes` has started as
/// a worker it joins the run, works with `kernels` until told to stop, and exits.
pub fn worker_main(kernels: KernelSet) {
    CALLS_WORKER_MAIN.store(true, Ordering::SeqCst);
    if let Some(version) = std::env::var_os(processes::WORKER_VARIABLE) {
        std::process::exit(processes::be_worker(&version, kernels));
    }
}

/// What to start as a worker: this executable if it can be one, else `peerwren` beside it or on PATH.
pub(crate) fn worker_executable() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|e| format!("cannot find this executable: {e}"))?;
    if CALLS_WORKER_MAIN.load(Ordering::SeqCst) {
        return Ok(here);
    }
    let name = format!("peerwren{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = here.parent().map(PathBuf::from);
    let found = beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|d| d.join(&name));
    found.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        "engine processes has no executable to start workers from: call peerwren::worker_main first in \
         main, install peerwren on PATH, or use engine threads"
            .to_owned()
    })
}
