//! A kernel's bits depend on its inputs alone.

use crate::harness::{Flavour, Poison, Tile, try_run};
use peerwren_kernels::{KernelSet, Shape, self_test};

/// Every kernel that factors or applies, with inputs and outputs of ragged sizes.
fn cases() -> Vec<(&'static str, Vec<Tile>, Vec<Shape>)> {
    let full = |m, n, seed| Tile::full(&Flavour::Random.matrix(m, n, seed));
    let upper = |m, n, seed| Tile::upper(&Flavour::Random.matrix(m, n, seed));
    let some = |shape, scale: f64| Tile::new(shape, |i| scale * ((i % 17) as f64 - 8.0));
    let (unit, tfac) = (
        some(Shape::unit(61, 45), 0.01),
        some(Shape::tfac(45, 20), 0.1),
    );
    let (f, u) = (Shape::full, Shape::upper);
    vec![
        (
            "geqrt",
            vec![full(61, 45, 1)],
            vec![unit.shape, tfac.shape, u(45, 45)],
        ),
        (
            "unmqr",
            vec![unit.clone(), tfac.clone(), full(61, 37, 2)],
            vec![f(61, 37)],
        ),
        (
            "unmqr_n",
            vec![unit, tfac.clone(), full(61, 37, 2)],
            vec![f(61, 37)],
        ),
        (
            "tsqrt",
            vec![upper(45, 45, 3), full(61, 45, 4)],
            vec![f(61, 45), tfac.shape, u(45, 45)],
        ),
        (
            "tsmqr",
            vec![
                full(61, 45, 5),
                tfac.clone(),
                full(50, 37, 6),
                full(61, 37, 7),
            ],
            vec![f(50, 37), f(61, 37)],
        ),
        (
            "tsmqr_n",
            vec![
                full(61, 45, 5),
                tfac.clone(),
                full(50, 37, 6),
                full(61, 37, 7),
            ],
            vec![f(50, 37), f(61, 37)],
        ),
        (
            "ttqrt",
            vec![upper(45, 45, 8), upper(31, 45, 9)],
            vec![u(31, 45), tfac.shape, u(45, 45)],
        ),
        (
            "ttmqr",
            vec![
                upper(31, 45, 10),
                tfac.clone(),
                full(50, 37, 6),
                full(40, 37, 7),
            ],
            vec![f(50, 37), f(40, 37)],
        ),
        (
            "ttmqr_n",
            vec![upper(31, 45, 10), tfac, full(50, 37, 6), full(40, 37, 7)],
            vec![f(50, 37), f(40, 37)],
        ),
        (
            "qr_factor",
            vec![full(45, 45, 11)],
            vec![f(45, 45), f(45, 45), f(45, 45)],
        ),
        (
            "qr_factor_triangular",
            vec![full(45, 45, 11), full(45, 45, 12)],
            vec![f(90, 45), f(45, 45), f(45, 45)],
        ),
        (
            "qr_factor_triangular",
            vec![full(45, 45, 11)],
            vec![f(45, 45), f(45, 45), f(45, 45)],
        ),
        (
            "qr_leaf",
            vec![full(61, 45, 13), full(45, 45, 14), full(61, 37, 15)],
            vec![f(61, 37)],
        ),
        (
            "qr_leaf_n",
            vec![full(61, 45, 13), full(45, 45, 14), full(61, 37, 15)],
            vec![f(61, 37)],
        ),
        (
            "qr_trailing_update",
            vec![
                full(90, 45, 16),
                full(45, 45, 14),
                full(45, 37, 15),
                full(45, 37, 17),
            ],
            vec![f(45, 37), f(45, 37)],
        ),
        (
            "qr_trailing_update_n",
            vec![
                full(90, 45, 16),
                full(45, 45, 14),
                full(45, 37, 15),
                full(45, 37, 17),
            ],
            vec![f(45, 37), f(45, 37)],
        ),
        ("identity", vec![full(5, 7, 18)], vec![f(5, 7)]),
        ("amax", vec![full(5, 7, 18)], vec![f(1, 1)]),
        ("max", vec![full(1, 1, 18), full(1, 1, 19)], vec![f(1, 1)]),
        (
            "residual_start",
            vec![full(33, 29, 20), full(1, 1, 21)],
            vec![f(33, 29)],
        ),
        (
            "residual_step",
            vec![
                full(33, 29, 20),
                full(33, 41, 21),
                full(41, 29, 22),
                full(1, 1, 23),
            ],
            vec![f(33, 29)],
        ),
        (
            "residual_step_upper",
            vec![
                full(33, 29, 20),
                full(33, 21, 21),
                upper(21, 29, 22),
                full(1, 1, 23),
            ],
            vec![f(33, 29)],
        ),
        (
            "gram_step",
            vec![full(65, 29, 20), full(65, 41, 21), full(29, 41, 22)],
            vec![f(29, 41)],
        ),
        ("sub_identity", vec![full(29, 29, 20)], vec![f(29, 29)]),
        (
            "colsum",
            vec![full(33, 29, 20), full(1, 29, 21)],
            vec![f(1, 29)],
        ),
        (
            "max_entry",
            vec![full(1, 29, 21), full(1, 1, 22)],
            vec![f(1, 1)],
        ),
    ]
}

fn bits(tiles: &[Tile]) -> Vec<u64> {
    tiles
        .iter()
        .flat_map(|tile| tile.data.iter().map(|x| x.to_bits()))
        .collect()
}

#[test]
fn neither_alignment_nor_what_was_in_the_buffers_matters() {
    for (name, inputs, outputs) in cases() {
        let inputs: Vec<&Tile> = inputs.iter().collect();
        let at = |value, offset| {
            let result = try_run(name, &inputs, &outputs, Poison { value, offset });
            bits(&result.unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        let reference = at(0.0, 0);
        assert!(
            reference.iter().all(|x| f64::from_bits(*x).is_finite()),
            "{name}"
        );
        for offset in 0..9 {
            for value in [f64::NAN, 1e300, f64::INFINITY, -0.0] {
                assert_eq!(
                    at(value, offset),
                    reference,
                    "{name}, {value} in the buffers, {offset} words further"
                );
            }
        }
    }
}

#[test]
fn every_kernel_is_among_the_cases() {
    let tested: Vec<&str> = cases().iter().map(|case| case.0).collect();
    for op in KernelSet::standard().iter() {
        assert!(
            tested.contains(&op.name()),
            "{} has no case here",
            op.name()
        );
    }
}

#[test]
fn the_self_test_repeats_its_bits() {
    let first: Vec<u64> = self_test().iter().map(|x| x.to_bits()).collect();
    let second: Vec<u64> = self_test().iter().map(|x| x.to_bits()).collect();
    assert!(first.len() > 50_000);
    assert_eq!(first, second);
}
