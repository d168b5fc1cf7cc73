//! Least squares: the X that makes |B - A X| smallest, by QR of A; for more columns than rows the smallest X
//! with A X = B, by QR of A' (dgels).

use super::job::{Builder, Measure, link};
use super::qr;
use crate::options::Tree;
use crate::run::RunError;

/// The solution, then the check where it is wanted.
pub(super) fn build(builder: &mut Builder<'_>) -> Result<(), RunError> {
    let ((m, n), (_, r)) = (builder.shape(0), builder.shape(1));
    let options = builder.options();
    if let Tree::Numpywren { .. } = options.tree {
        return Err(RunError::Usage(
            "--tree numpywren: lstsq has no such tree; expected auto, flat, binary or grid:PxQ"
                .to_owned(),
        ));
    }
    let nb = u64::from(options.block);
    let (p, q) = options.tree.grid();
    let solved = if m >= n {
        let params = [&qr::params(options, (m, n))?[..], &[("r", r)]].concat();
        let inputs = vec![("A", builder.input(0)?), ("B", builder.input(1)?)];
        let solved = builder.phase("factor", "lstsq", &params, inputs);
        builder.result_like_b("x", (solved, "X"), (n, r))?;
        solved
    } else {
        // A' = Q R, so A = R'Q': R'Y = B, X = Q Y.
        let params = qr::params(options, (n, m))?;
        let a = builder.input_transposed(0)?;
        let factored = builder.phase("factor", "qr_grid", &params, vec![("A", a)]);
        let sizes = [
            ("n", m),
            ("r", r),
            ("nb", nb),
            ("tall", n),
            ("P", p.into()),
            ("Q", q.into()),
        ];
        let inputs = vec![("R", link(factored, "R")), ("B", builder.input(1)?)];
        let lower = builder.phase("solve", "minimum_norm", &sizes, inputs);
        let mut inputs = vec![("B", link(lower, "Y"))];
        let factors = ["V", "T", "V2", "T2"];
        inputs.extend(factors.map(|name| (name, link(factored, name))));
        let params = [&params[..], &[("r", r), ("br", m)]].concat();
        let applied = builder.phase("solve", "apply_q", &params, inputs);
        builder.result_like_b("x", (applied, "X"), (n, r))?;
        applied
    };
    if builder.request.check {
        let sizes = [
            ("m", m),
            ("n", n),
            ("r", r),
            ("nb", nb),
            ("P", p.into()),
            ("Q", q.into()),
        ];
        let inputs = vec![
            ("A", builder.input(0)?),
            ("B", builder.input(1)?),
            ("X", link(solved, "X")),
        ];
        let check = builder.phase("check", "check_solution", &sizes, inputs);
        if m >= n {
            // A'(B - A X) = 0, to the accuracy of |A| (|B| + |A| |X|).
            builder.ratio(
                Measure::Residual,
                check,
                "gnorm",
                &["anorm", "reach"],
                m.max(r),
            );
        } else {
            builder.ratio(
                Measure::Residual,
                check,
                "rnorm",
                &["anorm", "xnorm"],
                n.max(r),
            );
        }
    }
    Ok(())
}
