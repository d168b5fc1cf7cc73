//! The arguments of `peerwren story`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct StoryArgs {
    /// The block as traces name it, such as 'V[1,0]' (a family of the program and its indices), or as
    /// logs do, such as 3/1.0
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// A file that --trace of a run has written
    #[arg(
        long,
        value_name = "FILE.json",
        env = "PEERWREN_TRACE",
        hide_env = true
    )]
    pub(crate) trace: PathBuf,
}
