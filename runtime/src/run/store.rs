//! The store of one run: where it is, what of it is removed when.

use std::path::{Path, PathBuf};

use peerwren_transports::store::{BlockStore, Place};

use super::{RunError, runtime};
use crate::options::{MachineFacts, StoreChoice};

/// The store of one run.
pub(super) struct RunStore {
    pub(super) store: BlockStore,
    /// Where it is for other processes; nowhere if it is this one's memory.
    pub(super) place: Option<Place>,
    /// The folder, if it was made for the run.
    pub(super) temporary: Option<PathBuf>,
    run: u64,
}

impl RunStore {
    /// Opens the store; one of a run that is resumed must be there.
    pub(super) async fn open(
        place: Option<(Place, bool)>,
        is_resumed: bool,
        run: u64,
    ) -> Result<Self, RunError> {
        let Some((place, is_temporary)) = place else {
            let free = MachineFacts::read().memory_available_bytes;
            return Ok(Self {
                store: BlockStore::memory(usize::try_from(free).unwrap_or(usize::MAX)),
                place: None,
                temporary: None,
                run,
            });
        };
        let store = if is_resumed {
            BlockStore::join(&place).await
        } else {
            BlockStore::open(&place).await
        };
        let temporary = match &place {
            Place::Folder(folder) if is_temporary => Some(folder.clone()),
            _ => None,
        };
        Ok(Self {
            store: store.map_err(|error| RunError::Usage(error.to_string()))?,
            place: Some(place),
            temporary,
            run,
        })
    }

    /// The store's name as a worker elsewhere reads it.
    pub(super) fn name(&self) -> String {
        self.place
            .as_ref()
            .map_or_else(String::new, ToString::to_string)
    }

    /// Where the run's objects lie.
    pub(super) fn run_place(&self) -> Result<Place, RunError> {
        let place = self.place.as_ref().ok_or_else(|| {
            RunError::Usage("workers elsewhere need a store that they share".to_owned())
        })?;
        Ok(place.below(&format!("{:016x}", self.run)))
    }

    /// Removes the run's blocks, and the folder if it was made for the run.
    pub(super) async fn clear(self) {
        if let Err(error) = self.store.delete_run(self.run).await {
            tracing::warn!(%error, "blocks of the run are left in the store");
        }
        if let Some(folder) = &self.temporary {
            remove_store(folder);
        }
    }
}

/// Where a run's store is for other processes too, and whether it is made for the run and goes with it;
/// nowhere if it is this process's memory.
pub(crate) fn store_place(choice: &StoreChoice, run: u64) -> Option<(Place, bool)> {
    let absolute =
        |folder: &Path| std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    match choice {
        StoreChoice::Memory => None,
        StoreChoice::Folder(folder) => Some((Place::Folder(absolute(folder)), false)),
        StoreChoice::Temporary => {
            let folder = std::env::temp_dir().join(format!("peerwren-{run:016x}"));
            Some((Place::Folder(absolute(&folder)), true))
        }
        StoreChoice::S3(place) => Some((place.clone(), false)),
    }
}

/// Removes what a run left in a store, and the store if it was made for the run; none there is no error.
pub(crate) fn discard(place: &Place, is_temporary: bool, run: u64) -> Result<(), RunError> {
    if let Place::Folder(folder) = place
        && !folder.exists()
    {
        return Ok(());
    }
    runtime().block_on(async {
        let opened = RunStore::open(Some((place.clone(), is_temporary)), true, run).await?;
        let deleted = opened.store.delete_run(run).await;
        deleted.map_err(|error| RunError::Failed(error.to_string()))?;
        if let Some(folder) = &opened.temporary {
            remove_store(folder);
        }
        Ok(())
    })
}

/// Removes a temporary store's folder, also while others still write into it: under another name
/// nobody finds it any more.
pub(crate) fn remove_store(folder: &Path) {
    let removed = || {
        let gone = folder.with_extension(format!("{}.gone", std::process::id()));
        std::fs::rename(folder, &gone)?;
        std::fs::remove_dir_all(&gone)
    };
    if let Err(error) = removed()
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "cannot be removed");
    }
}
