//! The workers of a predicted run: what waits at each, what it computes, when its line is free. Knows tasks
//! by rank and duration alone.

use std::collections::BTreeSet;

use crate::machine::policy::AHEAD;

/// Workers looked at for one theft, and entries of each one's backlog, as the scheduler does.
const VICTIMS_MAX: usize = 4;
const THEFT_TASKS_MAX: usize = 8;
/// Idle workers that may steal at one moment; the next moment others may.
const THIEVES_MAX: usize = 16;

/// What runs first: the lowest priority, then who became ready first; the second is the task's number.
pub(super) type Rank = (i64, u64);

#[derive(Clone, Debug, Default)]
struct Worker {
    /// Tasks that it will get.
    backlog: BTreeSet<Rank>,
    /// Tasks that it has and can run.
    runnable: BTreeSet<Rank>,
    /// Tasks that it has, running ones included.
    held: usize,
    running: usize,
    /// Durations of all its tasks.
    load_ns: u64,
    /// When its line has brought and taken all that is asked of it.
    in_free: u64,
    out_free: u64,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    cores: usize,
    workers: Vec<Worker>,
    /// All workers by what they have to do.
    loads: BTreeSet<(u64, u32)>,
    /// Those with a backlog, by what they have to do.
    backlogs: BTreeSet<(u64, u32)>,
    /// Those with a core for which they have no task.
    idle: BTreeSet<u32>,
    /// Those that may get a task from their backlog.
    touched: BTreeSet<u32>,
}

impl Fleet {
    pub(super) fn new(workers: u32, cores: u32) -> Self {
        let workers = workers.max(1);
        Self {
            cores: cores.max(1) as usize,
            workers: vec![Worker::default(); workers as usize],
            loads: (0..workers).map(|worker| (0, worker)).collect(),
            backlogs: BTreeSet::new(),
            idle: (0..workers).collect(),
            touched: BTreeSet::new(),
        }
    }

    fn of(&mut self, worker: u32) -> &mut Worker {
        &mut self.workers[worker as usize]
    }

    /// Changes a worker and notes what that makes of it.
    fn change<T>(&mut self, worker: u32, change: impl FnOnce(&mut Worker) -> T) -> T {
        let of = self.of(worker);
        let before = of.load_ns;
        let changed = change(of);
        let (load, is_waited_for) = (of.load_ns, !of.backlog.is_empty());
        let is_idle = of.held < self.cores;
        self.loads.remove(&(before, worker));
        self.loads.insert((load, worker));
        self.backlogs.remove(&(before, worker));
        if is_waited_for {
            self.backlogs.insert((load, worker));
            self.touched.insert(worker);
        }
        if is_idle {
            self.idle.insert(worker);
        } else {
            self.idle.remove(&worker);
        }
        changed
    }

    pub(super) fn load_ns(&self, worker: u32) -> u64 {
        self.workers[worker as usize].load_ns
    }

    pub(super) fn least_loaded(&self, most: usize) -> impl Iterator<Item = u32> + '_ {
        self.loads.iter().take(most).map(|(_, worker)| *worker)
    }

    /// Puts a task into a worker's backlog.
    pub(super) fn queue(&mut self, worker: u32, rank: Rank, ns: u64) {
        self.change(worker, |of| {
            of.backlog.insert(rank);
            of.load_ns += ns;
        });
    }

    /// A worker that has room for a task of its backlog, and that task, which it holds from now on.
    pub(super) fn next_task(&mut self) -> Option<(u32, u64)> {
        while let Some(worker) = self.touched.pop_first() {
            let most = self.cores + AHEAD;
            let taken = self.change(worker, |of| {
                let (_, number) = (of.held < most).then(|| of.backlog.pop_first())??;
                of.held += 1;
                Some(number)
            });
            match taken {
                Some(number) => return Some((worker, number)),
                None => self.touched.remove(&worker),
            };
        }
        None
    }

    pub(super) fn is_idle(&self, worker: u32) -> bool {
        self.idle.contains(&worker)
    }

    /// Workers that could do more, where there is anything to steal.
    pub(super) fn thieves(&self) -> Vec<u32> {
        if self.backlogs.is_empty() {
            return Vec::new();
        }
        self.idle.iter().copied().take(THIEVES_MAX).collect()
    }

    /// Tasks in others' backlogs: of those who have most to do what they would do last.
    pub(super) fn loot(&self, thief: u32) -> Vec<(u32, u64)> {
        let victims = self.backlogs.iter().rev().map(|(_, worker)| *worker);
        let victims = victims.filter(|worker| *worker != thief).take(VICTIMS_MAX);
        victims
            .flat_map(|victim| {
                let backlog = self.workers[victim as usize].backlog.iter().rev();
                let tasks = backlog.take(THEFT_TASKS_MAX);
                tasks.map(move |(_, number)| (victim, *number))
            })
            .collect()
    }

    /// Moves a task from a victim's backlog to a thief, who holds it.
    pub(super) fn steal(&mut self, thief: u32, victim: u32, rank: Rank, ns: u64) {
        self.change(victim, |of| {
            of.backlog.remove(&rank);
            of.load_ns -= ns;
        });
        self.change(thief, |of| {
            of.held += 1;
            of.load_ns += ns;
        });
    }

    /// Uses a worker's incoming line for so long; when that is over.
    pub(super) fn fetch(&mut self, worker: u32, now: u64, ns: u64) -> u64 {
        let line = &mut self.of(worker).in_free;
        book(line, now, ns)
    }

    /// Uses a worker's outgoing line for so long; when that is over.
    pub(super) fn write(&mut self, worker: u32, now: u64, ns: u64) -> u64 {
        let line = &mut self.of(worker).out_free;
        book(line, now, ns)
    }

    /// A task that a worker holds has its inputs.
    pub(super) fn can_run(&mut self, worker: u32, rank: Rank) {
        self.of(worker).runnable.insert(rank);
    }

    /// The task that a worker starts on a free core, if it can.
    pub(super) fn run(&mut self, worker: u32) -> Option<u64> {
        let cores = self.cores;
        let of = self.of(worker);
        let (_, number) = (of.running < cores).then(|| of.runnable.pop_first())??;
        of.running += 1;
        Some(number)
    }

    /// A task is computed.
    pub(super) fn finished(&mut self, worker: u32, ns: u64) {
        self.change(worker, |of| {
            of.running -= 1;
            of.held -= 1;
            of.load_ns -= ns;
        });
    }
}

/// Books a line that is used by one at a time; tasks that move nothing do not wait for it.
pub(super) fn book(line: &mut u64, now: u64, ns: u64) -> u64 {
    if ns == 0 {
        return now;
    }
    *line = (*line).max(now) + ns;
    *line
}
