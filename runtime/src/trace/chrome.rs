//! Puts a run's events into words, as entries that chrome://tracing and Perfetto draw: a process for each
//! worker with a line for each compute thread, fetch and put, and one for the coordinator. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use peerwren_transports::block::{BlockKey, Digest};

use super::clocks::Clocks;
use super::form::{About, Args, Entry, FORM, MadeBlock};
use super::lanes::Lanes;
use super::words::{place, why_dropped, why_fetched, why_granted, why_stored};
use super::{Record, RunEvent, WorkerEvent};
use crate::control::Origin;
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::plan::{Plan, TaskId, block_name};

/// The coordinator's process in the picture; worker w is process w + 1.
const COORDINATOR: u32 = 1_000_000;
/// The coordinator's lines.
const RUN_LINE: u32 = 1;
const LEASES_LINE: u32 = 2;
const BLOCKS_LINE: u32 = 3;
/// First lines of a worker's fetches, puts and the rest; compute threads come before, and are fewer.
const FETCHES: u32 = 10_001;
const PUTS: u32 = 20_001;
const CACHE_LINE: u32 = 30_001;

/// What a trace says of its run besides what happened.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    /// The operation and its inputs.
    pub(crate) title: String,
}

/// Writes entries one by one.
pub(super) struct Writer<'a, W: Write> {
    out: W,
    plan: &'a Plan,
    clocks: &'a Clocks,
    labels: Vec<String>,
    /// Leases that are not finished: the task, why and when they were granted.
    granted: BTreeMap<LeaseId, (TaskId, String, f64)>,
    threads: BTreeSet<(WorkerId, u32)>,
    fetches: Lanes,
    puts: Lanes,
    is_first: bool,
}

impl<'a, W: Write> Writer<'a, W> {
    pub(super) fn begin(
        mut out: W,
        plan: &'a Plan,
        clocks: &'a Clocks,
        header: &Header,
        outcome: &str,
    ) -> io::Result<Self> {
        let labels = plan.family_labels();
        let about = About {
            peerwren_trace: FORM,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            title: header.title.clone(),
            run: format!("{:016x}", plan.run()),
            plan: plan.digest().to_string(),
            outcome: outcome.to_owned(),
            clock_error_us: clocks.error_us(),
            families: labels.clone(),
        };
        out.write_all(b"{\"displayTimeUnit\":\"ms\",\n\"otherData\":")?;
        serde_json::to_writer(&mut out, &about)?;
        out.write_all(b",\n\"traceEvents\":[")?;
        Ok(Self {
            out,
            plan,
            clocks,
            labels,
            granted: BTreeMap::new(),
            threads: BTreeSet::new(),
            fetches: Lanes::default(),
            puts: Lanes::default(),
            is_first: true,
        })
    }

    pub(super) fn add(&mut self, record: Record) -> io::Result<()> {
        match record {
            Record::Run { at, event } => {
                let entry = self.at_coordinator(at, event);
                self.write(entry)
            }
            Record::Heard { worker, events, .. } => {
                events
                    .into_iter()
                    .try_for_each(|event| match self.at_worker(worker, event) {
                        Some(entry) => self.write(entry),
                        None => Ok(()),
                    })
            }
        }
    }

