//! C = alpha A B + beta C0. Transposes are views of the inputs.

use super::job::{Builder, Measure, link};
use super::operation::Scales;
use crate::matrix::{MatrixSource, SourceSpec};
use crate::options::{Resolved, Tree};
use crate::plan::InputFrom;
use crate::run::RunError;

/// Seed of the vector that the check multiplies with.
const CHECK_SEED: u64 = 0x9e37_79b9;

/// The product, then the check where it is wanted.
pub(super) fn build(builder: &mut Builder<'_>, scales: &Scales) -> Result<(), RunError> {
    let ((m, l), (_, n)) = (builder.shape(0), builder.shape(1));
    let nb = builder.options().block.into();
    let onto = builder.request.inputs.len() > 2;
    let scaled = onto || scales.alpha != 1.0;
    let sizes = [("m", m), ("n", n), ("l", l), ("nb", nb)];
    let mut inputs = vec![("A", builder.input(0)?), ("B", builder.input(1)?)];
    let product = if let Tree::Numpywren { .. } = builder.options().tree {
        if scaled {
            return Err(RunError::Usage(
                "--tree numpywren multiplies A B alone; leave out --alpha, --beta and C".to_owned(),
            ));
        }
        builder.phase("factor", "gemm_numpywren", &sizes, inputs)
    } else {
        let Tree::Grid { p, q, layers, .. } = builder.options().tree else {
            return Err(builder.no_such_tree("auto or grid:PxQ[xZ]"));
        };
        let options = [
            ("P", p.into()),
            ("Q", q.into()),
            ("Z", layers.into()),
            ("scaled", scaled.into()),
            ("onto", onto.into()),
        ];
        if scaled {
            inputs.push(("alpha", scalar(scales.alpha)?));
            inputs.push(("beta", scalar(scales.beta)?));
        }
        if onto {
            inputs.push(("C0", builder.input(2)?));
        }
        let mut params = [&sizes[..], &options].concat();
        if let Some(square) = square(builder.options(), (m, n), (p, q)) {
            params.push(("square", square));
        }
        builder.phase("factor", "gemm", &params, inputs)
    };
    builder.result("c", (product, "C"), (m, n))?;
    if builder.request.check {
        let vector = MatrixSource::parse(&format!("random:{n}x1:{CHECK_SEED}"));
        let vector = vector.and_then(|vector| vector.spec());
        let vector = vector.map_err(|error| RunError::Usage(error.to_string()))?;
        let mut inputs = vec![
            ("A", link(product, "A")),
            ("B", link(product, "B")),
            ("C", link(product, "C")),
            ("y", InputFrom::Matrix(vector, builder.tile())),
            ("alpha", scalar(scales.alpha)?),
            ("beta", scalar(scales.beta)?),
        ];
        if onto {
            inputs.push(("C0", link(product, "C0")));
        }
        let params = [&sizes[..], &[("onto", onto.into())]].concat();
        let check = builder.phase("check", "check_gemm", &params, inputs);
        builder.ratio(Measure::Residual, check, "rnorm", &["scale"], l);
    }
    Ok(())
}

/// Tiles of C a side that are summed up at a time, where the memory that was given is too small for all that a
/// worker sums up: a square of C of which each worker has what fills half of its memory. Each square reads its
/// rows of A and columns of B once, where one product after the other for all of C would bring the sums in and
/// out each time.
fn square(options: &Resolved, (m, n): (u64, u64), (p, q): (u32, u32)) -> Option<u64> {
    let tiles = |side: u64| side.div_ceil(options.block.into());
    let (p, q) = (u64::from(p), u64::from(q));
    // A product reads two tiles beside the sum that it replaces, and makes one.
    let room = options.room(3)?;
    let sums = (tiles(m) * tiles(n)).div_ceil(p * q);
    (sums > room).then(|| (room / 2).isqrt().max(1) * p.max(q))
}

/// A number as a 1 x 1 matrix.
pub(super) fn scalar(value: f64) -> Result<InputFrom, RunError> {
    let source = MatrixSource::scalar(value);
    source
        .validate()
        .and_then(|()| source.spec())
        .map(|spec: SourceSpec| InputFrom::Matrix(spec, (1, 1)))
        .map_err(|error| RunError::Usage(error.to_string()))
}
