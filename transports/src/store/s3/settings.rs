//! What a user of an S3 store may set. Never reads the environment.

use std::fmt;
use std::time::Duration;

/// How to reach an S3 service, and the bounds of one store's requests. What is `None` comes from the
/// usual chain: variables such as `AWS_ENDPOINT_URL` and `AWS_PROFILE`, the shared files, the
/// machine's role.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct S3Settings {
    /// The service's address, such as `http://127.0.0.1:8333`.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The access key and its secret.
    pub keys: Option<S3Keys>,
    /// Bounds.
    pub limits: S3Limits,
}

/// An access key and its secret, which is never shown.
#[derive(Clone)]
pub struct S3Keys {
    /// The access key's id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
}

impl fmt::Debug for S3Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Keys({}, ..)", self.access_key_id)
    }
}

/// Bounds of one store's requests.
///
/// Memory beyond the caller's blocks: requests in flight x the buffers of a connection, 32 x 0.5 MiB
/// = 16 MiB. Bodies are read into and sent from the blocks themselves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct S3Limits {
    /// Requests, and so connections, at one time.
    pub requests_max: usize,
    /// Objects of at least this many bytes are written in parts.
    pub multipart_from: usize,
    /// Bytes of a part that is written and of a range that is read; at least 5 MiB, more where an
    /// object would have more than 10,000 parts.
    pub part_bytes: usize,
    /// Parts or ranges of one object at one time.
    pub parts_at_once: usize,
    /// Objects of one page of a listing, at most 1,000.
    pub page: u16,
    /// Times that one request is tried.
    pub tries_max: u32,
    /// The first wait before another try; later ones are longer.
    pub backoff_first: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the service may be silent.
    pub read_timeout: Duration,
    /// How long one try may take until the answer begins: 16 MiB at 1.2 Mbit/s.
    pub attempt_timeout: Duration,
}

impl Default for S3Limits {
    fn default() -> Self {
        Self {
            requests_max: 32,
            multipart_from: 64 << 20,
            part_bytes: 16 << 20,
            parts_at_once: 8,
            page: 1000,
            tries_max: 12,
            backoff_first: Duration::from_millis(50),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(120),
        }
    }
}

/// Most parts of an object.
const PARTS_MAX: usize = 10_000;

impl S3Limits {
    /// Bytes of each part but the last of an object of `len` bytes.
    pub(super) fn part_bytes(&self, len: usize) -> usize {
        self.part_bytes.max(len.div_ceil(PARTS_MAX)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_object_has_more_parts_than_s3_takes() {
        let limits = S3Limits::default();
        for len in [0, 1, 64 << 20, 160 << 30, (160 << 30) + 1, 5 << 40] {
            let part = limits.part_bytes(len);
            assert!(part >= 5 << 20 && len.div_ceil(part) <= PARTS_MAX, "{len}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let keys = S3Keys {
            access_key_id: "AKID".to_owned(),
            secret_access_key: "hidden".to_owned(),
        };
        let settings = S3Settings {
            keys: Some(keys),
            ..S3Settings::default()
        };
        let shown = format!("{settings:?}");
        assert!(shown.contains("AKID") && !shown.contains("hidden"));
    }
}