    /// Names the lines and closes the lists.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let mut lines = vec![
            (COORDINATOR, None, "coordinator".to_owned(), 0),
            (COORDINATOR, Some(RUN_LINE), "run".to_owned(), 0),
            (COORDINATOR, Some(LEASES_LINE), "leases".to_owned(), 1),
            (COORDINATOR, Some(BLOCKS_LINE), "blocks".to_owned(), 2),
        ];
        let mut workers: BTreeSet<_> = self.threads.iter().map(|&(worker, _)| worker).collect();
        for (worker, thread) in &self.threads {
            let name = format!("compute-{thread}");
            lines.push((process(*worker), Some(thread + 1), name, thread + 1));
        }
        for (lanes, first, what) in [(&self.fetches, FETCHES, "fetch"), (&self.puts, PUTS, "put")] {
            for (worker, count) in lanes.counts() {
                workers.insert(worker);
                for lane in 0..u32::try_from(count).unwrap_or(0) {
                    let name = format!("{what}-{lane}");
                    lines.push((process(worker), Some(first + lane), name, first + lane));
                }
            }
        }
        for worker in workers {
            let (pid, name) = (process(worker), worker.to_string());
            lines.push((pid, None, name, pid));
            lines.push((pid, Some(CACHE_LINE), "cache".to_owned(), CACHE_LINE));
        }
        for (pid, tid, name, place) in lines {
            let of = if tid.is_some() { "thread" } else { "process" };
            let args = [
                (
                    "name",
                    Args {
                        name: Some(name),
                        ..Args::default()
                    },
                ),
                (
                    "sort_index",
                    Args {
                        sort_index: Some(place),
                        ..Args::default()
                    },
                ),
            ];
            for (what, args) in args {
                let entry = Entry {
                    name: format!("{of}_{what}"),
                    ph: "M".to_owned(),
                    pid,
                    tid: tid.unwrap_or(0),
                    args,
                    ..Entry::default()
                };
                self.write(entry)?;
            }
        }
        self.out.write_all(b"\n]}\n")
    }

    /// Writes an entry, its times to the nanosecond.
    fn write(&mut self, entry: Entry) -> io::Result<()> {
        let between: &[u8] = if self.is_first { b"\n" } else { b",\n" };
        self.is_first = false;
        self.out.write_all(between)?;
        let nanos = |us: f64| (us * 1e3).round() / 1e3;
        let entry = Entry {
            ts: nanos(entry.ts),
            dur: entry.dur.map(nanos),
            ..entry
        };
        Ok(serde_json::to_writer(&mut self.out, &entry)?)
    }

    // ---- the coordinator's

    fn at_coordinator(&mut self, at: Timestamp, event: RunEvent) -> Entry {
        let ts = at.as_nanos() as f64 / 1e3;
        let moment =
            |name: &str, cat, line, args| moment(ts, (name, cat), (COORDINATOR, line), args);
        let of_worker = |worker: WorkerId| Args {
            worker: Some(worker.0),
            ..Args::default()
        };
        let of_block = |key: &BlockKey| Args {
            block: Some(self.name(key)),
            ..Args::default()
        };
        let of_lease = |lease: LeaseId, task: &TaskId, worker| Args {
            task: Some(self.plan.describe(task)),
            lease: Some(lease.0),
            ..of_worker(worker)
        };
        match event {
            RunEvent::Joined(worker) => moment("joined", "worker", RUN_LINE, of_worker(worker)),
            RunEvent::Leaving(worker) => moment("leaving", "worker", RUN_LINE, of_worker(worker)),
            RunEvent::Left { worker, is_lost } => {
                let name = if is_lost { "lost" } else { "left" };
                moment(name, "worker", RUN_LINE, of_worker(worker))
            }
            RunEvent::Phase(phase) => {
                let phases = self.plan.phase_count();
                let phase = usize::from(phase).min(phases.saturating_sub(1));
                moment(
                    self.plan.phase_name(phase),
                    "phase",
                    RUN_LINE,
                    Args::default(),
                )
            }
            RunEvent::Failed(reason) => {
                let args = Args {
                    why: Some(reason),
                    ..Args::default()
                };
                moment("failed", "run", RUN_LINE, args)
            }
            RunEvent::Granted {
                lease,
                task,
                worker,
                why,
            } => {
                let why = why_granted(why);
                let args = Args {
                    why: Some(why.clone()),
                    ..of_lease(lease, &task, worker)
                };
                self.granted.insert(lease, (task, why, ts));
                moment("granted", "lease", LEASES_LINE, args)
            }
            RunEvent::GivenBack {
                lease,
                task,
                worker,
                missing,
            } => {
                let args = Args {
                    missing: missing.iter().map(|key| self.name(key)).collect(),
                    ..of_lease(lease, &task, worker)
                };
                self.granted.remove(&lease);
                moment("given back", "lease", LEASES_LINE, args)
            }
            RunEvent::Lost(key) => moment("lost", "block", BLOCKS_LINE, of_block(&key)),
            RunEvent::Dead(key) => moment("dead", "block", BLOCKS_LINE, of_block(&key)),
            RunEvent::Reopened { task, block } => {
                let args = Args {
                    task: Some(self.plan.describe(&task)),
                    ..of_block(&block)
                };
                moment("reopened", "block", BLOCKS_LINE, args)
            }
        }
    }

    // ---- a worker's

    /// What a worker did; nothing where it speaks of what it was not given.
    fn at_worker(&mut self, worker: WorkerId, event: WorkerEvent) -> Option<Entry> {
        let clocks = self.clocks;
        let us = |nanos| clocks.micros(worker, nanos);
        let name = |key: &BlockKey| block_name(&self.labels, key);
        Some(match event {
            WorkerEvent::Ran {
                lease,
                thread,
                told_ns: _,
                began_ns,
                took_ns,
                made,
            } => {
                let span = (us(began_ns), us(began_ns.saturating_add(took_ns)));
                return self.ran((worker, thread), lease, span, &made);
            }
            WorkerEvent::Fetched {
                key,
                origin,
                purpose,
                task,
                began_ns,
                ended_ns,
                bytes,
                referred,
            } => {
                let (block, span) = (name(&key), (us(began_ns), us(ended_ns)));
                let args = Args {
                    block: Some(block.clone()),
                    worker: Some(worker.0),
                    from: Some(place(origin)),
                    bytes,
                    failed: (bytes.is_none() && referred.is_none()).then_some(true),
                    referred: referred.map(|peer| place(Origin::Peer(peer))),
                    task: task.map(|task| self.task(&task)),
                    why: why_fetched(purpose).map(str::to_owned),
                    ..Args::default()
                };
                let lane = FETCHES + self.fetches.place(worker, span.0, span.1);
                lasting(&block, "fetch", (worker, lane), span, args)
            }
            WorkerEvent::Stored {
                key,
                reason,
                began_ns,
                ended_ns,
                bytes,
            } => {
                let (block, span) = (name(&key), (us(began_ns), us(ended_ns)));
                let args = Args {
                    block: Some(block.clone()),
                    worker: Some(worker.0),
                    bytes: Some(bytes),
                    why: Some(why_stored(reason).to_owned()),
                    ..Args::default()
                };
                let lane = PUTS + self.puts.place(worker, span.0, span.1);
                lasting(&block, "put", (worker, lane), span, args)
            }
            WorkerEvent::Dropped { key, reason, at_ns } => {
                let args = Args {
                    block: Some(name(&key)),
                    worker: Some(worker.0),
                    why: Some(why_dropped(reason).to_owned()),
                    ..Args::default()
                };
                let line = (process(worker), CACHE_LINE);
                moment(us(at_ns), ("dropped", "drop"), line, args)
            }
        })
    }

    /// A task that was computed, under a lease that was granted.
    fn ran(
        &mut self,
        (worker, thread): (WorkerId, u32),
        lease: LeaseId,
        span: (f64, f64),
        made: &[(BlockKey, Option<Digest>, u64)],
    ) -> Option<Entry> {
        let (task, why, at) = self.granted.remove(&lease)?;
        self.threads.insert((worker, thread));
        let outputs = self.plan.outputs(&task).into_iter();
        let makes = outputs.map(|key| {
            let told = made.iter().find(|(made, ..)| *made == key);
            MadeBlock {
                block: self.name(&key),
                bytes: told.map_or(self.plan.bytes(&key), |(.., bytes)| *bytes),
                digest: told
                    .and_then(|(_, digest, _)| *digest)
                    .map_or(String::new(), |digest| digest.to_string()),
            }
        });
        let inputs = self.plan.inputs(&task);
        let args = Args {
            task: Some(self.plan.describe(&task)),
            line: Some(self.line(&task)),
            lease: Some(lease.0),
            worker: Some(worker.0),
            why: Some(why),
            waited_us: Some((span.0 - at).max(0.0)),
            reads: inputs.iter().map(|key| self.name(key)).collect(),
            makes: makes.collect(),
            ..Args::default()
        };
        let line = (worker, thread.saturating_add(1));
        Some(lasting(self.plan.kernel(&task), "task", line, span, args))
    }

    /// A task that a worker speaks of.
    fn task(&self, task: &TaskId) -> String {
        if usize::from(task.phase) < self.plan.phase_count() {
            self.plan.describe(task)
        } else {
            format!("{task:?}")
        }
    }

    fn name(&self, key: &BlockKey) -> String {
        block_name(&self.labels, key)
    }

    fn line(&self, task: &TaskId) -> String {
        let (file, line) = self.plan.statement_place(task.phase.into(), task.stmt);
        format!("{file}:{line}")
    }
}

fn moment(ts: f64, (name, cat): (&str, &str), (pid, tid): (u32, u32), args: Args) -> Entry {
    Entry {
        name: name.to_owned(),
        cat: cat.to_owned(),
        ph: "i".to_owned(),
        ts,
        pid,
        tid,
        s: Some("t".to_owned()),
        args,
        ..Entry::default()
    }
}

fn lasting(
    name: &str,
    cat: &str,
    (worker, tid): (WorkerId, u32),
    (begin, end): (f64, f64),
    args: Args,
) -> Entry {
    Entry {
        name: name.to_owned(),
        cat: cat.to_owned(),
        ph: "X".to_owned(),
        ts: begin,
        dur: Some(end - begin),
        pid: process(worker),
        tid,
        args,
        ..Entry::default()
    }
}

fn process(worker: WorkerId) -> u32 {
    worker.0.saturating_add(1)
}
