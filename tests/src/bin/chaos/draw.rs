//! What a seed says: which work a run does on how many workers with which store, which faults strike it, and
//! when. Runs nothing.

use std::time::Duration;

use peerwren_tests::s3_server::faults::{Want, draw};

/// A kind of fault: a run has one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Kill,
    KillQuarter,
    KillMost,
    Pause,
    PauseLong,
    CutLink,
    SlowLink,
    StoreOut,
    StoreSlow,
    StoreErrors,
    DiskFull,
    DiskRoom,
    Driver,
    Outlived,
    Mixed,
}

impl Fault {
    pub(crate) const ALL: [Self; 15] = [
        Self::Kill,
        Self::KillQuarter,
        Self::KillMost,
        Self::Pause,
        Self::PauseLong,
        Self::CutLink,
        Self::SlowLink,
        Self::StoreOut,
        Self::StoreSlow,
        Self::StoreErrors,
        Self::DiskFull,
        Self::DiskRoom,
        Self::Driver,
        Self::Outlived,
        Self::Mixed,
    ];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillQuarter => "kill-quarter",
            Self::KillMost => "kill-most",
            Self::Pause => "pause",
            Self::PauseLong => "pause-long",
            Self::CutLink => "cut-link",
            Self::SlowLink => "slow-link",
            Self::StoreOut => "store-out",
            Self::StoreSlow => "store-slow",
            Self::StoreErrors => "store-errors",
            Self::DiskFull => "disk-full",
            Self::DiskRoom => "disk-room",
            Self::Driver => "driver",
            Self::Outlived => "outlived",
            Self::Mixed => "mixed",
        }
    }

    /// What it is, for the table.
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::Kill => "a worker is killed, again and again",
            Self::KillQuarter => "a quarter of the workers is killed at once",
            Self::KillMost => "80 % of the workers are killed at once",
            Self::Pause => "workers stand still for less than a lease",
            Self::PauseLong => "workers stand still for longer than a lease",
            Self::CutLink => "a host is cut off, for 1 to 12 s",
            Self::SlowLink => "a host's line has 2 to 20 Mbit/s",
            Self::StoreOut => "the store answers 503 for 10 s",
            Self::StoreSlow => "the store takes 50 to 300 ms longer, for some seconds",
            Self::StoreErrors => "2 to 10 % of requests to the store go wrong",
            Self::DiskFull => "the disk is full and stays so",
            Self::DiskRoom => "the disk is full, gets room, and the run is resumed",
            Self::Driver => "the coordinator is killed, the run resumed",
            Self::Outlived => "the coordinator is killed, its remote workers wait and go on",
            Self::Mixed => "two or three of killed, paused workers and a failing store",
        }
    }
}

/// A way that a run's blocks become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Durability {
    Outputs,
    Checkpoint,
    All,
}

impl Durability {
    pub(crate) const ALL: [Self; 3] = [Self::Outputs, Self::Checkpoint, Self::All];

    /// As `--durability` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Outputs => "outputs",
            Self::Checkpoint => "checkpoint:1",
            Self::All => "all",
        }
    }
}

/// Where the blocks lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Folder,
    /// A file system of its own, small enough to fill.
    Disk,
    S3,
}

/// Who starts the workers, and where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// The run itself.
    Local,
    /// They join by themselves, on this host.
    Joining,
    /// They join by themselves, each on a host of its own.
    Hosts,
}

/// What is done to a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Blow {
    /// Kills this part of the workers, one at least.
    Kill(f64),
    /// Stops this part of the workers, one at least, for so long.
    Pause(f64, Duration),
    /// Takes a host off the switch for so long.
    Cut(u32, Duration),
    /// Gives a host a line of so many Mbit/s for so long.
    Slow(u32, u32, Duration),
    /// Every request to the store meets this for so long.
    Store(Want, Duration),
    /// This share of requests goes wrong from now on, in percent.
    Errors(u64),
    /// Fills the store's disk.
    Fill,
    /// Kills the coordinator.
    Driver,
}

/// When something is done: after this part of the calm run's time, and not before the first checkpoint where that
/// is waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Strike {
    pub(crate) at: f64,
    pub(crate) after_checkpoint: bool,
    pub(crate) blow: Blow,
}

/// An operation and its results' names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) line: &'static str,
    pub(crate) results: &'static [&'static str],
}

