//! Experiments: a grid of options in a file, the runs that it means, and what came of them as a table, pictures
//! and a page. Runs nothing: each run is a line of arguments for whoever runs it, and a report afterwards.

mod folder;
mod grid;
mod page;
mod pictures;
mod results;
mod row;
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
