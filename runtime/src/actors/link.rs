//! The sending half of a control channel, fed by a bounded queue: an actor never waits for a network.

use peerwren_transports::quic::ControlSender;
use tokio::sync::mpsc;

/// Sends what is queued, in order, until the queue ends or the other side is gone.
pub(super) async fn send_all(mut sender: ControlSender, mut waiting: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = waiting.recv().await {
        if sender.send(&message).await.is_err() {
            return;
        }
    }
}
