//! Puts result tiles together: into a `.npy` file, one tile in memory at a time, or into a number.

use std::path::Path;

use peerwren_kernels::tile::TileRef;

use super::job::Wanted;
use crate::matrix::NpyWriter;
use crate::run::{Results, RunError};

/// Writes an output as `.npy` beside its final name; tiles that the output does not have are zero.
/// The file takes its name when the writer is finished.
pub(super) async fn write_npy(
    results: &Results<'_>,
    wanted: &Wanted,
    path: &Path,
) -> Result<NpyWriter, RunError> {
    let failed = |error: &dyn std::fmt::Display| RunError::Failed(error.to_string());
    let writer = NpyWriter::create(path, wanted.form).map_err(|e| failed(&e))?;
    let mut dense = Vec::new();
    for (at, key) in results.plan.output(wanted.phase.into(), &wanted.output) {
        let shape = results.plan.shape(&key);
        let tile = results.block(&key).await?;
        let (rows, cols) = (shape.rows as usize, shape.cols as usize);
        dense.resize(rows * cols, 0.0);
        TileRef {
            shape,
            data: tile.as_f64(),
        }
        .unpack(&mut dense, rows);
        let first = |place, side: u32| {
            u64::try_from(at.get(place).unwrap_or(0)).unwrap_or(0) * u64::from(side)
        };
        let (row, col) = (first(0, wanted.tile.0), first(1, wanted.tile.1));
        writer
            .write_tile(row, col, rows, cols, &dense)
            .map_err(|e| failed(&e))?;
    }
    Ok(writer)
}

/// The only entry of a 1 x 1 output.
pub(super) async fn number(
    results: &Results<'_>,
    phase: usize,
    output: &str,
) -> Result<f64, RunError> {
    let tiles = results.plan.output(phase, output);
    let Some((_, key)) = tiles.first() else {
        return Err(RunError::Failed(format!(
            "the check has no output {output}"
        )));
    };
    let block = results.block(key).await?;
    block
        .as_f64()
        .first()
        .copied()
        .ok_or_else(|| RunError::Failed(format!("{output} is empty")))
}
