//! ScaLAPACK as the comparisons with it have it: its program in `benches/rivals` is built against Debian's or
//! MKL's, and ranks are started. Never chooses what is run, and reads no figure.

use std::path::{Path, PathBuf};

use crate::call::Call;
use crate::compile::{compile, expect_packages, version};
use crate::python::Python;

/// Block sizes of which ScaLAPACK takes the best.
pub const BLOCKS: [u32; 4] = [32, 64, 128, 256];

/// Packages of Debian that ScaLAPACK needs.
const PACKAGES: [&str; 5] = [
    "libscalapack-openmpi-dev",
    "libopenmpi-dev",
    "openmpi-bin",
    "libopenblas0-pthread",
    "gcc",
];
/// Packages of Debian whose versions its figures depend on.
const TOLD: [&str; 3] = [
    "libscalapack-openmpi2.2",
    "libopenblas0-pthread",
    "openmpi-bin",
];
/// MKL's ScaLAPACK, its BLACS for Open MPI, and the rest of MKL on one thread.
const MKL: [&str; 5] = [
    "-l:libmkl_scalapack_lp64.so.2",
    "-l:libmkl_intel_lp64.so.3",
    "-l:libmkl_sequential.so.3",
    "-l:libmkl_core.so.3",
    "-l:libmkl_blacs_openmpi_lp64.so.2",
];

/// Builds a program from sources in `benches/rivals` against Debian's ScaLAPACK.
///
/// # Errors
/// There is no compiler, ScaLAPACK or Open MPI, or the sources do not compile.
pub fn build(name: &str, sources: &[&str], options: &[&str]) -> Result<PathBuf, String> {
    expect_packages(&PACKAGES)?;
    let words = options.iter().chain(&["-lscalapack-openmpi"]);
    let words: Vec<String> = words.map(|word| (*word).to_owned()).collect();
    compile("mpicc", name, sources, &words)
}

/// Builds a program from sources in `benches/rivals` against MKL's ScaLAPACK.
///
/// # Errors
/// There is no compiler or Open MPI, MKL lacks a library, or the sources do not compile.
pub fn build_with_mkl(name: &str, sources: &[&str], python: &Python) -> Result<PathBuf, String> {
    expect_packages(&PACKAGES)?;
    let mut words = python.link_words();
    // They call each other in circles.
    words.push("-Wl,--no-as-needed".to_owned());
    words.extend(MKL.map(str::to_owned));
    compile("mpicc", name, sources, &words)
}

/// The call of a program on some ranks of one thread each, which are placed as mpirun's options say; the
/// program's own arguments are to follow.
pub fn ranks(count: u32, placed: &[&str], program: &Path) -> Call {
    Call::new("mpirun")
        .args(["-n", &count.to_string()])
        .args(["--quiet", "--allow-run-as-root"])
        .args(placed)
        .args([program.to_string_lossy()])
        .env("OPENBLAS_NUM_THREADS", "1")
        .env("OMP_NUM_THREADS", "1")
}

/// The installed packages that ScaLAPACK depends on, with their versions.
pub fn packages() -> String {
    let told = TOLD.map(|package| {
        let version = version(package);
        format!("{package} {}", version.as_deref().unwrap_or("unknown"))
    });
    told.join(", ")
}
