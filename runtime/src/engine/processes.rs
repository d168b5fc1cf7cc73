//! Workers as child processes of the driver. A child gets its ticket, secrets included, through its
//! standard input, and ends when that closes: no orphan outlives the driver, whatever ends it. SIGTERM asks
//! it to leave: it gives its blocks to others first.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::future::Future;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use peerwren_kernels::op::KernelSet;
use peerwren_transports::identity::NodeIdentity;
use peerwren_transports::store::Place;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::prelude::*;

use super::Watched;
use super::ticket::{TICKET_BYTES_MAX, TICKET_VERSION, Ticket};
use crate::actors::worker::work;
use crate::machine::WorkerId;
use crate::options::ControlChoice;

/// Set in a worker's environment; what it holds is the version of the ticket.
pub(crate) const WORKER_VARIABLE: &str = "PEERWREN_WORKER_PROCESS";
/// The store's folder, where it is to go when the driver does. Beside the ticket, since the driver may be
/// killed before it has written that.
const TEMPORARY_STORE_VARIABLE: &str = "PEERWREN_WORKER_TEMPORARY_STORE";
/// Exit status of a worker that a second SIGTERM ends, as shells count it.
const STATUS_AT_ONCE: i32 = 143;
/// How long workers that were told to stop may take.
const GRACE: Duration = Duration::from_secs(2);

/// The engine `processes`.
pub(crate) struct Processes {
    executable: PathBuf,
    coordinator: SocketAddr,
    control: ControlChoice,
    store: Place,
    temporary_store: Option<PathBuf>,
    block_bytes_max: u64,
    running: BTreeMap<WorkerId, Running>,
}

struct Running {
    kill: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Processes {
    pub(crate) fn new(
        executable: PathBuf,
        coordinator: SocketAddr,
        control: ControlChoice,
        store: Place,
        temporary_store: Option<PathBuf>,
        block_bytes_max: u64,
    ) -> Self {
        let running = BTreeMap::new();
        Self {
            executable,
            coordinator,
            control,
            store,
            temporary_store,
            block_bytes_max,
            running,
        }
    }

    pub(crate) fn start(
        &mut self,
        worker: WorkerId,
        identity: &NodeIdentity,
    ) -> Result<Watched, String> {
        // A folder's name that is no UTF-8 would become another one.
        let store = self.store.to_string();
        if store.parse() != Ok(self.store.clone()) {
            return Err(format!("the store {store} cannot be written as text"));
        }
        let ticket = Ticket {
            worker,
            coordinators: vec![self.coordinator.to_string()],
            identity_pem: identity.to_pem(),
            store,
            block_bytes_max: self.block_bytes_max,
            control: self.control,
            listen: super::listen_beside(self.coordinator).to_string(),
            log: tracing::level_filters::LevelFilter::current().to_string(),
        };
        let mut command = Command::new(&self.executable);
        if let Some(folder) = &self.temporary_store {
            command.env(TEMPORARY_STORE_VARIABLE, folder);
        }
        let child = command
            .env(WORKER_VARIABLE, TICKET_VERSION)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C on the terminal is the driver's to handle.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                format!(
                    "cannot start a worker from {}: {error}",
                    self.executable.display()
                )
            })?;
        tracing::debug!(%worker, pid = child.id(), "started");
        let (kill, killed) = oneshot::channel();
        let (finished, ended) = oneshot::channel();
        let (gone, watched) = oneshot::channel();
        self.running.insert(worker, Running { kill, ended });
        actix::spawn(async move {
            watch(child, crate::control::encode(&ticket), worker, killed).await;
            // Nobody listens any more once the run is over.
            let _ = gone.send(Ok(()));
            let _ = finished.send(());
        });
        Ok(watched)
    }

    pub(crate) fn end(&mut self, worker: WorkerId) {
        if let Some(running) = self.running.remove(&worker) {
            let _ = running.kill.send(());
        }
    }

    pub(crate) fn end_all(&mut self, at_once: bool) -> impl Future<Output = ()> + 'static {
        let mut running = std::mem::take(&mut self.running);
        async move {
            let all = async {
                while let Some(mut next) = running.first_entry() {
                    // However it ended, it has.
                    let _ = (&mut next.get_mut().ended).await;
                    next.remove();
                }
            };
            let grace = if at_once { Duration::ZERO } else { GRACE };
            if tokio::time::timeout(grace, all).await.is_ok() {
                return;
            }
            for (_, running) in running {
                let _ = running.kill.send(());
                let _ = running.ended.await;
            }
        }
    }
}

