//! Sums and norms of matrices.

use super::gemm::scalar;
use super::job::Builder;
use super::operation::{Norm, Scales};
use crate::matrix::{ArrayForm, Entries};
use crate::run::RunError;

/// alpha A, or alpha A + beta B.
pub(super) fn build_add(builder: &mut Builder<'_>, scales: &Scales) -> Result<(), RunError> {
    let (m, n) = builder.shape(0);
    let (p, q) = builder.grid()?;
    let nb = builder.options().block.into();
    let both = builder.request.inputs.len() > 1;
    let params = [
        ("m", m),
        ("n", n),
        ("nb", nb),
        ("both", both.into()),
        ("P", p),
        ("Q", q),
    ];
    let mut inputs = vec![
        ("A", builder.input(0)?),
        ("alpha", scalar(scales.alpha)?),
        ("beta", scalar(scales.beta)?),
    ];
    if both {
        inputs.push(("B", builder.input(1)?));
    }
    let sum = builder.phase("factor", "combine", &params, inputs);
    let form = ArrayForm {
        entries: Entries::F64,
        ..builder.request.inputs[0].form()
    };
    builder.result_in("c", (sum, "C"), form)
}

/// A norm, 1 x 1.
pub(super) fn build_norm(builder: &mut Builder<'_>, norm: Norm) -> Result<(), RunError> {
    let (m, n) = builder.shape(0);
    let (p, q) = builder.grid()?;
    let nb = builder.options().block.into();
    // Sums of rows are sums of columns of the transpose.
    let (a, (m, n), kind) = match norm {
        Norm::Max => (builder.input(0)?, (m, n), 0),
        Norm::One => (builder.input(0)?, (m, n), 1),
        Norm::Infinity => (builder.input_transposed(0)?, (n, m), 1),
        Norm::Frobenius => (builder.input(0)?, (m, n), 2),
    };
    let params = [
        ("m", m),
        ("n", n),
        ("nb", nb),
        ("kind", kind),
        ("P", p),
        ("Q", q),
    ];
    let found = builder.phase("factor", "norm", &params, vec![("A", a)]);
    builder.result("norm", (found, "norm"), (1, 1))
}
