//! Predicted time, kernels' rates, and what a forecast of a job says of them.

use std::collections::BTreeMap;

use peerwren_kernels::op::{KernelOp, KernelSet};

use super::super::counts::Counts;
use super::super::schedule::duration;
use super::super::task::Work;
use super::super::{Rates, Terms, figures, measure};
use super::{all_phases, cases, job, plan, rates, terms};
use crate::linalg::Operation;
use crate::options::{Exchange, Policy};

#[test]
fn one_core_takes_the_sum_of_its_tasks() {
    for case in cases() {
        let plan = plan(&job(&case, 1, true));
        let (phases, rates) = (all_phases(&plan), rates());
        let terms = Terms {
            preload: true,
            ..terms(1, 1)
        };
        let counts = Counts::of(&plan, &phases, &terms);
        let figures = figures(&plan, &phases, &terms, &counts, &rates);
        let sum: f64 = figures.kernels.iter().map(|kernel| kernel.seconds).sum();
        let predicted = figures.predicted;
        let slack = figures.tasks as f64 * 1e-9;
        assert!((predicted.compute_s - sum).abs() <= slack, "{:?}", case.1);
        assert_eq!(predicted.time_s, predicted.compute_s, "{:?}", case.1);
        assert_eq!((predicted.busy, predicted.moved_bytes), (1.0, 0));
    }
}

#[test]
fn no_fleet_is_faster_than_the_critical_path_or_its_cores() {
    for case in cases() {
        for (workers, cores) in [(3, 2), (100, 1)] {
            let plan = plan(&job(&case, workers, true));
            let (phases, rates) = (all_phases(&plan), rates());
            for exchange in [Exchange::Peer, Exchange::Cache, Exchange::Store] {
                for policy in [Policy::Locality, Policy::Random] {
                    let terms = Terms {
                        exchange,
                        policy,
                        ..terms(workers, cores)
                    };
                    let counts = Counts::of(&plan, &phases, &terms);
                    let found = figures(&plan, &phases, &terms, &counts, &rates);
                    let time_s = found.predicted.time_s * (1.0 + 1e-6);
                    let what = format!("{:?} {workers} x {cores} {exchange} {policy}", case.1);
                    assert!(time_s >= found.critical_path.seconds, "{what}");
                    assert!(found.predicted.busy <= 1.0 + 1e-9, "{what}");
                    let again = figures(&plan, &phases, &terms, &counts, &rates);
                    assert_eq!(found, again, "{what}: not the same twice");
                }
            }
        }
    }
}

#[test]
fn owners_move_what_is_counted() {
    for case in cases() {
        for workers in [2, 4] {
            let plan = plan(&job(&case, workers, false));
            let terms = Terms {
                policy: Policy::Owner,
                ..terms(workers, 1)
            };
            // Tasks without a home go anywhere.
            let homes = |phase| plan.tasks(phase).all(|task| plan.home(&task).is_some());
            let phases = all_phases(&plan);
            if !phases.iter().all(|&phase| homes(phase)) {
                continue;
            }
            let counts = Counts::of(&plan, &phases, &terms).exchanges;
            for (exchange, traffic) in [
                (Exchange::Peer, counts.peer),
                (Exchange::Cache, counts.cache),
            ] {
                let terms = Terms {
                    exchange,
                    ..terms.clone()
                };
                let predicted = duration(&plan, &phases, &terms, &rates());
                let fetched = traffic.peer.bytes + traffic.store_read.bytes;
                assert_eq!(predicted.moved_bytes, fetched, "{:?} {exchange}", case.1);
            }
        }
    }
}

#[test]
fn slow_lines_and_shared_cores_take_time() {
    let case = (Operation::Qr, &["random:32x32"][..], "grid:2x2");
    let plan = plan(&job(&case, 4, false));
    let time = |terms: Terms| duration(&plan, &[0], &terms, &rates()).time_s;
    let quick = time(terms(4, 1));
    let slow = time(Terms {
        bytes_s: 1e5,
        ..terms(4, 1)
    });
    let shared = time(Terms {
        machine_cores: Some(1),
        ..terms(4, 1)
    });
    let one = time(terms(1, 1));
    assert!(slow > 1.5 * quick, "{slow} {quick}");
    assert!(shared > 0.9 * one && shared < 1.5 * one, "{shared} {one}");
    assert!(quick < 0.5 * one, "{quick} {one}");
}

/// A chain of 20 tasks waits 20 times; many that wait for nobody wait for the coordinator.
#[test]
fn messages_and_the_coordinator_take_time() {
    let time = |terms: Terms, tree, input: &'static [&'static str]| {
        let plan = plan(&job(&(Operation::Qr, input, tree), 1, false));
        (
            plan.task_count(0),
            duration(&plan, &[0], &terms, &rates()).time_s,
        )
    };
    let (trip_s, coordinator_s) = (1.0, 2.0);
    let (tasks, waits) = time(
        Terms {
            trip_s,
            ..terms(1, 1)
        },
        "flat",
        &["random:80x4"],
    );
    assert_eq!((tasks, waits.floor()), (20, 20.0));
    let slow = Terms {
        coordinator_s,
        ..terms(1, 1)
    };
    let (tasks, waits) = time(slow, "grid:1x1", &["random:32x32"]);
    assert!(waits >= 2.0 * tasks as f64, "{tasks} {waits}");
}

#[test]
fn kernels_without_a_rate_take_the_median() {
    let rates = |rates: &[(&str, f64)]| -> BTreeMap<String, f64> {
        let rates = rates.iter();
        rates
            .map(|(name, rate)| ((*name).to_owned(), *rate))
            .collect()
    };
    let known = Rates::new(
        rates(&[("a", 1.0), ("b", 2.0), ("c", 4.0), ("d", f64::NAN)]),
        rates(&[("e", 8.0), ("f", 0.0)]),
    );
    for (kernel, work, seconds) in [
        ("a", Work::Flops(8), 8.0),
        ("c", Work::Flops(8), 2.0),
        ("d", Work::Flops(8), 4.0),
        ("e", Work::Flops(8), 4.0),
        ("e", Work::Bytes(8), 1.0),
        ("a", Work::Bytes(16), 2.0),
        ("f", Work::Bytes(0), 0.0),
    ] {
        assert_eq!(known.seconds(kernel, work), seconds, "{kernel} {work:?}");
    }
    assert!(known.is_measured() && !Rates::assumed().is_measured());
    assert_eq!(
        Rates::assumed().seconds("a", Work::Flops(10_000_000_000)),
        1.0
    );
}

/// Every kernel of every program takes the data that it is measured on; one that does not is left out.
#[test]
fn every_kernel_is_measured() {
    for case in cases() {
        let plan = plan(&job(&case, 2, true));
        let (phases, terms) = (all_phases(&plan), terms(2, 1));
        let counts = Counts::of(&plan, &phases, &terms);
        let rates = measure(&counts, plan.kernels());
        for kernel in figures(&plan, &phases, &terms, &counts, &rates).kernels {
            assert!(kernel.is_measured, "{} of {:?}", kernel.kernel, case.1);
            assert!(kernel.per_s > 0.0 && kernel.seconds > 0.0);
        }
        // Not those kernels, but some that cannot run.
        let mut others = KernelSet::new();
        for op in plan.kernels().iter() {
            let broken = KernelOp::new(&op.signature().to_string(), |_| {
                Err(peerwren_kernels::op::KernelError::NotFinite)
            });
            others
                .register(broken.expect("a signature"))
                .expect("a new name");
        }
        assert_eq!(measure(&counts, &others), Rates::assumed());
    }
}
