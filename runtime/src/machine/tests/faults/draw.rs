//! The world that a seed is: how many workers, which options, what goes wrong and until when.

use super::super::plans;
use super::super::setup::{Costs, Dice, Faults, Kill, Loss, PeerCut, Setup};
use super::super::truth::Truth;
use crate::options::{Durability, Exchange, Policy};

/// The plans that seeds run, the first for those that are a multiple of their number and so on; and for each a
/// smaller one of its kind, for whoever has to read what went wrong.
pub(super) fn truths() -> Vec<[Truth; 2]> {
    let small = |tree| plans::qr(2, 2, 0, tree, 2, false);
    let plans = [
        [plans::qr(4, 4, 0, "grid:2x2", 4, false), small("grid:2x1")],
        [
            plans::qr(5, 4, 1, "grid:2x2", 4, true),
            plans::qr(2, 2, 1, "grid:2x1", 2, true),
        ],
        [
            plans::qr(7, 5, 3, "grid:3x1:binary", 3, false),
            small("binary"),
        ],
        [
            plans::qr(7, 3, 2, "binary", 3, true),
            plans::qr(3, 1, 2, "binary", 3, true),
        ],
        [plans::qr(4, 5, 0, "flat", 4, false), small("flat")],
        [
            plans::qr(4, 4, 0, "numpywren", 4, true),
            plans::qr(2, 2, 0, "numpywren", 2, true),
        ],
        [plans::weave(9, 6), plans::weave(3, 2)],
        [plans::sieve(6, 5), plans::sieve(2, 2)],
    ];
    plans.map(|sizes| sizes.map(Truth::of)).into()
}

/// A world as the seed would have it.
pub(super) fn setup(seed: u64, truth: &Truth) -> Setup {
    let dice = &mut Dice::new(seed ^ 0x5EED);
    let workers = dice.within(1, 6) as u32;
    let cores = dice.within(1, 4) as u32;
    let least = truth.largest_task * u64::from(cores);
    let exchange = dice.one_of(&[
        Exchange::Peer,
        Exchange::Peer,
        Exchange::Cache,
        Exchange::Store,
    ]);
    let durability = dice.one_of(&[
        Durability::Outputs,
        Durability::Checkpoint { every_s: 1 },
        Durability::Checkpoint { every_s: 1 },
        Durability::All,
    ]);
    let is_saved = durability != Durability::Outputs;
    let checkpoint_us = is_saved.then(|| dice.one_of(&[1, 1_000, 20_000, 100_000]));
    let mut setup = Setup {
        seed,
        workers,
        elastic: None,
        cores,
        policy: dice.one_of(&[
            Policy::Locality,
            Policy::Locality,
            Policy::Owner,
            Policy::Fifo,
            Policy::Random,
        ]),
        exchange,
        durability,
        checkpoint_us,
        preload: dice.chance(300) && exchange != Exchange::Store,
        memory: dice.one_of(&[least, least + truth.largest_task, 4 * least, 1 << 30]),
        costs: Costs::Drawn,
        faults: faults(dice, seed, truth),
    };
    if dice.chance(300) {
        let mut life = dice.within(400_000, 2_000_000);
        let faults = &setup.faults;
        if !faults.outages.is_empty() || faults.store_fails > 0 || faults.slow_workers > 0 {
            // A worker is to have time for a task.
            life += 4_000_000;
        }
        setup.faults.life_us = life;
        setup.faults.notice_us = dice.within(1_000, life / 4);
        // Who starts later than others live finds nothing that they made.
        setup.faults.late_us = setup.faults.late_us.min(life / 4);
        // It would hold others up for several of their lives.
        let holds_up = |how| match how {
            Loss::Paused(us) | Loss::Mute(us) | Loss::Deaf(us) => us > life / 4,
            how => matches!(how, Loss::Stalled | Loss::OnTheDot),
        };
        setup.faults.kills.retain(|kill| !holds_up(kill.how));
        setup.faults.by_mail = 0;
    }
    setup
}

fn faults(dice: &mut Dice, seed: u64, truth: &Truth) -> Faults {
    let tasks = truth.tasks.len() as u64;
    let rare = |dice: &mut Dice, per_mille| if dice.chance(300) { per_mille } else { 0 };
    let kills = (0..dice.one_of(&[0, 1, 1, 2, 3, 5]))
        .map(|_| Kill {
            after: dice.within(0, tasks),
            all: dice.chance(150),
            how: loss(dice),
        })
        .collect();
    let cuts = (0..dice.one_of(&[0, 0, 1, 3]))
        .map(|_| PeerCut {
            after: dice.within(0, tasks),
            us: dice.within(1_000, 3_000_000),
            one_way: dice.chance(500),
        })
        .collect();
    // Some thousand steps a run; who dies later than at its end does not die.
    let driver_dies = (0..dice.one_of(&[0, 1, 1, 2, 4]))
        .map(|_| dice.within(1, 20 * tasks))
        .collect();
    let outages = (0..dice.one_of(&[0, 0, 0, 1, 2]))
        .map(|_| {
            let from = dice.within(0, 600_000);
            (from, from + dice.within(1_000, 2_000_000))
        })
        .collect();
    Faults {
        kills,
        cuts,
        driver_dies,
        outages,
        undead: rare(dice, 500),
        slow_workers: rare(dice, 300),
        latency_us: rare(dice, 20_000),
        by_mail: dice.one_of(&[0, 0, 0, 500, 1_000]),
        mail_twice: rare(dice, 200),
        mail_lost: rare(dice, 3),
        peer_fails: rare(dice, 50),
        garbles: rare(dice, 30),
        store_loses: rare(dice, 30),
        store_rots: rare(dice, 30),
        store_slow: rare(dice, 200),
        store_fails: rare(dice, 200),
        late: rare(dice, 300),
        late_us: 3_000_000,
        other_bits: rare(dice, 100),
        life_us: 0,
        notice_us: 0,
        volunteers: seed % 4 == 3,
        no_path: dice.one_of(&[0, 0, 0, 300, 1000]),
        refers: dice.one_of(&[0, 100, 500, 1000]),
        end_us: dice.one_of(&[100_000, 500_000, 2_000_000, 10_000_000, 60_000_000]),
    }
}

fn loss(dice: &mut Dice) -> Loss {
    let short = dice.within(1_000, 500_000);
    let long = dice.within(500_000, 6_000_000);
    let span = dice.one_of(&[short, long]);
    dice.one_of(&[
        Loss::Told,
        Loss::Silent,
        Loss::Stalled,
        Loss::Severed,
        Loss::Paused(span),
        Loss::OnTheDot,
        Loss::Mute(span),
        Loss::Deaf(span),
    ])
}
