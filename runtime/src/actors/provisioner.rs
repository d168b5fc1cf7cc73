//! Starts and ends workers through an engine, and tells the coordinator which have ended.

use actix::prelude::*;
use peerwren_transports::identity::{Authority, NodeId};

use super::clock;
use super::coordinator::{Coordinator, Gone, Hopeless};
use crate::engine::Engine;
use crate::machine::WorkerId;

pub(crate) struct Provisioner {
    authority: Authority,
    engine: Engine,
    coordinator: Option<Addr<Coordinator>>,
}

/// Whom to tell of workers that end.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ReportTo(pub(crate) Addr<Coordinator>);

#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StartWorker(pub(crate) WorkerId);

#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct EndWorker(pub(crate) WorkerId);

/// Certify the key of a worker that comes by itself.
#[derive(Message)]
#[rtype(result = "Result<Vec<u8>, String>")]
pub(crate) struct Certify {
    pub(crate) worker: WorkerId,
    pub(crate) public_key: Vec<u8>,
}

/// End every worker; answered when all have ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct EndAll {
    /// Whether workers are killed that were not told to stop.
    pub(crate) at_once: bool,
}

impl Provisioner {
    pub(crate) fn new(authority: Authority, engine: Engine) -> Self {
        Self {
            authority,
            engine,
            coordinator: None,
        }
    }
}

impl Actor for Provisioner {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // A start and an end of each of thousands of workers.
        ctx.set_mailbox_capacity(16_384);
    }
}

impl Handler<ReportTo> for Provisioner {
    type Result = ();

    fn handle(&mut self, ReportTo(coordinator): ReportTo, _: &mut Self::Context) {
        self.coordinator = Some(coordinator);
    }
}

impl Handler<StartWorker> for Provisioner {
    type Result = ();

    fn handle(&mut self, StartWorker(worker): StartWorker, ctx: &mut Self::Context) {
        // Once all are to end, the loss of one is no reason to start another.
        let Some(coordinator) = self.coordinator.clone() else {
            return;
        };
        let identity = self
            .authority
            .issue(NodeId::Worker(worker.0), clock::wall());
        let started = identity
            .map_err(|error| error.to_string())
            .and_then(|identity| self.engine.start(worker, identity));
        let work = async move {
            match started {
                Err(error) => drop(coordinator.send(Hopeless(error)).await),
                Ok(ended) => {
                    // No answer means that the watching task was ended with the worker.
                    if let Ok(Err(error)) = ended.await {
                        let _ = coordinator.send(Hopeless(error)).await;
                    }
                    let _ = coordinator.send(Gone(worker)).await;
                }
            }
        };
        ctx.spawn(work.into_actor(self));
    }
}

impl Handler<Certify> for Provisioner {
    type Result = Result<Vec<u8>, String>;

    fn handle(&mut self, certify: Certify, _: &mut Self::Context) -> Self::Result {
        let Certify { worker, public_key } = certify;
        let node = NodeId::Worker(worker.0);
        let certified = self.authority.certify(node, &public_key, clock::wall());
        let certificate = certified.map_err(|error| error.to_string())?;
        self.engine.admit(worker);
        Ok(certificate)
    }
}

impl Handler<EndWorker> for Provisioner {
    type Result = ();

    fn handle(&mut self, EndWorker(worker): EndWorker, _: &mut Self::Context) {
        self.engine.end(worker);
    }
}

impl Handler<EndAll> for Provisioner {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, EndAll { at_once }: EndAll, _: &mut Self::Context) -> Self::Result {
        self.coordinator = None;
        Box::pin(self.engine.end_all(at_once))
    }
}
