//! Singular value decomposition A = U S V' by a reduction to a band over tiles, the decomposition of the
//! band by one task, and, where vectors are wanted, the reduction's trees applied to the band's vectors.

use super::job::{Builder, Measure, link};
use crate::matrix::ArrayForm;
use crate::options::Tree;
use crate::plan::InputFrom;
use crate::run::RunError;

/// An output of a phase.
type Output = (u8, &'static str);

/// Where the parts of a decomposition of a matrix that is not wide are.
pub(super) struct Parts {
    /// Singular values, and the band's vectors.
    pub(super) values: u8,
    /// U, then its transpose if that was wanted.
    pub(super) left: [Output; 2],
    /// V, then its transpose if that was wanted.
    pub(super) right: [Output; 2],
}

/// Values, then vectors and the check where they are wanted.
pub(super) fn build(builder: &mut Builder<'_>) -> Result<(), RunError> {
    let shape = builder.shape(0);
    let wide = shape.0 < shape.1;
    // A wide matrix is its transpose, of which U and V change places.
    let (m, n) = if wide { (shape.1, shape.0) } else { shape };
    let a = if wide {
        builder.input_transposed(0)?
    } else {
        builder.input(0)?
    };
    let (p, q) = ranks(builder)?;
    let ranks = if wide { (q, p) } else { (p, q) };
    let vectors = builder.wants("u") || builder.wants("vt") || builder.request.check;
    if !vectors {
        let values = values(builder, a, (m, n), ranks, false).1;
        return builder.result_in("s", (values, "s"), ArrayForm::vector(n));
    }
    let parts = decompose(builder, a, (m, n), ranks, wide);
    builder.result_in("s", (parts.values, "s"), ArrayForm::vector(n))?;
    let outputs = if wide {
        [(parts.right[0], (n, n)), (parts.left[1], (n, m))]
    } else {
        [(parts.left[0], (m, n)), (parts.right[1], (n, n))]
    };
    for (name, (output, shape)) in ["u", "vt"].into_iter().zip(outputs) {
        builder.result(name, output, shape)?;
    }
    if builder.request.check {
        let [((u, u_name), _), ((vt, vt_name), _)] = outputs;
        let (m, n) = shape;
        let nb = builder.options().block.into();
        let (p, q) = ranks;
        let sizes = [("m", m), ("n", n), ("nb", nb), ("P", p), ("Q", q)];
        let inputs = vec![
            ("A", builder.input(0)?),
            ("U", link(u, u_name)),
            ("s", link(parts.values, "s")),
            ("Vt", link(vt, vt_name)),
        ];
        let check = builder.phase("check", "check_svd", &sizes, inputs);
        builder.ratio(Measure::Residual, check, "rnorm", &["anorm"], m.max(n));
        builder.ratio(Measure::Orthogonality, check, "unorm", &[], m);
        builder.ratio(Measure::Orthogonality, check, "vnorm", &[], n);
    }
    Ok(())
}

/// The grid of ranks, which no reduction tree of another kind has.
pub(super) fn ranks(builder: &Builder<'_>) -> Result<(u64, u64), RunError> {
    if let Tree::Numpywren { .. } = builder.options().tree {
        return Err(RunError::Usage(
            "--tree numpywren: svd has no such tree; expected auto or grid:PxQ".to_owned(),
        ));
    }
    builder.grid()
}

/// The phases that reduce a matrix of m >= n to a band and decompose that.
fn values(
    builder: &mut Builder<'_>,
    a: InputFrom,
    (m, n): (u64, u64),
    (p, q): (u64, u64),
    vectors: bool,
) -> (u8, u8) {
    let options = builder.options();
    let (nb, ib) = (u64::from(options.block), u64::from(options.ib));
    let size = [
        ("m", m),
        ("n", n),
        ("nb", nb),
        ("ib", ib),
        ("P", p),
        ("Q", q),
    ];
    let band = builder.phase("factor", "bdfac", &size, vec![("A", a)]);
    let size = [("n", n), ("nb", nb), ("vectors", vectors.into())];
    let inputs = vec![("R", link(band, "R")), ("L", link(band, "L"))];
    (band, builder.phase("factor", "band_svd", &size, inputs))
}

/// The phases that decompose a matrix of m >= n with its vectors: U = Q (U of the band), V = W (V of the
/// band). Transposed are U if `left_turned`, else V.
pub(super) fn decompose(
    builder: &mut Builder<'_>,
    a: InputFrom,
    (m, n): (u64, u64),
    (p, q): (u64, u64),
    left_turned: bool,
) -> Parts {
    let (band, values) = values(builder, a, (m, n), (p, q), true);
    let options = builder.options();
    let (nb, ib) = (u64::from(options.block), u64::from(options.ib));
    let from = ["V", "T", "V2", "T2"];
    let mut apply = |(rows, o, width): (u64, u64, u64), turned: bool| {
        let (vectors, domains) = if o == 0 { ("U", p) } else { ("V", q) };
        let mut inputs = vec![("B", link(values, vectors))];
        let names: [&str; 4] = if o == 0 {
            from
        } else {
            ["VL", "TL", "VL2", "TL2"]
        };
        inputs.extend(
            from.into_iter()
                .zip(names)
                .map(|(to, name)| (to, link(band, name))),
        );
        let params = [
            ("m", rows),
            ("wide", width),
            ("nb", nb),
            ("ib", ib),
            ("P", domains),
            ("o", o),
            ("r", n),
            ("br", n),
            ("turned", turned.into()),
            ("HP", p),
            ("HQ", q),
        ];
        let phase = builder.phase("vectors", "apply_cyclic", &params, inputs);
        [(phase, "X"), (phase, "XT")]
    };
    let panels = (n.div_ceil(nb) - 1) * nb;
    let left = apply((m, 0, n), left_turned);
    // One tile a side: nothing to the right of it, so no LQ.
    let right = if panels > 0 {
        apply((n, 1, panels), !left_turned)
    } else {
        [(values, "V"), (values, "Vt")]
    };
    Parts {
        values,
        left,
        right,
    }
}
