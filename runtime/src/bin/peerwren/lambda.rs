//! `peerwren lambda`: reads arguments, calls [`peerwren::cloud`], prints what the function is now.

use std::future::Future;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand, ValueEnum};
use peerwren::cloud::{
    Architecture, CloudError, DeployOptions, Facts, Functions, Package, UpdateOptions, role_policy,
    trust_policy,
};
use peerwren::options::ByteSize;

use super::args::Common;
use super::failure::Failure;

/// What is done to the function that workers run in.
#[derive(Debug, Subcommand)]
pub(crate) enum LambdaCommand {
    /// Makes a Lambda function from a package and waits until it can be invoked
    #[command(
        after_help = "Example: an executable of this machine's CPU, zipped on the way\n  \
            peerwren lambda deploy target/release/bootstrap --role arn:aws:iam::123456789012:role/peerwren"
    )]
    Deploy(DeployArgs),
    /// Changes a function's code or settings; what is left out stays
    #[command(
        after_help = "Example:\n  peerwren lambda update peerwren --package bootstrap.zip --memory 3538MiB"
    )]
    Update(UpdateArgs),
    /// Shows a function, what it allows and what is wrong with it
    #[command(after_help = "Example:\n  peerwren lambda status peerwren")]
    Status(NameArgs),
    /// Deletes a function that peerwren made
    #[command(after_help = "Example:\n  peerwren lambda destroy peerwren")]
    Destroy(NameArgs),
    /// Prints the least that the function's role must allow, as JSON; asks AWS nothing
    #[command(
        after_help = "Example:\n  aws iam put-role-policy --role-name peerwren --policy-name peerwren \
            --policy-document \"$(peerwren lambda policy --store s3://my-bucket/runs)\""
    )]
    Policy(PolicyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// An executable `bootstrap` for Linux, or the zip of `cargo lambda build --release --output-format zip`
    package: PathBuf,
    /// Name of the function
    #[arg(long, value_name = "NAME", default_value = "peerwren", env = "PEERWREN_NAME", hide_env = true, value_parser = function_name)]
    name: String,
    /// Role that workers have: arn:aws:iam::ACCOUNT:role/NAME, with what `peerwren lambda policy` prints
    #[arg(long, value_name = "ARN", env = "PEERWREN_ROLE", hide_env = true, value_parser = role)]
    role: String,
    /// Memory of a worker; 1769 MiB get one core, 10240 MiB get 6
    #[arg(long, value_name = "MIB", default_value = "1769", env = "PEERWREN_MEMORY", hide_env = true, value_parser = memory)]
    memory: u32,
    /// Longest life of a worker, in seconds; it hands over before
    #[arg(long, value_name = "SECONDS", default_value_t = 900, env = "PEERWREN_TIMEOUT", hide_env = true, value_parser = clap::value_parser!(u32).range(1..=900))]
    timeout: u32,
    /// Instances kept for this function, and at most so many [default: shares the account's]
    #[arg(
        long,
        value_name = "N",
        env = "PEERWREN_RESERVED_CONCURRENCY",
        hide_env = true
    )]
    reserved_concurrency: Option<u32>,
    /// CPU that the package must be for [default: the package's]
    #[arg(long, value_name = "ARCH", env = "PEERWREN_ARCH", hide_env = true)]
    arch: Option<Arch>,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Name of the function
    #[arg(value_parser = function_name)]
    name: String,
    /// New code: an executable `bootstrap` or a zip
    #[arg(long, value_name = "FILE", env = "PEERWREN_PACKAGE", hide_env = true)]
    package: Option<PathBuf>,
    /// New role
    #[arg(long, value_name = "ARN", env = "PEERWREN_ROLE", hide_env = true, value_parser = role)]
    role: Option<String>,
    /// New memory of a worker
    #[arg(long, value_name = "MIB", env = "PEERWREN_MEMORY", hide_env = true, value_parser = memory)]
    memory: Option<u32>,
    /// New longest life of a worker, in seconds
    #[arg(long, value_name = "SECONDS", env = "PEERWREN_TIMEOUT", hide_env = true, value_parser = clap::value_parser!(u32).range(1..=900))]
    timeout: Option<u32>,
    /// New number of instances kept for this function, and at most so many
    #[arg(
        long,
        value_name = "N",
        env = "PEERWREN_RESERVED_CONCURRENCY",
        hide_env = true
    )]
    reserved_concurrency: Option<u32>,
    /// CPU that the package must be for [default: the package's]
    #[arg(long, value_name = "ARCH", env = "PEERWREN_ARCH", hide_env = true)]
    arch: Option<Arch>,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Name of the function
    #[arg(value_parser = function_name)]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// Where runs keep their blocks
    #[arg(
        long,
        value_name = "s3://BUCKET/PREFIX",
        required_unless_present = "trust",
        env = "PEERWREN_STORE",
        hide_env = true
    )]
    store: Option<String>,
    /// Name of the function, for its log
    #[arg(long, value_name = "NAME", default_value = "peerwren", env = "PEERWREN_NAME", hide_env = true, value_parser = function_name)]
    name: String,
    /// Prints the role's trust policy instead: that Lambda may assume it
    #[arg(long, env = "PEERWREN_TRUST", hide_env = true, value_parser = FalseyValueParser::new())]
    trust: bool,
}

/// A CPU as Lambda names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    Arm64,
}

