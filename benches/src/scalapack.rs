//! Debian's ScaLAPACK as the comparisons with it have it: the programs in `benches/scalapack` are built, and
//! their ranks started. Never chooses what is run, and reads no figure.

use std::path::{Path, PathBuf};

use crate::call::Call;

/// Block sizes of which ScaLAPACK takes the best.
pub const BLOCKS: [u32; 4] = [32, 64, 128, 256];

/// How what the comparisons need is installed.
pub const INSTALL: &str =
    "apt-get install libscalapack-openmpi-dev libopenmpi-dev openmpi-bin libopenblas0-pthread gcc";

/// Builds a program beside this one from sources in `benches/scalapack`, with further options of the
/// compiler; returns where it lies.
///
/// # Errors
/// There is no compiler, ScaLAPACK or Open MPI, or the sources do not compile.
pub fn build(name: &str, sources: &[&str], options: &[&str]) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let program = own.with_file_name(name);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scalapack");
    let sources = sources.iter().map(|source| folder.join(source));
    Call::new("mpicc")
        .args(["-O2", "-std=c11", "-Wall", "-Wextra"])
        .args(options)
        .args(["-o", &program.to_string_lossy()])
        .args(sources.map(|source| source.to_string_lossy().into_owned()))
        .args(["-lscalapack-openmpi", "-lm"])
        .run()
        .map_err(|error| format!("{error}\n{name} needs ScaLAPACK and Open MPI: {INSTALL}"))?;
    Ok(program)
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
    let listed = Call::new("dpkg-query")
        .args([
            "--show",
            "--showformat",
            "${db:Status-Status} ${Package} ${Version}\\n",
        ])
        .args(["libscalapack-openmpi*", "libopenblas0*", "openmpi-bin"])
        .run();
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => return format!("unknown ({error})"),
    };
    let installed: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .collect();
    installed.join(", ")
}
