//! Workers that come by themselves, from any machine. There is nothing to start and nothing to kill: a
//! worker that is to end is told so, or its connection is cut. Remembers who has not left yet.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use crate::machine::WorkerId;

/// How long workers that were told to stop may take to go: one that is told by mail looks for it once a
/// second.
const GRACE: Duration = Duration::from_secs(5);

/// The engine of a run whose workers are started elsewhere.
pub(crate) struct Volunteers(watch::Sender<BTreeSet<WorkerId>>);

impl Volunteers {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(BTreeSet::new()))
    }

    /// A worker may come now.
    pub(crate) fn admit(&self, worker: WorkerId) {
        self.0.send_modify(|here| {
            here.insert(worker);
        });
    }

    /// A worker is gone, or given up.
    pub(crate) fn end(&self, worker: WorkerId) {
        self.0.send_if_modified(|here| here.remove(&worker));
    }

    /// Waits a moment for all to go: each reads what it was told before its connection is closed.
    pub(crate) fn end_all(&self) -> impl Future<Output = ()> + 'static {
        let mut here = self.0.subscribe();
        async move {
            let gone = here.wait_for(BTreeSet::is_empty);
            // Whoever stays longer finds nobody to talk to any more.
            let _ = tokio::time::timeout(GRACE, gone).await;
        }
    }
}
