//! One series in steps over another, filled to the axis: a panel of a picture.

use std::fmt::Write;

use super::axis::{Axis, Unit};
use super::canvas::{Anchor, Canvas};

/// A series in steps.
#[derive(Clone, Debug)]
pub(crate) struct Area<'a> {
    pub(crate) name: &'a str,
    /// Number of its colour.
    pub(crate) series: usize,
    /// Where each value begins.
    pub(crate) x: &'a [f64],
    pub(crate) x_end: f64,
    pub(crate) x_unit: Unit,
    pub(crate) values: &'a [f64],
    pub(crate) unit: Unit,
    /// A dashed line with its name, where the axis reaches so far.
    pub(crate) mark: Option<(f64, &'a str)>,
}

impl Area<'_> {
    /// Draws it between two places, the panel's upper left and lower right; ticks and names stand outside.
    pub(crate) fn draw(
        &self,
        canvas: &mut Canvas,
        (left, top): (f64, f64),
        (right, bottom): (f64, f64),
    ) {
        let most = self.values.iter().copied().fold(0.0, f64::max);
        let axis = Axis::up_to(most.max(1.0), self.unit);
        let y = |value: f64| bottom - (bottom - top) * axis.share(value);
        let x = |value: f64| left + (right - left) * value / self.x_end.max(f64::MIN_POSITIVE);
        let at = (left, top - 12.0);
        canvas.words(
            at,
            Anchor::Start,
            (&format!("f{}", self.series), 14),
            self.name,
        );
        for tick in axis.ticks() {
            canvas.line((left, y(tick)), (right, y(tick)), "grid");
            let at = (left - 8.0, y(tick) + 4.0);
            canvas.words(at, Anchor::End, ("ink", 12), &self.unit.tick(tick));
        }
        let across = Axis::up_to(self.x_end, self.x_unit);
        for tick in across
            .ticks()
            .filter(|tick| *tick <= self.x_end * 1.000_001)
        {
            canvas.line((x(tick), bottom), (x(tick), bottom + 5.0), "axis");
            let at = (x(tick), bottom + 19.0);
            canvas.words(at, Anchor::Middle, ("ink", 12), &self.x_unit.tick(tick));
        }
        self.steps(canvas, &x, &y, bottom);
        canvas.line((left, bottom), (right, bottom), "axis");
        if let Some((value, name)) = self.mark.filter(|(value, _)| *value <= axis.end()) {
            let dashed = "class=\"axis none\" stroke-dasharray=\"5 4\"";
            canvas.path(&format!("M{left} {:.1}H{right}", y(value)), dashed);
            let at = (right - 4.0, y(value) - 5.0);
            canvas.words(at, Anchor::End, ("ink", 12), name);
        }
    }

    fn steps(
        &self,
        canvas: &mut Canvas,
        x: &dyn Fn(f64) -> f64,
        y: &dyn Fn(f64) -> f64,
        bottom: f64,
    ) {
        let mut steps = String::new();
        for (number, value) in self.values.iter().enumerate() {
            let from = self.x.get(number).copied().unwrap_or(self.x_end);
            let to = self.x.get(number + 1).copied().unwrap_or(self.x_end);
            let to_first = if number == 0 { 'M' } else { 'L' };
            let _ = write!(
                steps,
                "{to_first}{:.1} {:.1}H{:.1}",
                x(from),
                y(*value),
                x(to)
            );
        }
        if steps.is_empty() {
            return;
        }
        let first = x(self.x.first().copied().unwrap_or(0.0));
        let end = x(self.x_end);
        let series = self.series;
        canvas.path(
            &format!("{steps}L{end:.1} {bottom:.1}H{first:.1}Z"),
            &format!("class=\"f{series}\" fill-opacity=\"0.25\""),
        );
        canvas.path(
            &steps,
            &format!("class=\"l{series} none\" stroke-width=\"1.5\""),
        );
    }
}
