//! The arguments of a run on a fleet that is not there.

use clap::Args;

use super::Work;

#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// The fleet: lambda-now, paper-2018, this-machine, or a TOML file that describes one; --workers, --cores
    /// and --memory say more of it
    #[arg(
        long,
        global = true,
        value_name = "FLEET",
        help_heading = "Workers",
        default_value = "lambda-now",
        env = "PEERWREN_FLEET",
        hide_env = true
    )]
    pub(crate) fleet: String,
    /// Changes a key of the fleet, such as nat.unreachable=0.25; may be given again
    #[arg(
        long,
        global = true,
        value_name = "KEY=VALUE",
        help_heading = "Workers",
        env = "PEERWREN_SET",
        hide_env = true,
        value_delimiter = ','
    )]
    pub(crate) set: Vec<String>,
    /// Seed of starts, stragglers, deaths and paths: the same one gives the same run
    #[arg(
        long,
        global = true,
        value_name = "N",
        help_heading = "Workers",
        default_value_t = 1,
        env = "PEERWREN_SEED",
        hide_env = true,
        allow_negative_numbers = true
    )]
    pub(crate) seed: u64,
    /// Shows a fleet as the file that describes it, to be changed
    #[arg(long, exclusive = true, value_name = "FLEET")]
    pub(crate) show: Option<String>,
    /// The operation, with all of its options; its inputs need not exist, and no result is written
    #[command(subcommand)]
    pub(crate) work: Option<Work>,
}
