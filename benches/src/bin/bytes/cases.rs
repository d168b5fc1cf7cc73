//! What is counted: works, sizes and grids, as ScaLAPACK and peerwren take them. Never runs anything.

use std::fmt;

/// Bytes of a float.
const FLOAT_BYTES: u64 = 8;
/// Grids of the works of the smaller size: rows and columns of ranks, and of workers.
const GRIDS: [(u32, u32); 3] = [(1, 4), (2, 2), (4, 4)];
/// The grid of the work of the larger size.
const LARGE_GRID: (u32, u32) = (8, 8);

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A = Q R.
    Qr,
    /// A = L L'.
    Cholesky,
    /// P A = L U; ScaLAPACK pivots by columns, peerwren by tournaments.
    Lu,
    /// C = A B.
    Gemm,
}

impl Work {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Qr, Self::Cholesky, Self::Lu, Self::Gemm];

    /// As options and peerwren's commands have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qr => "qr",
            Self::Cholesky => "cholesky",
            Self::Lu => "lu",
            Self::Gemm => "gemm",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Qr => "QR",
            Self::Cholesky => "Cholesky",
            Self::Lu => "LU",
            Self::Gemm => "GEMM",
        }
    }
}

/// A work of n x n matrices on a grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) work: Work,
    pub(crate) n: u64,
    pub(crate) p: u32,
    pub(crate) q: u32,
    /// Side of peerwren's tiles; ScaLAPACK's block is chosen.
    block: u64,
    /// Inner block of peerwren's kernels.
    ib: u64,
}

impl Case {
    /// Ranks, and workers of one core each.
    pub(crate) fn sides(&self) -> u32 {
        self.p * self.q
    }

    /// Routine and sizes for scalapack.c, to be followed by block and grid.
    pub(crate) fn rival(&self) -> String {
        let n = self.n;
        match self.work {
            Work::Qr => format!("geqrf {n} {n}"),
            Work::Cholesky => format!("potrf {n}"),
            Work::Lu => format!("getrf {n}"),
            Work::Gemm => format!("gemm {n}"),
        }
    }

    /// Command, inputs and options for peerwren.
    pub(crate) fn peerwren(&self) -> String {
        let Self { n, p, q, .. } = self;
        let inputs = match self.work {
            Work::Qr | Work::Lu => format!("random:{n}x{n}:1"),
            Work::Cholesky => format!("spd:{n}"),
            Work::Gemm => format!("random:{n}x{n}:1 random:{n}x{n}:2"),
        };
        format!(
            "{} {inputs} --block {} --ib {} --tree grid:{p}x{q} --workers {} --cores 1 --engine threads",
            self.work.name(),
            self.block,
            self.ib,
            self.sides()
        )
    }

    /// Bytes in times one matrix.
    pub(crate) fn times_matrix(&self, bytes: u64) -> f64 {
        bytes as f64 / self.matrix_bytes() as f64
    }

    fn matrix_bytes(&self) -> u64 {
        self.n * self.n * FLOAT_BYTES
    }

    /// Bytes of the inputs that peerwren reads if it reads each but once: the tiles on and below the
    /// diagonal of a symmetric matrix, whole, and all of any other.
    pub(crate) fn inputs_once_bytes(&self) -> u64 {
        match self.work {
            Work::Qr | Work::Lu => self.matrix_bytes(),
            Work::Gemm => 2 * self.matrix_bytes(),
            Work::Cholesky => {
                // The rows of a row of tiles, each as long as the tiles up to the diagonal.
                let starts = (0..self.n).step_by(usize::try_from(self.block).unwrap_or(1));
                let ends = starts.map(|start| (start, self.n.min(start + self.block)));
                ends.map(|(start, end)| (end - start) * end).sum::<u64>() * FLOAT_BYTES
            }
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.work.title(), self.n)
    }
}

/// All cases, or those of one work; small ones are for a smoke run.
pub(crate) fn cases(small: bool, only: Option<Work>) -> Vec<Case> {
    let (n, block, ib) = if small {
        (512, 64, 16)
    } else {
        (4096, 256, 32)
    };
    let (large_n, large_block, large_ib) = if small {
        (1024, 64, 16)
    } else {
        (8192, 128, 16)
    };
    let mut cases = Vec::new();
    for work in Work::ALL {
        if only.is_some_and(|only| only != work) {
            continue;
        }
        cases.extend(GRIDS.map(|(p, q)| Case {
            work,
            n,
            p,
            q,
            block,
            ib,
        }));
        if work == Work::Qr {
            cases.push(Case {
                work,
                n: large_n,
                p: LARGE_GRID.0,
                q: LARGE_GRID.1,
                block: large_block,
                ib: large_ib,
            });
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inputs_are_the_tiles_that_are_read() {
        let check = |work, n, block, floats: u64| {
            let case = Case {
                work,
                n,
                p: 1,
                q: 1,
                block,
                ib: 1,
            };
            assert_eq!(case.inputs_once_bytes(), floats * 8, "{work:?} {n} {block}");
        };
        check(Work::Qr, 10, 4, 100);
        check(Work::Lu, 10, 4, 100);
        check(Work::Gemm, 10, 4, 200);
        // Rows of tiles: 4 x 4, 4 x 8, 2 x 10.
        check(Work::Cholesky, 10, 4, 68);
        check(Work::Cholesky, 8, 4, 48);
        check(Work::Cholesky, 4096, 256, 136 * 256 * 256);
    }
}
