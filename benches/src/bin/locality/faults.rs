//! The same run in calm and in trouble: a slow worker, a killed one, half of them replaced, little memory.
//! Owns what is done to workers, by signals; that the results have the same bits is checked, byte by byte.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use peerwren_benches::figures::{listed, median, table};
use peerwren_benches::report::Report;
use peerwren_benches::running::{Running, Worked, send};
use rustix::process::Signal;

use crate::options::{Bench, MIB};

/// Between two looks at a run.
const LOOK: Duration = Duration::from_millis(2);
/// A slow worker runs for a third of every period and is stopped for the rest of it.
const PERIOD_MS: u128 = 60;
const RUNS_MS: u128 = PERIOD_MS / 3;
/// Part of the calm run's largest cache that a worker is given.
const CACHE_PART: f64 = 4.0;
/// Bytes compared at a time.
const PIECE: usize = 1 << 20;

struct Case {
    name: &'static str,
    workers: u32,
    line: String,
    /// The options that name results.
    results: &'static [&'static str],
}

impl Case {
    fn name(&self) -> String {
        format!("{} on {} workers", self.name, self.workers)
    }
}

/// What happens to a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    Slow,
    Killed,
    Replaced,
    Cache,
}

impl Trouble {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Slow,
        Self::Killed,
        Self::Replaced,
        Self::Cache,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::None => "calm",
            Self::Slow => "one worker runs a third of the time",
            Self::Killed => "one worker killed after a third",
            Self::Replaced => "half of the workers leave, one by one",
            Self::Cache => "a quarter of the cache",
        }
    }
}

/// What one run took.
struct Taken {
    peer: f64,
    store: f64,
    seconds: f64,
    recomputed: f64,
    lost: f64,
    replaced: f64,
    peak_cache: f64,
    /// Computing time of the workers, from their start to their end.
    worked_s: f64,
}

impl Taken {
    fn of(report: &Report, worked_s: f64) -> Result<Self, String> {
        Ok(Self {
            peer: report.peer_bytes()?,
            store: report.store_bytes()?,
            seconds: report.positive("/factor_s")?,
            recomputed: report.number("/tasks_recomputed")?,
            lost: report.number("/workers_lost")?,
            replaced: report.number("/workers_replaced")?,
            peak_cache: report.positive("/peak_cache_bytes")?,
            worked_s,
        })
    }
}

fn cases(small: bool) -> Vec<Case> {
    let (n, block) = if small { (1024, 64) } else { (4096, 256) };
    let case = |name, workers, work: String, results| Case {
        name,
        workers,
        line: format!("{work} --block {block} --workers {workers} --cores 1"),
        results,
    };
    vec![
        case("QR", 4, format!("qr random:{n}x{n}:1"), &["r"]),
        case("QR", 16, format!("qr random:{n}x{n}:1"), &["r"]),
        case("Cholesky", 4, format!("cholesky spd:{n}:1"), &["l"]),
        case("LU", 4, format!("lu random:{n}x{n}:1"), &["l", "u", "p"]),
        case(
            "GEMM",
            4,
            format!("gemm random:{n}x{n}:1 random:{n}x{n}:2"),
            &["c"],
        ),
    ]
}

/// Prints the table.
pub(crate) fn run(bench: &Bench) -> Result<(), String> {
    let mut rows = Vec::new();
    for case in bench.wanted(cases(bench.small), Case::name)? {
        let mut calm = None;
        for trouble in Trouble::ALL {
            let taken = repeated(bench, &case, trouble, calm.as_ref())?;
            let of =
                |figure: fn(&Taken) -> f64| median(&taken.iter().map(figure).collect::<Vec<_>>());
            let taken = Taken {
                peer: of(|taken| taken.peer),
                store: of(|taken| taken.store),
                seconds: of(|taken| taken.seconds),
                recomputed: of(|taken| taken.recomputed),
                lost: of(|taken| taken.lost),
                replaced: of(|taken| taken.replaced),
                peak_cache: of(|taken| taken.peak_cache),
                worked_s: of(|taken| taken.worked_s),
            };
            let calm: &Taken = match trouble {
                Trouble::None => calm.insert(taken),
                _ => {
                    let calm = calm.as_ref().ok_or("the calm run comes first")?;
                    rows.push(row(&case, trouble, &taken, calm));
                    continue;
                }
            };
            rows.push(row(&case, trouble, calm, calm));
        }
    }
    let head = "| work | run | MiB between workers | ratio | MiB from and to the store | ratio | s | ratio | tasks again | lost | replaced |";
    println!("\n{}", table(head, &rows));
    println!(
        "\nMedians of {} runs and their ratio to the calm run's. All results had the calm run's bits. A slow \
         worker is a real process that SIGSTOP and SIGCONT let run for {RUNS_MS} of every {PERIOD_MS} ms; a third of \
         a run is over when its workers have computed for a third of the calm run's time; who leaves is asked \
         by SIGTERM.",
        bench.repeat
    );
    Ok(())
}

fn row(case: &Case, trouble: Trouble, taken: &Taken, calm: &Taken) -> String {
    let ratio = |own: f64, calm: f64| {
        if calm > 0.0 {
            format!("{:.2}", own / calm)
        } else {
            "-".to_owned()
        }
    };
    format!(
        "| {} | {} | {:.1} | {} | {:.1} | {} | {:.2} | {} | {:.0} | {:.0} | {:.0} |",
        case.name(),
        trouble.name(),
        taken.peer / MIB,
        ratio(taken.peer, calm.peer),
        taken.store / MIB,
        ratio(taken.store, calm.store),
        taken.seconds,
        ratio(taken.seconds, calm.seconds),
        taken.recomputed,
        taken.lost,
        taken.replaced
    )
}

