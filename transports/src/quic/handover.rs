//! Blocks between processes of one host without the network: a holder answers a request with a door, an abstract
//! Unix socket, and a ticket; the payload crosses there. Who may have a block is decided on the connection, where
//! both sides are proven: a ticket is for one request, is told to nobody else, and opens nothing once it is used or
//! given up. Whoever listens at a door instead of its holder can send nothing but what fits the digest.
//!
//! A copy into the kernel and one out of it, where QUIC on loopback also encrypts, decrypts, and cuts into packets.
//! Linux alone has sockets without files; elsewhere no node has a door.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::wire::{Admission, SECRET_LEN};
use crate::random;

/// Callers that have not shown their ticket yet; one more waits in the system's own bounded queue.
const CALLERS_MAX: usize = 64;

/// How long showing a ticket may take, which is sent with the call.
const SHOWING_TIMEOUT: Duration = Duration::from_secs(1);

type Ticket = [u8; SECRET_LEN];

/// What a door's listener and the requests that wait for their callers share. One waiting entry for each block
/// that is being sent: as many as [`Limits`](super::Limits) lets.
type Waiting = Mutex<HashMap<Ticket, oneshot::Sender<UnixStream>>>;

/// Where a node hands blocks over.
pub(super) struct Door {
    name: [u8; SECRET_LEN],
    waiting: Arc<Waiting>,
}

impl Door {
    /// Opens a door and listens at it until it is dropped. Must be called inside a tokio runtime.
    pub(super) fn open() -> io::Result<Self> {
        let name = random::bytes();
        let listener = UnixListener::bind(path(&name))?;
        let waiting = Arc::new(Waiting::default());
        tokio::spawn(listen(listener, Arc::downgrade(&waiting)));
        Ok(Self { name, waiting })
    }

    /// Lets one caller in: what it must show, and the caller once it has.
    pub(super) fn admit(&self) -> (Admission, Caller<'_>) {
        let ticket = random::bytes();
        let (admitted, comes) = oneshot::channel();
        lock(&self.waiting).insert(ticket, admitted);
        let admission = Admission {
            door: self.name,
            ticket,
        };
        let caller = Caller {
            waiting: &self.waiting,
            ticket,
            comes,
        };
        (admission, caller)
    }
}

/// Somebody who is expected at a door, for as long as this is kept.
pub(super) struct Caller<'a> {
    waiting: &'a Waiting,
    ticket: Ticket,
    comes: oneshot::Receiver<UnixStream>,
}

impl Caller<'_> {
    /// Waits for the caller; `None` where the door is closed.
    pub(super) async fn comes(&mut self) -> Option<UnixStream> {
        (&mut self.comes).await.ok()
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        lock(self.waiting).remove(&self.ticket);
    }
}

/// Calls at a door.
pub(super) async fn call(admission: &Admission) -> io::Result<UnixStream> {
    use tokio::io::AsyncWriteExt;
    let mut stream = UnixStream::connect(path(&admission.door)).await?;
    stream.write_all(&admission.ticket).await?;
    Ok(stream)
}

async fn listen(listener: UnixListener, waiting: Weak<Waiting>) {
    let callers = Arc::new(Semaphore::new(CALLERS_MAX));
    loop {
        let Ok(permit) = callers.clone().acquire_owned().await else {
            return;
        };
        let called = timeout(SHOWING_TIMEOUT, listener.accept()).await;
        if waiting.strong_count() == 0 {
            return;
        }
        match called {
            Ok(Ok((stream, _))) => {
                let waiting = waiting.clone();
                tokio::spawn(async move {
                    let _ = timeout(SHOWING_TIMEOUT, show(stream, &waiting)).await;
                    drop(permit);
                });
            }
            // Too many open files, most likely: not at once again.
            Ok(Err(_)) => tokio::time::sleep(SHOWING_TIMEOUT / 100).await,
            Err(_) => {}
        }
    }
}

/// Reads a caller's ticket, and hands the caller to the request that waits for it.
async fn show(mut stream: UnixStream, waiting: &Weak<Waiting>) {
    let mut ticket = Ticket::default();
    if stream.read_exact(&mut ticket).await.is_err() {
        return;
    }
    let request = waiting.upgrade().and_then(|all| lock(&all).remove(&ticket));
    if let Some(request) = request {
        // Who has given up meanwhile drops the stream, which the caller sees.
        let _ = request.send(stream);
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<Ticket, oneshot::Sender<UnixStream>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name without a file: a zero byte, then what only those who are told it know.
fn path(name: &[u8; SECRET_LEN]) -> String {
    let mut path = String::from("\0peerwren-");
    name.iter()
        .for_each(|byte| path.push_str(&format!("{byte:02x}")));
    path
}
