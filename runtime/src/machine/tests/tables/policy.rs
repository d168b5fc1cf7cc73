//! Where a task goes, and when another worker takes it.

use crate::machine::WorkerId;
use crate::machine::policy::{self, BYTE_PRICE, Candidate};
use crate::options::Policy;

/// A worker by number, home or not: seconds until it is free, for the kernel, for the bytes that it
/// lacks and for those of the output.
fn candidate(id: u32, is_home: bool, [free, kernel, missing, output]: [f64; 4]) -> Candidate {
    Candidate {
        worker: WorkerId(id),
        is_home,
        cores: 1,
        available_s: free,
        kernel_s: kernel,
        missing_bytes: (missing * BYTE_PRICE) as u64,
        output_bytes: (output * BYTE_PRICE) as u64,
    }
}

#[test]
fn a_task_goes_home_unless_it_would_wait_there_for_long() {
    use Policy::{Fifo, Locality, Owner, Random};
    // beta = 4 kernels for 1 core; gamma = 4; gate = 2 kernels.
    let table = [
        (
            "idle home",
            Locality,
            [0.0, 1.0, 0.0, 0.5],
            [0.0, 1.0, 0.0, 0.5],
            0,
        ),
        (
            "home's backlog below the bias",
            Locality,
            [3.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            0,
        ),
        (
            "home's backlog above it",
            Locality,
            [5.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            1,
        ),
        (
            "but bytes cost more",
            Locality,
            [5.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.2, 0.1],
            0,
        ),
        (
            "a tie",
            Locality,
            [4.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            0,
        ),
        (
            "the other is beyond the gate",
            Locality,
            [9.0, 1.0, 0.0, 0.0],
            [2.1, 1.0, 0.0, 0.0],
            0,
        ),
        (
            "within the gate",
            Locality,
            [9.0, 1.0, 0.0, 0.0],
            [2.0, 1.0, 0.0, 0.0],
            1,
        ),
        (
            "strict",
            Owner,
            [99.0, 1.0, 9.0, 9.0],
            [0.0, 1.0, 0.0, 0.0],
            0,
        ),
        (
            "blind to bytes",
            Fifo,
            [0.1, 1.0, 0.0, 0.0],
            [0.0, 1.0, 9.0, 9.0],
            1,
        ),
        (
            "by chance",
            Random,
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            1,
        ),
    ];
    for (what, policy, home, other, expected) in table {
        let candidates = [candidate(0, true, home), candidate(1, false, other)];
        let placed = policy::place(policy, &candidates, 7);
        assert_eq!(placed, Some(WorkerId(expected)), "{what}");
    }
    for policy in [Locality, Owner, Fifo, Random] {
        assert_eq!(policy::place(policy, &[], 7), None);
        // Without a home anybody may have it.
        let one = [candidate(3, false, [50.0, 1.0, 1.0, 1.0])];
        assert_eq!(policy::place(policy, &one, 7), Some(WorkerId(3)));
    }
}

#[test]
fn a_theft_must_pay_twice_for_its_bytes() {
    use Policy::{Fifo, Locality, Owner, Random};
    let victim = |free| candidate(0, true, [free, 1.0, 0.0, 0.0]);
    let thief = |missing, output| candidate(1, false, [0.0, 1.0, missing, output]);
    // Gain: the victim's backlog, less what fetching takes; price: 2 x (missing + output).
    let table = [
        (Locality, victim(4.0), thief(1.0, 0.4), true),
        (Locality, victim(4.0), thief(1.0, 0.5), false),
        (Locality, victim(1.0), thief(0.0, 0.0), true),
        (Locality, victim(0.0), thief(0.0, 0.0), false),
        (Fifo, victim(0.0), thief(9.0, 9.0), true),
        (Owner, victim(99.0), thief(0.0, 0.0), false),
        (Random, victim(99.0), thief(0.0, 0.0), false),
    ];
    for (policy, victim, thief, expected) in table {
        assert_eq!(
            policy::steal_pays(policy, &thief, &victim),
            expected,
            "{policy} {victim:?}"
        );
    }
}
