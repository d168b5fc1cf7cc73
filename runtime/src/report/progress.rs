//! The bar on a terminal while a run is under way.

use std::time::Duration;

use indicatif::{ProgressBar as Bar, ProgressDrawTarget, ProgressStyle};

use crate::options::ByteSize;

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Workers join.
    #[default]
    Starting,
    /// Inputs go into the workers' caches.
    Preloading,
    /// The operation itself.
    Computing,
    /// Q is formed.
    FormingQ,
    /// The factors are checked.
    Checking,
    /// Results are written.
    Writing,
}

/// How far a run is. Counts are those of the phase under way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// What the run is doing.
    pub phase: Phase,
    /// Tasks that are finished.
    pub tasks_done: u64,
    /// Tasks of the phase; 0 where it has none.
    pub tasks_total: u64,
    /// Useful floating-point operations of the finished tasks.
    pub flops_done: u64,
    /// Useful floating-point operations of all tasks; 0 where unknown.
    pub flops_total: u64,
    /// Time in kernels, summed over threads.
    pub compute_s: f64,
    /// Payload between workers.
    pub bytes_peer: u64,
    /// Payload from the store.
    pub bytes_store_read: u64,
    /// Payload to the store.
    pub bytes_store_written: u64,
    /// Workers at work.
    pub workers_alive: u32,
    /// Workers lost so far.
    pub workers_lost: u32,
    /// Since the phase began.
    pub elapsed_s: f64,
}

impl Phase {
    /// What the run is doing, as a word for the bar.
    pub fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Preloading => "loading",
            Self::Computing => "computing",
            Self::FormingQ => "forming Q",
            Self::Checking => "checking",
            Self::Writing => "writing",
        }
    }
}

impl Progress {
    /// Useful GFLOP/s since the phase began.
    pub fn gflops(&self) -> f64 {
        if self.elapsed_s > 0.0 {
            self.flops_done as f64 / self.elapsed_s / 1e9
        } else {
            0.0
        }
    }

    /// The part of the phase that is done, by flops where they are known, else by tasks.
    pub fn fraction(&self) -> f64 {
        let (done, total) = if self.flops_total > 0 {
            (self.flops_done, self.flops_total)
        } else {
            (self.tasks_done, self.tasks_total)
        };
        if total > 0 {
            (done as f64 / total as f64).min(1.0)
        } else {
            0.0
        }
    }

    /// Time left at the speed so far, once enough is done to tell.
    pub fn left_s(&self) -> Option<f64> {
        let fraction = self.fraction();
        (fraction > 0.01).then(|| self.elapsed_s * (1.0 - fraction) / fraction)
    }

    /// What follows the bar: tasks, speed, bytes by source, time left, losses.
    pub fn line(&self) -> String {
        let mut parts = Vec::new();
        if self.tasks_total > 0 {
            parts.push(format!("{}/{} tasks", self.tasks_done, self.tasks_total));
        }
        if self.flops_done > 0 {
            parts.push(format!("{:.1} GFLOP/s", self.gflops()));
        }
        let sources = [
            ("peers", self.bytes_peer),
            ("store read", self.bytes_store_read),
            ("written", self.bytes_store_written),
        ];
        for (source, bytes) in sources {
            if bytes > 0 {
                parts.push(format!("{source} {}", ByteSize(bytes)));
            }
        }
        if self.workers_lost > 0 {
            parts.push(format!(
                "{} at work, {} lost",
                self.workers_alive, self.workers_lost
            ));
        } else if self.phase == Phase::Starting {
            parts.push(format!("{} workers joined", self.workers_alive));
        }
        if let Some(left) = self.left_s() {
            parts.push(format!("{} left", clock(left)));
        }
        parts.join(", ")
    }
}

/// Draws [`Progress`] on standard error when that is a terminal, nothing otherwise.
#[derive(Debug)]
pub struct ProgressBar {
    bar: Bar,
}

/// Positions of the bar: finer than any terminal is wide.
const POSITIONS: u64 = 10_000;

impl ProgressBar {
    /// Makes the bar; `quiet` ones never draw.
    pub fn new(quiet: bool) -> Self {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let bar = Bar::with_draw_target(Some(POSITIONS), target);
        let style =
            ProgressStyle::with_template("{prefix:>9} [{bar:24}] {percent:>3}%  {wide_msg}")
                .expect("the template is fixed and well-formed");
        bar.set_style(style.progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar }
    }

    /// Shows a snapshot.
    pub fn update(&self, progress: &Progress) {
        self.bar.set_prefix(progress.phase.label());
        self.bar
            .set_position((progress.fraction() * POSITIONS as f64) as u64);
        self.bar.set_message(progress.line());
    }

    /// Removes the bar, so that what follows starts on a clean line.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.clear();
    }
}

fn clock(s: f64) -> String {
    let s = s.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{}:{:02} min", s / 60, s % 60),
        _ => format!("{}:{:02} h", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_there_is() {
        let half = Progress {
            phase: Phase::Computing,
            tasks_done: 700,
            tasks_total: 1894,
            flops_done: 50_000_000_000,
            flops_total: 100_000_000_000,
            bytes_peer: 128 << 20,
            bytes_store_read: 3 << 30,
            elapsed_s: 90.0,
            workers_alive: 4,
            ..Progress::default()
        };
        assert_eq!(
            half.line(),
            "700/1894 tasks, 0.6 GFLOP/s, peers 128 MiB, store read 3 GiB, 1:30 min left"
        );
        assert_eq!(half.fraction(), 0.5);
        let lost = Progress {
            workers_lost: 1,
            workers_alive: 3,
            ..Progress::default()
        };
        assert_eq!(lost.line(), "3 at work, 1 lost");
        assert_eq!(Progress::default().line(), "0 workers joined");
        assert_eq!(Progress::default().left_s(), None);
    }

    #[test]
    fn a_bar_without_a_terminal_draws_nothing_and_does_not_fail() {
        let bar = ProgressBar::new(true);
        bar.update(&Progress::default());
        bar.clear();
    }
}
