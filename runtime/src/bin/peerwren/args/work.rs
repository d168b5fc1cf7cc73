//! The operations as subcommands: their inputs, results and help.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use peerwren::linalg::{OpenError, Operation, ProgramCall, Scales, Triangle, Truncation};
use peerwren::options::TreeChoice;

use super::super::failure::Failure;
use super::{RunArgs, whole_number};

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
    #[command(
        after_help = "Examples: all of it, and the 20 largest values of a large matrix\n  \
            peerwren svd a.npy --s s.npy --u u.npy --vt vt.npy\n  \
            peerwren svd a.zarr --rank 20 --s s.npy"
    )]
    Svd(Box<SvdArgs>),
    /// Runs a program of your own: LAmbdaPACK, calls of kernels on tiles
    #[command(
        after_help = "Inputs and outputs are named as in the program; those of `output` that are not given are not \
            written. What it includes lies beside it or is shipped with peerwren.\n\n\
            Example:\n  peerwren run power.lp --param n=4096 --param nb=256 --input A=a.npy --output x=x.npy"
    )]
    Run(Box<ProgramArgs>),
}

/// What a subcommand asks for, whichever it is.
pub(crate) struct Asked<'a> {
    pub(crate) operation: Operation,
    pub(crate) inputs: Vec<Input<'a>>,
    /// By their options' names.
    pub(crate) results: Vec<(&'a str, &'a PathBuf)>,
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
    /// What the arguments say; a program is read for it.
    pub(crate) fn asked(&self) -> Result<Asked<'_>, Failure> {
        Ok(match self {
            Self::Qr(args) => args.asked(Operation::Qr),
            Self::Tsqr(args) => args.asked(Operation::Tsqr),
            Self::Cholesky(args) => {
                let results = args.results.given();
                args.common
                    .asked(Operation::Cholesky, vec![Input::of(&args.input)], results)
            }
            Self::Lu(args) => {
                let results = args.results.given();
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
            Self::Svd(args) => args.asked(),
            Self::Run(args) => return args.asked(),
        })
    }
}

