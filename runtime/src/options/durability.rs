//! Which blocks outlive the loss of a worker, and whether a run can outlive its driver. Never moves one.

use std::fmt;
use std::str::FromStr;

use rkyv::{Archive, Deserialize, Serialize};

use super::{EngineKind, UnknownChoice};

/// Seconds between two checkpoints where none are named.
const CHECKPOINT_S: u32 = 120;
/// Longest time between two checkpoints: a week.
const CHECKPOINT_S_MAX: u32 = 604_800;

/// Which blocks outlive the loss of a worker.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Results alone; what else is lost is computed again.
    #[default]
    Outputs,
    /// From time to time, no sooner than after so many seconds, what is there and still needed.
    Checkpoint {
        /// Seconds from the beginning of one checkpoint to that of the next, at least.
        every_s: u32,
    },
    /// Every block is written to the store.
    All,
}

impl Durability {
    /// What a run has that asks for none: checkpoints where workers are on other machines, for which a
    /// driver that dies is no reason to do all again.
    pub(crate) fn default_with(engine: &EngineKind) -> Self {
        match engine {
            EngineKind::Threads | EngineKind::Processes => Self::Outputs,
            _ => Self::Checkpoint {
                every_s: CHECKPOINT_S,
            },
        }
    }

    /// Seconds from one checkpoint to the next, at least; `None` where a run leaves nothing to resume.
    #[must_use]
    pub fn checkpoint_s(self) -> Option<u32> {
        match self {
            Self::Outputs => None,
            Self::Checkpoint { every_s } => Some(every_s),
            Self::All => Some(CHECKPOINT_S),
        }
    }
}

impl FromStr for Durability {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        match text {
            "outputs" => return Ok(Self::Outputs),
            "all" => return Ok(Self::All),
            "checkpoint" => {
                return Ok(Self::Checkpoint {
                    every_s: CHECKPOINT_S,
                });
            }
            _ => {}
        }
        let Some(seconds) = text.strip_prefix("checkpoint:") else {
            return Err(UnknownChoice::expected(
                "outputs, all or checkpoint[:SECONDS]",
            ));
        };
        let is_number = seconds.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = seconds.parse().ok().filter(|_| is_number);
        match seconds {
            Some(every_s @ 1..=CHECKPOINT_S_MAX) => Ok(Self::Checkpoint { every_s }),
            _ => Err(UnknownChoice::expected(
                "checkpoint[:SECONDS] with 1 to 604800 whole seconds, such as checkpoint:120",
            )),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outputs => f.write_str("outputs"),
            Self::Checkpoint { every_s } => write!(f, "checkpoint:{every_s}"),
            Self::All => f.write_str("all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durabilities_read_and_write() {
        let table = [
            ("outputs", Ok("outputs")),
            ("all", Ok("all")),
            ("checkpoint", Ok("checkpoint:120")),
            ("checkpoint:1", Ok("checkpoint:1")),
            ("checkpoint:604800", Ok("checkpoint:604800")),
            ("", Err("expected outputs, all")),
            ("checkpoints", Err("expected outputs, all")),
            ("checkpoint:", Err("1 to 604800 whole seconds")),
            ("checkpoint:0", Err("1 to 604800 whole seconds")),
            ("checkpoint:604801", Err("1 to 604800 whole seconds")),
            ("checkpoint:+5", Err("1 to 604800 whole seconds")),
            ("checkpoint:1.5", Err("1 to 604800 whole seconds")),
            (
                "checkpoint:99999999999999",
                Err("1 to 604800 whole seconds"),
            ),
        ];
        for (text, wanted) in table {
            match (text.parse::<Durability>(), wanted) {
                (Ok(came), Ok(shown)) => assert_eq!(came.to_string(), shown, "{text}"),
                (Err(came), Err(part)) => {
                    assert!(came.to_string().contains(part), "{text}: {came}")
                }
                (came, wanted) => panic!("{text}: {came:?} where {wanted:?} was expected"),
            }
        }
    }
}
