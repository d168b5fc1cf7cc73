//! The coordinator's actor: drives [`crate::machine::scheduler::Scheduler`], carries its messages to
//! the workers and theirs to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use peerwren_transports::block::Digest;
use peerwren_transports::identity::NodeId;
use peerwren_transports::quic::Incoming;
use tokio::sync::mpsc;

use super::clock::Clock;
use super::guests::{Terms, serve_guest};
use super::link::{ControlReceiver, Link, send_all};
use super::mail::Mail;
use super::provisioner::{EndWorker, Provisioner, StartWorker};
use super::rendezvous::Introductions;
use super::saver::Saver;
use crate::control::{self, FromWorker, ToWorker, WorkerSettings};
use crate::machine::profile::Profile;
use crate::machine::scheduler::{Action, Input, PhaseFigures, Scheduler};
use crate::machine::{Timestamp, WorkerId};
use crate::plan::{Plan, PlanSpec};
use crate::trace::Spool;

/// Messages that wait for one worker: a worker has a few tasks, so that more means it is stuck.
const OUTBOX_MAX: usize = 4_096;
/// Bound on the mailbox: a few messages from each of thousands of workers.
const MAILBOX_MAX: usize = 16_384;
/// How long a connected worker may take for its first message.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at the progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What a run tells whoever started it.
#[derive(Debug)]
pub(crate) enum RunEvent {
    /// Time from the coordinator's start to the first assignment, and of the preload in it.
    Started {
        startup: Duration,
        preload: Duration,
    },
    PhaseDone(PhaseFigures),
    Completed(Profile),
    Failed(String),
}

/// How far a run is; written by the coordinator, read by whoever shows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    pub(crate) preloading: bool,
    pub(crate) phase: usize,
    pub(crate) tasks_done: u64,
    pub(crate) flops_done: u64,
    pub(crate) tasks_restored: u64,
    pub(crate) tally: control::Tally,
    pub(crate) workers_alive: u32,
    pub(crate) workers_lost: u32,
}

pub(crate) struct Coordinator {
    pub(crate) clock: Clock,
    pub(crate) machine: Scheduler,
    pub(crate) plan: Arc<Plan>,
    pub(crate) spec: PlanSpec,
    pub(crate) settings: WorkerSettings,
    pub(crate) provisioner: Addr<Provisioner>,
    pub(crate) links: BTreeMap<WorkerId, mpsc::Sender<Vec<u8>>>,
    pub(crate) events: mpsc::UnboundedSender<RunEvent>,
    pub(crate) board: Arc<Mutex<Board>>,
    /// Where checkpoints go, in a run that has any.
    pub(crate) saver: Option<Saver>,
    /// When the machine is next told the time, and what would tell it.
    pub(crate) alarm: Option<(Timestamp, SpawnHandle)>,
    pub(crate) preload_began: Option<Duration>,
    pub(crate) started: bool,
    /// What volunteers are told; none are taken where it is absent.
    pub(crate) terms: Option<Terms>,
    /// Volunteers that asked so far.
    pub(crate) requests: u64,
    /// What the scheduler has said to the last one.
    pub(crate) admission: Option<(u64, Result<WorkerId, String>)>,
    /// Settings of volunteers that are yet to join: each says what it has.
    pub(crate) granted: BTreeMap<WorkerId, WorkerSettings>,
    /// The run's mail, where control may come that way.
    pub(crate) mail: Option<Mail>,
    pub(crate) introductions: Introductions,
    /// What becomes the trace, in a run that is traced.
    pub(crate) trace: Option<Arc<Mutex<Spool>>>,
}

/// A worker has proved who it is and said hello; whether it is taken in.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct Arrived {
    worker: WorkerId,
    hello: Hello,
    observed: Option<SocketAddr>,
    link: mpsc::Sender<Vec<u8>>,
    by_mail: bool,
}

