//! Shipped programs on matrices of so many tiles, and their plans through the scheduler that runs use, with
//! workers that finish a task when they hear of it. Computes no tile and reads no clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use peerwren::control::{Counts, FromWorker, Made, ToWorker};
use peerwren::lambdapack::{Bound, Program};
use peerwren::machine::scheduler::{Action, Input, Scheduler, Settings};
use peerwren::machine::{Timestamp, WorkerId};
use peerwren::matrix::SourceSpec;
use peerwren::options::{Durability, Exchange, Policy};
use peerwren::plan::{InputFrom, Kept, PhaseSpec, Plan, PlanSpec};
use peerwren_kernels::KernelSet;
use peerwren_transports::block::Digest;

/// Workers, of one core each.
const WORKERS: u32 = 4;
/// Side of a tile: nothing is computed, but shapes are checked.
const NB: i64 = 64;

/// The text of a program.
///
/// # Errors
/// It is not shipped.
pub fn text(name: &str) -> Result<&'static str, String> {
    Program::shipped(name).ok_or_else(|| format!("{name} is not shipped"))
}

/// A shipped program on square matrices of so many tiles a side.
///
/// # Errors
/// It is not shipped, or refuses the size.
pub fn bound(name: &str, tiles: i64) -> Result<Bound, String> {
    let source = text(name)?;
    let program = Program::parse(&format!("{name}.lp"), source).map_err(|e| e.render())?;
    program
        .bind(&parameters(&program, tiles))
        .map_err(|e| e.render())
}

/// The parameters of a program on square matrices of so many tiles a side.
pub fn parameters(program: &Program, tiles: i64) -> BTreeMap<String, i64> {
    let size = |name: &str| match name {
        "m" | "n" => Some(NB * tiles),
        "nb" => Some(NB),
        _ => None,
    };
    program
        .params()
        .filter_map(|(name, _)| Some((name.to_owned(), size(name)?)))
        .collect()
}

/// A phase of a program, without inputs and results.
pub fn phase(name: &str, source: &str, params: &BTreeMap<String, i64>) -> PhaseSpec {
    PhaseSpec {
        name: "factor".to_owned(),
        file: format!("{name}.lp"),
        source: source.to_owned(),
        includes: Vec::new(),
        params: params
            .iter()
            .map(|(name, value)| (name.clone(), *value))
            .collect(),
        inputs: Vec::new(),
        results: Vec::new(),
    }
}

/// The authors' QR on so many tiles a side, as a plan that leaves R.
///
/// # Errors
/// It is not shipped, or has no such size.
pub fn plan(tiles: i64) -> Result<Arc<Plan>, String> {
    let name = "qr_numpywren";
    let source = text(name)?;
    let program = Program::parse(&format!("{name}.lp"), source).map_err(|e| e.render())?;
    let side = u64::try_from(NB * tiles).map_err(|_| format!("{tiles} is no number of tiles"))?;
    let matrix = InputFrom::Matrix(SourceSpec::random(side, side, 1), (NB as u32, NB as u32));
    let phase = PhaseSpec {
        inputs: vec![("I".to_owned(), matrix)],
        results: vec![Kept {
            output: "R".to_owned(),
            array: None,
        }],
        ..phase(name, source, &parameters(&program, tiles))
    };
    let spec = PlanSpec {
        run: 1,
        phases: vec![phase],
    };
    Plan::new(spec, KernelSet::standard()).map_err(|e| e.explain())
}

/// Runs a plan to its end; returns how many tasks ran.
///
/// # Errors
/// It does not come to an end.
pub fn run(plan: &Arc<Plan>) -> Result<u64, String> {
    let settings = Settings {
        workers: WORKERS,
        elastic: None,
        cores: 1,
        policy: Policy::Locality,
        exchange: Exchange::Peer,
        durability: Durability::Outputs,
        checkpoint: None,
        preload: false,
        start_timeout: Duration::from_secs(1),
        lease: Duration::from_secs(3600),
        volunteers: None,
    };
    let digest = Digest::of(b"a block that was never made");
    let mut scheduler = Scheduler::new(Arc::clone(plan), settings);
    let (mut now, mut done) = (0u64, 0u64);
    let mut inputs = VecDeque::from([Input::Begin]);
    while let Some(input) = inputs.pop_front() {
        now += 1_000;
        scheduler.handle_input(Timestamp::from_nanos(now), input);
        while let Some(action) = scheduler.poll_action() {
            match action {
                Action::Start(worker, _) => {
                    inputs.push_back(Input::Joined(worker, Vec::new(), digest))
                }
                Action::Send(worker, ToWorker::Assign(assignment)) => {
                    done += 1;
                    let keys = plan.outputs(&assignment.task);
                    let made = keys.iter().map(|key| Made {
                        key: *key,
                        digest: Some(digest),
                        bytes: plan.bytes(key),
                        durable: plan.is_result(key),
                    });
                    let message = FromWorker::Done {
                        lease: assignment.lease,
                        made: made.collect(),
                        dropped: assignment.dead,
                        compute_ns: 1_000,
                        counts: Counts::default(),
                    };
                    inputs.push_back(said(worker, message));
                }
                Action::Completed => return Ok(done),
                Action::Failed(reason) => return Err(reason),
                _ => {}
            }
        }
    }
    Err(format!("after {done} tasks nothing happens any more"))
}

fn said(worker: WorkerId, message: FromWorker) -> Input {
    Input::Message(worker, message)
}
