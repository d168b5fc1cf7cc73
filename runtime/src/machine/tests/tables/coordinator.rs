//! Whom a coordinator hears, whom it sends away, and who follows a lost worker.

use peerwren_transports::block::{BlockKey, Indices};

use super::super::plans;
use super::{NOW, actions, done, joined, scheduler};
use crate::control::{Counts, FromWorker, Kept, Made, Missed, StoreReason, ToWorker};
use crate::machine::fleet::{FRUITLESS_LOSSES_A_SLOT_MAX, Fleet, REFUSALS_A_SLOT_MAX};
use crate::machine::scheduler::Scheduler;
use crate::machine::{LeaseId, WorkerId};

#[test]
fn a_stale_lease_changes_nothing() {
    // A chain of 2 tasks: the first is done once, whoever says so again.
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let mut coordinator = scheduler(&plan, 2);
    joined(&mut coordinator, 0, 1);
    joined(&mut coordinator, 1, 1);
    let began = actions(&mut coordinator);
    assert_eq!(began, ["start 0 in 0", "start 1 in 1", "0 gets lease 1"]);
    let say = |scheduler: &mut Scheduler, id, message| {
        scheduler.handle_input(NOW, scheduler::Input::Message(WorkerId(id), message));
        (actions(scheduler), scheduler.progress().1)
    };
    let nothing = || (Vec::<String>::new(), 0);
    // Somebody else's lease, one that was never granted, and a worker that never was.
    assert_eq!(
        say(&mut coordinator, 1, done(&plan, 1, &first, false)),
        nothing()
    );
    assert_eq!(
        say(&mut coordinator, 0, done(&plan, 5, &first, false)),
        nothing()
    );
    assert_eq!(
        say(&mut coordinator, 9, done(&plan, 1, &first, false)),
        nothing()
    );
    // Lost in time: the heir gets the task, and what the lost one says later is not heard.
    coordinator.handle_input(NOW, scheduler::Input::Left(WorkerId(0)));
    assert_eq!(
        actions(&mut coordinator),
        ["start 2 in 0", "1 gets lease 2"]
    );
    assert_eq!(
        say(&mut coordinator, 0, done(&plan, 1, &first, false)),
        nothing()
    );
    let came = say(&mut coordinator, 1, done(&plan, 2, &first, true));
    assert_eq!(came, (vec!["1 gets lease 3".to_owned()], 1));
    assert_eq!(
        say(&mut coordinator, 1, done(&plan, 2, &first, true)),
        (Vec::new(), 1)
    );
}

