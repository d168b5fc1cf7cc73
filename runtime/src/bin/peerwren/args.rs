//! The arguments of the command, their help, and what is wrong with them in one line.

mod doctor;
mod experiment;
mod plan;
mod remote;
mod sim;
mod store;
mod story;
mod work;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
pub(crate) use doctor::DoctorArgs;
pub(crate) use experiment::ExperimentArgs;
use peerwren::options::{
    ByteSize, Calibration, ControlChoice, Durability, EngineKind, Exchange, Factor, LISTEN_DEFAULT,
    Policy, RunOptions, ScalingOptions, StoreChoice, TreeChoice,
};
use peerwren::prices::Prices;
pub(crate) use plan::PlanArgs;
pub(crate) use remote::{CoordinatorArgs, WorkerArgs};
pub(crate) use sim::SimArgs;
pub(crate) use store::StoreAction;
pub(crate) use story::StoryArgs;
use tracing::level_filters::LevelFilter;
pub(crate) use work::{Asked, Work};

use super::failure::Failure;
use super::lambda::LambdaCommand;
use super::resume::ResumeArgs;
use super::version;

const THIS_VERSION_HAS: &str = "this version has: qr, tsqr, cholesky, lu, gemm, trsm, solve, posv, lstsq, svd, run, plan, sim, experiment, story, resume, coordinator, worker, doctor, store, lambda, completions, man";

