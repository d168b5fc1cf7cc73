//! An experiment's tables: all runs as CSV, medians by point as Markdown.

use super::grid::shown;
use super::results::{
    Figure, Measured, PointResults, Results, core_seconds, dollars, factor_s, matrix_bytes, peer,
    store_read, store_requests, store_written, times_matrix,
};
use crate::chart::Unit;
use crate::options::ByteSize;
use crate::report::{Report, grouped, seconds};

/// A column of the CSV: its name, and a run's value.
type CsvColumn = (&'static str, fn(&Report) -> String);

/// What each run has, after what varies.
const COLUMNS: &[CsvColumn] = &[
    ("command", |r| r.command.clone()),
    ("input", |r| r.plan.input.clone()),
    ("m", |r| r.m.to_string()),
    ("n", |r| r.n.to_string()),
    ("block", |r| r.block.to_string()),
    ("ib", |r| r.ib.to_string()),
    ("tree", |r| r.tree.clone()),
    ("workers", |r| r.workers.to_string()),
    ("cores", |r| r.cores.to_string()),
    ("engine", |r| r.engine.clone()),
    ("exchange", |r| r.exchange.clone()),
    ("policy", |r| r.policy.clone()),
    ("durability", |r| r.durability.clone()),
    ("wall_s", |r| r.wall_s.to_string()),
    ("startup_s", |r| r.startup_s.to_string()),
    ("preload_s", |r| r.preload_s.to_string()),
    ("factor_s", |r| r.factor.factor_s.to_string()),
    ("compute_s", |r| r.factor.compute_s.to_string()),
    ("fetch_s", |r| r.factor.fetch_s.to_string()),
    ("core_s", |r| core_seconds(r).to_string()),
    ("gflops", |r| r.gflops().to_string()),
    ("tasks", |r| r.factor.tasks.to_string()),
    ("tasks_recomputed", |r| {
        r.factor.tasks_recomputed.to_string()
    }),
    ("flops", |r| r.factor.flops.to_string()),
    ("matrix_bytes", |r| matrix_bytes(r).to_string()),
    ("peer_bytes", |r| r.factor.bytes.peer.to_string()),
    ("store_read_bytes", |r| {
        r.factor.bytes.store_read.to_string()
    }),
    ("store_written_bytes", |r| {
        r.factor.bytes.store_written.to_string()
    }),
    ("cache_hit_bytes", |r| r.factor.bytes.cache_hit.to_string()),
    ("inputs_read_bytes", |r| r.factor.inputs_read.to_string()),
    ("outputs_written_bytes", |r| {
        r.factor.outputs_written.to_string()
    }),
    ("peer_times_matrix", |r| {
        times_matrix(r, peer(r)).to_string()
    }),
    ("store_read_times_matrix", |r| {
        times_matrix(r, store_read(r)).to_string()
    }),
    ("store_written_times_matrix", |r| {
        times_matrix(r, store_written(r)).to_string()
    }),
    ("store_get", |r| r.factor.requests.store_get.to_string()),
    ("store_put", |r| r.factor.requests.store_put.to_string()),
    ("peer_get", |r| r.factor.requests.peer_get.to_string()),
    ("peer_failed", |r| r.factor.requests.peer_failed.to_string()),
    ("peak_cache_bytes", |r| {
        r.factor.peak_cache_bytes.to_string()
    }),
    ("workers_lost", |r| r.factor.workers_lost.to_string()),
    ("workers_replaced", |r| {
        r.factor.workers_replaced.to_string()
    }),
    ("leases_expired", |r| r.factor.leases_expired.to_string()),
    ("usd", |r| dollars(r).to_string()),
    ("residual", |r| {
        r.residual.map_or(String::new(), |ratio| ratio.to_string())
    }),
    ("orthogonality", |r| {
        r.orthogonality
            .map_or(String::new(), |ratio| ratio.to_string())
    }),
];

/// A column of medians: its name, whether any point has it, and a point's cell.
struct MedianColumn {
    name: &'static str,
    figure: Figure,
    cell: fn(&PointResults<'_>, Figure) -> String,
}

const MEDIANS: &[MedianColumn] = &[
    MedianColumn {
        name: "time",
        figure: factor_s,
        cell: |point, figure| seconds(point.median(figure)),
    },
    MedianColumn {
        name: "GFLOP/s",
        figure: Report::gflops,
        cell: |point, figure| Unit::Number.value(point.median(figure)),
    },
    MedianColumn {
        name: "between workers",
        figure: peer,
        cell: moved,
    },
    MedianColumn {
        name: "store read",
        figure: store_read,
        cell: moved,
    },
    MedianColumn {
        name: "store written",
        figure: store_written,
        cell: moved,
    },
    MedianColumn {
        name: "store requests",
        figure: store_requests,
        cell: count,
    },
    MedianColumn {
        name: "core-seconds",
        figure: core_seconds,
        cell: |point, figure| Unit::Number.value(point.median(figure)),
    },
    MedianColumn {
        name: "dollars",
        figure: dollars,
        cell: |point, figure| Unit::Dollars.value(point.median(figure)),
    },
    MedianColumn {
        name: "recomputed",
        figure: |r| r.factor.tasks_recomputed as f64,
        cell: count,
    },
    MedianColumn {
        name: "workers lost",
        figure: |r| f64::from(r.factor.workers_lost),
        cell: count,
    },
    MedianColumn {
        name: "residual",
        figure: |r| r.residual.unwrap_or(0.0),
        cell: |point, figure| Unit::Number.value(point.median(figure)),
    },
];

/// Bytes, and in times the matrix where there is one.
fn moved(point: &PointResults<'_>, figure: Figure) -> String {
    let bytes = point.median(figure);
    let size = ByteSize(bytes.round() as u64).to_string();
    match point
        .reports
        .first()
        .map(|report| times_matrix(report, bytes))
    {
        Some(times) if times > 0.0 => format!("{size} ({times:.2}x)"),
        _ => size,
    }
}

fn count(point: &PointResults<'_>, figure: Figure) -> String {
    grouped(point.median(figure).round() as u64)
}

impl Results<'_> {
    /// All runs, one a line, the names of columns first. Sizes are in bytes, times in seconds.
    #[must_use]
    pub fn csv(&self) -> String {
        let varied = &self.experiment.varied;
        let mut out = csv::Writer::from_writer(Vec::new());
        // What varies has its options' names; a report has most of them too, which are what the run made of them.
        let first = varied.iter().map(|name| format!("option:{}", shown(name)));
        let header = ["point", "repetition"]
            .map(str::to_owned)
            .into_iter()
            .chain(first);
        let header = header.chain(COLUMNS.iter().map(|(name, _)| (*name).to_owned()));
        let header = header.chain(["line", "failed"].map(str::to_owned));
        // A vector takes all that is written, and each row is as long as the first.
        out.write_record(header).expect("a vector grows");
        for Measured { row, outcome } in self.measured {
            let point = &self.experiment.points[row.point];
            let mut record = vec![(row.point + 1).to_string(), row.repetition.to_string()];
            record.extend(
                varied
                    .iter()
                    .map(|name| point.value(name).unwrap_or_default()),
            );
            let report = outcome.as_ref().ok();
            let cell = |(_, value): &CsvColumn| report.map_or(String::new(), value);
            record.extend(COLUMNS.iter().map(cell));
            record.push(row.line());
            record.push(outcome.as_ref().err().cloned().unwrap_or_default());
            out.write_record(record).expect("a vector grows");
        }
        let bytes = out.into_inner().expect("a vector grows");
        String::from_utf8(bytes).expect("made of strings")
    }

    /// Medians by point, and the line that runs each again.
    #[must_use]
    pub fn markdown(&self) -> String {
        let (names, rows) = self.medians();
        let cell = |text: &String| text.replace('|', "\\|");
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("# {}\n\n{}\n\n", self.experiment.title, self.told());
        let numbers = self.experiment.varied.len();
        text.push_str(&line(
            names.iter().map(cell).chain(["line".to_owned()]).collect(),
        ));
        let rule = |at: usize| if at < numbers { "---" } else { "---:" };
        let rules = (0..names.len()).map(rule).chain(["---"]).map(str::to_owned);
        text.push_str(&line(rules.collect()));
        for (cells, point) in rows.iter().zip(self.points()) {
            let code = format!("`{}`", point.line.replace('|', "\\|"));
            text.push_str(&line(cells.iter().map(cell).chain([code]).collect()));
        }
        text
    }

    /// Names of columns and each point's cells: what varies, the medians that any point has, and how many runs.
    pub(super) fn medians(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let points = self.points();
        let has =
            |column: &&MedianColumn| points.iter().any(|point| point.median(column.figure) > 0.0);
        let columns: Vec<_> = MEDIANS.iter().filter(has).collect();
        let varied = &self.experiment.varied;
        let mut names: Vec<String> = varied.iter().map(|name| shown(name).to_owned()).collect();
        names.extend(columns.iter().map(|column| column.name.to_owned()));
        names.push("runs".to_owned());
        let row = |point: &PointResults<'_>| {
            let mut cells: Vec<String> = varied
                .iter()
                .map(|name| point.point.value(name).unwrap_or_default())
                .collect();
            cells.extend(columns.iter().map(|column| match point.reports.len() {
                0 => String::new(),
                _ => (column.cell)(point, column.figure),
            }));
            let failed = if point.failed.is_some() {
                ", failed"
            } else {
                ""
            };
            cells.push(format!("{}{failed}", point.reports.len()));
            cells
        };
        (names, points.iter().map(row).collect())
    }

    /// What the figures are, in a sentence.
    pub(super) fn told(&self) -> String {
        let (finished, all) = self.progress();
        let runs = match all - finished {
            0 => format!("{all} runs"),
            _ => format!("{finished} of {all} runs so far"),
        };
        let each = match self.experiment.repeat {
            1 => String::new(),
            repeat => format!(", medians of {repeat} each"),
        };
        let version = env!("CARGO_PKG_VERSION");
        format!("{runs}{each}. peerwren {version} on {}.", self.machine)
    }
}
