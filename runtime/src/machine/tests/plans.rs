//! Small plans: those of `linalg`, and one whose results are read by later tasks.

use std::sync::Arc;

use peerwren_kernels::op::{KernelOp, KernelSet};

use crate::linalg::{Operation, Request, plan as plan_of};
use crate::matrix::{MatrixSource, ResultPlace, SourceSpec};
use crate::options::{EngineKind, MachineFacts, RunOptions, StoreChoice};
use crate::plan::{InputFrom, Kept, PhaseSpec, Plan, PlanSpec};

/// Side of a tile; tiles below it in size are there where a matrix does not divide by it.
const NB: u64 = 4;

/// QR of `mt` x `nt` tiles, the last ones short by `short` rows and columns: the factorization, and
/// with `all` Q and the check too.
pub(super) fn qr(mt: u64, nt: u64, short: u64, tree: &str, workers: u32, all: bool) -> Arc<Plan> {
    plan(qr_spec(
        NB,
        (mt * NB - short, nt * NB - short),
        tree,
        workers,
        all,
    ))
}

/// The same for an m x n matrix in tiles of side `nb`.
pub(super) fn qr_spec(
    nb: u64,
    (m, n): (u64, u64),
    tree: &str,
    workers: u32,
    all: bool,
) -> PlanSpec {
    let options = RunOptions {
        block: Some(nb as u32),
        ib: Some((nb as u32).div_ceil(16).max(2)),
        tree: tree.parse().expect("a tree"),
        workers: Some(workers),
        engine: EngineKind::Threads,
        store: StoreChoice::Memory,
        ..RunOptions::default()
    };
    let facts = MachineFacts {
        cores: 1,
        memory_available_bytes: 1 << 30,
    };
    let source = MatrixSource::parse(&format!("random:{m}x{n}")).expect("a matrix");
    let options = options.resolve(m, n, &facts).expect("options");
    let place = |name: &str| ResultPlace::Npy(name.into());
    let mut request = Request::new(Operation::Qr, vec![source], options);
    request = request.wanting("r", place("r.npy"));
    if all {
        request = request.wanting("q", place("q.npy")).checked();
    }
    PlanSpec {
        run: 7,
        ..plan_of(&request).expect("a plan").plan
    }
}

pub(super) fn plan(spec: PlanSpec) -> Arc<Plan> {
    Plan::new(spec, KernelSet::standard()).expect("a sound plan")
}

/// Rows that are there or not: each tile of the last column is made of as many blocks of a length that
/// shows when they are made as there are columns, each made of two tiles of the row before.
pub(super) fn sieve(rows: u64, cols: u64) -> Arc<Plan> {
    let source = "program sieve
param K, J, nb
input A[j in 0..J, z in 0..1] : full(nb, nb)
tile S[k, j] : full(nb, nb)
tile F[k, j] : few(nb, nb)
alias S[0, j] = A[j, 0]
output X[j in 0..J] = S[K, j]
for k in 0..K { for j in 0..J {
  F[k, j] = sift(S[k, j], S[k, (j + 1) % J]) @ j + 1 prio k
  S[k + 1, j] = fill(S[k, j], F[k, j]) @ j prio k
} }
";
    let mut kernels = KernelSet::standard();
    for signature in [
        "sift(full(m,n), full(m,n)) -> few(m,n)",
        "fill(full(m,n), few(m,n)) -> full(m,n)",
    ] {
        let kernel = KernelOp::new(signature, |_| Ok(())).expect("a signature");
        kernels.register(kernel).expect("a new name");
    }
    let params = [("K", rows), ("J", cols), ("nb", NB)];
    let phase = phase("sieve", source, &params, cols);
    let spec = PlanSpec {
        run: 7,
        phases: vec![phase],
    };
    Plan::new(spec, kernels).expect("a sound plan")
}

/// A sheet of tiles, each made of two of the row before: every tile is a result, and is read.
pub(super) fn weave(rows: u64, cols: u64) -> Arc<Plan> {
    let source = "program weave
param K, J, nb
input A[j in 0..J, z in 0..1] : full(nb, nb)
tile S[k, j] : full(nb, nb)
alias S[0, j] = A[j, 0]
output X[k in 1..K + 1, j in 0..J] = S[k, j]
for k in 0..K {
  S[k + 1, 0] = identity(S[k, 0]) @ 0 prio k
  for j in 1..J { S[k + 1, j] = gram_step(S[k, j], S[k, j - 1]) @ j prio k }
}
";
    let params = [("K", rows), ("J", cols), ("nb", NB)];
    plan(PlanSpec {
        run: 7,
        phases: vec![phase("weave", source, &params, cols)],
    })
}

/// A program over A, a column of so many tiles, with result X.
fn phase(name: &str, source: &str, params: &[(&str, u64)], tiles: u64) -> PhaseSpec {
    let int = |value: u64| i64::try_from(value).expect("small");
    let a = SourceSpec::random(tiles * NB, NB, 1);
    let params = params.iter();
    PhaseSpec {
        name: name.to_owned(),
        file: format!("{name}.lp"),
        source: source.to_owned(),
        includes: Vec::new(),
        params: params
            .map(|(name, value)| ((*name).to_owned(), int(*value)))
            .collect(),
        inputs: vec![("A".to_owned(), InputFrom::Matrix(a, (NB as u32, NB as u32)))],
        results: vec![Kept {
            output: "X".to_owned(),
            array: None,
        }],
    }
}