/// What a worker says that nobody can mean: it is ended and replaced, and its task goes to another.
#[test]
fn whoever_names_blocks_that_are_not_there_is_cut_off() {
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let known = plan.outputs(&first)[0];
    let foreign = [
        BlockKey::new(plan.run() + 1, known.matrix, known.indices),
        BlockKey::new(plan.run(), u16::MAX, known.indices),
        BlockKey::new(
            plan.run(),
            known.matrix,
            Indices::new(&[-1, 9, 9]).expect("indices"),
        ),
    ];
    let counts = Counts::default;
    let done_with = |key| {
        let mut said = done(&plan, 1, &first, false);
        if let FromWorker::Done { made, .. } = &mut said {
            made[0].key = key;
        }
        said
    };
    let missing = |key| FromWorker::Missing {
        lease: LeaseId(1),
        blocks: vec![Missed {
            key,
            workers: Vec::new(),
            unreachable: Vec::new(),
            store: true,
        }],
    };
    let says = foreign.into_iter().flat_map(|key| {
        let keys = vec![known, key];
        [
            done_with(key),
            missing(key),
            FromWorker::Preloaded {
                keys: keys.clone(),
                counts: counts(),
            },
            FromWorker::Taken {
                keys: Vec::new(),
                refused: keys,
                counts: counts(),
            },
        ]
    });
    let nothing_made = FromWorker::Done {
        lease: LeaseId(1),
        made: Vec::new(),
        dropped: Vec::new(),
        compute_ns: 1,
        counts: counts(),
    };
    // A block that a task makes is no input.
    let made_before = FromWorker::Preloaded {
        keys: vec![known],
        counts: counts(),
    };
    for said in says.chain([nothing_made, made_before]) {
        let mut coordinator = scheduler(&plan, 2);
        joined(&mut coordinator, 0, 1);
        joined(&mut coordinator, 1, 1);
        actions(&mut coordinator);
        let told = format!("{said:?}");
        coordinator.handle_input(NOW, scheduler::Input::Message(WorkerId(0), said));
        let does = ["end 0", "start 2 in 0", "1 gets lease 2"];
        assert_eq!(actions(&mut coordinator), does, "{told}");
        assert_eq!((coordinator.lost(), coordinator.progress().1), (1, 0));
    }
    // What changes nothing harms nobody.
    let mut coordinator = scheduler(&plan, 1);
    joined(&mut coordinator, 0, 1);
    actions(&mut coordinator);
    let not_made = FromWorker::Taken {
        keys: vec![known],
        refused: Vec::new(),
        counts: counts(),
    };
    coordinator.handle_input(NOW, scheduler::Input::Message(WorkerId(0), not_made));
    assert!(actions(&mut coordinator).is_empty());
    for keys in foreign.map(|key| vec![key]) {
        let durable = FromWorker::Durable {
            blocks: keys.iter().map(|&key| Kept { key, digest: None }).collect(),
            counts: counts(),
        };
        let alive = FromWorker::Alive {
            orders: 0,
            dropped: keys,
            counts: counts(),
        };
        for said in [durable, alive] {
            coordinator.handle_input(NOW, scheduler::Input::Message(WorkerId(0), said));
            assert!(actions(&mut coordinator).is_empty());
        }
    }
}

#[test]
fn a_result_whose_maker_is_lost_is_put_by_who_has_it() {
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let block = plan.outputs(&first)[0];
    let mut readers = Vec::new();
    plan.readers(&block, &mut readers);
    let mut coordinator = scheduler(&plan, 2);
    joined(&mut coordinator, 0, 1);
    joined(&mut coordinator, 1, 1);
    let message = |id, message| scheduler::Input::Message(WorkerId(id), message);
    coordinator.handle_input(NOW, message(0, done(&plan, 1, &first, false)));
    actions(&mut coordinator);
    // The second task is given back, its maker lost, and done by the other worker: neither of the
    // two results is durable.
    coordinator.handle_input(NOW, scheduler::Input::Left(WorkerId(0)));
    let again = ["start 2 in 0", "1 gets lease 3"];
    assert_eq!(
        actions(&mut coordinator),
        again,
        "the first task, since its block is nowhere"
    );
    coordinator.handle_input(NOW, message(1, done(&plan, 3, &first, false)));
    joined(&mut coordinator, 2, 1);
    coordinator.handle_input(NOW, message(1, done(&plan, 4, &readers[0], false)));
    actions(&mut coordinator);
    // Worker 2 has got a replica of the first result.
    let counts = Counts::default();
    coordinator.handle_input(
        NOW,
        message(
            2,
            FromWorker::Taken {
                keys: vec![block],
                refused: Vec::new(),
                counts,
            },
        ),
    );
    coordinator.handle_input(NOW, scheduler::Input::Left(WorkerId(1)));
    let words = actions(&mut coordinator);
    let keys = vec![block];
    let reason = StoreReason::Result;
    let store = format!("2 gets {:?}", ToWorker::Store { keys, reason });
    assert!(words.contains(&store), "{words:?}");
}

