//! A worker's actor: drives [`crate::machine::worker::Worker`], moves blocks for it, runs kernels
//! for it, and speaks with the coordinator.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use peerwren_kernels::op::KernelSet;
use peerwren_transports::block::{BlockKey, Digest};
use peerwren_transports::identity::{NodeId, NodeIdentity};
use peerwren_transports::quic::{Expected, FetchError, Limits, Node, PathEvent};
use peerwren_transports::store::BlockStore;
use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::compute::{ComputePool, Computed, Job};
use super::link::{ControlReceiver, ControlSender, Link, reach, send_all};
use super::mail;
use super::paths::{self, ask_stun};
use super::sources::Sources;
use super::table::BlockTable;
use crate::control::{self, FromWorker, MESSAGE_BYTES_MAX, ToWorker, WorkerSettings};
use crate::durable::DurableBlocks;
use crate::machine::cache::Copy;
use crate::machine::worker::{Action, Fetch, FetchFailure, Input, Origin, Output, Worker};
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::matrix::Moved;
use crate::options::ControlChoice;
use crate::plan::{Plan, PlanSpec, TaskId};

/// Messages that wait for the coordinator: 4 a task in flight and thousands of tasks a second, so
/// that a coordinator which is busy for a second stalls nobody.
const OUTBOX_MAX: usize = 16_384;

/// Connections that a worker keeps; a worker has few hot peers, the others are dialed again.
const PEERS_MAX: usize = 64;
/// How long peers may take to hear that a node closes.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_millis(200);

/// The transport's bounds for a plan's blocks and so many connections.
pub(crate) fn limits(block_bytes_max: usize, connections: usize) -> Limits {
    let mut limits = Limits::default();
    limits.block_bytes_max = block_bytes_max;
    limits.control_bytes_max = MESSAGE_BYTES_MAX;
    limits.connections_max = connections;
    limits
}

/// All that a worker needs to join a run.
pub(crate) struct Joining {
    /// Where the coordinator may listen, `host:port` each, best first.
    pub(crate) coordinators: Vec<String>,
    pub(crate) identity: NodeIdentity,
    pub(crate) store: BlockStore,
    pub(crate) kernels: KernelSet,
    /// Largest block of the plan, for the transport's limits.
    pub(crate) block_bytes_max: usize,
    /// Where the socket is bound.
    pub(crate) listen: SocketAddr,
    /// Which ways to the coordinator are tried.
    pub(crate) control: ControlChoice,
    /// What it may take to leave when it is cancelled: time to give its blocks away. Ends at once where
    /// absent.
    pub(crate) leave: Option<Duration>,
    /// How long the worker lives, if that has a bound.
    pub(crate) life: Option<Life>,
}

/// A life with an end.
pub(crate) struct Life {
    /// Shows how much of it is over.
    pub(crate) clock: Clock,
    /// From its beginning to its end; the worker leaves the run before.
    pub(crate) lasts: Duration,
    /// Counts the tasks that it has computed.
    pub(crate) tasks: Arc<AtomicU64>,
}

impl Life {
    fn left(&self) -> Duration {
        let gone = self.clock.now().since(Timestamp::default());
        self.lasts.saturating_sub(gone)
    }
}

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("cannot listen: {0}")]
    Bind(String),
    #[error("cannot reach the coordinator at {addresses}: {error}")]
    Dial { addresses: String, error: String },
    #[error("the coordinator at {addresses} refuses: {error}; is this worker of its run?")]
    Refused { addresses: String, error: String },
    #[error("the run goes on without this worker: {0}")]
    Unfit(String),
    #[error("the coordinator is gone")]
    CoordinatorGone,
    #[error("{0}")]
    Protocol(String),
    #[error("cannot start compute threads: {0}")]
    Threads(std::io::Error),
}

