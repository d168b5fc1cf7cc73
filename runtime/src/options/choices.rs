//! The words of the options and the types they become.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use peerwren_transports::store::Place;
use rkyv::{Archive, Deserialize, Serialize};

/// A value that an option does not take, with what it takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct UnknownChoice {
    reason: String,
}

impl UnknownChoice {
    pub(super) fn expected(what: &str) -> Self {
        Self {
            reason: format!("expected {what}"),
        }
    }

    fn later(what: &str, expected: &str) -> Self {
        Self {
            reason: format!("{what} is not in this version; expected {expected}"),
        }
    }
}

/// Reduction tree of QR, as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TreeChoice {
    /// The grid tree on the grid that fits workers and shape.
    #[default]
    Auto,
    /// One chain down each panel.
    Flat,
    /// A binary tree over all rows of each panel.
    Binary,
    /// A chain within each of `p` row domains, then a tree over their heads.
    Grid {
        /// Row domains, and rows of the rank grid.
        p: u32,
        /// Columns of the rank grid.
        q: u32,
        /// Rank grids, between which the products of a sum are divided; 1 for all but a matrix product.
        layers: u32,
        /// Tree over the heads; by shape when absent.
        heads: Option<Heads>,
    },
    /// The tree of numpywren, the baseline.
    Numpywren,
}

/// How the heads of row domains are reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Heads {
    /// One absorbs the others in order: few bytes and a short critical path on square matrices.
    Chain,
    /// In pairs: for tall matrices.
    Binary,
}

const TREES: &str = "auto, flat, binary, grid:PxQ[:chain|:binary] or numpywren";

impl FromStr for TreeChoice {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        match text {
            "auto" => return Ok(Self::Auto),
            "flat" => return Ok(Self::Flat),
            "binary" => return Ok(Self::Binary),
            "numpywren" => return Ok(Self::Numpywren),
            _ => {}
        }
        let grid = text
            .strip_prefix("grid:")
            .ok_or_else(|| UnknownChoice::expected(TREES))?;
        let malformed = || {
            UnknownChoice::expected("grid:PxQ[:chain|:binary] with whole P and Q, such as grid:2x2")
        };
        let (shape, heads) = match grid.split_once(':') {
            None => (grid, None),
            Some((shape, "chain")) => (shape, Some(Heads::Chain)),
            Some((shape, "binary")) => (shape, Some(Heads::Binary)),
            Some(_) => return Err(malformed()),
        };
        let (p, rest) = shape.split_once('x').ok_or_else(malformed)?;
        let (q, layers) = rest.split_once('x').unwrap_or((rest, "1"));
        let side = |digits: &str| -> Option<u32> {
            if digits.bytes().all(|b| b.is_ascii_digit()) {
                digits.parse().ok()
            } else {
                None
            }
        };
        match (side(p), side(q), side(layers)) {
            (Some(0), Some(_), Some(_)) | (Some(_), Some(0), Some(_)) | (.., Some(0)) => {
                Err(UnknownChoice {
                    reason: "a grid has at least 1 row, 1 column and 1 layer of ranks".into(),
                })
            }
            (Some(p), Some(q), Some(layers)) => Ok(Self::Grid {
                p,
                q,
                layers,
                heads,
            }),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for TreeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Flat => f.write_str("flat"),
            Self::Binary => f.write_str("binary"),
            Self::Grid {
                p,
                q,
                layers,
                heads,
            } => {
                write_grid(f, *p, *q, *layers)?;
                heads.map_or(Ok(()), |heads| write!(f, ":{heads}"))
            }
            Self::Numpywren => f.write_str("numpywren"),
        }
    }
}

/// `grid:PxQ`, or `grid:PxQxZ` with more layers than one.
pub(super) fn write_grid(f: &mut fmt::Formatter<'_>, p: u32, q: u32, layers: u32) -> fmt::Result {
    write!(f, "grid:{p}x{q}")?;
    if layers > 1 {
        write!(f, "x{layers}")?;
    }
    Ok(())
}

impl fmt::Display for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "chain",
            Self::Binary => "binary",
        })
    }
}

/// Where blocks go that leave a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreChoice {
    /// A folder of the run's own, removed at its end.
    #[default]
    Temporary,
    /// This process's memory; for workers that are threads.
    Memory,
    /// A folder of the user's.
    Folder(PathBuf),
    /// A prefix in a bucket ([`Place::S3`]).
    S3(Place),
}

impl FromStr for StoreChoice {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        match text {
            "" => Err(UnknownChoice::expected(
                "memory, a folder or s3://bucket/prefix",
            )),
            "memory" => Ok(Self::Memory),
            _ => match text.parse() {
                Ok(Place::Folder(folder)) => Ok(Self::Folder(folder)),
                Ok(place) => Ok(Self::S3(place)),
                Err(error) => Err(UnknownChoice {
                    reason: error.to_string(),
                }),
            },
        }
    }
}

impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Temporary => f.write_str("temporary"),
            Self::Memory => f.write_str("memory"),
            Self::Folder(folder) => folder.display().fmt(f),
            Self::S3(place) => place.fmt(f),
        }
    }
}

/// A choice among fixed words, with the values that later versions bring named as such.
macro_rules! words {
    (
        $(#[$doc:meta])* $name:ident, $expected:literal, later $later:expr,
        $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+
    ) => {
        $(#[$doc])*
        #[derive(
            Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash,
        )]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl FromStr for $name {
            type Err = UnknownChoice;

            fn from_str(text: &str) -> Result<Self, UnknownChoice> {
                let later: Option<(&str, &str)> = $later;
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => match later {
                        Some((start, what)) if text.starts_with(start) => {
                            Err(UnknownChoice::later(what, $expected))
                        }
                        _ => Err(UnknownChoice::expected($expected)),
                    },
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)+ })
            }
        }
    };
}

words! {
    /// How control reaches workers that are not on this machine.
    ControlChoice, "auto, quic or store", later None,
    /// By QUIC, and through the store where no packet gets through.
    #[default]
    Auto = "auto",
    /// By QUIC alone.
    Quic = "quic",
    /// Through the store alone.
    Store = "store",
}

words! {
    /// How blocks move.
    Exchange, "peer, cache or store", later None,
    /// The worker's own cache, then its peers, then the store.
    #[default]
    Peer = "peer",
    /// The worker's own cache, then the store.
    Cache = "cache",
    /// Every block through the store: the baseline.
    Store = "store",
}

words! {
    /// How ready tasks are placed.
    Policy, "locality, owner, fifo or random", later None,
    /// The least estimated finish time, biased towards home and against bytes.
    #[default]
    Locality = "locality",
    /// Always at home.
    Owner = "owner",
    /// In order of readiness, wherever a core is free.
    Fifo = "fifo",
    /// Anywhere.
    Random = "random",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_read_and_write() {
        for text in [
            "auto",
            "flat",
            "binary",
            "grid:2x2",
            "grid:16x1:binary",
            "grid:1x3:chain",
            "grid:4x2x2",
            "numpywren",
        ] {
            assert_eq!(text.parse::<TreeChoice>().unwrap().to_string(), text);
        }
        let table = [
            (
                "",
                "expected auto, flat, binary, grid:PxQ[:chain|:binary] or numpywren",
            ),
            (
                "grid",
                "expected auto, flat, binary, grid:PxQ[:chain|:binary] or numpywren",
            ),
            (
                "grid:",
                "expected grid:PxQ[:chain|:binary] with whole P and Q, such as grid:2x2",
            ),
            (
                "grid:2",
                "expected grid:PxQ[:chain|:binary] with whole P and Q, such as grid:2x2",
            ),
            (
                "grid:2x",
                "expected grid:PxQ[:chain|:binary] with whole P and Q, such as grid:2x2",
            ),
            (
                "grid:+2x2",
                "expected grid:PxQ[:chain|:binary] with whole P and Q, such as grid:2x2",
            ),
            (
                "grid:2x2:star",
                "expected grid:PxQ[:chain|:binary] with whole P and Q, such as grid:2x2",
            ),
            (
                "grid:9999999999x2",
                "expected grid:PxQ[:chain|:binary] with whole P and Q, such as grid:2x2",
            ),
            (
                "grid:0x2",
                "a grid has at least 1 row, 1 column and 1 layer of ranks",
            ),
        ];
        for (text, reason) in table {
            assert_eq!(
                text.parse::<TreeChoice>().unwrap_err().to_string(),
                reason,
                "{text}"
            );
        }
    }

    #[test]
    fn later_values_are_named_as_such() {
        let table = [
            (
                "s3://B".parse::<StoreChoice>().map(drop),
                "\"s3://B\": a bucket's name has 3 to 63 of a-z, 0-9, `-` and `.`; expected a folder or \
                 s3://bucket/prefix",
            ),
            (
                "".parse::<StoreChoice>().map(drop),
                "expected memory, a folder or s3://bucket/prefix",
            ),
            (
                "best".parse::<Policy>().map(drop),
                "expected locality, owner, fifo or random",
            ),
            (
                "Peer".parse::<Exchange>().map(drop),
                "expected peer, cache or store",
            ),
        ];
        for (came, reason) in table {
            assert_eq!(came.unwrap_err().to_string(), reason);
        }
        let store: StoreChoice = "s3://bucket/x/".parse().unwrap();
        assert!(matches!(store, StoreChoice::S3(_)));
        assert_eq!(store.to_string(), "s3://bucket/x");
    }
}