const fn work(line: &'static str, results: &'static [&'static str]) -> Work {
    Work { line, results }
}

/// A second or more each on any machine, in some thousand tasks. Trees are named, since the automatic one
/// follows the workers.
const WORKS: [Work; 5] = [
    work(
        "qr random:1500x1200:5 --block 75 --ib 15 --tree grid:2x2",
        &["q", "r"],
    ),
    work("cholesky spd:2600:5 --block 100 --tree grid:2x2", &["l"]),
    work(
        "lu random:1500x1500:3 --block 100 --tree grid:2x2",
        &["l", "u", "p"],
    ),
    work(
        "gemm random:1800x1500:1 random:1500x1800:2 --block 100 --tree grid:2x2",
        &["c"],
    ),
    work(
        "lstsq random:1800x1200:1 random:1800x60:2 --block 75 --ib 15 --tree grid:2x2",
        &["x"],
    ),
];

/// The same in some hundred tasks, for an S3 server in this process, which takes a millisecond a request.
const FEW_TASKS: [Work; 5] = [
    work(
        "qr random:900x750:5 --block 75 --ib 15 --tree grid:2x2",
        &["q", "r"],
    ),
    work("cholesky spd:1600:5 --block 100 --tree grid:2x2", &["l"]),
    work(
        "lu random:1000x1000:3 --block 100 --tree grid:2x2",
        &["l", "u", "p"],
    ),
    work(
        "gemm random:1000x1000:1 random:1000x1000:2 --block 100 --tree grid:2x2",
        &["c"],
    ),
    work(
        "lstsq random:1200x900:1 random:1200x60:2 --block 75 --ib 15 --tree grid:2x2",
        &["x"],
    ),
];

/// One run as its seed has it.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) seed: u64,
    pub(crate) fault: Fault,
    pub(crate) work: Work,
    pub(crate) workers: u32,
    pub(crate) store: StoreKind,
    pub(crate) setting: Setting,
    pub(crate) exchange: &'static str,
    pub(crate) durability: Durability,
    /// For the run, then for each driver that resumes it.
    pub(crate) strikes: Vec<Vec<Strike>>,
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    /// From `low` up to below `high`.
    fn within(&mut self, low: u32, high: u32) -> u32 {
        low + (draw(&mut self.0) % u64::from(high - low)) as u32
    }

    fn part(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * f64::from(self.within(0, 1 << 20)) / f64::from(1 << 20)
    }

    fn seconds(&mut self, low: f64, high: f64) -> Duration {
        Duration::from_secs_f64(self.part(low, high))
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.within(0, all.len() as u32) as usize]
    }

    fn is(&mut self, percent: u32) -> bool {
        self.within(0, 100) < percent
    }
}

impl Drawn {
    /// Draws a run with this fault; `durability` instead of the drawn one where it is given.
    pub(crate) fn new(seed: u64, fault: Fault, durability: Option<Durability>) -> Self {
        let mut dice = Dice(seed.wrapping_mul(31).wrapping_add(fault as u64));
        let own = dice.one_of(&Durability::ALL);
        let mut drawn = Self {
            seed,
            fault,
            work: WORKS[0],
            workers: dice.within(4, 8),
            store: dice.one_of(&[StoreKind::Folder, StoreKind::Folder, StoreKind::S3]),
            setting: Setting::Local,
            exchange: dice.one_of(&["peer", "peer", "peer", "cache", "store"]),
            durability: durability.unwrap_or(own),
            strikes: Vec::new(),
        };
        drawn.suit();
        drawn.work = dice.one_of(drawn.works());
        let first = drawn.first_strikes(&mut dice);
        drawn.strikes.push(first);
        if matches!(fault, Fault::Driver | Fault::Outlived) && dice.is(33) {
            // Who resumes the run dies too.
            let blow = Blow::Driver;
            let strike = after_checkpoint(dice.part(0.1, 0.4), blow, false);
            drawn.strikes.push(vec![strike]);
        }
        drawn
    }

