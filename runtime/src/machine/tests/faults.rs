//! Runs in which workers die, blocks are lost and memory is short, as seeds would have it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::plans;
use super::setup::{Costs, Dice, Faults, Kill, Loss, Setup};
use super::truth::Truth;
use super::world::World;
use crate::options::{Durability, Exchange, Policy};

/// The variable that replays one seed: `PEERWREN_SEED=7 cargo test -p peerwren --lib machine::tests::faults`.
const SEED: &str = "PEERWREN_SEED";

fn truths() -> Vec<Truth> {
    let plans = [
        plans::qr(4, 4, 0, "grid:2x2", 4, false),
        plans::qr(5, 4, 1, "grid:2x2", 4, true),
        plans::qr(7, 5, 3, "grid:3x1:binary", 3, false),
        plans::qr(7, 3, 2, "binary", 3, true),
        plans::qr(4, 5, 0, "flat", 4, false),
        plans::qr(4, 4, 0, "numpywren", 4, true),
        plans::weave(9, 6),
        plans::sieve(6, 5),
    ];
    plans.map(Truth::of).into()
}

/// A world as the seed would have it.
fn setup(seed: u64, truth: &Truth) -> Setup {
    let dice = &mut Dice(seed ^ 0x5EED);
    let workers = dice.within(1, 6) as u32;
    let cores = dice.within(1, 4) as u32;
    let tasks = truth.tasks.len() as u64;
    let kills = (0..dice.one_of(&[0, 1, 1, 2, 3]))
        .map(|_| Kill {
            after: dice.within(0, tasks),
            all: dice.chance(150),
            how: dice.one_of(&[Loss::Told, Loss::Silent, Loss::Stalled]),
        })
        .collect();
    let least = truth.largest_task * u64::from(cores);
    let rare = |dice: &mut Dice, per_mille| if dice.chance(300) { per_mille } else { 0 };
    let exchange = dice.one_of(&[
        Exchange::Peer,
        Exchange::Peer,
        Exchange::Cache,
        Exchange::Store,
    ]);
    let durability = dice.one_of(&[
        Durability::Outputs,
        Durability::Checkpoint { every_s: 1 },
        Durability::Checkpoint { every_s: 1 },
        Durability::All,
    ]);
    let is_saved = durability != Durability::Outputs;
    let checkpoint_us = is_saved.then(|| dice.one_of(&[1, 1_000, 20_000, 100_000]));
    // Some thousand steps a run; who dies later than at its end does not die.
    let driver_dies = (0..dice.one_of(&[0, 1, 1, 2, 4]))
        .map(|_| dice.within(1, 20 * tasks))
        .collect();
    let mut setup = Setup {
        seed,
        workers,
        elastic: None,
        cores,
        policy: dice.one_of(&[
            Policy::Locality,
            Policy::Locality,
            Policy::Owner,
            Policy::Fifo,
            Policy::Random,
        ]),
        exchange,
        durability,
        checkpoint_us,
        preload: dice.chance(300) && exchange != Exchange::Store,
        memory: dice.one_of(&[least, least + truth.largest_task, 4 * least, 1 << 30]),
        costs: Costs::Drawn,
        faults: Faults {
            kills,
            driver_dies,
            slow_workers: rare(dice, 300),
            latency_us: rare(dice, 20_000),
            peer_fails: rare(dice, 50),
            store_loses: rare(dice, 30),
            store_slow: rare(dice, 200),
            late: rare(dice, 300),
            other_bits: rare(dice, 100),
            life_us: 0,
            notice_us: 0,
            volunteers: seed % 4 == 3,
            no_path: dice.one_of(&[0, 0, 0, 300, 1000]),
            refers: 0,
        },
    };
    if dice.chance(300) {
        let life = dice.within(400_000, 2_000_000);
        setup.faults.life_us = life;
        setup.faults.notice_us = dice.within(1_000, life / 4);
        // It would hold others up for several of their lives.
        setup.faults.kills.retain(|kill| kill.how != Loss::Stalled);
    }
    setup.faults.refers = dice.one_of(&[0, 100, 500, 1000]);
    setup
}

fn replay(seed: u64, truths: &[Truth]) -> bool {
    let truth = &truths[usize::try_from(seed).expect("an index") % truths.len()];
    let setup = setup(seed, truth);
    catch_unwind(AssertUnwindSafe(|| World::new(truth, setup).run())).is_ok()
}

/// Runs the seeds of an interval, or those that the variable names: `7` or `0..5000`.
fn run(seeds: std::ops::Range<u64>) {
    let truths = truths();
    let wanted = std::env::var(SEED).ok().map(|text| {
        let (from, to) = text.split_once("..").unwrap_or((&text, ""));
        let from = from.parse().expect("a seed");
        from..to.parse().unwrap_or(from + 1)
    });
    let failed: Vec<_> = wanted
        .unwrap_or(seeds)
        .filter(|&seed| !replay(seed, &truths))
        .collect();
    if let Some(first) = failed.first() {
        panic!(
            "seeds {failed:?} failed, see above; to replay one of them: {SEED}={first} cargo test -p \
             peerwren --lib machine::tests::faults\n{:#?}",
            setup(
                *first,
                &truths[usize::try_from(*first).expect("an index") % truths.len()]
            )
        );
    }
}

#[test]
fn workers_that_never_reach_each_other_complete_a_run_through_the_store() {
    for truth in truths() {
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

#[test]
fn every_run_completes_whatever_goes_wrong() {
    run(0..200);
}
