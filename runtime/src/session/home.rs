//! Where the matrices of a session lie. Makes their names and removes them; never reads one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{BigMatrix, usage};
use crate::matrix::{MatrixSource, Place, zarr};
use crate::options::StoreChoice;
use crate::run::{RunError, new_run, remove_store, store_place};

/// A part of a store that goes with its session. Matrices there keep it.
#[derive(Debug)]
pub(super) struct Home {
    place: Place,
    /// The folder, if it was made for the session.
    temporary: Option<PathBuf>,
    made: AtomicU64,
}

/// A matrix that a session made: it goes with its last handle.
#[derive(Debug)]
pub(super) struct Kept {
    place: Place,
    _home: Arc<Home>,
}

impl Home {
    /// Chooses a part of the store that nobody else has.
    pub(super) fn open(store: &StoreChoice, is_remote: bool) -> Result<Self, RunError> {
        let number = new_run();
        // A store in memory is this process's own, but arrays have files.
        let store = match store {
            StoreChoice::Memory => &StoreChoice::Temporary,
            store => store,
        };
        let (place, is_temporary) = store_place(store, number)
            .ok_or_else(|| usage("a session needs a store with a place"))?;
        if let (true, Place::Folder(_)) = (is_remote && is_temporary, &place) {
            return Err(usage(
                "workers elsewhere need a store that they share: name s3://bucket/prefix",
            ));
        }
        let temporary = match &place {
            Place::Folder(folder) if is_temporary => Some(folder.clone()),
            _ => None,
        };
        // As a run's part of a store, so that what is left of a session that was killed is found with those.
        let place = place.below(&format!("{number:016x}"));
        if let Place::Folder(folder) = &place {
            std::fs::create_dir_all(folder)
                .map_err(|error| usage(format!("--store {}: {error}", folder.display())))?;
        }
        Ok(Self {
            place,
            temporary,
            made: AtomicU64::new(0),
        })
    }

    /// A place for one more matrix.
    pub(super) fn next(&self, name: &str) -> Place {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        self.place.below(&format!("{number}-{name}.zarr"))
    }

    /// A handle of the array that was written to one of the places.
    pub(super) fn adopt(self: &Arc<Self>, place: &Place) -> Result<BigMatrix, RunError> {
        let source = MatrixSource::open_zarr(place);
        let source = source.map_err(|error| RunError::Failed(error.to_string()))?;
        let kept = Kept {
            place: place.clone(),
            _home: Arc::clone(self),
        };
        Ok(BigMatrix::kept(source, kept))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Err(error) = zarr::remove(&self.place) {
            tracing::warn!(place = %self.place, %error, "a matrix of the session is left");
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(folder) = &self.temporary {
            remove_store(folder);
        } else if let Place::Folder(folder) = &self.place {
            // Whatever else is in it stays.
            let _ = std::fs::remove_dir(folder);
        }
    }
}
