//! A table of pairs, each cell as deep in colour as its value is large.

use super::axis::Unit;
use super::canvas::{Anchor, Canvas, Picture};

const LEFT: f64 = 90.0;
const TOP: f64 = 74.0;
/// Side of the table at most, and of a cell.
const SIDE_MAX: f64 = 560.0;
const CELL_MAX: f64 = 40.0;
const CELL_MIN: f64 = 8.0;
/// Rows and columns: 64 cells of 8 fit; of more, neighbours share one.
const CELLS_MAX: usize = 64;
/// Steps of the scale beside the table.
const SCALE: usize = 5;

/// Values of pairs: rows give, columns receive.
#[derive(Clone, Debug)]
pub(crate) struct Heat {
    pub(crate) title: String,
    pub(crate) row_name: String,
    pub(crate) column_name: String,
    /// Numbers of rows and columns in order, the same for both.
    pub(crate) ids: Vec<u32>,
    /// Row, column, value; by place in `ids`.
    pub(crate) values: Vec<(usize, usize, f64)>,
}

impl Heat {
    pub(crate) fn draw(&self) -> Picture {
        let share = self.ids.len().div_ceil(CELLS_MAX).max(1);
        let cells = self.ids.len().div_ceil(share).max(1);
        let mut sums = vec![vec![0.0; cells]; cells];
        for &(row, column, value) in &self.values {
            sums[row / share][column / share] += value;
        }
        let most = sums.iter().flatten().copied().fold(0.0, f64::max);
        let unit = Unit::of_bytes(most);
        let side = (SIDE_MAX / cells as f64).clamp(CELL_MIN, CELL_MAX);
        let size = side * cells as f64;
        let mut canvas = Canvas::new(900.0, TOP + size.max(150.0) + 50.0, &self.title);
        canvas.words((20.0, 28.0), Anchor::Start, ("ink", 16), &self.title);
        self.names(&mut canvas, (cells, share, side));
        for (row, sums) in sums.iter().enumerate() {
            for (column, value) in sums.iter().enumerate().filter(|(_, value)| **value > 0.0) {
                let at = (LEFT + side * column as f64, TOP + side * row as f64);
                let told = format!(
                    "{} {} to {} {}: {}",
                    self.row_name,
                    self.group(row, share),
                    self.column_name,
                    self.group(column, share),
                    unit.value(*value)
                );
                // A little is not nothing.
                let depth = 0.06 + 0.94 * value / most;
                canvas.rect(at, (side, side), ("f0", depth), &told);
            }
        }
        let (right, bottom) = (LEFT + size, TOP + size);
        let frame = format!("M{LEFT} {TOP}H{right:.1}V{bottom:.1}H{LEFT}Z");
        canvas.path(&frame, "class=\"axis none\"");
        scale(&mut canvas, right + 50.0, most, unit);
        canvas.finish()
    }

    fn names(&self, canvas: &mut Canvas, (cells, share, side): (usize, usize, f64)) {
        canvas.words(
            (LEFT, 52.0),
            Anchor::Start,
            ("faint", 13),
            &self.column_name,
        );
        let at = (LEFT - 12.0, TOP + side * cells as f64 + 22.0);
        canvas.words(at, Anchor::Middle, ("faint", 13), &self.row_name);
        // Numbers need about 24 of room.
        let every = (24.0 / side).ceil().max(1.0) as usize;
        for cell in (0..cells).step_by(every) {
            let middle = side * (cell as f64 + 0.5);
            let number = self
                .ids
                .get(cell * share)
                .map_or(String::new(), u32::to_string);
            canvas.words(
                (LEFT + middle, TOP - 6.0),
                Anchor::Middle,
                ("ink", 11),
                &number,
            );
            let at = (LEFT - 8.0, TOP + middle + 4.0);
            canvas.words(at, Anchor::End, ("ink", 11), &number);
        }
    }

    fn group(&self, cell: usize, share: usize) -> String {
        let id = |at: usize| self.ids.get(at.min(self.ids.len().saturating_sub(1)));
        match (id(cell * share), id(cell * share + share - 1)) {
            (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
            (Some(first), _) => first.to_string(),
            (None, _) => String::new(),
        }
    }
}

fn scale(canvas: &mut Canvas, x: f64, most: f64, unit: Unit) {
    for step in 0..SCALE {
        let share = 1.0 - step as f64 / (SCALE - 1) as f64;
        let y = TOP + 28.0 * step as f64;
        canvas.rect((x, y), (22.0, 28.0), ("f0", 0.06 + 0.94 * share), "");
        let at = (x + 30.0, y + 18.0);
        canvas.words(at, Anchor::Start, ("ink", 12), &unit.value(most * share));
    }
}
