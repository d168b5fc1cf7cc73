//! The programs in C of `benches/rivals`: which Debian packages they need, and how they are built. Never runs
//! them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::call::Call;

/// The folder that holds what rivals are built from.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals")
}

/// The folder for what is built and installed: beside that of this program, and nobody else's.
///
/// # Errors
/// It cannot be made.
pub fn folder() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let target = own.parent().and_then(Path::parent);
    let folder = target.unwrap_or(Path::new(".")).join("rivals");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Refuses when packages of Debian are missing, with the command that installs them.
///
/// # Errors
/// Some are missing.
pub fn expect_packages(packages: &[&str]) -> Result<(), String> {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| version(package).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" ");
    Err(format!(
        "packages are missing: {missing}; install them with: apt-get install {missing}"
    ))
}

/// The version of a package of Debian, if it is installed.
pub fn version(package: &str) -> Option<String> {
    let told = Call::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status} ${Version}"])
        .args([package])
        .run()
        .ok()?;
    Some(told.strip_prefix("installed ")?.to_owned())
}

/// Builds a program or library from sources in [`sources`], with further words for the compiler; returns where
/// it lies.
///
/// # Errors
/// There is no compiler, or the sources do not compile.
pub fn compile(
    compiler: &str,
    name: &str,
    files: &[&str],
    words: &[String],
) -> Result<PathBuf, String> {
    let built = folder()?.join(name);
    let files = files.iter().map(|file| sources().join(file));
    Call::new(compiler)
        .args(["-O2", "-std=c11", "-Wall", "-Wextra"])
        .args(["-o", &built.to_string_lossy()])
        .args(files.map(|file| file.to_string_lossy().into_owned()))
        // Libraries follow what needs them.
        .args(words)
        .args(["-lm", "-ldl"])
        .run()?;
    Ok(built)
}
