//! The results page: tables in Markdown and pictures, from the records of a folder. Measures nothing.

use std::path::Path;

use peerwren::chart::{Bar, Bars, Line, Lines, Picture, Unit};
use peerwren_benches::figures::{median, table};

use crate::record::{Record, csv, write};

/// Writes page, pictures and the table of all runs beside the records.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write_page(folder: &Path, records: &[Record]) -> Result<(), String> {
    for record in records {
        if let Some(picture) = picture(record) {
            let file = folder.join(format!("{}.svg", record.case));
            write(&file, &picture.alone())?;
        }
    }
    write(&folder.join("results.csv"), &csv(records))?;
    write(&folder.join("README.md"), &page(records))
}

fn page(records: &[Record]) -> String {
    let mut out = String::from(
        "# peerwren and its rivals\n\nMade by `rivals` (see benches/README.md): every figure is the median of runs \
         that alternate with those of all other sides of its case. Ratios above 1: peerwren is faster. GFLOP/s \
         are by LAPACK's count of flops. `results.csv` has every run, the JSON files what was tried besides.\n",
    );
    let mut origins: Vec<String> = Vec::new();
    for record in records {
        let Record {
            day,
            machine,
            packages,
            peerwren,
            ..
        } = record;
        let origin = format!("\n- {day}, {machine}\n- {packages}\n- {peerwren}\n");
        if !origins.contains(&origin) {
            out.push_str(&origin);
            origins.push(origin);
        }
    }
    out.push_str(&format!("\n## Targets\n\n{}\n", targets(records)));
    for record in records {
        out.push_str(&section(record));
    }
    out
}

/// What is asked for, what was measured, and whether it is met.
pub(crate) fn targets(records: &[Record]) -> String {
    let met = |is_met: bool| if is_met { "yes" } else { "no" };
    let mut rows = Vec::new();
    for record in records {
        for wanted in &record.targets {
            let Some(ratio) = record.ratio(wanted) else {
                continue;
            };
            rows.push(format!(
                "| {} | {} | {} | {:.2} | {ratio:.2} | {} |",
                record.title,
                wanted.side,
                wanted.rival,
                wanted.ratio,
                met(ratio >= wanted.ratio)
            ));
        }
        for figure in &record.figures {
            if let Some((target, is_met)) = figure.target() {
                rows.push(format!(
                    "| {} | peerwren | {target} |  | {:.2} {} | {} |",
                    figure.name,
                    figure.value,
                    figure.unit,
                    met(is_met)
                ));
            }
        }
    }
    table(
        "| work | side | rival | asked for | measured | met |",
        &rows,
    )
}

fn section(record: &Record) -> String {
    let Record {
        title,
        command,
        others,
        ..
    } = record;
    let mut out = format!(
        "\n## {title}\n\n    {command}\n\nOthers took {others:.1}% of the CPUs meanwhile.\n\n"
    );
    if !record.sides.is_empty() {
        out.push_str(&sides(record));
        out.push('\n');
    }
    if !record.figures.is_empty() {
        let rows = record.figures.iter().map(|figure| {
            let target = figure
                .target()
                .map_or_else(String::new, |(target, _)| target);
            format!(
                "| {} | {:.3} {} | {target} |",
                figure.name, figure.value, figure.unit
            )
        });
        let rows: Vec<String> = rows.collect();
        out.push_str(&table("| figure | measured | asked for |", &rows));
        out.push('\n');
    }
    if picture(record).is_some() {
        out.push_str(&format!("\n![{}]({}.svg)\n", record.title, record.case));
    }
    out
}

/// A row for each side.
pub(crate) fn sides(record: &Record) -> String {
    let best = best_own(record);
    let rows: Vec<String> = record
        .sides
        .iter()
        .map(|side| {
            let seconds = median(&side.seconds);
            let ratio = best
                .filter(|_| !side.name.starts_with("peerwren"))
                .map_or_else(String::new, |best| format!("{:.2}", seconds / best));
            let moved = side.bytes.filter(|_| record.matrix_bytes > 0.0);
            let moved = moved.map_or_else(String::new, |bytes| {
                format!("{:.3}", bytes / record.matrix_bytes)
            });
            format!(
                "| {} | {} | {} | {seconds:.3} | {:.1} | {ratio} | {moved} |",
                side.name,
                side.setting,
                side.with,
                record.rate(side)
            )
        })
        .collect();
    table(
        "| side | best setting | kernels or tree | s | GFLOP/s | peerwren's best is faster by | moved, times the \
         matrix |",
        &rows,
    )
}

/// peerwren's best median.
fn best_own(record: &Record) -> Option<f64> {
    let own = record
        .sides
        .iter()
        .filter(|side| side.name.starts_with("peerwren"));
    own.map(|side| median(&side.seconds)).min_by(f64::total_cmp)
}

fn picture(record: &Record) -> Option<Picture> {
    if record.sides.is_empty() {
        return None;
    }
    let rates = "GFLOP/s by LAPACK's count";
    if record.over.is_empty() {
        let bars = record.sides.iter().map(|side| {
            let rate = |seconds: f64| record.flops / seconds * 1e-9;
            let all = side.seconds.iter().copied();
            let slowest = all.clone().fold(0.0, f64::max);
            let fastest = all.fold(f64::INFINITY, f64::min);
            Bar {
                label: side.name.clone(),
                values: vec![record.rate(side)],
                range: Some((rate(slowest), rate(fastest))),
            }
        });
        let bars = Bars {
            title: record.title.clone(),
            axis: rates.to_owned(),
            unit: Unit::Number,
            parts: vec![rates.to_owned()],
            bars: bars.collect(),
        };
        return Some(bars.draw());
    }
    let mut lines: Vec<Line> = Vec::new();
    for side in &record.sides {
        let point = (side.on.x, record.rate(side));
        match lines.iter_mut().find(|line| line.name == side.on.line) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                name: side.on.line.clone(),
                points: vec![point],
            }),
        }
    }
    let lines = Lines {
        title: record.title.clone(),
        x_name: record.over.clone(),
        y_name: rates.to_owned(),
        unit: Unit::Number,
        lines,
        in_proportion: record.case == "workers",
    };
    Some(lines.draw())
}
