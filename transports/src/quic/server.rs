//! The side that is asked: takes streams, grants control channels, serves blocks in the order that
//! [`crate::serving`] decides. Never fetches.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::control::ControlChannel;
use super::handover::Door;
use super::limits::Limits;
use super::links::{Link, LinkUse};
use super::node::{Shared, count};
use super::wire::{Admission, OPENING_LEN_MAX, Opening, Response, kind};
use crate::block::{Block, BlockKey, Digest};
use crate::frame::{self, FrameError, FrameIoError, FrameReader};
use crate::identity::NodeId;
use crate::serving::{self, Action, Input, Request, RequestId, Server};

/// A block is handed to the connection in such pieces; the peer must take one every
/// `stall_timeout`: 256 KiB in 5 s = 52 KB/s at least.
const PIECE_BYTES: usize = 256 << 10;

/// A block that is on its way for longer lags: a quarter of a second, and what it takes at 8 MB/s, a tenth of a
/// worker's line.
const LAG: Duration = Duration::from_millis(250);
const LAG_BYTES_PER_S: u64 = 8_000_000;

/// What a stream is reset with when its block is not sent to the end.
const GIVEN_UP: VarInt = VarInt::from_u32(1);

/// Drives a [`Server`]: hears what becomes of requests, and tells those that wait its answers.
pub(super) struct Serving(Mutex<State>);

struct State {
    machine: Server,
    /// Requests so far.
    asked: u64,
    /// Whoever has no answer yet.
    open: BTreeMap<RequestId, oneshot::Sender<Action>>,
}

impl Serving {
    pub(super) fn new(limits: &Limits) -> Self {
        let machine = Server::new(serving::Limits {
            outgoing_max: limits.outgoing_max,
            lagging_max: limits.outgoing_lagging_max,
            queue_max: limits.outgoing_queue_max,
            refer_bytes_min: limits.refer_bytes_min as u64,
        });
        Self(Mutex::new(State {
            machine,
            asked: 0,
            open: BTreeMap::new(),
        }))
    }

    pub(super) fn input(&self, input: Input) {
        self.state().input(input);
    }

    pub(super) fn waiting(&self) -> usize {
        self.state().machine.waiting()
    }

    /// Asks for a turn to send a block: what is to end the turn, and the answer when there is one.
    fn ask(&self, asks: Asks, bytes: u64) -> (Turn<'_>, oneshot::Receiver<Action>) {
        let mut state = self.state();
        state.asked += 1;
        let id = RequestId(state.asked);
        let (answer, answered) = oneshot::channel();
        state.open.insert(id, answer);
        state.input(Input::Asked(Request {
            id,
            peer: asks.peer,
            key: asks.key,
            bytes,
            in_vain: asks.in_vain.map(NodeId::Worker),
        }));
        let turn = Turn {
            serving: self,
            id,
            is_served: false,
        };
        (turn, answered)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn input(&mut self, input: Input) {
        self.machine.handle_input(input);
        while let Some(action) = self.machine.poll_action() {
            let (Action::Send(id) | Action::Refer(id, _) | Action::Busy(id)) = action;
            if let Some(open) = self.open.remove(&id) {
                // Who has given up does not hear it, and says so by dropping its turn.
                let _ = open.send(action);
            }
        }
        if cfg!(debug_assertions) {
            self.machine.check_invariants();
        }
    }
}

/// A request that waits or is served; the machine is told of its end also when it is cancelled.
struct Turn<'a> {
    serving: &'a Serving,
    id: RequestId,
    is_served: bool,
}

