//! The arguments of `peerwren experiment`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

#[derive(Debug, Args)]
pub(crate) struct ExperimentArgs {
    /// A grid file (TOML), or the name of a shipped experiment; left out, those are listed
    #[arg(value_name = "FILE.toml|NAME")]
    pub(crate) grid: Option<String>,
    /// Keeps each row's report in this folder, and writes results.csv, table.md, pictures and index.html there
    #[arg(
        long,
        value_name = "FOLDER",
        help_heading = "Output",
        env = "PEERWREN_OUT",
        hide_env = true
    )]
    pub(crate) out: Option<PathBuf>,
    /// Checks all rows and prints their lines, and runs nothing
    #[arg(long, help_heading = "Output", env = "PEERWREN_DRY_RUN", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) dry_run: bool,
}