impl Arch {
    fn architecture(self) -> Architecture {
        match self {
            Self::X86_64 => Architecture::X86_64,
            Self::Arm64 => Architecture::Arm64,
        }
    }
}

/// Does what the arguments say.
pub(crate) fn run(command: LambdaCommand, common: &Common) -> Result<(), Failure> {
    match command {
        LambdaCommand::Deploy(arguments) => deploy(arguments, common),
        LambdaCommand::Update(arguments) => update(arguments, common),
        LambdaCommand::Status(arguments) => status(&arguments),
        LambdaCommand::Destroy(arguments) => {
            wait(async { Functions::open().await?.destroy(&arguments.name).await })
        }
        LambdaCommand::Policy(arguments) => policy(&arguments),
    }
}

fn deploy(arguments: DeployArgs, common: &Common) -> Result<(), Failure> {
    let package = package(&arguments.package, arguments.arch)?;
    let options = DeployOptions {
        name: arguments.name,
        role: arguments.role,
        memory_mb: arguments.memory,
        timeout_s: arguments.timeout,
        reserved: arguments.reserved_concurrency,
    };
    show(
        &wait(async { Functions::open().await?.deploy(&package, &options).await })?,
        common,
    )
}

fn update(arguments: UpdateArgs, common: &Common) -> Result<(), Failure> {
    let package = match &arguments.package {
        Some(path) => Some(package(path, arguments.arch)?),
        None => None,
    };
    let options = UpdateOptions {
        role: arguments.role,
        memory_mb: arguments.memory,
        timeout_s: arguments.timeout,
        reserved: arguments.reserved_concurrency,
    };
    let name = &arguments.name;
    let updated = wait(async {
        Functions::open()
            .await?
            .update(name, package.as_ref(), &options)
            .await
    })?;
    show(&updated, common)
}

/// Exit status 1 where something is wrong, so that scripts need not read the text.
fn status(arguments: &NameArgs) -> Result<(), Failure> {
    let facts = wait(async { Functions::open().await?.facts(&arguments.name).await })?;
    super::print(facts.to_string().as_bytes())?;
    facts.check().map_err(Failure::run)
}

fn policy(arguments: &PolicyArgs) -> Result<(), Failure> {
    let text = if arguments.trust {
        trust_policy()
    } else {
        let store = arguments.store.as_deref().unwrap_or_default();
        let (bucket, prefix) = place(store)?;
        role_policy(bucket, prefix, &arguments.name)
    };
    super::print(format!("{text}\n").as_bytes())
}

/// Bucket and prefix of `s3://BUCKET/PREFIX`.
fn place(store: &str) -> Result<(&str, &str), Failure> {
    let named = store
        .strip_prefix("s3://")
        .map(|rest| rest.split_once('/').unwrap_or((rest, "")));
    match named {
        Some((bucket, prefix)) if !bucket.is_empty() => Ok((bucket, prefix.trim_end_matches('/'))),
        _ => Err(Failure::usage(format!(
            "--store {}: expected s3://BUCKET or s3://BUCKET/PREFIX",
            store.escape_debug()
        ))),
    }
}

fn package(path: &std::path::Path, arch: Option<Arch>) -> Result<Package, Failure> {
    let package = Package::read(path).map_err(Failure::usage)?;
    match arch.map(Arch::architecture) {
        Some(wanted) if wanted != package.architecture() => Err(Failure::usage(format!(
            "{}: is for {}, but --arch says {wanted}: build it for {wanted}, or leave --arch out",
            path.display(),
            package.architecture()
        ))),
        _ => Ok(package),
    }
}

fn show(facts: &Facts, common: &Common) -> Result<(), Failure> {
    if common.quiet {
        return Ok(());
    }
    super::print(facts.to_string().as_bytes())
}

/// Runs requests to AWS on this thread.
fn wait<T>(work: impl Future<Output = Result<T, CloudError>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::run)?;
    runtime.block_on(work).map_err(|error| match error {
        CloudError::NoRegion
        | CloudError::NoFunction(_)
        | CloudError::Exists(_)
        | CloudError::Foreign(_) => Failure::usage(error),
        error => Failure::run(error),
    })
}

fn function_name(text: &str) -> Result<String, &'static str> {
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=64).contains(&text.len()) && text.chars().all(sound) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 of a-z, A-Z, 0-9, `-` and `_`")
    }
}

fn role(text: &str) -> Result<String, &'static str> {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "iam", "", account, name]
            if account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && name.len() > "role/".len()
                && name.starts_with("role/") =>
        {
            Ok(text.to_owned())
        }
        _ => Err("expected arn:aws:iam::ACCOUNT:role/NAME with the account's 12 digits"),
    }
}

/// MiB as Lambda counts them; with a unit, any size of whole MiB.
fn memory(text: &str) -> Result<u32, &'static str> {
    const EXPECTED: &str = "expected 128 to 10240 MiB, such as 1769 or 4GiB";
    let mib = match text.parse::<u64>() {
        Ok(mib) => mib,
        Err(_) => {
            let size: ByteSize = text.parse().map_err(|_| EXPECTED)?;
            if !size.0.is_multiple_of(1 << 20) {
                return Err(EXPECTED);
            }
            size.0 >> 20
        }
    };
    let mib = u32::try_from(mib).map_err(|_| EXPECTED)?;
    (128..=10_240).contains(&mib).then_some(mib).ok_or(EXPECTED)
}
