//! `peerwren store`: shows and removes what runs have left. Never touches anything that is no run's.

use std::fmt::Write;
use std::time::SystemTime;

use peerwren::options::ByteSize;
use peerwren_transports::store::{BlockStore, Place, RunFound, StoreError};

use super::args::StoreAction;
use super::failure::Failure;

/// Does what the arguments say.
pub(crate) fn run(action: &StoreAction) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::run)?;
    let text = runtime.block_on(async {
        match action {
            StoreAction::Ls { place } => list(place).await,
            StoreAction::Rm { place, run, .. } => remove(place, *run).await,
        }
    })?;
    super::print(text.as_bytes())
}

async fn list(place: &Place) -> Result<String, Failure> {
    let (_, runs) = found(place).await?;
    if runs.is_empty() {
        return Ok(format!("no run has anything in {place}\n"));
    }
    Ok(table(&runs, SystemTime::now()))
}

/// Removes one run, or all.
async fn remove(place: &Place, run: Option<u64>) -> Result<String, Failure> {
    let (store, mut runs) = found(place).await?;
    if let Some(run) = run {
        runs.retain(|found| found.run == run);
    }
    if runs.is_empty() {
        return Err(Failure::usage(match run {
            Some(run) => {
                format!("run {run:016x} has nothing in {place}; see `peerwren store ls {place}`")
            }
            None => format!("no run has anything in {place}; nothing is removed"),
        }));
    }
    let mut text = String::new();
    for found in &runs {
        store.delete_run(found.run).await.map_err(Failure::run)?;
        // Writing to a string never fails.
        let _ = writeln!(
            text,
            "removed run {:016x}: {} blocks, {} other objects, {}, {} unfinished writes",
            found.run,
            found.blocks,
            found.objects,
            ByteSize(found.bytes),
            found.unfinished
        );
    }
    Ok(text)
}

async fn found(place: &Place) -> Result<(BlockStore, Vec<RunFound>), Failure> {
    let store = BlockStore::join(place).await.map_err(explain)?;
    let runs = store.runs().await.map_err(explain)?;
    Ok((store, runs))
}

/// A service that does not answer is a failed run; all else is the user's to correct.
fn explain(error: StoreError) -> Failure {
    match error {
        StoreError::Unavailable { .. } | StoreError::Io { .. } => Failure::run(error),
        _ => Failure::usage(error),
    }
}

fn table(runs: &[RunFound], now: SystemTime) -> String {
    let head = [
        "RUN",
        "BLOCKS",
        "OTHER",
        "SIZE",
        "UNFINISHED",
        "AGE",
        "RESUMABLE",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(runs.iter().map(|found| {
        [
            format!("{:016x}", found.run),
            found.blocks.to_string(),
            found.objects.to_string(),
            ByteSize(found.bytes).to_string(),
            found.unfinished.to_string(),
            found
                .modified
                .map_or_else(|| "-".to_owned(), |time| age(time, now)),
            if found.manifests > 0 { "yes" } else { "no" }.to_owned(),
        ]
    }));
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
            // Writing to a string never fails.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Time since then, in the largest unit that has two of it.
fn age(then: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(then).unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ages_are_told_in_whole_units() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (seconds, told) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (200_000, "2 d"),
        ] {
            assert_eq!(age(now - Duration::from_secs(seconds), now), told);
        }
        // Another machine's clock may be ahead.
        assert_eq!(age(now + Duration::from_secs(9), now), "0 s");
    }
}
