//! One run from plan to results: sets up the store, the engine and the actors on a thread of its own,
//! follows them, and leaves nothing behind.

mod store;
mod traced;
mod workers;

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc as std_mpsc};
use std::time::Duration;

use actix::prelude::*;
use peerwren_kernels::op::KernelSet;
use peerwren_transports::block::Block;
use peerwren_transports::identity::{Authority, IdentityError, NodeId};
use peerwren_transports::quic::Node;
use peerwren_transports::store::Place;
use tokio::sync::{Notify, mpsc};

use crate::actors::clock::{self, Clock};
use crate::actors::coordinator::{Board, Cancel, Coordinator, RunEvent, accept};
use crate::actors::guests::Terms;
use crate::actors::mail::{Mail, read_guests};
use crate::actors::provisioner::{EndAll, Provisioner, ReportTo};
use crate::actors::rendezvous::Introductions;
use crate::actors::saver::Saver;
use crate::actors::worker::{CLOSE_WAIT, limits};
use crate::control::WorkerSettings;
use crate::durable::{DurableBlocks, DurableError};
use crate::engine::Engine;
use crate::engine::lambda::Meter;
use crate::machine::scheduler::{self, Scheduler, Settings};
use crate::matrix::{Moved, zarr};
use crate::options::{ControlChoice, Resolved};
use crate::outcome::Outcome;
use crate::plan::{InputFrom, Plan, PlanError, PlanSpec};
use crate::prices::Usage;
use crate::report::{Phase, Progress};
use crate::runs::SavedRun;
use crate::trace::TraceFile;
use store::RunStore;
pub(crate) use store::{discard, remove_store, store_place};
use workers::{second_observer, start_timeout};

/// How long a worker may be silent where control goes by mail: thirty looks for a letter at their rarest, since the store may
/// hold one up.
const LEASE_BY_MAIL: Duration = Duration::from_secs(30);
/// Workers beyond those wanted that may join by themselves: they help where tasks pile up, and one
/// takes over at once when another is lost.
const HELPERS_MAX: u32 = 64;
/// Between two calls of whoever shows the progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Why a run did not bring its results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The request cannot be meant: nothing was started.
    #[error("{0}")]
    Usage(String),
    /// A program is wrong: nothing was started. Several lines, with the place in its text.
    #[error("{0}")]
    Program(String),
    /// The run was started and failed.
    #[error("{0}")]
    Failed(String),
    /// Somebody asked for the run to stop.
    #[error("interrupted; no result was written")]
    Interrupted,
}

impl From<PlanError> for RunError {
    fn from(error: PlanError) -> Self {
        match error.diagnosis() {
            Some(_) => Self::Program(error.explain()),
            None => Self::Usage(error.to_string()),
        }
    }
}

/// Stops a run from outside, from any thread.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<(AtomicBool, Notify)>);

impl Interrupt {
    /// Asks the run to stop: workers are ended, temporary files removed.
    pub fn trigger(&self) {
        self.0.0.store(true, Ordering::SeqCst);
        self.0.1.notify_waiters();
        self.0.1.notify_one();
    }

    /// Whether somebody asked for it.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }

    pub(crate) async fn wait(&self) {
        while !self.is_triggered() {
            self.0.1.notified().await;
        }
    }
}

/// A number that no other run has.
pub(crate) fn new_run() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// What a run is to do.
pub(crate) struct Run {
    pub(crate) spec: PlanSpec,
    pub(crate) kernels: KernelSet,
    pub(crate) options: Resolved,
    pub(crate) interrupt: Interrupt,
    /// Whether inputs on this machine are tiled into the store first, for workers that are elsewhere.
    pub(crate) uploads_inputs: bool,
    /// What is kept of a run that can be resumed, until it is complete.
    pub(crate) saved: Option<SavedRun>,
    /// Whether another driver began it.
    pub(crate) is_resumed: bool,
    /// Where the run's trace goes, if it is traced.
    pub(crate) trace: Option<TraceFile>,
}

/// Reads blocks of a run that is complete, while its store is still there.
pub(crate) struct Results<'a> {
    durable: &'a DurableBlocks,
    pub(crate) plan: &'a Plan,
}