struct Hello {
    version: String,
    addresses: Vec<String>,
    fingerprint: Digest,
    kernels: BTreeSet<(String, u32)>,
    cpu: String,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Said(WorkerId, FromWorker);

/// Something was done with the manifests.
#[derive(Message)]
#[rtype(result = "()")]
struct Saved(Input);

/// A worker's process ended, or its connection did.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Gone(pub(crate) WorkerId);

/// A worker's connection ended before it said anything.
#[derive(Message)]
#[rtype(result = "()")]
struct Mute(WorkerId);

/// The run cannot go on for a reason outside the machines.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Hopeless(pub(crate) String);

/// Whoever started the run wants it no more: its workers are told to stop.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Cancel;

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MAX);
        self.input(ctx, Input::Begin);
        ctx.run_interval(PROGRESS_EVERY, |actor, _| actor.post());
    }
}

impl Coordinator {
    pub(super) fn input(&mut self, ctx: &mut Context<Self>, input: Input) {
        self.machine.handle_input(self.clock.now(), input);
        self.perform(ctx);
    }

    fn perform(&mut self, ctx: &mut Context<Self>) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Start(worker, _) => {
                    self.watch_mail(ctx, worker);
                    let started = self.provisioner.try_send(StartWorker(worker));
                    self.expect_sent(started.is_ok());
                }
                Action::End(worker) => {
                    self.unlink(worker);
                    let ended = self.provisioner.try_send(EndWorker(worker));
                    self.expect_sent(ended.is_ok());
                }
                Action::Send(worker, message) => self.tell(ctx, worker, &message),
                Action::WriteManifest(manifest) => self.save(ctx, async move |saver| {
                    Input::ManifestWritten(saver.write(&manifest).await)
                }),
                Action::Sweep { before, blocks } => self.save(ctx, async move |saver| {
                    saver.sweep(before, blocks).await;
                    Input::Swept
                }),
                Action::PhaseDone(_, figures) => self.tell_run(RunEvent::PhaseDone(figures)),
                Action::Admit(request, worker) => {
                    self.watch_mail(ctx, worker);
                    self.admission = Some((request, Ok(worker)));
                }
                Action::Decline(request, reason) => {
                    self.admission = Some((request, Err(reason)));
                }
                Action::Completed => {
                    self.post();
                    self.tell_run(RunEvent::Completed(self.machine.profile().clone()));
                }
                Action::Failed(reason) => self.tell_run(RunEvent::Failed(reason)),
            }
        }
        if let Some(trace) = &self.trace
            && let Ok(mut trace) = trace.lock()
        {
            trace.add(&self.machine.take_records());
        }
        if cfg!(debug_assertions) {
            self.machine.check_invariants();
        }
        self.schedule(ctx);
    }

    /// Does something with the manifests, to its end also where this actor ends before.
    fn save(&self, ctx: &Context<Self>, work: impl AsyncFnOnce(Saver) -> Input + 'static) {
        let Some(saver) = self.saver.clone() else {
            return;
        };
        let coordinator = ctx.address();
        actix::spawn(async move {
            let input = work(saver).await;
            // The run may be over by now; then nobody has to know.
            let _ = coordinator.send(Saved(input)).await;
        });
    }

    fn tell(&mut self, ctx: &mut Context<Self>, worker: WorkerId, message: &ToWorker) {
        match message {
            ToWorker::Preload { .. } if self.preload_began.is_none() => {
                self.preload_began = Some(self.elapsed());
            }
            ToWorker::Assign(_) if !self.started => {
                self.started = true;
                let startup = self.elapsed();
                let preload = self
                    .preload_began
                    .map_or(Duration::ZERO, |began| startup - began);
                self.tell_run(RunEvent::Started { startup, preload });
            }
            _ => {}
        }
        let Some(link) = self.links.get(&worker) else {
            return;
        };
        if link.try_send(control::encode(message)).is_err() {
            tracing::warn!(%worker, "takes no messages any more and is taken for lost");
            self.links.remove(&worker);
            ctx.notify(Gone(worker));
        }
    }

    fn watch_mail(&mut self, ctx: &Context<Self>, worker: WorkerId) {
        if let Some(mail) = &mut self.mail {
            mail.watch(worker, ctx.address());
        }
    }

    fn unlink(&mut self, worker: WorkerId) {
        self.links.remove(&worker);
        if let Some(mail) = &mut self.mail {
            mail.unwatch(worker);
        }
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.clock.now().as_nanos())
    }

    fn tell_run(&self, event: RunEvent) {
        // Whoever started the run may have given up on it; then nobody is left to tell.
        let _ = self.events.send(event);
    }

    fn expect_sent(&self, sent: bool) {
        if !sent {
            self.tell_run(RunEvent::Failed(
                "the provisioner of workers is stuck".to_owned(),
            ));
        }
    }

    fn post(&self) {
        let (phase, tasks_done, flops_done) = self.machine.progress();
        let tally = self
            .machine
            .fleet()
            .tallies()
            .fold(control::Tally::default(), |sum, (_, _, tally)| {
                sum.plus(&tally)
            });
        if let Ok(mut board) = self.board.lock() {
            *board = Board {
                preloading: self.machine.is_preloading(),
                phase,
                tasks_done,
                flops_done,
                tasks_restored: self.machine.restored(phase),
                tally,
                workers_alive: u32::try_from(self.machine.fleet().joined().count()).unwrap_or(0),
                workers_lost: self.machine.lost(),
            };
        }
    }

    /// Sets the alarm to when the machine wants to be told the time, unless it rings before.
    fn schedule(&mut self, ctx: &mut Context<Self>) {
        let Some((at, _)) = self.machine.poll_timeout() else {
            return;
        };
        match self.alarm {
            Some((set, _)) if set <= at => return,
            Some((_, later)) => drop(ctx.cancel_future(later)),
            None => {}
        }
        let alarm = ctx.run_later(at.since(self.clock.now()), |actor, ctx| {
            actor.alarm = None;
            actor.machine.handle_timeout(actor.clock.now());
            actor.perform(ctx);
        });
        self.alarm = Some((at, alarm));
    }

    /// Why a worker cannot take part, if it cannot.
    fn objection(&self, hello: &Hello) -> Option<String> {
        if let Some(other) = other_version(&hello.version) {
            return Some(other);
        }
        let lacking = self
            .plan
            .kernels_used()
            .find(|(name, version)| !hello.kernels.contains(&((*name).to_owned(), *version)))?;
        let (name, version) = lacking;
        Some(format!(
            "a worker lacks kernel {name} version {version}, which the plan needs: start workers \
             from a binary that registers it"
        ))
    }
}

