//! Deployment packages: unpacks a zip as Lambda does. Never runs what it unpacks.

use std::fs;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::wire::Refusal;

/// Largest package in a request: 50 MiB, as base64 within JSON 70,167,211 bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 70_167_211;
const ZIPPED_BYTES_MAX: usize = 50 << 20;
const UNZIPPED_BYTES_MAX: u64 = 250 << 20;

/// Digest of a package, in base64.
pub(crate) fn digest(zip: &[u8]) -> String {
    aws_smithy_types::base64::encode(Sha256::digest(zip))
}

/// Unpacks `zip` into `folder`, which must not exist.
pub(crate) fn unpack(zip: &[u8], folder: &Path) -> Result<(), Refusal> {
    if zip.len() > ZIPPED_BYTES_MAX {
        return Err(Refusal::new(
            413,
            "RequestEntityTooLargeException",
            format!("Request must be smaller than {REQUEST_BYTES_MAX} bytes for the operation"),
        ));
    }
    let not_a_zip = |_| {
        let code = "InvalidParameterValueException";
        Refusal::new(
            400,
            code,
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        )
    };
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(not_a_zip)?;
    let mut left = UNZIPPED_BYTES_MAX;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(not_a_zip)?;
        // Names that would leave the folder are none.
        let Some(name) = entry.enclosed_name() else {
            continue;
        };
        let path = folder.join(name);
        if entry.is_dir() {
            fs::create_dir_all(&path).map_err(service_error)?;
            continue;
        }
        fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(service_error)?;
        let mut file = fs::File::create(&path).map_err(service_error)?;
        let written =
            io::copy(&mut (&mut entry).take(left + 1), &mut file).map_err(service_error)?;
        left = left.checked_sub(written).ok_or_else(|| {
            Refusal::invalid(format!(
                "Unzipped size must be smaller than {UNZIPPED_BYTES_MAX} bytes"
            ))
        })?;
        // A package from a system without permissions has none; Lambda needs the executable bit.
        let mode = entry.unix_mode().unwrap_or(0o644);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o777 | 0o400))
            .map_err(service_error)?;
    }
    Ok(())
}

fn service_error(error: io::Error) -> Refusal {
    Refusal::new(500, "ServiceException", error.to_string())
}

/// Makes a package of one executable named `bootstrap`.
pub fn of_bootstrap(executable: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    zip.start_file("bootstrap", options)
        .and_then(|()| Ok(io::Write::write_all(&mut zip, executable)?))
        .expect("a Vec takes all");
    zip.finish().expect("a Vec takes all").into_inner()
}
