//! `peerwren coordinator` and `peerwren worker`: one run over several machines.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use peerwren::kernels::op::KernelSet;
use peerwren::options::{
    CORES_MAX, EngineKind, MachineFacts, RemoteOptions, WORKER_MEMORY_PERCENT,
};
use peerwren::remote::{JoinEvent, JoinRequest, join};

use super::args::{Common, CoordinatorArgs, WorkerArgs};
use super::failure::Failure;
use super::{interrupt, work};

/// Runs a factorization on workers that join by themselves.
pub(crate) fn coordinate(
    arguments: CoordinatorArgs,
    common: &Common,
    started: Instant,
) -> Result<(), Failure> {
    let asked = arguments.work.asked()?;
    let remote = RemoteOptions {
        token: arguments.token,
        token_valid: Duration::from_secs(3600) * arguments.token_hours,
        start_timeout: Duration::from_secs(arguments.start_timeout.into()),
    };
    if arguments.token_hours == 0 {
        return Err(Failure::usage(
            "--token-hours is 0; expected for how long workers may join, such as 24",
        ));
    }
    let mut options = asked.run.options()?;
    options.engine = EngineKind::Remote;
    options.listen = arguments.listen;
    let token = remote.token.display();
    let join = match arguments.listen.port() {
        0 => String::new(),
        port => format!(" --join HOST:{port}"),
    };
    let line = format!(
        "waits for {} workers: peerwren worker --token {token}{join}",
        options.workers.unwrap_or_default()
    );
    options.remote = Some(remote);
    let quiet = common.quiet;
    let waiting = || {
        if !quiet {
            say(&line);
        }
    };
    work::run_with(&asked, options, common, started, waiting)
}

/// Joins a run and works until it is over.
pub(crate) fn work(arguments: WorkerArgs, common: &Common) -> Result<(), Failure> {
    let facts = MachineFacts::read();
    let cores = arguments.cores.unwrap_or(facts.cores.clamp(1, CORES_MAX));
    let memory_bytes = arguments.memory.map_or_else(
        || facts.memory_available_bytes / 100 * WORKER_MEMORY_PERCENT,
        |size| size.0,
    );
    let quiet = common.quiet;
    let told = move |event| {
        if !quiet {
            tell(&event);
        }
    };
    let request = JoinRequest {
        coordinators: arguments.join,
        token: arguments.token,
        listen: arguments.listen,
        cores,
        memory_bytes,
        orphan: Duration::from_secs(arguments.orphan.into()),
        kernels: KernelSet::standard(),
        interrupt: interrupt::on_signals()?,
        told: Box::new(told),
    };
    join(request).map_err(work::explain)
}

fn tell(event: &JoinEvent) {
    match event {
        JoinEvent::Joined { worker, run } => say(&format!("is worker {worker} of run {run:016x}")),
        JoinEvent::Waiting { reason } => say(&format!("waits for the coordinator: {reason}")),
        _ => {}
    }
}

/// Tells a person how things go; standard output is for results.
fn say(line: &str) {
    // Nobody may be listening, which is no reason to stop.
    let _ = writeln!(io::stderr(), "{line}");
}
