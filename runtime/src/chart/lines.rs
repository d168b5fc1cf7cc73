//! Lines over a number that is varied, one for each of the rest of what is varied.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::axis::{Axis, Unit};
use super::canvas::{Anchor, Canvas, Picture};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 870.0;
const PANEL: f64 = 280.0;
/// Values of x that each get a tick; of more, every second one and so on.
const X_TICKS_MAX: usize = 12;
/// From here on a positive x is drawn by its logarithm: so much is its largest in times its smallest.
const LOG_FROM: f64 = 8.0;

/// Lines over one x.
#[derive(Clone, Debug)]
pub struct Lines {
    /// What stands above.
    pub title: String,
    /// What is varied.
    pub x_name: String,
    /// What is shown.
    pub y_name: String,
    /// What y counts in.
    pub unit: Unit,
    /// At most [`super::SERIES_MAX`].
    pub lines: Vec<Line>,
    /// Draws what the first point of each line gives if y grows as x does.
    pub in_proportion: bool,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend says.
    pub name: String,
    /// By rising x.
    pub points: Vec<(f64, f64)>,
}

impl Lines {
    /// Draws them.
    #[must_use]
    pub fn draw(&self) -> Picture {
        let names: Vec<String> = self.lines.iter().map(|line| line.name.clone()).collect();
        let is_alone = names.len() < 2;
        let legend_at = (LEFT, RIGHT);
        let top = 62.0
            + if is_alone {
                0.0
            } else {
                Canvas::legend_height(legend_at, &names)
            };
        let bottom = top + PANEL;
        let mut canvas = Canvas::new(WIDTH, bottom + 55.0, &self.title);
        canvas.words((20.0, 28.0), Anchor::Start, ("ink", 16), &self.title);
        if !is_alone {
            canvas.legend(44.0, legend_at, &names);
        }
        canvas.words(
            (LEFT, top - 10.0),
            Anchor::Start,
            ("faint", 13),
            &self.y_name,
        );
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let axis = Axis::up_to(points().map(|(_, y)| *y).fold(0.0, f64::max), self.unit);
        let y = |value: f64| bottom - PANEL * axis.share(value);
        for tick in axis.ticks() {
            canvas.line((LEFT, y(tick)), (RIGHT, y(tick)), "grid");
            let at = (LEFT - 8.0, y(tick) + 4.0);
            canvas.words(at, Anchor::End, ("ink", 12), &self.unit.tick(tick));
        }
        let across = Across::of(points().map(|(x, _)| *x));
        for tick in across.ticks() {
            let x = across.x(tick);
            canvas.line((x, bottom), (x, bottom + 5.0), "axis");
            let at = (x, bottom + 19.0);
            canvas.words(at, Anchor::Middle, ("ink", 12), &Unit::Number.tick(tick));
        }
        canvas.line((LEFT, bottom), (RIGHT, bottom), "axis");
        let at = ((LEFT + RIGHT) / 2.0, bottom + 42.0);
        canvas.words(at, Anchor::Middle, ("faint", 13), &self.x_name);
        for (number, line) in self.lines.iter().enumerate() {
            self.line(&mut canvas, (number, line), &across, &y, axis.end());
        }
        canvas.finish()
    }

    fn line(
        &self,
        canvas: &mut Canvas,
        (number, line): (usize, &Line),
        across: &Across,
        y: &dyn Fn(f64) -> f64,
        end: f64,
    ) {
        if let Some(&(first, value)) = line.points.first().filter(|_| self.in_proportion) {
            let grown = |x: f64| value * x / first;
            let mut d = String::new();
            for x in across.values.iter().filter(|x| **x >= first) {
                if grown(*x) <= end {
                    point(&mut d, (across.x(*x), y(grown(*x))));
                }
            }
            let dashed =
                format!("class=\"l{number} none\" stroke-dasharray=\"4 5\" stroke-width=\"1\"");
            canvas.path(&d, &dashed);
        }
        let mut d = String::new();
        for &(x, value) in &line.points {
            point(&mut d, (across.x(x), y(value)));
        }
        canvas.path(&d, &format!("class=\"l{number} none\" stroke-width=\"2\""));
        for &(x, value) in &line.points {
            let told = format!(
                "{} at {}: {}",
                line.name,
                Unit::Number.tick(x),
                self.unit.value(value)
            );
            canvas.dot((across.x(x), y(value)), &format!("f{number}"), &told);
        }
    }
}

/// The values of x, and where they lie.
struct Across {
    values: Vec<f64>,
    is_log: bool,
}

impl Across {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        // Positive numbers are ordered as their bits are; a zero may have a sign.
        let bits: BTreeSet<u64> = values.map(|x| x.max(0.0).to_bits()).collect();
        let values: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
        let (least, most) = (values.first(), values.last());
        let is_log = matches!((least, most), (Some(least), Some(most)) if *least > 0.0 && most / least >= LOG_FROM);
        Self { values, is_log }
    }

    fn x(&self, value: f64) -> f64 {
        let at = |x: f64| if self.is_log { x.ln() } else { x };
        let least = at(self.values.first().copied().unwrap_or(0.0));
        let most = at(self.values.last().copied().unwrap_or(1.0));
        if most <= least {
            return (LEFT + RIGHT) / 2.0;
        }
        // Away from the edges, so that dots are whole.
        LEFT + 30.0 + (RIGHT - LEFT - 60.0) * (at(value) - least) / (most - least)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + '_ {
        let every = self.values.len().div_ceil(X_TICKS_MAX).max(1);
        self.values.iter().copied().step_by(every)
    }
}

fn point(d: &mut String, (x, y): (f64, f64)) {
    let to = if d.is_empty() { 'M' } else { 'L' };
    let _ = write!(d, "{to}{x:.1} {y:.1}");
}
