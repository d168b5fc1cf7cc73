//! The operations as subcommands: their inputs, results and help.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use peerwren::linalg::{Operation, Scales, Triangle};

use super::RunArgs;

/// What can be computed, here or by a coordinator of workers elsewhere.
#[derive(Debug, Subcommand)]
pub(crate) enum Work {
    /// Factors a matrix into Q (orthonormal columns) and R (upper triangular): A = Q R
    #[command(
        after_help = "Example: factor a matrix on four workers, write R and Q, and check them\n  \
            peerwren qr a.npy --workers 4 --r r.npy --q q.npy --check"
    )]
    Qr(Box<QrArgs>),
    /// Factors a tall matrix in one column of tiles, by a binary tree over its rows: A = Q R
    #[command(after_help = "Example:\n  peerwren tsqr random:1000000x100 --r r.npy --check")]
    Tsqr(Box<QrArgs>),
    /// Factors a symmetric positive definite matrix: A = L L', L lower triangular
    #[command(
        after_help = "Example: factor a matrix that is computed, write L, and check it\n  \
            peerwren cholesky spd:4096 --l l.npy --check"
    )]
    Cholesky(Box<CholeskyArgs>),
    /// Factors a matrix with tournament pivoting: A[p, :] = L U
    #[command(after_help = "Example: write the factors and the order of rows\n  \
            peerwren lu a.npy --l l.npy --u u.npy --p p.npy")]
    Lu(Box<LuArgs>),
    /// Multiplies matrices: C = alpha op(A) op(B) + beta C0
    #[command(after_help = "Example: A' B of two files\n  \
            peerwren gemm a.npy b.npy --ta --c c.npy")]
    Gemm(Box<GemmArgs>),
    /// Solves a triangular system: op(T) X = B, T a triangle of A
    #[command(after_help = "Example: with the upper triangle\n  \
            peerwren trsm r.npy b.npy --upper --x x.npy")]
    Trsm(Box<TrsmArgs>),
    /// Solves A X = B by LU with tournament pivoting
    #[command(after_help = "Example:\n  peerwren solve a.npy b.npy --x x.npy --check")]
    Solve(Box<SolveArgs>),
    /// Solves A X = B by Cholesky, A symmetric positive definite
    #[command(after_help = "Example:\n  peerwren posv spd:2048 b.npy --x x.npy --check")]
    Posv(Box<SolveArgs>),
    /// Finds the X that makes |B - A X| smallest; for wide A the smallest X with A X = B
    #[command(after_help = "Example:\n  peerwren lstsq a.npy b.npy --x x.npy")]
    Lstsq(Box<SolveArgs>),
    /// Finds singular values, and vectors where they are wanted: A = U diag(s) Vt
    #[command(after_help = "Example:\n  peerwren svd a.npy --s s.npy --u u.npy --vt vt.npy")]
    Svd(Box<SvdArgs>),
}

/// What a subcommand asks for, whichever it is.
pub(crate) struct Asked<'a> {
    pub(crate) operation: Operation,
    pub(crate) inputs: Vec<Input<'a>>,
    /// By their options' names.
    pub(crate) results: Vec<(&'static str, &'a PathBuf)>,
    pub(crate) check: bool,
    pub(crate) run: &'a RunArgs,
}

/// An input as it is named, and whether its transpose is meant.
pub(crate) struct Input<'a> {
    pub(crate) text: &'a str,
    pub(crate) transposed: bool,
}

impl<'a> Input<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text,
            transposed: false,
        }
    }
}

impl Work {
    pub(crate) fn asked(&self) -> Asked<'_> {
        match self {
            Self::Qr(args) => args.asked(Operation::Qr),
            Self::Tsqr(args) => args.asked(Operation::Tsqr),
            Self::Cholesky(args) => {
                let results = given([("l", &args.l)]);
                args.common
                    .asked(Operation::Cholesky, vec![Input::of(&args.input)], results)
            }
            Self::Lu(args) => {
                let results = given([("l", &args.l), ("u", &args.u), ("p", &args.p)]);
                args.common
                    .asked(Operation::Lu, vec![Input::of(&args.input)], results)
            }
            Self::Gemm(args) => args.asked(),
            Self::Trsm(args) => {
                let triangle = Triangle {
                    upper: args.upper,
                    transposed: args.trans,
                    unit: args.unit,
                };
                args.solve.asked(Operation::Trsm(triangle))
            }
            Self::Solve(args) => args.asked(Operation::Solve),
            Self::Posv(args) => args.asked(Operation::Posv),
            Self::Lstsq(args) => args.asked(Operation::Lstsq),
            Self::Svd(args) => {
                let results = given([("s", &args.s), ("u", &args.u), ("vt", &args.vt)]);
                args.common
                    .asked(Operation::Svd, vec![Input::of(&args.input)], results)
            }
        }
    }
}

