//! The cases: works, who computes them, and by how much peerwren is to be faster. Runs nothing.

use std::fmt;

use crate::work::{Operation, Work};

/// Cores that each side has.
pub(crate) const CORES: u32 = 2;

/// A side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Debian's ScaLAPACK on OpenBLAS, one thread a rank.
    Scalapack(u32),
    /// The same on 2 ranks with the kernels that the environment names.
    ScalapackAsSet,
    /// MKL's ScaLAPACK.
    MklScalapack,
    /// LAPACK through OpenBLAS on so many threads.
    OpenBlas(u32),
    /// MKL's LAPACK on 2 threads.
    Mkl,
    /// dask.array on 2 threads.
    Dask,
    /// peerwren's engine of processes.
    Peerwren {
        workers: u32,
        cores: u32,
        /// The block, where it is not chosen.
        block: Option<u32>,
    },
}

/// Two workers, which exchange blocks over QUIC.
pub(crate) const TWO_WORKERS: Who = peerwren(2, 1);
/// One worker with two compute threads.
pub(crate) const ONE_WORKER: Who = peerwren(1, 2);

const fn peerwren(workers: u32, cores: u32) -> Who {
    Who::Peerwren {
        workers,
        cores,
        block: None,
    }
}

impl Who {
    /// Where the point lies in a picture: a line's name and x.
    pub(crate) fn place(self) -> (String, f64) {
        match self {
            Self::Scalapack(ranks) => ("ScaLAPACK".to_owned(), f64::from(ranks)),
            Self::Peerwren {
                workers,
                cores,
                block: Some(block),
            } => (layout(workers, cores), f64::from(block)),
            Self::Peerwren { workers, .. } => ("peerwren".to_owned(), f64::from(workers)),
            other => (other.to_string(), 0.0),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalapack(1) => f.write_str("ScaLAPACK, 1 rank"),
            Self::Scalapack(ranks) => write!(f, "ScaLAPACK, {ranks} ranks"),
            Self::ScalapackAsSet => f.write_str("ScaLAPACK, 2 ranks, kernels as set"),
            Self::MklScalapack => f.write_str("MKL's ScaLAPACK, 2 ranks"),
            Self::OpenBlas(1) => f.write_str("OpenBLAS, 1 thread"),
            Self::OpenBlas(threads) => write!(f, "OpenBLAS, {threads} threads"),
            Self::Mkl => f.write_str("MKL, 2 threads"),
            Self::Dask => f.write_str("dask, 2 threads"),
            Self::Peerwren {
                workers,
                cores,
                block,
            } => {
                write!(f, "peerwren, {}", layout(*workers, *cores))?;
                block
                    .iter()
                    .try_for_each(|block| write!(f, ", block {block}"))
            }
        }
    }
}

fn layout(workers: u32, cores: u32) -> String {
    let count = |count: u32, of: &str| format!("{count} {of}{}", if count == 1 { "" } else { "s" });
    format!("{} x {}", count(workers, "worker"), count(cores, "core"))
}

/// What is asked for: peerwren in a layout, so many times as fast as a rival.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) side: Who,
    pub(crate) rival: Who,
    pub(crate) ratio: f64,
}

/// What a case is drawn over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Nothing: a bar a side.
    Sides,
    Workers,
    Blocks,
}

/// One comparison.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    /// The work by which settings are chosen first, where the case's own takes long.
    pub(crate) tried_on: Work,
    /// peerwren's commands that compute it.
    pub(crate) commands: &'static [&'static str],
    /// Blocks that peerwren tries.
    pub(crate) blocks: Vec<u32>,
    pub(crate) sides: Vec<Who>,
    pub(crate) targets: Vec<Target>,
    pub(crate) over: Over,
}

impl Case {
    /// What the tables call it.
    pub(crate) fn title(&self) -> String {
        let Work { operation, m, n } = self.work;
        let over = match self.over {
            Over::Sides => "",
            Over::Workers => " over workers",
            Over::Blocks => " over blocks",
        };
        match operation {
            Operation::Qr if m == n => format!("QR {n}{over}"),
            Operation::Qr => format!("QR {m} x {n}"),
            Operation::Cholesky => format!("Cholesky {n}"),
            Operation::Gemm => format!("GEMM {n}"),
            Operation::Values => format!("singular values {n}"),
        }
    }
}

/// Names of all cases, in the order in which they run.
pub(crate) const NAMES: [&str; 9] = [
    "qr4096", "qr8192", "tall", "wide", "cholesky", "gemm", "values", "workers", "blocks",
];

