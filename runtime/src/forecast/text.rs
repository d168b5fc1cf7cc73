//! A forecast as the page that a person reads on a terminal, 80 columns wide.

use std::fmt::{self, Write};

use super::{Forecast, KernelForecast, Moved};
use crate::options::{ByteSize, Exchange};
use crate::report::{counted, grouped, seconds};

/// Columns and rows of a bar chart's bars, beside its labels.
const CHART_COLUMNS: usize = 66;
const CHART_ROWS: usize = 6;
/// Columns of a line's text beside its name.
const TEXT_COLUMNS: usize = 69;
/// Columns of the label before each row.
const LABEL_COLUMNS: usize = 9;
/// Parts of a row: a bar that ends within one, in eighths.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            ("matrix", self.matrix()),
            ("plan", self.tiles()),
            ("chosen", self.chosen()),
            ("workers", self.fleet()),
            ("tasks", self.tasks()),
            ("time", self.time()),
            ("memory", self.memory()),
            ("cost", self.cost()),
        ];
        writeln!(f, "plan of {} of {}", self.command, self.plan.input)?;
        // The sizes of a user's own program are its own.
        let is_told =
            |name: &str| self.command != "run" || !["matrix", "plan", "chosen"].contains(&name);
        for (name, text) in lines
            .iter()
            .filter(|(name, text)| is_told(name) && !text.is_empty())
        {
            let mut name = *name;
            for line in text.lines() {
                writeln!(f, "  {name:<7}  {line}")?;
                name = "";
            }
        }
        write!(f, "\n{}\n{}", self.kernels(), self.exchanges())?;
        let profile = &self.figures.profile;
        if profile.levels > 0 {
            let title = format!(
                "tasks that can run at once, by level: at most {}, {:.1} in the mean",
                grouped(profile.tasks_max),
                self.figures.tasks as f64 / profile.levels as f64,
            );
            write!(f, "\n{}", chart(&title, &profile.tasks, grouped))?;
            let title = format!(
                "working set by level: at most {}",
                ByteSize(profile.live_bytes_max)
            );
            let bytes = |bytes| ByteSize(bytes).to_string();
            write!(f, "\n{}", chart(&title, &profile.live_bytes, bytes))?;
            let last = format!("level {}", grouped(profile.levels));
            let width = CHART_COLUMNS - 1;
            writeln!(f, "  {:LABEL_COLUMNS$}  1{last:>width$}", "level")?;
        }
        writeln!(f, "\ntaken for granted")?;
        for said in &self.assumptions {
            writeln!(f, "  {said}")?;
        }
        Ok(())
    }
}

impl Forecast {
    fn matrix(&self) -> String {
        let bytes = ByteSize(self.matrix_bytes());
        format!("{} x {}, {bytes} as float64", self.m, self.n)
    }

    /// The tiling, which the picture says too.
    pub(super) fn tiles(&self) -> String {
        let block = u64::from(self.block.max(1));
        format!(
            "{} x {} tiles of {} (ib {}), tree {}",
            self.m.div_ceil(block),
            self.n.div_ceil(block),
            self.block,
            self.ib,
            self.tree,
        )
    }

    /// What was left open and is chosen, for one reason.
    fn chosen(&self) -> String {
        let options = self.chosen.iter();
        let options: Vec<_> = options
            .map(|chosen| format!("--{}", chosen.option))
            .collect();
        let reason = self.chosen.first().map(|chosen| chosen.reason.as_str());
        reason.map_or(String::new(), |why| {
            wrapped(&format!("{}: {why}", options.join(" and ")))
        })
    }

    /// The workers, which the picture says too.
    pub(super) fn fleet(&self) -> String {
        format!(
            "{} of {}, engine {}, exchange {}",
            counted(self.workers.into(), "worker"),
            counted(self.cores.into(), "core"),
            self.engine,
            self.exchange,
        )
    }

    fn tasks(&self) -> String {
        let mut text = format!(
            "{}, {}",
            grouped(self.figures.tasks),
            operations(self.figures.flops)
        );
        let _ = write!(text, " ({})", self.programs());
        for phase in self.phases.iter().filter(|phase| !phase.is_counted) {
            let _ = write!(
                text,
                "\nand {}, {} for `{}` ({}), not counted below",
                grouped(phase.tasks),
                operations(phase.flops),
                phase.name,
                phase.program
            );
        }
        text
    }

    /// The programs that are counted, each once.
    pub(super) fn programs(&self) -> String {
        let counted = self.phases.iter().filter(|phase| phase.is_counted);
        let mut programs: Vec<_> = counted.map(|phase| phase.program.as_str()).collect();
        programs.dedup();
        programs.join(", ")
    }

    fn time(&self) -> String {
        let figures = &self.figures;
        if !figures.skipped.is_empty() {
            return figures.skipped.clone();
        }
        let predicted = &figures.predicted;
        let rate = match predicted.time_s {
            time_s if time_s > 0.0 => figures.flops as f64 / time_s,
            _ => 0.0,
        };
        format!(
            "{} predicted, {}/s, cores {:.0}% busy\nat least {} on any fleet: the critical path \
             of {}",
            seconds(predicted.time_s),
            operations(rate as u64),
            100.0 * predicted.busy,
            seconds(figures.critical_path.seconds),
            counted(figures.critical_path.tasks, "task"),
        )
    }

