//! Deployment packages: a zip with an executable `bootstrap` at its top, for one architecture. Never
//! uploads one.

use std::fmt;
use std::io::{Cursor, ErrorKind, Read, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::text;

/// Largest zip that Lambda takes in a request.
pub(crate) const ZIP_BYTES_MAX: usize = 50 << 20;
/// Largest executable that is read: what Lambda takes unpacked.
const UNPACKED_BYTES_MAX: u64 = 250 << 20;
/// Where an ELF header says for which machine it is, and its end.
const ELF_MACHINE: std::ops::Range<usize> = 18..20;

/// A CPU that Lambda has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `x86_64`.
    X86_64,
    /// `arm64`: Graviton.
    Arm64,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        })
    }
}

/// A package that can be deployed.
#[derive(Clone, Debug)]
pub struct Package {
    pub(crate) zip: Vec<u8>,
    architecture: Architecture,
}

/// A file that is no package.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct PackageError {
    path: String,
    reason: String,
}

impl Package {
    /// Reads a zip as it is, or puts an executable into one.
    ///
    /// # Errors
    /// The file cannot be read, is neither a zip nor a Linux executable of an architecture that Lambda has,
    /// has no executable `bootstrap`, or is too large.
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        let refused = |reason: String| PackageError {
            path: path.to_string_lossy().escape_debug().to_string(),
            reason,
        };
        let bytes = text::read_bytes(path, UNPACKED_BYTES_MAX);
        let bytes = bytes.map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => refused(format!("{error}, the most that Lambda takes")),
            _ => refused(error.to_string()),
        })?;
        let package = if bytes.starts_with(b"PK\x03\x04") {
            Self::of_zip(bytes)
        } else if bytes.starts_with(b"\x7fELF") {
            Self::of_executable(&bytes)
        } else {
            Err("is neither a zip nor a Linux executable; expected what `cargo lambda build --release \
                 --output-format zip` makes, or an executable `bootstrap`"
                .to_owned())
        };
        package.map_err(refused)
    }

    /// For which CPU its `bootstrap` is.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Its size in bytes.
    pub fn zip_bytes(&self) -> usize {
        self.zip.len()
    }

    fn of_zip(zip: Vec<u8>) -> Result<Self, String> {
        let broken = |error| format!("is no sound zip: {error}");
        let mut archive = ZipArchive::new(Cursor::new(&zip)).map_err(broken)?;
        let mut entry = archive.by_name("bootstrap").map_err(|_| {
            "has no `bootstrap` at its top, which is what Lambda starts; name the binary so"
                .to_owned()
        })?;
        if entry.unix_mode().is_some_and(|mode| mode & 0o111 == 0) {
            return Err(
                "its `bootstrap` is not executable; zip it with its permissions".to_owned(),
            );
        }
        let mut header = [0; ELF_MACHINE.end];
        entry
            .read_exact(&mut header)
            .map_err(|error| format!("its `bootstrap` cannot be read: {error}"))?;
        let architecture =
            architecture(&header).map_err(|reason| format!("its `bootstrap` {reason}"))?;
        drop(entry);
        drop(archive);
        Self::checked(zip, architecture)
    }

    fn of_executable(executable: &[u8]) -> Result<Self, String> {
        let architecture = architecture(executable)?;
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        // No date: the same executable gives the same package.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(0o755);
        let written = writer
            .start_file("bootstrap", options)
            .and_then(|()| Ok(writer.write_all(executable)?))
            .and_then(|()| writer.finish());
        let zip = written.map_err(|error| format!("cannot be zipped: {error}"))?;
        Self::checked(zip.into_inner(), architecture)
    }

    fn checked(zip: Vec<u8>, architecture: Architecture) -> Result<Self, String> {
        if zip.len() > ZIP_BYTES_MAX {
            return Err(format!(
                "has {} bytes zipped; Lambda takes at most {ZIP_BYTES_MAX} (50 MiB) in a request: build with \
                 --release and strip the executable (`strip bootstrap`)",
                zip.len()
            ));
        }
        Ok(Self { zip, architecture })
    }
}

/// The machine that an ELF header names.
fn architecture(header: &[u8]) -> Result<Architecture, String> {
    let machine = header
        .get(ELF_MACHINE)
        .filter(|_| header.starts_with(b"\x7fELF"));
    let machine = machine.ok_or("is no Linux executable")?;
    // 64 bits, little-endian.
    if header[4..6] != [2, 1] {
        return Err("is no 64-bit executable".to_owned());
    }
    match u16::from_le_bytes([machine[0], machine[1]]) {
        62 => Ok(Architecture::X86_64),
        183 => Ok(Architecture::Arm64),
        other => Err(format!(
            "is for ELF machine {other}; Lambda has x86_64 (62) and arm64 (183)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn elf(machine: u16) -> Vec<u8> {
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(64, 0);
        header[ELF_MACHINE].copy_from_slice(&machine.to_le_bytes());
        header
    }

    fn zipped(name: &str, bytes: &[u8], mode: u32) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().unix_permissions(mode);
        writer.start_file(name, options).expect("a Vec takes all");
        writer.write_all(bytes).expect("a Vec takes all");
        writer.finish().expect("a Vec takes all").into_inner()
    }

    fn read(bytes: &[u8]) -> Result<Package, String> {
        let path = std::env::temp_dir().join(format!(
            "peerwren-package-{:?}",
            std::thread::current().id()
        ));
        fs::write(&path, bytes).expect("written");
        let package = Package::read(&path).map_err(|error| error.reason);
        fs::remove_file(&path).expect("removed");
        package
    }

    #[test]
    fn an_executable_and_its_zip_are_one_package() {
        for (machine, architecture) in [(62, Architecture::X86_64), (183, Architecture::Arm64)] {
            let package = read(&elf(machine)).expect("a package");
            assert_eq!(package.architecture(), architecture);
            let again = read(&package.zip).expect("a package");
            assert_eq!(
                (again.architecture(), &again.zip),
                (architecture, &package.zip)
            );
            assert_eq!(
                read(&elf(machine)).expect("a package").zip,
                package.zip,
                "no date in it"
            );
        }
    }

    #[test]
    fn what_is_no_package_is_refused_with_what_to_do() {
        let cases = [
            (b"hello".to_vec(), "is neither a zip nor a Linux executable"),
            (
                elf(3),
                "is for ELF machine 3; Lambda has x86_64 (62) and arm64 (183)",
            ),
            (
                zipped("worker", &elf(62), 0o755),
                "has no `bootstrap` at its top",
            ),
            (
                zipped("bootstrap", &elf(62), 0o644),
                "its `bootstrap` is not executable",
            ),
            (
                zipped("bootstrap", b"#!/bin/sh\nexec ls ....", 0o755),
                "its `bootstrap` is no Linux executable",
            ),
            (
                zipped("bootstrap", b"", 0o755),
                "its `bootstrap` cannot be read",
            ),
            (b"PK\x03\x04 broken".to_vec(), "is no sound zip"),
        ];
        for (bytes, expected) in cases {
            let reason = read(&bytes).expect_err(expected);
            assert!(
                reason.starts_with(expected),
                "{reason:?} should start with {expected:?}"
            );
        }
    }

    #[test]
    fn a_large_package_is_refused() {
        let reason =
            Package::checked(vec![0; ZIP_BYTES_MAX + 1], Architecture::Arm64).expect_err("large");
        assert!(reason.contains("strip"), "{reason}");
    }
}