/// Dense linear algebra on workers that exchange their blocks with each other.
#[derive(Debug, Parser)]
#[command(
    name = "peerwren",
    version = version::text(),
    disable_help_subcommand = true,
    after_help = "Every option but a program's inputs and outputs can also be set in the environment: --block as\n\
        PEERWREN_BLOCK, and so on.\n\
        Exit status: 0 when every requested result is complete, 2 for bad usage or input, 1 for a failed run.\n\n\
        Example:\n  peerwren qr random:4096x4096:1 --workers 2 --check"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Work(Work),
    /// Tells what an operation would take, and runs nothing: tasks, time, bytes, memory, dollars
    #[command(
        after_help = "Example: what four workers would do, with a picture of parallelism and working set\n  \
            peerwren plan qr random:65536x65536 --block 1024 --workers 4 --svg plan.svg"
    )]
    Plan(PlanArgs),
    /// Runs an operation on a fleet that is not there: the same machines, with simulated time, lines and faults
    #[command(
        after_help = "Example: the QR of 256K x 256K on 64 functions, and on a fleet of your own\n  \
            peerwren sim qr random:262144x262144 --block 4096 --workers 64 --fleet lambda-now\n  \
            peerwren sim --show lambda-now > mine.toml"
    )]
    Sim(SimArgs),
    /// Runs an operation with all combinations of options in a file: a table, pictures and a page
    #[command(
        after_help = "The file is TOML: title, repeat, [run] with options that are fixed (command, inputs, fleet, and options \
            by their long names), [grid] with lists of values or of tables, [show] with the values of the row to be \
            drawn. A row is one line of this command, and is run as that line would be, without PEERWREN_* variables. \
            After Ctrl-C the same command goes on with the rows that are left.\n\n\
            Examples: those that are shipped, what one would run, and a run of it\n  \
            peerwren experiment\n  \
            peerwren experiment block-size --dry-run\n  \
            peerwren experiment block-size --out block-size"
    )]
    Experiment(ExperimentArgs),
    /// Tells what became of one block of a traced run: who made it, where it went and why
    #[command(after_help = "Example: a run, and one of its blocks\n  \
            peerwren qr random:2048x2048 --block 256 --trace t.json\n  \
            peerwren story 'V[1,0]' --trace t.json")]
    Story(StoryArgs),
    /// Makes, changes, shows or deletes the Lambda function that workers run in
    #[command(
        subcommand,
        disable_help_subcommand = true,
        after_help = "Example:\n  peerwren lambda deploy bootstrap.zip --role arn:aws:iam::123456789012:role/peerwren"
    )]
    Lambda(LambdaCommand),
    /// Runs a factorization on workers that join from any machine
    #[command(
        after_help = "Example: four workers, started on any machines that reach this one and the store\n  \
            peerwren coordinator --token run.token qr a.npy --workers 4 --store /shared/run --r r.npy\n  \
            peerwren worker --join HOST:4433 --token run.token"
    )]
    Coordinator(CoordinatorArgs),
    /// Joins the run of a coordinator and works until it is over
    #[command(
        after_help = "Example:\n  peerwren worker --join node1:4433 --token run.token --cores 8"
    )]
    Worker(WorkerArgs),
    /// Lists or removes what runs have left in a store
    #[command(
        after_help = "Examples:\n  peerwren store ls s3://bucket/prefix\n  peerwren store rm s3://bucket/prefix --all"
    )]
    Store {
        /// What to do
        #[command(subcommand)]
        action: StoreAction,
    },
    /// Finishes a run whose driver died, from its last checkpoint
    #[command(
        after_help = "A run can be resumed if it had --durability checkpoint or all, and its store is still there.\n\n\
            Example: list the runs, then finish the only one that begins with 3f, with more workers\n  \
            peerwren resume && peerwren resume 3f --workers 8"
    )]
    Resume(Box<ResumeArgs>),
    /// Examines this machine, a store and the way to a coordinator, and says what to do about each
    #[command(
        after_help = "Example:\n  peerwren doctor --store s3://bucket/prefix --join node1:4433 --token run.token"
    )]
    Doctor(DoctorArgs),
    /// Prints the completions of a shell
    #[command(
        after_help = "Example:\n  peerwren completions bash > ~/.local/share/bash-completion/completions/peerwren"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Prints a manual page
    #[command(
        after_help = "Example:\n  peerwren man > peerwren.1 && peerwren man qr > peerwren-qr.1"
    )]
    Man {
        /// The subcommand; the overview when left out
        command: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Common {
    /// Least severe messages that are logged to standard error
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "warn",
        env = "PEERWREN_LOG",
        hide_env = true
    )]
    pub(crate) log: LogLevel,
    /// Shows neither progress nor summary
    #[arg(long, global = true, env = "PEERWREN_QUIET", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub(crate) fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// What every operation takes.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Side of a tile, in rows and columns [default: by the matrix, 128 to 1024]
    #[arg(
        long,
        value_name = "NB",
        help_heading = "Plan",
        env = "PEERWREN_BLOCK",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    block: Option<u32>,
    /// Inner block of the kernels, in columns [default: 32 for blocks up to 512, else 64]
    #[arg(
        long,
        value_name = "IB",
        help_heading = "Plan",
        env = "PEERWREN_IB",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    ib: Option<u32>,
    /// How far panels of a QR run ahead of the updates behind them; with one for each column of tiles they come
    /// one after the other, which needs less memory [default: 8; by --memory where that is small]
    #[arg(
        long,
        value_name = "L",
        help_heading = "Plan",
        env = "PEERWREN_LOOKAHEAD",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    lookahead: Option<u32>,
    /// Reduction tree: auto, flat, binary, grid:PxQ[:chain|:binary] or numpywren
    #[arg(long, value_name = "TREE", help_heading = "Plan", default_value_t = TreeChoice::Auto, env = "PEERWREN_TREE", hide_env = true)]
    tree: TreeChoice,

    /// Replays the plan of an earlier run: its report's block, inner block, tree and number of workers
    #[arg(
        long,
        value_name = "FILE.json",
        help_heading = "Plan",
        env = "PEERWREN_PLAN",
        hide_env = true
    )]
    pub(crate) plan: Option<PathBuf>,

    /// Number of workers [default: one for each core of this machine]
    #[arg(
        long,
        value_name = "N",
        help_heading = "Workers",
        env = "PEERWREN_WORKERS",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    workers: Option<u32>,
    /// Starts and ends workers as the work asks for it, N at most: FACTOR workers for each worker's fill
    /// of tasks that could run [default: a fixed number; FACTOR 1]
    #[arg(
        long,
        value_name = "FACTOR",
        help_heading = "Workers",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        env = "PEERWREN_AUTOSCALE",
        hide_env = true
    )]
    autoscale: Option<Factor>,
    /// With --autoscale: seconds after which a worker without work leaves
    #[arg(
        long,
        value_name = "S",
        help_heading = "Workers",
        default_value_t = 10,
        env = "PEERWREN_IDLE_TIMEOUT",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    idle_timeout: u32,
    /// Cores of each worker [default: 1; on Lambda those of the function]
    #[arg(
        long,
        value_name = "C",
        help_heading = "Workers",
        env = "PEERWREN_CORES",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    pub(crate) cores: Option<u32>,
    /// What runs the workers: threads, processes or lambda:NAME, a function that `peerwren lambda deploy` made
    #[arg(long, value_name = "ENGINE", help_heading = "Workers", default_value_t = EngineKind::Processes, env = "PEERWREN_ENGINE", hide_env = true)]
    engine: EngineKind,
    /// Memory of each worker, such as 512MiB or 2GiB [default: 80% of what is available / workers]
    #[arg(
        long,
        value_name = "BYTES",
        help_heading = "Workers",
        env = "PEERWREN_MEMORY",
        hide_env = true,
        allow_negative_numbers = true
    )]
    memory: Option<ByteSize>,
    /// How tasks are placed: locality, owner, fifo or random
    #[arg(long, value_name = "POLICY", help_heading = "Workers", default_value_t = Policy::Locality, env = "PEERWREN_POLICY", hide_env = true)]
    policy: Policy,

    /// How blocks move: peer (cache, then peers, then store), cache (cache, then store) or store
    #[arg(long, value_name = "HOW", help_heading = "Blocks", default_value_t = Exchange::Peer, env = "PEERWREN_EXCHANGE", hide_env = true)]
    exchange: Exchange,
    /// Which blocks outlive the loss of a worker: outputs, all, or checkpoint[:SECONDS] (from time to time
    /// what is still needed, so that `resume` can finish the run of a driver that died) [default: outputs;
    /// checkpoint where workers are on other machines]
    #[arg(
        long,
        value_name = "WHICH",
        help_heading = "Blocks",
        env = "PEERWREN_DURABILITY",
        hide_env = true
    )]
    durability: Option<Durability>,
    /// Where blocks go that leave a worker: a folder, s3://bucket/prefix, or memory (engine threads) [default: a temporary folder]
    #[arg(
        long,
        value_name = "STORE",
        help_heading = "Blocks",
        env = "PEERWREN_STORE",
        hide_env = true
    )]
    store: Option<StoreChoice>,
    /// Loads inputs into the workers' caches before the factorization is timed
    #[arg(long, help_heading = "Blocks", env = "PEERWREN_PRELOAD", hide_env = true, value_parser = FalseyValueParser::new())]
    preload: bool,

    /// Where the coordinator listens, such as 0.0.0.0:4433 or [::]:0
    #[arg(long, value_name = "ADDRESS", help_heading = "Workers", default_value_t = LISTEN_DEFAULT, env = "PEERWREN_LISTEN", hide_env = true)]
    listen: SocketAddr,
    /// Where else workers on Lambda reach the coordinator, such as a forwarded port; may be given several times
    #[arg(
        long,
        value_name = "HOST:PORT",
        help_heading = "Workers",
        env = "PEERWREN_ADVERTISE",
        hide_env = true,
        value_delimiter = ','
    )]
    advertise: Vec<String>,

    /// How control reaches workers elsewhere: auto (quic, then the store), quic or store
    #[arg(long, value_name = "WAY", help_heading = "Workers", default_value_t = ControlChoice::Auto, env = "PEERWREN_CONTROL", hide_env = true)]
    control: ControlChoice,

    /// A STUN server that tells workers their outside addresses; may be given again
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        help_heading = "Workers",
        env = "PEERWREN_STUN",
        hide_env = true,
        value_delimiter = ','
    )]
    stun: Vec<String>,

    /// A table of prices (JSON) by which a run on Lambda is told what it costs [default: us-east-1's]
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Output",
        env = "PEERWREN_PRICES",
        hide_env = true
    )]
    prices: Option<PathBuf>,

    /// How fast the workers are that --block and --tree are chosen for where they are left open (JSON)
    /// [default: a core of 25 GFLOP/s and a line of 75 MB/s]
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Algorithm",
        env = "PEERWREN_CALIBRATION",
        hide_env = true
    )]
    calibration: Option<PathBuf>,

    /// Writes the report of the run, in bytes and seconds; as a page with pictures where the name ends in .html
    #[arg(
        long,
        value_name = "FILE.json",
        help_heading = "Output",
        env = "PEERWREN_REPORT",
        hide_env = true
    )]
    pub(crate) report: Option<PathBuf>,

    /// Writes a trace of the run for chrome://tracing, ui.perfetto.dev and `peerwren story`, of a run that
    /// fails too
    #[arg(
        long,
        value_name = "FILE.json",
        help_heading = "Output",
        env = "PEERWREN_TRACE",
        hide_env = true
    )]
    pub(crate) trace: Option<PathBuf>,
}