impl Turn<'_> {
    /// Waits for what is done in this turn, and lends the turn to another when that takes too long.
    async fn for_sending<T>(&self, bytes: u64, sent: impl Future<Output = T>) -> T {
        let mut sent = pin!(sent);
        let within = LAG + Duration::from_micros(bytes.saturating_mul(1_000_000) / LAG_BYTES_PER_S);
        match timeout(within, &mut sent).await {
            Ok(sent) => sent,
            Err(_) => {
                self.serving.input(Input::Lags(self.id));
                sent.await
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.serving.state();
        state.open.remove(&self.id);
        state.input(if self.is_served {
            Input::Served(self.id)
        } else {
            Input::GaveUp(self.id)
        });
    }
}

/// Who asks for which block, and to whom it was referred in vain.
#[derive(Clone, Copy)]
struct Asks {
    peer: NodeId,
    key: BlockKey,
    in_vain: Option<u32>,
    same_host: bool,
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
        Ok(Opening::Block(wanted)) => {
            let asks = Asks {
                peer: link.link().peer,
                key: wanted.key,
                in_vain: wanted.in_vain,
                same_host: wanted.same_host && link.link().is_on_one_host(),
            };
            serve_block(&shared, send, recv, asks).await;
        }
        Err(error) => {
            count(&shared.counters.malformed);
            let peer = link.link().peer;
            if let FrameIoError::Frame(FrameError::VersionSkew { .. }) = error {
                tracing::warn!(%peer, %error, "turned away");
            } else {
                tracing::debug!(%peer, %error, "a stream opened wrongly");
            }
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

async fn serve_block(shared: &Shared, mut send: SendStream, mut recv: RecvStream, asks: Asks) {
    let counters = &shared.counters;
    if asks.key.run != shared.run {
        count(&counters.foreign);
        return answer(shared, send, Response::NotFound).await;
    }
    let Some(bytes) = shared.blocks.get(&asks.key).map(|block| block.len() as u64) else {
        return not_found(shared, send, asks.key).await;
    };
    let (mut turn, answered) = shared.serving.ask(asks, bytes);
    // Whoever gives up waiting is not served: dropping the turn frees its place.
    let action = tokio::select! {
        biased;
        _ = send.stopped() => return count(&counters.unserved),
        action = answered => action,
    };
    match action {
        Ok(Action::Send(_)) => {}
        Ok(Action::Refer(_, NodeId::Worker(peer))) => {
            count(&counters.referred);
            return answer(shared, send, Response::Refer(peer)).await;
        }
        _ => {
            count(&counters.busy);
            return answer(shared, send, Response::Busy).await;
        }
    }
    let Some(block) = shared.blocks.get(&asks.key) else {
        drop(turn);
        return not_found(shared, send, asks.key).await;
    };
    let door = shared.door.as_ref().filter(|_| {
        asks.same_host && bytes >= shared.limits.hand_over_bytes_min.unwrap_or(usize::MAX) as u64
    });
    let sent = async {
        match door {
            Some(door) => hand_over(shared, door, &mut send, &mut recv, &block).await,
            None => send_block(shared, &mut send, &mut recv, &block).await,
        }
    };
    let sent = timeout(shared.limits.fetch_timeout, sent);
    let sent = turn.for_sending(bytes, sent).await;
    if sent == Ok(Some(())) {
        if door.is_some() {
            count(&counters.handed_over);
        }
        count(&counters.served);
        counters.served_bytes.fetch_add(bytes, Ordering::Relaxed);
        shared.blocks.served(asks.peer, bytes);
        turn.is_served = true;
    } else {
        count(&counters.unserved);
        let _ = send.reset(GIVEN_UP);
    }
}

/// Says that a block is not here, or not any more.
async fn not_found(shared: &Shared, send: SendStream, key: BlockKey) {
    count(&shared.counters.not_found);
    shared.serving.input(Input::BlockLeft(key));
    answer(shared, send, Response::NotFound).await;
}

async fn answer(shared: &Shared, mut send: SendStream, response: Response) {
    let payload = response.encode();
    let written = frame::write(&mut send, kind::BLOCK_RESPONSE, &payload);
    let _ = timeout(shared.limits.stall_timeout, written).await;
}

/// Hashes a block, elsewhere if that was not done yet: this thread has others to serve.
async fn digest_of(block: &Block) -> Option<Digest> {
    if let Some(digest) = block.known_digest() {
        return Some(digest);
    }
    let block = block.clone();
    tokio::task::spawn_blocking(move || block.digest())
        .await
        .ok()
}

/// Announces a block: what it must be, and where it is handed over if not on the stream.
async fn announce(send: &mut SendStream, block: &Block, at: Option<Admission>) -> Option<()> {
    let response = Response::Found {
        len: block.len() as u64,
        digest: digest_of(block).await?,
        at,
    };
    frame::write(send, kind::BLOCK_RESPONSE, &response.encode())
        .await
        .ok()
}

/// Waits for the receipt: the peer ends its side of the stream only when it has the block whole and right. So a
/// turn covers the whole way, not just the way into a buffer.
async fn receipt(shared: &Shared, recv: &mut RecvStream) -> Option<()> {
    let read = timeout(shared.limits.stall_timeout, recv.read(&mut [0])).await;
    read.ok()?.ok()?.is_none().then_some(())
}

/// Sends a block on the stream.
async fn send_block(
    shared: &Shared,
    send: &mut SendStream,
    recv: &mut RecvStream,
    block: &Block,
) -> Option<()> {
    let stall = shared.limits.stall_timeout;
    announce(send, block, None).await?;
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
    receipt(shared, recv).await
}

/// Hands a block over to whoever comes to the door with its ticket.
async fn hand_over(
    shared: &Shared,
    door: &Door,
    send: &mut SendStream,
    recv: &mut RecvStream,
    block: &Block,
) -> Option<()> {
    let stall = shared.limits.stall_timeout;
    let (admission, mut caller) = door.admit();
    announce(send, block, Some(admission)).await?;
    let mut stopped = pin!(send.stopped());
    let mut stream = tokio::select! {
        biased;
        // It does not find the door, or wants no more.
        _ = &mut stopped => return None,
        came = timeout(stall, caller.comes()) => came.ok()??,
    };
    for piece in block.as_bytes().chunks(PIECE_BYTES) {
        tokio::select! {
            biased;
            _ = &mut stopped => return None,
            written = timeout(stall, stream.write_all(piece)) => written.ok()?.ok()?,
        }
    }
    drop(stream);
    receipt(shared, recv).await
}
