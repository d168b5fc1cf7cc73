//! Every shipped program against the oracle.

use std::collections::BTreeSet;

use super::super::Bound;
use super::{bound, oracle, shipped};

/// Compares with the oracle; a shipped program reads every input that it declares, but what
/// `unread` families have in excess.
fn compare(bound: &Bound) {
    let all = oracle::compare(bound);
    let declared: BTreeSet<_> = bound.input_tiles().collect();
    let read = all.inputs_read(bound);
    assert!(read.is_subset(&declared), "{bound:?}");
    let unread: Vec<String> = declared
        .difference(&read)
        .map(|tile| bound.describe_tile(*tile))
        .collect();
    let narrow = bound.params().get("thin") == Some(&1);
    assert!(
        unread.is_empty() || narrow,
        "{bound:?} never reads {unread:?}"
    );
}

#[test]
fn shipped_programs_pass_their_own_checks() {
    for name in [
        "qr_grid",
        "apply_q",
        "qr_numpywren",
        "apply_q_numpywren",
        "check_qr",
    ] {
        match shipped(name).check_small_models() {
            Ok(models) => assert!(models >= 10, "{name}: {models} models"),
            Err(error) => panic!("{}", error.render()),
        }
    }
}

#[test]
fn qr_grid_equals_its_unrolling() {
    for size in [
        "m=1 n=1 nb=4",
        "m=3 n=9 nb=4",
        "m=9 n=5 nb=4",
        "m=21 n=13 nb=4",
        "m=28 n=28 nb=4",
        "m=14 n=27 nb=4",
    ] {
        for tree in [
            "P=1 Q=1",
            "P=2 Q=2",
            "P=3 Q=1 rot=0",
            "P=4 Q=2 bin=1",
            "P=7 bin=1 HP=2 HQ=2",
        ] {
            compare(&bound("qr_grid", &format!("{size} {tree}")));
        }
    }
}

#[test]
fn apply_q_equals_its_unrolling() {
    for size in [
        "m=1 n=1 nb=4 r=1",
        "m=9 n=5 nb=4 r=5",
        "m=21 n=13 nb=4 r=13",
        "m=25 n=25 nb=4 r=7",
        "m=14 n=27 nb=4 r=14",
    ] {
        for tree in [
            "P=1 Q=1",
            "P=2 Q=2",
            "P=3 Q=1 rot=0",
            "P=4 Q=2 bin=1",
            "P=7 bin=1 HP=2 HQ=2",
        ] {
            for thin in ["thin=0", "thin=1"] {
                compare(&bound("apply_q", &format!("{size} {tree} {thin}")));
            }
        }
    }
}

#[test]
fn the_authors_qr_equals_its_unrolling() {
    for size in ["n=1 nb=1", "n=2 nb=1", "n=12 nb=4", "n=20 nb=4", "n=9 nb=1"] {
        compare(&bound("qr_numpywren", size));
        compare(&bound("apply_q_numpywren", &format!("{size} r=5")));
    }
}

#[test]
fn check_qr_equals_its_unrolling() {
    for size in [
        "m=1 n=1 nb=4",
        "m=3 n=9 nb=4",
        "m=9 n=5 nb=4",
        "m=21 n=13 nb=4",
        "m=25 n=25 nb=4",
    ] {
        for grid in ["", "P=2 Q=2", "P=3 dense=1", "HP=4 HQ=2"] {
            compare(&bound("check_qr", &format!("{size} {grid}")));
        }
    }
}