/// Joins a run and works until told to stop.
///
/// # Errors
/// The run cannot be joined, or the coordinator goes away.
pub(crate) async fn work(
    joining: Joining,
    mut cancelled: oneshot::Receiver<()>,
) -> Result<(), WorkerError> {
    let table = BlockTable::default();
    let limits = limits(joining.block_bytes_max, PEERS_MAX);
    let (node, _) = Node::bind(
        &joining.identity,
        joining.listen,
        Arc::new(table.clone()),
        limits,
    )
    .map_err(|error| WorkerError::Bind(error.to_string()))?;
    let greeted = tokio::select! {
        greeted = greet(&node, &joining) => greeted?,
        Ok(()) = &mut cancelled => None,
    };
    let Some(Greeted {
        sender,
        receiver,
        plan,
        settings,
    }) = greeted
    else {
        node.close(CLOSE_WAIT).await;
        return Ok(());
    };
    let plan = Plan::checked_elsewhere(plan, joining.kernels)
        .map_err(|error| WorkerError::Protocol(error.to_string()))?;
    let cores = NonZero::new(settings.cores).unwrap_or(NonZero::<u32>::MIN);
    let clock = Clock::start();
    let pool = ComputePool::start(cores, clock).map_err(WorkerError::Threads)?;
    let (outbox, waiting) = mpsc::channel(OUTBOX_MAX);
    let coordinator = sender.remote_addr();
    let (stopped, stop) = oneshot::channel();
    let durable = DurableBlocks::new(joining.store, Arc::clone(&plan));
    let actor = WorkerActor::new(
        plan,
        settings,
        node.clone(),
        coordinator,
        durable,
        table,
        pool,
        outbox,
        stopped,
        clock,
    );
    let actor = actor.living(joining.life).start();
    let sending = actix::spawn(send_all(sender, waiting));
    let over = async {
        tokio::select! {
            result = read_all(receiver, actor.clone()) => result,
            _ = stop => Ok(()),
        }
    };
    let leaving = async {
        if cancelled.await.is_err() {
            // Nobody can cancel any more.
            return std::future::pending().await;
        }
        if let Some(span) = joining.leave {
            let _ = actor.send(Depart(span)).await;
            tokio::time::sleep(span).await;
        }
    };
    let result = tokio::select! {
        result = over => result,
        () = leaving => Ok(()),
    };
    let _ = actor.send(Told(ToWorker::Stop)).await;
    // The coordinator reads what was said before it hears that this worker is gone.
    drop(actor);
    let _ = tokio::time::timeout(Duration::from_secs(2), sending).await;
    node.close(CLOSE_WAIT).await;
    result
}

/// What a worker has once it is welcomed.
struct Greeted {
    sender: ControlSender,
    receiver: ControlReceiver,
    plan: PlanSpec,
    settings: WorkerSettings,
}

/// Reaches the coordinator, says hello and is welcomed; `None` if it is told to stop instead.
async fn greet(node: &Node, joining: &Joining) -> Result<Option<Greeted>, WorkerError> {
    let mail = async || {
        let run = joining.store.objects(joining.identity.run());
        mail::office(&run, &joining.identity)
    };
    let link = reach(node, &joining.coordinators, joining.control, mail).await?;
    let Link {
        mut sender,
        mut receiver,
        ..
    } = link;
    let hello = FromWorker::Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        addresses: paths::own_addresses(node),
        fingerprint: fingerprint(),
        kernels: joining
            .kernels
            .iter()
            .map(|k| (k.name().to_owned(), k.version()))
            .collect(),
        cpu: cpu_name(),
    };
    let gone = |_| WorkerError::CoordinatorGone;
    let hello = [control::encode(&hello)];
    sender.send(&hello).await.map_err(gone)?;
    match receive(&mut receiver).await? {
        Some(ToWorker::Welcome { plan, settings }) => Ok(Some(Greeted {
            sender,
            receiver,
            plan,
            settings,
        })),
        Some(ToWorker::Stop) => Ok(None),
        None => Err(WorkerError::CoordinatorGone),
        _ => Err(WorkerError::Protocol("expected a welcome first".to_owned())),
    }
}

/// The next message; an error where it is that this worker cannot take part.
async fn receive(receiver: &mut ControlReceiver) -> Result<Option<ToWorker>, WorkerError> {
    let bytes = receiver
        .recv()
        .await
        .map_err(|_| WorkerError::CoordinatorGone)?;
    let message = bytes.map(|bytes| control::decode(&bytes)).transpose();
    match message.map_err(|error| WorkerError::Protocol(error.to_string()))? {
        Some(ToWorker::Refused { reason }) => Err(WorkerError::Unfit(reason)),
        message => Ok(message),
    }
}

async fn read_all(
    mut receiver: ControlReceiver,
    actor: Addr<WorkerActor>,
) -> Result<(), WorkerError> {
    loop {
        let message = receive(&mut receiver)
            .await?
            .ok_or(WorkerError::CoordinatorGone)?;
        if actor.send(Told(message)).await.is_err() {
            return Ok(());
        }
    }
}

/// Digest of the kernel self-test: two CPUs with the same one give the same bits.
pub(crate) fn fingerprint() -> Digest {
    let words = peerwren_kernels::self_test();
    Digest::of(bytemuck::cast_slice(&words))
}

