//! Triangular systems op(T) X = B.

use super::job::{Builder, Given};
use super::operation::Triangle;
use crate::run::RunError;

/// op(T) X = B, then the check where it is wanted. An upper triangle is the lower one of A', which the
/// request's input then is a view of.
pub(super) fn build(builder: &mut Builder<'_>, triangle: Triangle) -> Result<(), RunError> {
    let ((n, _), (_, r)) = (builder.shape(0), builder.shape(1));
    let (p, q) = builder.grid()?;
    let Triangle {
        upper,
        transposed,
        unit,
    } = triangle;
    let transposed = upper != transposed;
    let a = if upper {
        builder.input_transposed(0)?
    } else {
        builder.input(0)?
    };
    let params = [
        ("n", n),
        ("r", r),
        ("nb", builder.options().block.into()),
        ("trans", transposed.into()),
        ("unit", unit.into()),
        ("P", p),
        ("Q", q),
    ];
    let inputs = vec![("L", a), ("B", builder.input(1)?)];
    let solved = builder.phase("factor", "trsm", &params, inputs);
    builder.result_like_b("x", (solved, "X"), (n, r))?;
    let given = Given::Triangle { transposed, unit };
    builder.check_solution(solved, (n, r), given)
}
