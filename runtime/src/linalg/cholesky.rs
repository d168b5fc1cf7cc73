//! Cholesky factorization A = L L' of a symmetric positive definite matrix over tiles, right-looking
//! (PLASMA's tile Cholesky: Buttari et al., LAPACK working note 191), and linear systems solved by it.

use super::job::{Builder, Given, Measure, link};
use crate::run::RunError;

/// The factorization, then the check where it is wanted.
pub(super) fn build(builder: &mut Builder<'_>) -> Result<(), RunError> {
    let (n, _) = builder.shape(0);
    let params = builder.square_params(n)?;
    let input = builder.input(0)?;
    let options = builder.options();
    let columns = n.div_ceil(options.block.into());
    // A triangle of tiles; an update reads two tiles of L beside the one that it replaces, and makes one.
    let mut ordered = params.clone();
    ordered.extend(options.lookahead(columns, columns * (columns + 1) / 2, 3));
    let factored = builder.phase("factor", "cholesky", &ordered, vec![("A", input)]);
    builder.result("l", (factored, "L"), (n, n))?;
    if builder.request.check {
        let inputs = vec![("A", link(factored, "A")), ("L", link(factored, "L"))];
        let check = builder.phase("check", "check_cholesky", &params, inputs);
        builder.ratio(Measure::Residual, check, "rnorm", &["anorm"], n);
    }
    Ok(())
}

/// A X = B, then the check where it is wanted.
pub(super) fn build_posv(builder: &mut Builder<'_>) -> Result<(), RunError> {
    let ((n, _), (_, r)) = (builder.shape(0), builder.shape(1));
    let params = [&builder.square_params(n)?[..], &[("r", r)]].concat();
    let inputs = vec![("A", builder.input(0)?), ("B", builder.input(1)?)];
    let solved = builder.phase("factor", "posv", &params, inputs);
    builder.result_like_b("x", (solved, "X"), (n, r))?;
    builder.check_solution(solved, (n, r), Given::Symmetric)
}
