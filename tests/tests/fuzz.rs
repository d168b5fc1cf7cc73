//! The seeds of the fuzzers, replayed without libFuzzer: what was once found stays mended wherever tests run.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
#[allow(
    unreachable_pub,
    reason = "it is a library for the fuzzers, and a module here"
)]
mod targets;

/// Most bytes of all seeds together.
const SEEDS_BYTES_MAX: u64 = 200_000;

fn seeds(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let entries = fs::read_dir(folder.join(target)).into_iter().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn seeds_do_no_harm() {
    let mut bytes_of_all = 0;
    for (target, run) in targets::TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 10, "{target} has {} seeds", seeds.len());
        for seed in seeds {
            let bytes = fs::read(&seed).unwrap();
            bytes_of_all += bytes.len() as u64;
            let done = std::panic::catch_unwind(|| run(&bytes));
            assert!(done.is_ok(), "{} does harm", seed.display());
        }
    }
    assert!(bytes_of_all <= SEEDS_BYTES_MAX, "{bytes_of_all} bytes");
}

#[test]
fn every_target_is_a_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    for (target, _) in targets::TARGETS {
        assert!(folder.join(format!("{target}.rs")).exists(), "{target}");
    }
    assert_eq!(
        fs::read_dir(folder).unwrap().count(),
        targets::TARGETS.len()
    );
}
