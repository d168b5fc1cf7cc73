//! The node's UDP socket: QUIC's packets go to the endpoint, all others aside, to whoever punches. Never
//! reads more of a packet than its first byte.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;

use crate::path::canonical;

/// The longest UDP payload that IPv4 carries: 65,535 less 20 for IP and 8 for UDP.
const UDP_PAYLOAD_BYTES_MAX: usize = 65_507;

/// Datagrams that wait aside: 64 attempts with a burst of 4 probes each; more are dropped.
const ASIDE_MAX: usize = 256;

/// The longest datagram that is put aside, longer ones are dropped: a STUN answer without padding.
/// 256 x 1.2 kB = 0.3 MB wait at most.
const ASIDE_BYTES_MAX: usize = 1200;

/// A datagram that is not QUIC's, and where it came from.
pub(super) type Aside = (SocketAddr, Vec<u8>);

/// Lets no more packets go out in one segmented send than fit one UDP payload.
///
/// quinn hands over up to 10 packets at a time whatever their size; from 6,551 bytes a packet on,
/// the kernel refuses the whole with EMSGSIZE, which is taken for a failed MTU probe: all ten are
/// lost without a word, and the connection crawls or hangs.
pub(super) struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    segments_max: usize,
    aside: mpsc::Sender<Aside>,
}

impl Socket {
    pub(super) fn new(
        inner: Arc<dyn AsyncUdpSocket>,
        udp_payload_max: u16,
    ) -> (Self, mpsc::Receiver<Aside>) {
        let segments_max = (UDP_PAYLOAD_BYTES_MAX / usize::from(udp_payload_max.max(1))).max(1);
        let (aside, put) = mpsc::channel(ASIDE_MAX);
        let socket = Self {
            inner,
            segments_max,
            aside,
        };
        (socket, put)
    }

    /// Sends one datagram that is not QUIC's, or drops it where it cannot go at once.
    pub(super) fn send_aside(&self, to: SocketAddr, bytes: &[u8]) {
        let is_v6 = self.inner.local_addr().is_ok_and(|addr| addr.is_ipv6());
        let destination = match to.ip() {
            IpAddr::V4(ip) if is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        };
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: bytes,
            segment_size: None,
            src_ip: None,
        };
        if let Err(error) = self.inner.try_send(&transmit) {
            tracing::trace!(%to, %error, "a probe was not sent");
        }
    }

    /// Takes what is not QUIC's out of a batch of equally long packets (the last may be shorter), and
    /// closes up the rest.
    fn divert(&self, buf: &mut [u8], meta: &mut RecvMeta) {
        let (len, stride) = (meta.len.min(buf.len()), meta.stride.max(1));
        let mut kept = 0;
        let mut at = 0;
        while at < len {
            let end = (at + stride).min(len);
            if is_quic(buf[at]) {
                buf.copy_within(at..end, kept);
                kept += end - at;
            } else if end - at <= ASIDE_BYTES_MAX {
                // A full queue drops it: whoever sent it sends again.
                let _ = self
                    .aside
                    .try_send((canonical(meta.addr), buf[at..end].to_vec()));
            }
            at = end;
        }
        meta.len = kept;
    }
}

/// Whether a datagram may be QUIC's by its first byte: all but a refusal of its version set bit 0x40
/// (greasing it is off), and that one sets 0x80. Probes and STUN set neither.
fn is_quic(first: u8) -> bool {
    first & 0xc0 != 0
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
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = &received {
            for (buf, meta) in bufs.iter_mut().zip(meta).take(*count) {
                self.divert(buf, meta);
            }
        }
        received
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

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> (Socket, mpsc::Receiver<Aside>) {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let runtime = quinn::default_runtime().unwrap();
        Socket::new(runtime.wrap_udp_socket(udp).unwrap(), 1200)
    }

    #[test]
    fn only_what_is_not_quic_goes_aside() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let (socket, mut put) = socket();
        let from: SocketAddr = "[::ffff:10.1.0.2]:5".parse().unwrap();
        let seen: SocketAddr = "10.1.0.2:5".parse().unwrap();
        /// A batch, its stride, what the endpoint sees, what goes aside.
        type Case<'a> = (&'a [u8], usize, &'a [u8], &'a [&'a [u8]]);
        let cases: [Case; 8] = [
            (&[0x40, 1, 2, 3], 4, &[0x40, 1, 2, 3], &[]),
            (&[0x80, 1], 2, &[0x80, 1], &[]),
            (&[0x3b, 1], 2, &[], &[&[0x3b, 1]]),
            (
                &[0x40, 1, 0xc0, 2, 0x3b],
                2,
                &[0x40, 1, 0xc0, 2],
                &[&[0x3b]],
            ),
            (
                &[0x3b, 1, 0x40, 2, 0xc0],
                2,
                &[0x40, 2, 0xc0],
                &[&[0x3b, 1]],
            ),
            (
                &[0x40, 1, 0x00, 2, 0xc0, 3],
                2,
                &[0x40, 1, 0xc0, 3],
                &[&[0x00, 2]],
            ),
            (&[0x00, 1, 0x01, 2], 2, &[], &[&[0x00, 1], &[0x01, 2]]),
            (&[], 0, &[], &[]),
        ];
        for (batch, stride, quic, aside) in cases {
            let mut buf = batch.to_vec();
            let mut meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (from, batch.len(), stride);
            socket.divert(&mut buf, &mut meta);
            assert_eq!(&buf[..meta.len], quic, "{batch:02x?}");
            for datagram in aside {
                assert_eq!(put.try_recv().unwrap(), (seen, datagram.to_vec()));
            }
            assert!(put.try_recv().is_err());
        }
        let mut meta = RecvMeta::default();
        (meta.len, meta.stride) = (1, 1);
        for _ in 0..2 * ASIDE_MAX {
            socket.divert(&mut [0], &mut meta.clone());
        }
        assert_eq!(put.len(), ASIDE_MAX, "what nobody takes is dropped");
    }
}
