//! The node's UDP socket, as the QUIC endpoint sees it. Never reads a packet's meaning.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// The longest UDP payload that IPv4 carries: 65,535 less 20 for IP and 8 for UDP.
const UDP_PAYLOAD_BYTES_MAX: usize = 65_507;

/// Lets no more packets go out in one segmented send than fit one UDP payload.
///
/// quinn hands over up to 10 packets at a time whatever their size; from 6,551 bytes a packet on,
/// the kernel refuses the whole with EMSGSIZE, which is taken for a failed MTU probe: all ten are
/// lost without a word, and the connection crawls or hangs.
pub(super) struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    segments_max: usize,
}

impl Socket {
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, udp_payload_max: u16) -> Self {
        let segments_max = (UDP_PAYLOAD_BYTES_MAX / usize::from(udp_payload_max.max(1))).max(1);
        Self {
            inner,
            segments_max,
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments().min(self.segments_max)
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
