//! The side that asks: dials, opens control channels, fetches blocks. Never serves.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{ConnectError, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::control::ControlChannel;
use super::error::{CloseCode, DialError, FetchError, worth_redialing};
use super::handover;
use super::links::{Link, LinkUse, Reach};
use super::node::{Expected, Route, Shared};
use super::server;
use super::wire::{Opening, RESPONSE_LEN, Response, Wanted, kind};
use crate::block::{Block, BlockBuf, BlockKey, Digest};
use crate::frame::{self, FrameError, FrameIoError, FrameReader};
use crate::identity::NodeId;

/// The digest follows the bytes in such steps: they are still in the nearer caches, and no step
/// holds up the thread's other work for more than 20 us or so.
const DIGEST_BYTES: usize = 64 << 10;

/// What a peer is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) key: BlockKey,
    pub(super) expected: Option<Expected>,
    /// The worker to which the peer referred this node, if that brought nothing.
    pub(super) in_vain: Option<u32>,
}

/// What a fetch's stream is reset with when the block is not wanted any more, or is wrong.
const NOT_RECEIVED: VarInt = VarInt::from_u32(2);

impl Shared {
    pub(super) async fn dial_control(
        self: &Arc<Self>,
        addr: SocketAddr,
        peer: NodeId,
    ) -> Result<ControlChannel, DialError> {
        let (link, _) = self.link(peer, addr).await?;
        self.open_control(link).await
    }

    /// Opens a control channel on a connection.
    pub(super) async fn open_control(&self, link: LinkUse) -> Result<ControlChannel, DialError> {
        let opened = timeout(self.limits.handshake_timeout, open_control(&link)).await;
        let streams = opened.unwrap_or(Err(DialError::TimedOut))?;
        Ok(ControlChannel::new(
            link,
            streams,
            self.limits.control_bytes_max,
        ))
    }

    pub(super) async fn fetch(
        self: &Arc<Self>,
        peer: NodeId,
        route: Route,
        asked: Asked,
    ) -> Result<Block, FetchError> {
        let fetch = async {
            let (link, reused) = self.link_by(peer, route).await?;
            match self.request(&link, asked).await {
                Err(FetchError::PeerGone(why)) if reused => {
                    // The peer dropped an unused connection just when it was used again.
                    if !link
                        .link()
                        .conn
                        .close_reason()
                        .as_ref()
                        .is_some_and(worth_redialing)
                    {
                        return Err(FetchError::PeerGone(why));
                    }
                    self.links().remove(link.link());
                    let (link, _) = self.link_by(peer, route).await?;
                    self.request(&link, asked).await
                }
                done => done,
            }
        };
        timeout(self.limits.fetch_timeout, fetch)
            .await
            .unwrap_or(Err(FetchError::TimedOut))
    }

    /// Finds or makes a connection with `peer`; tells whether there was one.
    async fn link_by(
        self: &Arc<Self>,
        peer: NodeId,
        route: Route,
    ) -> Result<(LinkUse, bool), FetchError> {
        if let Route::Address(addr) = route {
            return Ok(self.link(peer, addr).await?);
        }
        if let Some(link) = self.links().linked(peer) {
            return Ok((link, true));
        }
        self.find_path(peer).await?;
        let link = self.links().linked(peer);
        let lost = || FetchError::PeerGone("the connection was lost at once".to_owned());
        Ok((link.ok_or_else(lost)?, false))
    }

    /// Finds a connection with `peer`, or dials it; tells whether there was one.
    pub(super) async fn link(
        self: &Arc<Self>,
        peer: NodeId,
        addr: SocketAddr,
    ) -> Result<(LinkUse, bool), DialError> {
        let reach = self.links().reach(peer);
        let mut dialing = match reach {
            Reach::Linked(link) => return Ok((link, true)),
            Reach::Dialing(dialing) => dialing,
            Reach::Dial(report, dialing) => {
                // A task of its own: whoever waits may give up without failing the others.
                tokio::spawn(self.clone().dial(peer, addr, report));
                dialing
            }
        };
        let outcome = dialing
            .wait_for(Option::is_some)
            .await
            .map_err(|_| DialError::Closed)?;
        match outcome.as_ref() {
            Some(Ok(link)) => Ok((LinkUse::new(link), false)),
            Some(Err(error)) => Err(error.clone()),
            None => Err(DialError::Closed),
        }
    }