/// All cases, large or for a smoke run.
pub(crate) fn cases(small: bool) -> Vec<Case> {
    NAMES.iter().map(|name| case(name, small)).collect()
}

fn case(name: &'static str, small: bool) -> Case {
    let square = |operation, n: u32| Work { operation, m: n, n };
    let side = if small { 512 } else { 4096 };
    let work = match name {
        "qr8192" => square(Operation::Qr, 2 * side),
        "tall" => Work {
            operation: Operation::Qr,
            m: 16 * side,
            n: side / 8,
        },
        "wide" => Work {
            operation: Operation::Qr,
            m: side / 2,
            n: 4 * side,
        },
        "cholesky" => square(Operation::Cholesky, side),
        "gemm" => square(Operation::Gemm, side),
        "values" => square(Operation::Values, side),
        _ => square(Operation::Qr, side),
    };
    let (commands, blocks): (&[&str], _) = match name {
        "tall" => (&["tsqr", "qr"], [512, 1024, 2048]),
        "cholesky" => (&["cholesky"], [256, 512, 1024]),
        "gemm" => (&["gemm"], [512, 1024, 2048]),
        "values" => (&["svd"], [128, 256, 512]),
        _ => (&["qr"], [256, 512, 1024]),
    };
    let scaled = |block: u32| if small { block / 8 } else { block };
    Case {
        name,
        work,
        tried_on: if name == "qr8192" {
            square(Operation::Qr, side)
        } else {
            work
        },
        commands,
        blocks: blocks.map(scaled).to_vec(),
        sides: sides(name, small),
        targets: targets(name),
        over: match name {
            "workers" => Over::Workers,
            "blocks" => Over::Blocks,
            _ => Over::Sides,
        },
    }
}

/// Who computes a case.
fn sides(name: &str, small: bool) -> Vec<Who> {
    let own = [TWO_WORKERS, ONE_WORKER];
    let rivals: &[Who] = match name {
        "values" => &[Who::OpenBlas(1), Who::OpenBlas(2), Who::Mkl],
        "qr8192" => &[
            Who::Scalapack(2),
            Who::ScalapackAsSet,
            Who::MklScalapack,
            Who::OpenBlas(2),
            Who::Mkl,
        ],
        "tall" | "gemm" => &[
            Who::Scalapack(2),
            Who::ScalapackAsSet,
            Who::Scalapack(4),
            Who::MklScalapack,
            Who::OpenBlas(1),
            Who::OpenBlas(2),
            Who::Mkl,
            Who::Dask,
        ],
        "workers" => {
            let counts = [1, 2, 4];
            let own = counts.map(|workers| peerwren(workers, 1));
            return own.into_iter().chain(counts.map(Who::Scalapack)).collect();
        }
        "blocks" => {
            let blocks = [128, 256, 512, 1024, 2048].map(|b| if small { b / 4 } else { b });
            let of = |workers, cores| {
                blocks.map(|block| Who::Peerwren {
                    workers,
                    cores,
                    block: Some(block),
                })
            };
            return of(2, 1).into_iter().chain(of(1, 2)).collect();
        }
        _ => &[
            Who::Scalapack(2),
            Who::ScalapackAsSet,
            Who::Scalapack(4),
            Who::MklScalapack,
            Who::OpenBlas(1),
            Who::OpenBlas(2),
            Who::Mkl,
        ],
    };
    rivals.iter().copied().chain(own).collect()
}

/// By how much peerwren is to be faster: two workers, and one.
fn targets(name: &str) -> Vec<Target> {
    let (two, rival, one, other) = match name {
        "qr4096" => (1.35, Who::Scalapack(2), 1.25, Who::Mkl),
        "qr8192" => (1.35, Who::Scalapack(2), 1.15, Who::Mkl),
        "tall" => (1.8, Who::Scalapack(2), 1.5, Who::Mkl),
        "cholesky" => (1.15, Who::MklScalapack, 1.0, Who::Mkl),
        "gemm" => (1.1, Who::MklScalapack, 0.95, Who::Mkl),
        "values" => (1.0, Who::OpenBlas(2), 1.0, Who::OpenBlas(2)),
        _ => return Vec::new(),
    };
    let target = |side, rival, ratio| Target { side, rival, ratio };
    let mut targets = vec![target(TWO_WORKERS, rival, two)];
    if rival == Who::Scalapack(2) {
        targets.push(target(TWO_WORKERS, Who::ScalapackAsSet, two));
    }
    targets.push(target(ONE_WORKER, other, one));
    targets
}
