//! The largest singular values and their vectors by a random sketch of the columns (Halko, Martinsson, Tropp, SIAM
//! Review 53, 2011, algorithms 4.4 and 5.1): A moves through the workers a few times, whatever its rank.

use super::job::{Builder, Measure, link};
use super::qr;
use super::svd::{decompose, ranks};
use crate::matrix::{ArrayForm, SourceSpec};
use crate::plan::InputFrom;
use crate::run::RunError;

/// What of a matrix is wanted, and how well it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// How many singular values.
    pub rank: u64,
    /// Columns of the sketch beyond those.
    pub oversample: u64,
    /// How often A A' is applied to the sketch: each makes what lies beyond the rank less by the square of
    /// its ratio to what lies within, and costs two more products with A.
    pub power: u32,
    /// Seed of the sketch: the same seed gives the same bits.
    pub seed: u64,
}

/// Most applications of A A': each is six phases of a plan, which has room for 64.
const POWER_MAX: u32 = 8;

impl Truncation {
    /// So many values, from a sketch of ten more columns and two applications of A A'.
    #[must_use]
    pub fn rank(rank: u64) -> Self {
        Self {
            rank,
            oversample: 10,
            power: 2,
            seed: 1,
        }
    }

    /// Checks that a matrix has so many values.
    pub(super) fn check(&self, (m, n): (u64, u64)) -> Result<(), String> {
        let k = m.min(n);
        if self.rank < 1 || self.rank > k {
            return Err(format!(
                "the rank must be 1 to {k}, the smaller side of A; it is {}",
                self.rank
            ));
        }
        if self.power > POWER_MAX {
            return Err(format!(
                "A A' can be applied 0 to {POWER_MAX} times; {} was asked for",
                self.power
            ));
        }
        Ok(())
    }
}

/// The phases of the sketch, of what it holds of A, and of the part that is wanted.
struct Sketch<'b, 'a> {
    builder: &'b mut Builder<'a>,
    /// Columns of the sketch.
    width: u64,
    ranks: (u64, u64),
}

/// U, s and Vt, then the check where it is wanted.
pub(super) fn build(builder: &mut Builder<'_>, truncation: &Truncation) -> Result<(), RunError> {
    let (m, n) = builder.shape(0);
    let ranks = ranks(builder)?;
    let k = truncation.rank;
    let width = k.saturating_add(truncation.oversample).min(m.min(n));
    let tile = builder.tile();
    let (a, at) = (builder.input(0)?, builder.input_transposed(0)?);
    let mut sketch = Sketch {
        builder,
        width,
        ranks,
    };
    let random = InputFrom::Matrix(SourceSpec::random(n, width, truncation.seed), tile);
    let first = sketch.times(a, random, (m, n));
    let a = || link(first, "A");
    let mut q = sketch.orthonormal(link(first, "C"), m)?;
    // A' is read once, too.
    let mut at = at;
    for _ in 0..truncation.power {
        let back = sketch.times(at, q, (n, m));
        at = link(back, "A");
        let w = sketch.orthonormal(link(back, "C"), n)?;
        let forth = sketch.times(a(), w, (m, n));
        q = sketch.orthonormal(link(forth, "C"), m)?;
    }
    // A' Q = V diag(s) W', so that Q Q' A = (Q W) diag(s) V'.
    let part = sketch.times(at, q.clone(), (n, m));
    let parts = decompose(sketch.builder, link(part, "C"), (n, width), ranks, true);
    let (w, name) = parts.right[0];
    let u = sketch.product(q, link(w, name), (m, width, width));
    let (v, v_name) = parts.left[1];
    let s = sketch.crop((parts.values, "s"), (width, 1), (k, 1));
    let u = sketch.crop((u, "C"), (m, width), (m, k));
    let vt = sketch.crop((v, v_name), (width, n), (k, n));
    builder.result_in("s", (s, "C"), ArrayForm::vector(k))?;
    builder.result("u", (u, "C"), (m, k))?;
    builder.result("vt", (vt, "C"), (k, n))?;
    if builder.request.check {
        let nb = builder.options().block.into();
        let (p, q) = ranks;
        let sizes = [("m", m), ("n", n), ("k", k), ("nb", nb), ("P", p), ("Q", q)];
        let inputs = vec![
            ("A", a()),
            ("U", link(u, "C")),
            ("s", link(s, "C")),
            ("Vt", link(vt, "C")),
        ];
        let check = builder.phase("check", "check_truncated", &sizes, inputs);
        builder.ratio(Measure::Residual, check, "rnorm", &["anorm"], m.max(n));
        builder.ratio(Measure::Orthogonality, check, "unorm", &[], m);
        builder.ratio(Measure::Orthogonality, check, "vnorm", &[], n);
    }
    Ok(())
}

impl Sketch<'_, '_> {
    /// A matrix of m x n times one of n x the sketch's width.
    fn times(&mut self, a: InputFrom, x: InputFrom, (m, n): (u64, u64)) -> u8 {
        let width = self.width;
        self.product(a, x, (m, width, n))
    }

    /// The product C of A, m x l, and B, l x n.
    fn product(&mut self, a: InputFrom, b: InputFrom, (m, n, l): (u64, u64, u64)) -> u8 {
        let nb = self.builder.options().block.into();
        let (p, q) = self.ranks;
        let params = [("m", m), ("n", n), ("l", l), ("nb", nb), ("P", p), ("Q", q)];
        let inputs = vec![("A", a), ("B", b)];
        self.builder.phase("factor", "gemm", &params, inputs)
    }

    /// An orthonormal basis of the columns of a matrix with so many rows.
    fn orthonormal(&mut self, of: InputFrom, rows: u64) -> Result<InputFrom, RunError> {
        let width = self.width;
        let params = qr::params(self.builder.options(), (rows, width))?;
        let factored = self
            .builder
            .phase("factor", "qr_grid", &params, vec![("A", of)]);
        let formed = qr::form(self.builder, "factor", factored, (rows, width))?;
        Ok(link(formed, "X"))
    }

    /// The first rows and columns of an output.
    fn crop(&mut self, (phase, name): (u8, &str), from: (u64, u64), to: (u64, u64)) -> u8 {
        let nb = self.builder.options().block.into();
        let params = [
            ("m", from.0),
            ("n", from.1),
            ("r", to.0),
            ("c", to.1),
            ("nb", nb),
        ];
        let inputs = vec![("A", link(phase, name))];
        self.builder.phase("factor", "crop", &params, inputs)
    }
}
