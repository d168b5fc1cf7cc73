//! Moves rows by tiles of indices (0-based): what LU's order of rows, inverses and submatrices are made of. Computes
//! nothing. An index that does not fit its tiles is [`KernelError::Failed`].

use crate::op::{KernelError, KernelOp, TaskTiles};
use crate::tile::TileRef;

pub(crate) fn ops() -> Vec<KernelOp> {
    vec![
        // Row i of the new A is row index(i) of the old.
        KernelOp::standard("permute_rows(index(m), full(m,c)) -> full(m,c)", permute),
        KernelOp::standard("permute_index(index(m), index(m)) -> index(m)", permute),
        // Row i is row t of the last input where wanted(i) == held(t), and the first input's, or zeros, elsewhere.
        KernelOp::standard(
            "pick_rows(full(m,c)?, index(m), index(r), full(r,c)) -> full(m,c)",
            pick,
        ),
        // Out(i,j) = in(rows(i), cols(j)).
        KernelOp::standard("take(full(p,q), index(m), index(n)) -> full(m,n)", take),
    ]
}

/// The word of an index.
pub(crate) fn word(index: usize) -> f64 {
    f64::from_bits(index as u64)
}

/// The index in a word that [`word`] made.
pub(crate) fn number(word: f64) -> usize {
    word.to_bits() as usize
}

/// Whether every index is less than `limit`.
fn check(name: &str, index: TileRef<'_>, limit: usize) -> Result<(), KernelError> {
    let bad = index.data.iter().map(|word| word.to_bits() as i64);
    match bad.into_iter().find(|i| !(0..limit as i64).contains(i)) {
        None => Ok(()),
        Some(bad) => Err(KernelError::Failed(format!(
            "{name}: an index should be from 0 to {}, got {bad}",
            limit.saturating_sub(1)
        ))),
    }
}

/// The indices from the first on that a tile of indices names one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) len: usize,
}

impl Span {
    /// The span of `indices`; the `name` of the kernel and `what` they are go into the error's text.
    pub(crate) fn of(name: &str, what: &str, indices: TileRef<'_>) -> Result<Self, KernelError> {
        let (first, len) = (number(indices.data[0]), indices.data.len());
        let mut numbers = indices.data.iter().enumerate();
        let follow = first <= usize::MAX >> 1 && numbers.all(|(t, row)| number(*row) == first + t);
        follow.then_some(Self { first, len }).ok_or_else(|| {
            KernelError::Failed(format!(
                "{name}: the {len} {what} should follow one another from {} on",
                first as i64
            ))
        })
    }

    /// Which of them this index is.
    pub(crate) fn row(self, index: usize) -> Option<usize> {
        index.checked_sub(self.first).filter(|row| *row < self.len)
    }
}

fn permute(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (index, old) = (tiles.input(0), tiles.input(1));
    let m = old.shape.rows as usize;
    check("permute_rows", index, m)?;
    let ([new], _) = tiles.outputs();
    for (new, old) in new.data.chunks_exact_mut(m).zip(old.data.chunks_exact(m)) {
        for (new, row) in new.iter_mut().zip(index.data) {
            *new = old[number(*row)];
        }
    }
    Ok(())
}

fn pick(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let before = tiles.optional_input(0);
    let (wanted, held, rows) = (tiles.input(1), tiles.input(2), tiles.input(3));
    let m = wanted.data.len();
    check("pick_rows", wanted, i64::MAX as usize)?;
    check("pick_rows", held, i64::MAX as usize)?;
    let held = Span::of("pick_rows", "indices of the rows that are there", held)?;
    let ([output], _) = tiles.outputs();
    match before {
        Some(before) => output.data.copy_from_slice(before.data),
        None => output.data.fill(0.0),
    }
    for (to, from) in output
        .data
        .chunks_exact_mut(m)
        .zip(rows.data.chunks_exact(held.len))
    {
        for (to, row) in to.iter_mut().zip(wanted.data) {
            if let Some(row) = held.row(number(*row)) {
                *to = from[row];
            }
        }
    }
    Ok(())
}

fn take(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (from, rows, cols) = (tiles.input(0), tiles.input(1), tiles.input(2));
    let (p, q) = from.shape.dense();
    check("take", rows, p)?;
    check("take", cols, q)?;
    let ([output], _) = tiles.outputs();
    for (to, col) in output.data.chunks_exact_mut(rows.data.len()).zip(cols.data) {
        let column = &from.data[number(*col) * p..];
        for (to, row) in to.iter_mut().zip(rows.data) {
            *to = column[number(*row)];
        }
    }
    Ok(())
}