/// Feeds a child its ticket, forwards what it says, and waits for its end or for the order to kill.
async fn watch(mut child: Child, ticket: Vec<u8>, worker: WorkerId, killed: oneshot::Receiver<()>) {
    let mut stdin = child.stdin.take();
    if let Some(stdin) = &mut stdin {
        let length = u32::try_from(ticket.len()).unwrap_or(0).to_le_bytes();
        for part in [&length[..], &ticket] {
            if let Err(error) = stdin.write_all(part).await {
                tracing::warn!(%worker, %error, "took no ticket");
            }
        }
    }
    if let Some(stderr) = child.stderr.take() {
        actix::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let line = format!("[{worker}] {line}\n");
                // A closed standard error is no reason to stop computing.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
        });
    }
    let status = tokio::select! {
        status = child.wait() => status,
        order = killed => {
            if order.is_ok() {
                // It may have ended in the meantime.
                let _ = child.start_kill();
            }
            child.wait().await
        }
    };
    drop(stdin);
    match status {
        Ok(status) if status.success() => tracing::debug!(%worker, "ended"),
        Ok(status) => tracing::warn!(%worker, %status, "ended"),
        Err(error) => tracing::warn!(%worker, %error, "cannot be waited for"),
    }
}

/// The whole life of a worker process; returns its exit status.
pub(crate) fn be_worker(version: &OsStr, kernels: KernelSet) -> i32 {
    match join(version, kernels) {
        Ok(()) => 0,
        Err(error) => {
            // The driver reads this line and shows it under the worker's name.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            1
        }
    }
}

fn join(version: &OsStr, kernels: KernelSet) -> Result<(), String> {
    if version != TICKET_VERSION {
        return Err(format!(
            "the driver has version {} of peerwren but this worker's executable has {TICKET_VERSION}: install \
             one version everywhere",
            version.display()
        ));
    }
    let temporary_store = std::env::var_os(TEMPORARY_STORE_VARIABLE).map(PathBuf::from);
    let ticket = read_ticket().inspect_err(|_| {
        if let Some(folder) = &temporary_store {
            crate::run::remove_store(folder);
        }
    })?;
    tracing_subscriber::fmt()
        .with_max_level(ticket.log_level())
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .finish()
        .with(crate::log::log_targets(ticket.log_level()))
        .init();
    end_with_driver(temporary_store)?;
    let system = actix::System::with_tokio_rt(crate::run::runtime);
    system.block_on(async {
        let leave = leave_when_asked()?;
        let joining = ticket.joining(kernels).await?;
        work(joining, leave)
            .await
            .map_err(|error| error.to_string())
    })
}

/// Told when SIGTERM comes: this worker gives its blocks away and leaves, and the driver starts another. A
/// second one ends it at once.
fn leave_when_asked() -> Result<oneshot::Receiver<()>, String> {
    let mut asked = signal(SignalKind::terminate())
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
    let (leave, leaves) = oneshot::channel();
    actix::spawn(async move {
        asked.recv().await;
        // It may be at its end already.
        let _ = leave.send(());
        asked.recv().await;
        std::process::exit(STATUS_AT_ONCE);
    });
    Ok(leaves)
}

fn read_ticket() -> Result<Ticket, String> {
    let mut stdin = std::io::stdin().lock();
    let mut length = [0; 4];
    let short = |error: std::io::Error| format!("no ticket on standard input: {error}");
    stdin.read_exact(&mut length).map_err(short)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > TICKET_BYTES_MAX {
        return Err(format!(
            "a ticket of {length} bytes; at most {TICKET_BYTES_MAX} are possible"
        ));
    }
    let mut bytes = vec![0; length];
    stdin.read_exact(&mut bytes).map_err(short)?;
    crate::control::decode(&bytes).map_err(|error| format!("the ticket on standard input: {error}"))
}

/// Ends this process as soon as its standard input closes, whatever it is doing.
fn end_with_driver(temporary_store: Option<PathBuf>) -> Result<(), String> {
    let wait = move || {
        let mut rest = [0; 64];
        while matches!(std::io::stdin().read(&mut rest), Ok(n) if n > 0) {}
        if let Some(folder) = temporary_store {
            crate::run::remove_store(&folder);
        }
        std::process::exit(1);
    };
    let thread = std::thread::Builder::new()
        .name("driver-watch".to_owned())
        .spawn(wait);
    thread
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}
