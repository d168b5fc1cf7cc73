//! LQ of tiles: A = [L 0] Q^', what applies Q^ from the right, and numpywren's own LQ.

use proptest::prelude::*;

use crate::harness::{Dense, Flavour, Poison, Tile, orthogonality, residual, run, try_run};
use peerwren_kernels::{Kind, Shape};

const RATIO_MAX: f64 = 30.0;

fn full(m: usize, n: usize) -> Shape {
    Shape::full(m as u32, n as u32)
}

/// A Q^ = [L 0], Q^ orthogonal: `q` is Q^, `a` has the rows of L.
fn check(a: &Dense, l: &Dense, q: &Dense, what: &str) {
    assert!(orthogonality(q) < RATIO_MAX, "{what}: {}", orthogonality(q));
    // A' = Q^ [L'; 0]
    let thin = Dense::new(q.rows, l.cols, |i, j| q.at(i, j));
    let ratio = residual(&a.transposed(), &thin, &l.transposed());
    assert!(ratio < RATIO_MAX, "{what}: {ratio}");
}

fn side_by_side(a: &Dense, b: &Dense) -> Dense {
    a.transposed().stack(&b.transposed()).transposed()
}

fn lower(m: &Dense) -> Dense {
    Tile::of(Kind::Lower, m).dense()
}

fn check_gelqt(m: usize, n: usize, ib: u32, flavour: Flavour, seed: u64) {
    let what = format!("gelqt {m}x{n} ib {ib} {flavour:?} seed {seed}");
    let (a, r) = (flavour.matrix(m, n, seed), m.min(n) as u32);
    let shapes = [
        Shape::unit(n as u32, r),
        Shape::tfac(r, ib),
        Shape::lower(m as u32, r),
    ];
    let out = run("gelqt", &[&Tile::full(&a)], &shapes);
    let eye = Tile::full(&Dense::identity(n));
    let q = run("unmlq", &[&out[0], &out[1], &eye], &[full(n, n)])[0].dense();
    check(&a, &out[2].dense(), &q, &what);
}

/// [L A] by `names[0]`; Q^ from `names[1]`, with `extra` columns of C1 and C2 that must not change.
fn check_stacked(
    names: [&str; 2],
    l: &Dense,
    a: &Tile,
    ib: u32,
    extra: (usize, usize),
    what: &str,
) {
    let (m, n) = (l.rows, a.shape.cols as usize);
    let v = if a.shape.kind == Kind::Full {
        full(n, m)
    } else {
        Shape::upper(n as u32, m as u32)
    };
    let shapes = [
        v,
        Shape::tfac(m as u32, ib),
        Shape::lower(m as u32, m as u32),
    ];
    let out = run(names[0], &[&Tile::of(Kind::Lower, l), a], &shapes);
    let (q, c) = (m + extra.0, n + extra.1);
    let eye = Dense::identity(q + c);
    let left = Tile::full(&Dense::new(q + c, q, |i, j| eye.at(i, j)));
    let right = Tile::full(&Dense::new(q + c, c, |i, j| eye.at(i, q + j)));
    let halves = run(
        names[1],
        &[&out[0], &out[1], &left, &right],
        &[left.shape, right.shape],
    );
    let whole = side_by_side(&halves[0].dense(), &halves[1].dense());
    let mine: Vec<usize> = (0..m).chain(q..q + n).collect();
    for j in (0..q + c).filter(|j| !mine.contains(j)) {
        assert!(
            (0..q + c).all(|i| whole.at(i, j) == eye.at(i, j)),
            "{what}: column {j} changed"
        );
    }
    let part = Dense::new(m + n, m + n, |i, j| whole.at(mine[i], mine[j]));
    let given = side_by_side(&lower(l), &a.dense());
    check(&given, &out[2].dense(), &part, what);
}

fn check_all(m: usize, n: usize, ib: u32, flavour: Flavour, seed: u64) {
    check_gelqt(m, n, ib, flavour, seed);
    let what = format!("{m} {n} ib {ib} {flavour:?} seed {seed}");
    let l = flavour.matrix(m, m, seed ^ 1);
    let a = Tile::full(&flavour.matrix(m, n, seed ^ 2));
    check_stacked(
        ["tslqt", "tsmlq"],
        &l,
        &a,
        ib,
        (n % 3, 0),
        &format!("tslqt {what}"),
    );
    let a = Tile::of(Kind::Lower, &flavour.matrix(m, m.min(n), seed ^ 3));
    check_stacked(
        ["ttlqt", "ttmlq"],
        &l,
        &a,
        ib,
        (n % 3, m % 4),
        &format!("ttlqt {what}"),
    );
}

#[test]
fn every_kind_and_shape() {
    for (m, n) in [(1, 1), (1, 6), (6, 1), (8, 8), (9, 17), (33, 21), (40, 64)] {
        for flavour in Flavour::ALL {
            for ib in [1, 8, 9, 32] {
                check_all(m, n, ib, flavour, 1);
            }
        }
    }
}

#[test]
fn numpywrens_own_lq() {
    for n in [1, 8, 21, 40] {
        for flavour in Flavour::ALL {
            let what = format!("{n} {flavour:?}");
            let (square, wide) = (full(n, n), n + 5);
            let a = flavour.matrix(n, wide, 1);
            let out = run(
                "lq_factor",
                &[&Tile::full(&a)],
                &[full(wide, n), square, square],
            );
            let eye = Tile::full(&Dense::identity(wide));
            let q = run("lq_leaf", &[&out[0], &out[1], &eye], &[full(wide, wide)])[0].dense();
            check(&a, &out[2].dense(), &q, &what);

            let (l1, l2) = (
                lower(&flavour.matrix(n, n, 2)),
                lower(&flavour.matrix(n, n, 3)),
            );
            let pair = [&Tile::full(&l1), &Tile::full(&l2)];
            for count in [1, 2] {
                let p = count * n;
                let shapes = [full(p, n), square, square];
                let out = run("lq_factor_triangular", &pair[..count], &shapes);
                let eye = Dense::identity(p);
                let part = |at: usize| Tile::full(&Dense::new(p, n, |i, j| eye.at(i, at * n + j)));
                let parts: Vec<Tile> = (0..count).map(part).collect();
                let mut inputs = vec![&out[0], &out[1]];
                inputs.extend(&parts);
                let halves = run("lq_trailing_update", &inputs, &vec![full(p, n); count]);
                let (q, given) = match count {
                    1 => (halves[0].dense(), l1.clone()),
                    _ => (
                        side_by_side(&halves[0].dense(), &halves[1].dense()),
                        side_by_side(&l1, &l2),
                    ),
                };
                check(&given, &out[2].dense(), &q, &format!("{what} of {count}"));
            }
        }
    }
}

#[test]
fn partners_must_come_and_go_together() {
    let tile = |m, n| Tile::full(&Flavour::Random.matrix(m, n, 1));
    let poison = Poison {
        value: 0.0,
        offset: 0,
    };
    let (v, t, s) = (&tile(6, 3), &tile(3, 3), &tile(2, 3));
    let error = try_run("lq_trailing_update", &[v, t, s, s], &[full(2, 3)], poison);
    assert!(error.is_err());
    let error = try_run(
        "lq_factor_triangular",
        &[t, t],
        &[full(5, 3), full(3, 3), full(3, 3)],
        poison,
    );
    assert!(error.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tile(m in 1..50_usize, n in 1..50_usize, ib in 1..40_u32, kind in 0..11_usize, seed: u64) {
        check_all(m, n, ib, Flavour::ALL[kind], seed);
    }
}
