//! Real runs on four hosts of a slow network against the simulator's of the same plans: seconds and bytes.
//! The hosts share this machine's cores, and so do the simulated ones. All of it is gone when this program is.

use std::path::Path;

use peerwren_benches::figures::{listed, median, table};
use peerwren_benches::machine::load;
use peerwren_benches::report::Report;

use crate::hosts::{DELAY_US, HOSTS, Network, RATE};
use crate::options::{Bench, MIB, figures};

/// What of a host's Mbit/s is payload: packets of 1,452 bytes have about 1,405 of it, and 42 before them.
const PAYLOAD: f64 = 0.94;
/// What `tests/net/hosts.sh` adds to a round trip beside twice the delay, as `ping` sees it.
const FORWARDING_S: f64 = 0.4e-3;

/// What it is called, its line, and three sides of matrices with their blocks.
type Work = (&'static str, &'static str, [(u32, u32); 3]);

const WORKS: [Work; 3] = [
    (
        "QR",
        "qr random:NxN:1",
        [(2048, 256), (4096, 512), (8192, 512)],
    ),
    (
        "Cholesky",
        "cholesky spd:N:1",
        [(4096, 512), (6144, 512), (8192, 1024)],
    ),
    (
        "GEMM",
        "gemm random:NxN:1 random:NxN:2",
        [(2048, 256), (4096, 512), (6144, 512)],
    ),
];

/// A run that is not in the table, by which is measured what moving a GB costs on this network: packets cross
/// namespaces, a queue in user space and a bridge, all on the cores that compute.
const CALIBRATION: &str = "qr random:5120x5120:2 --block 256 --durability outputs";
/// Core-seconds that a worker may need for a GB, in or out.
const MOVE_S_PER_GB_MAX: f64 = 50.0;

/// Prints the table.
pub(crate) fn run(bench: &Bench) -> Result<(), String> {
    let fleet = bench.peerwren.file("fleet.toml");
    let fleet_name = fleet.to_string_lossy().into_owned();
    println!("measuring kernels with all cores busy");
    bench
        .peerwren
        .bare()
        .args(["doctor", "--fleet", &fleet_name])
        .run()?;
    let network = Network::up(bench)?;
    let (mut rows, mut worst) = (Vec::new(), [0.0_f64; 2]);
    let mut number = 0;
    let real = repeated(bench, &network, CALIBRATION, &mut number)?;
    let took = median(&figures(&real, |report| report.positive("/factor_s"))?);
    let move_s = calibrated(bench, &fleet, took)?;
    println!(
        "{CALIBRATION}: {took:.2} s, so that a GB takes a worker {move_s:.2} core-seconds, in or out"
    );
    for (work, line, sizes) in bench.wanted(WORKS.to_vec(), |(name, ..)| (*name).to_owned())? {
        for (n, block) in sizes.into_iter().take(if bench.small { 1 } else { 3 }) {
            let line = line.replace('N', &n.to_string());
            let line = format!("{line} --block {block} --durability outputs");
            println!("\n{line}; load average {}", load());
            let reports = repeated(bench, &network, &line, &mut number)?;
            let simulated = simulated(bench, &line, &fleet, move_s)?;
            let (row, off) = row(work, n, block, &reports, &simulated)?;
            rows.push(row);
            worst = [worst[0].max(off[0]), worst[1].max(off[1])];
        }
    }
    let head =
        "| work | block | s | simulated s | ratio | MiB into workers | simulated MiB | ratio |";
    println!("\n{}", table(head, &rows));
    println!(
        "\nMedians of {} runs. {HOSTS} hosts in network namespaces, {RATE} Mbit/s and {} ms one way each, a worker \
         of one core on each; all share this machine's cores, here and in the simulator. Farthest from a real \
         run: {:.0}% in time, {:.1}% in bytes. Load average at the end: {}.",
        bench.repeat,
        DELAY_US / 1000,
        worst[0] * 100.0,
        worst[1] * 100.0,
        load()
    );
    Ok(())
}

/// Real runs of a line, each with a store of its own.
fn repeated(
    bench: &Bench,
    network: &Network,
    line: &str,
    number: &mut u32,
) -> Result<Vec<Report>, String> {
    let mut reports = Vec::new();
    for _ in 0..bench.repeat {
        *number += 1;
        let store = bench.peerwren.file(&format!("store-{number}"));
        reports.push(network.compute(bench, line, &store.to_string_lossy(), *number)?);
        // There is none where nothing was put into it.
        let _ = std::fs::remove_dir_all(store);
    }
    Ok(reports)
}

/// Core-seconds a GB with which the simulated calibration takes as long as the real one.
fn calibrated(bench: &Bench, fleet: &Path, took: f64) -> Result<f64, String> {
    let (mut low, mut high) = (0.0, MOVE_S_PER_GB_MAX);
    for _ in 0..12 {
        let middle = (low + high) / 2.0;
        let simulated = simulated(bench, CALIBRATION, fleet, middle)?;
        if simulated.positive("/factor_s")? < took {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok((low + high) / 2.0)
}

/// The same plan in the simulator, on hosts with the same lines.
fn simulated(bench: &Bench, line: &str, fleet: &Path, move_s: f64) -> Result<Report, String> {
    let line_bytes_s = f64::from(RATE) * 1e6 / 8.0 * PAYLOAD;
    let round_trip_s = 2.0 * f64::from(DELAY_US) * 1e-6 + FORWARDING_S;
    bench.peerwren.run(&format!(
        "sim {line} --workers {HOSTS} --cores 1 --memory 3GiB --fleet {} \
         --set worker.bytes_in_s={line_bytes_s} --set worker.bytes_out_s={line_bytes_s} \
         --set network.round_trip_s={round_trip_s} --set machine.move_s_per_gb={move_s}",
        fleet.display()
    ))
}

/// A line of the table, and how far the simulation is off in time and bytes, as shares.
fn row(
    work: &str,
    n: u32,
    block: u32,
    reports: &[Report],
    simulated: &Report,
) -> Result<(String, [f64; 2]), String> {
    let seconds = figures(reports, |report| report.positive("/factor_s"))?;
    // What workers take in: from each other, and of the inputs.
    let taken = |report: &Report| Ok(report.peer_bytes()? + report.number("/inputs_read")?);
    let bytes = figures(reports, taken)?;
    println!("    s: {}", listed(&seconds, 3));
    println!("    into workers, bytes: {}", listed(&bytes, 0));
    let (took, moved) = (median(&seconds), median(&bytes));
    let (would, would_move) = (simulated.positive("/factor_s")?, taken(simulated)?);
    let ratios = [would / took, would_move / moved];
    let row = format!(
        "| {work} {n} | {block} | {took:.2} | {would:.2} | {:.2} | {:.1} | {:.1} | {:.3} |",
        ratios[0],
        moved / MIB,
        would_move / MIB,
        ratios[1]
    );
    println!("{row}");
    Ok((row, ratios.map(|ratio| (ratio - 1.0).abs())))
}
