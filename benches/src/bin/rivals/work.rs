//! What is computed: operations and sizes, in the words of each program that computes them. Runs nothing.

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A = Q R; Q stays factored.
    Qr,
    /// A = L L'.
    Cholesky,
    /// C = A B.
    Gemm,
    /// The singular values alone.
    Values,
}

/// An operation on a matrix of so many rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) operation: Operation,
    pub(crate) m: u32,
    pub(crate) n: u32,
}

impl Work {
    /// Routine and sizes, as the programs of `benches/rivals` take them.
    pub(crate) fn words(self) -> Vec<String> {
        let Self { operation, m, n } = self;
        let routine = match operation {
            Operation::Qr => return vec!["geqrf".to_owned(), m.to_string(), n.to_string()],
            Operation::Cholesky => "potrf",
            Operation::Gemm => "gemm",
            Operation::Values => "gesdd",
        };
        vec![routine.to_owned(), n.to_string()]
    }

    /// The inputs, as peerwren takes them.
    pub(crate) fn inputs(self) -> String {
        let Self { operation, m, n } = self;
        match operation {
            Operation::Qr | Operation::Values => format!("random:{m}x{n}:1"),
            Operation::Cholesky => format!("spd:{n}"),
            Operation::Gemm => format!("random:{n}x{n}:1 random:{n}x{n}:2"),
        }
    }

    /// Additions and multiplications as LAPACK counts them (Working Note 41, appendix C), whatever an
    /// algorithm computes beyond them; of singular values those of dgebrd, the most of dgesdd without vectors.
    pub(crate) fn flops(self) -> f64 {
        let (m, n) = (f64::from(self.m), f64::from(self.n));
        // Of a wide matrix those of its transpose, but for lower terms.
        let (rows, columns) = (m.max(n), m.min(n));
        match self.operation {
            Operation::Qr => {
                2.0 * rows * columns.powi(2) - 2.0 / 3.0 * columns.powi(3)
                    + rows * columns
                    + columns.powi(2)
                    + 14.0 / 3.0 * columns
            }
            Operation::Cholesky => n.powi(3) / 3.0 + n.powi(2) / 2.0 + n / 6.0,
            Operation::Gemm => 2.0 * n.powi(3),
            Operation::Values => 8.0 / 3.0 * n.powi(3),
        }
    }
}
