//! What a reader knows of a block's length before it comes. Never looks at bytes.

use std::fmt;

/// How long a block may be. Where only a bound is known, the digest is what proves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockLen {
    /// So many bytes.
    Exactly(usize),
    /// No more than so many bytes, perhaps none.
    AtMost(usize),
}

impl BlockLen {
    /// Tells whether a block of `len` bytes may be the one.
    ///
    /// ```
    /// use peerwren_transports::block::BlockLen;
    /// assert!(BlockLen::AtMost(16).fits(0) && !BlockLen::AtMost(16).fits(17));
    /// assert!(BlockLen::Exactly(16).fits(16) && !BlockLen::Exactly(16).fits(8));
    /// ```
    #[must_use]
    pub fn fits(self, len: u64) -> bool {
        match self {
            Self::Exactly(expected) => len == expected as u64,
            Self::AtMost(most) => len <= most as u64,
        }
    }
}

impl From<usize> for BlockLen {
    fn from(len: usize) -> Self {
        Self::Exactly(len)
    }
}

/// `100`, or `at most 100`.
impl fmt::Display for BlockLen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(len) => write!(f, "{len}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
        }
    }
}
