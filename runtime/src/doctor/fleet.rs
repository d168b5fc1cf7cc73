//! This machine as a fleet for the simulator: its kernels' speeds with all cores busy, measured at several
//! tile sides. Lines and messages are those of loopback as the shipped file has them.

use std::collections::BTreeMap;
use std::fmt::Write;

use peerwren_kernels::op::KernelSet;

use crate::actors::clock::Clock;
use crate::forecast::{Counts, Rates, Terms, measure};
use crate::linalg::{Operation, Request, Scales, plan};
use crate::matrix::{MatrixSource, RandomMatrix};
use crate::options::{MachineFacts, RunOptions, WORKER_MEMORY_PERCENT};
use crate::plan::Plan;
use crate::run::RunError;
use crate::sim::SHIPPED;

/// Tile sides at which kernels are measured.
const SIDES: [u32; 4] = [128, 256, 512, 1024];
/// Tiles that are made to measure how fast that is.
const INPUTS: usize = 50;
/// Tiles a side of the matrices whose kernels are: enough for each kernel of their programs.
const TILES: u32 = 4;

/// The text of a fleet file that describes this machine; takes some seconds for each of its cores.
///
/// # Errors
/// [`RunError::Failed`] where a kernel cannot be measured.
pub fn this_machine() -> Result<String, RunError> {
    let facts = MachineFacts::read();
    let mut at: BTreeMap<String, BTreeMap<u32, f64>> = BTreeMap::new();
    for side in SIDES {
        for (kernel, per_s) in rates(side, &facts)? {
            at.entry(kernel).or_default().insert(side, per_s * 1e-9);
        }
    }
    let shipped = SHIPPED.iter().find(|(name, _)| *name == "this-machine");
    let (_, template) = shipped.expect("it is shipped");
    let memory = facts.memory_available_bytes / 100 * WORKER_MEMORY_PERCENT;
    let memory = (memory / u64::from(facts.cores.max(1))) >> 20;
    let mut text = String::new();
    let mut section = "";
    for line in template.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line;
        }
        match (section, line.split_once(" = ")) {
            ("[worker]", Some(("memory", _))) => {
                let _ = writeln!(text, "memory = \"{memory}MiB\"");
            }
            ("[inputs]", Some(("bytes_s", _))) => {
                let rates = on_all_cores(&facts, input_rate);
                let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
                let _ = writeln!(text, "bytes_s = {mean:.3e}");
            }
            ("[machine]", Some(("cores", _))) => {
                let _ = writeln!(text, "cores = {}", facts.cores);
            }
            _ => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text.push_str(
        "\n# Measured with all cores busy: 10^9 operations a second by tile side, of kernels without operations\n\
         # 10^9 bytes.\n",
    );
    for (kernel, sides) in at {
        let _ = writeln!(text, "[kernels.at.{kernel}]");
        for (side, rate) in sides {
            let _ = writeln!(text, "{side} = {rate:.3}");
        }
    }
    Ok(text.trim_start().to_owned())
}

/// Bytes a second at which a core makes a matrix's entries.
fn input_rate() -> f64 {
    let side = 512;
    let Ok(matrix) = RandomMatrix::new(side as u64, side as u64, 1) else {
        return 0.0;
    };
    let mut tile = vec![0.0; side * side];
    let clock = Clock::start();
    for _ in 0..INPUTS {
        matrix.fill(0, 0, side, side, &mut tile);
        std::hint::black_box(&tile);
    }
    let seconds = clock.now().as_nanos() as f64 * 1e-9;
    (INPUTS * side * side * 8) as f64 / seconds.max(1e-9)
}

/// What is measured on every core at the same time.
fn on_all_cores<T: Send>(facts: &MachineFacts, measure: impl Fn() -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..facts.cores.max(1))
            .map(|_| scope.spawn(&measure))
            .collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.filter_map(Result::ok).collect()
    })
}

/// What each kernel does in a second at a tile side, with all cores busy: the mean over cores.
fn rates(side: u32, facts: &MachineFacts) -> Result<BTreeMap<String, f64>, RunError> {
    let mut counts = Vec::new();
    let kernels = KernelSet::standard();
    for request in requests(side, facts)? {
        let checked = Plan::new(plan(&request)?.plan, kernels.clone())?;
        let phases: Vec<usize> = (0..checked.phase_count()).collect();
        let terms = Terms::of(&request.options, facts);
        counts.push(Counts::of(&checked, &phases, &terms));
    }
    let measured = || -> Vec<Rates> { counts.iter().map(|c| measure(c, &kernels)).collect() };
    let all = on_all_cores(facts, measured);
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for (kernel, per_s) in all.iter().flatten().flat_map(Rates::iter) {
        let (sum, count) = sums.entry(kernel.to_owned()).or_default();
        *sum += per_s;
        *count += 1.0;
    }
    let means = sums.into_iter();
    Ok(means
        .map(|(kernel, (sum, count))| (kernel, sum / count))
        .collect())
}

/// The operations whose kernels are measured.
fn requests(side: u32, facts: &MachineFacts) -> Result<Vec<Request>, RunError> {
    let failed = |error: &dyn std::fmt::Display| RunError::Failed(error.to_string());
    let n = u64::from(side) * u64::from(TILES);
    let square = format!("random:{n}x{n}");
    let works = [
        (Operation::Qr, vec![square.clone()], "grid:2x2"),
        (Operation::Qr, vec![square.clone()], "numpywren"),
        (Operation::Cholesky, vec![format!("spd:{n}")], "auto"),
        (Operation::Lu, vec![square.clone()], "auto"),
        (
            Operation::Gemm(Scales {
                alpha: 1.0,
                beta: 0.0,
            }),
            vec![square.clone(), square],
            "auto",
        ),
    ];
    let requests = works.into_iter().map(|(operation, inputs, tree)| {
        let options = RunOptions {
            block: Some(side),
            workers: Some(4),
            tree: tree.parse().map_err(|e| failed(&e))?,
            ..RunOptions::default()
        };
        let inputs: Result<Vec<_>, _> = inputs
            .iter()
            .map(|text| MatrixSource::parse(text))
            .collect();
        let inputs = inputs.map_err(|e| failed(&e))?;
        let shapes: Vec<_> = inputs.iter().map(MatrixSource::shape).collect();
        let problem = operation.problem(&shapes).map_err(|e| failed(&e))?;
        let options = options
            .resolve_for(&problem, facts)
            .map_err(|e| failed(&e))?;
        Ok(Request::new(operation, inputs, options))
    });
    requests.collect()
}
