//! numpywren's kernels and those of the residual checks.

use crate::harness::{Dense, EPS, Flavour, Poison, Tile, orthogonality, residual, run, try_run};
use peerwren_kernels::Shape;

const RATIO_MAX: f64 = 30.0;

fn full(m: usize, n: usize) -> Shape {
    Shape::full(m as u32, n as u32)
}

#[test]
fn qr_factor_and_its_leaf() {
    for (m, n) in [(1, 1), (8, 8), (9, 9), (40, 40), (50, 30), (96, 96)] {
        for flavour in Flavour::ALL {
            let a = flavour.matrix(m, n, 1);
            let out = run(
                "qr_factor",
                &[&Tile::full(&a)],
                &[full(m, n), full(n, n), full(n, n)],
            );
            let eye = Tile::full(&Dense::identity(m));
            let q = run("qr_leaf_n", &[&out[0], &out[1], &eye], &[full(m, m)])[0].dense();
            assert!(
                orthogonality(&q) < RATIO_MAX,
                "{m}x{n} {flavour:?}: {}",
                orthogonality(&q)
            );
            let thin = Dense::new(m, n, |i, j| q.at(i, j));
            let ratio = residual(&a, &thin, &out[2].dense());
            assert!(ratio < RATIO_MAX, "{m}x{n} {flavour:?}: {ratio}");
            let back = run(
                "qr_leaf",
                &[&out[0], &out[1], &Tile::full(&q)],
                &[full(m, m)],
            )[0]
            .dense();
            assert!(
                Dense::identity(m).minus(&back).norm() < RATIO_MAX * m as f64 * EPS,
                "{m}x{n} {flavour:?}"
            );
        }
    }
}

