//! What a user may choose about a run, parsed once and then trusted.
//!
//! Owns the words of the options, their defaults and what contradicts what. Never reads files of the
//! run and starts nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

mod calibration;
mod choices;
mod choose;
mod durability;
mod engine;
mod facts;
mod remote;
mod replay;
mod resolve;
mod size;

pub use peerwren_transports::store::Place;

pub use calibration::{Calibration, CalibrationError};
pub use choices::{ControlChoice, Exchange, Heads, Policy, StoreChoice, TreeChoice, UnknownChoice};
#[cfg(test)]
pub(crate) use choose::crossing;
pub use choose::{Method, Problem};
pub use durability::Durability;
pub use engine::{EngineKind, Factor, ScalingOptions};
pub use facts::MachineFacts;
pub use remote::RemoteOptions;
pub use replay::{Replay, ReplayError};
pub use resolve::{Chosen, OptionError, Resolved, Tree};
pub use size::{ByteSize, SizeError};

use crate::prices::Prices;

/// Most workers of a run: each holds a socket and a share of the scheduler's tables.
pub const WORKERS_MAX: u32 = 4096;

/// Share of a machine's available memory that its workers get, in percent.
pub const WORKER_MEMORY_PERCENT: u64 = 80;

/// Most cores of a worker.
pub const CORES_MAX: u32 = 1024;

/// Largest tile side: 16384 x 16384 f64 = 2 GiB a tile.
pub const BLOCK_MAX: u32 = 16_384;

/// Where a coordinator listens that nobody else is to reach: any free port of this machine alone.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Most STUN servers: two show what a NAT does, two more answer when those do not.
pub const STUN_MAX: usize = 4;

/// The options of a run, as asked for. `None` leaves the choice to [`resolve`](Self::resolve).
///
/// ```
/// use peerwren::options::{RunOptions, TreeChoice};
/// let options = RunOptions { workers: Some(4), tree: "grid:2x2".parse()?, ..RunOptions::default() };
/// assert!(matches!(options.tree, TreeChoice::Grid { p: 2, q: 2, layers: 1, heads: None }));
/// # Ok::<(), peerwren::options::UnknownChoice>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RunOptions {
    /// Side of a tile.
    pub block: Option<u32>,
    /// Inner block of the kernels.
    pub ib: Option<u32>,
    /// How far panels of a QR run ahead of the updates behind them; by memory and shape when absent.
    pub lookahead: Option<u32>,
    /// Reduction tree and rank grid.
    pub tree: TreeChoice,
    /// Number of workers; with `scaling` the most there may be.
    pub workers: Option<u32>,
    /// How the number of workers follows the work; fixed when absent.
    pub scaling: Option<ScalingOptions>,
    /// Cores, so compute threads, of each worker.
    pub cores: u32,
    /// What runs the workers.
    pub engine: EngineKind,
    /// How blocks move.
    pub exchange: Exchange,
    /// How tasks are placed.
    pub policy: Policy,
    /// Which blocks outlive the loss of a worker; where workers are on other machines, checkpoints by
    /// default, else outputs.
    pub durability: Option<Durability>,
    /// Where blocks go that leave a worker.
    pub store: StoreChoice,
    /// Bytes of memory of each worker.
    pub memory: Option<u64>,
    /// Whether inputs are in the workers' caches before the first kernel starts.
    pub preload: bool,
    /// Where the coordinator's socket is bound.
    pub listen: SocketAddr,
    /// Where else workers reach it, `host:port` each, best first.
    pub advertise: Vec<String>,
    /// How workers on other machines join; none do when absent.
    pub remote: Option<RemoteOptions>,
    /// How control reaches workers.
    pub control: ControlChoice,
    /// STUN servers that tell workers their outside addresses, `HOST` or `HOST:PORT` each.
    pub stun: Vec<String>,
    /// What a run on Lambda is priced by.
    pub prices: Prices,
    /// The workers that block and tree are chosen for where they are left open.
    pub calibration: Calibration,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            block: None,
            ib: None,
            lookahead: None,
            tree: TreeChoice::Auto,
            workers: None,
            scaling: None,
            cores: 1,
            engine: EngineKind::Processes,
            exchange: Exchange::Peer,
            policy: Policy::Locality,
            durability: None,
            store: StoreChoice::Temporary,
            memory: None,
            preload: false,
            listen: LISTEN_DEFAULT,
            advertise: Vec::new(),
            remote: None,
            control: ControlChoice::Auto,
            stun: Vec::new(),
            prices: Prices::default(),
            calibration: Calibration::default(),
        }
    }
}