/// Runs a case in one kind of trouble as often as is asked; its results must be the calm run's.
fn repeated(
    bench: &Bench,
    case: &Case,
    trouble: Trouble,
    calm: Option<&Taken>,
) -> Result<Vec<Taken>, String> {
    let mut line = case.line.clone();
    if let (Trouble::Cache, Some(calm)) = (trouble, calm) {
        let least = bench.model(&case.line)?.positive("/memory/least_bytes")?;
        let memory = (calm.peak_cache / CACHE_PART).max(least).ceil();
        line = format!("{line} --memory {memory:.0}");
    }
    println!("\n{}: peerwren {line}", trouble.name());
    let mut all = Vec::new();
    for _ in 0..bench.repeat {
        let mut call = bench.peerwren.call(&line);
        let is_first = calm.is_none() && all.is_empty();
        let file = |kind: &str, name: &str| bench.peerwren.file(&format!("{kind}-{name}.npy"));
        for name in case.results {
            let file = file(if is_first { "calm" } else { "own" }, name);
            call = call.args([&format!("--{name}"), &*file.to_string_lossy()]);
        }
        let running = Running::start(&call)?;
        let worked_s = disturb(
            running,
            trouble,
            case.workers,
            calm.map_or(0.0, |calm| calm.worked_s),
        )?;
        let taken = Taken::of(&bench.peerwren.report()?, worked_s)?;
        for name in case.results {
            if !is_first && !same(&file("calm", name), &file("own", name))? {
                let trouble = trouble.name();
                return Err(format!(
                    "{}, {trouble}: --{name} has other bits than the calm run's",
                    case.name()
                ));
            }
        }
        if trouble == Trouble::Killed && taken.lost < 1.0 {
            return Err(format!(
                "{}: the run was over before a worker was killed",
                case.name()
            ));
        }
        all.push(taken);
    }
    let shown = |figure: fn(&Taken) -> f64, digits| {
        listed(&all.iter().map(figure).collect::<Vec<_>>(), digits)
    };
    println!(
        "    between workers, bytes: {}",
        shown(|taken| taken.peer, 0)
    );
    println!(
        "    from and to the store, bytes: {}",
        shown(|taken| taken.store, 0)
    );
    println!("    s: {}", shown(|taken| taken.seconds, 3));
    println!(
        "    workers' computing time, s: {}",
        shown(|taken| taken.worked_s, 2)
    );
    println!(
        "    tasks again: {}; lost: {}; replaced: {}; largest cache, bytes: {}",
        shown(|taken| taken.recomputed, 0),
        shown(|taken| taken.lost, 0),
        shown(|taken| taken.replaced, 0),
        shown(|taken| taken.peak_cache, 0)
    );
    Ok(all)
}

/// Follows a run to its end and does to its workers what is to happen; returns their computing time.
fn disturb(
    mut running: Running,
    trouble: Trouble,
    workers: u32,
    calm_s: f64,
) -> Result<f64, String> {
    let began = Instant::now();
    let (mut worked, mut seconds) = (Worked::default(), 0.0);
    let (mut slow, mut is_stopped, mut gone) = (None, false, Vec::new());
    while running.is_on()? {
        let pids = running.children();
        seconds = worked.look(&pids);
        let next = pids.iter().copied().find(|pid| !gone.contains(pid));
        match trouble {
            Trouble::Slow => {
                slow = slow.or(next);
                let stop = began.elapsed().as_millis() % PERIOD_MS >= RUNS_MS;
                if let (Some(pid), true) = (slow, stop != is_stopped) {
                    send(pid, if stop { Signal::STOP } else { Signal::CONT });
                    is_stopped = stop;
                }
            }
            Trouble::Killed if gone.is_empty() && seconds >= calm_s / 3.0 => {
                if let Some(pid) = next {
                    send(pid, Signal::KILL);
                    gone.push(pid);
                }
            }
            Trouble::Replaced => {
                // One after the other, evenly over the run.
                let (half, turn) = (workers / 2, gone.len() as u32 + 1);
                let at = calm_s * f64::from(turn) / f64::from(half + 1);
                if let (Some(pid), true) = (next, turn <= half && seconds >= at) {
                    send(pid, Signal::TERM);
                    gone.push(pid);
                }
            }
            _ => {}
        }
        std::thread::sleep(LOOK);
    }
    running.finish()?;
    Ok(seconds)
}

/// Whether two files have the same bytes.
fn same(one: &PathBuf, other: &PathBuf) -> Result<bool, String> {
    let open = |path: &PathBuf| {
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(told)?;
        let bytes = file.metadata().map_err(told)?.len();
        Ok::<_, String>((BufReader::with_capacity(PIECE, file), bytes))
    };
    let ((mut one, bytes), (mut other, others)) = (open(one)?, open(other)?);
    let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
    let mut left = bytes;
    while left > 0 && bytes == others {
        let piece = left.min(PIECE as u64) as usize;
        for (file, into) in [(&mut one, &mut a), (&mut other, &mut b)] {
            let read = file.read_exact(&mut into[..piece]);
            read.map_err(|error| format!("a result: {error}"))?;
        }
        if a[..piece] != b[..piece] {
            return Ok(false);
        }
        left -= piece as u64;
    }
    Ok(bytes == others)
}
