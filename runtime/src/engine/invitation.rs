//! What an invocation of a Lambda function is given: one worker's ticket and until when it is good. And what
//! it answers. Data only; as JSON, which is all that Lambda carries.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::ticket::{TICKET_BYTES_MAX, Ticket};

/// Largest event: Lambda takes 256 KiB, and its own wrapping is small. A ticket of 64 KiB in hexadecimal is
/// 128 KiB.
const EVENT_BYTES_MAX: usize = 200_000;

/// One worker's invitation. Holds its secret key: it crosses the network inside of TLS alone, and lies
/// nowhere but in Lambda's queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Invitation {
    /// Version of peerwren.
    pub(crate) peerwren: String,
    /// The run, in hexadecimal.
    pub(crate) run: String,
    /// The worker's number, good for one.
    pub(crate) slot: u32,
    /// When it is no longer good, in milliseconds since 1970.
    pub(crate) expires_ms: u64,
    /// The ticket, in hexadecimal.
    ticket: String,
}

/// What became of an invocation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The worker's number.
    pub(crate) slot: u32,
    /// Why it ended.
    pub(crate) reason: String,
    /// Tasks that it finished.
    pub(crate) tasks: u64,
    /// How long it took.
    pub(crate) seconds: f64,
}

impl Invitation {
    pub(crate) fn new(run: u64, ticket: &Ticket, expires: SystemTime) -> Self {
        let bytes = crate::control::encode(ticket);
        Self {
            peerwren: env!("CARGO_PKG_VERSION").to_owned(),
            run: format!("{run:016x}"),
            slot: ticket.worker.0,
            expires_ms: since_1970(expires),
            ticket: hexadecimal(&bytes),
        }
    }

    /// The event's bytes.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, String> {
        let bytes = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        if bytes.len() > EVENT_BYTES_MAX {
            return Err(format!(
                "an invitation of {} bytes; Lambda takes {EVENT_BYTES_MAX}: give fewer addresses with --advertise",
                bytes.len()
            ));
        }
        Ok(bytes)
    }

    /// Reads an event.
    pub(crate) fn parse(event: serde_json::Value) -> Result<Self, String> {
        serde_json::from_value(event).map_err(|error| {
            format!(
                "this event is no invitation of peerwren's ({error}): the function is invoked by runs with \
                 --engine lambda:NAME"
            )
        })
    }

    /// Its ticket, if it is good now.
    pub(crate) fn ticket(&self, now: SystemTime) -> Result<Ticket, String> {
        let ours = env!("CARGO_PKG_VERSION");
        if self.peerwren != ours {
            return Err(format!(
                "the run has version {} of peerwren but this function {ours}: peerwren lambda update",
                self.peerwren
            ));
        }
        if since_1970(now) >= self.expires_ms {
            return Err("the invitation has expired".to_owned());
        }
        let bytes = bytes_of(&self.ticket).ok_or("the invitation's ticket is malformed")?;
        let ticket: Ticket = crate::control::decode(&bytes)
            .map_err(|error| format!("the invitation's ticket: {error}"))?;
        if ticket.worker.0 != self.slot {
            return Err("the invitation's ticket is another worker's".to_owned());
        }
        Ok(ticket)
    }

    /// The run's number.
    pub(crate) fn run(&self) -> Result<u64, String> {
        u64::from_str_radix(&self.run, 16).map_err(|_| "the invitation names no run".to_owned())
    }
}

fn since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    if text.len() > 2 * TICKET_BYTES_MAX || !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::WorkerId;
    use crate::options::ControlChoice;

    fn ticket() -> Ticket {
        Ticket {
            worker: WorkerId(7),
            coordinators: vec!["192.0.2.1:4433".to_owned(); 16],
            identity_pem: "key".repeat(1_000),
            store: "s3://bucket/prefix".to_owned(),
            block_bytes_max: 1 << 20,
            control: ControlChoice::Auto,
            listen: "0.0.0.0:0".to_owned(),
            log: "info".to_owned(),
        }
    }

    #[test]
    fn an_invitation_is_good_for_one_version_and_a_while() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let expires = now + Duration::from_secs(30);
        let sent = Invitation::new(0xab, &ticket(), expires);
        let json = sent.to_json().unwrap();
        assert!(json.len() < 20_000, "{} bytes", json.len());
        let came = Invitation::parse(serde_json::from_slice(&json).unwrap()).unwrap();
        assert_eq!((came.slot, came.run()), (7, Ok(0xab)));
        let read = came.ticket(now).unwrap();
        assert_eq!(read.identity_pem, ticket().identity_pem);
        let said = |invitation: &Invitation, now| invitation.ticket(now).err().unwrap();
        assert_eq!(said(&came, expires), "the invitation has expired");
        let other = Invitation {
            peerwren: "0.0.9".to_owned(),
            ..came.clone()
        };
        assert!(said(&other, now).contains("version 0.0.9"));
        let stolen = Invitation {
            slot: 8,
            ..came.clone()
        };
        assert!(said(&stolen, now).contains("another worker's"));
        for text in ["", "0", "zz", "é0", "00"] {
            let broken = Invitation {
                ticket: text.to_owned(),
                ..came.clone()
            };
            assert!(said(&broken, now).contains("ticket"), "{text}");
        }
        let error = Invitation::parse(serde_json::json!({"key1": "value1"})).unwrap_err();
        assert!(error.contains("no invitation"), "{error}");
    }
}
