//! A worker in an instance of a Lambda function: one event is one worker's life. Between events the
//! instance is frozen, and the next event may be another run's: nothing is kept but the executable.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use peerwren_kernels::op::KernelSet;
use peerwren_transports::block::{POOL_BYTES_MAX_DEFAULT, set_pool_bytes_max};
use serde_json::Value;
use tokio::sync::oneshot;
use tracing::level_filters::LevelFilter;

use super::OPEN;
use super::invitation::{Answer, Invitation};
use super::ticket::Ticket;
use crate::actors::clock::{self, Clock};
use crate::actors::worker::{Life, WorkerError, work};

/// Set by Lambda, and by what behaves like it.
const RUNTIME_VARIABLE: &str = "AWS_LAMBDA_RUNTIME_API";
/// Least severe messages that an instance logs.
const LOG_VARIABLE: &str = "PEERWREN_LOG";
/// What lies between a worker's end and the instance's time-out: what was said last leaves (2 s at most),
/// peers hear of it, a kernel ends, the answer is sent.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// Runs the workers of a Lambda function with these kernels: call it as `main` of a `bootstrap`.
///
/// Each event is a worker of some run, which works until the run is over, or the function's time-out is
/// near and another one has taken over. Returns only if the function cannot run at all.
///
/// ```no_run
/// use peerwren::kernels::op::KernelSet;
/// fn main() -> std::process::ExitCode {
///     peerwren::lambda_main(KernelSet::standard())
/// }
/// ```
pub fn lambda_main(kernels: KernelSet) -> ExitCode {
    let level = std::env::var(LOG_VARIABLE).ok();
    let level = level.and_then(|text| text.parse().ok());
    tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .init();
    if std::env::var_os(RUNTIME_VARIABLE).is_none() {
        tracing::error!(
            "{RUNTIME_VARIABLE} is not set: this is the bootstrap of a Lambda function, which `peerwren lambda \
             deploy` uploads"
        );
        return ExitCode::from(2);
    }
    let service = service_fn(move |event: LambdaEvent<Value>| answer(kernels.clone(), event));
    match crate::run::runtime().block_on(lambda_runtime::run(service)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the Lambda runtime ended");
            ExitCode::FAILURE
        }
    }
}

/// One event from its arrival to its answer.
async fn answer(kernels: KernelSet, event: LambdaEvent<Value>) -> Result<Answer, Diagnostic> {
    let clock = Clock::start();
    let failed = |error_message: String| Diagnostic {
        error_type: "Peerwren.Invitation".to_owned(),
        error_message,
    };
    let invitation = Invitation::parse(event.payload).map_err(failed)?;
    let deadline = UNIX_EPOCH + Duration::from_millis(event.context.deadline);
    let lasts = deadline
        .duration_since(clock::wall())
        .unwrap_or_default()
        .saturating_sub(AFTERWARDS);
    let tasks = Arc::new(AtomicU64::new(0));
    let slot = invitation.slot;
    let life = Life {
        clock,
        lasts,
        tasks: Arc::clone(&tasks),
    };
    let reason = match live(kernels, invitation, life).await {
        Ok(()) => "told to stop, or its time was up".to_owned(),
        Err(reason) => reason,
    };
    let seconds = clock.now().since(Default::default()).as_secs_f64();
    let tasks = tasks.load(Ordering::Relaxed);
    tracing::info!(slot, reason, tasks, seconds, "ended");
    Ok(Answer {
        slot,
        reason,
        tasks,
        seconds,
    })
}

/// Works on a thread of its own, and leaves nothing of it behind.
async fn live(kernels: KernelSet, invitation: Invitation, life: Life) -> Result<(), String> {
    let ticket = invitation.ticket(clock::wall())?;
    let run = invitation.run()?;
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("peerwren-worker".to_owned())
        .spawn(move || {
            let span = tracing::info_span!("worker", id = ticket.worker.0);
            let _within = span.enter();
            let system = actix::System::with_tokio_rt(crate::run::runtime);
            let result = system.block_on(serve(kernels, &ticket, run, life));
            // Timers, sockets and threads of the pool go with it.
            drop(system);
            // The one who waits is gone only when the process ends.
            let _ = done.send(result);
        })
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let result = result.await;
    let joined = thread.join();
    set_pool_bytes_max(0);
    set_pool_bytes_max(POOL_BYTES_MAX_DEFAULT);
    match (result, joined) {
        (Ok(result), Ok(())) => result,
        _ => Err(
            "the worker panicked, which is a defect of peerwren; see the lines above".to_owned(),
        ),
    }
}

async fn serve(kernels: KernelSet, ticket: &Ticket, run: u64, life: Life) -> Result<(), String> {
    let mut joining = ticket.joining(kernels).await?;
    let open = joining.store.objects(run).get(OPEN, 0).await;
    if open.map_err(|error| error.to_string())?.is_none() {
        return Err("the run is over".to_owned());
    }
    joining.life = Some(life);
    // Kept, never used: nobody interrupts an invocation.
    let (_never, cancelled) = oneshot::channel();
    match work(joining, cancelled).await {
        Ok(()) => Ok(()),
        Err(error @ WorkerError::CoordinatorGone) => Err(format!(
            "{error}: the run is over, or its slot is another's"
        )),
        Err(error) => Err(error.to_string()),
    }
}
