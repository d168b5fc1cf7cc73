//! QR factorization A = Q R of a matrix of any shape by a tree of Householder reflectors over tiles
//! (hierarchical tile QR: Dongarra et al., arXiv:1110.1553; numpywren's tree as a baseline).

use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use peerwren_kernels::op::KernelSet;

use super::assemble::{Wanted, number, priced, series, stats, write_npy};
use super::resume::save;
use crate::actors::clock::Clock;
use crate::lambdapack::Program;
use crate::machine::scheduler::PhaseFigures;
use crate::matrix::zarr::{Layout, ZarrSpec};
use crate::matrix::{MatrixSource, Place, ResultPlace, SourceSpec, overlap};
use crate::options::{Heads, Resolved, StoreChoice, Tree};
use crate::plan::{InputFrom, Kept, PhaseSpec, Plan, PlanSpec};
use crate::report::{PlanRecord, Progress, Report, SCHEMA_VERSION};
use crate::run::{Interrupt, Run, RunError};
use crate::runs::SavedRun;

/// What is to be factored, and what is wanted of it.
#[derive(Clone, Debug)]
pub struct QrRequest {
    /// The matrix A, m x n.
    pub source: MatrixSource,
    /// How to run, resolved for this matrix.
    pub options: Resolved,
    /// Where Q (m x k, k = min(m, n)) goes.
    pub q: Option<ResultPlace>,
    /// Where R (k x n, zero below the diagonal) goes.
    pub r: Option<ResultPlace>,
    /// Whether Q is formed and |A - QR| and |I - Q'Q| are computed, as tasks of the same workers.
    pub check: bool,
    /// Where whoever asks writes the report; only noted, for whoever resumes the run.
    pub report: Option<PathBuf>,
    /// Stops the run from outside.
    pub interrupt: Interrupt,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct QrOutcome {
    /// All figures.
    pub report: Report,
    /// The files and arrays written: what and where.
    pub files: Vec<(&'static str, ResultPlace)>,
}

/// Unit roundoff of f64, LAPACK's eps.
const EPS: f64 = f64::EPSILON / 2.0;

/// Factors a matrix; `progress` is called on this thread about ten times a second.
///
/// # Errors
/// [`RunError::Usage`] where nothing was started, [`RunError::Failed`] where the run failed.
pub fn qr(request: QrRequest, progress: &mut dyn FnMut(&Progress)) -> Result<QrOutcome, RunError> {
    let clock = Clock::start();
    check_places(&request)?;
    request
        .source
        .validate()
        .map_err(|error| RunError::Usage(error.to_string()))?;
    let spec = plan_qr(&request)?;
    execute(clock, request, spec, None, progress)
}

/// Runs a plan that is new, or that another driver began and saved.
pub(super) fn execute(
    clock: Clock,
    request: QrRequest,
    spec: PlanSpec,
    resumed: Option<SavedRun>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<QrOutcome, RunError> {
    let kernels = KernelSet::standard();
    let digest = spec.digest();
    let plan = Plan::new(spec.clone(), kernels.clone())?;
    if request.options.remote.is_none() {
        // Workers elsewhere are asked for their memory when they come.
        plan.check_memory(request.options.cores, request.options.memory)?;
    }
    let options = request.options.clone();
    let wanted = wanted(&request);
    let check = request.check.then_some(spec.phases.len() - 1);
    let is_resumed = resumed.is_some();
    let saved = match resumed {
        None if options.is_resumable() => Some(save(&request, &spec)?),
        resumed => resumed,
    };
    let run = Run {
        spec,
        kernels,
        options: options.clone(),
        interrupt: request.interrupt,
        uploads_inputs: options.engine.is_remote(),
        saved,
        is_resumed,
    };
    let planned = clock.now();
    let (outcome, ratios) = run.execute(Arc::clone(&plan), progress, async move |results| {
        let mut files = Vec::new();
        for file in &wanted {
            files.push(write_npy(&results, file).await?);
        }
        let mut norms = None;
        if let Some(phase) = check {
            let norm = async |name| number(&results, phase, name).await;
            norms = Some([
                norm("rnorm").await?,
                norm("anorm").await?,
                norm("onorm").await?,
            ]);
        }
        // With nothing to wait for in between: all files or none. Arrays become whole after them.
        for file in files {
            file.finish()
                .map_err(|error| RunError::Failed(error.to_string()))?;
        }
        Ok(norms)
    })?;
    let (m, n) = (options.m, options.n);
    let stats = |phase: usize| {
        outcome
            .phases
            .get(phase)
            .map_or_else(Default::default, |figures| {
                let stats = stats(
                    figures,
                    plan.task_count(phase),
                    plan.phase_flops(phase),
                    options.cores,
                );
                priced(stats, &plan, phase, &outcome, &options.prices)
            })
    };
    let named = |name: &str| {
        (1..plan.phase_count())
            .find(|&p| plan.phase_name(p) == name)
            .map(stats)
            .unwrap_or_default()
    };
    let ratio = |norm: f64, scale: f64| if norm == 0.0 { 0.0 } else { norm / scale };
    let mut factor = stats(0);
    factor.inputs_uploaded = outcome.uploaded.bytes;
    factor.bytes.store_written += outcome.uploaded.bytes;
    factor.requests.store_put += outcome.uploaded.requests;
    let report = Report {
        schema: SCHEMA_VERSION,
        command: "qr".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        plan: PlanRecord {
            input: request.source.to_string(),
            program: program_of(&options.tree).0.to_owned(),
            digest: digest.to_string(),
        },
        m,
        n,
        block: options.block,
        ib: options.ib,
        tree: options.tree.to_string(),
        workers: options.workers,
        cores: cores_of(&outcome.phases).unwrap_or(options.cores),
        engine: options.engine.to_string(),
        exchange: options.exchange.to_string(),
        policy: options.policy.to_string(),
        durability: options.durability.to_string(),
        memory: options.memory,
        wall_s: clock.now().since(Default::default()).as_secs_f64(),
        startup_s: (outcome.startup + planned.since(Default::default())).as_secs_f64(),
        preload_s: outcome.preload.as_secs_f64(),
        profile: series(&outcome.profile),
        factor,
        q: named("q"),
        check: named("check"),
        residual: ratios.map(|[rnorm, anorm, _]| ratio(rnorm, m.max(n) as f64 * EPS * anorm)),
        orthogonality: ratios.map(|[_, _, onorm]| ratio(onorm, m as f64 * EPS)),
    };
    let files = [("Q", request.q), ("R", request.r)];
    let files = files
        .into_iter()
        .filter_map(|(name, path)| Some((name, path?)))
        .collect();
    Ok(QrOutcome { report, files })
}

/// The most compute threads of a worker that came by itself.
fn cores_of(phases: &[PhaseFigures]) -> Option<u32> {
    phases.iter().flat_map(|f| f.cores.values()).copied().max()
}

/// The plan of a request: factor, then Q and the check where they are wanted.
///
/// # Errors
/// The input cannot be read any more.
pub fn plan_qr(request: &QrRequest) -> Result<PlanSpec, RunError> {
    let options = &request.options;
    let source = request
        .source
        .spec()
        .map_err(|error| RunError::Usage(error.to_string()))?;
    let nb = options.block;
    let (m, n) = (options.m, options.n);
    let k = m.min(n);
    let form_q = request.q.is_some() || request.check;
    let (factor, apply) = program_of(&options.tree);
    let params = params(options);
    let with = |more: &[(&str, u64)]| {
        let more = more
            .iter()
            .map(|&(name, value)| (name.to_owned(), int(value)));
        params.iter().cloned().chain(more).collect::<Vec<_>>()
    };
    let matrix = |source: SourceSpec| InputFrom::Matrix(source, nb);
    let link = |phase: u8, name: &str| InputFrom::Phase(phase, name.to_owned());
    let numpywren = matches!(options.tree, Tree::Numpywren { .. });
    let a = if numpywren { "I" } else { "A" };
    let keep = |place: &Option<ResultPlace>, name: &str, rows, cols| {
        let place = place.as_ref().into_iter();
        let kept = place.map(|place| kept(place, name, (rows, cols), options));
        kept.collect::<Result<Vec<_>, _>>()
    };
    let mut phases = vec![phase(
        "factor",
        factor,
        with(&[]),
        vec![(a.to_owned(), matrix(source))],
        keep(&request.r, "R", k, n)?,
    )];
    if form_q {
        let mut inputs = vec![("B".to_owned(), matrix(SourceSpec::eye(m, k)))];
        let factors: &[&str] = if numpywren {
            &["V", "T"]
        } else {
            &["V", "T", "V2", "T2"]
        };
        inputs.extend(factors.iter().map(|&name| (name.to_owned(), link(0, name))));
        let keep = keep(&request.q, "X", m, k)?;
        let size: &[(&str, u64)] = if numpywren {
            &[("r", k)]
        } else {
            &[("r", k), ("thin", 1)]
        };
        phases.push(phase("q", apply, with(size), inputs, keep));
    }
    if request.check {
        let (p, q) = options.tree.grid();
        let (p, q, dense) = (p.into(), q.into(), u64::from(numpywren));
        let sizes = [
            ("m", m),
            ("n", n),
            ("nb", u64::from(nb)),
            ("HP", p),
            ("HQ", q),
            ("dense", dense),
        ];
        let sizes = sizes
            .iter()
            .map(|&(name, value)| (name.to_owned(), int(value)))
            .collect();
        let inputs = vec![
            ("A".to_owned(), link(0, a)),
            ("Q".to_owned(), link(1, "X")),
            ("R".to_owned(), link(0, "R")),
        ];
        let norms = ["rnorm", "anorm", "onorm"].map(|name| Kept {
            output: name.to_owned(),
            array: None,
        });
        phases.push(phase("check", "check_qr", sizes, inputs, norms.to_vec()));
    }
    Ok(PlanSpec {
        run: std::hash::RandomState::new().build_hasher().finish(),
        phases,
    })
}

/// No result takes the place of the input or of another.
fn check_places(request: &QrRequest) -> Result<(), RunError> {
    let input = request.source.place().map(|place| ("the input", place));
    let result = |name, place: &Option<ResultPlace>| Some((name, place.as_ref()?.place()));
    let (q, r) = (result("Q", &request.q), result("R", &request.r));
    for (one, other) in [(&input, &q), (&input, &r), (&q, &r)] {
        if let (Some((one, place)), Some((other, second))) = (one, other)
            && overlap(place, second)
        {
            return Err(RunError::Usage(format!(
                "{one} and {other} are both {second}; name two places"
            )));
        }
    }
    Ok(())
}

/// An output and where it goes.
fn kept(
    place: &ResultPlace,
    output: &str,
    (rows, cols): (u64, u64),
    options: &Resolved,
) -> Result<Kept, RunError> {
    let array = match place {
        ResultPlace::Npy(_) => None,
        ResultPlace::Zarr(Place::Folder(_))
            if options.engine.is_remote() && !matches!(options.store, StoreChoice::Folder(_)) =>
        {
            return Err(RunError::Usage(format!(
                "output {place}: a folder of this machine, which workers on others cannot write; name \
                 s3://bucket/name.zarr"
            )));
        }
        ResultPlace::Zarr(_) => {
            let layout = Layout::tiled(rows, cols, options.block).map_err(RunError::Usage)?;
            Some(ZarrSpec::new(&place.absolute(), &layout))
        }
    };
    let output = output.to_owned();
    Ok(Kept { output, array })
}

/// The programs that factor with a tree and that apply its Q.
fn program_of(tree: &Tree) -> (&'static str, &'static str) {
    match tree {
        Tree::Numpywren { .. } => ("qr_numpywren", "apply_q_numpywren"),
        Tree::Flat { .. } | Tree::Binary { .. } | Tree::Grid { .. } => ("qr_grid", "apply_q"),
    }
}

/// Parameters of the factorization's programs.
fn params(options: &Resolved) -> Vec<(String, i64)> {
    let (m, n, nb) = (options.m, options.n, u64::from(options.block));
    let mt = m.div_ceil(nb);
    let (p, q) = options.tree.grid();
    let (domains, columns, binary) = match options.tree {
        Tree::Numpywren { .. } => {
            let sizes = [("n", n), ("nb", nb)];
            return sizes
                .iter()
                .map(|&(name, value)| (name.to_owned(), int(value)))
                .collect();
        }
        Tree::Flat { .. } => (1, 1, 0),
        Tree::Binary { .. } => (mt, 1, 1),
        Tree::Grid { p, q, heads } => (p.into(), q.into(), u64::from(heads == Heads::Binary)),
    };
    [
        ("m", m),
        ("n", n),
        ("nb", nb),
        ("ib", options.ib.into()),
        ("P", domains),
        ("Q", columns),
        ("bin", binary),
        ("HP", p.into()),
        ("HQ", q.into()),
    ]
    .iter()
    .map(|&(name, value)| (name.to_owned(), int(value)))
    .collect()
}

/// Sizes are checked to fit 63 bits when the input is opened.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn phase(
    name: &str,
    program: &str,
    params: Vec<(String, i64)>,
    inputs: Vec<(String, InputFrom)>,
    results: Vec<Kept>,
) -> PhaseSpec {
    let source = Program::shipped(program).expect("the program is shipped with this crate");
    PhaseSpec {
        name: name.to_owned(),
        file: format!("{program}.lp"),
        source: source.to_owned(),
        includes: Vec::new(),
        params,
        inputs,
        results,
    }
}

/// The `.npy` files that a request wants.
fn wanted(request: &QrRequest) -> Vec<Wanted> {
    let (m, n) = (request.options.m, request.options.n);
    let (k, block) = (m.min(n), request.options.block);
    let file = |phase, output, place: &Option<ResultPlace>, rows, cols| match place {
        Some(ResultPlace::Npy(path)) => Some(Wanted {
            phase,
            output,
            path: path.clone(),
            rows,
            cols,
            block,
        }),
        Some(ResultPlace::Zarr(_)) | None => None,
    };
    let files = [
        file(0, "R", &request.r, k, n),
        file(1, "X", &request.q, m, k),
    ];
    files.into_iter().flatten().collect()
}
