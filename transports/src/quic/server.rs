//! The side that is asked: takes streams, grants control channels, serves blocks. Never fetches.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::control::ControlChannel;
use super::links::{Link, LinkUse};
use super::node::{Shared, count};
use super::wire::{OPENING_LEN_MAX, Opening, Response, kind};
use crate::block::{Block, BlockKey};
use crate::frame::{self, FrameIoError, FrameReader};

/// A block is handed to the connection in such pieces; the peer must take one every
/// `stall_timeout`: 256 KiB in 5 s = 52 KB/s at least.
const PIECE_BYTES: usize = 256 << 10;

/// What a stream is reset with when its block is not sent to the end.
const GIVEN_UP: VarInt = VarInt::from_u32(1);

/// Who may send a block now: a bounded number, and a bounded queue before them, first come first
/// served.
pub(super) struct Serving {
    permits: Semaphore,
    waiting: AtomicUsize,
    queue_max: usize,
}

impl Serving {
    pub(super) fn new(outgoing_max: usize, queue_max: usize) -> Self {
        Self {
            permits: Semaphore::new(outgoing_max),
            waiting: AtomicUsize::new(0),
            queue_max,
        }
    }

    /// Waits for a turn; `None` where too many wait already.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Some(permit);
        }
        let _place = Place::take(&self.waiting, self.queue_max)?;
        self.permits.acquire().await.ok()
    }
}

/// A place in the queue, given back also when the request is cancelled.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, queue_max: usize) -> Option<Self> {
        let more = |waiting| (waiting < queue_max).then_some(waiting + 1);
        waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()?;
        Some(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves what the peer opens on a link, for as long as the link lives. How many streams it may
/// open is the transport's bound (`streams_max`).
pub(super) async fn serve_link(shared: Arc<Shared>, link: Arc<Link>) {
    loop {
        match link.conn.accept_bi().await {
            Ok((send, recv)) => {
                tokio::spawn(serve_stream(
                    shared.clone(),
                    LinkUse::new(&link),
                    send,
                    recv,
                ));
            }
            Err(error) => {
                tracing::debug!(peer = %link.peer, %error, "a connection ended");
                shared.links().remove(&link);
                return;
            }
        }
    }
}

async fn serve_stream(
    shared: Arc<Shared>,
    link: LinkUse,
    mut send: SendStream,
    mut recv: RecvStream,
) {
    let mut reader = FrameReader::new(OPENING_LEN_MAX);
    let read = timeout(shared.limits.stall_timeout, reader.read(&mut recv)).await;
    let opening = match read {
        Ok(Ok(Some((kind, payload)))) => {
            Opening::decode(kind, &payload).map_err(FrameIoError::Frame)
        }
        Ok(Err(error)) => Err(error),
        // Nothing was asked, or not in time: dropping the stream is answer enough.
        Ok(Ok(None)) | Err(_) => return count(&shared.counters.malformed),
    };
    match opening {
        Ok(Opening::Control) => grant_control(&shared, link, send, recv).await,
        Ok(Opening::Block(key)) => serve_block(&shared, &link, send, recv, key).await,
        Err(error) => {
            count(&shared.counters.malformed);
            tracing::debug!(peer = %link.link().peer, %error, "a stream opened wrongly");
            let refused = frame::write(&mut send, kind::REFUSED, &[]);
            let _ = timeout(shared.limits.stall_timeout, refused).await;
        }
    }
}

async fn grant_control(shared: &Shared, link: LinkUse, mut send: SendStream, recv: RecvStream) {
    // The place is kept first: a channel that was granted is never dropped unseen.
    let place = shared.incoming.try_reserve();
    let answer = if place.is_ok() {
        kind::CONTROL_ACCEPT
    } else {
        kind::REFUSED
    };
    let answered = timeout(
        shared.limits.stall_timeout,
        frame::write(&mut send, answer, &[]),
    )
    .await;
    if let (Ok(place), Ok(Ok(()))) = (place, answered) {
        place.send(ControlChannel::new(
            link,
            (send, recv),
            shared.limits.control_bytes_max,
        ));
    }
}

async fn serve_block(
    shared: &Shared,
    link: &LinkUse,
    mut send: SendStream,
    mut recv: RecvStream,
    key: BlockKey,
) {
    let counters = &shared.counters;
    let refusal = if key.run != shared.run {
        count(&counters.foreign);
        Response::NotFound
    } else if shared.blocks.get(&key).is_none() {
        count(&counters.not_found);
        Response::NotFound
    } else {
        // Whoever gives up waiting is not served: dropping the request frees its place.
        let turn = tokio::select! {
            biased;
            _ = send.stopped() => return count(&counters.unserved),
            turn = shared.serving.turn() => turn,
        };
        match (turn, shared.blocks.get(&key)) {
            (Some(_turn), Some(block)) => {
                let sent = timeout(
                    shared.limits.fetch_timeout,
                    send_block(shared, &mut send, &mut recv, &block),
                );
                if sent.await == Ok(Some(())) {
                    count(&counters.served);
                    counters
                        .served_bytes
                        .fetch_add(block.len() as u64, Ordering::Relaxed);
                    shared.blocks.served(link.link().peer, block.len() as u64);
                } else {
                    count(&counters.unserved);
                    let _ = send.reset(GIVEN_UP);
                }
                return;
            }
            (None, _) => {
                count(&counters.busy);
                Response::Busy
            }
            (Some(_), None) => {
                count(&counters.not_found);
                Response::NotFound
            }
        }
    };
    let refusal = refusal.encode();
    let answer = frame::write(&mut send, kind::BLOCK_RESPONSE, &refusal);
    let _ = timeout(shared.limits.stall_timeout, answer).await;
}

/// Sends a block and waits for the receipt: the peer ends its side of the stream only when it has
/// the block whole and right. So a turn covers the whole way, not just the way into a buffer.
async fn send_block(
    shared: &Shared,
    send: &mut SendStream,
    recv: &mut RecvStream,
    block: &Block,
) -> Option<()> {
    let stall = shared.limits.stall_timeout;
    let response = Response::Found {
        len: block.len() as u64,
        digest: block.digest(),
    };
    frame::write(send, kind::BLOCK_RESPONSE, &response.encode())
        .await
        .ok()?;
    let mut payload = Bytes::from_owner(block.clone());
    // Watched besides the writes: one that waits for the connection's window does not notice that
    // the peer wants no more.
    let mut stopped = pin!(send.stopped());
    while !payload.is_empty() {
        let piece = payload.split_to(payload.len().min(PIECE_BYTES));
        tokio::select! {
            biased;
            _ = &mut stopped => return None,
            written = timeout(stall, send.write_chunk(piece)) => written.ok()?.ok()?,
        }
    }
    send.finish().ok()?;
    let receipt = timeout(stall, recv.read(&mut [0])).await.ok()?.ok()?;
    receipt.is_none().then_some(())
}
