//! Every operation on matrices of many kinds and shapes: LAPACK's test ratios, errors, and the same bits
//! whoever works.

use std::path::{Path, PathBuf};

use peerwren::RunError;
use peerwren::linalg::{Operation, Outcome, Request, Scales, Triangle, run};
use peerwren::matrix::{ArrayForm, MatrixSource, NpyWriter, ResultPlace};
use peerwren::options::{EngineKind, Exchange, MachineFacts, Policy, RunOptions, StoreChoice};

use crate::tools::{Folder, peerwren};

/// Side of a tile: every shape below has ragged edges.
const NB: u32 = 8;

/// Entries in [-1, 1) that depend on seed and place alone.
fn noise(seed: u64, i: usize, j: usize) -> f64 {
    let mut z = (seed << 40) ^ ((i as u64) << 20) ^ j as u64;
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// The kinds of matrices that LAPACK's own tests use, and some between.
const KINDS: [&str; 7] = ["normal", "graded", "rank", "tiny", "huge", "zero", "wild"];

/// Entry (i, j) of an m x n matrix.
fn entry(kind: &str, (m, n): (usize, usize), i: usize, j: usize) -> f64 {
    let normal = noise(1, i, j);
    let step = |at: usize, of: usize| 10f64.powf(-12.0 * at as f64 / of as f64);
    match kind {
        "graded" => normal * step(i, m) * step(j, n),
        "rank" => (0..3).map(|k| noise(2, i, k) * noise(3, k, j)).sum(),
        "tiny" => normal * 1e-290,
        "huge" => normal * 1e290,
        "zero" => 0.0,
        "wild" => normal * 10f64.powi(((7 * i + 11 * j) % 21) as i32 - 10),
        _ => normal,
    }
}

/// A symmetric positive definite matrix: far from singular, but graded and scaled.
fn definite(kind: &str, n: usize, i: usize, j: usize) -> f64 {
    let (low, high) = (i.min(j), i.max(j));
    let even = noise(4, low, high) + if i == j { n as f64 } else { 0.0 };
    let step = |at: usize| 10f64.powf(-6.0 * at as f64 / n as f64);
    match kind {
        "graded" => even * step(i) * step(j),
        "tiny" => even * 1e-280,
        "huge" => even * 1e280,
        _ => even,
    }
}

fn write(path: &Path, (m, n): (usize, usize), entry: impl Fn(usize, usize) -> f64) -> MatrixSource {
    let values: Vec<f64> = (0..m * n).map(|at| entry(at % m, at / m)).collect();
    let writer = NpyWriter::create(path, ArrayForm::matrix(m as u64, n as u64)).unwrap();
    writer.write_tile(0, 0, m, n, &values).unwrap();
    writer.finish().unwrap();
    MatrixSource::open(path).unwrap()
}

fn read(path: &Path) -> (usize, Vec<f64>) {
    let source = MatrixSource::open(path).unwrap();
    let (m, n) = source.shape();
    let (m, n) = (m as usize, n as usize);
    let mut values = vec![0.0; m * n];
    source.read_tile(0, 0, m, n, &mut values).unwrap();
    (m, values)
}

fn options(workers: u32, tree: &str) -> RunOptions {
    RunOptions {
        block: Some(NB),
        ib: Some(3),
        workers: Some(workers),
        tree: tree.parse().unwrap(),
        engine: EngineKind::Threads,
        store: StoreChoice::Memory,
        ..RunOptions::default()
    }
}

fn request(operation: Operation, inputs: Vec<MatrixSource>, options: RunOptions) -> Request {
    let shapes: Vec<_> = inputs.iter().map(MatrixSource::shape).collect();
    let (m, n) = operation.shape(&shapes).unwrap();
    let block = operation.block((m, n)).or(options.block);
    let options = RunOptions { block, ..options };
    let options = options.resolve(m, n, &MachineFacts::read()).unwrap();
    Request::new(operation, inputs, options)
}

fn ran(request: Request) -> Outcome {
    let name = request.operation.name();
    run(request, &mut |_| {}).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs with the check and holds its ratios to LAPACK's bound.
fn sound(what: &str, operation: Operation, inputs: Vec<MatrixSource>, tree: &str) -> f64 {
    let name = operation.name();
    let report = ran(request(operation, inputs, options(3, tree)).checked()).report;
    let (residual, orthogonality) = (report.residual, report.orthogonality);
    assert!(residual.is_some(), "{name} of {what} was not checked");
    assert!(
        report.is_sound(),
        "{name} of {what}: residual {residual:?}, orthogonality {orthogonality:?}"
    );
    residual.unwrap().max(orthogonality.unwrap_or(0.0))
}

#[test]
fn factorizations_of_all_kinds_are_sound() {
    let folder = Folder::new("kinds");
    for kind in KINDS {
        for (m, n) in [(37, 37), (53, 21), (21, 53)] {
            let a = write(&folder.0.join("a.npy"), (m, n), |i, j| {
                entry(kind, (m, n), i, j)
            });
            let what = format!("a {kind} matrix of {m} x {n}");
            sound(&what, Operation::Qr, vec![a.clone()], "grid:2x2");
            sound(&what, Operation::Lu, vec![a.clone()], "grid:2x2:binary");
            sound(&what, Operation::Lu, vec![a.clone()], "auto");
            sound(&what, Operation::Svd, vec![a.clone()], "grid:2x2");
            if m > n {
                sound(&what, Operation::Tsqr, vec![a], "auto");
            }
        }
    }
}

#[test]
fn solutions_of_all_kinds_are_sound() {
    let folder = Folder::new("solutions");
    for kind in ["normal", "graded", "tiny", "huge", "wild"] {
        let n = 37;
        let b = |m| write(&folder.0.join("b.npy"), (m, 11), |i, j| noise(5, i, j));
        let spd = write(&folder.0.join("spd.npy"), (n, n), |i, j| {
            // What lies above the diagonal is never looked at.
            if i < j {
                f64::NAN
            } else {
                definite(kind, n, i, j)
            }
        });
        let what = format!("a {kind} matrix");
        sound(&what, Operation::Cholesky, vec![spd.clone()], "auto");
        sound(&what, Operation::Posv, vec![spd.clone(), b(n)], "grid:2x2");
        for bits in 0..8 {
            let triangle = Triangle {
                upper: bits & 1 > 0,
                transposed: bits & 2 > 0,
                unit: bits & 4 > 0 && kind != "huge" && kind != "wild",
            };
            let t = write(&folder.0.join("t.npy"), (n, n), |i, j| {
                let is_given = if triangle.upper { i <= j } else { i >= j };
                if is_given {
                    definite(kind, n, i, j)
                } else {
                    f64::NAN
                }
            });
            sound(&what, Operation::Trsm(triangle), vec![t, b(n)], "auto");
        }
        let square = write(&folder.0.join("a.npy"), (n, n), |i, j| {
            entry(kind, (n, n), i, j)
        });
        sound(&what, Operation::Solve, vec![square, b(n)], "grid:2x2");
        for (m, n) in [(37, 37), (53, 21), (21, 53)] {
            let a = write(&folder.0.join("a.npy"), (m, n), |i, j| {
                entry(kind, (m, n), i, j)
            });
            let what = format!("a {kind} matrix of {m} x {n}");
            sound(&what, Operation::Lstsq, vec![a, b(m)], "grid:2x2");
        }
    }
}

#[test]
fn products_are_those_of_the_definition() {
    let folder = Folder::new("products");
    let (m, n, l) = (19, 30, 23);
    let at = |seed, i, j| noise(seed, i, j);
    let a = write(&folder.0.join("a.npy"), (m, l), |i, j| at(6, i, j));
    let bt = write(&folder.0.join("b.npy"), (n, l), |i, j| at(7, j, i));
    let c0 = write(&folder.0.join("c0.npy"), (m, n), |i, j| at(8, i, j));
    for (alpha, beta, onto, tree) in [
        (1.0, 0.0, false, "auto"),
        (-0.5, 0.0, false, "grid:1x1x3"),
        (2.0, 0.25, true, "auto"),
        (2.0, 0.25, true, "grid:2x1x2"),
        (0.0, 1.0, true, "auto"),
    ] {
        let mut inputs = vec![a.clone(), bt.clone().transposed()];
        inputs.extend(onto.then(|| c0.clone()));
        let scales = Scales { alpha, beta };
        let c = folder.0.join("c.npy");
        let wanted = request(Operation::Gemm(scales), inputs, options(3, tree));
        let report = ran(wanted.wanting("c", ResultPlace::Npy(c.clone())).checked()).report;
        assert!(report.is_sound(), "{:?}", report.residual);
        let (rows, found) = read(&c);
        assert_eq!(rows, m);
        for i in 0..m {
            for j in 0..n {
                let product: f64 = (0..l).map(|k| at(6, i, k) * at(7, k, j)).sum();
                let more = if onto { beta * at(8, i, j) } else { 0.0 };
                let error = found[j * m + i] - (alpha * product + more);
                assert!(error.abs() < 1e-13, "alpha {alpha}: {error} at ({i}, {j})");
            }
        }
    }
}

/// Every result of an operation, by name.
fn results_of(
    folder: &Folder,
    operation: &Operation,
    inputs: &[MatrixSource],
    options: RunOptions,
) -> Vec<Vec<u8>> {
    let mut wanted = request(operation.clone(), inputs.to_vec(), options);
    let places: Vec<PathBuf> = operation
        .results()
        .iter()
        .map(|name| folder.0.join(format!("{name}.npy")))
        .collect();
    for (name, place) in operation.results().iter().zip(&places) {
        wanted = wanted.wanting(name, ResultPlace::Npy(place.clone()));
    }
    let outcome = ran(wanted);
    assert_eq!(outcome.files.len(), places.len());
    let bytes = places.iter().map(|place| std::fs::read(place).unwrap());
    bytes.collect()
}

#[test]
fn the_same_plan_gives_the_same_bits_whoever_works() {
    let folder = Folder::new("bits");
    let a = MatrixSource::parse("random:45x45:1").unwrap();
    let tall = MatrixSource::parse("random:61x45:1").unwrap();
    let spd = MatrixSource::parse("spd:45:1").unwrap();
    let b = MatrixSource::parse("random:45x10:2").unwrap();
    let table = [
        (Operation::Tsqr, vec![tall.clone()]),
        (Operation::Cholesky, vec![spd.clone()]),
        (Operation::Lu, vec![tall.clone()]),
        (Operation::Solve, vec![a.clone(), b.clone()]),
        (Operation::Posv, vec![spd, b.clone()]),
        (Operation::Lstsq, vec![a.clone(), b]),
        (Operation::Svd, vec![tall]),
    ];
    for (operation, inputs) in table {
        let alone = results_of(&folder, &operation, &inputs, options(1, "grid:2x2"));
        for (workers, exchange) in [(4, Exchange::Peer), (3, Exchange::Store)] {
            let others = RunOptions {
                exchange,
                ..options(workers, "grid:2x2")
            };
            let others = results_of(&folder, &operation, &inputs, others);
            assert!(alone == others, "{} with {workers}", operation.name());
        }
    }
}

#[test]
fn rows_of_lu_are_a_permutation_and_growth_is_that_of_partial_pivoting() {
    let folder = Folder::new("growth");
    // Wilkinson's matrix, whose last column doubles with each pivot.
    let n = 40;
    let a = write(&folder.0.join("w.npy"), (n, n), |i, j| match i.cmp(&j) {
        _ if j == n - 1 => 1.0,
        std::cmp::Ordering::Equal => 1.0,
        std::cmp::Ordering::Greater => -1.0,
        std::cmp::Ordering::Less => 0.0,
    });
    let (u, p) = (folder.0.join("u.npy"), folder.0.join("p.npy"));
    let wanted = request(Operation::Lu, vec![a], options(2, "auto"));
    let wanted = wanted.wanting("u", ResultPlace::Npy(u.clone()));
    ran(wanted.wanting("p", ResultPlace::Npy(p.clone())));
    let largest = read(&u).1.iter().fold(0.0f64, |max, x| max.max(x.abs()));
    // Partial pivoting meets 2^(n - 1) exactly; a tournament may choose other rows of equal size.
    let partial = 2f64.powi(n as i32 - 1);
    assert!(largest <= partial, "{largest:e} against {partial:e}");
    let mut rows = read(&p).1;
    rows.sort_by(f64::total_cmp);
    let all: Vec<f64> = (0..n).map(|i| i as f64).collect();
    assert_eq!(rows, all);
}

/// ScaLAPACK's pdgetrf moves 1.96 times the matrix between 2 x 2 ranks and 4.41 between 4 x 4, 16 tiles a side. Ours
/// exchanges the rows that win and lose alone, and each row of L once.
#[test]
fn lu_moves_fewer_bytes_between_workers_than_scalapack() {
    const N: u64 = 512;
    let input = |text: &str| MatrixSource::parse(text).unwrap();
    let a = input(&format!("random:{N}x{N}:1"));
    let b = input(&format!("random:{N}x4:2"));
    for (workers, tree, most) in [(4, "grid:2x2", 1.96), (16, "grid:4x4", 4.41)] {
        for (operation, inputs) in [
            (Operation::Lu, vec![a.clone()]),
            (Operation::Solve, vec![a.clone(), b.clone()]),
        ] {
            let name = operation.name();
            let options = RunOptions {
                block: Some(32),
                policy: Policy::Owner,
                ..options(workers, tree)
            };
            let report = ran(request(operation, inputs, options)).report;
            let moved = report.factor.bytes.peer as f64 / (8 * N * N) as f64;
            assert!(
                moved > 1.0 && moved < most,
                "{name} on {tree}: {moved} times the matrix"
            );
        }
    }
}

#[test]
fn what_cannot_be_computed_is_said_in_the_matrix_own_terms() {
    let folder = Folder::new("refused");
    let n = 30;
    let indefinite = write(&folder.0.join("i.npy"), (n, n), |i, j| {
        let value = definite("normal", n, i, j);
        if (i, j) == (20, 20) { -1.0 } else { value }
    });
    let singular = write(&folder.0.join("s.npy"), (n, n), |i, j| {
        if j == 12 { 0.0 } else { noise(1, i, j) }
    });
    let b = MatrixSource::parse("random:30x2").unwrap();
    let x = folder.0.join("x.npy");
    let table = [
        (
            Operation::Cholesky,
            vec![indefinite.clone()],
            "leading minor of order 21 is not positive",
        ),
        (
            Operation::Posv,
            vec![indefinite, b.clone()],
            "leading minor of order 21 is not positive",
        ),
        (
            Operation::Solve,
            vec![singular.clone(), b.clone()],
            "diagonal entry 13 of the triangle is exactly zero: the matrix is singular",
        ),
        (
            Operation::Lstsq,
            vec![singular, b],
            "is exactly zero: the matrix is singular",
        ),
    ];
    for (operation, inputs, expected) in table {
        let name = operation.results()[0].to_owned();
        let wanted = request(operation, inputs, options(2, "auto"));
        let wanted = wanted.wanting(&name, ResultPlace::Npy(x.clone()));
        let operation = wanted.operation.name();
        let error = run(wanted, &mut |_| {}).unwrap_err();
        assert!(
            matches!(error, RunError::Failed(_)),
            "{operation}: {error:?}"
        );
        let error = error.to_string();
        assert!(error.contains(expected), "{operation}: {error}");
        assert!(!x.exists(), "{operation} left a result");
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused_in_one_line() {
    let folder = Folder::new("shapes");
    for (arguments, expected) in [
        (
            "cholesky random:4x5",
            "cholesky: A must be symmetric, so square; it is 4 x 5",
        ),
        (
            "tsqr random:4x5",
            "tsqr: A must have at least as many rows as columns; it is 4 x 5",
        ),
        (
            "gemm random:4x5 random:4x5",
            "gemm: A must have as many columns as B has rows; A is 4 x 5, B is 4 x 5",
        ),
        (
            "gemm random:4x5 random:4x5 random:4x4 --ta",
            "gemm: C must be 5 x 5, as A B is; it is 4 x 4",
        ),
        (
            "solve random:4x5 random:4x1",
            "solve: A must be square; it is 4 x 5",
        ),
        (
            "lstsq random:4x5 random:5x1",
            "lstsq: A and B must have as many rows; A is 4 x 5, B is 5 x 1",
        ),
        (
            "tsqr random:40x20 --block 8",
            "--block is 8; tsqr takes matrices in one column of tiles",
        ),
        (
            "qr random:20x30 --block 4 --tree numpywren",
            "--tree numpywren takes square matrices of whole tiles only; the matrix is 20 x 30 in tiles of 4",
        ),
        (
            "cholesky spd:20 --tree flat",
            "--tree flat: cholesky has no such tree; expected auto or grid:PxQ",
        ),
    ] {
        let output = peerwren(&folder.0, arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {told}");
        assert!(told.contains(expected), "{arguments}: {told}");
        assert_eq!(told.lines().count(), 1, "{arguments}: {told}");
    }
}
