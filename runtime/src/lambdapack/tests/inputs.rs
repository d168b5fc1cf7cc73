//! Inputs that the program makes itself, and files that are included.

use super::super::{Generated, Program, Tile};
use super::params;
use peerwren_kernels::tile::{Kind, Shape, TileRef};

const SOURCE: &str = "program made
param m, n, nb
def rows(i) = min(nb, m - i * nb)
def cols(j) = min(nb, n - j * nb)
input E[i in 0..cdiv(m, nb), j in 0..cdiv(n, nb)] : full(rows(i), cols(j)) = eye(i * nb, j * nb)
input U[i in 0..cdiv(m, nb), j in 0..cdiv(n, nb)] when i <= j : upper(rows(i), cols(j)) = eye(i * nb, j * nb)
input Z[i in 0..1] : if nb > 2 then tfac(nb, 1) else lower(nb, nb) = zeros
input P[i in 0..cdiv(m, nb)] : index(rows(i)) = iota(i * nb)
input G[i in 0..n - n] : full(1, 1)
tile X[i] : full(1, 1)
output X[i in 0..1] = X[i]
X[0] = f(E[0, 0], U[0, 0], Z[0], P[0])
";

fn tile(family: u16, at: &[i32]) -> Tile {
    let at = peerwren_transports::block::Indices::new(
        &at.iter().map(|i| i64::from(*i)).collect::<Vec<_>>(),
    )
    .expect("a rank");
    Tile { family, at }
}

#[test]
fn generated_tiles_are_parts_of_the_identity_zeros_and_indices() {
    for (m, n, nb) in [(7, 5, 3), (4, 4, 2), (2, 9, 4), (1, 1, 5)] {
        let bound = Program::parse("made.lp", SOURCE)
            .and_then(|program| program.bind(&params(&format!("m={m} n={n} nb={nb}"))))
            .expect("a sound program");
        bound.check().expect("a sound program");
        for input in bound.input_families() {
            assert_eq!(input.generated, input.name != "G", "{}", input.name);
            let tiles = bound.input_tiles().filter(|t| t.family == input.family);
            assert_eq!(tiles.count() as u64, input.tiles, "{}", input.name);
        }
        assert_eq!(bound.input_families().last().expect("G").tiles, 0);
        for tile in bound.input_tiles() {
            let shape = bound.shape(tile).expect("a shape");
            let made = bound.generator(tile).expect("a value").expect("generated");
            let mut words = vec![f64::NAN; shape.words()];
            made.write(shape, &mut words);
            let at = tile.at.as_slice();
            match bound.family_name(tile.family) {
                "E" | "U" => {
                    let (rows, cols) = (shape.rows as usize, shape.cols as usize);
                    let mut dense = vec![f64::NAN; rows * cols];
                    TileRef::new(shape, &words).unpack(&mut dense, rows);
                    for (k, value) in dense.iter().enumerate() {
                        let row = at[0] as usize * nb as usize + k % rows;
                        let col = at[1] as usize * nb as usize + k / rows;
                        assert_eq!(*value, f64::from(u8::from(row == col)), "{at:?} {k}");
                    }
                }
                "P" => {
                    for (k, word) in words.iter().enumerate() {
                        assert_eq!(word.to_bits(), (i64::from(at[0]) * nb) as u64 + k as u64);
                    }
                }
                _ => assert!(words.iter().all(|word| word.to_bits() == 0)),
            }
        }
    }
}

#[test]
fn a_part_of_the_identity_far_from_the_diagonal_is_zero() {
    let shape = Shape::full(2, 2);
    for (row, col, expected) in [
        (i64::MAX, i64::MIN, [0.0; 4]),
        (i64::MIN, i64::MAX, [0.0; 4]),
        (5, 4, [0.0, 0.0, 1.0, 0.0]),
        (4, 5, [0.0, 1.0, 0.0, 0.0]),
        (-3, -3, [1.0, 0.0, 0.0, 1.0]),
    ] {
        let mut words = [7.0; 4];
        Generated::Eye { row, col }.write(shape, &mut words);
        assert_eq!(words, expected, "{row} {col}");
    }
    let mut words = [0.0; 2];
    Generated::Iota { first: -1 }.write(Shape::index(2), &mut words);
    assert_eq!(words.map(f64::to_bits), [u64::MAX, 0]);
    assert_eq!(Shape::index(2).kind, Kind::Index);
}

