//! The text that a person reads at the end of a run.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::{PhaseStats, Report};
use crate::matrix::ResultPlace;
use crate::options::ByteSize;

/// A ratio below this is a sound factorization; LAPACK's own tests use the same bound.
const RATIO_MAX: f64 = 30.0;

/// A finished run as text.
#[derive(Clone, Debug)]
pub struct Summary {
    pub(super) title: String,
    /// Name and text; lines after the first of a text start under it.
    pub(super) lines: Vec<(String, String)>,
}

/// Puts a report into words. `files` are the results by name, such as ("q", "q.npy").
pub fn summarize(report: &Report, files: &[(String, ResultPlace)]) -> Summary {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut say = |name: &str, text: String| lines.push((name.to_owned(), text));
    for (name, text) in [
        ("matrix", matrix(report)),
        ("plan", plan(report)),
        ("workers", workers(report)),
        ("time", time(report)),
        ("speed", speed(report)),
        ("tasks", tasks(&report.factor)),
        ("moved", moved(report)),
        ("mostly", mostly(report)),
        (
            "memory",
            format!(
                "peak cache {} of {} a worker",
                ByteSize(report.factor.peak_cache_bytes),
                ByteSize(report.memory)
            ),
        ),
    ] {
        // The sizes of a user's own program are its own.
        let is_own = report.command == "run" && ["matrix", "plan"].contains(&name);
        if !is_own && !text.is_empty() {
            say(name, text);
        }
    }
    let faults = faults(report);
    if !faults.is_empty() {
        say("faults", faults);
    }
    if report.q.tasks > 0 {
        say("forming Q", phase(&report.q));
    }
    if report.check.tasks > 0 {
        say("checking", phase(&report.check));
    }
    if report.residual.is_some() {
        say("checked", checked(report));
    }
    let cost = cost(report);
    if !cost.is_empty() {
        say("cost", cost);
    }
    for (name, place) in files {
        say(&name.to_uppercase(), format!("written to {place}"));
    }
    Summary {
        title: format!("{} of {}", report.command, report.plan.input),
        lines,
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .lines
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or(0);
        writeln!(f, "{}", self.title)?;
        for (name, text) in &self.lines {
            let mut name = name.as_str();
            for line in text.lines() {
                writeln!(f, "  {name:<width$}  {line}")?;
                name = "";
            }
        }
        Ok(())
    }
}

fn matrix(report: &Report) -> String {
    format!(
        "{} x {}, {} as float64",
        report.m,
        report.n,
        ByteSize(report.matrix_bytes())
    )
}

fn plan(report: &Report) -> String {
    let block = u64::from(report.block.max(1));
    format!(
        "{} x {} tiles of {} (ib {}), tree {}",
        report.m.div_ceil(block),
        report.n.div_ceil(block),
        report.block,
        report.ib,
        report.tree,
    )
}

/// Dollars of all phases; nothing where the workers ran on machines of the user's.
fn cost(report: &Report) -> String {
    let phases = [&report.factor, &report.q, &report.check].map(|phase| &phase.cost_usd);
    let estimate: f64 = phases.iter().map(|cost| cost.estimate).sum();
    let measured: f64 = phases.iter().map(|cost| cost.measured).sum();
    if measured == 0.0 {
        return String::new();
    }
    format!(
        "${measured:.4}, ${estimate:.4} by estimate (prices: {})",
        report.factor.cost_usd.table
    )
}

fn workers(report: &Report) -> String {
    format!(
        "{} of {}, engine {}, exchange {}",
        counted(report.workers.into(), "worker"),
        counted(report.cores.into(), "core"),
        report.engine,
        report.exchange,
    )
}

fn time(report: &Report) -> String {
    let mut text = format!(
        "{} in all: startup {}",
        seconds(report.wall_s),
        seconds(report.startup_s)
    );
    if report.preload_s > 0.0 {
        let _ = write!(text, ", preload {}", seconds(report.preload_s));
    }
    let what = match report.command.as_str() {
        "qr" | "tsqr" | "cholesky" | "lu" => "factorization",
        _ => "computation",
    };
    let _ = write!(text, ", {what} {}", seconds(report.factor.factor_s));
    text
}

fn speed(report: &Report) -> String {
    let factor = &report.factor;
    let threads = f64::from(report.workers) * f64::from(report.cores) * factor.factor_s;
    let busy = if threads > 0.0 {
        100.0 * factor.compute_s / threads
    } else {
        0.0
    };
    format!(
        "{:.1} GFLOP/s, cores {:.0}% busy",
        factor.gflops(),
        busy.min(100.0)
    )
}

fn tasks(stats: &PhaseStats) -> String {
    let mut text = grouped(stats.tasks);
    if stats.tasks_restored > 0 {
        let _ = write!(text, ", {} restored", grouped(stats.tasks_restored));
    }
    if stats.tasks_recomputed > 0 {
        let _ = write!(text, ", {} recomputed", grouped(stats.tasks_recomputed));
    }
    text
}

