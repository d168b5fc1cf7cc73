//! Singular value decomposition A = U S V' by a reduction to a band over tiles, the decomposition of the
//! band by one task, and, where vectors are wanted, the reduction's trees applied to the band's vectors.

use super::job::{Builder, Form, Measure, link};
use crate::options::Tree;
use crate::run::RunError;

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
    let nb = u64::from(builder.options().block);
    let ib = u64::from(builder.options().ib);
    let vectors = builder.wants("u") || builder.wants("vt") || builder.request.check;
    if let Tree::Numpywren { .. } = builder.options().tree {
        return Err(RunError::Usage(
            "--tree numpywren: svd has no such tree; expected auto or grid:PxQ".to_owned(),
        ));
    }
    let (p, q) = builder.grid()?;
    let (p, q) = if wide { (q, p) } else { (p, q) };
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
    let values = builder.phase("factor", "band_svd", &size, inputs);
    builder.result_in("s", (values, "s"), (n, 1), Form::Vector)?;
    if !vectors {
        return Ok(());
    }
    // Of m x n: U = Q (U of the band), V = W (V of the band).
    let from = ["V", "T", "V2", "T2"];
    let apply = |builder: &mut Builder<'_>, (rows, o, width): (u64, u64, u64), turned: bool| {
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
        builder.phase("vectors", "apply_cyclic", &params, inputs)
    };
    let panels = (n.div_ceil(nb) - 1) * nb;
    let left = apply(builder, (m, 0, n), wide);
    // One tile a side: nothing to the right of it, so no LQ.
    let right = if panels > 0 {
        let phase = apply(builder, (n, 1, panels), !wide);
        [(phase, "X"), (phase, "XT")]
    } else {
        [(values, "V"), (values, "Vt")]
    };
    let outputs = if wide {
        [("u", right[0], (n, n)), ("vt", (left, "XT"), (n, m))]
    } else {
        [("u", (left, "X"), (m, n)), ("vt", right[1], (n, n))]
    };
    for (name, output, shape) in outputs {
        builder.result(name, output, shape)?;
    }
    if builder.request.check {
        let [(_, (u, u_name), _), (_, (vt, vt_name), _)] = outputs;
        let (m, n) = shape;
        let sizes = [("m", m), ("n", n), ("nb", nb), ("P", p), ("Q", q)];
        let inputs = vec![
            ("A", builder.input(0)?),
            ("U", link(u, u_name)),
            ("s", link(values, "s")),
            ("Vt", link(vt, vt_name)),
        ];
        let check = builder.phase("check", "check_svd", &sizes, inputs);
        builder.ratio(Measure::Residual, check, "rnorm", &["anorm"], m.max(n));
        builder.ratio(Measure::Orthogonality, check, "unorm", &[], m);
        builder.ratio(Measure::Orthogonality, check, "vnorm", &[], n);
    }
    Ok(())
}
