//! geqrt, tsqrt, ttqrt and what applies them.

use proptest::prelude::*;

use crate::harness::{Dense, Flavour, Poison, Tile, orthogonality, residual, run, try_run};
use peerwren_kernels::{KernelError, Shape};

const RATIO_MAX: f64 = 30.0;

fn check_geqrt(a: &Dense, ib: usize, what: &str) {
    let (m, n) = (a.rows as u32, a.cols as u32);
    let r = m.min(n);
    let out = run(
        "geqrt",
        &[&Tile::full(a)],
        &[
            Shape::unit(m, r),
            Shape::tfac(r, ib as u32),
            Shape::upper(r, n),
        ],
    );
    let eye = Dense::identity(a.rows);
    let q = run(
        "unmqr_n",
        &[&out[0], &out[1], &Tile::full(&eye)],
        &[Shape::full(m, m)],
    )[0]
    .dense();
    let back = run(
        "unmqr",
        &[&out[0], &out[1], &Tile::full(&q)],
        &[Shape::full(m, m)],
    )[0]
    .dense();
    assert!(
        orthogonality(&q) < RATIO_MAX,
        "{what}: |I - Q'Q| {}",
        orthogonality(&q)
    );
    let thin = Dense::new(a.rows, r as usize, |i, j| q.at(i, j));
    let ratio = residual(a, &thin, &out[2].dense());
    assert!(ratio < RATIO_MAX, "{what}: |A - QR| {ratio}");
    let ratio = residual(&eye, &eye, &back);
    assert!(ratio < RATIO_MAX, "{what}: Q'Q applied {ratio}");
}

/// [R; A] = Q [R'; 0] by `qrt`; Q from `mqr`; `extra` rows of C1 and C2 that must not change.
fn check_stacked(
    names: [&str; 3],
    r: &Dense,
    a: &Tile,
    ib: usize,
    extra: (usize, usize),
    what: &str,
) {
    let (n, q) = (r.cols, a.shape.rows as usize);
    let (p, m) = (n + extra.0, q + extra.1);
    let upper = Shape::upper(n as u32, n as u32);
    let out = run(
        names[0],
        &[&Tile::upper(r), a],
        &[a.shape, Shape::tfac(n as u32, ib as u32), upper],
    );
    let cols = p + m;
    let eye = Dense::identity(cols);
    let shapes = [
        Shape::full(p as u32, cols as u32),
        Shape::full(m as u32, cols as u32),
    ];
    let apply = |name: &str, c: &Dense| {
        let (c1, c2) = (Tile::full(&c.rows(0, p)), Tile::full(&c.rows(p, cols)));
        let out = run(name, &[&out[0], &out[1], &c1, &c2], &shapes);
        out[0].dense().stack(&out[1].dense())
    };
    let full_q = apply(names[2], &eye);
    assert!(
        orthogonality(&full_q) < RATIO_MAX,
        "{what}: |I - Q'Q| {}",
        orthogonality(&full_q)
    );
    let back = apply(names[1], &full_q);
    let ratio = residual(&eye, &eye, &back);
    assert!(ratio < RATIO_MAX, "{what}: Q'Q applied {ratio}");
    // rows n..p and p + q.. of the stack are not the kernel's
    let mine: Vec<usize> = (0..n).chain(p..p + q).collect();
    for i in (0..cols).filter(|i| !mine.contains(i)) {
        assert!(
            (0..cols).all(|j| full_q.at(i, j) == f64::from(i == j)),
            "{what}: row {i} changed"
        );
    }
    let stack = r.stack(&a.dense());
    let thin = Dense::new(n + q, n, |i, j| full_q.at(mine[i], j));
    let ratio = residual(&stack, &thin, &out[2].dense());
    assert!(ratio < RATIO_MAX, "{what}: |A - QR| {ratio}");
}

const TS: [&str; 3] = ["tsqrt", "tsmqr", "tsmqr_n"];
const TT: [&str; 3] = ["ttqrt", "ttmqr", "ttmqr_n"];

fn triangle(m: &Dense) -> Dense {
    Dense::new(m.rows, m.cols, |i, j| if i <= j { m.at(i, j) } else { 0.0 })
}

