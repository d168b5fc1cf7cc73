//! LU with partial pivoting, playoffs of rows, and what moves rows.

use faer::linalg::solvers::PartialPivLu;
use faer::prelude::*;
use proptest::prelude::*;

use crate::harness::{Dense, EPS, Flavour, Poison, Tile, run, try_run, try_run_some};
use peerwren_kernels::{KernelError, Shape};

const RATIO_MAX: f64 = 30.0;
const CLEAN: Poison = Poison {
    value: f64::NAN,
    offset: 0,
};

fn full(m: usize, n: usize) -> Shape {
    Shape::full(m as u32, n as u32)
}

fn index(rows: &[i64]) -> Tile {
    Tile::new(Shape::index(rows.len() as u32), |i| {
        f64::from_bits(rows[i] as u64)
    })
}

fn numbers(tile: &Tile) -> Vec<usize> {
    tile.data
        .iter()
        .map(|word| word.to_bits() as usize)
        .collect()
}

fn permuted(a: &Dense, rows: &[usize]) -> Dense {
    Dense::new(rows.len(), a.cols, |i, j| a.at(rows[i], j))
}

fn assert_permutation(rows: &[usize], what: &str) {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq(0..rows.len()), "{what}: {rows:?}");
}

fn getrf(a: &Dense) -> (Vec<usize>, Dense, Dense) {
    let (m, n) = (a.rows as u32, a.cols as u32);
    let r = m.min(n);
    let shapes = [Shape::index(m), Shape::unit(m, r), Shape::upper(r, n)];
    let out = run("getrf", &[&Tile::full(a)], &shapes);
    (numbers(&out[0]), out[1].dense(), out[2].dense())
}

fn check_getrf(a: &Dense, what: &str) {
    let (rows, l, u) = getrf(a);
    assert_permutation(&rows, what);
    assert!(l.amax() <= 1.0, "{what}: multipliers are at most 1");
    let (pa, scale) = (permuted(a, &rows), a.amax());
    let error = pa.scaled(scale).minus(&l.times(&u.scaled(scale))).norm();
    let eps = EPS.max(f64::from_bits(1) / scale);
    let ratio = error / (a.rows.max(a.cols) as f64 * eps * a.scaled(scale).norm());
    assert!(error == 0.0 || ratio < RATIO_MAX, "{what}: {ratio}");
}

#[test]
fn getrf_factors_every_kind_and_shape() {
    for (m, n) in [
        (1, 1),
        (1, 5),
        (5, 1),
        (7, 7),
        (8, 8),
        (9, 9),
        (40, 17),
        (17, 40),
        (33, 33),
        (70, 50),
        (200, 200),
    ] {
        for flavour in Flavour::ALL {
            check_getrf(&flavour.matrix(m, n, 1), &format!("{m}x{n} {flavour:?}"));
        }
    }
}

#[test]
fn pivots_are_those_of_another_partial_pivoting() {
    for n in [1, 9, 40, 100] {
        let a = Flavour::Random.matrix(n, n, 2);
        let (rows, _, u) = getrf(&a);
        let other = PartialPivLu::new(Mat::from_fn(n, n, |i, j| a.at(i, j)).as_ref());
        assert_eq!(rows, other.P().arrays().0, "{n}");
        for i in 0..n {
            let (x, y) = (u.at(i, i), other.U()[(i, i)]);
            assert!((x - y).abs() <= 1e-10 * y.abs(), "{n}: {x} {y}");
        }
    }
}

