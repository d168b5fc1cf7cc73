//! The operations by name: inputs, results, and which shapes fit. How each is computed is in the files
//! beside this one.

use super::job::Builder;
use super::program::{self, ProgramCall};
use super::truncated::{self, Truncation};
use super::{algebra, cholesky, gemm, least_squares, lu, qr, svd, triangular, tsqr};
use crate::options::{Method, Problem};
use crate::run::RunError;

/// What is to be computed. Sizes are rows x columns; k = min(m, n).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// A = Q R of any matrix: `q` (m x k, orthonormal columns), `r` (k x n, zero below the diagonal).
    Qr,
    /// The same of a tall matrix, m >= n, in one column of tiles by a binary tree: `q`, `r`.
    Tsqr,
    /// A = L L' of a symmetric positive definite matrix, of which the lower triangle is read: `l`
    /// (n x n, zero above the diagonal).
    Cholesky,
    /// P A = L U of any matrix: `l` (m x k, ones on the diagonal), `u` (k x n), `p` (m numbers of rows:
    /// row i of L U is row p\[i\] of A). Completes on singular matrices.
    Lu,
    /// C = alpha A B, or alpha A B + beta C0 with a third input: `c`.
    Gemm(Scales),
    /// T X = B, T a triangle of A: `x`.
    Trsm(Triangle),
    /// A X = B by LU: `x`. A singular A is an error.
    Solve,
    /// A X = B by Cholesky, A symmetric positive definite, of which the lower triangle is read: `x`.
    Posv,
    /// The X that makes |B - A X| smallest; for more columns than rows the smallest X with A X = B: `x`.
    /// A has full rank.
    Lstsq,
    /// A = U diag(s) Vt of any matrix: `s` (k values, largest first), `u` (m x k), `vt` (k x n).
    Svd,
    /// The largest singular values of any matrix and their vectors, nearly, k = rank: `s` (k values,
    /// largest first), `u` (m x k), `vt` (k x n).
    TruncatedSvd(Truncation),
    /// C = alpha A, or alpha A + beta B with a second input: `c`.
    Add(Scales),
    /// A norm of A: `norm` (1 x 1).
    Norm(Norm),
    /// A program of the user's own: its outputs.
    Program(Box<ProgramCall>),
}

/// The factors of a product or a sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// Of A B, or of A.
    pub alpha: f64,
    /// Of C0, the third input, or of B; where it is 0, that is not read.
    pub beta: f64,
}

/// A norm of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// The largest absolute entry.
    Max,
    /// The largest sum of a column's absolute entries.
    One,
    /// The largest sum of a row's absolute entries.
    Infinity,
    /// The root of the sum of squares, safe from overflow.
    Frobenius,
}

/// A triangular matrix, as a part of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Triangle {
    /// The upper triangle of A, not the lower one.
    pub upper: bool,
    /// Its transpose.
    pub transposed: bool,
    /// Its diagonal is ones, whatever is there.
    pub unit: bool,
}

/// Inputs that an operation does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {problem}")]
pub struct ShapeError {
    /// The operation.
    pub operation: &'static str,
    /// What was expected and what came.
    pub problem: String,
}

