//! Factors panels by recursion: the left half, its application to the right half, the right half,
//! and T12 = -T1 (V1' V2) T2, down to [`crate::householder`]. Works in place on dense columns.

use crate::KernelError;
use crate::apply::{Block, Profile, Side, Target, transpose, unit_lower, upper};
use crate::householder::{self, BASE, Square, Top};
use crate::micro::{Band, Cpu, Multiply, Packed, Part, Place, Store, padded};
use crate::pack::{Dense, pack, packed_words};

/// A dense column-major matrix, the panel its first columns.
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a mut [f64],
    pub(crate) ld: usize,
}

impl Matrix<'_> {
    /// The part from (`row`, `col`) on.
    pub(crate) fn part(&mut self, row: usize, col: usize) -> Matrix<'_> {
        Matrix {
            data: &mut self.data[col * self.ld + row..],
            ld: self.ld,
        }
    }
}

/// Columns of the left half.
fn half(k: usize) -> usize {
    (k / 2).next_multiple_of(BASE)
}

/// Scratch words of a panel of `k` columns over at most `m` rows.
pub(crate) fn panel_words(m: usize, k: usize) -> usize {
    if k <= BASE {
        return BASE * m;
    }
    let k1 = half(k);
    let (apply, merge) = (
        Block::half_words(m, k1) + Block::apply_words(k1),
        merge_words(k1, k - k1),
    );
    packed_words(k1, m)
        + apply
            .max(merge)
            .max(panel_words(m, k1))
            .max(panel_words(m, k - k1))
}

/// QR of the `m` x `k` panel `a`, `k <= m`: R in its upper triangle, V below, T into `t`, whose
/// upper triangle is written and whose lower one must hold zeros.
pub(crate) fn factor_tall(
    cpu: Cpu,
    mut a: Matrix<'_>,
    (m, k): (usize, usize),
    mut t: Matrix<'_>,
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    if k <= BASE {
        return tall_base(cpu, a, (m, k), t, scratch);
    }
    let (k1, ld) = (half(k), a.ld);
    let k2 = k - k1;
    factor_tall(cpu, a.part(0, 0), (m, k1), t.part(0, 0), scratch)?;
    let (kept, scratch) = scratch.split_at_mut(packed_words(k1, m));
    let (left, right) = a.data.split_at_mut(k1 * ld);
    let v1 = unit_lower(left, ld, m);
    let mut v1_transposed = transpose(cpu, kept, (m, k1), Profile::UnitLower, &v1);
    let t1 = upper(t.data, t.ld, k1);
    let (block, work) = Block::with(
        cpu,
        v1_transposed,
        scratch,
        Profile::UnitLower,
        &v1,
        &t1,
        Side::Transposed,
    );
    block.apply(
        cpu,
        None,
        Target {
            data: right,
            place: Place::dense(ld),
            source: None,
        },
        k2,
        work,
    );
    factor_tall(cpu, a.part(k1, k1), (m - k1, k2), t.part(k1, k1), scratch)?;
    // Make V2 explicit while it is multiplied, from its first row on.
    let (saved, scratch) = scratch.split_at_mut(k2 * k2);
    let right = &mut a.data[k1 * ld..];
    for (j, saved) in saved.chunks_exact_mut(k2).enumerate() {
        let column = &mut right[j * ld + k1..j * ld + k1 + k2];
        saved.copy_from_slice(column);
        column[..j].fill(0.0);
        column[j] = 1.0;
    }
    v1_transposed.band = Band {
        least: k1,
        ..Band::default()
    };
    merge(cpu, v1_transposed, right, ld, t, (k1, k2), scratch);
    for (j, saved) in saved.chunks_exact(k2).enumerate() {
        right[j * ld + k1..j * ld + k1 + j + 1].copy_from_slice(&saved[..j + 1]);
    }
    Ok(())
}

