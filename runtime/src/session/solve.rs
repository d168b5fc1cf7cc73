//! Factorizations, linear systems and singular values, each a run of its own. How each is computed:
//! [`Operation`].

use super::call::Run;
use super::{BigMatrix, Session};
use crate::linalg::{Operation, Triangle, Truncation};

/// A = Q R.
#[derive(Clone, Debug)]
pub struct Qr {
    /// m x k, k = min(m, n), with orthonormal columns.
    pub q: BigMatrix,
    /// k x n, zero below the diagonal.
    pub r: BigMatrix,
}

/// A\[p, :\] = L U.
#[derive(Clone, Debug)]
pub struct Lu {
    /// m x k, k = min(m, n), ones on the diagonal and zeros above it.
    pub l: BigMatrix,
    /// k x n, zero below the diagonal.
    pub u: BigMatrix,
    /// m numbers of rows: row i of L U is row p\[i\] of A.
    pub p: BigMatrix,
}

/// A = U diag(s) Vt.
#[derive(Clone, Debug)]
pub struct Svd {
    /// m x k with orthonormal columns.
    pub u: BigMatrix,
    /// k values, largest first, in one dimension.
    pub s: BigMatrix,
    /// k x n with orthonormal rows.
    pub vt: BigMatrix,
}

impl Session {
    /// A = Q R of any matrix.
    pub fn qr(&self, a: &BigMatrix) -> Run<Qr> {
        self.run(Operation::Qr, &[a], &["q", "r"], q_and_r)
    }

    /// R alone: what is Q is neither formed nor written.
    pub fn qr_r(&self, a: &BigMatrix) -> Run<BigMatrix> {
        self.run(Operation::Qr, &[a], &["r"], only)
    }

    /// A = Q R of a tall matrix, by a binary tree over its rows.
    pub fn tsqr(&self, a: &BigMatrix) -> Run<Qr> {
        self.run(Operation::Tsqr, &[a], &["q", "r"], q_and_r)
    }

    /// R of a tall matrix alone.
    pub fn tsqr_r(&self, a: &BigMatrix) -> Run<BigMatrix> {
        self.run(Operation::Tsqr, &[a], &["r"], only)
    }

    /// The L of A = L L', A symmetric positive definite, of which the lower triangle is read.
    pub fn cholesky(&self, a: &BigMatrix) -> Run<BigMatrix> {
        self.run(Operation::Cholesky, &[a], &["l"], only)
    }

    /// A\[p, :\] = L U of any matrix, singular ones too, by tournament pivoting.
    pub fn lu(&self, a: &BigMatrix) -> Run<Lu> {
        self.run(Operation::Lu, &[a], &["l", "u", "p"], |made| {
            let [l, u, p] = exactly(made);
            Lu { l, u, p }
        })
    }

    /// The X of T X = B, T a triangle of A.
    ///
    /// ```
    /// use peerwren::Session;
    /// use peerwren::linalg::Triangle;
    ///
    /// let session = Session::new()?;
    /// let a = session.from_fn(50, 50, |i, j| if i == j { 2.0 } else { 0.01 }).wait()?;
    /// let b = session.vector(&[1.0; 50])?;
    /// let upper = Triangle { upper: true, ..Triangle::default() };
    /// let x = session.trsm(&a, upper, &b).wait()?.to_vec().wait()?;
    /// assert!((x[49] - 0.5).abs() < 1e-15);
    /// # Ok::<(), peerwren::RunError>(())
    /// ```
    pub fn trsm(&self, a: &BigMatrix, triangle: Triangle, b: &BigMatrix) -> Run<BigMatrix> {
        self.run(Operation::Trsm(triangle), &[a, b], &["x"], only)
    }

    /// The X of A X = B by LU; a singular A is an error.
    pub fn solve(&self, a: &BigMatrix, b: &BigMatrix) -> Run<BigMatrix> {
        self.run(Operation::Solve, &[a, b], &["x"], only)
    }

    /// The X of A X = B by Cholesky, A symmetric positive definite, of which the lower triangle is read.
    pub fn posv(&self, a: &BigMatrix, b: &BigMatrix) -> Run<BigMatrix> {
        self.run(Operation::Posv, &[a, b], &["x"], only)
    }

    /// The X that makes |B - A X| smallest; for more columns than rows the smallest X with A X = B. A has
    /// full rank.
    pub fn lstsq(&self, a: &BigMatrix, b: &BigMatrix) -> Run<BigMatrix> {
        self.run(Operation::Lstsq, &[a, b], &["x"], only)
    }

    /// A = U diag(s) Vt of any matrix, k = min(m, n).
    pub fn svd(&self, a: &BigMatrix) -> Run<Svd> {
        self.run(Operation::Svd, &[a], &["u", "s", "vt"], u_s_vt)
    }

    /// The singular values alone, largest first, in one dimension.
    pub fn singular_values(&self, a: &BigMatrix) -> Run<BigMatrix> {
        self.run(Operation::Svd, &[a], &["s"], only)
    }

    /// The largest singular values and their vectors, nearly: by a random sketch of the columns, see
    /// [`Truncation`].
    ///
    /// ```
    /// use peerwren::Session;
    /// use peerwren::linalg::Truncation;
    ///
    /// let session = Session::new()?;
    /// // Rank 2 but for a little.
    /// let a = session.from_fn(90, 40, |i, j| {
    ///     (i + 1) as f64 + (i * i) as f64 * (j as f64).cos() + 1e-9 * ((i * 7 + j * 13) % 11) as f64
    /// }).wait()?;
    /// let svd = session.svd_truncated(&a, Truncation::rank(2)).wait()?;
    /// let all = session.singular_values(&a).wait()?.to_vec().wait()?;
    /// let largest = svd.s.to_vec().wait()?;
    /// assert!((largest[1] / all[1] - 1.0).abs() < 1e-12);
    /// # Ok::<(), peerwren::RunError>(())
    /// ```
    pub fn svd_truncated(&self, a: &BigMatrix, truncation: Truncation) -> Run<Svd> {
        let operation = Operation::TruncatedSvd(truncation);
        self.run(operation, &[a], &["u", "s", "vt"], u_s_vt)
    }
}

/// The results of a run, which are as many as were wanted.
fn exactly<const N: usize>(made: Vec<BigMatrix>) -> [BigMatrix; N] {
    made.try_into()
        .expect("a run returns the results that were wanted of it")
}

pub(super) fn only(made: Vec<BigMatrix>) -> BigMatrix {
    let [one] = exactly(made);
    one
}

fn q_and_r(made: Vec<BigMatrix>) -> Qr {
    let [q, r] = exactly(made);
    Qr { q, r }
}

fn u_s_vt(made: Vec<BigMatrix>) -> Svd {
    let [u, s, vt] = exactly(made);
    Svd { u, s, vt }
}
