//! A kernel's bits depend on its inputs alone.

use crate::harness::{Dense, Flavour, Poison, Tile, try_run_some};
use peerwren_kernels::{Form, KernelSet, Kind, Shape, self_test};

/// A kernel, its inputs and the shapes of its outputs.
type Case = (String, Vec<Option<Tile>>, Vec<Shape>);

fn all_cases() -> Vec<Case> {
    let given = cases().into_iter().map(|(name, inputs, outputs)| {
        (
            name.to_owned(),
            inputs.into_iter().map(Some).collect(),
            outputs,
        )
    });
    given.chain(CASES.lines().map(read)).collect()
}

/// One case a line; an absent tile is `-`.
const CASES: &str = "\
gemm - full:33x41 full:41x29 -> full:33x29
gemm full:133x29 full:133x41 full:41x29 -> full:133x29
gemm_sub full:33x29 full:33x41 full:41x29 -> full:33x29
gemm_sub_nt full:33x29 full:33x41 full:29x41 -> full:33x29
gemm_sub_tn full:33x29 full:41x33 full:41x29 -> full:33x29
mul full:33x41 full:41x29 -> full:33x29
add full:5x7 full:5x7 - full:5x7 -> full:5x7
axpby full:1x1 full:5x7 full:1x1 full:5x7 -> full:5x7
axpby full:1x1 full:5x7 full:1x1 - -> full:5x7
potrf lower:61x61 -> lower:61x61
syrk lower:61x61 full:61x45 -> lower:61x61
trsm lower:45x45 full:61x45 -> full:61x45
trsm_lower lower:45x45 full:45x37 -> full:45x37
trsm_lower_t lower:45x45 full:45x37 -> full:45x37
trsm_upper upper:45x45 full:45x37 -> full:45x37
trsm_upper_t upper:45x45 full:45x37 -> full:45x37
trsm_unit unit:45x45 full:45x37 -> full:45x37
trsm_unit_t unit:45x45 full:45x37 -> full:45x37
trsm_right upper:45x45 full:61x45 -> full:61x45
getrf full:61x45 -> index:61 unit:61x45 upper:45x45
getrf full:45x61 -> index:45 unit:45x45 upper:45x61
playoff full:33x21 index:33 full:17x21 index:17 -> full:33x21 index:33
take_rows index:33 iota:33+80 iota:9+4 full:9x7 - - iota:33+20 full:33x7 -> few:33x8
take_rows index:33 iota:33 -> few:33x8
give_rows iota:33+20 iota:33 full:33x7 iota:9+30 - iota:4+49 -> few:33x8
put_rows iota:33+2 full:33x7 few:9x8 - few:40x8 few:1x8 -> full:33x7
put_rows iota:33 - few:9x8 -> full:33x7
gemm_sub_rows iota:33 full:33x7 few:9x8 full:33x21 full:21x7 -> full:33x7
came_from index:50 iota:33+20 iota:33 -> index:50
permute_rows index:33 full:33x7 -> full:33x7
permute_index index:33 index:33 -> index:33
pick_rows full:33x7 index:33 index:1 full:1x7 -> full:33x7
pick_rows - index:33 index:1 full:1x7 -> full:33x7
take full:50x40 index:33 index:29 -> full:33x29
residual_start lower:33x29 full:1x1 -> full:33x29
residual_step full:33x29 unit:33x21 upper:21x29 full:1x1 -> full:33x29
residual_step_nt full:33x29 lower:33x21 full:29x21 full:1x1 -> full:33x29
residual_step_tn full:33x29 lower:41x33 unit:41x29 full:1x1 -> full:33x29
colsum_sym full:29x29 full:1x29 -> full:1x29
rowsum full:33x29 full:1x33 -> full:1x33
ssq unit:33x29 - -> full:1x2
transpose full:33x29 -> full:29x33
gelqt full:45x61 -> unit:61x45 tfac:45x20 lower:45x45
tslqt lower:45x45 full:45x61 -> full:61x45 tfac:45x20 lower:45x45
ttlqt lower:45x45 lower:45x31 -> upper:31x45 tfac:45x20 lower:45x45
unmlq unit:61x45 tfac:45x20 full:37x61 -> full:37x61
tsmlq full:61x45 tfac:45x20 full:37x50 full:37x61 -> full:37x50 full:37x61
ttmlq upper:31x45 tfac:45x20 full:37x50 full:37x40 -> full:37x50 full:37x40
lq_factor full:45x61 -> full:61x45 full:45x45 full:45x45
lq_factor_triangular full:45x45 full:45x45 -> full:90x45 full:45x45 full:45x45
lq_factor_triangular full:45x45 -> full:45x45 full:45x45 full:45x45
lq_leaf full:61x45 full:45x45 full:37x61 -> full:37x61
lq_trailing_update full:90x45 full:45x45 full:37x45 full:37x45 -> full:37x45 full:37x45
gesvd full:33x45 -> full:33x33 full:33x1 full:33x45
gesvd full:45x33 -> full:45x33 full:33x1 full:33x33
band_column upper:21x21 lower:29x21 -> full:30x21
append full:9x5 full:9x7 -> full:9x12
append - full:9x7 -> full:9x7
band_values full:9x45 -> full:45x1
band_svd full:9x45 -> full:45x45 full:45x1 full:45x45";