fn given<'a, const N: usize>(
    results: [(&'static str, &'a Option<PathBuf>); N],
) -> Vec<(&'static str, &'a PathBuf)> {
    let given = results.into_iter();
    given
        .filter_map(|(name, path)| Some((name, path.as_ref()?)))
        .collect()
}

/// What every operation takes beside inputs and results.
#[derive(Debug, Args)]
struct CommonArgs {
    /// Measures how sound the results are, as LAPACK's tests do: below 30 is sound
    #[arg(long, help_heading = "Results", env = "PEERWREN_CHECK", hide_env = true, value_parser = FalseyValueParser::new())]
    check: bool,
    #[command(flatten)]
    run: RunArgs,
}

impl CommonArgs {
    fn asked<'a>(
        &'a self,
        operation: Operation,
        inputs: Vec<Input<'a>>,
        results: Vec<(&'static str, &'a PathBuf)>,
    ) -> Asked<'a> {
        Asked {
            operation,
            inputs,
            results,
            check: self.check,
            run: &self.run,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct QrArgs {
    /// A .npy file, a Zarr v3 array (a folder or s3://bucket/key), or random:MxN[:seed] for a matrix
    /// that is computed (uniform in [-1, 1))
    input: String,
    /// Writes Q (M x K, K = min(M, N)): a .npy file, or a .zarr array in a folder or on s3://
    #[arg(
        long,
        value_name = "RESULT",
        help_heading = "Results",
        env = "PEERWREN_Q",
        hide_env = true
    )]
    q: Option<PathBuf>,
    /// Writes R (K x N, zero below the diagonal), likewise; an old array is removed when the run starts
    #[arg(
        long,
        value_name = "RESULT",
        help_heading = "Results",
        env = "PEERWREN_R",
        hide_env = true
    )]
    r: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

impl QrArgs {
    fn asked(&self, operation: Operation) -> Asked<'_> {
        let results = given([("q", &self.q), ("r", &self.r)]);
        let inputs = vec![Input::of(&self.input)];
        self.common.asked(operation, inputs, results)
    }
}

#[derive(Debug, Args)]
pub(crate) struct CholeskyArgs {
    /// A .npy file, a Zarr v3 array (a folder or s3://bucket/key), or spd:N[:seed] for a matrix that is
    /// computed; its lower triangle is read
    input: String,
    /// Writes L (N x N, zero above the diagonal): a .npy file, or a .zarr array in a folder or on s3://
    #[arg(
        long,
        value_name = "RESULT",
        help_heading = "Results",
        env = "PEERWREN_L",
        hide_env = true
    )]
    l: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LuArgs {
    /// A .npy file, a Zarr v3 array (a folder or s3://bucket/key), or random:MxN[:seed] for a matrix
    /// that is computed (uniform in [-1, 1))
    input: String,
    /// Writes L (M x K, K = min(M, N), ones on the diagonal): a .npy file, or a .zarr array in a folder or on s3://
    #[arg(
        long,
        value_name = "RESULT",
        help_heading = "Results",
        env = "PEERWREN_L",
        hide_env = true
    )]
    l: Option<PathBuf>,
    /// Writes U (K x N, zero below the diagonal), likewise
    #[arg(
        long,
        value_name = "RESULT",
        help_heading = "Results",
        env = "PEERWREN_U",
        hide_env = true
    )]
    u: Option<PathBuf>,
    /// Writes the order of rows (M numbers, int64), a .npy file: row i of L U is row p[i] of A
    #[arg(
        long,
        value_name = "RESULT",
        help_heading = "Results",
        env = "PEERWREN_P",
        hide_env = true
    )]
    p: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GemmArgs {
    /// A: a .npy file, a Zarr v3 array (a folder or s3://bucket/key), or a matrix that is computed:
    /// random:MxN[:seed] (uniform in [-1, 1)) or spd:N[:seed]
    a: String,
    /// B, likewise
    b: String,
    /// C0, likewise; needed where --beta is not 0
    c0: Option<String>,
    /// Writes C: a .npy file, or a .zarr array in a folder or on s3://
    #[arg(
        long,
        value_name = "RESULT",
        help_heading = "Results",
        env = "PEERWREN_C",
        hide_env = true
    )]
    c: Option<PathBuf>,
    /// Factor of A B
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1.0,
        env = "PEERWREN_ALPHA",
        hide_env = true,
        allow_negative_numbers = true
    )]
    alpha: f64,
    /// Factor of C0 [default: 1 where C0 is given]
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "c0",
        env = "PEERWREN_BETA",
        hide_env = true,
        allow_negative_numbers = true
    )]
    beta: Option<f64>,
    /// Takes the transpose of A
    #[arg(long, env = "PEERWREN_TA", hide_env = true, value_parser = FalseyValueParser::new())]
    ta: bool,
    /// Takes the transpose of B
    #[arg(long, env = "PEERWREN_TB", hide_env = true, value_parser = FalseyValueParser::new())]
    tb: bool,
    #[command(flatten)]
    common: CommonArgs,
}