#[test]
fn who_misses_a_block_does_not_hold_it() {
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let block = plan.outputs(&first)[0];
    let mut coordinator = scheduler(&plan, 1);
    joined(&mut coordinator, 0, 1);
    let message = |message| scheduler::Input::Message(WorkerId(0), message);
    coordinator.handle_input(NOW, message(done(&plan, 1, &first, false)));
    let began = ["start 0 in 0", "0 gets lease 1", "0 gets lease 2"];
    assert_eq!(actions(&mut coordinator), began);
    // It made the block and has dropped it, but has not come to say so.
    let missed = Missed {
        key: block,
        unreachable: Vec::new(),
        workers: Vec::new(),
        store: true,
    };
    let missing = FromWorker::Missing {
        lease: LeaseId(2),
        blocks: vec![missed],
    };
    coordinator.handle_input(NOW, message(missing));
    assert_eq!(actions(&mut coordinator), ["0 gets lease 3"]);
    coordinator.handle_input(NOW, message(done(&plan, 3, &first, true)));
    assert_eq!(
        coordinator.progress().1,
        1,
        "the first task was done again, not the second"
    );
}

/// A block that was not hashed is not where it was: whoever holds it may have stored it, and is asked to say so before
/// it is made again.
#[test]
fn a_block_whose_digest_was_not_told_is_asked_for_before_it_is_made_again() {
    let plan = plans::weave(2, 2);
    let first = plan.starters(0)[0];
    let block = plan.outputs(&first)[0];
    let mut coordinator = scheduler(&plan, 2);
    joined(&mut coordinator, 0, 1);
    joined(&mut coordinator, 1, 1);
    let message = |id, message| scheduler::Input::Message(WorkerId(id), message);
    let unhashed = match done(&plan, 1, &first, false) {
        FromWorker::Done { lease, made, .. } => FromWorker::Done {
            lease,
            made: made
                .into_iter()
                .map(|made| Made {
                    digest: None,
                    ..made
                })
                .collect(),
            dropped: Vec::new(),
            compute_ns: 1,
            counts: Counts::default(),
        },
        other => other,
    };
    coordinator.handle_input(NOW, message(0, unhashed));
    let neighbour = plan.starters(0)[1];
    coordinator.handle_input(NOW, message(1, done(&plan, 2, &neighbour, false)));
    let words = actions(&mut coordinator);
    let mut granted = words.iter().rev();
    let granted = granted.find_map(|word| word.strip_prefix("1 gets lease "));
    let lease = LeaseId(granted.expect("it reads both").parse().unwrap());
    let missed = Missed {
        key: block,
        unreachable: Vec::new(),
        workers: vec![WorkerId(0)],
        store: true,
    };
    let blocks = vec![missed];
    coordinator.handle_input(NOW, message(1, FromWorker::Missing { lease, blocks }));
    let (keys, reason) = (vec![block], StoreReason::Relay);
    let store = format!("0 gets {:?}", ToWorker::Store { keys, reason });
    assert_eq!(actions(&mut coordinator), [store]);
}

/// What the workers of a run have for bits, in the order of joining, and who is sent away when the
/// last has joined.
#[test]
fn workers_with_other_bits_are_refused() {
    let plan = plans::weave(2, 4);
    let table: [(&[u8], &[&str]); 4] = [
        (&[1, 1, 1], &[]),
        (&[1, 2, 1], &["refuse 1", "end 1", "start 3 in 1"]),
        (&[2, 1, 1], &["refuse 0", "end 0", "start 3 in 0"]),
        // Of equals the smallest.
        (&[2, 1], &["refuse 0", "end 0", "start 2 in 0"]),
    ];
    for (bits, expected) in table {
        let mut coordinator = scheduler(&plan, u32::try_from(bits.len()).expect("a few"));
        actions(&mut coordinator);
        for (id, bits) in (0..).zip(bits) {
            joined(&mut coordinator, id, *bits);
        }
        let mut words = actions(&mut coordinator);
        words.retain(|word| !word.contains("lease"));
        assert_eq!(words, expected, "{bits:?}");
    }
}