    fn memory(&self) -> String {
        let memory = &self.memory;
        let mut text = format!(
            "{} a worker at least ({} x {}), {} given",
            ByteSize(memory.least_bytes),
            counted(self.cores.into(), "core"),
            memory.kernel,
            ByteSize(memory.given_bytes),
        );
        let live = self.figures.profile.live_bytes_max;
        if live > 0 {
            let all = memory.given_bytes.saturating_mul(self.workers.into());
            let _ = write!(
                text,
                "\nworking set of all workers at most {}, {} given",
                ByteSize(live),
                ByteSize(all)
            );
        }
        text
    }

    fn cost(&self) -> String {
        let cost = &self.cost_usd;
        if cost.table.is_empty() {
            return String::new();
        }
        format!(
            "${:.4} by estimate: {:.0} GB-s, {} (prices: {})",
            cost.estimate,
            cost.gb_seconds,
            counted(cost.invocations, "invocation"),
            cost.table
        )
    }

    fn kernels(&self) -> String {
        let kernels = &self.figures.kernels;
        let name = |kernel: &KernelForecast| kernel.kernel.len();
        let width = kernels.iter().map(name).max().unwrap_or(0).max(6);
        let mut text = format!(
            "  {:width$} {:>11} {:>11} {:>11}  a core\n",
            "kernel", "tasks", "work", "core time"
        );
        let is_measured = kernels.iter().any(|kernel| kernel.is_measured);
        for kernel in kernels {
            let (work, unit) = match kernel.flops {
                0 => (String::new(), "GB/s"),
                flops => (operations(flops), "GFLOP/s"),
            };
            let note = if is_measured && !kernel.is_measured {
                " (not measured)"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "  {:width$} {:>11} {work:>11} {:>11}  {} {unit}{note}",
                kernel.kernel,
                grouped(kernel.tasks),
                seconds(kernel.seconds),
                figure(kernel.per_s / 1e9),
            );
        }
        text
    }

    fn exchanges(&self) -> String {
        let mut text = format!(
            "  {:10} {:>13} {:>15} {:>17} {:>17}\n",
            "exchange", "store read", "store written", "between workers", "times the matrix"
        );
        let matrix = self.matrix_bytes().max(1) as f64;
        let size = |moved: &Moved| ByteSize(moved.bytes).to_string();
        for exchange in [Exchange::Peer, Exchange::Cache, Exchange::Store] {
            let moved = self.figures.moved(exchange);
            let mark = if exchange.to_string() == self.exchange {
                "<"
            } else {
                ""
            };
            let line = format!(
                "  {:10} {:>13} {:>15} {:>17} {:>17.2} {mark}",
                exchange.to_string(),
                size(&moved.store_read),
                size(&moved.store_written),
                size(&moved.peer),
                moved.bytes() as f64 / matrix,
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

/// A sentence in lines of at most [`TEXT_COLUMNS`], broken at spaces.
fn wrapped(sentence: &str) -> String {
    let mut text = String::new();
    let mut columns = 0;
    for word in sentence.split(' ') {
        let wide = word.chars().count();
        if columns > 0 && columns + 1 + wide > TEXT_COLUMNS {
            text.push('\n');
            columns = 0;
        } else if columns > 0 {
            text.push(' ');
            columns += 1;
        }
        text.push_str(word);
        columns += wide;
    }
    text
}

/// Operations in the unit that fits.
fn operations(flops: u64) -> String {
    let units = [(1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")];
    let flops = flops as f64;
    let fits = units.into_iter().find(|(unit, _)| flops >= *unit);
    let (unit, name) = fits.unwrap_or((1e6, "MFLOP"));
    format!("{} {name}", figure(flops / unit))
}

/// Three digits.
fn figure(value: f64) -> String {
    let decimals = match value {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Bars of blocks, a column for each point or the most of several.
fn chart(title: &str, points: &[u64], label: impl Fn(u64) -> String) -> String {
    let columns = stretched(points);
    let most = columns.iter().copied().max().unwrap_or(0).max(1);
    let mut text = format!("  {title}\n");
    for row in (0..CHART_ROWS).rev() {
        let name = match row {
            0 => label(0),
            _ if row == CHART_ROWS - 1 => label(most),
            _ => String::new(),
        };
        let bars: String = columns
            .iter()
            .map(|&value| EIGHTHS[eighths(value, most).saturating_sub(row * 8).min(8)])
            .collect();
        let line = format!("  {name:>LABEL_COLUMNS$} │{bars}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let line = "─".repeat(CHART_COLUMNS);
    let _ = writeln!(text, "  {:LABEL_COLUMNS$} └{line}", "");
    text
}

/// Height of a bar in eighths of a row; what is there shows.
fn eighths(value: u64, most: u64) -> usize {
    let height = value as f64 / most as f64 * (CHART_ROWS * 8) as f64;
    if value == 0 {
        0
    } else {
        (height.round() as usize).max(1)
    }
}

/// Points as columns of a chart: the most of those that share one, or several columns for each.
fn stretched(points: &[u64]) -> Vec<u64> {
    let columns = 0..CHART_COLUMNS;
    let first = |column: usize| column * points.len() / CHART_COLUMNS;
    let most = |column| {
        let last = first(column + 1).max(first(column) + 1).min(points.len());
        points.get(first(column)..last)?.iter().copied().max()
    };
    columns.map(|column| most(column).unwrap_or(0)).collect()
}
