//! QR factorization A = Q R of a matrix of any shape by a tree of Householder reflectors over tiles
//! (hierarchical tile QR: Dongarra et al., arXiv:1110.1553; numpywren's tree as a baseline).

use super::job::{Builder, Measure, link};
use crate::matrix::SourceSpec;
use crate::options::{Heads, Resolved, Tree};
use crate::plan::InputFrom;
use crate::run::RunError;

/// The factorization, then Q and the check where they are wanted.
pub(super) fn build(builder: &mut Builder<'_>) -> Result<(), RunError> {
    let options = builder.options();
    let (m, n) = builder.shape(0);
    let k = m.min(n);
    let (factor, _) = programs(&options.tree);
    let mut params = params(options, (m, n))?;
    let numpywren = matches!(options.tree, Tree::Numpywren { .. });
    let tiles = |side: u64| side.div_ceil(options.block.into());
    // Reflectors beside what they are applied to; an update reads one beside the two that it replaces, and makes
    // two.
    if !numpywren {
        params.extend(options.lookahead(tiles(n), 3 * tiles(m) * tiles(n) / 2, 3));
    }
    let a = if numpywren { "I" } else { "A" };
    let input = builder.input(0)?;
    let factored = builder.phase("factor", factor, &params, vec![(a, input)]);
    builder.result("r", (factored, "R"), (k, n))?;
    if !builder.wants("q") && !builder.request.check {
        return Ok(());
    }
    let formed = form(builder, "q", factored, (m, n))?;
    builder.result("q", (formed, "X"), (m, k))?;
    if builder.request.check {
        let (hp, hq) = options.tree.grid();
        let sizes = [
            ("m", m),
            ("n", n),
            ("nb", options.block.into()),
            ("HP", hp.into()),
            ("HQ", hq.into()),
            ("dense", numpywren.into()),
        ];
        let inputs = vec![
            ("A", link(factored, a)),
            ("Q", link(formed, "X")),
            ("R", link(factored, "R")),
        ];
        let check = builder.phase("check", "check_qr", &sizes, inputs);
        builder.ratio(Measure::Residual, check, "rnorm", &["anorm"], m.max(n));
        builder.ratio(Measure::Orthogonality, check, "onorm", &[], m);
    }
    Ok(())
}

/// The phase that forms Q, m x min(m, n), of what the phase `factored` has factored.
pub(super) fn form(
    builder: &mut Builder<'_>,
    name: &str,
    factored: u8,
    (m, n): (u64, u64),
) -> Result<u8, RunError> {
    let k = m.min(n);
    let options = builder.options();
    let (_, apply) = programs(&options.tree);
    let numpywren = matches!(options.tree, Tree::Numpywren { .. });
    let eye = InputFrom::Matrix(SourceSpec::eye(m, k), builder.tile());
    let mut inputs = vec![("B", eye)];
    let factors: &[&str] = if numpywren {
        &["V", "T"]
    } else {
        &["V", "T", "V2", "T2"]
    };
    inputs.extend(factors.iter().map(|&name| (name, link(factored, name))));
    let size: &[(&str, u64)] = if numpywren {
        &[("r", k)]
    } else {
        &[("r", k), ("thin", 1)]
    };
    let params = params(options, (m, n))?;
    Ok(builder.phase(name, apply, &[&params, size].concat(), inputs))
}

/// The programs that factor with a tree and that apply its Q.
fn programs(tree: &Tree) -> (&'static str, &'static str) {
    match tree {
        Tree::Numpywren { .. } => ("qr_numpywren", "apply_q_numpywren"),
        Tree::Flat { .. } | Tree::Binary { .. } | Tree::Grid { .. } => ("qr_grid", "apply_q"),
    }
}

/// Parameters of the factorization's programs for an m x n matrix.
pub(super) fn params(
    options: &Resolved,
    (m, n): (u64, u64),
) -> Result<Vec<(&'static str, u64)>, RunError> {
    let nb = u64::from(options.block);
    let (p, q) = options.tree.grid();
    let (domains, columns, binary) = match options.tree {
        Tree::Numpywren { .. } if m != n || !n.is_multiple_of(nb) => {
            return Err(RunError::Usage(format!(
                "--tree numpywren takes square matrices of whole tiles only; the matrix is {m} x {n} in \
                 tiles of {nb}"
            )));
        }
        Tree::Numpywren { .. } => return Ok(vec![("n", n), ("nb", nb)]),
        Tree::Flat { .. } => (1, 1, 0),
        Tree::Binary { .. } => (m.div_ceil(nb), 1, 1),
        Tree::Grid { layers: 2.., .. } => {
            return Err(RunError::Usage(format!(
                "--tree {}: reflectors have no layers; expected auto, flat, binary or grid:PxQ",
                options.tree
            )));
        }
        Tree::Grid { p, q, heads, .. } => (p.into(), q.into(), u64::from(heads == Heads::Binary)),
    };
    Ok(vec![
        ("m", m),
        ("n", n),
        ("nb", nb),
        ("ib", options.ib.into()),
        ("P", domains),
        ("Q", columns),
        ("bin", binary),
        ("HP", p.into()),
        ("HQ", q.into()),
    ])
}
