//! STUN (RFC 8489) binding requests and answers as bytes, and a server that does nothing else: "where
//! do you see me?". The node's own socket asks, in [`paths`](super::paths).

use std::net::SocketAddr;

use bytecodec::{DecodeExt, EncodeExt};
use stun_codec::rfc5389::Attribute;
use stun_codec::rfc5389::attributes::{MappedAddress, XorMappedAddress};
use stun_codec::rfc5389::methods::BINDING;
use stun_codec::{Message, MessageClass, MessageDecoder, MessageEncoder, TransactionId};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::path::canonical;

/// The name of a request, which its answer repeats; nobody else can guess it.
pub(super) type Transaction = [u8; 12];

/// Where the magic cookie lies, and what it is.
const COOKIE: (std::ops::Range<usize>, [u8; 4]) = (4..8, [0x21, 0x12, 0xa4, 0x42]);

/// The longest message that is read.
const MESSAGE_BYTES_MAX: usize = 1200;

/// Makes a request.
pub(super) fn request(transaction: Transaction) -> Vec<u8> {
    let id = TransactionId::new(transaction);
    encode(Message::new(MessageClass::Request, BINDING, id))
}

/// Reads an answer: which request it answers, and where that was seen to come from.
pub(super) fn answer(bytes: &[u8]) -> Option<(Transaction, SocketAddr)> {
    let message = decode(bytes)?;
    if message.class() != MessageClass::SuccessResponse || message.method() != BINDING {
        return None;
    }
    let xored = message.get_attribute::<XorMappedAddress>();
    let plain = message.get_attribute::<MappedAddress>();
    let seen = xored
        .map(XorMappedAddress::address)
        .or(plain.map(MappedAddress::address))?;
    Some((*message.transaction_id().as_bytes(), canonical(seen)))
}

/// Answers a request that came from `from`.
pub(super) fn serve(bytes: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let asked = decode(bytes)?;
    if asked.class() != MessageClass::Request || asked.method() != BINDING {
        return None;
    }
    let id = asked.transaction_id();
    let mut message = Message::new(MessageClass::SuccessResponse, BINDING, id);
    message.add_attribute(XorMappedAddress::new(canonical(from)));
    Some(encode(message))
}

fn encode(message: Message<Attribute>) -> Vec<u8> {
    let bytes = MessageEncoder::new().encode_into_bytes(message);
    bytes.expect("an address always fits a message")
}

fn decode(bytes: &[u8]) -> Option<Message<Attribute>> {
    let (at, cookie) = COOKIE;
    if bytes.len() > MESSAGE_BYTES_MAX || bytes.get(at)? != cookie {
        return None;
    }
    MessageDecoder::new().decode_from_bytes(bytes).ok()?.ok()
}

/// A UDP socket that tells everybody where it sees them. A coordinator has one beside its own socket:
/// two destinations show whether a NAT's mapping depends on them.
#[derive(Debug)]
pub struct StunServer {
    addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl StunServer {
    /// Binds it and answers from then on, inside a tokio runtime, until it is dropped.
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub async fn bind(addr: SocketAddr) -> std::io::Result<Self> {
        let socket = UdpSocket::bind(addr).await?;
        let addr = socket.local_addr()?;
        let serving = tokio::spawn(async move {
            let mut buf = [0; MESSAGE_BYTES_MAX];
            loop {
                match socket.recv_from(&mut buf).await {
                    Ok((len, from)) => {
                        if let Some(answer) = serve(&buf[..len], from) {
                            // An answer of 32 bytes to 20 amplifies nothing; a lost one is asked for again.
                            let _ = socket.try_send_to(&answer, from);
                        }
                    }
                    // Linux tells here of an earlier answer that nobody took.
                    Err(error) => {
                        tracing::debug!(%error, "the STUN server's socket");
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
        Ok(Self { addr, serving })
    }

    /// Returns the address that it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for StunServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_seen_is_told(transaction: [u8; 12], ip: u32, port in 1u16.., v6: Option<[u8; 16]>) {
            let from = match v6 {
                Some(v6) => SocketAddr::from((v6, port)),
                None => SocketAddr::from((ip.to_be_bytes(), port)),
            };
            let request = request(transaction);
            prop_assert_eq!(request[0] & 0xc0, 0, "never QUIC");
            let told = serve(&request, from).unwrap();
            prop_assert_eq!(answer(&told), Some((transaction, canonical(from))));
            prop_assert!(answer(&request).is_none());
            prop_assert!(serve(&told, from).is_none(), "answers are not answered");
            for len in 0..told.len() {
                prop_assert!(answer(&told[..len]).is_none());
            }
        }

        #[test]
        fn garbage_is_nothing(mut bytes in prop::collection::vec(any::<u8>(), 0..200), with_cookie: bool, typed: bool) {
            if with_cookie && bytes.len() >= 20 {
                bytes[4..8].copy_from_slice(&COOKIE.1);
                let len = (bytes.len() - 20) as u16;
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                if typed {
                    bytes[..2].copy_from_slice(&[1, 1]);
                }
            }
            let _ = answer(&bytes);
            let _ = serve(&bytes, "10.1.0.2:5".parse().unwrap());
        }
    }

    /// RFC 5769, section 2.2, shortened to the attribute that matters.
    #[test]
    fn an_answer_of_another_implementation_is_read() {
        let mut bytes = vec![0x01, 0x01, 0x00, 0x0c, 0x21, 0x12, 0xa4, 0x42];
        let transaction = [
            0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
        ];
        bytes.extend(transaction);
        bytes.extend([
            0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
        ]);
        let seen = "192.0.2.1:32853".parse().unwrap();
        assert_eq!(answer(&bytes), Some((transaction, seen)));
    }
}