/// The first worker of a run that starts its own ends it; a later one is replaced, three times a slot.
#[test]
fn workers_that_cannot_take_part_are_refused() {
    let plan = plans::weave(2, 4);
    let unfit = |id| {
        let reason = "a worker has version 0.0.7 of peerwren".to_owned();
        scheduler::Input::Unfit(WorkerId(id), reason)
    };
    let mut coordinator = scheduler(&plan, 2);
    actions(&mut coordinator);
    coordinator.handle_input(NOW, unfit(1));
    let ends = ["refuse 1", "end 1", "failed: a worker has version"];
    assert_eq!(actions(&mut coordinator), ends);
    let mut coordinator = scheduler(&plan, 2);
    joined(&mut coordinator, 0, 1);
    actions(&mut coordinator);
    for id in 1..=REFUSALS_A_SLOT_MAX {
        coordinator.handle_input(NOW, unfit(id));
        let next = format!("start {} in 1", id + 1);
        let words = [format!("refuse {id}"), format!("end {id}"), next];
        assert_eq!(actions(&mut coordinator), words);
    }
    coordinator.handle_input(NOW, unfit(REFUSALS_A_SLOT_MAX + 1));
    assert_eq!(actions(&mut coordinator), ["refuse 4", "end 4"]);
    // Nobody's number changes nothing.
    coordinator.handle_input(NOW, unfit(77));
    assert_eq!(actions(&mut coordinator), [""; 0]);
}

#[test]
fn a_slot_is_not_filled_for_ever() {
    let plan = plans::weave(2, 4);
    // Refused: the slot is given up and the run goes on without it.
    let mut coordinator = scheduler(&plan, 2);
    joined(&mut coordinator, 0, 1);
    joined(&mut coordinator, 1, 1);
    coordinator.handle_input(NOW, scheduler::Input::Left(WorkerId(1)));
    actions(&mut coordinator);
    for refused in 0..=REFUSALS_A_SLOT_MAX {
        joined(&mut coordinator, 2 + refused, 5);
        let words = actions(&mut coordinator);
        let replaced = words.iter().any(|word| word.starts_with("start"));
        assert_eq!(replaced, refused < REFUSALS_A_SLOT_MAX, "{words:?}");
    }
    // Lost, none with a task done: the run fails.
    let mut coordinator = scheduler(&plan, 2);
    for id in 0..=2 * FRUITLESS_LOSSES_A_SLOT_MAX {
        actions(&mut coordinator);
        coordinator.handle_input(NOW, scheduler::Input::Left(WorkerId(id)));
    }
    assert_eq!(actions(&mut coordinator), ["failed: workers keep dying: "]);
}

#[test]
fn ranks_pass_to_heirs_and_return() {
    let mut fleet = Fleet::new(3, 1);
    let owners = |fleet: &Fleet| {
        let owner = |rank| fleet.owner(rank).map_or(-1, |worker| i64::from(worker.0));
        [0, 1, 2, 3, 7, -1].map(owner)
    };
    let join = |fleet: &mut Fleet, slot| {
        let worker = fleet.start(NOW, slot);
        fleet.get_mut(worker).expect("it was started").addresses = Some(Vec::new());
        worker
    };
    assert_eq!(owners(&fleet), [-1; 6]);
    for slot in 0..3 {
        join(&mut fleet, slot);
    }
    assert_eq!(owners(&fleet), [0, 1, 2, 0, 1, 2]);
    fleet.remove(WorkerId(1));
    assert_eq!(
        owners(&fleet),
        [0, 2, 2, 0, 2, 2],
        "the next slot's worker is the heir"
    );
    fleet.remove(WorkerId(2));
    assert_eq!(owners(&fleet), [0; 6]);
    let started = fleet.start(NOW, 1);
    assert_eq!(owners(&fleet), [0; 6], "who has not joined owns nothing");
    fleet.get_mut(started).expect("started").addresses = Some(Vec::new());
    assert_eq!(owners(&fleet), [0, 3, 0, 0, 3, 0]);
}
