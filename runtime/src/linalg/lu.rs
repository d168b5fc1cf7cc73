//! LU factorization P A = L U with tournament pivoting (CALU: Grigori, Demmel, Xiang, LAPACK working note
//! 226), and linear systems solved by it.

use super::job::{Builder, Given, Measure, link};
use crate::matrix::ArrayForm;
use crate::options::{Heads, Tree};
use crate::run::RunError;

/// The factorization, then the check where it is wanted.
pub(super) fn build(builder: &mut Builder<'_>) -> Result<(), RunError> {
    let (m, n) = builder.shape(0);
    let k = m.min(n);
    let params = params(builder, (m, n))?;
    let input = builder.input(0)?;
    let factored = builder.phase("factor", "lu", &params, vec![("A", input)]);
    builder.result("l", (factored, "L"), (m, k))?;
    builder.result("u", (factored, "U"), (k, n))?;
    builder.result_in("p", (factored, "p"), ArrayForm::integers(m))?;
    if builder.request.check {
        let (p, q) = builder.grid()?;
        let nb = builder.options().block.into();
        let sizes = [("m", m), ("n", n), ("nb", nb), ("P", p), ("Q", q)];
        let inputs = vec![
            ("A", link(factored, "A")),
            ("L", link(factored, "L")),
            ("U", link(factored, "U")),
            ("p", link(factored, "p")),
        ];
        let check = builder.phase("check", "check_lu", &sizes, inputs);
        builder.ratio(Measure::Residual, check, "rnorm", &["anorm"], m.max(n));
    }
    Ok(())
}

/// A X = B, then the check where it is wanted.
pub(super) fn build_solve(builder: &mut Builder<'_>) -> Result<(), RunError> {
    let ((n, _), (_, r)) = (builder.shape(0), builder.shape(1));
    let params = [&params(builder, (n, n))?[..], &[("r", r)]].concat();
    let inputs = vec![("A", builder.input(0)?), ("B", builder.input(1)?)];
    let solved = builder.phase("factor", "solve", &params, inputs);
    builder.result_like_b("x", (solved, "X"), (n, r))?;
    builder.check_solution(solved, (n, r), Given::Full)
}

/// Parameters of the programs for an m x n matrix.
fn params(builder: &Builder<'_>, (m, n): (u64, u64)) -> Result<Vec<(&'static str, u64)>, RunError> {
    let options = builder.options();
    let (p, q) = builder.grid()?;
    let binary = matches!(
        options.tree,
        Tree::Grid {
            heads: Heads::Binary,
            ..
        }
    );
    Ok(vec![
        ("m", m),
        ("n", n),
        ("nb", options.block.into()),
        ("P", p),
        ("Q", q),
        ("bin", binary.into()),
    ])
}
