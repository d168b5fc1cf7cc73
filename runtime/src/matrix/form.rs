//! What an array of a result is: sizes, dimensions, type of its entries. Never knows where it lies.
#![allow(
    missing_docs,
    reason = "the archived fields that rkyv derives cannot be documented"
)]

use rkyv::{Archive, Deserialize, Serialize};

use super::random::check_size;

/// What the entries of an array are.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// float64.
    F64,
    /// int64; tiles of them have an entry's bits in each word, as index tiles do.
    I64,
}

/// Sizes, dimensions and type of an array that a result becomes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrayForm {
    /// Rows.
    pub rows: u64,
    /// Columns.
    pub cols: u64,
    /// Whether a single column becomes an array of one dimension, (`rows`,).
    pub is_vector: bool,
    /// What an entry is.
    pub entries: Entries,
}

impl ArrayForm {
    /// A `rows` x `cols` matrix of float64.
    #[must_use]
    pub fn matrix(rows: u64, cols: u64) -> Self {
        Self {
            rows,
            cols,
            is_vector: false,
            entries: Entries::F64,
        }
    }

    /// `rows` numbers of float64 in one dimension.
    #[must_use]
    pub fn vector(rows: u64) -> Self {
        Self {
            is_vector: true,
            ..Self::matrix(rows, 1)
        }
    }

    /// `rows` numbers of int64 in one dimension.
    #[must_use]
    pub fn integers(rows: u64) -> Self {
        Self {
            entries: Entries::I64,
            ..Self::vector(rows)
        }
    }

    /// Checks that there can be such an array.
    ///
    /// # Errors
    /// It is empty, has more than 2^63 - 1 bytes, or is a vector of several columns; says which.
    pub(super) fn check(&self) -> Result<(), String> {
        check_size(self.rows, self.cols)?;
        if self.is_vector && self.cols != 1 {
            return Err(format!(
                "an array of one dimension has 1 column, found {}",
                self.cols
            ));
        }
        Ok(())
    }
}