#[test]
fn a_singular_matrix_is_factored() {
    let a = Dense::new(4, 4, |i, j| {
        f64::from(u8::from(j != 1)) * ((i * j) as f64 + 1.0)
    });
    let (_, l, u) = getrf(&a);
    assert_eq!(u.at(1, 1), 0.0);
    assert!((2..4).all(|i| l.at(i, 1) == 0.0));
    for bad in [f64::NAN, f64::INFINITY] {
        let mut tile = Tile::full(&Flavour::Random.matrix(9, 9, 3));
        tile.data[40] = bad;
        let shapes = [Shape::index(9), Shape::unit(9, 9), Shape::upper(9, 9)];
        let error = try_run("getrf", &[&tile], &shapes, CLEAN);
        assert_eq!(error, Err(KernelError::NotFinite));
        let order = index(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let inputs = [&tile, &order, &tile, &order];
        let error = try_run("playoff", &inputs, &[full(9, 9), order.shape], CLEAN);
        assert_eq!(error, Err(KernelError::NotFinite));
    }
}

fn check_playoff(m: usize, p: usize, n: usize, flavour: Flavour, seed: u64) {
    let what = format!("{m} + {p} x {n} {flavour:?} seed {seed}");
    let (a, b) = (flavour.matrix(m, n, seed), flavour.matrix(p, n, seed ^ 1));
    let q = m + p;
    let places: Vec<i64> = (0..q as i64).map(|i| 7 * i + 3).collect();
    let (top, bottom) = places.split_at(m);
    let out = run(
        "playoff",
        &[
            &Tile::full(&a),
            &index(top),
            &Tile::full(&b),
            &index(bottom),
        ],
        &[full(m, n), Shape::index(m as u32)],
    );
    let order: Vec<usize> = numbers(&out[1]).iter().map(|id| (id - 3) / 7).collect();
    let r = n.min(m);
    let stack = a.stack(&b);
    let (rows, _, _) = getrf(&stack);
    assert_eq!(order[..r], rows[..r], "{what}: pivots");
    assert_eq!(out[0].dense(), permuted(&stack, &order), "{what}");
    let taken = n.min(q);
    let mut rest: Vec<usize> = (0..q).filter(|row| !rows[..taken].contains(row)).collect();
    rest.truncate(m.saturating_sub(taken));
    assert_eq!(order[r..], rest, "{what}: the rest in its order");
}

#[test]
fn playoffs_take_the_pivots_of_the_stack() {
    for (m, p, n) in [(1, 1, 1), (5, 3, 8), (4, 4, 20), (30, 30, 30), (40, 9, 33)] {
        for flavour in Flavour::ALL {
            check_playoff(m, p, n, flavour, 1);
        }
    }
}

#[test]
fn rows_move_by_their_indices() {
    let a = Flavour::Random.matrix(4, 3, 5);
    let rows = [2, 0, 3, 1];
    let tile = index(&rows.map(|i| i as i64));
    let out = run("permute_rows", &[&tile, &Tile::full(&a)], &[full(4, 3)]);
    assert_eq!(out[0].dense(), permuted(&a, &rows));
    let out = run(
        "permute_index",
        &[&tile, &index(&[10, 11, 12, 13])],
        &[Shape::index(4)],
    );
    assert_eq!(numbers(&out[0]), [12, 10, 13, 11]);

    let (wanted, held) = (index(&[6, 1, 5, 9]), index(&[5, 6]));
    let b = Flavour::Random.matrix(2, 3, 6);
    for before in [None, Some(&a)] {
        let before_tile = before.map(Tile::full);
        let inputs = [
            before_tile.as_ref(),
            Some(&wanted),
            Some(&held),
            Some(&Tile::full(&b)),
        ];
        let out = try_run_some("pick_rows", &inputs, &[full(4, 3)], CLEAN).expect("no error");
        let expected = Dense::new(4, 3, |i, j| match i {
            0 => b.at(1, j),
            2 => b.at(0, j),
            _ => before.map_or(0.0, |a| a.at(i, j)),
        });
        assert_eq!(out[0].dense(), expected);
    }
    let out = run(
        "take",
        &[&Tile::full(&a), &index(&[3, 3]), &index(&[1, 0, 2, 2])],
        &[full(2, 4)],
    );
    assert_eq!(
        out[0].dense(),
        Dense::new(2, 4, |_, j| a.at(3, [1, 0, 2, 2][j]))
    );
}

#[test]
fn indices_out_of_range_are_refused() {
    let a = &Tile::full(&Flavour::Random.matrix(2, 3, 5));
    let good = &index(&[0, 1]);
    for bad in [-1, i64::MIN, 2, 4, i64::MAX] {
        let two = &index(&[0, bad]);
        let cases: [(&str, &[&Tile], &[Shape]); 3] = [
            ("permute_rows", &[two, a], &[full(2, 3)]),
            ("permute_index", &[two, good], &[Shape::index(2)]),
            ("take", &[a, two, good], &[full(2, 2)]),
        ];
        for (name, inputs, outputs) in cases {
            let error = try_run(name, inputs, outputs, CLEAN);
            assert!(matches!(error, Err(KernelError::Failed(_))), "{name} {bad}");
        }
    }
    for (wanted, held) in [
        ([0, -1], [0, 1]),
        ([0, 1], [1, 0]),
        ([0, 1], [-1, 0]),
        ([0, 1], [i64::MAX, i64::MIN]),
    ] {
        let inputs = [a, &index(&wanted), &index(&held), a];
        let error = try_run("pick_rows", &inputs, &[full(2, 3)], CLEAN);
        assert!(
            matches!(error, Err(KernelError::Failed(_))),
            "{wanted:?} {held:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tile(m in 1..60_usize, n in 1..60_usize, p in 1..60_usize, kind in 0..11_usize, seed: u64) {
        let flavour = Flavour::ALL[kind];
        check_getrf(&flavour.matrix(m, n, seed), &format!("{m}x{n} {flavour:?} seed {seed}"));
        check_playoff(m, p, n, flavour, seed);
    }
}