/// QR of a square upper triangle over a matrix, [R; A], `k` columns: R is replaced, V2 takes A's
/// place, T goes to `t` as in [`factor_tall`]. Column `c` of A has `min(m, c + 1 + rise)` rows;
/// what is below must be zeros within `m` rows.
pub(crate) fn factor_stacked(
    cpu: Cpu,
    mut r: Matrix<'_>,
    mut a: Matrix<'_>,
    (m, rise, k): (usize, usize, usize),
    mut t: Matrix<'_>,
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    let reach = |c: usize| m.min(rise.saturating_add(c));
    if k <= BASE {
        return stacked_base(cpu, r, a, (reach(k), k), t, scratch);
    }
    let (k1, ld) = (half(k), a.ld);
    let k2 = k - k1;
    factor_stacked(
        cpu,
        r.part(0, 0),
        a.part(0, 0),
        (m, rise, k1),
        t.part(0, 0),
        scratch,
    )?;
    let m1 = reach(k1);
    let (kept, scratch) = scratch.split_at_mut(packed_words(k1, m1));
    let (left, right) = a.data.split_at_mut(k1 * ld);
    let profile = if rise == usize::MAX {
        Profile::Full
    } else {
        Profile::Upper { rise }
    };
    let v1 = Dense {
        data: left,
        ld,
        rows: m1,
        rise,
    };
    let mut v1_transposed = transpose(cpu, kept, (m1, k1), profile, &v1);
    let t1 = upper(t.data, t.ld, k1);
    let (block, work) = Block::with(
        cpu,
        v1_transposed,
        scratch,
        profile,
        &v1,
        &t1,
        Side::Transposed,
    );
    let ldr = r.ld;
    let top = Target {
        data: &mut r.data[k1 * ldr..],
        place: Place::dense(ldr),
        source: None,
    };
    block.apply(
        cpu,
        Some(top),
        Target {
            data: right,
            place: Place::dense(ld),
            source: None,
        },
        k2,
        work,
    );
    let rise2 = rise.saturating_add(k1);
    factor_stacked(
        cpu,
        r.part(k1, k1),
        a.part(0, k1),
        (m, rise2, k2),
        t.part(k1, k1),
        scratch,
    )?;
    v1_transposed.band.least = 0;
    merge(
        cpu,
        v1_transposed,
        &a.data[k1 * ld..],
        ld,
        t,
        (k1, k2),
        scratch,
    );
    Ok(())
}

fn merge_words(k1: usize, k2: usize) -> usize {
    2 * padded(k1) * k2 + 2 * k2 * k2 + packed_words(k1, k1) + packed_words(k1, k2)
}

/// T12 = -T1 (V1' V2) T2.
fn merge(
    cpu: Cpu,
    v1: Packed<'_>,
    v2: &[f64],
    ld: usize,
    t: Matrix<'_>,
    (k1, k2): (usize, usize),
    scratch: &mut [f64],
) {
    let ldg = padded(k1);
    let (gram, rest) = scratch.split_at_mut(ldg * k2);
    let (product, rest) = rest.split_at_mut(ldg * k2);
    let (t2, rest) = rest.split_at_mut(k2 * k2);
    let (t1_space, rest) = rest.split_at_mut(packed_words(k1, k1));
    let place = Place::dense(ldg);
    cpu.dispatch(Multiply {
        a: v1,
        b: (v2, Place::dense(ld)),
        dst: (gram, place),
        cols: k2,
        store: Store::Set,
        part: Part::All,
        also: None,
    });
    let band = Band {
        from: Some(0),
        ..Band::default()
    };
    let a = pack(cpu, t1_space, (k1, k1), band, &upper(t.data, t.ld, k1));
    cpu.dispatch(Multiply {
        a,
        b: (gram, place),
        dst: (product, place),
        cols: k2,
        store: Store::Set,
        part: Part::All,
        also: None,
    });
    let right = &mut t.data[k1 * t.ld..];
    for (j, t2) in t2.chunks_exact_mut(k2).enumerate() {
        let column = &mut right[j * t.ld..j * t.ld + k1 + k2];
        column[..k1].fill(0.0);
        t2.copy_from_slice(&column[k1..]);
    }
    let dense = Dense {
        data: product,
        ld: ldg,
        rows: k1,
        rise: usize::MAX,
    };
    let a = pack(cpu, rest, (k1, k2), Band::default(), &dense);
    let (b, dst) = ((&*t2, Place::dense(k2)), (right, Place::dense(t.ld)));
    cpu.dispatch(Multiply {
        a,
        b,
        dst,
        cols: k2,
        store: Store::Sub,
        part: Part::All,
        also: None,
    });
}