    async fn dial(
        self: Arc<Self>,
        peer: NodeId,
        addr: SocketAddr,
        report: watch::Sender<Option<Result<Arc<Link>, DialError>>>,
    ) {
        let dialed = timeout(self.limits.handshake_timeout, self.handshake(peer, addr)).await;
        let mut dialed = dialed.unwrap_or(Err(DialError::TimedOut));
        let taken = self.links().dialed(peer, dialed.as_ref().ok());
        match &dialed {
            Ok(link) if taken => {
                tokio::spawn(server::serve_link(self.clone(), link.clone()));
            }
            Ok(link) => {
                link.close(CloseCode::Crowded);
                dialed = Err(DialError::Crowded);
            }
            Err(error) => tracing::debug!(%peer, %addr, %error, "a dial failed"),
        }
        report.send_replace(Some(dialed));
    }

    pub(super) async fn handshake(
        &self,
        peer: NodeId,
        addr: SocketAddr,
    ) -> Result<Arc<Link>, DialError> {
        // That the other side's certificate holds just this name is what proves it.
        let name = peer.dns_name(self.run);
        let connecting = self
            .endpoint
            .connect_with(self.client.clone(), addr, &name)
            .map_err(|error| match error {
                ConnectError::EndpointStopping => DialError::Closed,
                ConnectError::InvalidRemoteAddress(addr) => DialError::Address(addr),
                other => DialError::Lost(other.to_string()),
            })?;
        Ok(Link::new(connecting.await?, peer, self.node))
    }

    /// Asks for a block on a stream of its own and receives it: at a door where both are on one host, if there
    /// is one, else on the stream.
    async fn request(&self, link: &LinkUse, asked: Asked) -> Result<Block, FetchError> {
        let same_host = self.door.is_some() && link.link().is_on_one_host();
        match self.request_once(link, asked, same_host).await? {
            Some(block) => Ok(block),
            None => {
                link.link().has_no_door();
                let block = self.request_once(link, asked, false).await?;
                block.ok_or(FetchError::Protocol(FrameError::Malformed(
                    "a door that was not asked for",
                )))
            }
        }
    }

    /// Asks once; `None` where the peer names a door that cannot be found from here.
    async fn request_once(
        &self,
        link: &LinkUse,
        asked: Asked,
        same_host: bool,
    ) -> Result<Option<Block>, FetchError> {
        let Asked {
            key,
            expected,
            in_vain,
        } = asked;
        let lost = |error: ConnectionError| FetchError::PeerGone(error.to_string());
        let (send, mut recv) = link.link().conn.open_bi().await.map_err(lost)?;
        let mut asking = Asking(Some(send));
        let wanted = Wanted {
            key,
            in_vain,
            same_host,
        };
        let (kind, payload) = Opening::Block(wanted).encode();
        asking.write(kind, &payload).await?;
        let mut reader = FrameReader::new(RESPONSE_LEN);
        let response = reader.read(&mut recv).await.map_err(unframed)?;
        let (kind, payload) = response.ok_or(FetchError::PeerGone("no answer".to_owned()))?;
        match Response::decode(kind, &payload).map_err(FetchError::Protocol)? {
            Response::NotFound => Err(FetchError::NotFound),
            Response::Busy => Err(FetchError::Busy),
            // Else two that know no better would send this node to and fro.
            Response::Refer(peer) if in_vain.is_some() || self.node == NodeId::Worker(peer) => Err(
                FetchError::Protocol(FrameError::Malformed("referred where it must not be")),
            ),
            Response::Refer(peer) => Err(FetchError::Referred(NodeId::Worker(peer))),
            Response::Found { len, digest, at } => {
                let len = self.check(len, digest, expected)?;
                let block = match at {
                    None => self.receive(&mut recv, len, digest).await?,
                    Some(_) if !same_host => return Ok(None),
                    Some(admission) => match handover::call(&admission).await {
                        Ok(mut caller) => self.receive(&mut caller, len, digest).await?,
                        Err(error) => {
                            tracing::debug!(peer = %link.link().peer, %error, "no door is found");
                            return Ok(None);
                        }
                    },
                };
                asking.acknowledge();
                Ok(Some(block))
            }
        }
    }

    /// Checks what the peer announces before anything is allocated for it; returns the length.
    fn check(
        &self,
        len: u64,
        digest: Digest,
        expected: Option<Expected>,
    ) -> Result<usize, FetchError> {
        let limit = self.limits.block_bytes_max;
        match (usize::try_from(len), expected) {
            (Ok(len), None) if len <= limit => Ok(len),
            (_, None) => Err(FetchError::TooLong { limit, got: len }),
            (_, Some(expected)) if !expected.len.fits(len) => {
                Err(FetchError::Corrupt("another length is announced"))
            }
            (Ok(len), Some(expected)) if expected.digest.is_none_or(|known| known == digest) => {
                Ok(len)
            }
            _ => Err(FetchError::Corrupt("another digest is announced")),
        }
    }

