//! Pictures of figures as SVG: bars, lines, areas, spans of time and tables of pairs, with their axes, ticks and
//! legends. Is given numbers and words; knows no run, reads and writes no file.
//!
//! Colours come by class, so that one picture is light or dark as its surroundings are, alone or in a page.

mod area;
mod axis;
mod bars;
mod canvas;
mod heat;
mod lines;
mod spans;

pub(crate) use self::area::Area;
pub use self::axis::Unit;
pub use self::bars::{Bar, Bars};
pub use self::canvas::Picture;
pub(crate) use self::canvas::{Anchor, Canvas, STYLE, escape};
pub(crate) use self::heat::Heat;
pub use self::lines::{Line, Lines};
pub(crate) use self::spans::{Lane, Span, Spans};

/// Colours of series; a picture has no more series than this.
pub const SERIES_MAX: usize = 8;

#[cfg(test)]
mod tests;