#[test]
fn geqrt_factors_every_kind_and_shape() {
    let shapes = [
        (1, 1),
        (1, 5),
        (5, 1),
        (7, 7),
        (8, 8),
        (9, 9),
        (15, 16),
        (40, 17),
        (17, 40),
        (33, 33),
        (70, 50),
    ];
    for (m, n) in shapes {
        for flavour in Flavour::ALL {
            for ib in [1, 4, 7, 8, 9, 16, 32, 64] {
                check_geqrt(
                    &flavour.matrix(m, n, 1),
                    ib,
                    &format!("geqrt {m}x{n} ib {ib} {flavour:?}"),
                );
            }
        }
    }
}

#[test]
fn tsqrt_factors_every_kind_and_shape() {
    for (m, n) in [
        (1, 1),
        (1, 6),
        (6, 1),
        (7, 8),
        (8, 8),
        (9, 17),
        (40, 33),
        (21, 40),
        (64, 24),
    ] {
        for flavour in Flavour::ALL {
            for ib in [1, 3, 8, 9, 16, 32] {
                let what = format!("tsqrt {m}x{n} ib {ib} {flavour:?}");
                let r = triangle(&flavour.matrix(n, n, 2));
                check_stacked(
                    TS,
                    &r,
                    &Tile::full(&flavour.matrix(m, n, 3)),
                    ib,
                    (m % 3, 0),
                    &what,
                );
            }
        }
    }
}

#[test]
fn ttqrt_factors_every_kind_and_shape() {
    for (q, n) in [
        (1, 1),
        (1, 6),
        (6, 6),
        (7, 8),
        (8, 8),
        (9, 17),
        (33, 33),
        (21, 40),
        (24, 64),
        (40, 40),
    ] {
        for flavour in Flavour::ALL {
            for ib in [1, 3, 8, 9, 16, 32] {
                let what = format!("ttqrt {q}x{n} ib {ib} {flavour:?}");
                let r = triangle(&flavour.matrix(n, n, 4));
                check_stacked(
                    TT,
                    &r,
                    &Tile::upper(&flavour.matrix(q, n, 5)),
                    ib,
                    (q % 3, n % 4),
                    &what,
                );
            }
        }
    }
}

#[test]
fn tiles_of_production_size_are_factored() {
    let (flavour, nb) = (Flavour::Random, 200);
    check_geqrt(&flavour.matrix(nb, nb, 6), 32, "geqrt 200");
    let r = triangle(&flavour.matrix(nb, nb, 7));
    check_stacked(
        TS,
        &r,
        &Tile::full(&flavour.matrix(nb, nb, 8)),
        32,
        (0, 0),
        "tsqrt 200",
    );
    check_stacked(
        TT,
        &r,
        &Tile::upper(&flavour.matrix(nb, nb, 9)),
        48,
        (0, 0),
        "ttqrt 200",
    );
}

#[test]
fn what_is_not_finite_is_refused() {
    let poison = Poison {
        value: 0.0,
        offset: 0,
    };
    let square = Shape::upper(20, 20);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for place in [0, 19, 200, 399] {
            let mut a = Tile::full(&Flavour::Random.matrix(20, 20, 10));
            a.data[place] = bad;
            let out = [Shape::unit(20, 20), Shape::tfac(20, 8), square];
            assert_eq!(
                try_run("geqrt", &[&a], &out, poison),
                Err(KernelError::NotFinite),
                "{bad} at {place}"
            );
            let r = Tile::upper(&Flavour::Random.matrix(20, 20, 11));
            let out = [a.shape, Shape::tfac(20, 8), square];
            assert_eq!(
                try_run("tsqrt", &[&r, &a], &out, poison),
                Err(KernelError::NotFinite),
                "{bad} at {place}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tile_is_factored(m in 1..60_usize, n in 1..60_usize, ib in 1..40_usize, kind in 0..11_usize, seed: u64) {
        let flavour = Flavour::ALL[kind];
        let what = format!("{m}x{n} ib {ib} {flavour:?} seed {seed}");
        check_geqrt(&flavour.matrix(m, n, seed), ib, &what);
        let r = triangle(&flavour.matrix(n, n, seed ^ 1));
        check_stacked(TS, &r, &Tile::full(&flavour.matrix(m, n, seed ^ 2)), ib, (m % 4, 0), &what);
        let q = m.min(n);
        check_stacked(TT, &r, &Tile::upper(&flavour.matrix(q, n, seed ^ 3)), ib, (m % 4, n % 3), &what);
    }
}
