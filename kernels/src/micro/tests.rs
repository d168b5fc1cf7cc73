//! Every instruction set against the portable one, bit for bit, for every height and width that the registers' edges
//! make, with rubbish around each operand that must neither be used nor change.

use super::{Also, Band, Cpu, Form, Multiply, Packed, Part, Place, Store, Stride};
use crate::pack::{Dense, beside, beside_pitch, beside_words, pack, packed_words};

/// Rows and columns of rubbish around a matrix.
const BORDER: usize = 3;

/// A matrix within a larger one that is filled with rubbish.
#[derive(Clone)]
struct Framed {
    words: Vec<f64>,
    rows: usize,
    cols: usize,
}

impl Framed {
    fn new(rows: usize, cols: usize, seed: u64) -> Framed {
        let mut framed = Framed {
            words: vec![f64::NAN; (rows + 2 * BORDER) * (cols + 2 * BORDER)],
            rows,
            cols,
        };
        let mut state = seed;
        for j in 0..cols {
            for i in 0..rows {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let at = framed.at(i, j);
                framed.words[at] = (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
            }
        }
        framed
    }

    fn ld(&self) -> usize {
        self.rows + 2 * BORDER
    }

    fn at(&self, i: usize, j: usize) -> usize {
        (BORDER + j) * self.ld() + BORDER + i
    }

    fn place(&self) -> Place {
        Place {
            row: BORDER,
            ..Place::dense(self.ld()).after(BORDER)
        }
    }

    fn entries(&self) -> Vec<f64> {
        let columns = (0..self.cols).map(|j| self.at(0, j));
        let columns = columns.map(|at| &self.words[at..at + self.rows]);
        columns.flatten().copied().collect()
    }

    /// Whether everything around the matrix is the rubbish that it was.
    fn is_intact(&self) -> bool {
        let ld = self.ld();
        let inside = |at: usize| {
            (BORDER..BORDER + self.rows).contains(&(at % ld))
                && (BORDER..BORDER + self.cols).contains(&(at / ld))
        };
        let rubbish = f64::NAN.to_bits();
        let mut words = self.words.iter().enumerate();
        words.all(|(at, x)| inside(at) || x.to_bits() == rubbish)
    }
}

/// Columns of a matrix with each row's entries of eight of them side by side, made from its transpose; rubbish where
/// there is no column.
fn side_by_side(matrix: &Framed) -> (Vec<f64>, Place) {
    let (rows, cols) = (matrix.rows, matrix.cols);
    let mut flipped = vec![0.0; rows * cols];
    for (at, x) in matrix.entries().into_iter().enumerate() {
        flipped[at % rows * cols + at / rows] = x;
    }
    let mut words = vec![f64::NAN; beside_words(cols, rows)];
    beside((&flipped, cols), (cols, rows), &mut words);
    (words, Place::whole(Stride::Beside(beside_pitch(rows))))
}

/// What a product did to the destination and to what lost it too. `dense`: columns of B lie one after the other.
fn run(cpu: Cpu, (m, n, k): (usize, usize, usize), form: usize, dense: bool) -> [Framed; 2] {
    let (a, b, old) = (
        Framed::new(m, k, 1),
        Framed::new(k, n, 2),
        Framed::new(m, n, 3),
    );
    let (mut dst, mut also) = (Framed::new(m, n, 4), Framed::new(m, n, 5));
    let mut space = vec![f64::NAN; packed_words(m, k)];
    let block = Dense {
        data: if k == 0 { &[] } else { &a.words[a.at(0, 0)..] },
        ld: a.ld(),
        rows: m,
        rise: usize::MAX,
    };
    let packed: Packed<'_> = pack(cpu, &mut space, (m, k), Band::default(), &block);
    let store = match form {
        0 => Store::Set,
        1 => Store::Add,
        2 => Store::Sub,
        3 => Store::AddFrom(&old.words),
        4 => Store::SubFrom(&old.words),
        _ => Store::AddAt(&old.words, old.place()),
    };
    let (place, also_place) = (dst.place(), also.place());
    let (other, other_place) = side_by_side(&b);
    cpu.dispatch(Multiply {
        a: packed,
        b: if dense {
            (&b.words, b.place())
        } else {
            (&other, other_place)
        },
        dst: (&mut dst.words, place),
        cols: n,
        store,
        part: Part::All,
        also: (form % 2 == 1).then_some(Also {
            data: &mut also.words,
            place: also_place,
            source: (form == 3).then_some(&old.words),
        }),
    });
    [dst, also]
}

#[test]
fn every_instruction_set_gives_the_portable_bits_and_touches_nothing_else() {
    let portable = Cpu::all()[0];
    assert_eq!(Form::here()[0], Form::Portable);
    let rows = (1..=34).chain([47, 48, 49]);
    for m in rows {
        for n in 1..=17 {
            for k in [0, 1, 2, 7, 33] {
                let form = (m + n + k) % 6;
                let bits = |cpu, dense| {
                    run(cpu, (m, n, k), form, dense).map(|framed| {
                        assert!(framed.is_intact(), "{m} x {n} x {k}, form {form}, {cpu:?}");
                        let entries = framed.entries();
                        entries.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
                    })
                };
                let expected = bits(portable, true);
                let finite = expected
                    .iter()
                    .flatten()
                    .all(|x| f64::from_bits(*x).is_finite());
                assert!(finite, "{m} x {n} x {k}, form {form}");
                for cpu in Cpu::all() {
                    for dense in [true, false] {
                        assert_eq!(
                            bits(cpu, dense),
                            expected,
                            "{m} x {n} x {k}, form {form}, {cpu:?}, {dense}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_product_is_one_chain_from_what_it_is_added_to_on() {
    let (m, n, k) = (27, 9, 5);
    for (form, sign) in [(3, 1.0), (4, -1.0)] {
        let [dst, _] = run(Cpu::new(), (m, n, k), form, true);
        let (a, b, old) = (
            Framed::new(m, k, 1),
            Framed::new(k, n, 2),
            Framed::new(m, n, 3),
        );
        for j in 0..n {
            for i in 0..m {
                let chain = (0..k).fold(old.words[old.at(i, j)], |sum, l| {
                    (sign * a.words[a.at(i, l)]).mul_add(b.words[b.at(l, j)], sum)
                });
                assert_eq!(
                    dst.words[dst.at(i, j)].to_bits(),
                    chain.to_bits(),
                    "{i}, {j}"
                );
            }
        }
    }
}

#[test]
#[should_panic(expected = "a column lies within its matrix")]
fn columns_that_are_too_short_are_refused() {
    let (mut dst, b) = (vec![0.0; 15], vec![0.0; 8]);
    let a = Packed {
        data: &[0.0; 64],
        rows: 8,
        depth: 8,
        band: Band::default(),
    };
    Cpu::new().dispatch(Multiply {
        a,
        b: (&b, Place::dense(8)),
        dst: (
            &mut dst,
            Place {
                row: 8,
                ..Place::dense(8)
            },
        ),
        cols: 1,
        store: Store::Set,
        part: Part::All,
        also: None,
    });
}
