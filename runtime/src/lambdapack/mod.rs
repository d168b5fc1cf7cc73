//! LAmbdaPACK: small programs over tiles, and who depends on whom in them.
//!
//! A [`Program`] is text (`*.lp`): declared tiles and loops of kernel calls on indexed tiles. Bound
//! to parameters it becomes a [`Bound`], which answers what a task reads and writes and which tasks
//! come before and after it, from the index expressions: the program is never unrolled. Knows
//! nothing of workers, bytes or any one algorithm.
//!
//! ```text
//! lexer, parser, parse_expr -> ast -> resolve, expr, statements -> model        Program
//! model + parameters -> bind (fold, queries, planner) -> bound      Bound
//! code, interval, linear, query, walk, operands                             what Bound answers with
//! check                                                             small models, unrolled
//! dot                                                               small programs, drawn
//! ```

mod ast;
mod bind;
mod bound;
mod check;
mod code;
mod dot;
mod error;
mod expr;
mod fold;
pub mod guide;
mod interval;
mod lexer;
mod linear;
mod model;
mod operands;
mod parse_expr;
mod parser;
mod planner;
mod program;
mod queries;
mod query;
mod resolve;
mod statements;
mod task;
mod walk;

#[cfg(test)]
mod tests;

pub(crate) use check::{TASKS_MAX as CHECKED_TASKS_MAX, is_circle};
pub(crate) use lexer::SOURCE_BYTES_MAX;

pub use bound::{Bound, InputFamily};
pub use error::{Diagnosis, ProgramError, TaskError};
pub use program::Program;
pub use task::{Generated, ResultTile, Slots, Task, Tile};
