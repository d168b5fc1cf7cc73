//! Text files that a user names, read up to a bound whatever they are. Never knows what is in them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a text of at most `bytes_max` bytes; from a pipe or device too, which have no length to be asked for.
///
/// # Errors
/// The file cannot be read, is longer, or is not UTF-8.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<String> {
    let bytes = read_bytes(path, bytes_max)?;
    let not_text = || io::Error::new(io::ErrorKind::InvalidData, "is no text in UTF-8");
    String::from_utf8(bytes).map_err(|_| not_text())
}

/// The same for bytes.
///
/// # Errors
/// The file cannot be read or is longer.
pub(crate) fn read_bytes(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let told = format!("has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, told));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_or_no_text_is_refused() {
        let endless = read(Path::new("/dev/zero"), 1000).unwrap_err();
        assert_eq!(endless.to_string(), "has more than 1000 bytes");
        let file = tempfile::NamedTempFile::new().unwrap();
        for (bytes, told) in [
            (&b"12345678"[..], None),
            (b"123456789", Some("has more than 8 bytes")),
            (b"\xff", Some("is no text in UTF-8")),
        ] {
            std::fs::write(file.path(), bytes).unwrap();
            let came = read(file.path(), 8).map_err(|error| error.to_string());
            assert_eq!(came.err().as_deref(), told);
        }
    }
}