impl GemmArgs {
    fn asked(&self) -> Asked<'_> {
        let scales = Scales {
            alpha: self.alpha,
            beta: self
                .beta
                .unwrap_or(if self.c0.is_some() { 1.0 } else { 0.0 }),
        };
        let turned = |text, transposed| Input { text, transposed };
        let mut inputs = vec![turned(&self.a, self.ta), turned(&self.b, self.tb)];
        inputs.extend(self.c0.as_deref().map(Input::of));
        let results = given([("c", &self.c)]);
        self.common.asked(Operation::Gemm(scales), inputs, results)
    }
}

#[derive(Debug, Args)]
pub(crate) struct SolveArgs {
    /// A: a .npy file, a Zarr v3 array (a folder or s3://bucket/key), or a matrix that is computed:
    /// random:MxN[:seed] or spd:N[:seed]
    a: String,
    /// B, likewise; one dimension or two
    b: String,
    /// Writes X, with as many dimensions as B: a .npy file, or a .zarr array in a folder or on s3://
    #[arg(
        long,
        value_name = "RESULT",
        help_heading = "Results",
        env = "PEERWREN_X",
        hide_env = true
    )]
    x: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

impl SolveArgs {
    fn asked(&self, operation: Operation) -> Asked<'_> {
        let inputs = vec![Input::of(&self.a), Input::of(&self.b)];
        self.common
            .asked(operation, inputs, given([("x", &self.x)]))
    }
}

#[derive(Debug, Args)]
pub(crate) struct TrsmArgs {
    #[command(flatten)]
    solve: SolveArgs,
    /// Takes the upper triangle of A, not the lower one
    #[arg(long, env = "PEERWREN_UPPER", hide_env = true, value_parser = FalseyValueParser::new())]
    upper: bool,
    /// Takes the triangle's transpose
    #[arg(long, env = "PEERWREN_TRANS", hide_env = true, value_parser = FalseyValueParser::new())]
    trans: bool,
    /// Takes the diagonal for ones, whatever is there
    #[arg(long, env = "PEERWREN_UNIT", hide_env = true, value_parser = FalseyValueParser::new())]
    unit: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SvdArgs {
    /// A .npy file, a Zarr v3 array (a folder or s3://bucket/key), or random:MxN[:seed] for a matrix
    /// that is computed (uniform in [-1, 1))
    input: String,
    /// Writes the singular values (K = min(M, N) of them, largest first): a .npy file
    #[arg(
        long,
        value_name = "RESULT",
        help_heading = "Results",
        env = "PEERWREN_S",
        hide_env = true
    )]
    s: Option<PathBuf>,
    /// Writes U (M x K): a .npy file, or a .zarr array in a folder or on s3://
    #[arg(
        long,
        value_name = "RESULT",
        help_heading = "Results",
        env = "PEERWREN_U",
        hide_env = true
    )]
    u: Option<PathBuf>,
    /// Writes V' (K x N), likewise
    #[arg(
        long,
        value_name = "RESULT",
        help_heading = "Results",
        env = "PEERWREN_VT",
        hide_env = true
    )]
    vt: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}