impl RunArgs {
    /// The options as the library takes them.
    pub(crate) fn options(&self) -> Result<RunOptions, Failure> {
        Ok(RunOptions {
            block: self.block,
            ib: self.ib,
            lookahead: self.lookahead,
            tree: self.tree,
            workers: self.workers,
            scaling: self.autoscale.map(|factor| ScalingOptions {
                factor,
                idle: Duration::from_secs(self.idle_timeout.into()),
            }),
            cores: self.cores.unwrap_or(1),
            engine: self.engine.clone(),
            exchange: self.exchange,
            policy: self.policy,
            durability: self.durability,
            store: self.store.clone().unwrap_or_default(),
            memory: self.memory.map(|size| size.0),
            preload: self.preload,
            listen: self.listen,
            advertise: self.advertise.clone(),
            remote: None,
            control: self.control,
            stun: self.stun.clone(),
            prices: match &self.prices {
                Some(path) => Prices::read(path).map_err(Failure::usage)?,
                None => Prices::default(),
            },
            calibration: match &self.calibration {
                Some(path) => Calibration::read(path).map_err(Failure::usage)?,
                None => Calibration::default(),
            },
        })
    }
}

pub(crate) fn whole_number(text: &str) -> Result<u32, &'static str> {
    text.parse()
        .map_err(|_| "expected a whole number below 2^32")
}

