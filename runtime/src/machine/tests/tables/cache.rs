//! What leaves a worker's cache, and when.

use peerwren_transports::block::{BlockKey, Indices};

use super::shared;
use crate::machine::cache::Cache;

fn key(index: i64) -> BlockKey {
    BlockKey::new(7, 0, Indices::new(&[index]).expect("small"))
}

/// Seven copies of 10 bytes in 70: pinned, dead, spare read late, spare read early, live read late,
/// live read early, spare not read again. What leaves for so many bytes, what is spilled, whether they are there.
#[test]
fn the_dead_leave_first_then_the_unread_then_what_is_read_last() {
    let table: [(u64, bool, &[i64], &[i64]); 8] = [
        (0, true, &[], &[]),
        (5, true, &[1], &[]),
        (20, true, &[1, 6], &[]),
        (30, true, &[1, 6, 2], &[]),
        (31, false, &[1, 6, 2], &[4]),
        (45, false, &[1, 6, 2, 3], &[4]),
        (55, false, &[1, 6, 2, 3], &[4, 5]),
        // The pinned one stays, and so nothing leaves: a task must end first.
        (61, false, &[], &[]),
    ];
    for (bytes, taken, dropped, spill) in table {
        let mut cache = Cache::new(70);
        assert!(cache.take(70, (0, 0), |_| Vec::new()).taken);
        for index in 0..7 {
            let held = cache.insert(shared(key(index)), 10, true);
            held.pins = u32::from(index == 0);
            held.spare = [2, 3, 6].contains(&index);
        }
        cache.mark_dead(shared(key(1)));
        let uses = |key: &BlockKey| match key.indices.get(0) {
            Some(2 | 4) => vec![(0, 3), (0, 90)],
            Some(6) => vec![(0, 3)],
            _ => vec![(0, 8)],
        };
        // The front is beyond the first use of 2 and 4, and the only one of 6.
        let room = cache.take(bytes, (0, 5), uses);
        let copies = |indices: &[i64]| indices.iter().map(|i| shared(key(*i))).collect::<Vec<_>>();
        let came = (room.taken, room.dropped, room.spill);
        assert_eq!(
            came,
            (taken, copies(dropped), copies(spill)),
            "{bytes} bytes"
        );
        cache.check_invariants();
    }
}

#[test]
fn a_copy_that_is_shorter_than_its_room_gives_the_rest_back() {
    let mut cache = Cache::new(100);
    assert!(cache.take(90, (0, 0), |_| Vec::new()).taken);
    for index in 0..3 {
        cache.insert(shared(key(index)), 30, index > 0);
    }
    cache.mark_dead(shared(key(1)));
    cache.shrink(&shared(key(0)), 8);
    cache.shrink(&shared(key(1)), 0);
    // Never more than was taken for it.
    cache.shrink(&shared(key(2)), 31);
    cache.check_invariants();
    assert_eq!(cache.used(), (38, 90));
    cache.revive(&shared(key(1)));
    cache.remove(&shared(key(0)));
    cache.remove(&shared(key(1)));
    cache.check_invariants();
    assert_eq!(cache.used(), (30, 90));
    assert!(cache.take(70, (0, 0), |_| Vec::new()).taken);
}

#[test]
fn the_dead_are_shed_while_they_are_more_than_the_living() {
    const MIB: u64 = 1 << 20;
    let mut cache = Cache::new(1 << 30);
    assert!(cache.take(100 * MIB, (0, 0), |_| Vec::new()).taken);
    for index in 0..10 {
        cache.insert(shared(key(index)), 10 * MIB, true);
    }
    for index in 0..5 {
        cache.mark_dead(shared(key(index)));
    }
    assert_eq!(cache.shed(), [], "50 of 100 MiB are dead");
    assert!(cache.pin(&shared(key(0))));
    cache.mark_dead(shared(key(5)));
    cache.mark_dead(shared(key(6)));
    assert_eq!(
        cache.shed(),
        [shared(key(1)), shared(key(2))],
        "60 of 100, then 50 of 90, 40 of 80"
    );
    cache.check_invariants();
}