impl Results<'_> {
    /// One durable block.
    pub(crate) async fn block(
        &self,
        key: &peerwren_transports::block::BlockKey,
    ) -> Result<Block, RunError> {
        let block = self.durable.get(key).await;
        let block = block.map_err(|error| RunError::Failed(error.to_string()))?;
        block
            .map(|(block, _)| block)
            .ok_or_else(|| RunError::Failed(format!("result {key} is not in the store any more")))
    }
}

impl Run {
    /// Runs the plan on a thread of its own, so that any runtime of the caller's is left alone; calls
    /// `progress` on the caller's thread and `collect` on the other one.
    pub(crate) fn execute<T: Send + 'static>(
        self,
        plan: Arc<Plan>,
        progress: &mut dyn FnMut(&Progress),
        collect: impl AsyncFnOnce(Results<'_>) -> Result<T, RunError> + Send + 'static,
    ) -> Result<(Outcome, T), RunError> {
        let board = Arc::new(Mutex::new(Board::default()));
        let (done, result) = std_mpsc::channel();
        let (shown, shown_plan) = (Arc::clone(&board), Arc::clone(&plan));
        let thread = std::thread::Builder::new()
            .name("peerwren-run".to_owned())
            .spawn(move || {
                let system = actix::System::with_tokio_rt(runtime);
                // The receiver waits until this thread ends.
                let _ = done.send(system.block_on(self.drive(plan, board, collect)));
            });
        let thread =
            thread.map_err(|error| RunError::Failed(format!("cannot start a thread: {error}")))?;
        let clock = Clock::start();
        let mut follower = Follower {
            plan: shown_plan,
            phase: None,
            began: clock,
            before: Board::default(),
        };
        let outcome = loop {
            match result.recv_timeout(PROGRESS_EVERY) {
                Ok(outcome) => break Some(outcome),
                Err(std_mpsc::RecvTimeoutError::Timeout) => {
                    if let Ok(board) = shown.lock() {
                        progress(&follower.follow(&board));
                    }
                }
                Err(std_mpsc::RecvTimeoutError::Disconnected) => break None,
            }
        };
        let joined = thread.join();
        match (outcome, joined) {
            (Some(outcome), Ok(())) => outcome,
            _ => Err(RunError::Failed(
                "the run's thread panicked, which is a defect of peerwren; see the lines above"
                    .to_owned(),
            )),
        }
    }