impl Handler<Arrived> for Coordinator {
    type Result = bool;

    fn handle(&mut self, arrived: Arrived, ctx: &mut Self::Context) -> bool {
        let Arrived {
            worker,
            hello,
            observed,
            link,
            by_mail,
        } = arrived;
        // A number is good once: an engine may deliver its ticket twice, or too late.
        let member = self.machine.fleet().get(worker);
        if member.is_none_or(|member| member.is_joined()) {
            tracing::info!(%worker, addresses = ?hello.addresses, "is not waited for (any more); turned away");
            return false;
        }
        if let Some(mail) = &mut self.mail
            && !by_mail
        {
            mail.unwatch(worker);
        }
        self.links.insert(worker, link);
        if let Some(objection) = self.objection(&hello) {
            self.input(ctx, Input::Unfit(worker, objection));
            return true;
        }
        tracing::info!(%worker, addresses = ?hello.addresses, ?observed, cpu = hello.cpu, "joined");
        let welcome = ToWorker::Welcome {
            plan: self.spec.clone(),
            settings: self
                .granted
                .remove(&worker)
                .unwrap_or_else(|| self.settings.clone()),
        };
        self.tell(ctx, worker, &welcome);
        let addresses = hello.addresses;
        let now = self.clock.now();
        let told = self
            .introductions
            .joined(now, worker, addresses.clone(), observed);
        if let Some(message) = told {
            self.tell(ctx, worker, &message);
        }
        self.input(ctx, Input::Joined(worker, addresses, hello.fingerprint));
        true
    }
}

impl Handler<Said> for Coordinator {
    type Result = ();

    fn handle(&mut self, Said(worker, message): Said, ctx: &mut Self::Context) {
        let introductions = self.introductions.hear(self.clock.now(), worker, &message);
        for (worker, message) in introductions {
            self.tell(ctx, worker, &message);
        }
        self.input(ctx, Input::Message(worker, message));
    }
}

