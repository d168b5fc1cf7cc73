//! The arguments of the examination of a machine.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use peerwren::options::{EngineKind, StoreChoice};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Examines this store too: a folder or s3://bucket/prefix
    #[arg(long, value_name = "STORE", env = "PEERWREN_STORE", hide_env = true)]
    pub(crate) store: Option<StoreChoice>,
    /// Examines the way to a coordinator too, HOST:PORT [default: what the token says]
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        requires = "token",
        env = "PEERWREN_JOIN",
        hide_env = true
    )]
    pub(crate) join: Vec<String>,
    /// The token that the coordinator has written
    #[arg(long, value_name = "FILE", env = "PEERWREN_TOKEN", hide_env = true)]
    pub(crate) token: Option<PathBuf>,
    /// Asks this STUN server what the NAT before this machine does; may be given again
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        value_delimiter = ',',
        env = "PEERWREN_STUN",
        hide_env = true
    )]
    pub(crate) stun: Vec<String>,
    /// Tries two workers of this engine too: threads, processes or lambda:NAME, which needs --store and costs cents
    #[arg(long, value_name = "ENGINE", env = "PEERWREN_ENGINE", hide_env = true)]
    pub(crate) engine: Option<EngineKind>,
    /// Measures kernels on all cores and writes this machine as a fleet for `peerwren sim --fleet`
    #[arg(
        long,
        value_name = "FILE.toml",
        env = "PEERWREN_FLEET_FILE",
        hide_env = true
    )]
    pub(crate) fleet: Option<PathBuf>,
    /// Prints the findings as JSON
    #[arg(long, env = "PEERWREN_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}