/// Reads the arguments, the program's name first.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments)
}

/// Reads the arguments of an experiment's row, the program's name first. What is in the environment is not
/// the row's.
pub(crate) fn parse_row(words: &[String]) -> Result<Cli, clap::Error> {
    let matches = without_environment(Cli::command()).try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches)
}

fn without_environment(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| argument.env(None::<&'static str>));
    command.mut_subcommands(without_environment)
}

/// The one line of a usage error.
pub(crate) fn explain(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::Usage(format!(
            "expected a subcommand; {THIS_VERSION_HAS}; try --help"
        ));
    }
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand)
    {
        return unknown_command(name);
    }
    let text = error.render().to_string();
    let mut line = String::new();
    let told = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    for part in told.map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push_str(if line.ends_with(':') { " " } else { "; " });
        }
        line.push_str(part);
    }
    Failure::Usage(line.strip_prefix("error: ").unwrap_or(&line).to_owned())
}

/// What a word means that is no subcommand of this version.
pub(crate) fn unknown_command(name: &str) -> Failure {
    let is_known = THIS_VERSION_HAS.split([' ', ',']).any(|word| word == name);
    Failure::Usage(if is_known {
        format!("`{name}` is no subcommand here; try --help")
    } else {
        format!(
            "`{}` is no subcommand; {THIS_VERSION_HAS}",
            name.escape_debug()
        )
    })
}