    fn works(&self) -> &'static [Work; 5] {
        match self.store {
            StoreKind::S3 => &FEW_TASKS,
            _ => &WORKS,
        }
    }

    /// Makes the drawn setting one in which the fault can strike.
    fn suit(&mut self) {
        match self.fault {
            Fault::CutLink | Fault::SlowLink => {
                (self.setting, self.store) = (Setting::Hosts, StoreKind::Folder);
                (self.workers, self.exchange) = (4, "peer");
            }
            Fault::StoreOut | Fault::StoreSlow | Fault::StoreErrors | Fault::Mixed => {
                self.store = StoreKind::S3;
                if self.exchange == "peer" && self.durability == Durability::Outputs {
                    self.exchange = "cache";
                }
                if self.fault == Fault::StoreSlow {
                    self.exchange = "peer";
                }
            }
            Fault::DiskFull => {
                self.store = StoreKind::Disk;
                if self.durability == Durability::Checkpoint {
                    self.durability = Durability::All;
                }
            }
            Fault::DiskRoom | Fault::Driver => {
                self.durability = Durability::Checkpoint;
                if self.fault == Fault::DiskRoom {
                    self.store = StoreKind::Disk;
                }
            }
            Fault::Outlived => {
                self.setting = Setting::Joining;
                self.durability = Durability::Checkpoint;
            }
            Fault::PauseLong if self.seed.is_multiple_of(2) => self.setting = Setting::Joining,
            Fault::Kill
            | Fault::KillQuarter
            | Fault::KillMost
            | Fault::Pause
            | Fault::PauseLong => {}
        }
    }

    fn first_strikes(&self, dice: &mut Dice) -> Vec<Strike> {
        let mut strikes = Vec::new();
        let mut at = |at: f64, blow| strikes.push(after_checkpoint(at, blow, false));
        match self.fault {
            Fault::Kill => {
                let mut next = dice.part(0.1, 0.4);
                for _ in 0..12 {
                    at(next, Blow::Kill(0.0));
                    next += dice.part(0.15, 0.5);
                }
            }
            Fault::KillQuarter => at(dice.part(0.1, 0.7), Blow::Kill(0.25)),
            Fault::KillMost => at(dice.part(0.1, 0.7), Blow::Kill(0.8)),
            Fault::Pause => {
                for _ in 0..dice.within(1, 4) {
                    let long = dice.seconds(0.2, 3.5);
                    at(
                        dice.part(0.05, 0.7),
                        Blow::Pause(dice.one_of(&[0.0, 0.5, 1.0]), long),
                    );
                }
            }
            Fault::PauseLong => {
                let share = dice.one_of(&[0.0, 0.5, 1.0]);
                at(
                    dice.part(0.05, 0.7),
                    Blow::Pause(share, dice.seconds(11.0, 16.0)),
                );
            }
            Fault::CutLink => {
                for _ in 0..dice.within(1, 3) {
                    let host = dice.within(2, self.workers + 1);
                    at(
                        dice.part(0.1, 0.7),
                        Blow::Cut(host, dice.seconds(1.0, 12.0)),
                    );
                }
            }
            Fault::SlowLink => {
                let host = dice.within(1, self.workers + 1);
                let (rate, long) = (dice.within(2, 21), dice.seconds(2.0, 10.0));
                at(dice.part(0.05, 0.6), Blow::Slow(host, rate, long));
            }
            Fault::StoreOut => at(dice.part(0.05, 0.8), out(Duration::from_secs(10))),
            Fault::StoreSlow => {
                let delay = Want::Delay(dice.seconds(0.05, 0.3));
                at(
                    dice.part(0.05, 0.6),
                    Blow::Store(delay, dice.seconds(2.0, 8.0)),
                );
            }
            Fault::StoreErrors => at(dice.part(0.0, 0.3), Blow::Errors(dice.within(2, 11).into())),
            Fault::DiskFull => at(dice.part(0.05, 0.7), Blow::Fill),
            Fault::DiskRoom => {
                strikes.push(after_checkpoint(dice.part(0.05, 0.6), Blow::Fill, true));
            }
            Fault::Driver | Fault::Outlived => {
                let waits = dice.is(80);
                strikes.push(after_checkpoint(dice.part(0.1, 0.6), Blow::Driver, waits));
            }
            Fault::Mixed => {
                at(
                    dice.part(0.05, 0.7),
                    Blow::Kill(dice.one_of(&[0.0, 0.25, 0.5])),
                );
                at(
                    dice.part(0.05, 0.7),
                    Blow::Pause(0.5, dice.seconds(0.5, 8.0)),
                );
                if dice.is(50) {
                    at(dice.part(0.05, 0.7), out(dice.seconds(1.0, 5.0)));
                } else {
                    at(dice.part(0.05, 0.5), Blow::Errors(5));
                }
            }
        }
        strikes.sort_by(|one, other| one.at.total_cmp(&other.at));
        strikes
    }
}

fn out(long: Duration) -> Blow {
    Blow::Store(Want::Status(503, "ServiceUnavailable"), long)
}

fn after_checkpoint(at: f64, blow: Blow, after_checkpoint: bool) -> Strike {
    Strike {
        at,
        after_checkpoint,
        blow,
    }
}
