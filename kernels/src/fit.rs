//! Tiles made of others without arithmetic worth the name: cropped or filled up, scaled by column,
//! mirrored.

use crate::op::{KernelError, KernelOp, TaskTiles};

pub(crate) fn ops() -> Vec<KernelOp> {
    vec![
        // The rows and columns that both sizes have; zeros beyond.
        KernelOp::standard("fit(full(m,n)) -> full(p,q)", fit),
        // A diag(d).
        KernelOp::standard(
            "scale_columns(full(m,n), full(n,1)) -> full(m,n)",
            |tiles| {
                let (a, d) = (tiles.input(0), tiles.input(1));
                let ([output], _) = tiles.outputs();
                let rows = a.shape.rows as usize;
                for (j, (to, from)) in columns(output.data, a.data, rows).enumerate() {
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = from * d.data[j];
                    }
                }
                Ok(())
            },
        )
        .with_flops(|shapes| (shapes.input(0).0 * shapes.input(0).1) as u64),
        // A / s of the symmetric A whose lower triangle is given; 0 where s is 0.
        KernelOp::standard(
            "symmetric_start(lower(n,n), full(1,1)) -> full(n,n)",
            symmetric_start,
        ),
    ]
}

fn columns<'a>(
    to: &'a mut [f64],
    from: &'a [f64],
    rows: usize,
) -> impl Iterator<Item = (&'a mut [f64], &'a [f64])> {
    to.chunks_exact_mut(rows).zip(from.chunks_exact(rows))
}

fn fit(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let input = tiles.input(0);
    let ([output], _) = tiles.outputs();
    let (from_rows, to_rows) = (input.shape.rows as usize, output.shape.rows as usize);
    let both = from_rows.min(to_rows);
    output.data.fill(0.0);
    let columns = output.data.chunks_exact_mut(to_rows);
    for (to, from) in columns.zip(input.data.chunks_exact(from_rows)) {
        to[..both].copy_from_slice(&from[..both]);
    }
    Ok(())
}

fn symmetric_start(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (a, s) = (tiles.input(0), tiles.input(1).data[0]);
    let n = a.shape.rows as usize;
    let ([output], _) = tiles.outputs();
    for j in 0..n {
        let (row, entries) = a.column(j);
        for (i, entry) in (row..n).zip(entries) {
            let value = if s == 0.0 { 0.0 } else { entry / s };
            output.data[j * n + i] = value;
            output.data[i * n + j] = value;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::op::{KernelSet, TaskShapes, TaskTiles};
    use crate::tile::{Shape, TileMut, TileRef};

    fn run(name: &str, inputs: &[(Shape, &[f64])], output: Shape) -> Vec<f64> {
        let kernels = KernelSet::standard();
        let kernel = kernels.get(name).expect("a kernel");
        let shapes: Vec<_> = inputs.iter().map(|(shape, _)| Some(*shape)).collect();
        let shapes = TaskShapes {
            inputs: &shapes,
            outputs: &[Some(output)],
        };
        kernel.check(&shapes).expect("shapes that fit");
        let inputs: Vec<_> = inputs
            .iter()
            .map(|(shape, data)| Some(TileRef::new(*shape, data)))
            .collect();
        let mut words = vec![f64::NAN; output.words()];
        let result = kernel.run(&mut TaskTiles {
            inputs: &inputs,
            outputs: &mut [Some(TileMut::new(output, &mut words))],
            scratch: &mut [],
        });
        result.expect("a result");
        words
    }

    #[test]
    fn tiles_are_cropped_filled_up_scaled_and_mirrored() {
        let a = (Shape::full(2, 2), &[1.0, 2.0, 3.0, 4.0][..]);
        assert_eq!(run("fit", &[a], Shape::full(1, 2)), [1.0, 3.0]);
        assert_eq!(run("fit", &[a], Shape::full(2, 1)), [1.0, 2.0]);
        let wider = [1.0, 2.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(run("fit", &[a], Shape::full(3, 3)), wider);
        let d = (Shape::full(2, 1), &[2.0, -1.0][..]);
        let scaled = run("scale_columns", &[a, d], Shape::full(2, 2));
        assert_eq!(scaled, [2.0, 4.0, -3.0, -4.0]);
        let lower = (Shape::lower(2, 2), &[2.0, 4.0, 6.0][..]);
        for (s, expected) in [(2.0, [1.0, 2.0, 2.0, 3.0]), (0.0, [0.0; 4])] {
            let s = (Shape::full(1, 1), &[s][..]);
            let mirrored = run("symmetric_start", &[lower, s], Shape::full(2, 2));
            assert_eq!(mirrored, expected);
        }
    }
}
