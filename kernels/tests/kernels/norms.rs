//! Norms, steps of residuals over triangles and transposes.

use crate::harness::{Dense, Flavour, Tile, run};
use peerwren_kernels::{Kind, Shape};

const KINDS: [Kind; 4] = [Kind::Full, Kind::Unit, Kind::Upper, Kind::Lower];

fn full(m: usize, n: usize) -> Shape {
    Shape::full(m as u32, n as u32)
}

fn one(x: f64) -> Tile {
    Tile::full(&Dense::new(1, 1, |_, _| x))
}

fn matrix(m: usize, n: usize, seed: u64) -> Dense {
    Flavour::Random.matrix(m, n, seed)
}

#[test]
fn residual_steps_take_any_kind_and_transposes() {
    let (m, n, k, s) = (9, 7, 5, 4.0);
    let e = matrix(m, n, 1);
    let close = |got: &Tile, expected: &Dense, what: &str| {
        let error = got.dense().minus(expected).norm();
        assert!(error < 1e-14, "{what}: {error}");
    };
    for x_kind in KINDS {
        for y_kind in KINDS {
            let run_step = |name: &str, x: (usize, usize), y: (usize, usize)| {
                let fits = |kind, (rows, cols): (usize, usize)| kind != Kind::Unit || rows >= cols;
                if !fits(x_kind, x) || !fits(y_kind, y) {
                    return;
                }
                let what = format!("{name} {x_kind:?} {y_kind:?}");
                let x = Tile::of(x_kind, &matrix(x.0, x.1, 2));
                let y = Tile::of(y_kind, &matrix(y.0, y.1, 3));
                let (xd, yd) = (x.dense(), y.dense().scaled(s));
                let product = match name {
                    "residual_step" => xd.times(&yd),
                    "residual_step_nt" => xd.times(&yd.transposed()),
                    _ => xd.transposed().times(&yd),
                };
                let out = run(name, &[&Tile::full(&e), &x, &y, &one(s)], &[full(m, n)]);
                close(&out[0], &e.minus(&product), &what);
            };
            run_step("residual_step", (m, k), (k, n));
            run_step("residual_step_nt", (m, k), (n, k));
            run_step("residual_step_tn", (k + 9, m), (k + 9, n));
        }
        let a = Tile::of(x_kind, &matrix(m, n, 4));
        let out = run("residual_start", &[&a, &one(s)], &[full(m, n)]);
        close(&out[0], &a.dense().scaled(s), "residual_start");
    }
}

#[test]
fn sums_and_largest_entries_of_any_kind() {
    for kind in KINDS {
        let a = Tile::of(kind, &matrix(9, 7, 5));
        let dense = a.dense();
        assert_eq!(
            run("amax", &[&a], &[full(1, 1)])[0].data,
            [dense.amax()],
            "{kind:?}"
        );
        let before = matrix(1, 7, 6);
        let sums = run("colsum", &[&a, &Tile::full(&before)], &[full(1, 7)]);
        for j in 0..7 {
            let expected = before.at(0, j) + (0..9).map(|i| dense.at(i, j).abs()).sum::<f64>();
            assert!((sums[0].data[j] - expected).abs() < 1e-14, "{kind:?}");
        }
    }
    let a = matrix(9, 7, 7);
    let (rows, before) = (a.transposed(), matrix(1, 9, 8));
    let plain = run("rowsum", &[&Tile::full(&a)], &[full(1, 9)]);
    let added = run(
        "rowsum",
        &[&Tile::full(&a), &Tile::full(&before)],
        &[full(1, 9)],
    );
    let expected = run("colsum", &[&Tile::full(&rows)], &[full(1, 9)]);
    for i in 0..9 {
        assert!((plain[0].data[i] - expected[0].data[i]).abs() < 1e-14);
        assert!((added[0].data[i] - before.data[i] - expected[0].data[i]).abs() < 1e-14);
    }
    assert_eq!(
        run("transpose", &[&Tile::full(&a)], &[full(7, 9)])[0].dense(),
        rows
    );
}

#[test]
fn a_symmetric_sum_reads_the_lower_triangle_alone() {
    let n = 13;
    let a = matrix(n, n, 9);
    let whole = Dense::new(n, n, |i, j| a.at(i.max(j), i.min(j)));
    let half = Dense::new(n, n, |i, j| if i >= j { a.at(i, j) } else { f64::NAN });
    let before = Tile::full(&matrix(1, n, 10));
    let got = run("colsum_sym", &[&Tile::full(&half), &before], &[full(1, n)]);
    let expected = run("colsum", &[&Tile::full(&whole), &before], &[full(1, n)]);
    for (x, y) in got[0].data.iter().zip(&expected[0].data) {
        assert!((x - y).abs() < 1e-13);
    }
}

fn norm(parts: &[Tile]) -> f64 {
    let mut pair = run("ssq", &[&parts[0]], &[full(1, 2)]).remove(0);
    for part in &parts[1..] {
        pair = run("ssq", &[part, &pair], &[full(1, 2)]).remove(0);
    }
    run("norm_of_ssq", &[&pair], &[full(1, 1)])[0].data[0]
}

#[test]
fn sums_of_squares_are_safe_at_any_scale() {
    for kind in KINDS {
        let tile = Tile::of(kind, &matrix(9, 7, 11));
        let exact = tile.dense().data.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((norm(&[tile]) / exact - 1.0).abs() < 1e-14, "{kind:?}");
    }
    let noise = matrix(9, 7, 12);
    let exact = noise.data.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scaled = |scale: f64| Tile::new(full(9, 7), |i| noise.data[i] * scale);
    // Powers of two are exact, those of the smallest numbers nearly.
    for (power, tolerance) in [(1000, 1e-14), (-1000, 1e-14), (-1040, 1e-8), (0, 1e-14)] {
        let scale = 2_f64.powi(power / 2) * 2_f64.powi(power / 2);
        let got = norm(&[scaled(scale), scaled(scale), scaled(0.0)]);
        let ratio = got / scale / exact / 2_f64.sqrt();
        assert!((ratio - 1.0).abs() < tolerance, "2^{power}: {ratio}");
    }
    for parts in [[1.0, 1e-200], [1e-200, 1.0], [1.0, 0.0], [0.0, 1.0]] {
        let got = norm(&parts.map(scaled));
        assert!((got / exact - 1.0).abs() < 1e-14, "{parts:?}: {got}");
    }
    assert_eq!(norm(&[scaled(0.0), scaled(0.0)]), 0.0);
    let bad = |x: f64| Tile::new(full(9, 7), |i| if i == 20 { x } else { 1.0 });
    for (parts, expected) in [
        ([bad(f64::INFINITY), scaled(1.0)], f64::INFINITY),
        ([scaled(1.0), bad(f64::NEG_INFINITY)], f64::INFINITY),
        ([bad(f64::INFINITY), scaled(0.0)], f64::INFINITY),
    ] {
        assert_eq!(norm(&parts), expected);
    }
    for parts in [
        [bad(f64::NAN), scaled(1.0)],
        [scaled(1.0), bad(f64::NAN)],
        [scaled(0.0), bad(f64::NAN)],
        [bad(f64::INFINITY), bad(f64::NAN)],
        [bad(f64::NAN), bad(f64::INFINITY)],
    ] {
        assert!(norm(&parts).is_nan());
    }
}
