//! Dials one peer at several addresses: the first connection that is proved wins. Never decides which
//! addresses are worth a try.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::control::ControlChannel;
use super::error::{CloseCode, DialError};
use super::links::{Link, LinkUse};
use super::node::Shared;
use super::server;
use crate::identity::NodeId;

/// Between the starts of two dials, as RFC 8305 recommends: the next address is tried while the one
/// before may still answer.
const STAGGER: Duration = Duration::from_millis(250);

impl Shared {
    /// Opens a control channel at whichever address answers first as `peer`.
    pub(super) async fn dial_control_any(
        self: &Arc<Self>,
        addrs: &[SocketAddr],
        peer: NodeId,
    ) -> Result<ControlChannel, DialError> {
        if let &[addr] = addrs {
            return self.dial_control(addr, peer).await;
        }
        let link = self.race(addrs, peer).await?;
        if !self.links().insert(&link) {
            link.close(CloseCode::Crowded);
            return Err(DialError::Crowded);
        }
        tokio::spawn(server::serve_link(self.clone(), link.clone()));
        self.open_control(LinkUse::new(&link)).await
    }

    /// The first connection; the others are given up. Takes at most a stagger an address and the
    /// handshake time-out of the last one.
    async fn race(
        self: &Arc<Self>,
        addrs: &[SocketAddr],
        peer: NodeId,
    ) -> Result<Arc<Link>, DialError> {
        let mut left = addrs.iter();
        let mut dials = JoinSet::new();
        let mut failed = DialError::Lost("no address to dial".to_owned());
        loop {
            let waiting = !dials.is_empty();
            if let Some(&addr) = left.next() {
                let shared = self.clone();
                dials.spawn(async move {
                    let dial = shared.handshake(peer, addr);
                    timeout(shared.limits.handshake_timeout, dial)
                        .await
                        .unwrap_or(Err(DialError::TimedOut))
                });
            } else if !waiting {
                return Err(failed);
            }
            let more = left.len() > 0;
            tokio::select! {
                Some(ended) = dials.join_next() => match ended {
                    Ok(Ok(link)) => return Ok(link),
                    // What somebody answered says more than silence does.
                    Ok(Err(error)) if error != DialError::TimedOut => failed = error,
                    Ok(Err(error)) if matches!(failed, DialError::Lost(_)) => failed = error,
                    _ => {}
                },
                () = sleep(STAGGER), if more => {}
            }
        }
    }
}
