//! Finishes a run whose driver died, from what that driver saved and from the newest sound manifest in the
//! run's store.

use std::path::PathBuf;
use std::time::Duration;

use peerwren_kernels::op::KernelSet;
use peerwren_transports::identity::Authority;

use super::execute::{Terms, execute};
use super::job::Job;
use super::request::Outcome;
use crate::actors::clock::{self, Clock};
use crate::matrix::{ResultPlace, SourceSpec};
use crate::options::{
    EngineKind, Exchange, MachineFacts, Policy, RemoteOptions, Resolved, RunOptions, UnknownChoice,
};
use crate::plan::InputFrom;
use crate::report::Progress;
use crate::run::{Interrupt, RunError, discard, store_place};
use crate::runs::{self, RunRecord, RunsError, SavedRun};

/// What may differ from the run's first driver: nothing that changes bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResumeOptions {
    /// Number of workers.
    pub workers: Option<u32>,
    /// Compute threads of each worker.
    pub cores: Option<u32>,
    /// What runs the workers.
    pub engine: Option<EngineKind>,
    /// How blocks move.
    pub exchange: Option<Exchange>,
    /// How tasks are placed.
    pub policy: Option<Policy>,
    /// Bytes of memory of each worker.
    pub memory: Option<u64>,
    /// Where a trace of what is left of the run is written.
    pub trace: Option<PathBuf>,
}

