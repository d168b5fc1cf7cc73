//! Tests of forecasts: by hand where a program is small, else against the same plan unrolled.

mod bytes;
mod levels;
mod time;

use std::collections::BTreeMap;
use std::sync::Arc;

use peerwren_kernels::op::KernelSet;

use super::{Rates, Terms};
use crate::linalg::{Job, Operation, Request, Scales, Triangle, plan as job_of};
use crate::matrix::{MatrixSource, ResultPlace};
use crate::options::{EngineKind, Exchange, MachineFacts, Policy, RunOptions, StoreChoice};
use crate::plan::Plan;

/// Side of a tile; the last tiles of most matrices below are smaller.
const NB: u32 = 4;

/// Operation, inputs and tree.
type Case = (Operation, &'static [&'static str], &'static str);

/// Every operation, on matrices of a few tiles.
fn cases() -> Vec<Case> {
    let scales = Scales {
        alpha: 2.0,
        beta: 1.0,
    };
    let square: &[&str] = &["spd:18", "random:18x7"];
    vec![
        (Operation::Qr, &["random:22x17"], "grid:2x2"),
        (Operation::Qr, &["random:17x22"], "binary"),
        (Operation::Qr, &["random:16x16"], "numpywren"),
        (Operation::Tsqr, &["random:26x4"], "auto"),
        (Operation::Cholesky, &["spd:22"], "grid:2x3"),
        (Operation::Lu, &["random:22x17"], "grid:2x2"),
        (
            Operation::Gemm(scales),
            &["random:9x14", "random:14x10", "random:9x10"],
            "auto",
        ),
        (Operation::Trsm(Triangle::default()), square, "grid:2x2"),
        (Operation::Solve, square, "grid:2x2"),
        (Operation::Posv, square, "grid:2x2"),
        (Operation::Lstsq, &["random:22x14", "random:22x3"], "auto"),
        (Operation::Lstsq, &["random:14x22", "random:14x3"], "auto"),
        (Operation::Svd, &["random:18x14"], "grid:2x2"),
        (Operation::Svd, &["random:11x18"], "grid:2x2"),
    ]
}

/// The job of a case; with `all` each of its results is wanted, and the check.
fn job((operation, inputs, tree): &Case, workers: u32, all: bool) -> Job {
    let inputs = inputs.iter().map(|text| MatrixSource::parse(text));
    let inputs: Vec<_> = inputs.map(|input| input.expect("a matrix")).collect();
    let shapes: Vec<_> = inputs.iter().map(MatrixSource::shape).collect();
    let (m, n) = operation.shape(&shapes).expect("shapes that fit");
    let options = RunOptions {
        block: Some(NB),
        ib: Some(2),
        tree: tree.parse().expect("a tree"),
        workers: Some(workers),
        engine: EngineKind::Threads,
        store: StoreChoice::Memory,
        ..RunOptions::default()
    };
    let options = options.resolve(m, n, &FACTS).expect("options");
    let mut request = Request::new(operation.clone(), inputs, options);
    for name in operation.results().iter().filter(|_| all) {
        request = request.wanting(name, ResultPlace::Npy(format!("{name}.npy").into()));
    }
    request.check = all;
    job_of(&request).expect("a job")
}

const FACTS: MachineFacts = MachineFacts {
    cores: 1,
    memory_available_bytes: 1 << 30,
};

fn plan(job: &Job) -> Arc<Plan> {
    Plan::new(job.plan.clone(), KernelSet::standard()).expect("a sound plan")
}

fn all_phases(plan: &Plan) -> Vec<usize> {
    (0..plan.phase_count()).collect()
}

fn terms(workers: u32, cores: u32) -> Terms {
    Terms {
        workers,
        cores,
        exchange: Exchange::Peer,
        policy: Policy::Locality,
        writes_all: false,
        preload: false,
        bytes_s: 1e9,
        trip_s: 0.0,
        coordinator_s: 0.0,
        machine_cores: None,
    }
}

/// Slow enough that every task takes microseconds.
fn rates() -> Rates {
    let rates = [("tsmqr", 5e6), ("gemm", 3e6), ("potrf", 1e6)];
    let rates = rates.map(|(name, rate)| (name.to_owned(), rate));
    Rates::new(BTreeMap::from(rates), BTreeMap::new())
}
