//! Where objects lie, as a user writes it. Never looks whether anything is there.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where objects lie: a folder, or a prefix in a bucket.
///
/// ```
/// use peerwren_transports::store::Place;
/// let place: Place = "s3://my-bucket/runs/".parse()?;
/// assert_eq!(place.to_string(), "s3://my-bucket/runs");
/// assert_eq!(place.below("7").to_string(), "s3://my-bucket/runs/7");
/// assert_eq!("blocks".parse(), Ok(Place::Folder("blocks".into())));
/// # Ok::<(), peerwren_transports::store::PlaceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A bucket of S3 or of a service that speaks its protocol.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// What every key starts with, without the `/` after it; may be empty.
        prefix: String,
    },
}

impl Place {
    /// Names what lies below this place.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.join(name)),
            Self::S3 { bucket, prefix } => {
                let between = if prefix.is_empty() { "" } else { "/" };
                Self::S3 {
                    bucket: bucket.clone(),
                    prefix: format!("{prefix}{between}{name}"),
                }
            }
        }
    }

    fn s3(rest: &str) -> Result<Self, &'static str> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let named = (3..=63).contains(&bucket.len())
            && bucket.starts_with(edge)
            && bucket.ends_with(edge)
            && bucket.chars().all(|c| edge(c) || c == '-' || c == '.');
        if !named {
            return Err("a bucket's name has 3 to 63 of a-z, 0-9, `-` and `.`");
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() && !is_name(prefix) {
            return Err("a prefix is parts with `/` between them, none empty, `.` or `..`");
        }
        if prefix.len() > PREFIX_BYTES_MAX {
            return Err("a prefix has at most 512 bytes");
        }
        Ok(Self::S3 {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

/// Longest prefix: a key has 1,024 bytes at most, and names below it need their share.
const PREFIX_BYTES_MAX: usize = 512;

/// Whether a text names one object: parts with `/` between them, none of them empty, `.` or `..`.
pub(super) fn is_name(text: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..");
    text.split('/').all(part) && !text.contains(|c: char| c.is_control())
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let wrong = |reason| PlaceError {
            text: text.chars().take(200).collect(),
            reason,
        };
        match text.split_once("://") {
            Some(("s3", rest)) => Self::s3(rest).map_err(wrong),
            // A folder may have such a name, but whoever writes it means a service.
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                Err(wrong("the only service known is s3"))
            }
            _ if text.is_empty() => Err(wrong("it is empty")),
            _ => Ok(Self::Folder(text.into())),
        }
    }
}

/// The text that is parsed; a folder's bytes that are no UTF-8 are lost.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// A text that names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {reason}; expected a folder or s3://bucket/prefix")]
pub struct PlaceError {
    text: String,
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        for (text, written) in [
            ("folder", "folder"),
            ("/a/b c/", "/a/b c/"),
            ("s3:/a", "s3:/a"),
            ("a/b://c", "a/b://c"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://my.bucket-1/a/b", "s3://my.bucket-1/a/b"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), written, "{text}");
            assert_eq!(place, written.parse().unwrap());
        }
        let below = |text: &str| text.parse::<Place>().unwrap().below("x").to_string();
        assert_eq!(below("s3://bucket"), "s3://bucket/x");
        assert_eq!(below("s3://bucket/a"), "s3://bucket/a/x");
        assert_eq!(below("/a"), "/a/x");
    }

    #[test]
    fn what_names_no_place_is_told() {
        for (text, reason) in [
            ("", "it is empty"),
            ("gs://bucket/a", "the only service known is s3"),
            ("S3://bucket/a", "the only service known is s3"),
            ("s3://", "a bucket's name has"),
            ("s3://Bucket", "a bucket's name has"),
            ("s3://ab/c", "a bucket's name has"),
            ("s3://-bucket/c", "a bucket's name has"),
            ("s3://bucket//a", "a prefix is parts"),
            ("s3://bucket/a/../b", "a prefix is parts"),
            ("s3://bucket/a\n", "a prefix is parts"),
        ] {
            let told = text.parse::<Place>().unwrap_err().to_string();
            assert!(told.contains(reason), "{text}: {told}");
            assert!(told.ends_with("expected a folder or s3://bucket/prefix"));
        }
        let long = format!("s3://bucket/{}", "a".repeat(513));
        assert!(long.parse::<Place>().is_err());
    }
}
