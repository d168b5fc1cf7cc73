//! How long a plan takes on a fleet: its tasks on workers with queues, cores and a line each, event by
//! event, placed and stolen as the scheduler does. Integers alone decide the order, so that the same plan
//! has the same schedule. Never reads a clock.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use peerwren_transports::block::BlockKey;
use serde::Serialize;

use super::Terms;
use super::counts::place;
use super::fleet::{Fleet, Rank, book};
use super::frontier::{Chain, Frontier, Live, readers};
use super::rates::Rates;
use super::task::View;
use crate::machine::WorkerId;
use crate::machine::policy::{self, Candidate};
use crate::options::Exchange;
use crate::plan::{Plan, TaskId};

/// Workers looked at for one task beside its home: those that hold an input, those with least to do.
const CANDIDATES_MAX: usize = 8;

/// How long a plan is predicted to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Predicted {
    /// From the first task's inputs to the last task's end; neither starting workers nor writing results
    /// is in it.
    pub time_s: f64,
    /// Time on compute threads, summed over threads.
    pub compute_s: f64,
    /// The part of their time that cores compute, 0 to 1.
    pub busy: f64,
    /// Bytes that workers take in from each other and the store. Placed by time, tasks move other blocks than
    /// at home.
    pub moved_bytes: u64,
}

/// Predicts how long these phases take, one after the other.
pub(super) fn duration(plan: &Plan, phases: &[usize], terms: &Terms, rates: &Rates) -> Predicted {
    let mut run = Run {
        plan,
        terms,
        rates,
        now: 0,
        fleet: Fleet::new(terms.workers, terms.cores),
        live: Live::new(plan),
        frontier: Frontier::of(plan, 0),
        tasks: HashMap::new(),
        events: BinaryHeap::new(),
        count: 0,
        coordinator_free: 0,
        compute_ns: 0,
        moved_bytes: 0,
        running: 0,
    };
    for &phase in phases {
        run.phase(phase);
    }
    let cores = f64::from(terms.workers) * f64::from(terms.cores);
    let (time_s, compute_s) = (seconds(run.now), seconds(run.compute_ns));
    Predicted {
        time_s,
        compute_s,
        busy: if time_s > 0.0 {
            compute_s / (time_s * cores)
        } else {
            0.0
        },
        moved_bytes: run.moved_bytes,
    }
}

/// What happens to a task, in the order in which simultaneous events are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The coordinator knows of its outputs, and others can read them.
    Made,
    /// Its core is free again.
    Computed,
    /// Its inputs are at its worker.
    Fetched,
}

/// A task that is ready and not over.
struct Ready {
    /// Its distinct inputs and its outputs, with their bytes.
    reads: Vec<(BlockKey, u64)>,
    makes: Vec<(BlockKey, u64)>,
    home: Option<u32>,
    rank: Rank,
    /// Its worker, once one has it.
    worker: u32,
    kernel_ns: u64,
}

struct Run<'a> {
    plan: &'a Plan,
    terms: &'a Terms,
    rates: &'a Rates,
    now: u64,
    fleet: Fleet,
    /// Who has each block, and since when or from when on.
    live: Live<'a, Vec<(u32, u64)>>,
    frontier: Frontier<'a>,
    tasks: HashMap<u64, Ready>,
    /// Earliest first, then in the order of their making.
    events: BinaryHeap<Reverse<(u64, Event, u64)>>,
    /// Tasks that ever were ready; the number of the next one.
    count: u64,
    /// When the coordinator has looked at all tasks that are done.
    coordinator_free: u64,
    compute_ns: u64,
    moved_bytes: u64,
    running: u32,
}