/// The results of an operation, each an option that says where it goes, with its help and its name in the environment.
macro_rules! results {
    ($name:ident { $($(#[$help:meta])+ $result:ident: $env:literal,)+ }) => {
        #[derive(Debug, Args)]
        struct $name {
            $(
                $(#[$help])+
                #[arg(long, value_name = "RESULT", help_heading = "Results", env = $env, hide_env = true)]
                $result: Option<PathBuf>,
            )+
        }

        impl $name {
            /// Those that are wanted, by their options' names.
            fn given(&self) -> Vec<(&str, &PathBuf)> {
                let results = [$((stringify!($result), &self.$result)),+].into_iter();
                results.filter_map(|(name, path)| Some((name, path.as_ref()?))).collect()
            }
        }
    };
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
        results: Vec<(&'a str, &'a PathBuf)>,
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
    #[command(flatten)]
    results: QrResults,
    #[command(flatten)]
    common: CommonArgs,
}

results!(QrResults {
    /// Writes Q (M x K, K = min(M, N)): a .npy file, or a .zarr array in a folder or on s3://
    q: "PEERWREN_Q",
    /// Writes R (K x N, zero below the diagonal), likewise; an old array is removed when the run starts
    r: "PEERWREN_R",
});

impl QrArgs {
    fn asked(&self, operation: Operation) -> Asked<'_> {
        let results = self.results.given();
        let inputs = vec![Input::of(&self.input)];
        self.common.asked(operation, inputs, results)
    }
}

#[derive(Debug, Args)]
pub(crate) struct CholeskyArgs {
    /// A .npy file, a Zarr v3 array (a folder or s3://bucket/key), or spd:N[:seed] for a matrix that is
    /// computed; its lower triangle is read
    input: String,
    #[command(flatten)]
    results: CholeskyResults,
    #[command(flatten)]
    common: CommonArgs,
}

results!(CholeskyResults {
    /// Writes L (N x N, zero above the diagonal): a .npy file, or a .zarr array in a folder or on s3://
    l: "PEERWREN_L",
});

#[derive(Debug, Args)]
pub(crate) struct LuArgs {
    /// A .npy file, a Zarr v3 array (a folder or s3://bucket/key), or random:MxN[:seed] for a matrix
    /// that is computed (uniform in [-1, 1))
    input: String,
    #[command(flatten)]
    results: LuResults,
    #[command(flatten)]
    common: CommonArgs,
}

results!(LuResults {
    /// Writes L (M x K, K = min(M, N), ones on the diagonal): a .npy file, or a .zarr array in a folder or on s3://
    l: "PEERWREN_L",
    /// Writes U (K x N, zero below the diagonal), likewise
    u: "PEERWREN_U",
    /// Writes the order of rows (M numbers, int64), likewise: row i of L U is row p[i] of A
    p: "PEERWREN_P",
});

#[derive(Debug, Args)]
pub(crate) struct GemmArgs {
    /// A: a .npy file, a Zarr v3 array (a folder or s3://bucket/key), or a matrix that is computed:
    /// random:MxN[:seed] (uniform in [-1, 1)) or spd:N[:seed]
    a: String,
    /// B, likewise
    b: String,
    /// C0, likewise; needed where --beta is not 0
    c0: Option<String>,
    #[command(flatten)]
    results: GemmResults,
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

results!(GemmResults {
    /// Writes C: a .npy file, or a .zarr array in a folder or on s3://
    c: "PEERWREN_C",
});

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
        let results = self.results.given();
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
    #[command(flatten)]
    results: SolveResults,
    #[command(flatten)]
    common: CommonArgs,
}

results!(SolveResults {
    /// Writes X, with as many dimensions as B: a .npy file, or a .zarr array in a folder or on s3://
    x: "PEERWREN_X",
});

impl SolveArgs {
    fn asked(&self, operation: Operation) -> Asked<'_> {
        let inputs = vec![Input::of(&self.a), Input::of(&self.b)];
        self.common.asked(operation, inputs, self.results.given())
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
    #[command(flatten)]
    results: SvdResults,
    /// Finds the K largest values and their vectors alone, nearly, by a random sketch
    #[arg(
        long,
        value_name = "K",
        help_heading = "Sketch",
        env = "PEERWREN_RANK",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    rank: Option<u32>,
    /// Columns of the sketch beyond K
    #[arg(
        long,
        value_name = "COLUMNS",
        help_heading = "Sketch",
        requires = "rank",
        default_value_t = 10,
        env = "PEERWREN_OVERSAMPLE",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    oversample: u32,
    /// How often A A' is applied to the sketch, 0 to 8: the more, the nearer, and the more products with A
    #[arg(
        long,
        value_name = "TIMES",
        help_heading = "Sketch",
        requires = "rank",
        default_value_t = 2,
        env = "PEERWREN_POWER",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    power: u32,
    /// Seed of the sketch
    #[arg(
        long,
        value_name = "SEED",
        help_heading = "Sketch",
        requires = "rank",
        default_value_t = 1,
        env = "PEERWREN_SEED",
        hide_env = true,
        allow_negative_numbers = true
    )]
    seed: u64,
    #[command(flatten)]
    common: CommonArgs,
}

results!(SvdResults {
    /// Writes the singular values (K = min(M, N) of them, largest first): a .npy file, or a .zarr array in a folder
    /// or on s3://
    s: "PEERWREN_S",
    /// Writes U (M x K), likewise
    u: "PEERWREN_U",
    /// Writes V' (K x N), likewise
    vt: "PEERWREN_VT",
});

impl SvdArgs {
    fn asked(&self) -> Asked<'_> {
        let operation = match self.rank {
            None => Operation::Svd,
            Some(rank) => Operation::TruncatedSvd(Truncation {
                rank: rank.into(),
                oversample: self.oversample.into(),
                power: self.power,
                seed: self.seed,
            }),
        };
        let results = self.results.given();
        self.common
            .asked(operation, vec![Input::of(&self.input)], results)
    }
}

