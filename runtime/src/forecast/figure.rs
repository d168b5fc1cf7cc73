//! A forecast's profile as a picture: tasks that can run at once and the working set, level by level.

use std::fmt::Write;

use super::Forecast;
use crate::options::ByteSize;
use crate::report::grouped;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 600.0;
/// Left and right of both panels.
const LEFT: f64 = 90.0;
const RIGHT: f64 = 875.0;
/// Height of a panel, and where each begins.
const PANEL: f64 = 190.0;
const TOPS: [f64; 2] = [100.0, 345.0];
/// Ticks that an axis has at most, about.
const TICKS: f64 = 5.0;
const TASKS_COLOR: &str = "#1f6fb4";
const BYTES_COLOR: &str = "#c4661f";
const TEXT_COLOR: &str = "#333333";
const LINE_COLOR: &str = "#dddddd";

/// The profile as SVG; without levels where the plan has too many tasks for a profile.
#[must_use]
pub fn draw(forecast: &Forecast) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} \
         {HEIGHT}\" font-family=\"Helvetica, Arial, sans-serif\" fill=\"{TEXT_COLOR}\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"
    );
    let title = format!(
        "{} of {}: {} x {}",
        forecast.command, forecast.plan.input, forecast.m, forecast.n
    );
    text(&mut out, (LEFT, 32.0), "font-size=\"19\"", &title);
    let figures = &forecast.figures;
    let levels = figures.profile.levels;
    let subtitle = format!(
        "{} ({}): {} tasks in {} levels",
        forecast.programs(),
        forecast.tiles(),
        grouped(figures.tasks),
        grouped(levels)
    );
    text(&mut out, (LEFT, 54.0), "font-size=\"13\"", &subtitle);
    let profile = &figures.profile;
    let panel = |number: usize, name: &'static str, color, values, unit| Panel {
        top: TOPS[number],
        name,
        color,
        levels: (&profile.level, levels),
        values,
        unit,
    };
    let cores = u64::from(forecast.workers) * u64::from(forecast.cores);
    let parallelism = panel(
        0,
        "tasks that can run at once",
        TASKS_COLOR,
        &profile.tasks,
        Unit::Count,
    );
    parallelism.draw(&mut out);
    parallelism.mark(&mut out, cores, &format!("{} cores", grouped(cores)));
    let unit = Unit::of_bytes(profile.live_bytes_max);
    let working_set = panel(1, "working set", BYTES_COLOR, &profile.live_bytes, unit);
    working_set.draw(&mut out);
    let at = ((LEFT + RIGHT) / 2.0, TOPS[1] + PANEL + 42.0);
    let of = "font-size=\"13\" text-anchor=\"middle\"";
    text(
        &mut out,
        at,
        of,
        "level: one after the last that a task waits for",
    );
    out.push_str("</svg>\n");
    out
}

/// What an axis counts in.
#[derive(Clone, Copy)]
enum Unit {
    Count,
    Bytes(u64),
}

impl Unit {
    /// The largest unit that the value has one of.
    fn of_bytes(most: u64) -> Self {
        let units = [1 << 40, 1 << 30, 1 << 20, 1 << 10];
        Self::Bytes(units.into_iter().find(|unit| most >= *unit).unwrap_or(1))
    }

    fn scale(self) -> f64 {
        match self {
            Self::Count => 1.0,
            Self::Bytes(unit) => unit as f64,
        }
    }

    fn name(self, value: f64) -> String {
        match self {
            Self::Count => grouped(value as u64),
            Self::Bytes(_) => ByteSize(value as u64).to_string(),
        }
    }
}

/// One series over the levels.
struct Panel<'a> {
    top: f64,
    name: &'static str,
    color: &'static str,
    /// The first level of each point, and how many there are.
    levels: (&'a [u64], u64),
    values: &'a [u64],
    unit: Unit,
}

