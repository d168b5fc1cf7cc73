//! Which pictures an experiment has: those that say something about what varies in it.

use std::collections::BTreeSet;

use super::grid::shown;
use super::results::{
    Figure, PointResults, Results, factor_s, matrix_bytes, peer, store_read, store_written,
    times_matrix,
};
use crate::chart::{Bar, Bars, Line, Lines, Picture, SERIES_MAX, Unit};
use crate::report::Report;
use crate::report::pictures::{SOURCES, pairs, profile};
use crate::trace::Timeline;

/// Bars that a picture has: 48 of 28 are 1,344 high.
const BARS_MAX: usize = 48;
/// Values of a number that are worth a line.
const VALUES_MIN: usize = 3;
/// What is worth a line by its first two values, since everyone asks how it scales.
const SCALES: [&str; 2] = ["workers", "cores"];

impl Results<'_> {
    /// The pictures, each with the name of its file.
    pub(super) fn pictures(&self) -> Vec<(&'static str, Picture)> {
        let points: Vec<_> = self.points();
        let points: Vec<_> = points
            .into_iter()
            .filter(|point| !point.reports.is_empty())
            .collect();
        let x = self.x(&points);
        let over_x = x.as_deref().and_then(|x| self.time_over(x, &points));
        let time = over_x.or_else(|| self.time_bars(&points));
        let scaling = x.as_deref().filter(|x| SCALES.contains(x));
        let scaling = scaling.and_then(|x| self.scaling(x, &points));
        let shown = points
            .iter()
            .find(|point| Some(point.number) == self.experiment.show);
        let shown = shown.and_then(|point| point.reports.first());
        let pictures = [
            ("bytes", self.bytes(&points)),
            ("time", time),
            ("scaling", scaling),
            ("timeline", self.timeline.and_then(Timeline::draw)),
            ("profile", shown.and_then(|report| profile(report))),
            ("pairs", shown.and_then(|report| pairs(report))),
        ];
        let drawn = pictures.into_iter();
        drawn
            .filter_map(|(name, picture)| Some((name, picture?)))
            .collect()
    }

    /// What moved at each point, by source.
    fn bytes(&self, points: &[PointResults<'_>]) -> Option<Picture> {
        let all = points.iter().flat_map(|point| &point.reports);
        let matrices: BTreeSet<u64> = all.map(|report| matrix_bytes(report) as u64).collect();
        // One matrix: its size is the measure that says something.
        let in_times = matrices.len() == 1 && !matrices.contains(&0);
        let figures: [Figure; 3] = if in_times {
            [
                |r| times_matrix(r, peer(r)),
                |r| times_matrix(r, store_read(r)),
                |r| times_matrix(r, store_written(r)),
            ]
        } else {
            [peer, store_read, store_written]
        };
        let bars: Vec<Bar> = points
            .iter()
            .map(|point| Bar {
                label: self.experiment.label(point.number),
                values: figures.iter().map(|figure| point.median(*figure)).collect(),
                range: None,
            })
            .collect();
        let sums = bars.iter().map(|bar| bar.values.iter().sum());
        let most = sums.fold(0.0, f64::max);
        let (axis, unit) = if in_times {
            ("times the matrix", Unit::Times)
        } else {
            ("bytes", Unit::of_bytes(most))
        };
        let bars = Bars {
            title: "Bytes by source".to_owned(),
            axis: axis.to_owned(),
            unit,
            parts: SOURCES.map(str::to_owned).to_vec(),
            bars,
        };
        (most > 0.0 && bars.bars.len() <= BARS_MAX).then(|| bars.draw())
    }

    fn time_bars(&self, points: &[PointResults<'_>]) -> Option<Picture> {
        let bar = |point: &PointResults<'_>| Bar {
            label: self.experiment.label(point.number),
            values: vec![point.median(factor_s)],
            range: point.range(factor_s),
        };
        let bars = Bars {
            title: "Time of the computation".to_owned(),
            axis: "seconds, startup aside".to_owned(),
            unit: Unit::Seconds,
            parts: vec!["time".to_owned()],
            bars: points.iter().map(bar).collect(),
        };
        (1..=BARS_MAX)
            .contains(&bars.bars.len())
            .then(|| bars.draw())
    }

    fn time_over(&self, x: &str, points: &[PointResults<'_>]) -> Option<Picture> {
        let lines = self.lines(x, points, factor_s)?;
        let lines = Lines {
            title: format!("Time of the computation by {}", shown(x)),
            x_name: shown(x).to_owned(),
            y_name: "seconds, startup aside".to_owned(),
            unit: Unit::Seconds,
            lines,
            in_proportion: false,
        };
        Some(lines.draw())
    }

    fn scaling(&self, x: &str, points: &[PointResults<'_>]) -> Option<Picture> {
        let lines = Lines {
            title: format!("Speed by {}", shown(x)),
            x_name: shown(x).to_owned(),
            y_name: "GFLOP/s; dashed: in proportion".to_owned(),
            unit: Unit::Number,
            lines: self.lines(x, points, Report::gflops)?,
            in_proportion: true,
        };
        Some(lines.draw())
    }

    /// The option to draw lines over: workers or cores where they vary, else the number with the most values.
    fn x(&self, points: &[PointResults<'_>]) -> Option<String> {
        let values = |name: &str| {
            let values = points.iter().map(|point| number(point, name));
            let values: Option<BTreeSet<u64>> = values.map(|x| x.map(f64::to_bits)).collect();
            values.map_or(0, |values| values.len())
        };
        let varied = &self.experiment.varied;
        let scale = varied
            .iter()
            .find(|name| SCALES.contains(&name.as_str()) && values(name) >= 2);
        let most = || {
            let counted = varied.iter().map(|name| (values(name), name)).rev();
            let most = counted.max_by_key(|(count, _)| *count);
            most.filter(|(count, _)| *count >= VALUES_MIN)
                .map(|(_, name)| name)
        };
        scale.or_else(most).cloned()
    }

    /// A line for each combination of the rest of what varies; none where there are too many of them.
    fn lines(&self, x: &str, points: &[PointResults<'_>], figure: Figure) -> Option<Vec<Line>> {
        let mut lines: Vec<Line> = Vec::new();
        for point in points {
            let name = self.experiment.label_without(point.number, &[x]);
            let at = (number(point, x)?, point.median(figure));
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(at),
                None => lines.push(Line {
                    name,
                    points: vec![at],
                }),
            }
        }
        for line in &mut lines {
            line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        let has_lines = lines.iter().any(|line| line.points.len() > 1);
        (has_lines && lines.len() <= SERIES_MAX).then_some(lines)
    }
}

/// An option's value as a number that is not below 0.
fn number(point: &PointResults<'_>, name: &str) -> Option<f64> {
    let value: f64 = point.point.value(name)?.parse().ok()?;
    // A zero has one form.
    (value.is_finite() && value >= 0.0).then_some(value + 0.0)
}
