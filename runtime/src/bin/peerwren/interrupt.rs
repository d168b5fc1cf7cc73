//! Ctrl-C and its relatives: the first ends the run in good order.

use std::future::poll_fn;
use std::task::Poll;

use peerwren::Interrupt;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;

/// Exit status of a process that a second signal ends at once, as shells count it for Ctrl-C.
const STATUS_AT_ONCE: i32 = 130;

/// Listens for SIGINT, SIGTERM and SIGHUP on a thread of its own. The first one asks the run to stop;
/// the next one ends this process, and with it its workers, without waiting.
pub(crate) fn on_signals() -> Result<Interrupt, Failure> {
    let cannot = |error| Failure::run(format!("cannot listen for signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(cannot)?;
    let mut signals = {
        let _guard = runtime.enter();
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let listening: Result<Vec<_>, _> = kinds.into_iter().map(signal).collect();
        listening.map_err(cannot)?
    };
    let interrupt = Interrupt::default();
    let triggered = interrupt.clone();
    let listen = move || {
        runtime.block_on(async move {
            for first in [true, false] {
                poll_fn(|context| {
                    let came = signals
                        .iter_mut()
                        .any(|signal| signal.poll_recv(context).is_ready());
                    if came { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                if first {
                    triggered.trigger();
                } else {
                    std::process::exit(STATUS_AT_ONCE);
                }
            }
        });
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(listen)
        .map_err(cannot)?;
    Ok(interrupt)
}