fn read(line: &str) -> Case {
    let mut words = line.split(' ');
    let name = words.next().expect("a name").to_owned();
    let mut inputs = Vec::new();
    for word in words.by_ref().take_while(|word| *word != "->") {
        let seed = inputs.len() as u64 + 1;
        inputs.push(match word.strip_prefix("iota:") {
            Some(word) => Some(iota(word)),
            None => (word != "-").then(|| sample(shape(word), seed)),
        });
    }
    (name, inputs, words.map(shape).collect())
}

/// `rows` or `rows+first`: indices that follow one another.
fn iota(word: &str) -> Tile {
    let (rows, first) = word.split_once('+').unwrap_or((word, "0"));
    let first: u64 = first.parse().expect("a number");
    let rows = rows.parse().expect("rows");
    Tile::new(Shape::index(rows), |i| f64::from_bits(first + i as u64))
}

/// `kind:rowsxcols` or `kind:rows`.
fn shape(word: &str) -> Shape {
    let (kind, sizes) = word.split_once(':').expect("kind:sizes");
    let mut sizes = sizes.split('x').map(|size| size.parse().expect("a size"));
    Shape {
        kind: Kind::from_name(kind).expect("a kind"),
        rows: sizes.next().expect("rows"),
        cols: sizes.next().unwrap_or(1),
    }
}

/// Small entries; large ones on the diagonals of triangles; the indices from the last to the first.
fn sample(shape: Shape, seed: u64) -> Tile {
    let (rows, cols) = (shape.rows as usize, shape.cols as usize);
    match shape.kind {
        Kind::Index => Tile::new(shape, |i| f64::from_bits((rows - 1 - i) as u64)),
        Kind::Few => Tile::new(shape, |i| {
            let place = f64::from_bits((rows - 1).saturating_sub(i) as u64);
            if i < rows {
                place
            } else {
                0.1 * (i % 17) as f64
            }
        }),
        Kind::Tfac => Tile::new(shape, |i| 0.1 * ((i % 17) as f64 - 8.0)),
        Kind::Full => Tile::full(&Flavour::Random.matrix(rows, cols, seed)),
        kind => {
            let noise = Flavour::Random.matrix(rows, cols, seed);
            let entry = |i, j| noise.at(i, j) * 0.1 + if i == j { rows as f64 } else { 0.0 };
            Tile::of(kind, &Dense::new(rows, cols, entry))
        }
    }
}

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
        ("norm_of_ssq", vec![some(f(1, 2), -0.1)], vec![f(1, 1)]),
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
            "residual_step",
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
        ("fit", vec![full(33, 29, 20)], vec![f(40, 21)]),
        (
            "scale_columns",
            vec![full(33, 29, 20), full(29, 1, 21)],
            vec![f(33, 29)],
        ),
        (
            "symmetric_start",
            vec![some(Shape::lower(29, 29), 0.3), full(1, 1, 21)],
            vec![f(29, 29)],
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
    for (name, inputs, outputs) in all_cases() {
        let inputs: Vec<Option<&Tile>> = inputs.iter().map(Option::as_ref).collect();
        let at = |value, offset| {
            let result = try_run_some(&name, &inputs, &outputs, Poison { value, offset });
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
fn all_instruction_sets_give_the_same_bits() {
    for (name, inputs, outputs) in all_cases() {
        let inputs: Vec<Option<&Tile>> = inputs.iter().map(Option::as_ref).collect();
        let clean = Poison {
            value: f64::NAN,
            offset: 0,
        };
        let on = |form: Form| {
            let result = form.run(|| try_run_some(&name, &inputs, &outputs, clean));
            bits(&result.unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        let portable = on(Form::Portable);
        for form in Form::here() {
            assert_eq!(on(form), portable, "{name}, {form:?}");
        }
    }
}

#[test]
fn every_kernel_is_among_the_cases() {
    let tested: Vec<String> = all_cases().into_iter().map(|case| case.0).collect();
    for op in KernelSet::standard().iter() {
        assert!(
            tested.iter().any(|name| name == op.name()),
            "{} has no case here",
            op.name()
        );
    }
}

#[test]
fn the_self_test_has_the_same_bits_every_time_and_on_every_instruction_set() {
    let first: Vec<u64> = self_test().iter().map(|x| x.to_bits()).collect();
    let second: Vec<u64> = self_test().iter().map(|x| x.to_bits()).collect();
    assert!(first.len() > 50_000);
    assert_eq!(first, second);
    for form in Form::here() {
        let words: Vec<u64> = form.run(self_test).iter().map(|x| x.to_bits()).collect();
        assert!(words == first, "{form:?}");
    }
}
