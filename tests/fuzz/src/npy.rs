//! Matrices as `.npy` files: header, sizes, entries.

use peerwren::matrix::NpyMatrix;

use super::scratch;

/// Most entries that are read of one.
const SIDE_MAX: u64 = 64;

/// A file.
pub fn run(bytes: &[u8]) {
    let path = scratch::file("a.npy", bytes);
    let Ok(matrix) = NpyMatrix::open(&path) else {
        return;
    };
    assert!(matrix.file_bytes() <= bytes.len() as u64);
    let (rows, cols) = (matrix.rows().min(SIDE_MAX), matrix.cols().min(SIDE_MAX));
    let _ = matrix.scan_finite();
    for (row0, col0) in [(0, 0), (matrix.rows() - rows, matrix.cols() - cols)] {
        let mut tile = vec![0.0; (rows * cols) as usize];
        let _ = matrix.read_tile(row0, col0, rows as usize, cols as usize, &mut tile);
    }
}