impl From<RunsError> for RunError {
    fn from(error: RunsError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Finishes a run whose driver died: goes on from its newest checkpoint whose blocks are all as they were,
/// and writes the results where they were to go. `kernels` are those of the run; `progress` is called as
/// by [`run`](super::run).
///
/// # Errors
/// [`RunError::Usage`] where the run cannot go on here, [`RunError::Failed`] where it failed again.
pub fn resume(
    saved: SavedRun,
    options: &ResumeOptions,
    kernels: KernelSet,
    interrupt: Interrupt,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Outcome, RunError> {
    let clock = Clock::start();
    let record = saved.record();
    let job = record.job.clone();
    let usage = |error: &dyn std::fmt::Display| RunError::Usage(error.to_string());
    let mut inputs = Vec::new();
    for source in sources(&job) {
        inputs.extend(source.open().map_err(|e| usage(&e))?.place());
    }
    let mut results = Vec::new();
    for wanted in &job.wanted {
        let place = record.result(&wanted.name).ok_or_else(|| {
            RunError::Usage(format!("the run does not say where {} goes", wanted.name))
        })?;
        let place = ResultPlace::parse(&place).map_err(|e| usage(&e))?;
        // Sooner told than after all the work. Arrays are there already, if only in part.
        if let ResultPlace::Npy(_) = place {
            if inputs.is_empty() {
                place.check_writable(None).map_err(|e| usage(&e))?;
            }
            for input in &inputs {
                place.check_writable(Some(input)).map_err(|e| usage(&e))?;
            }
        }
        results.push((wanted.name.clone(), place));
    }
    let terms = Terms {
        options: resolved(record, options)?,
        results,
        kernels,
        report: record.report_path(),
        trace: options.trace.clone(),
        interrupt,
    };
    execute(clock, terms, job, Some(saved), progress)
}

/// The matrices that the plan reads.
fn sources(job: &Job) -> impl Iterator<Item = &SourceSpec> {
    let inputs = job.plan.phases.iter().flat_map(|phase| &phase.inputs);
    inputs.filter_map(|(_, from)| match from {
        InputFrom::Matrix(source, _) => Some(source),
        InputFrom::Phase(..) => None,
    })
}

/// Gives a run up: removes its blocks, its store if that was made for it, and what its driver saved.
///
/// # Errors
/// Something cannot be removed.
pub fn forget(saved: SavedRun) -> Result<(), RunError> {
    let record = saved.record();
    let place = record.store.parse();
    let place = place.map_err(|error| RunError::Usage(format!("{error}")))?;
    discard(&place, record.store_is_temporary, record.job.plan.run)?;
    saved.remove().map_err(RunError::from)
}

/// Saves a run that is about to begin.
pub(super) fn save(terms: &Terms, job: &Job) -> Result<SavedRun, RunError> {
    let options = &terms.options;
    let Some((store, store_is_temporary)) = store_place(&options.store, job.plan.run) else {
        return Err(RunError::Usage(
            "a store in memory cannot be resumed from".to_owned(),
        ));
    };
    if store.to_string().parse().as_ref() != Ok(&store) {
        return Err(RunError::Usage(format!(
            "--store {store} is not valid UTF-8, as it must be where a run can be resumed"
        )));
    }
    let remote = options.remote.as_ref();
    let token = remote.map(|remote| remote.token.clone());
    let place = |result: &ResultPlace| match result {
        ResultPlace::Npy(path) => runs::absolute_bytes(path),
        ResultPlace::Zarr(_) => result.absolute().to_string().into_bytes(),
    };
    let results = terms.results.iter();
    let results = results.map(|(name, result)| (name.clone(), place(result)));
    let token = token.map(|token| ("token".to_owned(), runs::absolute_bytes(&token)));
    let authority = remote.map(|_| Authority::new(job.plan.run, clock::wall()));
    let authority = authority.transpose();
    let authority = authority.map_err(|error| RunError::Failed(error.to_string()))?;
    let record = RunRecord {
        job: job.clone(),
        options: words(options),
        results: results.chain(token).collect(),
        report: terms.report.as_deref().map(runs::absolute_bytes),
        store: store.to_string(),
        store_is_temporary,
        key: runs::new_key()?,
        authority: authority.map(|authority| authority.to_pem()),
    };
    Ok(SavedRun::create(record)?)
}

/// The options that a run goes on with, by their names.
fn words(options: &Resolved) -> Vec<(String, String)> {
    let words = [
        ("block", options.block.to_string()),
        ("ib", options.ib.to_string()),
        ("tree", options.tree.to_string()),
        ("workers", options.workers.to_string()),
        ("cores", options.cores.to_string()),
        ("engine", options.engine.to_string()),
        ("exchange", options.exchange.to_string()),
        ("policy", options.policy.to_string()),
        ("durability", options.durability.to_string()),
        ("memory", options.memory.to_string()),
        ("listen", options.listen.to_string()),
        ("advertise", options.advertise.join(",")),
        ("control", options.control.to_string()),
        ("stun", options.stun.join(",")),
    ];
    let remote = options.remote.iter().flat_map(|remote| {
        [
            ("token_s", remote.token_valid.as_secs().to_string()),
            ("start_s", remote.start_timeout.as_secs().to_string()),
        ]
    });
    let words = words.into_iter().chain(remote);
    words.map(|(name, text)| (name.to_owned(), text)).collect()
}

/// The run's own options, but for those that are given now.
fn resolved(record: &RunRecord, now: &ResumeOptions) -> Result<Resolved, RunError> {
    let number = |name: &str| {
        record
            .option(name)
            .and_then(|text| text.parse::<u64>().ok())
    };
    let small = |name| number(name).and_then(|value| u32::try_from(value).ok());
    let word = |name| record.option(name).unwrap_or_default();
    let wrong = |error: UnknownChoice| RunError::Usage(error.to_string());
    let (workers, cores) = (small("workers"), small("cores"));
    let mut options = RunOptions {
        block: small("block"),
        ib: small("ib"),
        tree: word("tree").parse().map_err(wrong)?,
        workers: now.workers.or(workers),
        cores: now.cores.or(cores).unwrap_or(1),
        engine: match &now.engine {
            Some(engine) => engine.clone(),
            None => word("engine").parse().map_err(wrong)?,
        },
        exchange: match now.exchange {
            Some(exchange) => exchange,
            None => word("exchange").parse().map_err(wrong)?,
        },
        policy: match now.policy {
            Some(policy) => policy,
            None => word("policy").parse().map_err(wrong)?,
        },
        durability: Some(word("durability").parse().map_err(wrong)?),
        store: record.store.parse().map_err(wrong)?,
        memory: now.memory,
        ..RunOptions::default()
    };
    if let Ok(listen) = word("listen").parse() {
        options.listen = listen;
    }
    if let Ok(control) = word("control").parse() {
        options.control = control;
    }
    let list = |name| {
        let words = word(name).split(',').filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    (options.advertise, options.stun) = (list("advertise"), list("stun"));
    let seconds = |name| number(name).map(Duration::from_secs);
    if let (EngineKind::Remote, Some(token)) = (&options.engine, record.result("token")) {
        options.remote = Some(RemoteOptions {
            token,
            token_valid: seconds("token_s").unwrap_or_default(),
            start_timeout: seconds("start_s").unwrap_or_default(),
        });
    }
    let (m, n) = (record.job.m, record.job.n);
    let facts = MachineFacts::read();
    let usage = |error: crate::options::OptionError| RunError::Usage(error.to_string());
    if let (None, Some(memory)) = (options.memory, number("memory")) {
        // More workers than the run had share what there is.
        let share = options.resolve(m, n, &facts).map_err(usage)?.memory;
        let is_as_before = options.workers <= workers;
        options.memory = Some(if is_as_before {
            memory
        } else {
            memory.min(share)
        });
    }
    options.resolve(m, n, &facts).map_err(usage)
}