#[derive(Debug, Args)]
#[command(mut_args(|arg| if OF_ALGORITHMS.contains(&arg.get_id().as_str()) { arg.hide(true) } else { arg }))]
pub(crate) struct ProgramArgs {
    /// The program, a .lp file
    program: PathBuf,
    /// Gives a parameter its value; may be given again
    #[arg(
        long,
        value_name = "NAME=INTEGER",
        help_heading = "Program",
        env = "PEERWREN_PARAM",
        hide_env = true,
        value_delimiter = ',',
        value_parser = parameter
    )]
    param: Vec<(String, i64)>,
    /// Gives an input its matrix: a .npy file, a Zarr v3 array (a folder or s3://bucket/key), random:MxN[:seed] or
    /// spd:N[:seed]; may be given again
    #[arg(long, value_name = "NAME=MATRIX", help_heading = "Program", value_parser = input)]
    input: Vec<(String, String)>,
    /// Writes an output: a .npy file, or a .zarr array in a folder or on s3://; may be given again
    #[arg(long, value_name = "NAME=RESULT", help_heading = "Results", value_parser = output)]
    output: Vec<(String, PathBuf)>,
    #[command(flatten)]
    run: RunArgs,
}

impl ProgramArgs {
    fn asked(&self) -> Result<Asked<'_>, Failure> {
        let set = [
            self.run.block.is_some(),
            self.run.ib.is_some(),
            self.run.tree != TreeChoice::Auto,
        ];
        if let Some((option, _)) = OF_ALGORITHMS.iter().zip(set).find(|(_, is_set)| *is_set) {
            return Err(Failure::usage(format!(
                "--{option} is for the algorithms that are built in; a program's tiles and trees are its own: \
                 give its parameters by --param"
            )));
        }
        let call = ProgramCall::open(&self.program).map_err(|error| match error {
            OpenError::Program(error) => Failure::program(error.diagnosis().render()),
            error => Failure::usage(error),
        })?;
        let names: Vec<&str> = self.param.iter().map(|(name, _)| name.as_str()).collect();
        once("param", &names)?;
        let names: Vec<&str> = self.input.iter().map(|(name, _)| name.as_str()).collect();
        once("input", &names)?;
        let call = self
            .param
            .iter()
            .fold(call, |call, (name, value)| call.param(name, *value));
        let call = names.iter().fold(call, |call, name| call.input(name));
        let inputs = self.input.iter();
        let results = self.output.iter();
        Ok(Asked {
            operation: Operation::Program(Box::new(call)),
            inputs: inputs.map(|(_, text)| Input::of(text)).collect(),
            results: results.map(|(name, path)| (name.as_str(), path)).collect(),
            check: false,
            run: &self.run,
        })
    }
}

/// Options that say how an algorithm which is built in is laid out.
const OF_ALGORITHMS: [&str; 3] = ["block", "ib", "tree"];

/// Refuses a name that is given twice.
fn once(option: &str, names: &[&str]) -> Result<(), Failure> {
    let twice = (1..names.len()).find(|&at| names[..at].contains(&names[at]));
    match twice {
        Some(at) => Err(Failure::usage(format!(
            "--{option} {} is given twice",
            names[at]
        ))),
        None => Ok(()),
    }
}

fn parameter(text: &str) -> Result<(String, i64), &'static str> {
    const EXPECTED: &str = "expected NAME=INTEGER, of 64 bits";
    let (name, value) = named(text).ok_or(EXPECTED)?;
    let value = value.parse().map_err(|_| EXPECTED)?;
    Ok((name.to_owned(), value))
}

fn input(text: &str) -> Result<(String, String), &'static str> {
    let (name, matrix) = named(text).ok_or("expected NAME=MATRIX")?;
    Ok((name.to_owned(), matrix.to_owned()))
}

fn output(text: &str) -> Result<(String, PathBuf), &'static str> {
    let (name, path) = named(text).ok_or("expected NAME=RESULT")?;
    Ok((name.to_owned(), path.into()))
}

fn named(text: &str) -> Option<(&str, &str)> {
    let named = text.split_once('=');
    named.filter(|(name, value)| !name.is_empty() && !value.is_empty())
}
