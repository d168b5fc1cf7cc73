//! Bars that lie, each in parts one after the other: sums by what they are made of.

use super::axis::{Axis, Unit};
use super::canvas::{Anchor, Canvas, Picture, width_of};

const WIDTH: f64 = 900.0;
/// Room for labels at most; longer ones take two lines, and end in dots after that.
const LABELS_MAX: f64 = 350.0;
/// Room behind the longest bar for its sum.
const SUMS: f64 = 80.0;
/// From one bar to the next, and the thickness of one.
const PITCH: f64 = 28.0;
const THICK: f64 = 17.0;
const LABEL_SIZE: u32 = 12;

/// Bars of one unit.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What stands above.
    pub title: String,
    /// What the axis counts.
    pub axis: String,
    /// What the axis counts in.
    pub unit: Unit,
    /// Names of the parts, in their order; at most [`super::SERIES_MAX`]. One part needs no name.
    pub parts: Vec<String>,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What stands left of it.
    pub label: String,
    /// As long as [`Bars::parts`].
    pub values: Vec<f64>,
    /// The least and the most that the sum was, where it was measured several times.
    pub range: Option<(f64, f64)>,
}

impl Bar {
    fn sum(&self) -> f64 {
        self.values.iter().sum()
    }

    fn most(&self) -> f64 {
        self.range.map_or(self.sum(), |(_, most)| most)
    }
}

impl Bars {
    /// Draws them.
    #[must_use]
    pub fn draw(&self) -> Picture {
        let longest = self.bars.iter().map(|bar| width_of(&bar.label, LABEL_SIZE));
        let left = longest.fold(60.0, f64::max).min(LABELS_MAX) + 20.0;
        let right = WIDTH - SUMS;
        let legend: &[String] = if self.parts.len() > 1 {
            &self.parts
        } else {
            &[]
        };
        let legend_at = (20.0, WIDTH - 20.0);
        let top = 46.0
            + if legend.is_empty() {
                0.0
            } else {
                Canvas::legend_height(legend_at, legend)
            };
        let bottom = top + PITCH * self.bars.len() as f64;
        let mut canvas = Canvas::new(WIDTH, bottom + 52.0, &self.title);
        canvas.words((20.0, 28.0), Anchor::Start, ("ink", 16), &self.title);
        if !legend.is_empty() {
            canvas.legend(44.0, legend_at, legend);
        }
        let most = self.bars.iter().map(Bar::most).fold(0.0, f64::max);
        let axis = Axis::up_to(most, self.unit);
        // The axis need not reach its next tick: bars fill the width.
        let x = |value: f64| left + (right - left) * value / most.max(f64::MIN_POSITIVE);
        for tick in axis.ticks().filter(|tick| *tick <= most * 1.02) {
            canvas.line((x(tick), top), (x(tick), bottom), "grid");
            let at = (x(tick), bottom + 17.0);
            canvas.words(at, Anchor::Middle, ("ink", 12), &self.unit.tick(tick));
        }
        for (number, bar) in self.bars.iter().enumerate() {
            let y = top + PITCH * number as f64 + (PITCH - THICK) / 2.0;
            label(&mut canvas, (left - 10.0, y), &bar.label);
            self.bar(&mut canvas, bar, y, &x);
        }
        canvas.line((left, top), (left, bottom), "axis");
        let at = ((left + right) / 2.0, bottom + 38.0);
        canvas.words(at, Anchor::Middle, ("faint", 13), &self.axis);
        canvas.finish()
    }

    fn bar(&self, canvas: &mut Canvas, bar: &Bar, y: f64, x: &dyn Fn(f64) -> f64) {
        let mut from = 0.0;
        for (part, value) in bar.values.iter().enumerate() {
            if *value > 0.0 {
                let class = format!("f{part}");
                let name = self.parts.get(part).map_or("", String::as_str);
                let told = format!("{}: {name} {}", bar.label, self.unit.value(*value));
                let size = (x(from + value) - x(from), THICK);
                canvas.rect((x(from), y), size, (&class, 1.0), &told);
            }
            from += value;
        }
        let middle = y + THICK / 2.0;
        if let Some((least, most)) = bar.range.filter(|(least, most)| most > least) {
            canvas.line((x(least), middle), (x(most), middle), "axis");
            for end in [least, most] {
                canvas.line((x(end), middle - 4.0), (x(end), middle + 4.0), "axis");
            }
        }
        let at = (x(bar.most()) + 6.0, middle + 4.0);
        canvas.words(at, Anchor::Start, ("ink", 12), &self.unit.value(bar.sum()));
    }
}

/// A label in one line or two, right of which its bar begins.
fn label(canvas: &mut Canvas, (x, y): (f64, f64), words: &str) {
    let lines = broken(words, LABELS_MAX);
    let first = y + if lines.len() == 1 { 13.0 } else { 6.5 };
    for (number, line) in lines.iter().enumerate() {
        let at = (x, first + 13.0 * number as f64);
        canvas.words(at, Anchor::End, ("ink", LABEL_SIZE), line);
    }
}

/// Words in at most two lines of a width; what does not fit ends in dots.
fn broken(words: &str, width: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        let last = lines.last_mut().expect("never empty");
        let longer = if last.is_empty() {
            word.to_owned()
        } else {
            format!("{last} {word}")
        };
        if width_of(&longer, LABEL_SIZE) <= width || last.is_empty() {
            *last = longer;
        } else {
            lines.push(word.to_owned());
        }
    }
    let more = lines.len() > 2;
    lines.truncate(2);
    let letters_max = (width / width_of("m", LABEL_SIZE)) as usize;
    let count = lines.len();
    for (number, line) in lines.iter_mut().enumerate() {
        if line.chars().count() > letters_max || more && number + 1 == count {
            let kept: String = line.chars().take(letters_max.saturating_sub(1)).collect();
            *line = format!("{kept}\u{2026}");
        }
    }
    lines
}