fn tall_base(
    cpu: Cpu,
    a: Matrix<'_>,
    (m, k): (usize, usize),
    t: Matrix<'_>,
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    let mut top = [[0.0; BASE]; BASE];
    for (column, top) in a.data.chunks(a.ld).zip(&mut top).take(k) {
        top[..k].copy_from_slice(&column[..k]);
    }
    let mut bottom = columns(a.data, a.ld, (k, m), k, scratch);
    let factors = householder::factor(cpu, Top::Lower, &mut top, &mut bottom, k)?;
    for (column, top) in a.data.chunks_mut(a.ld).zip(&top).take(k) {
        column[..k].copy_from_slice(&top[..k]);
    }
    write_t(t, &factors, k);
    Ok(())
}

fn stacked_base(
    cpu: Cpu,
    r: Matrix<'_>,
    a: Matrix<'_>,
    (m, k): (usize, usize),
    t: Matrix<'_>,
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    let mut top = [[0.0; BASE]; BASE];
    for (j, (column, top)) in r.data.chunks(r.ld).zip(&mut top).take(k).enumerate() {
        top[..=j].copy_from_slice(&column[..=j]);
    }
    let mut bottom = columns(a.data, a.ld, (0, m), k, scratch);
    let factors = householder::factor(cpu, Top::Diagonal, &mut top, &mut bottom, k)?;
    for (j, (column, top)) in r.data.chunks_mut(r.ld).zip(&top).take(k).enumerate() {
        column[..=j].copy_from_slice(&top[..=j]);
    }
    write_t(t, &factors, k);
    Ok(())
}

/// Rows `r0..r1` of the first `k` columns, and columns of zeros to make eight.
fn columns<'a>(
    data: &'a mut [f64],
    ld: usize,
    (r0, r1): (usize, usize),
    k: usize,
    scratch: &'a mut [f64],
) -> [&'a mut [f64]; BASE] {
    let rows = r1 - r0;
    let spare = &mut scratch[..(BASE - k) * rows];
    spare.fill(0.0);
    let mut columns = data
        .chunks_mut(ld)
        .take(k)
        .map(|column| &mut column[r0..r1]);
    let mut rest = spare;
    std::array::from_fn(|_| {
        columns.next().unwrap_or_else(|| {
            let (column, after) = std::mem::take(&mut rest).split_at_mut(rows);
            rest = after;
            column
        })
    })
}

fn write_t(t: Matrix<'_>, factors: &Square, k: usize) {
    for (column, from) in t.data.chunks_mut(t.ld).zip(factors).take(k) {
        column[..k].copy_from_slice(&from[..k]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries in [-1, 1) from a linear congruence.
    fn noise(words: usize) -> Vec<f64> {
        let mut state = 7_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        };
        (0..words).map(|_| next()).collect()
    }

    fn bits(parts: &[Vec<f64>]) -> Vec<u64> {
        parts.iter().flatten().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn all_instruction_sets_give_the_same_bits() {
        for (m, k) in [(1, 1), (50, 5), (77, 8), (90, 37), (130, 64)] {
            let run = |cpu| {
                let (mut a, mut t) = (noise(m * k), vec![0.0; k * k]);
                let mut scratch = vec![f64::NAN; panel_words(m, k)];
                let panel = Matrix {
                    data: &mut a,
                    ld: m,
                };
                factor_tall(
                    cpu,
                    panel,
                    (m, k),
                    Matrix {
                        data: &mut t,
                        ld: k,
                    },
                    &mut scratch,
                )
                .map(|()| [a, t])
            };
            let stacked = |cpu| {
                let (mut r, mut a, mut t) = (noise(k * k), noise(m * k), vec![0.0; k * k]);
                let mut scratch = vec![f64::NAN; panel_words(m, k)];
                let (top, panel) = (
                    Matrix {
                        data: &mut r,
                        ld: k,
                    },
                    Matrix {
                        data: &mut a,
                        ld: m,
                    },
                );
                let t_out = Matrix {
                    data: &mut t,
                    ld: k,
                };
                factor_stacked(cpu, top, panel, (m, usize::MAX, k), t_out, &mut scratch)
                    .map(|()| [r, a, t])
            };
            let reference = (run(Cpu::new()), stacked(Cpu::new()));
            for cpu in Cpu::all() {
                let (tall, stack) = (run(cpu), stacked(cpu));
                let same = |a: &[Vec<f64>], b: &[Vec<f64>]| {
                    assert_eq!(bits(a), bits(b), "{m} x {k}, {cpu:?}")
                };
                same(
                    tall.as_ref().expect("finite"),
                    reference.0.as_ref().expect("finite"),
                );
                same(
                    stack.as_ref().expect("finite"),
                    reference.1.as_ref().expect("finite"),
                );
            }
        }
    }
}
