//! The programs of the algorithms against the oracle, at ragged sizes and on several grids.

use super::{bound, oracle, shipped};

/// Each program with parameters of models whose every answer is compared with brute force.
const MODELS: &[(&str, &[&str])] = &[
    ("cholesky", &["n=1 nb=4", "n=12 nb=4", "n=27 nb=4 P=2 Q=2"]),
    (
        "posv",
        &["n=1 nb=4 r=1", "n=12 nb=4 r=9", "n=23 nb=4 r=4 P=2 Q=2"],
    ),
    (
        "check_cholesky",
        &["n=1 nb=4", "n=12 nb=4", "n=23 nb=4 P=2 Q=2"],
    ),
    (
        "gemm",
        &[
            "m=1 n=1 l=1 nb=4",
            "m=9 n=5 l=14 nb=4 scaled=1",
            "m=7 n=13 l=3 nb=4 scaled=1 onto=1 P=2 Q=2",
            "m=9 n=13 l=23 nb=4 P=2 Z=3",
            "m=9 n=6 l=18 nb=4 scaled=1 onto=1 Q=2 Z=5",
        ],
    ),
    (
        "gemm_numpywren",
        &["m=1 n=1 l=1 nb=4", "m=9 n=5 l=30 nb=4", "m=4 n=4 l=68 nb=4"],
    ),
    (
        "tsqr",
        &["m=1 n=1 nb=4", "m=7 n=3 nb=4", "m=50 n=4 nb=4 P=3"],
    ),
    (
        "apply_tsqr",
        &[
            "m=1 n=1 nb=4 r=1",
            "m=7 n=3 nb=4 r=3",
            "m=50 n=4 nb=4 P=3 r=6",
        ],
    ),
    (
        "trsm",
        &[
            "n=1 r=1 nb=4",
            "n=14 r=9 nb=4 trans=1",
            "n=14 r=9 nb=4 unit=1 P=2 Q=2",
            "n=19 r=2 nb=4 unit=1 trans=1",
        ],
    ),
    (
        "lu",
        &[
            "m=1 n=1 nb=4",
            "m=3 n=9 nb=4",
            "m=22 n=13 nb=4 P=2 Q=2",
            "m=39 n=10 nb=4 P=2 Q=2",
            "m=29 n=30 nb=4",
            "m=25 n=25 nb=4 P=3 bin=1 HP=2",
            "m=14 n=27 nb=4 P=7 bin=1",
        ],
    ),
    (
        "solve",
        &[
            "m=1 n=1 nb=4 r=1",
            "m=13 n=13 nb=4 r=6 P=2 Q=2",
            "m=22 n=22 nb=4 r=1 P=3 bin=1",
        ],
    ),
    (
        "lstsq",
        &[
            "m=1 n=1 nb=4 r=1",
            "m=22 n=13 nb=4 r=6 P=2 Q=2",
            "m=22 n=22 nb=4 r=1 P=3 bin=1",
            "m=30 n=3 nb=4 r=2 P=4 bin=1",
        ],
    ),
    (
        "bdfac",
        &[
            "m=1 n=1 nb=4",
            "m=13 n=13 nb=4 P=2 Q=2",
            "m=22 n=18 nb=4 P=2 Q=1",
            "m=17 n=16 nb=4 P=3 Q=2",
        ],
    ),
    ("bdfac_numpywren", &["n=8 nb=4", "n=5 nb=1", "n=12 nb=2"]),
    (
        "apply_cyclic",
        &[
            "m=1 wide=1 nb=4 r=1",
            "m=22 wide=18 nb=4 r=18 br=18 P=2 turned=1",
            "m=18 wide=16 nb=4 r=7 o=1 P=3 HQ=2",
            "m=23 wide=14 nb=4 r=14 br=14 P=2",
        ],
    ),
    (
        "band_svd",
        &["n=1 nb=4", "n=12 nb=4 vectors=1", "n=14 nb=4"],
    ),
    (
        "check_lu",
        &["m=1 n=1 nb=4", "m=22 n=13 nb=4 P=2 Q=2", "m=9 n=19 nb=4"],
    ),
    (
        "check_solution",
        &[
            "m=1 n=1 r=1 nb=4",
            "m=22 n=13 r=6 nb=4 P=2 Q=2",
            "m=14 n=14 r=6 nb=4 kind=1",
            "m=14 n=14 r=6 nb=4 kind=2",
            "m=14 n=14 r=6 nb=4 kind=3 unit=1",
        ],
    ),
    (
        "check_gemm",
        &["m=1 n=1 l=1 nb=4", "m=9 n=5 l=14 nb=4 onto=1 P=2 Q=2"],
    ),
    ("check_svd", &["m=1 n=1 nb=4", "m=13 n=22 nb=4 P=2 Q=2"]),
    (
        "check_truncated",
        &["m=1 n=1 k=1 nb=4", "m=13 n=22 k=6 nb=4 P=2 Q=2"],
    ),
    (
        "combine",
        &["m=1 n=1 nb=4", "m=13 n=22 nb=4 both=1 P=2 Q=2"],
    ),
    (
        "norm",
        &[
            "m=1 n=1 nb=4 kind=0",
            "m=13 n=22 nb=4 kind=0 P=2 Q=2",
            "m=13 n=22 nb=4 kind=1",
            "m=13 n=22 nb=4 kind=2",
        ],
    ),
    (
        "crop",
        &["m=1 n=1 r=1 c=1 nb=4", "m=13 n=22 r=6 c=8 nb=4 P=2 Q=2"],
    ),
    (
        "minimum_norm",
        &["n=1 r=1 nb=4 tall=1", "n=14 r=6 nb=4 tall=30"],
    ),
];

#[test]
fn programs_pass_their_own_checks_and_equal_their_unrolling() {
    for (name, models) in MODELS {
        match shipped(name).check_small_models() {
            Ok(count) => assert!(count >= 1, "{name}: {count} models"),
            Err(error) => panic!("{name}: {}", error.render()),
        }
        for model in *models {
            oracle::compare(&bound(name, model));
        }
    }
}

#[test]
fn counts_are_those_of_the_literature() {
    // N (N + 1) (N + 2) / 6 for Cholesky, the authors' own for their gemm.
    for tiles in [1, 2, 8, 16, 64] {
        let cholesky = bound("cholesky", &format!("n={tiles} nb=1"));
        assert_eq!(cholesky.task_count(), tiles * (tiles + 1) * (tiles + 2) / 6);
    }
    let count = |name, params| bound(name, params).task_count();
    assert_eq!(count("gemm_numpywren", "m=16 n=16 l=16 nb=1"), 5_632);
    assert_eq!(count("gemm_numpywren", "m=64 n=64 l=64 nb=1"), 352_256);
    assert_eq!(count("bdfac_numpywren", "n=16 nb=1"), 5_782);
    assert_eq!(count("gemm", "m=16 n=16 l=16 nb=1"), 4_096);
}