#[test]
fn qr_factor_triangular_and_its_update() {
    for n in [1, 8, 21, 40] {
        for flavour in Flavour::ALL {
            let triangle = |seed| {
                let m = flavour.matrix(n, n, seed);
                Dense::new(n, n, |i, j| if i <= j { m.at(i, j) } else { 0.0 })
            };
            let (r1, r2) = (triangle(1), triangle(2));
            let stack = r1.stack(&r2);
            let out = run(
                "qr_factor_triangular",
                &[&Tile::full(&r1), &Tile::full(&r2)],
                &[full(2 * n, n), full(n, n), full(n, n)],
            );
            let eye = Dense::identity(2 * n);
            let (top, bottom) = (Tile::full(&eye.rows(0, n)), Tile::full(&eye.rows(n, 2 * n)));
            let shapes = [full(n, 2 * n), full(n, 2 * n)];
            let halves = run(
                "qr_trailing_update_n",
                &[&out[0], &out[1], &top, &bottom],
                &shapes,
            );
            let q = halves[0].dense().stack(&halves[1].dense());
            assert!(
                orthogonality(&q) < RATIO_MAX,
                "{n} {flavour:?}: {}",
                orthogonality(&q)
            );
            let thin = Dense::new(2 * n, n, |i, j| q.at(i, j));
            let ratio = residual(&stack, &thin, &out[2].dense());
            assert!(ratio < RATIO_MAX, "{n} {flavour:?}: {ratio}");
            let back = run(
                "qr_trailing_update",
                &[&out[0], &out[1], &halves[0], &halves[1]],
                &shapes,
            );
            let back = back[0].dense().stack(&back[1].dense());
            assert!(
                eye.minus(&back).norm() < RATIO_MAX * 2.0 * n as f64 * EPS,
                "{n} {flavour:?}"
            );

            let alone = run(
                "qr_factor_triangular",
                &[&Tile::full(&r1)],
                &[full(n, n), full(n, n), full(n, n)],
            );
            let eye = Tile::full(&Dense::identity(n));
            let q = run(
                "qr_trailing_update_n",
                &[&alone[0], &alone[1], &eye],
                &[full(n, n)],
            )[0]
            .dense();
            assert!(
                residual(&r1, &q, &alone[2].dense()) < RATIO_MAX,
                "{n} {flavour:?} alone"
            );
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
    let cases: [(&str, Vec<Tile>, Vec<Shape>); 3] = [
        (
            "qr_factor_triangular",
            vec![tile(3, 3), tile(3, 3)],
            vec![full(5, 3), full(3, 3), full(3, 3)],
        ),
        (
            "qr_trailing_update",
            vec![tile(6, 3), tile(3, 3), tile(3, 2), tile(3, 2)],
            vec![full(3, 2)],
        ),
        (
            "qr_trailing_update",
            vec![tile(3, 3), tile(3, 3), tile(3, 2), tile(3, 2)],
            vec![full(3, 2), full(3, 2)],
        ),
    ];
    for (name, inputs, outputs) in cases {
        let inputs: Vec<&Tile> = inputs.iter().collect();
        assert!(try_run(name, &inputs, &outputs, poison).is_err(), "{name}");
    }
}

#[test]
fn residual_kernels_compute_their_formulas() {
    let matrix = |m, n, seed| Flavour::Random.matrix(m, n, seed);
    let (e, q, r, s) = (matrix(9, 7, 1), matrix(9, 5, 2), matrix(5, 7, 3), 4.0);
    let one = |x: f64| Tile::full(&Dense::new(1, 1, |_, _| x));
    let close = |got: &Tile, expected: &Dense| {
        let error = got.dense().minus(expected).norm();
        assert!(error < 1e-14, "{error}");
    };
    let scaled = |m: &Dense| m.scaled(s);
    let out = run("residual_start", &[&Tile::full(&e), &one(s)], &[full(9, 7)]);
    close(&out[0], &scaled(&e));
    let inputs = [&Tile::full(&e), &Tile::full(&q), &Tile::full(&r), &one(s)];
    close(
        &run("residual_step", &inputs, &[full(9, 7)])[0],
        &e.minus(&q.times(&scaled(&r))),
    );
    let triangle = Dense::new(5, 7, |i, j| if i <= j { r.at(i, j) } else { 0.0 });
    let inputs = [&Tile::full(&e), &Tile::full(&q), &Tile::upper(&r), &one(s)];
    close(
        &run("residual_step", &inputs, &[full(9, 7)])[0],
        &e.minus(&q.times(&scaled(&triangle))),
    );

    let gram = q.transposed().times(&e);
    close(
        &run(
            "gram_step",
            &[&Tile::full(&q), &Tile::full(&e)],
            &[full(5, 7)],
        )[0],
        &gram,
    );
    let inputs = [&Tile::full(&q), &Tile::full(&e), &Tile::full(&r)];
    let minus = Dense::new(5, 7, |i, j| -r.at(i, j));
    close(
        &run("gram_step", &inputs, &[full(5, 7)])[0],
        &gram.minus(&minus),
    );
    let square = matrix(6, 6, 4);
    close(
        &run("sub_identity", &[&Tile::full(&square)], &[full(6, 6)])[0],
        &square.minus(&Dense::identity(6)),
    );

    let sums = run("colsum", &[&Tile::full(&e)], &[full(1, 7)]);
    let twice = run("colsum", &[&Tile::full(&e), &sums[0]], &[full(1, 7)]);
    let norm = run("max_entry", &[&twice[0]], &[full(1, 1)]);
    assert!((norm[0].data[0] - 2.0 * e.norm()).abs() < 1e-14);
    assert_eq!(
        run("max_entry", &[&twice[0], &one(1e9)], &[full(1, 1)])[0].data,
        [1e9]
    );
    assert_eq!(
        run("amax", &[&Tile::full(&e)], &[full(1, 1)])[0].data,
        [e.amax()]
    );
    assert_eq!(
        run("max", &[&one(2.0), &one(3.0)], &[full(1, 1)])[0].data,
        [3.0]
    );
}

#[test]
fn a_scale_of_zero_gives_zeros_and_nan_is_not_lost() {
    let one = |x: f64| Tile::full(&Dense::new(1, 1, |_, _| x));
    let zero = Tile::full(&Flavour::Zero.matrix(3, 3, 1));
    assert_eq!(
        run("residual_start", &[&zero, &one(0.0)], &[full(3, 3)])[0],
        zero
    );
    assert_eq!(
        run(
            "residual_step",
            &[&zero, &zero, &zero, &one(0.0)],
            &[full(3, 3)]
        )[0],
        zero
    );
    for pair in [(f64::NAN, 1.0), (1.0, f64::NAN)] {
        assert!(run("max", &[&one(pair.0), &one(pair.1)], &[full(1, 1)])[0].data[0].is_nan());
        let row = Tile {
            shape: full(1, 2),
            data: vec![pair.0, pair.1],
        };
        assert!(run("max_entry", &[&row], &[full(1, 1)])[0].data[0].is_nan());
        assert!(run("amax", &[&row], &[full(1, 1)])[0].data[0].is_nan());
    }
}