/// Bytes by source, each also in times the matrix: the figure that trees and placement are about.
fn moved(report: &Report) -> String {
    let bytes = &report.factor.bytes;
    let parts = [
        ("between workers", bytes.peer),
        ("read from the store", bytes.store_read),
        ("written to the store", bytes.store_written),
    ];
    let matrix = if report.command == "run" {
        0
    } else {
        report.matrix_bytes()
    };
    let lines = parts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| {
            let mut line = format!("{:>8} {what}", ByteSize(*count).to_string());
            if matrix > 0 {
                let times = *count as f64 / matrix as f64;
                let _ = write!(line, ", {times:.2} times the matrix");
            }
            line
        });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        "nothing".into()
    } else {
        lines.join("\n")
    }
}

/// Families and kernels named as those that moved the most between workers.
const MOSTLY_MAX: usize = 3;

/// What moved the most between workers: families of blocks, and which kernel wanted them.
fn mostly(report: &Report) -> String {
    let stats = &report.factor;
    let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for row in stats.moved_by_statement.iter().filter(|row| row.peer > 0) {
        // The kernel tells the program.
        let family = row.block.rsplit('.').next().unwrap_or(&row.block);
        *sums.entry((family, &row.kernel)).or_default() += row.peer;
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
    let parts = rows
        .iter()
        .take(MOSTLY_MAX)
        .map(|((family, kernel), bytes)| {
            let share = 100.0 * *bytes as f64 / stats.bytes.peer.max(1) as f64;
            format!("{family} for {kernel} {share:.0}%")
        });
    parts.collect::<Vec<_>>().join(", ")
}

fn faults(report: &Report) -> String {
    let sum = |field: fn(&PhaseStats) -> u64| {
        field(&report.factor) + field(&report.q) + field(&report.check)
    };
    let counts = [
        (
            "worker lost",
            "workers lost",
            sum(|s| s.workers_lost.into()),
        ),
        ("replaced", "replaced", sum(|s| s.workers_replaced.into())),
        ("refused", "refused", sum(|s| s.workers_refused.into())),
        ("lease expired", "leases expired", sum(|s| s.leases_expired)),
        (
            "request to a peer failed",
            "requests to peers failed",
            sum(|s| s.requests.peer_failed),
        ),
    ];
    let parts: Vec<_> = counts
        .into_iter()
        .filter(|(_, _, count)| *count > 0)
        .map(|(one, many, count)| {
            format!("{} {}", grouped(count), if count == 1 { one } else { many })
        })
        .collect();
    parts.join(", ")
}

fn phase(stats: &PhaseStats) -> String {
    let b = &stats.bytes;
    format!(
        "{} in {}, {} between workers, {} through the store",
        counted(stats.tasks, "task"),
        seconds(stats.factor_s),
        ByteSize(b.peer),
        ByteSize(b.store_read + b.store_written),
    )
}

fn checked(report: &Report) -> String {
    let verdict = if report.is_sound() {
        "sound"
    } else {
        "NOT SOUND"
    };
    format!(
        "{verdict}: {} (LAPACK's ratios, below {RATIO_MAX:.0} is sound)",
        report.ratios()
    )
}

/// The measured ratios by what they are, such as "|A - QR| is 0.01, |I - Q'Q| is 0.47".
pub(super) fn ratios(report: &Report) -> String {
    let (residual, orthogonality) = match report.command.as_str() {
        "qr" | "tsqr" => ("|A - QR|", "|I - Q'Q|"),
        "cholesky" => ("|A - LL'|", ""),
        "lu" => ("|PA - LU|", ""),
        "gemm" => ("|C - alpha A B - beta C0|", ""),
        "solve" | "posv" | "trsm" => ("|B - AX|", ""),
        "lstsq" => ("|A'(B - AX)|", ""),
        "svd" => ("|A - U S V'|", "the larger of |I - U'U| and |I - V'V|"),
        _ => ("the residual", "orthogonality"),
    };
    let named = [
        (residual, report.residual),
        (orthogonality, report.orthogonality),
    ];
    let named = named
        .iter()
        .filter_map(|(name, ratio)| Some(format!("{name} is {:.2}", (*ratio)?)));
    named.collect::<Vec<_>>().join(", ")
}

pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count))
}

/// Digits in groups of three.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits, or minutes and hours.
pub(crate) fn seconds(s: f64) -> String {
    if s < 0.001 {
        format!("{:.0} us", s * 1e6)
    } else if s < 1.0 {
        format!("{:.0} ms", s * 1e3)
    } else if s < 10.0 {
        format!("{s:.2} s")
    } else if s < 100.0 {
        format!("{s:.1} s")
    } else if s < 3600.0 {
        format!("{:.0} min {:.0} s", (s / 60.0).floor(), (s % 60.0).floor())
    } else {
        format!(
            "{:.0} h {:.0} min",
            (s / 3600.0).floor(),
            (s % 3600.0 / 60.0).floor()
        )
    }
}
