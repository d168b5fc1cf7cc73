//! What a trace says in words of why something happened. Knows no entries.

use super::{DropReason, Why};
use crate::control::{Origin, Purpose, StoreReason};

pub(super) fn place(origin: Origin) -> String {
    match origin {
        Origin::Peer(peer) => peer.to_string(),
        Origin::Store => "the store".to_owned(),
        Origin::Source => "the input".to_owned(),
    }
}

pub(super) fn why_granted(why: Why) -> String {
    match why {
        Why::Home => "its home".to_owned(),
        Why::Away { home } => format!("estimated to be done earlier than at its home, {home}"),
        Why::Stolen { from, home } => {
            let home = match home {
                Some(home) if home != from => format!(" (its home is {home})"),
                _ => String::new(),
            };
            format!("stolen from {from}{home}: this worker had nothing to do")
        }
        Why::Homeless => "the program names no home".to_owned(),
        Why::Policy => "the policy knows no homes".to_owned(),
    }
}

pub(super) fn why_stored(reason: StoreReason) -> &'static str {
    match reason {
        StoreReason::Result => "it is a result",
        StoreReason::All => "every block is durable",
        StoreReason::Exchange => "others get blocks from the store alone",
        StoreReason::Spill => "to make room, since it is still needed",
        StoreReason::Checkpoint => "for a checkpoint",
        StoreReason::Relay => "for a worker that reaches nobody who has it",
        StoreReason::Handover => "since its worker was to leave",
    }
}

pub(super) fn why_dropped(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Dead => "no task needed it any more",
        DropReason::Room => "to make room",
        DropReason::Private => "its task was over, and nothing is kept between tasks",
    }
}

pub(super) fn why_fetched(purpose: Purpose) -> Option<&'static str> {
    match purpose {
        Purpose::Task { .. } => None,
        Purpose::Preload => Some("loaded before the first task"),
        Purpose::Handover => Some("kept for a worker that leaves"),
    }
}