impl Handler<Saved> for Coordinator {
    type Result = ();

    fn handle(&mut self, Saved(input): Saved, ctx: &mut Self::Context) {
        self.input(ctx, input);
    }
}

impl Handler<Gone> for Coordinator {
    type Result = ();

    fn handle(&mut self, Gone(worker): Gone, ctx: &mut Self::Context) {
        self.unlink(worker);
        self.introductions.left(self.clock.now(), worker);
        let ended = self.provisioner.try_send(EndWorker(worker));
        self.expect_sent(ended.is_ok());
        self.input(ctx, Input::Left(worker));
    }
}

impl Handler<Mute> for Coordinator {
    type Result = ();

    fn handle(&mut self, Mute(worker): Mute, ctx: &mut Self::Context) {
        // Where it may come another way, it may have given this one up.
        if self.mail.is_none() {
            ctx.notify(Gone(worker));
        }
    }
}

impl Handler<Cancel> for Coordinator {
    type Result = ();

    fn handle(&mut self, Cancel: Cancel, ctx: &mut Self::Context) {
        self.input(ctx, Input::Cancelled);
    }
}

impl Handler<Hopeless> for Coordinator {
    type Result = ();

    fn handle(&mut self, Hopeless(reason): Hopeless, _: &mut Self::Context) {
        self.tell_run(RunEvent::Failed(reason));
    }
}

/// Takes in control channels until the endpoint closes.
pub(crate) async fn accept(
    mut incoming: Incoming,
    coordinator: Addr<Coordinator>,
    provisioner: Addr<Provisioner>,
) {
    while let Some(channel) = incoming.next().await {
        let link = Link::from(channel);
        if link.peer == NodeId::Guest {
            actix::spawn(serve_guest(link, coordinator.clone(), provisioner.clone()));
        } else {
            actix::spawn(serve(link, coordinator.clone()));
        }
    }
}

/// Why a worker of another version cannot take part.
pub(super) fn other_version(version: &str) -> Option<String> {
    let ours = env!("CARGO_PKG_VERSION");
    (version != ours).then(|| {
        format!(
            "a worker has version {} of peerwren but the coordinator has {ours}: install one version \
             everywhere",
            version.escape_debug()
        )
    })
}

/// Reads what one worker says until it goes.
pub(super) async fn serve(link: Link, coordinator: Addr<Coordinator>) {
    let by_mail = link.is_by_mail();
    let NodeId::Worker(number) = link.peer else {
        return;
    };
    let worker = WorkerId(number);
    let Link {
        sender,
        mut receiver,
        observed,
        ..
    } = link;
    let first = tokio::time::timeout(HELLO_TIMEOUT, hear(&mut receiver)).await;
    let Ok(Some(FromWorker::Hello {
        version,
        addresses,
        fingerprint,
        kernels,
        cpu,
    })) = first
    else {
        tracing::warn!(%worker, "did not say hello and is turned away");
        let _ = coordinator.send(Mute(worker)).await;
        return;
    };
    let (link, waiting) = mpsc::channel(OUTBOX_MAX);
    actix::spawn(send_all(sender, waiting));
    let kernels = kernels.into_iter().collect();
    let hello = Hello {
        version,
        addresses,
        fingerprint,
        kernels,
        cpu,
    };
    let arrived = Arrived {
        worker,
        hello,
        observed,
        link,
        by_mail,
    };
    if !matches!(coordinator.send(arrived).await, Ok(true)) {
        return;
    }
    while let Some(message) = hear(&mut receiver).await {
        if coordinator.send(Said(worker, message)).await.is_err() {
            return;
        }
    }
    let _ = coordinator.send(Gone(worker)).await;
}

/// The next valid message; `None` when the worker is gone or talks nonsense.
async fn hear(receiver: &mut ControlReceiver) -> Option<FromWorker> {
    let bytes = receiver.recv().await.ok()??;
    control::decode(&bytes)
        .inspect_err(|error| tracing::warn!(%error, "a worker is cut off"))
        .ok()
}