pub(crate) fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    model.and_then(|line| line.split_once(':')).map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

#[derive(Message)]
#[rtype(result = "()")]
struct Told(ToWorker);

/// A compute thread is done with a task.
#[derive(Message)]
#[rtype(result = "()")]
struct Finished(LeaseId, Computed);

/// Leave within this time.
#[derive(Message)]
#[rtype(result = "()")]
struct Depart(Duration);

struct WorkerActor {
    clock: Clock,
    machine: Worker,
    plan: Arc<Plan>,
    node: Node,
    durable: DurableBlocks,
    /// Where the coordinator is, if it is reached by UDP.
    coordinator: Option<SocketAddr>,
    told: paths::Told,
    stun: Vec<String>,
    table: BlockTable,
    pool: ComputePool,
    outbox: mpsc::Sender<Vec<u8>>,
    finished: mpsc::Sender<(LeaseId, Computed)>,
    finished_queue: Option<mpsc::Receiver<(LeaseId, Computed)>>,
    stopped: Option<oneshot::Sender<()>>,
    sources: Sources,
    leases: BTreeMap<LeaseId, TaskId>,
    life: Option<Life>,
}

impl WorkerActor {
    #[allow(
        clippy::too_many_arguments,
        reason = "called once, right after the parts are made"
    )]
    fn new(
        plan: Arc<Plan>,
        settings: WorkerSettings,
        node: Node,
        coordinator: Option<SocketAddr>,
        durable: DurableBlocks,
        table: BlockTable,
        pool: ComputePool,
        outbox: mpsc::Sender<Vec<u8>>,
        stopped: oneshot::Sender<()>,
        clock: Clock,
    ) -> Self {
        let (finished, queue) = mpsc::channel(2 * settings.cores as usize + 2);
        Self {
            stun: settings.stun.clone(),
            machine: Worker::new(clock.now(), Arc::clone(&plan), settings),
            clock,
            plan,
            told: paths::Told::default(),
            node,
            durable,
            coordinator,
            table,
            pool,
            outbox,
            finished,
            finished_queue: Some(queue),
            stopped: Some(stopped),
            sources: Sources::default(),
            leases: BTreeMap::new(),
            life: None,
        }
    }

    /// Bounds the life of a worker that is to be started.
    fn living(mut self, life: Option<Life>) -> Self {
        if let Some(life) = &life {
            self.machine.must_end(self.clock.now().after(life.left()));
        }
        self.life = life;
        self
    }

    fn input(&mut self, ctx: &mut Context<Self>, input: Input) {
        self.machine.handle_input(self.clock.now(), input);
        self.perform(ctx);
    }

    fn perform(&mut self, ctx: &mut Context<Self>) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Fetch(fetch) => self.fetch(ctx, fetch),
                Action::Compute(lease, task) => self.compute(lease, task),
                Action::Store(copy) => self.put(ctx, copy),
                Action::Drop(copy) => self.table.remove(&copy),
                Action::Send(message) => self.say(ctx, &message),
            }
        }
        if cfg!(debug_assertions) {
            self.machine.check_invariants();
        }
    }

    fn say(&mut self, ctx: &mut Context<Self>, message: &FromWorker) {
        if let FromWorker::Done { lease, .. } | FromWorker::Missing { lease, .. } = message {
            self.leases.remove(lease);
        }
        if self.outbox.try_send(control::encode(message)).is_err() {
            tracing::error!("the coordinator takes no messages any more; this worker ends");
            ctx.stop();
        }
    }

    fn fetch(&mut self, ctx: &mut Context<Self>, fetch: Fetch) {
        let Fetch {
            copy,
            origin,
            digest,
            in_vain,
        } = fetch;
        let len = self.plan.block_len(&copy.key);
        let table = self.table.clone();
        let key = copy.key;
        match origin {
            Origin::Peer(peer) => {
                let node = self.node.clone();
                let expected = Some(Expected { len, digest });
                let fetch = async move {
                    let id = NodeId::Worker(peer.0);
                    let in_vain = in_vain.map(|peer| NodeId::Worker(peer.0));
                    let block = node.fetch_by_path(id, key, expected, in_vain).await;
                    let block = block.map_err(|error| peer_failure(&key, peer, &error))?;
                    let moved = Moved::once(block.len() as u64);
                    table.insert(copy, block);
                    Ok(moved)
                };
                self.then(ctx, fetch, move |result| Came(copy, result));
            }
            Origin::Store => {
                let durable = self.durable.clone();
                let got = async move {
                    if digest.is_none() {
                        return Err(FetchFailure::Elsewhere);
                    }
                    match durable.get(&key).await {
                        Ok(Some((block, moved))) if fetch.accepts(block.digest()) => {
                            table.insert(copy, block);
                            Ok(moved)
                        }
                        Ok(Some(_)) => {
                            tracing::warn!(%key, "the store has other bytes than were made");
                            Err(FetchFailure::Elsewhere)
                        }
                        Ok(None) => Err(FetchFailure::Elsewhere),
                        Err(error) if error.is_damage() => {
                            tracing::warn!(%key, %error, "the store has other bytes than were made");
                            Err(FetchFailure::Elsewhere)
                        }
                        Err(error) => Err(FetchFailure::Fatal(error.to_string())),
                    }
                };
                self.then(ctx, got, move |result| Came(copy, result));
            }
            Origin::Source => {
                let shape = self.plan.shape(&key);
                match self.sources.tile(&self.plan, &key) {
                    Err(error) => ctx.notify(Came(copy, Err(FetchFailure::Fatal(error)))),
                    Ok(source) => {
                        let fetch = async move {
                            let read = source.read(shape).await;
                            let (tile, moved) =
                                read.map_err(|error| FetchFailure::Fatal(error.to_string()))?;
                            table.insert(copy, tile.freeze());
                            Ok(moved)
                        };
                        self.then(ctx, fetch, move |result| Came(copy, result));
                    }
                }
            }
        }
    }

    fn put(&mut self, ctx: &mut Context<Self>, copy: Copy) {
        let Some(block) = self.table.block(&copy) else {
            ctx.notify(Put(
                copy,
                Err(format!("block {} left before it was stored", copy.key)),
            ));
            return;
        };
        let durable = self.durable.clone();
        let put = async move {
            let hashing = block.clone();
            let hashed = tokio::task::spawn_blocking(move || hashing.digest()).await;
            let digest = hashed.map_err(|error| error.to_string())?;
            let put = durable.put(&copy.key, block).await;
            put.map(|moved| (moved, digest))
                .map_err(|error| error.to_string())
        };
        self.then(ctx, put, move |result| Put(copy, result));
    }

    fn compute(&mut self, lease: LeaseId, task: TaskId) {
        self.leases.insert(lease, task);
        let inputs = self.plan.input_slots(&task).into_iter().map(|key| {
            let key = key?;
            let block = self.table.block(&self.machine.copy(key, lease));
            Some((self.plan.shape(&key), block.expect("the machine pinned it")))
        });
        let kernel = self.plan.kernels().get(self.plan.kernel(&task));
        let outputs = self.plan.output_slots(&task);
        let is_hashed = |key: &BlockKey| self.machine.is_to_be_hashed(&task, key);
        let finished = self.finished.clone();
        let job = Job {
            kernel: kernel.expect("the plan was checked").clone(),
            inputs: inputs.collect(),
            outputs: self.plan.shapes(&outputs),
            hashed: outputs
                .iter()
                .map(|key| key.as_ref().is_some_and(is_hashed))
                .collect(),
            then: Box::new(move |computed| {
                // The actor may be gone by now; then nobody wants the result.
                let _ = finished.blocking_send((lease, computed));
            }),
        };
        self.pool.submit(job);
    }

    /// Runs a future and hands its result to this actor.
    fn then<F, M>(
        &self,
        ctx: &mut Context<Self>,
        work: F,
        message: impl FnOnce(F::Output) -> M + 'static,
    ) where
        F: Future + 'static,
        M: Message<Result = ()> + 'static,
        Self: Handler<M>,
    {
        ctx.spawn(work.into_actor(self).map(move |result, actor, ctx| {
            actor.handle(message(result), ctx);
        }));
    }

    fn schedule(&self, ctx: &mut Context<Self>) {
        let Some((at, _)) = self.machine.poll_timeout() else {
            return;
        };
        ctx.run_later(at.since(self.clock.now()), |actor, ctx| {
            actor.machine.handle_timeout(actor.clock.now());
            actor.perform(ctx);
            actor.schedule(ctx);
        });
    }
}

