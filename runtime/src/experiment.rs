//! Experiments: a grid of options in a file, the runs that it means, and what came of them as a table, pictures
//! and a page. Runs nothing: each run is a line of arguments for whoever runs it, and a report afterwards.
//!
//! A grid file is TOML. `[run]` has what is fixed: `command`, `inputs`, and options by their long names (a flag
//! is `true`, a list repeats its option). `[grid]` has lists, of which all combinations are run, the first list
//! varying slowest; a list of tables varies several options together, under a name of its own. With `fleet` a
//! run is simulated, and `set` changes the fleet by its keys. `repeat` runs each combination so often: simulated
//! ones with the seeds 1, 2 and so on. `[show]` names the combination whose timeline, profile and
//! pairs are drawn.
//!
//! ```
//! use peerwren::experiment::Experiment;
//!
//! let text = r#"
//! title = "Trees, where not all workers reach each other"
//! repeat = 2
//! [run]
//! command = "qr"
//! inputs = "random:65536x65536"
//! block = 2048
//! workers = 64
//! fleet = "lambda-now"
//! [grid]
//! layout = [{ tree = "flat" }, { tree = "grid:8x8", policy = "owner" }]
//! set.nat.unreachable = [0, 0.25]
//! "#;
//! let rows = Experiment::parse("trees.toml", text)?.rows();
//! assert_eq!(rows.len(), 8);
//! assert_eq!(
//!     rows[3].line(),
//!     "peerwren sim qr random:65536x65536 --block 2048 --workers 64 --fleet lambda-now --tree flat \
//!      --set nat.unreachable=0.25 --seed 2"
//! );
//! # Ok::<(), peerwren::experiment::GridError>(())
//! ```

mod folder;
mod grid;
mod page;
mod pictures;
mod results;
mod row;
mod settings;
mod shipped;
mod table;
mod toml_text;

pub use folder::{Folder, FolderError};
pub use grid::{Experiment, Point, ROWS_MAX};
pub use results::{Measured, Results};
pub use row::{Row, shell_line};
pub use shipped::{SHIPPED, Shipped};
pub use toml_text::GridError;

#[cfg(test)]
mod tests;