    /// Reads the payload straight into its buffer.
    async fn receive(
        &self,
        payload: &mut impl Payload,
        len: usize,
        expected: Digest,
    ) -> Result<Block, FetchError> {
        let stall = self.limits.stall_timeout;
        let stalled = |_| FetchError::TimedOut;
        let mut buf = BlockBuf::with_len(len);
        let mut hasher = blake3::Hasher::new();
        let (mut filled, mut hashed) = (0, 0);
        while filled < len {
            let read = payload.more(&mut buf.as_bytes_mut()[filled..]);
            match timeout(stall, read).await.map_err(stalled)?? {
                0 => return Err(FetchError::Corrupt("it ended early")),
                more => filled += more,
            }
            while filled - hashed >= DIGEST_BYTES {
                hasher.update(&buf.as_bytes()[hashed..hashed + DIGEST_BYTES]);
                hashed += DIGEST_BYTES;
            }
        }
        hasher.update(&buf.as_bytes()[hashed..]);
        let after = timeout(stall, payload.more(&mut [0])).await;
        if after.map_err(stalled)?? != 0 {
            return Err(FetchError::Corrupt("it is longer than announced"));
        }
        let digest = Digest(*hasher.finalize().as_bytes());
        if digest != expected {
            return Err(FetchError::Corrupt("its digest is wrong"));
        }
        Ok(buf.freeze_with(digest))
    }
}

/// What a block's bytes come by.
trait Payload {
    /// Reads more of them; 0 at their end.
    async fn more(&mut self, into: &mut [u8]) -> Result<usize, FetchError>;
}

impl Payload for RecvStream {
    async fn more(&mut self, into: &mut [u8]) -> Result<usize, FetchError> {
        Ok(self.read(into).await?.unwrap_or(0))
    }
}

impl Payload for UnixStream {
    async fn more(&mut self, into: &mut [u8]) -> Result<usize, FetchError> {
        let read = self.read(into).await;
        read.map_err(|error| FetchError::PeerGone(error.to_string()))
    }
}

async fn open_control(link: &LinkUse) -> Result<(SendStream, RecvStream), DialError> {
    let (mut send, mut recv) = link.link().conn.open_bi().await?;
    let lost = |error: FrameIoError| match error {
        FrameIoError::Frame(error) => DialError::Protocol(error),
        // A refusal in the handshake comes only after this side holds it to be done.
        FrameIoError::Io(error) => match link.link().conn.close_reason() {
            Some(reason) => reason.into(),
            None => DialError::Lost(error.to_string()),
        },
    };
    let (open, payload) = Opening::Control.encode();
    frame::write(&mut send, open, &payload)
        .await
        .map_err(lost)?;
    match FrameReader::new(0).read(&mut recv).await.map_err(lost)? {
        Some((kind::CONTROL_ACCEPT, _)) => Ok((send, recv)),
        Some((kind::REFUSED, _)) => Err(DialError::Refused("no control channel".to_owned())),
        Some(_) => Err(DialError::Protocol(FrameError::Malformed(
            "not a control channel's answer",
        ))),
        None => Err(DialError::Lost("the stream ended".to_owned())),
    }
}

fn unframed(error: FrameIoError) -> FetchError {
    match error {
        FrameIoError::Frame(error) => FetchError::Protocol(error),
        FrameIoError::Io(error) => FetchError::PeerGone(error.to_string()),
    }
}

/// This side of a fetch's stream. Its end is the receipt; without it, dropping this resets the
/// stream, which tells the peer that the block is not wanted or not right.
struct Asking(Option<SendStream>);

impl Asking {
    async fn write(&mut self, kind: u8, payload: &[u8]) -> Result<(), FetchError> {
        match &mut self.0 {
            Some(send) => frame::write(send, kind, payload).await.map_err(unframed),
            None => Err(FetchError::PeerGone("the stream has ended".to_owned())),
        }
    }

    fn acknowledge(mut self) {
        if let Some(mut send) = self.0.take() {
            // Fails only where the peer stopped listening, which is its business.
            let _ = send.finish();
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(send) = &mut self.0 {
            let _ = send.reset(NOT_RECEIVED);
        }
    }
}
