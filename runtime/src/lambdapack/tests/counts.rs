//! Task counts that are known from elsewhere.

use super::bound;
use super::oracle::Unrolled;

#[test]
fn the_authors_qr_has_the_papers_counts() {
    for (tiles, tasks) in [
        (8, 426),
        (16, 3_138),
        (32, 23_734),
        (64, 183_334),
        (128, 1_436_438),
    ] {
        let program = bound("qr_numpywren", &format!("n={} nb=4", 4 * tiles));
        assert_eq!(program.task_count(), tasks, "{tiles} tiles a side");
    }
    let unrolled = Unrolled::of(&bound("qr_numpywren", "n=64 nb=1"));
    assert_eq!((unrolled.tasks.len(), unrolled.reads), (183_334, 624_880));
}

#[test]
fn our_trees_have_the_known_counts_at_16_tiles() {
    for (tree, tasks) in [
        ("P=1", 1_496),
        ("P=16 bin=1", 2_856),
        ("P=4", 1_894),
        ("P=4 bin=1", 1_894),
    ] {
        let program = bound("qr_grid", &format!("m=64 n=64 nb=4 {tree}"));
        assert_eq!(program.task_count(), tasks, "{tree}");
        assert_eq!(program.tasks().count() as u64, tasks, "{tree}");
    }
}
