//! Runs in which all goes wrong that can, as seeds would have it: see `draw` for what that is. A seed that fails is
//! shown with the one command that replays it and with what happened in the smallest world that fails alike.
#![allow(clippy::print_stderr, reason = "what seeds have come to is told")]

mod draw;
mod shrink;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Once;

use self::draw::{setup, truths};
use self::shrink::Failure;
use super::setup::{Faults, Setup};
use super::truth::Truth;
use super::world::{Outcome, World};
use crate::options::{Durability, Exchange};

/// The variable that replays one seed or runs those of an interval: `7` or `0..20000`.
const SEED: &str = "PEERWREN_SEED";

/// Failed seeds that are named; the first one is explained.
const FAILED_MAX: usize = 5;

/// What seeds have come to.
#[derive(Default)]
struct Sums {
    seeds: u64,
    tasks: u64,
    recomputed: u64,
    lost: u64,
    manifests: u64,
    restored: u64,
    calm_ms_max: u128,
    /// How often each thing went wrong, and in how many runs.
    strikes: BTreeMap<&'static str, (u64, u64)>,
}

impl Sums {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.tasks += outcome.finished;
        self.recomputed += outcome.recomputed;
        self.lost += u64::from(outcome.lost);
        self.manifests += u64::from(outcome.manifests);
        self.restored += outcome.restored;
        let calm = outcome.calm.unwrap_or_default();
        self.calm_ms_max = self.calm_ms_max.max(calm.as_millis());
        for (what, times) in &outcome.strikes {
            let (sum, runs) = self.strikes.entry(what).or_default();
            *sum += times;
            *runs += 1;
        }
    }

    /// As a table of Markdown.
    fn table(&self) -> String {
        let Self {
            seeds,
            tasks,
            recomputed,
            lost,
            manifests,
            restored,
            calm_ms_max,
            strikes,
        } = self;
        let mut table = format!(
            "{seeds} seeds: {tasks} tasks finished, {recomputed} of them again; {lost} workers lost; {manifests} \
             manifests, {restored} tasks restored; at most {calm_ms_max} ms to the end once nothing went wrong any more\n\
             | what | times | runs |\n| --- | --- | --- |"
        );
        for (what, (times, runs)) in strikes {
            let _ = write!(table, "\n| {what} | {times} | {runs} |");
        }
        table
    }
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs something whose panics are not told on this thread.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                tell(panic);
            }
        }));
    });
    let before = IS_QUIET.replace(true);
    let result = run();
    IS_QUIET.set(before);
    result
}

fn of(seed: u64, truths: &[[Truth; 2]]) -> &[Truth; 2] {
    &truths[usize::try_from(seed).expect("an index") % truths.len()]
}

/// Runs the seeds of an interval, or those that the variable names.
fn run(seeds: Range<u64>) -> Sums {
    let truths = truths();
    let wanted = std::env::var(SEED).ok().map(|text| {
        let (from, to) = text.split_once("..").unwrap_or((&text, ""));
        let from = from.parse().expect("a seed");
        from..to.parse().unwrap_or(from + 1)
    });
    let is_wanted = wanted.is_some();
    let (mut sums, mut failed) = (Sums::default(), Vec::new());
    for seed in wanted.unwrap_or(seeds) {
        let [truth, _] = of(seed, &truths);
        match shrink::run(truth, &setup(seed, truth), false) {
            Ok(outcome) => sums.add(&outcome),
            Err(failure) => failed.push((seed, failure)),
        }
        if failed.len() == FAILED_MAX {
            break;
        }
    }
    if let Some((first, failure)) = failed.first() {
        let line = |error: &str| error.lines().next().unwrap_or_default().to_owned();
        let all = failed.iter();
        let all: String = all
            .map(|(seed, failure)| format!("\nseed {seed} fails: {}", line(&failure.error)))
            .collect();
        panic!("{all}\n\n{}", explain(*first, failure, &truths));
    }
    if is_wanted {
        eprintln!("{}", sums.table());
    }
    sums
}

/// How to replay a seed that failed, and why it fails in the smallest world that fails alike.
fn explain(seed: u64, failure: &Failure, truths: &[[Truth; 2]]) -> String {
    let both = of(seed, truths);
    let setup = setup(seed, &both[0]);
    let (truth, least) = shrink::smallest(both, &setup, &failure.error);
    let Err(Failure { error, log }) = shrink::run(truth, &least, true) else {
        return "the smallest world does not fail again".to_owned();
    };
    format!(
        "replay the first: {SEED}={seed} cargo test --workspace --lib machine::tests::faults::every\n\n\
         the smallest world that fails like it: {} tasks, {least:?}\n\
         fails: {error}\n\n{}",
        truth.tasks.len(),
        log.last_of(&error, truth)
    )
}

#[test]
fn workers_that_never_reach_each_other_complete_a_run_through_the_store() {
    for [truth, _] in truths() {
        let cut_off = |exchange| Setup {
            exchange,
            durability: Durability::Outputs,
            memory: 1 << 30,
            faults: Faults {
                no_path: 1000,
                ..Faults::default()
            },
            workers: 4,
            ..setup(1, &truth)
        };
        let outcome = World::new(&truth, cut_off(Exchange::Peer)).run();
        assert_eq!(outcome.tally.peer, 0, "nobody reaches anybody");
        assert_eq!(
            (outcome.lost, outcome.recomputed),
            (0, 0),
            "nothing is made twice"
        );
        assert!(outcome.tally.store_get > 0);
    }
}

/// Every fault strikes, every run completes with the right results, and what must stay true does after each step.
#[test]
fn every_run_completes_whatever_goes_wrong() {
    let sums = run(0..200);
    if sums.seeds == 200 {
        for what in EVERY_FAULT {
            assert!(sums.strikes.contains_key(what), "no seed has {what}");
        }
    }
}

const EVERY_FAULT: [&str; 30] = [
    "workers killed",
    "workers gone without a word",
    "workers stalled",
    "workers paused",
    "workers back from the dead",
    "workers 12 times slower",
    "workers by mail",
    "workers near their deadline",
    "workers started late",
    "workers with other bits",
    "workers heard when their lease ends",
    "signs of life at the lease's end",
    "messages of workers taken for lost",
    "links broken",
    "links cut towards the coordinator",
    "links cut towards a worker",
    "letters destroyed",
    "letters that come twice",
    "letters that overtake others",
    "pairs of workers cut off",
    "pairs of workers cut off one way",
    "fetches across a cut",
    "wrong blocks refused",
    "blocks that the store loses",
    "blocks that rot in the store",
    "requests to a store that is out",
    "writes that fail and took effect",
    "blocks spilled for room",
    "blocks dropped for room",
    "drivers killed",
];
