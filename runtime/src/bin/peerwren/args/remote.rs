//! The arguments of a run whose workers are started elsewhere, and of such a worker.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use peerwren::options::ByteSize;

use super::{Work, whole_number};

/// Where a coordinator listens that others are to reach: this port of every address.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 4433);

#[derive(Debug, Args)]
pub(crate) struct CoordinatorArgs {
    /// Where the coordinator listens: an address of this machine, or 0.0.0.0 or [::] for all of them
    #[arg(long, value_name = "ADDRESS", default_value_t = LISTEN, env = "PEERWREN_LISTEN", hide_env = true)]
    pub(crate) listen: SocketAddr,
    /// Where the token is written that workers join with; it goes when the run ends
    #[arg(
        long,
        value_name = "FILE",
        default_value = "run.token",
        env = "PEERWREN_TOKEN",
        hide_env = true
    )]
    pub(crate) token: PathBuf,
    /// How long the token lets workers join, in hours
    #[arg(
        long,
        value_name = "HOURS",
        default_value_t = 24,
        env = "PEERWREN_TOKEN_HOURS",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    pub(crate) token_hours: u32,
    /// How long workers are waited for, in seconds: the wanted ones before the first task, any later
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        env = "PEERWREN_START_TIMEOUT",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    pub(crate) start_timeout: u32,
    #[command(subcommand)]
    pub(crate) work: Work,
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Where the coordinator listens, HOST:PORT; several are tried at once [default: what the token says]
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        env = "PEERWREN_JOIN",
        hide_env = true
    )]
    pub(crate) join: Vec<String>,
    /// The token that the coordinator has written
    #[arg(long, value_name = "FILE", env = "PEERWREN_TOKEN", hide_env = true)]
    pub(crate) token: PathBuf,
    /// Cores of this worker [default: all of this machine's]
    #[arg(
        long,
        value_name = "C",
        env = "PEERWREN_CORES",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    pub(crate) cores: Option<u32>,
    /// Memory of this worker, such as 512MiB or 2GiB [default: 80% of what is available]
    #[arg(
        long,
        value_name = "BYTES",
        env = "PEERWREN_MEMORY",
        hide_env = true,
        allow_negative_numbers = true
    )]
    pub(crate) memory: Option<ByteSize>,
    /// Where this worker listens for its peers [default: a free port of every address]
    #[arg(long, value_name = "ADDRESS", env = "PEERWREN_LISTEN", hide_env = true)]
    pub(crate) listen: Option<SocketAddr>,
    /// How long a coordinator that is not there is waited for, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        env = "PEERWREN_ORPHAN",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    pub(crate) orphan: u32,
}
