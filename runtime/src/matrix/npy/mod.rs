//! NumPy's `.npy` files: reads tiles out of them and writes tiles into them.
//!
//! Positioned reads and writes with bounded buffers; never a memory map, so that a file that shrinks
//! under a run is an error, not a signal.

mod header;
mod read;
mod write;

pub use header::{Element, ElementKind, Order};
pub use read::NpyMatrix;
pub(in crate::matrix) use read::first_not_finite;
pub use write::{NpyWriter, check_writable};
pub(in crate::matrix) use write::{cannot_create, create_beside};

/// Checks that a block lies in a matrix of `shape` and that its buffer fits.
///
/// # Panics
/// When it does not: callers hold a block that [`Tiling`](super::Tiling) made.
pub(crate) fn assert_inside(
    shape: (u64, u64),
    row0: u64,
    col0: u64,
    rows: usize,
    cols: usize,
    len: usize,
) {
    let (m, n) = shape;
    let inside = row0.checked_add(rows as u64).is_some_and(|end| end <= m)
        && col0.checked_add(cols as u64).is_some_and(|end| end <= n);
    assert!(
        inside,
        "a block of {rows} x {cols} at [{row0}, {col0}] lies outside a matrix of {m} x {n}"
    );
    assert!(
        rows.checked_mul(cols) == Some(len),
        "a buffer of {len} words for a block of {rows} x {cols}"
    );
}

#[cfg(test)]
mod tests;
