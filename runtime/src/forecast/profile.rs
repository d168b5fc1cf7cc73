//! How parallel a plan is: its levels, each as early as its inputs allow, what they keep alive, and the
//! longest chains. Memory follows the widest level.

use serde::Serialize;

use super::frontier::{Chain, Frontier, Live, extended, readers};
use super::rates::Rates;
use super::task::View;
use crate::plan::{Plan, TaskId};

/// Most points of a profile.
pub const POINTS_MAX: usize = 256;

/// Tasks and working set by level: a task is in the level after the last one that it waits for, and a
/// phase begins after the last level of the phase before. A block lives from its maker's level, an input
/// from its first reader's, to its last reader's; results and what later phases read live on.
///
/// Beyond [`POINTS_MAX`] levels each point is the most of several levels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// How many levels there are.
    pub levels: u64,
    /// The most tasks of any level.
    pub tasks_max: u64,
    /// The most bytes alive in any level.
    pub live_bytes_max: u64,
    /// The first level of each point, counted from 0.
    pub level: Vec<u64>,
    /// Tasks.
    pub tasks: Vec<u64>,
    /// Bytes of the blocks alive.
    pub live_bytes: Vec<u64>,
}

/// The longest chains of tasks that wait for each other; phases wait for each other too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CriticalPath {
    /// Tasks of the chain with the most tasks: as many as there are levels.
    pub tasks: u64,
    /// Operations of the chain with the most operations.
    pub flops: u64,
    /// Seconds of the chain that takes longest, blocks moved in no time: no fleet is faster.
    pub seconds: f64,
}

/// A level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) tasks: u64,
    pub(super) live_bytes: u64,
}

/// All levels of these phases, and the longest chains.
pub(super) fn levels(plan: &Plan, phases: &[usize], rates: &Rates) -> (Vec<Level>, CriticalPath) {
    let mut walk = Walk {
        plan,
        rates,
        live: Live::new(plan),
        live_bytes: 0,
        levels: Vec::new(),
        end: Chain::default(),
    };
    for &phase in phases {
        walk.phase(phase);
    }
    let path = CriticalPath {
        tasks: walk.levels.len() as u64,
        flops: walk.end.flops,
        seconds: walk.end.seconds,
    };
    (walk.levels, path)
}

impl Profile {
    pub(super) fn of(levels: &[Level]) -> Self {
        let width = levels.len().div_ceil(POINTS_MAX).max(1);
        let mut profile = Self {
            levels: levels.len() as u64,
            ..Self::default()
        };
        for (number, point) in levels.chunks(width).enumerate() {
            let most = |of: fn(&Level) -> u64| point.iter().map(of).max().unwrap_or(0);
            profile.level.push((number * width) as u64);
            profile.tasks.push(most(|level| level.tasks));
            profile.live_bytes.push(most(|level| level.live_bytes));
        }
        let most = |points: &[u64]| points.iter().copied().max().unwrap_or(0);
        profile.tasks_max = most(&profile.tasks);
        profile.live_bytes_max = most(&profile.live_bytes);
        profile
    }
}

struct Walk<'a> {
    plan: &'a Plan,
    rates: &'a Rates,
    live: Live<'a, ()>,
    live_bytes: u64,
    levels: Vec<Level>,
    /// The longest chains until now.
    end: Chain,
}

impl Walk<'_> {
    fn phase(&mut self, phase: usize) {
        let mut frontier = Frontier::of(self.plan, phase);
        let begin = self.end;
        let starters = frontier.starters().into_iter();
        let mut ready: Vec<(TaskId, Chain)> = starters.map(|task| (task, begin)).collect();
        while !ready.is_empty() {
            let mut next = Vec::new();
            let mut dying_bytes = 0;
            for (task, before) in &ready {
                let view = View::of(self.plan, task);
                let seconds = self.rates.seconds(self.plan.kernel(task), view.work());
                let chain = extended(*before, seconds, &view);
                self.end = self.end.longest(chain);
                for (key, bytes) in view.reads() {
                    if self.live.get(&key).is_none() {
                        self.live.enter(key);
                        self.live_bytes += bytes;
                    }
                    dying_bytes += if self.live.read(&key) { bytes } else { 0 };
                }
                for (key, bytes) in view.makes() {
                    let readers = readers(self.plan, &key);
                    self.live_bytes += bytes;
                    if !self.live.make(key, readers.len(), ()) {
                        dying_bytes += bytes;
                    }
                    frontier.made(&readers, chain, |task, after| next.push((task, after)));
                }
            }
            self.levels.push(Level {
                tasks: ready.len() as u64,
                live_bytes: self.live_bytes,
            });
            self.live_bytes -= dying_bytes;
            ready = next;
        }
    }
}
