//! Where results go, by their names, and that no two places of a run are one.

use std::fs;
use std::path::{Path, PathBuf};

use peerwren_transports::store::Place;

use super::error::{OutputError, ShownPath};
use super::{npy, zarr};

/// Where a result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultPlace {
    /// A `.npy` file, written by the driver.
    Npy(PathBuf),
    /// A Zarr array, written by the workers.
    Zarr(Place),
}

impl ResultPlace {
    /// What a name stands for: `x.npy`, `x.zarr` or `s3://bucket/x.zarr`.
    ///
    /// # Errors
    /// Another name.
    pub fn parse(name: &Path) -> Result<Self, OutputError> {
        let refused = |reason: &str| OutputError::Refused {
            path: ShownPath::new(name),
            reason: reason.to_owned(),
        };
        let text = name.to_str();
        let is_s3 = text.is_some_and(|text| text.starts_with("s3://"));
        match name.extension().and_then(|extension| extension.to_str()) {
            Some("npy") if is_s3 => Err(refused(
                "a .npy file is written to this machine's disk alone; on S3 name a .zarr array",
            )),
            Some("npy") => Ok(Self::Npy(name.to_owned())),
            Some("zarr") => {
                let text = text.ok_or_else(|| refused("expected a name that is valid UTF-8"))?;
                match text.parse() {
                    Ok(Place::S3 { prefix, .. }) if prefix.is_empty() => Err(refused(
                        "expected s3://bucket/name.zarr, found a bucket alone",
                    )),
                    Ok(place) => Ok(Self::Zarr(place)),
                    Err(error) => Err(refused(&error.to_string())),
                }
            }
            _ => Err(refused("expected a name that ends in .npy or .zarr")),
        }
    }

    /// Checks, before any work, that the result can be written and would replace no input.
    ///
    /// # Errors
    /// It cannot, or something lies there that is not to be replaced.
    pub fn check_writable(&self, input: Option<&Place>) -> Result<(), OutputError> {
        if input.is_some_and(|input| overlap(&self.place(), input)) {
            return Err(OutputError::Refused {
                path: ShownPath::new(Path::new(&self.to_string())),
                reason: "is also an input; inputs are never overwritten".to_owned(),
            });
        }
        match self {
            Self::Npy(path) => npy::check_writable(path),
            Self::Zarr(place) => zarr::check_writable(place),
        }
    }

    /// The place, of a file too.
    pub fn place(&self) -> Place {
        match self {
            Self::Npy(path) => Place::Folder(path.clone()),
            Self::Zarr(place) => place.clone(),
        }
    }

    /// The same place for processes in other folders.
    pub(crate) fn absolute(&self) -> Place {
        absolute(self.place())
    }
}

impl std::fmt::Display for ResultPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Npy(path) => ShownPath::new(path).fmt(f),
            Self::Zarr(place) => place.fmt(f),
        }
    }
}

/// The same place for processes in other folders.
pub(super) fn absolute(place: Place) -> Place {
    match place {
        Place::Folder(folder) => Place::Folder(std::path::absolute(&folder).unwrap_or(folder)),
        place @ Place::S3 { .. } => place,
    }
}

/// Whether two places, which need not exist yet, are one, or one lies within the other.
pub fn overlap(one: &Place, other: &Place) -> bool {
    match (one, other) {
        (Place::Folder(one), Place::Folder(other)) => {
            let (Some(one), Some(other)) = (resolve(one), resolve(other)) else {
                return false;
            };
            let within = |inner: &Path, outer: &Path| inner.starts_with(outer) && outer.is_dir();
            one == other || within(&one, &other) || within(&other, &one)
        }
        (
            Place::S3 { bucket, prefix },
            Place::S3 {
                bucket: other_bucket,
                prefix: other,
            },
        ) => {
            let within = |inner: &str, outer: &str| {
                outer.is_empty()
                    || inner
                        .strip_prefix(outer)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            bucket == other_bucket && (within(prefix, other) || within(other, prefix))
        }
        _ => false,
    }
}

/// The path with its links followed, also where its last part is not there yet.
fn resolve(path: &Path) -> Option<PathBuf> {
    if let Ok(path) = fs::canonicalize(path) {
        return Some(path);
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Some(fs::canonicalize(parent).ok()?.join(path.file_name()?))
}
