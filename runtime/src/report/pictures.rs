//! Figures of reports as pictures: what moved between whom, and what ran when.

use std::collections::BTreeSet;

use super::{ByteCounts, Report};
use crate::chart::{Anchor, Area, Bar, Bars, Canvas, Heat, Picture, Unit};

/// Workers that have a bar each: 40 of 28 are 1,120 high.
const WORKERS_MAX: usize = 40;

/// Names of [`moved`]'s parts.
pub(crate) const SOURCES: [&str; 3] = [
    "between workers",
    "read from the store",
    "written to the store",
];

/// Bytes that moved, in the order of [`SOURCES`].
pub(crate) fn moved(bytes: &ByteCounts) -> [f64; 3] {
    [bytes.peer, bytes.store_read, bytes.store_written].map(|count| count as f64)
}

/// What moved in each phase and, where there are not too many, to each worker.
pub(super) fn by_source(report: &Report) -> Vec<Picture> {
    let phases = [
        ("factorization", &report.factor),
        ("forming Q", &report.q),
        ("checking", &report.check),
    ];
    let phases: Vec<_> = phases
        .iter()
        .filter(|(_, phase)| phase.tasks > 0)
        .map(|(name, phase)| ((*name).to_owned(), phase.bytes))
        .collect();
    let workers = report.factor.per_worker.iter().take(WORKERS_MAX);
    let workers: Vec<_> = workers
        .map(|worker| {
            let lost = if worker.lost { " (lost)" } else { "" };
            (format!("worker {}{lost}", worker.id), worker.bytes)
        })
        .collect();
    let mut title = "Factorization: bytes by worker that received or wrote them".to_owned();
    if report.factor.per_worker.len() > WORKERS_MAX {
        title.push_str(&format!(", the first {WORKERS_MAX}"));
    }
    let pictures = [
        bytes("Bytes by source".to_owned(), phases),
        bytes(title, workers),
    ];
    pictures.into_iter().flatten().collect()
}

fn bytes(title: String, counts: Vec<(String, ByteCounts)>) -> Option<Picture> {
    let most = |(_, bytes): &(String, ByteCounts)| moved(bytes).iter().sum::<f64>();
    let most = counts.iter().map(most).fold(0.0, f64::max);
    let bar = |(label, bytes): (String, ByteCounts)| Bar {
        label,
        values: moved(&bytes).to_vec(),
        range: None,
    };
    let bars = Bars {
        title,
        axis: "bytes".to_owned(),
        unit: Unit::of_bytes(most),
        parts: SOURCES.map(str::to_owned).to_vec(),
        bars: counts.into_iter().map(bar).collect(),
    };
    (most > 0.0).then(|| bars.draw())
}

/// Who gave whom how much; nothing where workers gave each other nothing.
pub(crate) fn pairs(report: &Report) -> Option<Picture> {
    let moves = &report.factor.moved_by_pair;
    let ids: BTreeSet<u32> = moves.iter().flat_map(|pair| [pair.from, pair.to]).collect();
    let ids: Vec<u32> = ids.into_iter().collect();
    let place = |id: u32| ids.binary_search(&id).expect("every number is among them");
    let values = moves
        .iter()
        .map(|pair| (place(pair.from), place(pair.to), pair.bytes as f64));
    let heat = Heat {
        title: "Bytes between pairs of workers".to_owned(),
        row_name: "giver".to_owned(),
        column_name: "receiver".to_owned(),
        values: values.collect(),
        ids: ids.clone(),
    };
    (!moves.is_empty()).then(|| heat.draw())
}

/// Parallelism and workers over the run; nothing where it was too short for it.
pub(crate) fn profile(report: &Report) -> Option<Picture> {
    const LEFT: f64 = 90.0;
    const RIGHT: f64 = 870.0;
    const PANEL: f64 = 110.0;
    const PITCH: f64 = 175.0;
    let profile = &report.profile;
    let end = *profile.t_s.last()?;
    if end <= 0.0 {
        return None;
    }
    let workers: Vec<f64> = profile
        .workers
        .iter()
        .map(|count| f64::from(*count))
        .collect();
    let counts = |values: &[u64]| values.iter().map(|count| *count as f64).collect::<Vec<_>>();
    let (ready, running) = (counts(&profile.ready), counts(&profile.running));
    let mut panels = vec![
        ("tasks that ran or could have", 0, ready),
        ("tasks that workers' threads had", 2, running),
    ];
    // A flat line tells nothing.
    if workers.iter().any(|count| *count != workers[0]) {
        panels.push(("workers", 3, workers));
    }
    let height = 62.0 + PITCH * panels.len() as f64;
    let title = "Parallelism over time";
    let mut canvas = Canvas::new(900.0, height, title);
    canvas.words((20.0, 28.0), Anchor::Start, ("ink", 16), title);
    for (number, (name, series, values)) in panels.iter().enumerate() {
        let top = 72.0 + PITCH * number as f64;
        let area = Area {
            name,
            series: *series,
            x: &profile.t_s,
            x_end: end,
            x_unit: Unit::Seconds,
            values,
            unit: Unit::Count,
            mark: None,
        };
        area.draw(&mut canvas, (LEFT, top), (RIGHT, top + PANEL));
    }
    Some(canvas.finish())
}
