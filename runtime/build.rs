//! Tells the binary which commit it was built from.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=PEERWREN_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let commit = std::env::var("PEERWREN_COMMIT")
        .ok()
        .or_else(of_package)
        .or_else(of_checkout)
        .unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=PEERWREN_COMMIT={}", commit.trim());
}

/// The commit that cargo notes in a published package.
fn of_package() -> Option<String> {
    let text = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    let sha = rest.split('"').nth(1)?;
    Some(sha.get(..12)?.to_owned())
}

/// The commit of a checkout, if this file belongs to it and not to a project around it.
fn of_checkout() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    let folder = git(&["rev-parse", "--absolute-git-dir"])?;
    // Its log of commits is appended to whenever the commit changes.
    let log = Path::new(&folder).join("logs/HEAD");
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
