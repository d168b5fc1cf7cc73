//! The ticket: all that a worker must know to join a run, whatever starts it. Holds a secret key, so it
//! travels through pipes, proved connections and Lambda's queue alone; never through an argument, a
//! variable or a store.

use std::net::SocketAddr;
use std::time::Duration;

use peerwren_kernels::op::KernelSet;
use peerwren_transports::identity::NodeIdentity;
use peerwren_transports::store::{BlockStore, Place};
use rkyv::{Archive, Deserialize, Serialize};
use tracing::level_filters::LevelFilter;

use crate::actors::worker::Joining;
use crate::machine::WorkerId;
use crate::options::ControlChoice;

/// Version of [`Ticket`] and of all that is said afterwards.
pub(crate) const TICKET_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Longest ticket: an identity of a few kB, a place, and 16 addresses of up to 260 bytes.
pub(crate) const TICKET_BYTES_MAX: usize = 64 << 10;

/// What a worker may take to leave: half of it for handing blocks to others, the rest for the store.
const LEAVE: Duration = Duration::from_secs(20);

/// What a worker must know to join.
#[derive(Archive, Serialize, Deserialize, Clone)]
pub(crate) struct Ticket {
    /// Its number.
    pub(crate) worker: WorkerId,
    /// Where the coordinator may listen, `host:port` each, best first.
    pub(crate) coordinators: Vec<String>,
    /// Who the worker is, its secret key included.
    pub(crate) identity_pem: String,
    /// Where the run's store is.
    pub(crate) store: String,
    /// Largest block of the plan, for the transport's limits.
    pub(crate) block_bytes_max: u64,
    /// Where the worker's socket is bound.
    pub(crate) listen: String,
    /// Which ways to the coordinator are tried.
    pub(crate) control: ControlChoice,
    /// Least severe messages that it logs.
    pub(crate) log: String,
}

impl Ticket {
    /// Opens what the ticket names.
    pub(crate) async fn joining(&self, kernels: KernelSet) -> Result<Joining, String> {
        let place: Place = self.store.parse().map_err(|error| format!("{error}"))?;
        let store = BlockStore::join(&place).await;
        Ok(Joining {
            coordinators: self.coordinators.clone(),
            identity: NodeIdentity::from_pem(&self.identity_pem)
                .map_err(|error| error.to_string())?,
            store: store.map_err(|error| error.to_string())?,
            kernels,
            block_bytes_max: usize::try_from(self.block_bytes_max).unwrap_or(usize::MAX),
            control: self.control,
            leave: Some(LEAVE),
            life: None,
            listen: self.listen.parse::<SocketAddr>().map_err(|_| {
                format!(
                    "the ticket's address to listen at, {}, is none",
                    self.listen.escape_debug()
                )
            })?,
        })
    }

    /// The level of its log.
    pub(crate) fn log_level(&self) -> LevelFilter {
        self.log.parse().unwrap_or(LevelFilter::WARN)
    }
}