#[test]
fn generators_must_fit_their_family() {
    for (from, to, expected) in [
        (
            "index(rows(i)) = iota(i * nb)",
            "full(1, 1) = iota(i)",
            "iota makes tiles that are index, not full",
        ),
        (
            "full(rows(i), cols(j)) = eye",
            "unit(rows(i), 1) = eye",
            "eye makes tiles that are full, upper, lower, not unit",
        ),
        (
            "= zeros",
            "= ones",
            "expected a generator: zeros, eye(row, col) or iota(first)",
        ),
        (
            "= zeros",
            "= eye(i)",
            "expected a generator: zeros, eye(row, col) or iota(first)",
        ),
        (
            "= eye(i * nb, j * nb)",
            "= eye(i * nb, k)",
            "no variable, parameter or definition `k`",
        ),
        (
            "tile X[i] : full(1, 1)",
            "tile X[i] : full(1, 1) = zeros",
            "X is no input: its tiles are made by tasks",
        ),
    ] {
        assert!(SOURCE.contains(from), "{from}");
        let error = Program::parse("made.lp", &SOURCE.replacen(from, to, 1)).expect_err("wrong");
        assert_eq!(error.diagnosis().headline(), expected, "{from} -> {to}");
    }
    let source = SOURCE.replacen("eye(i * nb, j * nb)", "eye(i * nb, j // (i - 1))", 1);
    let bound = Program::parse("made.lp", &source)
        .and_then(|program| program.bind(&params("m=4 n=4 nb=2")))
        .expect("bound");
    let error = bound.generator(tile(0, &[0, 0])).expect_err("no value");
    let first = error.render().lines().next().map(str::to_owned);
    assert_eq!(
        first.as_deref(),
        Some("error: a divisor must be positive in the generator of E[0, 0]")
    );
}

#[test]
fn a_file_is_included_once_and_never_by_itself() {
    let base = "def two = 2";
    let a = "include \"base.lp\" def a = two";
    let b = "include \"base.lp\" include \"a.lp\" def b = two + a";
    let main = "program p include \"a.lp\" include \"b.lp\" include \"a.lp\"
tile X[i] : full(1, 1)
for i in 0..b { X[i] = f() }";
    let files = [("base.lp", base), ("a.lp", a), ("b.lp", b)];
    let program = Program::parse_with("p.lp", main, &files).expect("a sound program");
    let names: Vec<&str> = program.files().map(|(name, _)| name).collect();
    assert_eq!(names, ["p.lp", "a.lp", "base.lp", "b.lp"]);
    let bound = program.bind(&params("")).expect("bound");
    assert_eq!(bound.task_count(), 4);

    let circle = [
        ("a.lp", "include \"b.lp\""),
        ("b.lp", "\n  include \"a.lp\""),
    ];
    let error = Program::parse_with("p.lp", "program p include \"a.lp\"", &circle)
        .expect_err("a circle")
        .render();
    let expected = "error: a.lp includes itself: a.lp -> b.lp -> a.lp
 --> b.lp:2:11
  |
2 |   include \"a.lp\"
  |           ^^^^^^";
    assert_eq!(error, expected);
}

#[test]
fn what_is_likely_of_few_rows_lies_between_none_and_all() {
    let source = "program sift
param m
input A[i in 0..5] : full(4, 3)
tile F[i] : if i < 4 then few(4, 3, 2 * i - m) else few(4, 3)
output F[i in 0..5] = F[i]
for i in 0..5 { F[i] = sift(A[i]) }
";
    let program = Program::parse("sift.lp", source).expect("a sound program");
    let bound = program.bind(&params("m=1")).expect("bound");
    let family = bound.family("F").expect("F");
    for (i, rows) in [0, 1, 3, 4, 4].into_iter().enumerate() {
        let tile = tile(family, &[i as i32]);
        assert_eq!(bound.shape(tile).expect("a shape"), Shape::few(4, 3));
        assert_eq!(bound.likely_shape(tile).expect("one"), Shape::few(rows, 3));
    }
    let full = tile(bound.family("A").expect("A"), &[0]);
    assert_eq!(bound.likely_shape(full).expect("one"), Shape::full(4, 3));
    // A fault in it is told where it happens.
    let source = source.replace("2 * i - m", "4 // i");
    let bound = Program::parse("sift.lp", &source).and_then(|program| program.bind(&params("m=1")));
    let bound = bound.expect("bound");
    let error = bound.likely_shape(tile(family, &[0])).expect_err("4 // 0");
    assert!(
        error.to_string().contains("in the shape of F[0]"),
        "{error}"
    );
}
