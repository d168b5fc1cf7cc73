//! Every bound of a node in one place, with its sum, and the transport settings made of them.

use std::sync::Arc;
use std::time::Duration;

use quinn::{MtuDiscoveryConfig, TransportConfig, VarInt};

use super::error::BindError;

/// Bounds of a node: what it may hold, serve and wait for.
///
/// Memory beyond the blocks themselves: each connection may hold `receive_window_bytes` that came
/// and were not read, and `send_window_bytes` that were sent and not acknowledged (payload is sent
/// from the block itself, not from a copy). Reading is never put off and at most
/// `outgoing_max` blocks and `outgoing_lagging_max` more are being sent, so that what is really held
/// is about one window a transfer: 4 sent + 4 received x 8 MiB = 64 MiB at the very worst, a few MiB
/// as a rule.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Blocks that are sent at one time, to all peers together. Two fill a link, and let the next
    /// block start while the last bytes of one are on their way.
    pub outgoing_max: usize,
    /// Blocks that are sent beside those, since their readers are slow: two that take their time hold up
    /// nobody.
    pub outgoing_lagging_max: usize,
    /// Requests that wait for their turn to be sent; one more is told that this node is busy.
    pub outgoing_queue_max: usize,
    /// The shortest block, in bytes, whose askers are referred to peers that were sent it
    /// ([`crate::serving`]): a quarter of a MiB takes 3.5 ms at 75 MB/s, as long as three round trips of
    /// 1 ms, what being referred and a first dial cost.
    pub refer_bytes_min: usize,
    /// The shortest block, in bytes, that is handed over at a door to a peer on the same host
    /// instead of sent by QUIC; `None` sends all by QUIC.
    pub hand_over_bytes_min: Option<usize>,
    /// The longest block that is fetched without an expected length, in bytes.
    pub block_bytes_max: usize,
    /// The longest control message, in bytes.
    pub control_bytes_max: usize,
    /// Control channels that were opened to this node and not yet taken from
    /// [`Incoming`](super::Incoming).
    pub control_pending_max: usize,
    /// Connections with peers, dialed and accepted; the one unused longest makes room for a new
    /// one. A coordinator needs one a worker.
    pub connections_max: usize,
    /// Streams that a peer may have open on one connection: fetches in flight and a control
    /// channel.
    pub streams_max: u32,
    /// Handshakes that this node takes part in at one time when dialed; others wait, and from half
    /// of it on must first prove their address.
    pub handshakes_max: usize,
    /// How long a dial may take.
    pub handshake_timeout: Duration,
    /// How long a fetch may take, with dialing, waiting and carrying: a block of 128 MiB at
    /// 75 MB/s shared by 2 takes 3.6 s, and 8 such before it in the queue 15 s.
    pub fetch_timeout: Duration,
    /// How long a peer may let a transfer or request stand still.
    pub stall_timeout: Duration,
    /// How long a connection lives without a sign of the other side: a killed process is noticed
    /// this late. At least twice `keep_alive`.
    pub idle_timeout: Duration,
    /// How often a connection shows a sign of life when it has nothing else to say: 64 connections
    /// send 64 small packets a second.
    pub keep_alive: Duration,
    /// How long a connection is kept that carries nothing; a control channel keeps it for good.
    pub unused_timeout: Duration,
    /// Bytes that a peer may send on one stream before they are read: a link of 10 Gbit/s and
    /// 3 ms round trip holds 3.75 MB.
    pub stream_window_bytes: u32,
    /// Bytes that a peer may send on one connection before they are read.
    pub receive_window_bytes: u32,
    /// Bytes that are sent on one connection and not yet acknowledged.
    pub send_window_bytes: u32,
    /// Longest UDP payload that is tried for on a path; discovery finds what the path carries.
    pub udp_payload_max: u16,
    /// What the system is asked to buffer for the socket, each way; it may give less.
    pub socket_buffer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            outgoing_max: 2,
            outgoing_lagging_max: 2,
            outgoing_queue_max: 64,
            refer_bytes_min: 256 << 10,
            hand_over_bytes_min: Some(32 << 10),
            block_bytes_max: 512 << 20,
            control_bytes_max: 16 << 20,
            control_pending_max: 1024,
            connections_max: 64,
            streams_max: 64,
            handshakes_max: 256,
            handshake_timeout: Duration::from_secs(5),
            fetch_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(1),
            unused_timeout: Duration::from_secs(60),
            stream_window_bytes: 4 << 20,
            receive_window_bytes: 8 << 20,
            send_window_bytes: 8 << 20,
            udp_payload_max: 8952,
            socket_buffer_bytes: 4 << 20,
        }
    }
}

impl Limits {
    /// Makes the settings of every connection.
    pub(super) fn transport(&self) -> Result<Arc<TransportConfig>, BindError> {
        let idle = self
            .idle_timeout
            .try_into()
            .map_err(|_| BindError::Limit("idle_timeout"))?;
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(self.udp_payload_max);
        let mut transport = TransportConfig::default();
        transport
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(self.keep_alive))
            .max_concurrent_bidi_streams(VarInt::from_u32(self.streams_max))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .stream_receive_window(VarInt::from_u32(self.stream_window_bytes))
            .receive_window(VarInt::from_u32(self.receive_window_bytes))
            .send_window(u64::from(self.send_window_bytes))
            .mtu_discovery_config(Some(discovery));
        Ok(Arc::new(transport))
    }
}
