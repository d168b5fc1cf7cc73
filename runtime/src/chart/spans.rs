//! What lasted when, on lanes over one time.

use std::fmt::Write;

use super::axis::{Axis, Unit};
use super::canvas::{Anchor, Canvas, Picture, width_of};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 880.0;
/// Height of a lane that is one of a group's, and room between groups.
const LANE: f64 = 13.0;
const THIN: f64 = 6.0;
const BETWEEN: f64 = 7.0;
/// Spans of one colour that are nearer to each other than this are drawn as one: so a lane has at most
/// 770 / 0.6 of them, some 20 kB.
const NEAR: f64 = 0.6;

/// Lanes by group.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    pub(crate) title: String,
    /// Names of the colours; at most [`super::SERIES_MAX`].
    pub(crate) series: Vec<String>,
    /// Seconds at which the last span ends.
    pub(crate) end: f64,
    /// What begins when, across all lanes.
    pub(crate) marks: Vec<(String, f64)>,
    pub(crate) lanes: Vec<Lane>,
}

/// One lane.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// Name of the group that begins here; empty within one.
    pub(crate) group: String,
    pub(crate) is_thin: bool,
    /// By when they begin.
    pub(crate) spans: Vec<Span>,
}

/// What lasted from when to when, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) series: usize,
    pub(crate) begin: f64,
    pub(crate) end: f64,
}

impl Spans {
    pub(crate) fn draw(&self) -> Picture {
        let legend_at = (20.0, RIGHT);
        let top = 44.0 + Canvas::legend_height(legend_at, &self.series) + 18.0;
        let heights = self.lanes.iter().map(|lane| lane.height() + lane.gap());
        let bottom = top + heights.sum::<f64>() + 6.0;
        let mut canvas = Canvas::new(WIDTH, bottom + 50.0, &self.title);
        canvas.words((20.0, 28.0), Anchor::Start, ("ink", 16), &self.title);
        canvas.legend(44.0, legend_at, &self.series);
        let axis = Axis::up_to(self.end, Unit::Seconds);
        let x = |value: f64| LEFT + (RIGHT - LEFT) * value / self.end.max(f64::MIN_POSITIVE);
        for tick in axis.ticks().filter(|tick| *tick <= self.end * 1.000_001) {
            canvas.line((x(tick), top), (x(tick), bottom), "grid");
            let at = (x(tick), bottom + 18.0);
            canvas.words(at, Anchor::Middle, ("ink", 12), &Unit::Seconds.tick(tick));
        }
        let mut y = top;
        for lane in &self.lanes {
            y += lane.gap();
            if !lane.group.is_empty() {
                let at = (LEFT - 10.0, y + LANE - 2.5);
                canvas.words(at, Anchor::End, ("ink", 12), &lane.group);
            }
            lane.draw(&mut canvas, y, &x);
            y += lane.height();
        }
        let mut free = LEFT;
        for (name, begin) in &self.marks {
            let x = x(*begin).clamp(LEFT, RIGHT);
            let dashed = "class=\"axis none\" stroke-dasharray=\"3 4\"";
            canvas.path(&format!("M{x:.1} {:.1}V{bottom:.1}", top - 8.0), dashed);
            // Names that would cover the last one are left out.
            if x >= free {
                canvas.words((x + 3.0, top - 3.0), Anchor::Start, ("faint", 11), name);
                free = x + width_of(name, 11) + 8.0;
            }
        }
        canvas.line((LEFT, bottom), (RIGHT, bottom), "axis");
        let at = ((LEFT + RIGHT) / 2.0, bottom + 40.0);
        canvas.words(
            at,
            Anchor::Middle,
            ("faint", 13),
            "time since the first task",
        );
        canvas.finish()
    }
}

impl Lane {
    fn height(&self) -> f64 {
        if self.is_thin { THIN } else { LANE }
    }

    fn gap(&self) -> f64 {
        if self.group.is_empty() { 1.0 } else { BETWEEN }
    }

    fn draw(&self, canvas: &mut Canvas, y: f64, x: &dyn Fn(f64) -> f64) {
        let height = self.height();
        // One path a colour: a box each would be four times as long.
        for series in 0..super::SERIES_MAX {
            let mut d = String::new();
            let mut drawn: Option<(f64, f64)> = None;
            let spans = self.spans.iter().filter(|span| span.series == series);
            for (begin, end) in spans.map(|span| (x(span.begin), x(span.end))) {
                drawn = match drawn {
                    Some((from, to)) if begin - to < NEAR => Some((from, to.max(end))),
                    Some(done) => {
                        push(&mut d, done, (y, height));
                        Some((begin, end))
                    }
                    None => Some((begin, end)),
                };
            }
            if let Some(last) = drawn {
                push(&mut d, last, (y, height));
                canvas.path(&d, &format!("class=\"f{series}\""));
            }
        }
    }
}

fn push(d: &mut String, (from, to): (f64, f64), (y, height): (f64, f64)) {
    // What is shorter than a dot is still seen.
    let width = (to - from).max(0.3);
    let _ = write!(d, "M{from:.1} {y:.1}h{width:.1}v{height:.1}h-{width:.1}z");
}
