//! Norms a tile at a time: largest entries, sums of columns and rows, sums of squares; and transpose. What is not a
//! number goes on into the result.

use crate::micro::Cpu;
use crate::op::{KernelError, KernelOp, TaskTiles};
use crate::pack::transpose;
use crate::tile::{Kind, TileRef};

pub(crate) fn ops() -> Vec<KernelOp> {
    vec![
        // max over |A(i,j)|.
        KernelOp::standard("amax(any(m,n)) -> full(1,1)", |tiles| {
            let largest = largest(tiles.input(0));
            write_one(tiles, largest)
        }),
        // The larger of two numbers; one where the other is absent.
        KernelOp::standard("max(full(1,1), full(1,1)?) -> full(1,1)", |tiles| {
            let (a, b) = (
                tiles.input(0).data[0],
                tiles.optional_input(1).map(|b| b.data[0]),
            );
            write_one(tiles, b.map_or(a, |b| larger(a, b)))
        }),
        // Sums over the rows of |E(i,j)|, added to those before.
        KernelOp::standard("colsum(any(m,n), full(1,n)?) -> full(1,n)", colsum),
        // The same of the symmetric matrix whose lower triangle this is; the rest is not read.
        KernelOp::standard("colsum_sym(full(n,n), full(1,n)?) -> full(1,n)", colsum_sym),
        // Sums over the columns of |E(i,j)|, added to those before, as a row.
        KernelOp::standard("rowsum(full(m,n), full(1,m)?) -> full(1,m)", rowsum),
        // The largest of a row, and of the largest before.
        KernelOp::standard("max_entry(full(1,n), full(1,1)?) -> full(1,1)", |tiles| {
            let (row, before) = (tiles.input(0), tiles.optional_input(1).map(|x| x.data[0]));
            write_one(tiles, larger(largest(row), before.unwrap_or(0.0)))
        }),
        // (scale, sum) with scale^2 sum = the sum of squares, that of the pair before added (LAPACK's dlassq).
        KernelOp::standard("ssq(any(m,n), full(1,2)?) -> full(1,2)", ssq),
        // scale sqrt(sum).
        KernelOp::standard("norm_of_ssq(full(1,2)) -> full(1,1)", |tiles| {
            let pair = tiles.input(0).data;
            write_one(tiles, pair[0] * pair[1].sqrt())
        }),
        // A'.
        KernelOp::standard("transpose(full(m,n)) -> full(n,m)", |tiles| {
            let a = tiles.input(0);
            let (m, n) = a.shape.dense();
            let ([output], _) = tiles.outputs();
            transpose(Cpu::new(), (a.data, m), (m, n), (&mut *output.data, n));
            Ok(())
        }),
    ]
}

/// The largest absolute entry, an implied one included; NaN if there is one.
fn largest(tile: TileRef<'_>) -> f64 {
    let implied = f64::from(tile.shape.kind == Kind::Unit);
    tile.data
        .iter()
        .fold(implied, |max, x| larger(max, x.abs()))
}

/// The larger; NaN if one is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn write_one(tiles: &mut TaskTiles<'_, '_>, value: f64) -> Result<(), KernelError> {
    let ([output], _) = tiles.outputs();
    output.data[0] = value;
    Ok(())
}

/// Writes the sums before, or zeros.
fn start(sums: &mut [f64], before: Option<TileRef<'_>>) {
    match before {
        Some(before) => sums.copy_from_slice(before.data),
        None => sums.fill(0.0),
    }
}

fn colsum(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (e, before) = (tiles.input(0), tiles.optional_input(1));
    let ([output], _) = tiles.outputs();
    start(output.data, before);
    let implied = f64::from(e.shape.kind == Kind::Unit);
    for (j, sum) in output.data.iter_mut().enumerate() {
        let (_, column) = e.column(j);
        *sum = column.iter().fold(*sum + implied, |sum, x| sum + x.abs());
    }
    Ok(())
}

fn colsum_sym(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (e, before) = (tiles.input(0), tiles.optional_input(1));
    let n = e.shape.rows as usize;
    let ([output], _) = tiles.outputs();
    start(output.data, before);
    for (j, column) in e.data.chunks_exact(n).enumerate() {
        let (first, sums) = output.data[j..].split_at_mut(1);
        first[0] += column[j].abs();
        for (sum, x) in sums.iter_mut().zip(&column[j + 1..]) {
            first[0] += x.abs();
            *sum += x.abs();
        }
    }
    Ok(())
}

fn rowsum(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (e, before) = (tiles.input(0), tiles.optional_input(1));
    let ([output], _) = tiles.outputs();
    start(output.data, before);
    for column in e.data.chunks_exact(e.shape.rows as usize) {
        for (sum, x) in output.data.iter_mut().zip(column) {
            *sum += x.abs();
        }
    }
    Ok(())
}

/// The scale is a power of two no larger than the largest entry, so that squares neither overflow nor vanish.
fn ssq(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (a, before) = (tiles.input(0), tiles.optional_input(1));
    let ones = if a.shape.kind == Kind::Unit {
        f64::from(a.shape.cols)
    } else {
        0.0
    };
    let largest = largest(a);
    let mine = if largest == 0.0 {
        (0.0, 1.0)
    } else if !largest.is_finite() {
        (largest, 1.0)
    } else {
        let scale = power_of_two(largest);
        let inverse = 1.0 / scale;
        let squares = a.data.iter().map(|x| (x * inverse) * (x * inverse));
        (scale, ones * inverse * inverse + squares.sum::<f64>())
    };
    let pair = match before.map(|before| (before.data[0], before.data[1])) {
        None => mine,
        Some(before) => merge(before, mine),
    };
    let ([output], _) = tiles.outputs();
    output.data.copy_from_slice(&[pair.0, pair.1]);
    Ok(())
}

/// The largest power of two that is no larger than a finite x, 2^-1022 at least.
fn power_of_two(x: f64) -> f64 {
    f64::from_bits(x.max(f64::MIN_POSITIVE).to_bits() & (0x7ff << 52))
}

/// The sum of two pairs (scale, sum), under the larger scale.
fn merge(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let (a, b) = if a.0 < b.0 { (b, a) } else { (a, b) };
    // Nothing to add; or infinite, or not a number, already.
    if b.0 == 0.0 || a.0.is_infinite() {
        return if b.0.is_nan() { b } else { a };
    }
    let ratio = b.0 / a.0;
    (a.0, a.1 + b.1 * ratio * ratio)
}
