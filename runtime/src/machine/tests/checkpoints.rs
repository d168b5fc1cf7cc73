//! Runs that are checkpointed, and drivers that die: what is put, what is kept, what runs again.

use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::Digest;

use super::plans;
use super::setup::{Costs, Faults, Setup};
use super::tables::actions;
use super::truth::Truth;
use super::world::{Outcome, World};
use crate::control::Tally;
use crate::machine::scheduler::{Input, Scheduler, Settings};
use crate::machine::{Timestamp, WorkerId};
use crate::manifest::Manifest;
use crate::options::{Durability, Exchange, Policy};

fn checkpointed(seed: u64) -> Setup {
    Setup {
        seed,
        workers: 4,
        elastic: None,
        cores: 1,
        policy: Policy::Locality,
        exchange: Exchange::Peer,
        durability: Durability::Checkpoint { every_s: 1 },
        preload: false,
        checkpoint_us: Some(10_000),
        memory: 1 << 40,
        costs: Costs::Drawn,
        faults: Faults::default(),
    }
}

/// Without losses a block is put once: by its checkpoint, as a result, or never.
#[test]
fn what_is_durable_is_not_put_again() {
    let truth = Truth::of(plans::qr(7, 5, 1, "grid:2x2", 4, true));
    let all: u64 = (truth.blocks.keys())
        .filter(|key| !truth.plan.is_source(key))
        .map(|key| truth.plan.bytes(key))
        .sum();
    let mut manifests = 0;
    for seed in 0..20 {
        let Outcome {
            tally,
            recomputed,
            manifests: written,
            ..
        } = World::new(&truth, checkpointed(seed)).run();
        assert_eq!(recomputed, 0, "seed {seed}");
        assert!(
            tally.store_written < all,
            "seed {seed}: only what is needed"
        );
        manifests += written;

        let through = Setup {
            durability: Durability::All,
            ..checkpointed(seed)
        };
        let outcome = World::new(&truth, through).run();
        // The last ones may be on their way when the run is complete.
        let most = all * 9 / 10..=all;
        let written = outcome.tally.store_written;
        assert!(most.contains(&written), "seed {seed}: {written} of {all}");
        manifests += outcome.manifests;
    }
    assert!(manifests > 80, "{manifests} manifests in 40 runs");
}

/// A driver that dies in the middle costs what was done since the last checkpoint, and no more.
#[test]
fn a_resumed_run_does_the_rest_alone() {
    let truth = Truth::of(plans::qr(7, 5, 1, "grid:2x2", 4, true));
    let (mut restored, mut drivers) = (0, 0);
    for seed in 0..40 {
        let faults = Faults {
            driver_dies: vec![400 + 37 * seed, 300],
            ..Faults::default()
        };
        let outcome = World::new(
            &truth,
            Setup {
                faults,
                ..checkpointed(seed)
            },
        )
        .run();
        assert_eq!(outcome.recomputed, 0, "seed {seed}");
        let to_do = truth.tasks.len() as u64 - outcome.restored;
        assert_eq!(outcome.finished, to_do, "seed {seed}");
        restored += outcome.restored;
        drivers += outcome.drivers;
    }
    assert!(drivers > 40, "{drivers} drivers died");
    assert!(restored > 2_000, "{restored} tasks were restored");
}

/// A resumed run takes workers with the bits of its manifest alone, be the others ever so many, and does
/// not do again what the manifest has.
#[test]
fn a_resumed_run_keeps_its_bits() {
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let blocks = plan.outputs(&first).into_iter();
    let manifest = Manifest::new(
        &plan,
        4,
        Digest([1; 32]),
        Tally::default(),
        std::iter::once(first),
        blocks.map(|key| (key, Digest([9; 32]))),
    );
    assert_eq!(manifest.check(&plan), Ok(()));
    let settings = Settings {
        workers: 2,
        elastic: None,
        cores: 1,
        policy: Policy::Locality,
        exchange: Exchange::Peer,
        durability: Durability::All,
        checkpoint: Some(Duration::from_secs(1)),
        preload: false,
        start_timeout: Duration::from_secs(2),
        lease: Duration::from_secs(3),
        volunteers: None,
    };
    let mut resumed = Scheduler::resumed(Arc::clone(&plan), settings, &manifest);
    let now = Timestamp::from_nanos(0);
    resumed.handle_input(now, Input::Begin);
    assert_eq!(actions(&mut resumed), ["start 0 in 0", "start 1 in 1"]);
    let mut joins = |id: u32, bits: u8| {
        let joined = Input::Joined(
            WorkerId(id),
            vec![format!("address {id}")],
            Digest([bits; 32]),
        );
        resumed.handle_input(now, joined);
        actions(&mut resumed)
    };
    assert_eq!(joins(0, 2), ["refuse 0", "end 0", "start 2 in 0"]);
    assert_eq!(joins(1, 2), ["refuse 1", "end 1", "start 3 in 1"]);
    assert_eq!(joins(2, 1), [""; 0]);
    assert_eq!(joins(3, 1), ["2 gets lease 1"]);
}
