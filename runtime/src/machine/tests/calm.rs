//! Runs in which nothing goes wrong: what they compute and how many bytes they move.

use super::plans;
use super::setup::{Costs, Faults, Setup};
use super::truth::Truth;
use super::world::{Outcome, World};
use crate::control::Tally;
use crate::cost::owner_traffic;
use crate::lambdapack::Program;
use crate::options::{Durability, Exchange, Policy};
use crate::plan::PlanSpec;

fn calm(workers: u32) -> Setup {
    Setup {
        seed: 1,
        workers,
        elastic: None,
        cores: 1,
        policy: Policy::Locality,
        exchange: Exchange::Peer,
        durability: Durability::Outputs,
        preload: false,
        checkpoint_us: None,
        memory: 1 << 40,
        costs: Costs::Drawn,
        faults: Faults::default(),
    }
}

#[test]
fn a_run_without_faults_counts_right() {
    let truth = Truth::of(plans::qr(4, 3, 1, "grid:2x2", 4, true));
    let plan = &truth.plan;
    let sum = |keys: &mut dyn Iterator<Item = _>| keys.map(|key| plan.bytes(&key)).sum::<u64>();
    // The identity's tiles are made where they are read.
    let made = |key: &_| plan.is_source(key) && !plan.is_input(key);
    let read = sum(&mut truth
        .tasks
        .values()
        .flatten()
        .filter(|key| !made(key))
        .copied());
    let all_read = sum(&mut truth.tasks.values().flatten().copied());
    let results = sum(&mut truth.results());
    let written = sum(&mut truth
        .blocks
        .keys()
        .filter(|key| !plan.is_source(key))
        .copied());
    for exchange in [Exchange::Peer, Exchange::Cache, Exchange::Store] {
        for durability in [Durability::Outputs, Durability::All] {
            let setup = Setup {
                exchange,
                durability,
                cores: 2,
                ..calm(4)
            };
            let Outcome {
                tally,
                recomputed,
                lost,
                finished,
                ..
            } = World::new(&truth, setup).run();
            assert_eq!((recomputed, lost), (0, 0));
            assert_eq!(
                (tally.tasks, finished),
                (truth.tasks.len() as u64, tally.tasks)
            );
            assert_eq!(
                (tally.outputs_written, tally.peer_failed),
                (results, 0),
                "{exchange}"
            );
            let through = exchange != Exchange::Peer || durability == Durability::All;
            assert_eq!(
                tally.store_written,
                if through { written } else { results },
                "{exchange}"
            );
            let come = tally.peer + tally.store_read;
            match exchange {
                Exchange::Store => assert_eq!((come, tally.cache_hit), (read, 0)),
                _ => assert!(
                    (read..=all_read).contains(&(come + tally.cache_hit)),
                    "{exchange}"
                ),
            }
            assert_eq!(tally.peer > 0, exchange == Exchange::Peer);
        }
    }
}

/// Memory for little more than the running tasks: blocks are spilled and fetched again, none is lost.
#[test]
fn eviction_never_loses_what_is_still_needed() {
    let truth = Truth::of(plans::qr(7, 5, 1, "grid:2x2", 4, true));
    let (mut spilled, results) = (
        0,
        truth
            .results()
            .map(|key| truth.plan.bytes(&key))
            .sum::<u64>(),
    );
    for seed in 0..60 {
        let memory = truth.largest_task * (2 + seed % 4);
        let setup = Setup {
            seed,
            memory,
            cores: 2,
            ..calm(4)
        };
        let outcome = World::new(&truth, setup).run();
        assert_eq!(outcome.recomputed, 0, "seed {seed}");
        spilled += outcome.tally.store_written - results;
    }
    assert!(spilled > 0, "memory was short");
}

/// A preload reads each input once for each worker that has use for it, before the first task.
#[test]
fn what_was_preloaded_is_not_read_again() {
    let truth = Truth::of(plans::qr(6, 4, 0, "grid:2x2", 4, false));
    let plan = &truth.plan;
    let inputs: u64 = plan.sources(0).iter().map(|key| plan.bytes(key)).sum();
    for (preload, policy) in [(true, Policy::Owner), (false, Policy::Owner)] {
        let setup = Setup {
            preload,
            policy,
            ..calm(4)
        };
        let outcome = World::new(&truth, setup).run();
        assert_eq!(
            outcome.tally.inputs_read, inputs,
            "an input has one reader's home"
        );
        assert_eq!(outcome.tally.store_read, inputs);
    }
}

/// What workers counted, and the bytes of the counting model; so many of a thousand requests to a holder are
/// referred elsewhere, rightly or not.
fn moved_by_peers(spec: PlanSpec, workers: u32, policy: Policy, refers: u64) -> (Tally, u64) {
    let phase = &spec.phases[0];
    let program = Program::parse(&phase.file, &phase.source).expect("a sound program");
    let bound = program
        .bind(&phase.params.iter().cloned().collect())
        .expect("bound");
    let model = owner_traffic(&bound, workers, |_| None)
        .expect("a sound program")
        .bytes;
    let truth = Truth::of(plans::plan(spec));
    let outcome = World::new(
        &truth,
        Setup {
            policy,
            costs: Costs::Modelled,
            faults: Faults {
                refers,
                ..Faults::default()
            },
            ..calm(workers)
        },
    )
    .run();
    (outcome.tally, model)
}

/// The strict owner with all the memory in the world moves what the counting model counts, whoever serves
/// it; who may also help others moves a little more.
#[test]
fn bytes_between_workers_are_the_models() {
    for (tiles, side, percent) in [(8, 2, 0), (8, 4, 0), (16, 2, 0), (16, 4, 0)] {
        let spec = plans::qr_spec(
            512,
            (tiles * 512, tiles * 512),
            &format!("grid:{side}x{side}"),
            side * side,
            false,
        );
        let moved = |policy, refers| moved_by_peers(spec.clone(), side * side, policy, refers);
        let (_, model) = moved(Policy::Owner, 0);
        for refers in [0, 500] {
            let (came, _) = moved(Policy::Owner, refers);
            assert_eq!(
                came.peer, model,
                "owner, {tiles} tiles, {side} x {side}, {refers} referred"
            );
            assert_eq!(came.peer_referred > 0, refers > 0, "{came:?}");
        }
        let (came, _) = moved(Policy::Locality, 0);
        let more = 100 * came.peer / model - 100;
        assert!(
            more <= percent,
            "locality, {tiles} tiles, {side} x {side}: {more}% more than {model}"
        );
    }
}
