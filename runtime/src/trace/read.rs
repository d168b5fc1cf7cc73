//! Reads the file of a trace again, entry by entry, for whoever wants some of them. Keeps none.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::form::{About, Entry, FORM};

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be read.
    #[error("trace {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no trace.
    #[error("trace {path}: expected a file that `--trace` of a run has written, found {found}")]
    NoTrace {
        /// The file.
        path: String,
        /// What it is instead.
        found: String,
    },
}

/// Who is told what a trace has.
pub(super) trait Reader {
    /// What the file says of its run; before any entry.
    fn about(&mut self, _about: &About) {}

    /// One entry, in the order of the file.
    fn take(&mut self, entry: Entry);
}

/// Tells a reader all that a trace has.
///
/// # Errors
/// The file cannot be read or is no trace.
pub(super) fn read(path: &Path, reader: &mut dyn Reader) -> Result<About, TraceError> {
    let shown = path.to_string_lossy().escape_debug().to_string();
    let unreadable = |source| TraceError::Unreadable {
        path: shown.clone(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(file));
    let about = Top(reader).deserialize(&mut json);
    let about = about.map_err(|error| match error.io_error_kind() {
        Some(kind) => unreadable(kind.into()),
        None => TraceError::NoTrace {
            path: shown.clone(),
            found: error.to_string(),
        },
    })?;
    let about = about.filter(|about| about.peerwren_trace == FORM);
    about.ok_or_else(|| TraceError::NoTrace {
        path: shown.clone(),
        found: "another one's".to_owned(),
    })
}

struct Top<'a>(&'a mut dyn Reader);

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = Option<About>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<About>, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Option<About>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `otherData` and `traceEvents`")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Option<About>, M::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "otherData" => {
                    let about: About = map.next_value()?;
                    self.0.about(&about);
                    found = Some(about);
                }
                "traceEvents" => map.next_value_seed(Events(&mut *self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

struct Events<'a>(&'a mut dyn Reader);

impl<'de> DeserializeSeed<'de> for Events<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Events<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of trace events")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        while let Some(entry) = seq.next_element::<Entry>()? {
            self.0.take(entry);
        }
        Ok(())
    }
}