impl Panel<'_> {
    fn most(&self) -> u64 {
        self.values.iter().copied().max().unwrap_or(0).max(1)
    }

    /// The axis' end: the tick at or above all values.
    fn end(&self) -> f64 {
        let step = step(self.most() as f64 / self.unit.scale()) * self.unit.scale();
        (self.most() as f64 / step).ceil() * step
    }

    fn x(&self, level: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * level as f64 / self.levels.1.max(1) as f64
    }

    fn y(&self, value: f64) -> f64 {
        self.top + PANEL * (1.0 - value / self.end())
    }

    fn draw(&self, out: &mut String) {
        let at = (LEFT, self.top - 12.0);
        let of = format!("font-size=\"14\" fill=\"{}\"", self.color);
        text(out, at, &of, self.name);
        let step_y = step(self.most() as f64 / self.unit.scale()) * self.unit.scale();
        for tick in (0..=20).map(|n| f64::from(n) * step_y) {
            // Sums of steps are not exact.
            if tick > self.end() * 1.000_001 {
                break;
            }
            let y = self.y(tick);
            line(out, (LEFT, y), (RIGHT, y), LINE_COLOR);
            let of = "font-size=\"12\" text-anchor=\"end\"";
            text(out, (LEFT - 8.0, y + 4.0), of, &self.unit.name(tick));
        }
        let bottom = self.top + PANEL;
        let step_x = step(self.levels.1 as f64).max(1.0) as u64;
        for tick in (0..=self.levels.1).step_by(step_x as usize) {
            let x = self.x(tick);
            line(out, (x, bottom), (x, bottom + 5.0), TEXT_COLOR);
            let of = "font-size=\"12\" text-anchor=\"middle\"";
            text(out, (x, bottom + 19.0), of, &grouped(tick));
        }
        self.area(out, bottom);
        line(out, (LEFT, bottom), (RIGHT, bottom), TEXT_COLOR);
    }

    /// The values as steps, filled to the axis.
    fn area(&self, out: &mut String, bottom: f64) {
        let (first, end) = self.levels;
        let mut steps = String::new();
        for (point, value) in self.values.iter().enumerate() {
            let from = first.get(point).copied().unwrap_or(end);
            let to = first.get(point + 1).copied().unwrap_or(end);
            let y = self.y(*value as f64);
            let _ = write!(
                steps,
                "{:.1} {y:.1} {:.1} {y:.1} ",
                self.x(from),
                self.x(to)
            );
        }
        if steps.is_empty() {
            return;
        }
        let (steps, color) = (steps.trim_end(), self.color);
        let _ = writeln!(
            out,
            "<polygon points=\"{LEFT} {bottom} {steps} {RIGHT} {bottom}\" fill=\"{color}\" fill-opacity=\"0.25\"/>\n\
             <polyline points=\"{steps}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>"
        );
    }

    /// A dashed line with its name, where the axis reaches so far.
    fn mark(&self, out: &mut String, value: u64, name: &str) {
        if value as f64 > self.end() {
            return;
        }
        let y = self.y(value as f64);
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"{TEXT_COLOR}\" stroke-dasharray=\"5 4\" fill=\"none\"/>"
        );
        let of = "font-size=\"12\" text-anchor=\"end\"";
        text(out, (RIGHT - 4.0, y - 5.0), of, name);
    }
}

/// The distance of ticks up to a value: 1, 2 or 5 times a power of ten.
fn step(most: f64) -> f64 {
    let rough = (most / TICKS).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let found = steps.into_iter().find(|step| *step >= rough * 0.999);
    found.unwrap_or(10.0 * power)
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), color: &str) {
    let _ = writeln!(
        out,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"{color}\" fill=\"none\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, (x, y): (f64, f64), attributes: &str, words: &str) {
    let words = words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    // Nothing else below a space may stand in XML, whatever a file is called.
    let words = words.replace(|c: char| c.is_control(), "\u{fffd}");
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{words}</text>"
    );
}
