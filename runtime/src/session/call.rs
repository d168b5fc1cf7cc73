//! Work that is begun by being awaited or waited for: on a thread of its own, so that it runs inside and outside of
//! any async runtime. Never knows what the work is.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use tokio::sync::oneshot;

use crate::report::{Progress, Report};
use crate::run::{Interrupt, RunError};

/// What the work is given beside its inputs.
pub(super) struct Context {
    pub(super) interrupt: Interrupt,
    pub(super) progress: Box<dyn FnMut(&Progress) + Send>,
}

type Work<T> = Box<dyn FnOnce(&mut Context) -> Result<T, RunError> + Send>;

/// Work that begins when it is awaited or waited for.
#[must_use = "nothing happens until it is awaited or waited for"]
pub struct Call<T> {
    work: Work<T>,
    context: Context,
}

impl<T: Send + 'static> Call<T> {
    pub(super) fn new(
        work: impl FnOnce(&mut Context) -> Result<T, RunError> + Send + 'static,
    ) -> Self {
        Self {
            work: Box::new(work),
            context: Context {
                interrupt: Interrupt::default(),
                progress: Box::new(|_| {}),
            },
        }
    }

    /// Does the work and blocks until it is done, inside of an async runtime too (which then waits with it).
    ///
    /// # Errors
    /// Whatever the work fails with.
    pub fn wait(mut self) -> Result<T, RunError> {
        (self.work)(&mut self.context)
    }

    /// Begins the work.
    fn begin(mut self) -> Pending<T> {
        let (done, result) = oneshot::channel();
        let interrupt = self.context.interrupt.clone();
        let started = std::thread::Builder::new()
            .name("peerwren-call".to_owned())
            .spawn(move || {
                // Nobody may be waiting any more.
                let _ = done.send((self.work)(&mut self.context));
            });
        Pending {
            result: started
                .map(|_thread| result)
                .map_err(|error| RunError::Failed(format!("cannot start a thread: {error}"))),
            interrupt,
        }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> IntoFuture for Call<T> {
    type Output = Result<T, RunError>;
    type IntoFuture = Pending<T>;

    fn into_future(self) -> Pending<T> {
        self.begin()
    }
}

/// Work that has begun; dropping it stops the run in good order.
#[derive(Debug)]
pub struct Pending<T> {
    result: Result<oneshot::Receiver<Result<T, RunError>>, RunError>,
    interrupt: Interrupt,
}

impl<T> Future for Pending<T> {
    type Output = Result<T, RunError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match &mut self.result {
            Ok(receiver) => Pin::new(receiver).poll(context).map(|received| {
                received.unwrap_or_else(|_| {
                    Err(RunError::Failed(
                        "the call's thread panicked, which is a defect of peerwren".to_owned(),
                    ))
                })
            }),
            Err(error) => Poll::Ready(Err(RunError::Failed(error.to_string()))),
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.interrupt.trigger();
    }
}

/// An operation that begins when it is awaited or waited for.
///
/// ```
/// # use peerwren::Session;
/// let session = Session::new()?;
/// let a = session.random(60, 60, 1)?;
/// // Blocking, with the figures of the run beside its result ..
/// let (qr, report) = session.qr(&a).reported().wait()?;
/// assert!(report.factor.tasks > 0);
/// // .. or awaited, in any runtime.
/// let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// let again = runtime.block_on(async { session.qr(&a).await })?;
/// assert_eq!(qr.r.to_vec().wait()?, again.r.to_vec().wait()?);
/// # Ok::<(), peerwren::RunError>(())
/// ```
#[must_use = "nothing is computed until it is awaited or waited for"]
#[derive(Debug)]
pub struct Run<T>(Call<(T, Report)>);

impl<T: Send + 'static> Run<T> {
    pub(super) fn new(
        work: impl FnOnce(&mut Context) -> Result<(T, Report), RunError> + Send + 'static,
    ) -> Self {
        Self(Call::new(work))
    }

    /// The same with the run's report beside the result.
    pub fn reported(self) -> Call<(T, Report)> {
        self.0
    }

    /// The same with somebody who is told about ten times a second how far it is, on another thread.
    pub fn on_progress(mut self, progress: impl FnMut(&Progress) + Send + 'static) -> Self {
        self.0.context.progress = Box::new(progress);
        self
    }

    /// What stops the run from another thread.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        self.0.context.interrupt.clone()
    }

    /// Runs it and blocks until it is done, inside of an async runtime too (which then waits with it).
    ///
    /// # Errors
    /// [`RunError::Usage`] where nothing was started, since the inputs do not fit; [`RunError::Failed`] where the run
    /// failed.
    pub fn wait(self) -> Result<T, RunError> {
        self.0.wait().map(|(result, _)| result)
    }

    /// What is made of the result.
    pub(super) fn then<U: Send + 'static>(
        self,
        more: impl FnOnce(T) -> Result<U, RunError> + Send + 'static,
    ) -> Run<U> {
        let Call { work, context } = self.0;
        Run(Call {
            work: Box::new(move |context| {
                let (result, report) = work(context)?;
                Ok((more(result)?, report))
            }),
            context,
        })
    }
}

impl<T: Send + 'static> IntoFuture for Run<T> {
    type Output = Result<T, RunError>;
    type IntoFuture = Pending<T>;

    fn into_future(self) -> Pending<T> {
        let Call { work, context } = self.0;
        let work = Box::new(move |context: &mut Context| Ok(work(context)?.0));
        Call { work, context }.begin()
    }
}
