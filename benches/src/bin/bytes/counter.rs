//! ScaLAPACK with the counter between it and MPI (`benches/rivals/count.c`), built, checked and run.
//! Takes no figure before the counter has counted known traffic exactly, and before every function of MPI
//! that a loaded library calls is one that is counted or one that moves no payload.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use peerwren_benches::call::Call;
use peerwren_benches::report::parse;
use peerwren_benches::scalapack::{build, ranks};

use crate::cases::Case;

/// Ranks that count known traffic: halves of more than two, and no power of two.
const CHECK_RANKS: u32 = 6;
/// There may be more ranks than cores: nothing is timed.
const PLACED: [&str; 3] = ["--oversubscribe", "--bind-to", "none"];
/// Functions of MPI that move no payload, or take what was counted where it was sent.
const MOVE_NOTHING: [&str; 35] = [
    "MPI_Abort",
    "MPI_Barrier",
    "MPI_Comm_c2f",
    "MPI_Comm_create",
    "MPI_Comm_dup",
    "MPI_Comm_f2c",
    "MPI_Comm_free",
    "MPI_Comm_get_attr",
    "MPI_Comm_group",
    "MPI_Comm_rank",
    "MPI_Comm_size",
    "MPI_Comm_split",
    "MPI_Error_class",
    "MPI_Finalize",
    "MPI_Group_free",
    "MPI_Group_incl",
    "MPI_Init",
    "MPI_Initialized",
    "MPI_Irecv",
    "MPI_Op_create",
    "MPI_Op_free",
    "MPI_Pack",
    "MPI_Pack_size",
    "MPI_Recv",
    "MPI_Testall",
    "MPI_Type_commit",
    "MPI_Type_create_struct",
    "MPI_Type_free",
    "MPI_Type_indexed",
    "MPI_Type_match_size",
    "MPI_Type_vector",
    "MPI_Unpack",
    "MPI_Wait",
    "MPI_Waitall",
    "MPI_Wtime",
];

/// What the ranks of one call received from each other, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// By calls that send to one rank.
    pub(crate) point_bytes: u64,
    /// By calls among all ranks of a communicator.
    pub(crate) collective_bytes: u64,
}

impl Counted {
    /// By both.
    pub(crate) fn bytes(&self) -> u64 {
        self.point_bytes + self.collective_bytes
    }
}

/// ScaLAPACK, counted.
pub(crate) struct Counter {
    rival: PathBuf,
}

impl Counter {
    /// Builds the counter and checks it; returns what the check says, too.
    ///
    /// # Errors
    /// It does not compile, a library moves data in a way that is not counted, or known traffic is counted
    /// wrongly.
    pub(crate) fn new() -> Result<(Self, String), String> {
        let counted = ["-DCOUNT"];
        let check = build("count-check", &["count_check.c", "count.c"], &counted)?;
        let rival = build(
            "scalapack-counted",
            &["scalapack.c", "kernels.c", "count.c"],
            &counted,
        )?;
        expect_all_counted(&rival)?;
        let said = ranks(CHECK_RANKS, &PLACED, &check).run()?;
        Ok((Self { rival }, said.trim().to_owned()))
    }

    /// Runs ScaLAPACK once.
    ///
    /// # Errors
    /// It fails, or its result is wrong.
    pub(crate) fn count(&self, case: &Case, nb: u32) -> Result<Counted, String> {
        let Case { p, q, .. } = case;
        let call = ranks(case.sides(), &PLACED, &self.rival)
            .args(case.rival().split_whitespace())
            .args([nb, *p, *q].map(|number| number.to_string()));
        let told = parse(&call.to_string(), &call.run()?)?;
        let bytes = |name: &str| {
            let value = &told[name];
            value
                .as_u64()
                .ok_or_else(|| format!("`{call}`: expected a number as `{name}`, got {value}"))
        };
        let counted = Counted {
            point_bytes: bytes("point_bytes")?,
            collective_bytes: bytes("collective_bytes")?,
        };
        if counted.bytes() == 0 {
            return Err(format!(
                "`{call}`: expected bytes between its ranks, counted none"
            ));
        }
        Ok(counted)
    }
}

/// Looks at the libraries that a counted program loads; MPI's own call each other below the counter.
fn expect_all_counted(program: &Path) -> Result<(), String> {
    let program = program.to_string_lossy();
    let counted = symbols(&program, "--defined-only")?;
    let loaded = Call::new("ldd").args([&program]).run()?;
    for (name, library) in loaded.lines().filter_map(loaded_library) {
        if name.starts_with("libmpi") {
            continue;
        }
        let wanted = symbols(library, "--undefined-only")?;
        let uncounted = uncounted(&wanted, &counted);
        if !uncounted.is_empty() {
            return Err(format!(
                "{library}: expected calls of MPI that are counted or move nothing, got {}: add them to \
                 benches/rivals/count.c, or to the list in benches/src/bin/bytes/counter.rs",
                uncounted.join(", ")
            ));
        }
    }
    Ok(())
}

/// Name and path in a line of ldd; none for what the system itself brings.
fn loaded_library(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(" => ")?;
    let (path, _) = rest.split_once(" (")?;
    Some((name.trim(), path))
}

/// The names that a program or library exports (`--defined-only`) or wants (`--undefined-only`).
fn symbols(file: &str, which: &str) -> Result<BTreeSet<String>, String> {
    let listed = Call::new("nm")
        .args(["--dynamic", "--format=posix", which, file])
        .run()?;
    // A name may be followed by `@` and a version.
    let names = listed.lines().filter_map(|line| {
        let name = line.split_whitespace().next()?;
        Some(name.split('@').next()?.to_owned())
    });
    Ok(names.collect())
}

/// What of the wanted names is a function of MPI, by C or by Fortran, whose payload would not be counted.
fn uncounted<'a>(wanted: &'a BTreeSet<String>, counted: &BTreeSet<String>) -> Vec<&'a str> {
    let of_mpi = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["mpi_", "pmpi_", "mpix_"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    wanted
        .iter()
        .map(String::as_str)
        .filter(|name| of_mpi(name) && !counted.contains(*name) && !MOVE_NOTHING.contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_would_not_be_counted_is_named() {
        let counted = names(&["MPI_Send", "MPI_Bcast", "main"]);
        let check = |wanted: &[&str], expected: &[&str]| {
            let wanted = names(wanted);
            assert_eq!(uncounted(&wanted, &counted), expected, "{wanted:?}");
        };
        check(&["MPI_Send", "MPI_Bcast", "MPI_Recv", "dgemm_"], &[]);
        check(&["MPI_Send", "MPI_Alltoall"], &["MPI_Alltoall"]);
        // Below the counter, past it, and a later standard's.
        check(&["PMPI_Send", "mpi_send_"], &["PMPI_Send", "mpi_send_"]);
        check(
            &["MPI_Send_c", "MPIX_Harmony"],
            &["MPIX_Harmony", "MPI_Send_c"],
        );
    }

    #[test]
    fn libraries_are_read_from_ldd() {
        let check = |line: &str, expected| assert_eq!(loaded_library(line), expected, "{line}");
        check(
            "\tlibmpi.so.40 => /lib/libmpi.so.40 (0x00007f)",
            Some(("libmpi.so.40", "/lib/libmpi.so.40")),
        );
        check("\tlinux-vdso.so.1 (0x00007f)", None);
        check("\tlibgone.so => not found", None);
    }
}
