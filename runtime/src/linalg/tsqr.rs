//! QR factorization A = Q R of a tall matrix in one column of tiles, by a binary tree over its rows
//! (TSQR: Demmel, Grigori, Hoemmen, Langou, LAPACK working note 204). The tree does not depend on workers.

use super::job::{Builder, Measure, link};
use crate::matrix::SourceSpec;
use crate::plan::InputFrom;
use crate::run::RunError;

/// The factorization, then Q and the check where they are wanted.
pub(super) fn build(builder: &mut Builder<'_>) -> Result<(), RunError> {
    let options = builder.options();
    let (m, n) = builder.shape(0);
    let nb = u64::from(options.block);
    if nb < n {
        return Err(RunError::Usage(format!(
            "--block is {nb}; tsqr takes matrices in one column of tiles, so at least the {n} columns of A: \
             give it that, or use qr"
        )));
    }
    let (p, q) = builder.grid()?;
    let params = [
        ("m", m),
        ("n", n),
        ("nb", nb),
        ("ib", options.ib.into()),
        ("P", p * q),
    ];
    let input = builder.input(0)?;
    let factored = builder.phase("factor", "tsqr", &params, vec![("A", input)]);
    builder.result("r", (factored, "R"), (n, n))?;
    if !builder.wants("q") && !builder.request.check {
        return Ok(());
    }
    let eye = InputFrom::Matrix(SourceSpec::eye(m, n), builder.tile());
    let mut inputs = vec![("B", eye)];
    let factors = ["V", "T", "V2", "T2"];
    inputs.extend(factors.map(|name| (name, link(factored, name))));
    let params = [&params[..], &[("r", n)]].concat();
    let formed = builder.phase("q", "apply_tsqr", &params, inputs);
    builder.result("q", (formed, "X"), (m, n))?;
    if builder.request.check {
        let sizes = [("m", m), ("n", n), ("nb", nb), ("HP", p * q)];
        let inputs = vec![
            ("A", link(factored, "A")),
            ("Q", link(formed, "X")),
            ("R", link(factored, "R")),
        ];
        let check = builder.phase("check", "check_qr", &sizes, inputs);
        builder.ratio(Measure::Residual, check, "rnorm", &["anorm"], m);
        builder.ratio(Measure::Orthogonality, check, "onorm", &[], m);
    }
    Ok(())
}
