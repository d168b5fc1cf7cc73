//! What is checked before a run writes an array: that it can be written, and what it would replace.

use std::fs;
use std::path::Path;

use peerwren_transports::store::{Objects, Place};

use super::array::{Found, kept, look};
use super::input::wait;
use crate::matrix::error::{OutputError, ShownPath};
use crate::matrix::npy::{cannot_create, create_beside};

/// Checks, before any work, that an array can be written to `place` and would replace nothing but an
/// array, whole or unfinished; blocks.
///
/// # Errors
/// The place cannot be written, or something else lies there.
pub fn check_writable(place: &Place) -> Result<(), OutputError> {
    let shown = place.to_string();
    let refused = |reason: String| OutputError::Refused {
        path: ShownPath::new(Path::new(&shown)),
        reason,
    };
    let objects = match place {
        Place::Folder(folder) => match fs::metadata(folder) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(refused("is a file; a Zarr array is a folder".into()));
            }
            Ok(_) => {
                // Trying is the only check that knows every file system, mount and permission.
                let inside = folder.join("zarr.json");
                create_beside(&inside).map_err(|error| cannot_create(&inside, error))?;
                wait(Objects::join(place))
            }
            Err(_) => {
                let made = create_beside(folder).map_err(|error| cannot_create(folder, error));
                return made.map(drop);
            }
        },
        Place::S3 { .. } => wait(Objects::open(place)),
    };
    let objects = objects.map_err(|error| refused(error.to_string()))?;
    match wait(look(&objects)).map_err(|error| refused(error.to_string()))? {
        Found::Replaceable => Ok(()),
        Found::Other(found) => Err(kept(place, &found)),
    }
}