impl Run<'_> {
    fn phase(&mut self, phase: usize) {
        self.frontier = Frontier::of(self.plan, phase);
        for task in self.frontier.starters() {
            self.ready(task);
        }
        self.dispatch();
        while let Some(Reverse((at, event, number))) = self.events.pop() {
            self.now = at;
            match event {
                Event::Fetched => self.fetched(number),
                Event::Computed => self.computed(number),
                Event::Made => self.made(number),
            }
            // What happens at one moment is all known before anybody gets a task.
            let is_last = |next: &Reverse<(u64, Event, u64)>| next.0.0 > at;
            if self.events.peek().is_none_or(is_last) {
                self.dispatch();
            }
        }
    }

    /// Puts a task that can run into the backlog of a worker.
    fn ready(&mut self, task: TaskId) {
        let view = View::of(self.plan, &task);
        let seconds = self.rates.seconds(self.plan.kernel(&task), view.work());
        let number = self.count;
        self.count += 1;
        let has_home = self.plan.home(&task).is_some();
        let mut ready = Ready {
            reads: view.reads(),
            makes: view.makes().collect(),
            home: has_home.then(|| place(self.plan, self.terms, &task)),
            rank: (self.plan.priority(&task), number),
            worker: 0,
            kernel_ns: nanoseconds(seconds),
        };
        let candidates = self.candidates(&ready);
        let draw = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 17;
        let chosen = policy::place(self.terms.policy, &candidates, draw);
        ready.worker = chosen.map_or(0, |worker| worker.0);
        self.fleet.queue(ready.worker, ready.rank, ready.kernel_ns);
        self.tasks.insert(number, ready);
    }

    fn candidates(&self, ready: &Ready) -> Vec<Candidate> {
        let mut workers: Vec<u32> = ready.home.into_iter().collect();
        for (key, _) in &ready.reads {
            let holders = self.live.get(key).map_or(&[][..], |holders| holders);
            workers.extend(holders.iter().take(CANDIDATES_MAX).map(|(w, _)| w));
        }
        workers.extend(self.fleet.least_loaded(CANDIDATES_MAX));
        workers.sort_unstable();
        workers.dedup();
        let candidates = workers.into_iter();
        candidates.map(|w| self.candidate(ready, w)).collect()
    }

    fn candidate(&self, ready: &Ready, worker: u32) -> Candidate {
        Candidate {
            worker: WorkerId(worker),
            is_home: ready.home == Some(worker),
            cores: self.terms.cores,
            available_s: seconds(self.fleet.load_ns(worker)) / f64::from(self.terms.cores),
            kernel_s: seconds(ready.kernel_ns),
            missing_bytes: self.missing_bytes(ready, worker),
            output_bytes: ready.makes.iter().map(|(_, bytes)| bytes).sum(),
        }
    }

    /// Bytes that a worker must fetch for a task.
    fn missing_bytes(&self, ready: &Ready, worker: u32) -> u64 {
        let missing = |key: &BlockKey| match (self.plan.is_source(key), self.plan.is_input(key)) {
            (true, false) => false,
            (true, true) if self.terms.preload => false,
            _ => self.arrival(key, worker).is_none(),
        };
        let reads = ready.reads.iter();
        reads
            .filter(|(key, _)| missing(key))
            .map(|(_, bytes)| bytes)
            .sum()
    }

    /// When a worker has or had a block that nobody need bring it.
    fn arrival(&self, key: &BlockKey, worker: u32) -> Option<u64> {
        if self.terms.exchange == Exchange::Store {
            return None;
        }
        let mut holders = self.live.get(key)?.iter();
        holders.find(|(w, _)| *w == worker).map(|(_, at)| *at)
    }

    /// Gives workers their next tasks, then lets idle ones steal.
    fn dispatch(&mut self) {
        while let Some((worker, number)) = self.fleet.next_task() {
            self.assign(worker, number);
        }
        for thief in self.fleet.thieves() {
            while self.fleet.is_idle(thief)
                && let Some((victim, number)) = self.theft(thief)
            {
                let (rank, kernel_ns) = match self.tasks.get_mut(&number) {
                    Some(ready) => {
                        ready.worker = thief;
                        (ready.rank, ready.kernel_ns)
                    }
                    None => break,
                };
                self.fleet.steal(thief, victim, rank, kernel_ns);
                self.assign(thief, number);
            }
        }
    }

    fn theft(&mut self, thief: u32) -> Option<(u32, u64)> {
        for (victim, number) in self.fleet.loot(thief) {
            let Some(ready) = self.tasks.remove(&number) else {
                continue;
            };
            let (mine, theirs) = (
                self.candidate(&ready, thief),
                self.candidate(&ready, victim),
            );
            self.tasks.insert(number, ready);
            if policy::steal_pays(self.terms.policy, &mine, &theirs) {
                return Some((victim, number));
            }
        }
        None
    }

    /// A worker begins to fetch what a task of its lacks.
    fn assign(&mut self, worker: u32, number: u64) {
        let Some(ready) = self.tasks.get(&number) else {
            return;
        };
        let bytes = self.missing_bytes(ready, worker);
        self.moved_bytes += bytes;
        let mut at = self
            .fleet
            .fetch(worker, self.now, line_ns(self.terms, bytes));
        for (key, _) in &ready.reads {
            let holders = self.live.enter(*key);
            match holders.iter().find(|(w, _)| *w == worker) {
                // On its way for another task.
                Some((_, arrives)) => at = at.max(*arrives),
                None => holders.push((worker, at)),
            }
        }
        self.events.push(Reverse((at, Event::Fetched, number)));
    }

    fn fetched(&mut self, number: u64) {
        let Some(ready) = self.tasks.get(&number) else {
            return;
        };
        let worker = ready.worker;
        self.fleet.can_run(worker, ready.rank);
        self.start(worker);
    }

    /// Starts what a worker's free cores can run.
    fn start(&mut self, worker: u32) {
        while let Some(number) = self.fleet.run(worker) {
            let Some(ready) = self.tasks.get(&number) else {
                return;
            };
            self.running += 1;
            let ns = shared(ready.kernel_ns, self.running, self.terms.machine_cores);
            self.compute_ns += ns;
            self.events
                .push(Reverse((self.now + ns, Event::Computed, number)));
        }
    }

    fn computed(&mut self, number: u64) {
        let Some(ready) = self.tasks.get(&number) else {
            return;
        };
        let worker = ready.worker;
        let made: u64 = ready.makes.iter().map(|(_, bytes)| bytes).sum();
        self.fleet.finished(worker, ready.kernel_ns);
        self.running -= 1;
        let there = match self.terms.exchange {
            Exchange::Peer => self.now,
            // Others read it from the store, so it must be there first.
            Exchange::Cache | Exchange::Store => {
                let ns = line_ns(self.terms, made);
                self.fleet.write(worker, self.now, ns)
            }
        };
        let told = there + nanoseconds(self.terms.trip_s);
        let ns = nanoseconds(self.terms.coordinator_s);
        let at = book(&mut self.coordinator_free, told, ns);
        self.events.push(Reverse((at, Event::Made, number)));
        self.start(worker);
    }

    fn made(&mut self, number: u64) {
        let Some(ready) = self.tasks.remove(&number) else {
            return;
        };
        let mut next = BTreeSet::new();
        for (key, _) in ready.makes {
            let readers = readers(self.plan, &key);
            let holders = vec![(ready.worker, self.now)];
            self.live.make(key, readers.len(), holders);
            self.frontier.made(&readers, Chain::default(), |task, _| {
                next.insert(task);
            });
        }
        for (key, _) in ready.reads {
            self.live.read(&key);
        }
        for task in next {
            self.ready(task);
        }
    }
}

/// How long bytes take on a worker's line.
fn line_ns(terms: &Terms, bytes: u64) -> u64 {
    nanoseconds(bytes as f64 / terms.bytes_s)
}

/// A kernel's time where more of them run than the machine has cores.
fn shared(ns: u64, running: u32, machine_cores: Option<u32>) -> u64 {
    let cores = machine_cores.unwrap_or(u32::MAX).max(1);
    if running <= cores {
        return ns;
    }
    (ns as f64 * f64::from(running) / f64::from(cores)) as u64
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 * 1e-9
}
