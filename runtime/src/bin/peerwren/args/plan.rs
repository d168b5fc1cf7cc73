//! The arguments of a plan that is told and not run.

use std::path::PathBuf;

use clap::Args;

use super::Work;

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Draws parallelism and working set by level
    #[arg(
        long,
        global = true,
        value_name = "FILE.svg",
        help_heading = "Output",
        env = "PEERWREN_SVG",
        hide_env = true
    )]
    pub(crate) svg: Option<PathBuf>,
    /// Writes the tasks of the first phase and who waits for whom as a graph for Graphviz, of up to 1,000 tasks
    #[arg(
        long,
        global = true,
        value_name = "FILE.dot",
        help_heading = "Output",
        env = "PEERWREN_DOT",
        hide_env = true
    )]
    pub(crate) dot: Option<PathBuf>,
    /// The operation, with all of its options; nothing of what it names is written but --report
    #[command(subcommand)]
    pub(crate) work: Work,
}
