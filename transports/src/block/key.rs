//! Names of blocks: matrix and indices within a run. Never knows what a matrix means.

use std::fmt;
use std::str::FromStr;

use rkyv::rancor::{Fallible, Source, fail};
use rkyv::{Archive, Deserialize, Serialize};

/// Most indices that a block or a task can have.
pub const RANK_MAX: usize = 8;

/// Up to [`RANK_MAX`] integers: the indices of a block or of a task.
///
/// Unused places are zero, so that equality, order and hash are those of the slice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Archive, Serialize)]
pub struct Indices {
    // `at` before `len`: the derived order is then lexicographic within one rank.
    at: [i32; RANK_MAX],
    len: u8,
}

impl Indices {
    /// Makes indices from 64-bit integers; `None` if there are more than [`RANK_MAX`] or one does
    /// not fit 32 bits.
    pub fn new(indices: &[i64]) -> Option<Self> {
        let mut made = Self::default();
        if indices.len() > RANK_MAX {
            return None;
        }
        for (place, &index) in made.at.iter_mut().zip(indices) {
            *place = i32::try_from(index).ok()?;
        }
        made.len = indices.len() as u8;
        Some(made)
    }

    /// Makes indices from 32-bit integers; `None` if there are more than [`RANK_MAX`].
    pub fn from_i32(indices: &[i32]) -> Option<Self> {
        let mut made = Self::default();
        made.at.get_mut(..indices.len())?.copy_from_slice(indices);
        made.len = indices.len() as u8;
        Some(made)
    }

    /// Returns the indices as a slice.
    pub fn as_slice(&self) -> &[i32] {
        &self.at[..self.len as usize]
    }

    /// Returns the index at `place`, if there is one.
    pub fn get(&self, place: usize) -> Option<i32> {
        self.as_slice().get(place).copied()
    }

    /// Returns how many indices there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Tells whether there is no index.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, between: char) -> fmt::Result {
        for (place, index) in self.as_slice().iter().enumerate() {
            if place > 0 {
                write!(f, "{between}")?;
            }
            write!(f, "{index}")?;
        }
        Ok(())
    }
}

/// `3,1,0`
impl fmt::Display for Indices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, ',')
    }
}

/// `[3,1,0]`
impl fmt::Debug for Indices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// What a message claims to be indices becomes indices only here: the rank is checked, and unused
/// places become zero again whatever was sent in them.
impl<D> Deserialize<Indices, D> for ArchivedIndices
where
    D: Fallible<Error: Source> + ?Sized,
{
    fn deserialize(&self, _: &mut D) -> Result<Indices, D::Error> {
        let at = self.at.map(|index| index.to_native());
        match at.get(..self.len as usize).and_then(Indices::from_i32) {
            Some(indices) => Ok(indices),
            None => fail!(RankError(self.len)),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} indices where at most {RANK_MAX} are possible")]
struct RankError(u8);

/// The name of a block: written once in a run, never changed.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Archive, Serialize, Deserialize,
)]
pub struct BlockKey {
    /// The run that the block belongs to.
    pub run: u64,
    /// The matrix, numbered by the run's plan.
    pub matrix: u16,
    /// The tile's place in the matrix.
    pub indices: Indices,
}

impl BlockKey {
    /// Names the block of `matrix` at `indices` in `run`.
    pub fn new(run: u64, matrix: u16, indices: Indices) -> Self {
        Self {
            run,
            matrix,
            indices,
        }
    }

    /// Parses the run-less form that [`Display`](fmt::Display) writes, `matrix/3.1.0`.
    pub fn parse(run: u64, text: &str) -> Result<Self, ParseKeyError> {
        let wrong = || ParseKeyError(text.chars().take(80).collect());
        let (matrix, indices) = text.split_once('/').ok_or_else(wrong)?;
        let mut at = [0i32; RANK_MAX];
        let mut len = 0;
        if !indices.is_empty() {
            for index in indices.split('.') {
                *at.get_mut(len).ok_or_else(wrong)? = i32::from_str(index).map_err(|_| wrong())?;
                len += 1;
            }
        }
        let matrix = u16::from_str(matrix).map_err(|_| wrong())?;
        let indices = Indices::from_i32(&at[..len]).ok_or_else(wrong)?;
        let key = Self {
            run,
            matrix,
            indices,
        };
        // Only the one canonical spelling names a block ("+1" and "01" do not).
        if key.to_string() == text {
            Ok(key)
        } else {
            Err(wrong())
        }
    }
}

