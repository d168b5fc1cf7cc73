//! A fleet that grows with the work and shrinks after it.

use std::time::Duration;

use super::plans;
use super::setup::{Costs, Faults, Setup};
use super::tables::NOW;
use super::truth::Truth;
use super::world::World;
use crate::machine::autoscaler::{Autoscaler, Decision, Demand, Elastic, LOOK_EVERY};
use crate::machine::profile::{POINTS_MAX, Point, Profile};
use crate::machine::{Timestamp, WorkerId};
use crate::options::{Durability, Exchange, Policy};

const ELASTIC: Elastic = Elastic {
    factor: 1.0,
    pipeline_width: 2,
    floor: 1,
    ceiling: 6,
    idle: Duration::from_secs(2),
};

#[test]
fn workers_are_wanted_for_the_work_there_is() {
    let half = Elastic {
        factor: 0.5,
        ..ELASTIC
    };
    let table = [
        (ELASTIC, 0, 1),
        (ELASTIC, 2, 1),
        (ELASTIC, 3, 2),
        (ELASTIC, 12, 6),
        (ELASTIC, 1_000, 6),
        (ELASTIC, u64::MAX, 6),
        (half, 3, 1),
        (half, 8, 2),
        (half, 9, 3),
    ];
    for (elastic, ready, wanted) in table {
        assert_eq!(elastic.wanted(ready), wanted, "{ready} tasks, {elastic:?}");
    }
}

/// Moments in ms, what there is to do, how many workers there are, who is idle and how much it has
/// done; who comes and goes.
#[test]
fn growing_is_at_once_and_shrinking_takes_its_time() {
    type Look = (u64, u64, u32, &'static [(u32, u64)], u32, &'static [u32]);
    let table: [Look; 9] = [
        (0, 8, 1, &[], 3, &[]),
        (500, 8, 4, &[], 0, &[]),
        (1_000, 2, 4, &[(1, 5), (2, 5)], 0, &[]),
        // Worker 2 has done a task in between, and begins anew.
        (2_900, 2, 4, &[(1, 5), (2, 6)], 0, &[]),
        (3_000, 2, 4, &[(1, 5), (2, 6)], 0, &[1]),
        (4_900, 5, 3, &[(2, 6), (3, 1)], 0, &[]),
        (6_900, 5, 3, &[(2, 6), (3, 1)], 0, &[]),
        // Three are wanted for 5 tasks, two for 4, one at least.
        (6_901, 4, 3, &[(2, 6), (3, 1)], 0, &[2]),
        (6_902, 0, 2, &[(3, 1)], 0, &[3]),
    ];
    let mut scaler = Autoscaler::new(ELASTIC);
    for (ms, ready, workers, idle, start, leave) in table {
        let now = NOW.after(Duration::from_millis(ms));
        let idle = idle.iter().map(|&(id, tasks)| (WorkerId(id), tasks));
        let demand = Demand {
            ready,
            workers,
            idle: idle.collect(),
        };
        let expected = Decision {
            start,
            leave: leave.iter().map(|&id| WorkerId(id)).collect(),
        };
        assert_eq!(scaler.decide(now, &demand), expected, "at {ms} ms");
        assert_eq!(scaler.timeout(), now.after(LOOK_EVERY));
    }
}

#[test]
fn a_profile_keeps_its_shape_in_few_points() {
    let mut profile = Profile::default();
    for ms in (0..200_000).step_by(50) {
        let at = NOW.after(Duration::from_millis(ms));
        if profile.is_due(at) {
            profile.add(Point {
                at,
                ready: ms,
                running: 1,
                workers: 1,
            });
        }
    }
    let points = profile.points();
    assert!((POINTS_MAX / 2..=POINTS_MAX).contains(&points.len()));
    assert!(points.is_sorted_by_key(|point| point.at));
    assert_eq!(points[0].at, Timestamp::default());
    let last = points[points.len() - 1].ready;
    assert!(last > 190_000, "the end is there: {last}");
}

/// QR has little to do at first and at last: the fleet follows, and no block is lost with those who
/// go.
#[test]
fn a_fleet_follows_the_work() {
    let spec = plans::qr_spec(2048, (8 * 2048, 8 * 2048), "grid:2x2", 4, false);
    let truth = Truth::of(plans::plan(spec));
    for seed in 0..6 {
        let ceiling = 4 + (seed % 3) as u32 * 4;
        let setup = Setup {
            seed,
            workers: ceiling,
            elastic: Some(Elastic {
                factor: 0.5,
                pipeline_width: 1,
                ceiling,
                ..ELASTIC
            }),
            cores: 1,
            policy: Policy::Locality,
            exchange: Exchange::Peer,
            durability: Durability::Outputs,
            checkpoint_us: None,
            preload: false,
            memory: truth.largest_task * [8, 1_000][(seed % 2) as usize],
            costs: Costs::Modelled,
            faults: Faults::default(),
        };
        let outcome = World::new(&truth, setup).run();
        assert_eq!((outcome.recomputed, outcome.lost), (0, 0), "seed {seed}");
        assert_eq!(outcome.replaced, 0, "who is not needed is not replaced");
        let points = outcome.profile.points();
        let most = points.iter().map(|point| point.workers).max();
        assert!(
            most >= Some(4) && most <= Some(ceiling),
            "seed {seed}: {most:?}"
        );
        let (first, last) = (points[0].workers, points[points.len() - 1].workers);
        assert!(
            Some(first) < most && Some(last) < most,
            "seed {seed}: {first}, {last}"
        );
    }
}
