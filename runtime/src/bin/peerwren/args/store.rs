//! The arguments of `peerwren store`.

use clap::Subcommand;
use peerwren_transports::store::Place;

#[derive(Debug, Subcommand)]
pub(crate) enum StoreAction {
    /// Lists the runs that have something in a store
    #[command(after_help = "Example:\n  peerwren store ls s3://bucket/prefix")]
    Ls {
        /// The store: a folder, or s3://bucket/prefix
        place: Place,
    },
    /// Removes all that runs have in a store, half-written blocks too. Asks nothing
    #[command(
        after_help = "Example: a run whose driver was killed\n  peerwren store rm s3://bucket/prefix 00c0ffee00c0ffee"
    )]
    Rm {
        /// The store: a folder, or s3://bucket/prefix
        place: Place,
        /// The run, as `peerwren store ls` shows it
        #[arg(value_parser = run, required_unless_present = "all", conflicts_with = "all")]
        run: Option<u64>,
        /// Removes all runs of the store, those that are under way too
        #[arg(long)]
        all: bool,
    },
}

/// Reads a run's number.
fn run(text: &str) -> Result<u64, &'static str> {
    let digits = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
    number.ok_or("expected 16 hexadecimal digits, as `peerwren store ls` shows them")
}
