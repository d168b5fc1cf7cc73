//! A smaller world that fails in the same way: faults are left out one after the other, workers, cores and
//! tasks are fewer, for as long as that still fails.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::setup::{Faults, Setup};
use super::super::trace::Log;
use super::super::truth::Truth;
use super::super::world::{Outcome, World};

/// Dice that are tried for each smaller world: other faults come at other moments.
const DICE_MAX: u64 = 6;
/// Runs after which the smallest one so far must do.
const RUNS_MAX: u32 = 4_000;

/// A way to fail.
pub(super) struct Failure {
    pub(super) error: String,
    pub(super) log: Log,
}

/// Runs a world; its panic is an error. What happens is written down if wanted.
pub(super) fn run(truth: &Truth, setup: &Setup, is_logged: bool) -> Result<Outcome, Failure> {
    let log = Log::default();
    let mut world = World::new(truth, setup.clone());
    if is_logged {
        world = world.logged(log.clone());
    }
    let ran = super::quietly(|| catch_unwind(AssertUnwindSafe(|| world.run())));
    ran.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Failure {
            error: text.unwrap_or_else(|| "a panic without a text".to_owned()),
            log,
        }
    })
}

/// What remains of an error without names and numbers.
fn kind(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    let words = line.split([' ', '(', ':', '{']);
    let words = words.filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.take(12).collect::<Vec<_>>().join(" ")
}

/// The smallest world found that fails as this one does, with its plan.
pub(super) fn smallest<'a>(
    truths: &'a [Truth; 2],
    setup: &Setup,
    error: &str,
) -> (&'a Truth, Setup) {
    let kind = kind(error);
    let runs = Cell::new(0);
    let [large, small] = truths;
    let fails = |truth: &Truth, setup: &Setup| {
        // Small ones cost little.
        let dice = if std::ptr::eq(truth, small) {
            8 * DICE_MAX
        } else {
            DICE_MAX
        };
        (0..dice).find_map(|more| {
            let seed = setup.seed.wrapping_add(more << 32);
            let tried = Setup {
                seed,
                ..setup.clone()
            };
            runs.set(runs.get() + 1);
            let failed = run(truth, &tried, false).err()?;
            (self::kind(&failed.error) == kind).then_some(tried)
        })
    };
    let mut least = (large, setup.clone());
    let fewer_tasks = |setup: &Setup| Setup {
        // As many of the largest task as before.
        memory: (setup.memory / large.largest_task).max(1) * small.largest_task,
        ..setup.clone()
    };
    loop {
        let mut is_smaller = false;
        if std::ptr::eq(least.0, large)
            && let Some(found) = fails(small, &fewer_tasks(&least.1))
        {
            (least, is_smaller) = ((small, found), true);
        }
        for change in CHANGES {
            let mut tried = least.1.clone();
            change(&mut tried);
            let is_same = format!("{tried:?}") == format!("{:?}", least.1);
            if is_same || runs.get() > RUNS_MAX {
                continue;
            }
            if let Some(found) = fails(least.0, &tried) {
                least.1 = found;
                is_smaller = true;
            }
        }
        if !is_smaller {
            return least;
        }
    }
}

type Change = fn(&mut Setup);

/// What makes a world smaller, the largest steps first.
const CHANGES: [Change; 32] = [
    |s| s.faults = Faults::default(),
    |s| s.faults.kills.clear(),
    |s| s.faults.driver_dies.clear(),
    |s| s.faults.kills.truncate(s.faults.kills.len() / 2),
    |s| {
        s.faults
            .driver_dies
            .truncate(s.faults.driver_dies.len() / 2)
    },
    |s| _ = s.faults.kills.pop(),
    |s| _ = s.faults.driver_dies.pop(),
    |s| s.faults.cuts.clear(),
    |s| s.faults.outages.clear(),
    |s| s.faults.undead = 0,
    |s| s.faults.slow_workers = 0,
    |s| s.faults.latency_us = 0,
    |s| s.faults.by_mail = 0,
    |s| s.faults.mail_twice = 0,
    |s| s.faults.mail_lost = 0,
    |s| s.faults.peer_fails = 0,
    |s| s.faults.garbles = 0,
    |s| s.faults.store_loses = 0,
    |s| s.faults.store_rots = 0,
    |s| s.faults.store_slow = 0,
    |s| s.faults.store_fails = 0,
    |s| s.faults.late = 0,
    |s| s.faults.other_bits = 0,
    |s| (s.faults.life_us, s.faults.notice_us) = (0, 0),
    |s| s.faults.volunteers = false,
    |s| s.faults.no_path = 0,
    |s| s.faults.refers = 0,
    |s| s.checkpoint_us = None,
    |s| s.preload = false,
    |s| s.workers = s.workers.div_ceil(2),
    |s| s.workers = (s.workers - 1).max(1),
    |s| s.cores = 1,
];