/// `matrix/3.1.0`; the run is not shown, since all blocks one speaks of belong to one.
impl fmt::Display for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.matrix)?;
        self.indices.write(f, '.')
    }
}

/// `matrix/3.1.0@run`
impl fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}@{:016x}", self.run)
    }
}

/// A text that does not name a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name a block; expected matrix/i.j.k with at most {RANK_MAX} indices")]
pub struct ParseKeyError(String);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rkyv::rancor::Error;

    #[test]
    fn indices_have_a_bound() {
        assert_eq!(Indices::new(&[3, 1, 0]).unwrap().to_string(), "3,1,0");
        assert_eq!(Indices::new(&[]).unwrap().to_string(), "");
        assert_eq!(Indices::new(&[0; RANK_MAX]).unwrap().len(), RANK_MAX);
        assert!(Indices::new(&[0; RANK_MAX + 1]).is_none());
        assert!(Indices::new(&[i64::from(i32::MAX) + 1]).is_none());
        assert!(Indices::from_i32(&[0; RANK_MAX + 1]).is_none());
        assert_eq!(Indices::new(&[7, -2]).unwrap().get(1), Some(-2));
        assert_eq!(Indices::new(&[7, -2]).unwrap().get(2), None);
        assert_ne!(Indices::new(&[0]), Indices::new(&[0, 0]));
    }

    #[test]
    fn keys_are_read_in_one_spelling() {
        let read = |text| BlockKey::parse(9, text).map(|key| format!("{key:?}"));
        assert_eq!(read("2/3.-1.0").unwrap(), "2/3.-1.0@0000000000000009");
        assert_eq!(read("2/").unwrap(), "2/@0000000000000009");
        for wrong in [
            "",
            "2",
            "2/+1",
            "2/01",
            "2/1.",
            "70000/1",
            "2/../1",
            "2/1.1.1.1.1.1.1.1.1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rank_beyond_the_bound_does_not_become_indices() {
        let key = BlockKey::new(1, 2, Indices::new(&[5, 6]).unwrap());
        let mut bytes = rkyv::to_bytes::<Error>(&key).unwrap();
        assert_eq!(rkyv::from_bytes::<BlockKey, Error>(&bytes).unwrap(), key);
        let mut found = false;
        for place in 0..bytes.len() {
            let was = bytes[place];
            bytes[place] = 9;
            if let Err(error) = rkyv::from_bytes::<BlockKey, Error>(&bytes) {
                found |= error.to_string().contains("at most 8");
            }
            bytes[place] = was;
        }
        assert!(found, "one byte is the rank, and 9 in it is refused");
    }

    proptest! {
        #[test]
        fn keys_survive_text_and_rkyv(run: u64, matrix: u16, at in prop::collection::vec(any::<i32>(), 0..=RANK_MAX)) {
            let key = BlockKey::new(run, matrix, Indices::from_i32(&at).unwrap());
            prop_assert_eq!(BlockKey::parse(run, &key.to_string()).unwrap(), key);
            let bytes = rkyv::to_bytes::<Error>(&key).unwrap();
            prop_assert_eq!(rkyv::from_bytes::<BlockKey, Error>(&bytes).unwrap(), key);
        }

        #[test]
        fn garbage_is_a_key_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(key) = rkyv::from_bytes::<BlockKey, Error>(&bytes) {
                prop_assert_eq!(BlockKey::parse(key.run, &key.to_string()).unwrap(), key);
            }
        }
    }
}