    async fn drive<T>(
        mut self,
        plan: Arc<Plan>,
        board: Arc<Mutex<Board>>,
        collect: impl AsyncFnOnce(Results<'_>) -> Result<T, RunError>,
    ) -> Result<(Outcome, T), RunError> {
        let opened = match self.place() {
            Ok(place) => tokio::select! {
                opened = RunStore::open(place, self.is_resumed, self.spec.run) => opened,
                () = self.interrupt.wait() => Err(RunError::Interrupted),
            },
            Err(error) => Err(error),
        };
        let store = match opened {
            Ok(store) => store,
            Err(error) => {
                if !self.is_resumed {
                    self.forget();
                }
                return Err(error);
            }
        };
        let (plan, uploaded) = match self.upload_inputs(&plan, &store).await {
            Ok((plan, moved)) => (plan, Ok(moved)),
            Err(error) => (plan, Err(error)),
        };
        let durable = DurableBlocks::new(store.store.clone(), Arc::clone(&plan));
        let saver = self.saved.as_ref().map(|saved| {
            let key = saved.record().key;
            Saver::new(store.store.clone(), durable.clone(), Arc::clone(&plan), key)
        });
        let collected = match uploaded {
            Ok(uploaded) => {
                let saver = saver.clone();
                let completed = self.complete(&plan, board, &store, &durable, saver, collect);
                let completed = completed.await;
                completed.map(|(outcome, collected)| {
                    let outcome = Outcome {
                        uploaded,
                        ..outcome
                    };
                    (outcome, collected)
                })
            }
            Err(error) => Err(error),
        };
        self.end(collected, store, &durable, saver).await
    }

    /// Removes what the run leaves, unless it failed and can be resumed.
    async fn end<T>(
        self,
        result: Result<T, RunError>,
        store: RunStore,
        durable: &DurableBlocks,
        saver: Option<Saver>,
    ) -> Result<T, RunError> {
        if let (Err(error), Some(saver)) = (&result, &saver)
            // Where it cannot be told, it is kept.
            && saver.has_any().await.unwrap_or(true)
        {
            if let (RunError::Usage(_), true) = (error, self.is_resumed) {
                return result;
            }
            let run = crate::runs::name(self.spec.run);
            return Err(RunError::Failed(format!(
                "{error}; `peerwren resume {run}` goes on from its last checkpoint"
            )));
        }
        if result.is_err() {
            durable.discard_arrays().await;
        }
        store.clear().await;
        self.forget();
        result
    }

    /// Removes what the run kept to be resumed.
    fn forget(self) {
        if let Some(Err(error)) = self.saved.map(SavedRun::remove) {
            tracing::warn!(%error, "what the run kept cannot be removed");
        }
    }

    /// Where the store is, and whether it goes with the run.
    fn place(&self) -> Result<Option<(Place, bool)>, RunError> {
        let Some(saved) = &self.saved else {
            return Ok(store_place(&self.options.store, self.spec.run));
        };
        let record = saved.record();
        let place = record.store.parse();
        let place = place.map_err(|error| RunError::Usage(format!("--store {error}")))?;
        Ok(Some((place, record.store_is_temporary)))
    }

    /// The run's certificate authority: a new one, unless workers may know one already.
    fn authority(&self) -> Result<Authority, IdentityError> {
        let saved = self.saved.as_ref();
        match saved.and_then(|saved| saved.record().authority.as_deref()) {
            Some(pem) => Authority::from_pem(pem),
            None => Authority::new(self.spec.run, clock::wall()),
        }
    }

    /// Computes the results and has them collected; arrays become whole last.
    async fn complete<T>(
        &self,
        plan: &Arc<Plan>,
        board: Arc<Mutex<Board>>,
        store: &RunStore,
        durable: &DurableBlocks,
        saver: Option<Saver>,
        collect: impl AsyncFnOnce(Results<'_>) -> Result<T, RunError>,
    ) -> Result<(Outcome, T), RunError> {
        let failed = |error: DurableError| RunError::Failed(error.to_string());
        if self.is_resumed {
            durable.join_arrays().await.map_err(failed)?;
        } else {
            durable.create_arrays().await.map_err(failed)?;
        }
        let outcome = self.coordinate(plan, board, store, saver).await?;
        let collecting = async {
            let collected = collect(Results { durable, plan }).await?;
            durable.finish_arrays().await.map_err(failed)?;
            Ok((outcome, collected))
        };
        tokio::select! {
            collected = collecting => collected,
            () = self.interrupt.wait() => Err(RunError::Interrupted),
        }
    }

    /// Tiles inputs that only this machine has into the run's part of the store, where workers are
    /// elsewhere, and makes the plan one that reads them there.
    async fn upload_inputs(
        &mut self,
        plan: &Arc<Plan>,
        store: &RunStore,
    ) -> Result<(Arc<Plan>, Moved), RunError> {
        let mut moved = Moved::default();
        if !self.uploads_inputs {
            return Ok((Arc::clone(plan), moved));
        }
        let failed = |error: &dyn std::fmt::Display| RunError::Failed(error.to_string());
        let phases = self.spec.phases.iter_mut();
        let inputs = phases.flat_map(|phase| &mut phase.inputs);
        for (number, (_, from)) in inputs.enumerate() {
            let InputFrom::Matrix(spec, tile) = from else {
                continue;
            };
            let source = spec.open().map_err(|e| failed(&e))?;
            if !source.is_local() {
                continue;
            }
            let place = store.run_place()?.below(&format!("input-{number}.zarr"));
            if self.is_resumed
                && let Some(there) = zarr::uploaded(&source, &place, *tile).await
            {
                *spec = there.spec().map_err(|e| failed(&e))?;
                continue;
            }
            let uploaded = tokio::select! {
                uploaded = zarr::upload(&source, &place, *tile) => uploaded,
                () = self.interrupt.wait() => return Err(RunError::Interrupted),
            };
            let (uploaded, more) = uploaded.map_err(|e| failed(&e))?;
            *spec = uploaded.spec().map_err(|e| failed(&e))?;
            moved += more;
        }
        Ok((Plan::new(self.spec.clone(), self.kernels.clone())?, moved))
    }

    /// Runs the actors until the run is over; every worker has ended when this returns.
    async fn coordinate(
        &self,
        plan: &Arc<Plan>,
        board: Arc<Mutex<Board>>,
        store: &RunStore,
        saver: Option<Saver>,
    ) -> Result<Outcome, RunError> {
        let clock = Clock::start();
        let failed = |error: &dyn std::fmt::Display| RunError::Failed(error.to_string());
        let manifest = match &saver {
            Some(saver) if self.is_resumed => saver.newest().await.map_err(|e| failed(&e))?,
            _ => None,
        };
        let authority = self.authority().map_err(|e| failed(&e))?;
        let identity = authority
            .issue(NodeId::Coordinator, clock::wall())
            .map_err(|e| failed(&e))?;
        let block_bytes_max = usize::try_from(plan.block_bytes_max()).unwrap_or(usize::MAX);
        let helpers_max = self.options.remote.as_ref().map_or(0, |_| HELPERS_MAX);
        // Replacements connect while the lost ones' connections are still timing out.
        let workers_max = (self.options.workers + helpers_max) as usize;
        let limits = limits(block_bytes_max, 2 * workers_max + 16);
        let (node, incoming) =
            Node::bind(&identity, self.options.listen, Arc::new(NoBlocks), limits)
                .map_err(|error| RunError::Usage(format!("--listen: {error}")))?;
        let stun = second_observer(node.local_addr()).await;
        let engine = self.engine(&node, store, block_bytes_max).await?;
        let meter = match &engine {
            Engine::Lambda(engine) => Some(engine.meter()),
            _ => None,
        };
        let _token = self.write_token(&authority, &node, store)?;
        let provisioner = Provisioner::new(authority, engine).start();
        let (events, mut happened) = mpsc::unbounded_channel();
        let options = &self.options;
        let (mail, lease) = match options.control {
            ControlChoice::Quic => (None, scheduler::LEASE),
            ControlChoice::Auto | ControlChoice::Store => {
                let mail = Mail::open(&store.store, &identity).await;
                (Some(mail.map_err(RunError::Failed)?), LEASE_BY_MAIL)
            }
        };
        let helpers = options.remote.is_some().then_some(helpers_max);
        let as_usual = Settings::of(options);
        let settings = Settings {
            checkpoint: as_usual.checkpoint.filter(|_| saver.is_some()),
            start_timeout: start_timeout(options),
            lease,
            volunteers: helpers.map(|helpers_max| scheduler::Volunteers { helpers_max }),
            ..as_usual
        };
        let alive_ms = settings.alive_ms();
        let comes_by_mail = options.remote.is_some().then_some(mail.as_ref());
        let desk = comes_by_mail.flatten().map(Mail::desk);
        let life = mail.as_ref().map(Mail::life);
        let machine = match &manifest {
            None => Scheduler::new(Arc::clone(plan), settings),
            Some(manifest) => Scheduler::resumed(Arc::clone(plan), settings, manifest),
        };
        let spool = self.spool()?;
        let actor = Coordinator {
            clock,
            machine: match &spool {
                Some(_) => machine.traced(),
                None => machine,
            },
            trace: spool.clone(),
            plan: Arc::clone(plan),
            spec: self.spec.clone(),
            settings: WorkerSettings {
                exchange: options.exchange,
                durability: options.durability,
                memory_bytes: options.memory,
                cores: options.cores,
                alive_ms,
                stun: options.stun.clone(),
                traces: self.trace.is_some(),
            },
            introductions: Introductions::new(stun.as_ref().map(|stun| stun.local_addr().port())),
            provisioner: provisioner.clone(),
            links: std::collections::BTreeMap::new(),
            events,
            board,
            saver: saver.clone(),
            alarm: None,
            preload_began: None,
            started: false,
            terms: options.remote.is_some().then(|| Terms {
                store: store.name(),
                block_bytes_max: block_bytes_max as u64,
            }),
            requests: 0,
            admission: None,
            granted: std::collections::BTreeMap::new(),
            mail,
        };
        let coordinator = actor.start();
        // Told before the coordinator's first order, which waits in the same mailbox behind this.
        let accepting = actix::spawn(accept(incoming, coordinator.clone(), provisioner.clone()));
        let guests = desk.map(|desk| {
            let (coordinator, provisioner) = (coordinator.clone(), provisioner.clone());
            actix::spawn(read_guests(desk, coordinator, provisioner))
        });
        let outcome = match provisioner.send(ReportTo(coordinator.clone())).await {
            Ok(()) => tokio::select! {
                outcome = follow(&mut happened, meter.as_ref()) => outcome.map(|outcome| Outcome {
                    fleet: meter.map(|meter| meter.fleet(options.workers, options.cores)),
                    ..outcome
                }),
                () = self.interrupt.wait() => Err(RunError::Interrupted),
            },
            Err(error) => Err(failed(&error)),
        };
        if matches!(outcome, Err(RunError::Interrupted)) {
            // Workers elsewhere are not to wait for this run; one that is gone needs not be told.
            let _ = coordinator.send(Cancel).await;
        }
        // A provisioner that is gone has dropped its engine, and every worker with it.
        let _ = provisioner
            .send(EndAll {
                at_once: outcome.is_err(),
            })
            .await;
        accepting.abort();
        if let Some(guests) = guests {
            guests.abort();
        }
        if let Some(life) = life {
            life.abort();
        }
        node.close(CLOSE_WAIT).await;
        if let Some(saver) = saver {
            saver.finish().await;
        }
        let trace_error = self.finish_trace(spool, plan, &outcome).await;
        outcome.map(|outcome| Outcome {
            trace_error,
            ..outcome
        })
    }
}

/// One thread for all but computing and files.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .expect("a thread of this process can poll for events")
}

async fn follow(
    happened: &mut mpsc::UnboundedReceiver<RunEvent>,
    meter: Option<&Meter>,
) -> Result<Outcome, RunError> {
    let mut before = Usage::default();
    let mut outcome = Outcome::default();
    while let Some(event) = happened.recv().await {
        match event {
            RunEvent::Started { startup, preload } => {
                (outcome.startup, outcome.preload) = (startup, preload);
            }
            RunEvent::PhaseDone(figures) => {
                outcome.phases.push(figures);
                if let Some(meter) = meter {
                    let used = meter.used();
                    outcome.used.push(used - before);
                    before = used;
                }
            }
            RunEvent::Completed(profile) => {
                outcome.profile = profile;
                return Ok(outcome);
            }
            RunEvent::Failed(reason) => return Err(RunError::Failed(reason)),
        }
    }
    Err(RunError::Failed(
        "the coordinator ended without a word".to_owned(),
    ))
}

struct NoBlocks;

impl peerwren_transports::quic::BlockSource for NoBlocks {
    fn get(&self, _: &peerwren_transports::block::BlockKey) -> Option<Block> {
        None
    }
}

/// Turns the board into what a progress bar shows: counts of the phase under way.
struct Follower {
    plan: Arc<Plan>,
    phase: Option<usize>,
    began: Clock,
    before: Board,
}

impl Follower {
    fn follow(&mut self, board: &Board) -> Progress {
        let running = board.workers_alive > 0 && !board.preloading;
        let phase = board.phase.min(self.plan.phase_count() - 1);
        if running && self.phase != Some(phase) {
            self.phase = Some(phase);
            self.began = Clock::start();
            self.before = board.clone();
        }
        let tally = board.tally.since(&self.before.tally);
        let total = self.plan.task_count(phase);
        // Of what is left to do, if the run was resumed: a task is as good as another.
        let left = total - board.tasks_restored.min(total);
        let flops = u128::from(self.plan.phase_flops(phase)) * u128::from(left);
        let flops = u64::try_from(flops / u128::from(total.max(1))).unwrap_or(u64::MAX);
        let writing = board.phase >= self.plan.phase_count();
        Progress {
            phase: match self.plan.phase_name(phase) {
                _ if writing => Phase::Writing,
                _ if board.preloading => Phase::Preloading,
                _ if !running => Phase::Starting,
                "q" => Phase::FormingQ,
                "check" => Phase::Checking,
                _ => Phase::Computing,
            },
            tasks_done: board.tasks_done,
            tasks_total: if running { total } else { 0 },
            flops_done: board.flops_done,
            flops_total: flops,
            compute_s: tally.compute_ns as f64 * 1e-9,
            bytes_peer: tally.peer,
            bytes_store_read: tally.store_read,
            bytes_store_written: tally.store_written,
            workers_alive: board.workers_alive,
            workers_lost: board.workers_lost,
            elapsed_s: self.began.now().as_nanos() as f64 * 1e-9,
        }
    }
}