fn peer_failure(key: &BlockKey, peer: WorkerId, error: &FetchError) -> FetchFailure {
    tracing::debug!(%key, %peer, %error, "a peer did not deliver");
    match error {
        FetchError::NoPath => FetchFailure::NoPath,
        FetchError::Corrupt(_) => FetchFailure::Wrong,
        FetchError::Referred(NodeId::Worker(other)) => FetchFailure::Referred(WorkerId(*other)),
        _ => FetchFailure::Elsewhere,
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct PathHappened(PathEvent);

#[derive(Message)]
#[rtype(result = "()")]
struct Came(Copy, Result<Moved, FetchFailure>);

#[derive(Message)]
#[rtype(result = "()")]
struct Put(Copy, Result<(Moved, Digest), String>);

impl Actor for WorkerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.schedule(ctx);
        if let Some(life) = &self.life {
            ctx.run_later(life.left(), |_, ctx| {
                tracing::warn!("the time is up before all was given away");
                ctx.stop();
            });
        }
        if let Some(mut events) = self.node.path_events() {
            let addr = ctx.address();
            actix::spawn(async move {
                while let Some(event) = events.recv().await {
                    if addr.send(PathHappened(event)).await.is_err() {
                        return;
                    }
                }
            });
        }
        for server in std::mem::take(&mut self.stun) {
            ctx.spawn(ask_stun(self.node.clone(), server).into_actor(self));
        }
        if let Some(mut queue) = self.finished_queue.take() {
            let addr = ctx.address();
            actix::spawn(async move {
                while let Some((lease, computed)) = queue.recv().await {
                    if addr.send(Finished(lease, computed)).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Some(stopped) = self.stopped.take() {
            let _ = stopped.send(());
        }
    }
}

impl Handler<Told> for WorkerActor {
    type Result = ();

    fn handle(&mut self, Told(message): Told, ctx: &mut Self::Context) {
        if let Some(server) = paths::hear(&self.node, self.coordinator, &message) {
            ctx.spawn(ask_stun(self.node.clone(), server).into_actor(self));
        }
        match message {
            ToWorker::Welcome { .. } => tracing::warn!("welcomed twice; the second is ignored"),
            ToWorker::Peers { left, .. } => {
                for worker in left {
                    self.node.forget(NodeId::Worker(worker.0));
                }
            }
            ToWorker::Assign(assignment) => self.input(ctx, Input::Assigned(assignment)),
            ToWorker::Preload { keys } => self.input(ctx, Input::Preload(keys)),
            ToWorker::Store { keys, reason } => self.input(ctx, Input::Store(keys, reason)),
            ToWorker::Take { blocks } => self.input(ctx, Input::Take(blocks)),
            ToWorker::Observed { .. } | ToWorker::Introduce { .. } => {}
            ToWorker::Refused { .. } | ToWorker::Stop => ctx.stop(),
        }
    }
}

impl Handler<Depart> for WorkerActor {
    type Result = ();

    fn handle(&mut self, Depart(span): Depart, ctx: &mut Self::Context) {
        self.input(ctx, Input::Leave(span));
    }
}

impl Handler<PathHappened> for WorkerActor {
    type Result = ();

    fn handle(&mut self, PathHappened(event): PathHappened, ctx: &mut Self::Context) {
        if let Some(message) = self.told.message(event) {
            self.say(ctx, &message);
        }
    }
}

impl Handler<Came> for WorkerActor {
    type Result = ();

    fn handle(&mut self, Came(copy, result): Came, ctx: &mut Self::Context) {
        self.input(ctx, Input::Fetched(copy, result));
    }
}

impl Handler<Put> for WorkerActor {
    type Result = ();

    fn handle(&mut self, Put(copy, result): Put, ctx: &mut Self::Context) {
        self.input(ctx, Input::Stored(copy, result));
    }
}

impl Handler<Finished> for WorkerActor {
    type Result = ();

    fn handle(&mut self, Finished(lease, computed): Finished, ctx: &mut Self::Context) {
        let Some(&task) = self.leases.get(&lease) else {
            return;
        };
        if let Some(life) = &self.life {
            life.tasks.fetch_add(1, Ordering::Relaxed);
        }
        let Computed { result, ran } = computed;
        let result = result.map(|blocks| {
            let slots = self.plan.output_slots(&task).into_iter().zip(blocks);
            let made = slots.filter_map(|(key, block)| Some((key?, block?)));
            made.map(|(key, block)| {
                let (digest, bytes) = (block.known_digest(), block.len() as u64);
                self.table.insert(self.machine.copy(key, lease), block);
                Output { key, digest, bytes }
            })
            .collect()
        });
        let result = result.map_err(|error| self.plan.explain(&task, &error));
        self.input(ctx, Input::Computed(lease, result, ran));
    }
}
