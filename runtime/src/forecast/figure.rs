//! A forecast's profile as a picture: tasks that can run at once and the working set, level by level.

use super::Forecast;
use crate::chart::{Anchor, Area, Canvas, Unit};
use crate::report::grouped;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 600.0;
/// Left and right of both panels.
const LEFT: f64 = 90.0;
const RIGHT: f64 = 875.0;
/// Height of a panel, and where each begins.
const PANEL: f64 = 190.0;
const TOPS: [f64; 2] = [100.0, 345.0];

/// The profile as SVG; without levels where the plan has too many tasks for a profile.
#[must_use]
pub fn draw(forecast: &Forecast) -> String {
    let title = format!(
        "{} of {}: {} x {}",
        forecast.command, forecast.plan.input, forecast.m, forecast.n
    );
    let mut canvas = Canvas::new(WIDTH, HEIGHT, &title);
    canvas.words((LEFT, 32.0), Anchor::Start, ("ink", 19), &title);
    let figures = &forecast.figures;
    let profile = &figures.profile;
    let subtitle = format!(
        "{} ({}): {} tasks in {} levels",
        forecast.programs(),
        forecast.tiles(),
        grouped(figures.tasks),
        grouped(profile.levels)
    );
    canvas.words((LEFT, 54.0), Anchor::Start, ("ink", 13), &subtitle);
    let cores = u64::from(forecast.workers) * u64::from(forecast.cores);
    let cores_named = format!("{} cores", grouped(cores));
    let levels = floats(&profile.level);
    let panels = [
        (
            "tasks that can run at once",
            &profile.tasks,
            Unit::Count,
            Some((cores as f64, cores_named.as_str())),
        ),
        (
            "working set",
            &profile.live_bytes,
            Unit::of_bytes(profile.live_bytes_max as f64),
            None,
        ),
    ];
    for (number, (name, values, unit, mark)) in panels.into_iter().enumerate() {
        let area = Area {
            name,
            series: if number == 0 { 0 } else { 3 },
            x: &levels,
            x_end: profile.levels.max(1) as f64,
            x_unit: Unit::Count,
            values: &floats(values),
            unit,
            mark,
        };
        let top = TOPS[number];
        area.draw(&mut canvas, (LEFT, top), (RIGHT, top + PANEL));
    }
    let at = ((LEFT + RIGHT) / 2.0, TOPS[1] + PANEL + 42.0);
    let what = "level: one after the last that a task waits for";
    canvas.words(at, Anchor::Middle, ("ink", 13), what);
    canvas.finish().alone()
}

fn floats(values: &[u64]) -> Vec<f64> {
    values.iter().map(|value| *value as f64).collect()
}
