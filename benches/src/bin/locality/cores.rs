//! A worker's cores are one cache: the same cores as many workers and as one. Owns the cases alone.

use peerwren_benches::figures::{listed, median, table};

use crate::options::{Bench, MIB, figures, largest};

/// Workers and their cores: four compute threads each time.
const FLEETS: [[u32; 2]; 3] = [[4, 1], [2, 2], [1, 4]];

/// Prints the table.
pub(crate) fn run(bench: &Bench) -> Result<(), String> {
    let (n, block, ib) = if bench.small {
        (512, 32, 4)
    } else {
        (4096, 256, 32)
    };
    let works = vec![
        ("QR", format!("qr random:{n}x{n}:1 --ib {ib}")),
        ("Cholesky", format!("cholesky spd:{n}:1")),
    ];
    let mut rows = Vec::new();
    for (name, work) in bench.wanted(works, |(name, _)| (*name).to_owned())? {
        for [workers, cores] in FLEETS {
            let line = format!("{work} --block {block} --workers {workers} --cores {cores}");
            let reports = bench.repeated(&line)?;
            let matrix = reports[0].matrix_bytes()?;
            let bytes = figures(&reports, |report| report.peer_bytes())?;
            let hits = figures(&reports, |report| report.number("/bytes/cache_hit"))?;
            let seconds = figures(&reports, |report| report.positive("/factor_s"))?;
            println!("    between workers, bytes: {}", listed(&bytes, 0));
            println!("    had in the cache, bytes: {}", listed(&hits, 0));
            println!("    s: {}", listed(&seconds, 3));
            let tree = reports[0].text("/tree");
            rows.push(format!(
                "| {name} | {workers} x {cores} | {} | {:.1} | {:.3} | {:.1} | {:.2} |",
                if tree.is_empty() { "-" } else { tree },
                largest(&bytes) / MIB,
                largest(&bytes) / matrix,
                largest(&hits) / MIB,
                median(&seconds)
            ));
        }
    }
    let head = format!(
        "| {n}, block {block} | workers x cores | tree | MiB between workers | times the matrix | MiB had in the cache | s |"
    );
    println!("\n{}", table(&head, &rows));
    println!(
        "\nThe largest of {} runs, the median of their seconds.",
        bench.repeat
    );
    Ok(())
}
