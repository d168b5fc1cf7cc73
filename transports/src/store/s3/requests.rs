//! Sends requests: a bounded number at one time, at the pace that the service takes, each tried
//! again while that may help. Never knows what a request is about.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::error::{Failed, Verdict};
use super::pace::{Budget, Pace, READ_RATE_MAX, WRITE_RATE_MAX, backoff};
use super::settings::S3Limits;

/// What a service counts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// GET, HEAD and lists.
    Read,
    /// PUT, POST and DELETE.
    Write,
}

/// The requests of one store.
#[derive(Debug)]
pub(super) struct Requests {
    slots: Semaphore,
    began: Instant,
    tries_max: u32,
    backoff_first: Duration,
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    reads: Pace,
    writes: Pace,
    budget: Budget,
}

impl Requests {
    pub(super) fn new(limits: &S3Limits) -> Self {
        Self {
            slots: Semaphore::new(limits.requests_max.max(1)),
            began: Instant::now(),
            tries_max: limits.tries_max.max(1),
            backoff_first: limits.backoff_first,
            shared: Mutex::new(Shared {
                reads: Pace::new(READ_RATE_MAX),
                writes: Pace::new(WRITE_RATE_MAX),
                budget: Budget::default(),
            }),
        }
    }

    /// Starts a request that may take several tries:
    ///
    /// ```text
    /// let mut tries = requests.tries(kind);
    /// loop {
    ///     tries.begin().await;
    ///     match try_once().await {
    ///         Ok(answer) => return Ok(tries.won(answer)),
    ///         Err(failed) => tries.lost(failed).await?,
    ///     }
    /// }
    /// ```
    pub(super) fn tries(&self, kind: Kind) -> Tries<'_> {
        Tries {
            requests: self,
            kind,
            failed: 0,
            slot: None,
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn pace(&mut self, kind: Kind) -> &mut Pace {
        match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        }
    }
}

/// The tries of one request. Holds one of the places for requests during each of them.
pub(super) struct Tries<'a> {
    requests: &'a Requests,
    kind: Kind,
    failed: u32,
    slot: Option<SemaphorePermit<'a>>,
}

impl Tries<'_> {
    /// Waits until a try may be made.
    pub(super) async fn begin(&mut self) {
        // The semaphore is never closed.
        self.slot = self.requests.slots.acquire().await.ok();
        let wait = {
            let now = self.requests.now();
            self.requests.shared().pace(self.kind).book(now)
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// The try brought an answer.
    pub(super) fn won<T>(&mut self, answer: T) -> T {
        self.slot = None;
        answer
    }

    /// The try did what it was to do.
    pub(super) fn done<E>(&mut self) -> Result<(), E> {
        self.won(());
        Ok(())
    }

    /// The try failed: waits until the next one is due, or gives the failure back.
    pub(super) async fn lost(&mut self, failed: Failed) -> Result<(), Failed> {
        self.slot = None;
        self.failed += 1;
        let throttled = failed.verdict == Verdict::Slower;
        let again = failed.verdict != Verdict::Never && self.failed < self.requests.tries_max;
        let booked = {
            let now = self.requests.now();
            let mut shared = self.requests.shared();
            if throttled {
                shared.pace(self.kind).throttled(now);
            }
            again.then(|| shared.budget.book(now))
        };
        let Some(booked) = booked else {
            let tries = self.failed;
            return Err(Failed { tries, ..failed });
        };
        tracing::debug!(
            tries = self.failed,
            ?failed,
            "a request to the store is tried again"
        );
        let random = RandomState::new().build_hasher().finish();
        let first = self.requests.backoff_first;
        tokio::time::sleep(booked + backoff(first, self.failed, throttled, random)).await;
        Ok(())
    }
}