impl Operation {
    /// The name, also of the subcommand where there is one.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Qr => "qr",
            Self::Tsqr => "tsqr",
            Self::Cholesky => "cholesky",
            Self::Lu => "lu",
            Self::Gemm(_) => "gemm",
            Self::Trsm(_) => "trsm",
            Self::Solve => "solve",
            Self::Posv => "posv",
            Self::Lstsq => "lstsq",
            Self::Svd | Self::TruncatedSvd(_) => "svd",
            Self::Add(_) => "add",
            Self::Norm(_) => "norm",
            Self::Program(_) => "run",
        }
    }

    /// The name, or the program's.
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Program(call) => call.file(),
            built_in => built_in.name(),
        }
    }

    /// The inputs by their names, as a report tells them; of a program with its parameters.
    #[must_use]
    pub fn applied_to(&self, inputs: &[&str]) -> String {
        match self {
            Self::Program(call) => call.applied_to(inputs),
            _ => inputs.join(" "),
        }
    }

    /// The results' names.
    #[must_use]
    pub fn results(&self) -> Vec<&str> {
        match self {
            Self::Qr | Self::Tsqr => vec!["q", "r"],
            Self::Cholesky => vec!["l"],
            Self::Svd | Self::TruncatedSvd(_) => vec!["s", "u", "vt"],
            Self::Add(_) => vec!["c"],
            Self::Norm(_) => vec!["norm"],
            Self::Lu => vec!["l", "u", "p"],
            Self::Gemm(_) => vec!["c"],
            Self::Trsm(_) | Self::Solve | Self::Posv | Self::Lstsq => vec!["x"],
            Self::Program(call) => call.outputs().collect(),
        }
    }

    /// Rows and columns by which the tiling and the grid of ranks are chosen.
    ///
    /// # Errors
    /// The inputs' number or shapes do not fit the operation.
    pub fn shape(&self, inputs: &[(u64, u64)]) -> Result<(u64, u64), ShapeError> {
        let shown = |(m, n): (u64, u64)| format!("{m} x {n}");
        let problem = match (self, inputs) {
            (Self::Qr | Self::Lu | Self::Svd | Self::Norm(_), &[a]) => return Ok(a),
            (Self::TruncatedSvd(truncation), &[a]) => match truncation.check(a) {
                Ok(()) => return Ok(a),
                Err(problem) => problem,
            },
            (Self::Add(_), &[a]) => return Ok(a),
            (Self::Add(_), &[a, b]) if a == b => return Ok(a),
            (Self::Add(_), &[a, b]) => format!(
                "A and B must have the same shape; A is {}, B is {}",
                shown(a),
                shown(b)
            ),
            (Self::Add(_), _) => format!("expected A and maybe B, got {} inputs", inputs.len()),
            (Self::Tsqr, &[(m, n)]) if m >= n => return Ok((m, n)),
            (Self::Tsqr, &[a]) => format!(
                "A must have at least as many rows as columns; it is {}",
                shown(a)
            ),
            (Self::Cholesky, &[(m, n)]) if m == n => return Ok((m, n)),
            (Self::Cholesky, &[a]) => format!("A must be symmetric, so square; it is {}", shown(a)),
            (Self::Gemm(_), &[a, b, ..]) if a.1 != b.0 => format!(
                "A must have as many columns as B has rows; A is {}, B is {}",
                shown(a),
                shown(b)
            ),
            (Self::Gemm(_), &[a, b, c]) if c != (a.0, b.1) => {
                let product = shown((a.0, b.1));
                format!("C must be {product}, as A B is; it is {}", shown(c))
            }
            (Self::Gemm(_), &[a, b] | &[a, b, _]) => return Ok((a.0, b.1)),
            (Self::Trsm(_) | Self::Solve | Self::Posv, &[a, _]) if a.0 != a.1 => {
                format!("A must be square; it is {}", shown(a))
            }
            (Self::Trsm(_) | Self::Solve | Self::Posv | Self::Lstsq, &[a, b]) if a.0 != b.0 => {
                format!(
                    "A and B must have as many rows; A is {}, B is {}",
                    shown(a),
                    shown(b)
                )
            }
            (Self::Trsm(_) | Self::Solve | Self::Posv | Self::Lstsq, &[a, _]) => return Ok(a),
            (Self::Program(call), inputs) if inputs.len() == call.input_count() => {
                let size = |&(m, n): &(u64, u64)| u128::from(m) * u128::from(n);
                return Ok(inputs.iter().copied().max_by_key(size).unwrap_or((1, 1)));
            }
            (Self::Program(call), _) => {
                format!(
                    "expected {} inputs, got {}",
                    call.input_count(),
                    inputs.len()
                )
            }
            (Self::Gemm(_), _) => format!("expected A, B and maybe C, got {} inputs", inputs.len()),
            (
                Self::Qr
                | Self::Tsqr
                | Self::Cholesky
                | Self::Lu
                | Self::Svd
                | Self::TruncatedSvd(_)
                | Self::Norm(_),
                _,
            ) => format!("expected A alone, got {} inputs", inputs.len()),
            (Self::Trsm(_) | Self::Solve | Self::Posv | Self::Lstsq, _) => {
                format!("expected A and B, got {} inputs", inputs.len())
            }
        };
        Err(ShapeError {
            operation: self.name(),
            problem,
        })
    }

    /// What block and grid are chosen for.
    ///
    /// # Errors
    /// The inputs' number or shapes do not fit the operation.
    pub fn problem(&self, inputs: &[(u64, u64)]) -> Result<Problem, ShapeError> {
        let (m, n) = self.shape(inputs)?;
        let method = match self {
            Self::Gemm(_) => Method::Product { depth: inputs[0].1 },
            Self::Cholesky | Self::Posv | Self::Trsm(_) => Method::Cholesky,
            Self::Lu | Self::Solve => Method::Lu,
            Self::Svd => Method::Bidiagonal,
            Self::Qr
            | Self::Tsqr
            | Self::Lstsq
            | Self::TruncatedSvd(_)
            | Self::Add(_)
            | Self::Norm(_)
            | Self::Program(_) => Method::Qr,
        };
        Ok(Problem { m, n, method })
    }

    /// Whether results can be checked as LAPACK's tests do.
    #[must_use]
    pub fn has_check(&self) -> bool {
        !matches!(self, Self::Add(_) | Self::Norm(_) | Self::Program(_))
    }

    /// Whether all entries of an input are read, so that none may be NaN or infinite.
    #[must_use]
    pub(super) fn reads_all(&self, input: usize) -> bool {
        if let Self::Program(call) = self {
            return call.reads_all(input);
        }
        let is_triangle = matches!(self, Self::Cholesky | Self::Posv | Self::Trsm(_));
        !is_triangle || input > 0
    }

    /// The side of a tile where the user leaves it open and the shape alone would choose another.
    #[must_use]
    pub fn block(&self, (m, n): (u64, u64)) -> Option<u32> {
        if let Self::Program(call) = self {
            return call.block();
        }
        let Self::Tsqr = self else { return None };
        // As tall as the panel is wide or more, so that leaves take most flops; some for each worker.
        let block = (m / TSQR_LEAVES).clamp(n, n.max(TSQR_ROWS_MAX));
        u32::try_from(block.max(1)).ok()
    }

    pub(super) fn build(&self, builder: &mut Builder<'_>) -> Result<(), RunError> {
        match self {
            Self::Qr => qr::build(builder),
            Self::Tsqr => tsqr::build(builder),
            Self::Cholesky => cholesky::build(builder),
            Self::Lu => lu::build(builder),
            Self::Gemm(scales) => gemm::build(builder, scales),
            Self::Trsm(triangle) => triangular::build(builder, *triangle),
            Self::Solve => lu::build_solve(builder),
            Self::Posv => cholesky::build_posv(builder),
            Self::Lstsq => least_squares::build(builder),
            Self::Svd => svd::build(builder),
            Self::TruncatedSvd(truncation) => truncated::build(builder, truncation),
            Self::Add(scales) => algebra::build_add(builder, scales),
            Self::Norm(norm) => algebra::build_norm(builder, *norm),
            Self::Program(call) => program::build(builder, call),
        }
    }
}

/// Leaves that the automatic tiling of a tall matrix aims at.
const TSQR_LEAVES: u64 = 64;
/// Most rows of an automatic leaf that is not a square one.
const TSQR_ROWS_MAX: u64 = 2048;
