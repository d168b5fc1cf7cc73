//! The coordinator's end of control by mail: looks for the letters of workers that have not come by
//! another way, and reads what guests ask. Decides nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::prelude::*;
use peerwren_transports::identity::{NodeId, NodeIdentity};
use peerwren_transports::mailbox::{Answered, PostOffice, Question};
use peerwren_transports::store::{BlockStore, Objects};

use super::clock;
use super::coordinator::{Coordinator, serve};
use super::guests::answer;
use super::link::Link;
use super::provisioner::Provisioner;
use crate::control;
use crate::control::joining::FromGuest;
use crate::machine::WorkerId;

/// Between two looks for guests' questions: 1,800 requests an hour.
const GUESTS_EVERY: Duration = Duration::from_secs(2);

/// A run's mail, on the coordinator's side.
pub(crate) struct Mail {
    office: PostOffice,
    epoch: u64,
    /// Who is looked after: ends with the worker, or when it came by another way.
    watched: BTreeMap<WorkerId, tokio::task::JoinHandle<()>>,
    showing_life: tokio::task::JoinHandle<()>,
}

/// A node's way to the mail of its run.
pub(crate) fn office(run: &Objects, identity: &NodeIdentity) -> Result<PostOffice, String> {
    let signer = identity.signer().map_err(|error| error.to_string())?;
    Ok(PostOffice::new(run, signer, clock::wall))
}

impl Mail {
    /// Begins an epoch, so that workers find a coordinator there, and shows signs of life from now on.
    pub(crate) async fn open(store: &BlockStore, identity: &NodeIdentity) -> Result<Self, String> {
        let office = office(&store.objects(identity.run()), identity)?;
        let epoch = office.open_epoch().await.map_err(|e| e.to_string())?;
        let living = office.clone();
        let showing_life = actix::spawn(async move { living.show_life(epoch).await });
        Ok(Self {
            office,
            epoch,
            watched: BTreeMap::new(),
            showing_life,
        })
    }

    /// Ends the signs of life, so that none appears in a store that is being cleared.
    pub(crate) fn life(&self) -> tokio::task::AbortHandle {
        self.showing_life.abort_handle()
    }

    /// Where guests' questions are read.
    pub(crate) fn desk(&self) -> (PostOffice, u64) {
        (self.office.clone(), self.epoch)
    }

    /// Looks for letters of a worker that may come this way.
    pub(super) fn watch(&mut self, worker: WorkerId, coordinator: Addr<Coordinator>) {
        let peer = NodeId::Worker(worker.0);
        let mut receiver = self.office.receiver(peer, self.epoch);
        let sender = self.office.sender(peer, self.epoch);
        let serving = actix::spawn(async move {
            match receiver.wait().await {
                Ok(()) => serve(Link::by_mail(peer, sender, receiver), coordinator).await,
                Err(error) => tracing::warn!(%worker, %error, "its mail cannot be read"),
            }
        });
        if let Some(before) = self.watched.insert(worker, serving) {
            before.abort();
        }
    }

    /// The worker is gone, or came by another way.
    pub(super) fn unwatch(&mut self, worker: WorkerId) {
        if let Some(serving) = self.watched.remove(&worker) {
            serving.abort();
        }
    }
}

/// Reads what guests ask, and answers, until it is dropped.
pub(crate) async fn read_guests(
    (office, epoch): (PostOffice, u64),
    coordinator: Addr<Coordinator>,
    provisioner: Addr<Provisioner>,
) {
    let mut answered = Answered::default();
    loop {
        tokio::time::sleep(GUESTS_EVERY).await;
        let questions = office
            .questions(epoch, &mut answered)
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "guests' questions cannot be read");
                Vec::new()
            });
        for Question { key, message } in questions {
            let Ok(question) = control::decode::<FromGuest>(&message) else {
                tracing::warn!("a guest's question is malformed");
                continue;
            };
            let answered = answer(question, None, &coordinator, &provisioner).await;
            let told = office.answer(epoch, key, control::encode(&answered)).await;
            if let Err(error) = told {
                tracing::warn!(%error, "a guest gets no answer");
            }
        }
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        self.showing_life.abort();
        for serving in self.watched.values() {
            serving.abort();
        }
        let stats = self.office.stats();
        tracing::debug!(?stats, "mail of the coordinator");
    }
}
