//! One comparison: each side's best setting, then all sides in turn, round after round.

use peerwren_benches::figures::listed;

use crate::cases::{Case, Who};
use crate::programs::{Programs, Sample};
use crate::record::{Line, Record, Side, Wanted};
use crate::setting::Setting;
use crate::work::Work;

/// Settings that go on to the case's own work where they are tried on a smaller one.
const FINALISTS: usize = 2;
/// Bytes of a float.
const FLOAT_BYTES: f64 = 8.0;

/// Runs a case; fills in what the record says of it.
///
/// # Errors
/// A side fails, or computes something wrong.
pub(crate) fn compare(
    programs: &Programs,
    case: &Case,
    repeat: usize,
    mut record: Record,
) -> Result<Record, String> {
    println!("\n{}", case.title());
    let mut sides = Vec::new();
    for who in &case.sides {
        if programs.has(*who) {
            sides.push(chosen(programs, case, *who)?);
        }
    }
    for _ in 0..repeat {
        for (setting, side) in &mut sides {
            let sample = programs.run(setting, case.work)?;
            side.take(&sample);
        }
    }
    for (setting, side) in &mut sides {
        if let Who::Scalapack(ranks) = setting.who {
            side.bytes = Some(programs.count(setting, ranks, case.work)?);
        }
        println!("    {}, s: {}", side.name, listed(&side.seconds, 4));
    }
    let Work { m, n, .. } = case.work;
    record.flops = case.work.flops();
    record.matrix_bytes = f64::from(m) * f64::from(n) * FLOAT_BYTES;
    record.sides = sides.into_iter().map(|(_, side)| side).collect();
    let targets = case.targets.iter();
    record.targets = targets
        .map(|target| Wanted {
            side: target.side.to_string(),
            rival: target.rival.to_string(),
            ratio: target.ratio,
        })
        .collect();
    print_ratios(&record);
    Ok(record)
}

/// A side with its best setting.
fn chosen(programs: &Programs, case: &Case, who: Who) -> Result<(Setting, Side), String> {
    let mut settings = Setting::all(who, case);
    let mut tried = String::new();
    if settings.len() > 1 && case.tried_on != case.work {
        (settings, tried) = ranked(programs, &settings, case.tried_on)?;
        settings.truncate(FINALISTS);
        println!("    {who} on a smaller matrix, s: {tried}");
    }
    if settings.len() > 1 {
        let (best, on_this) = ranked(programs, &settings, case.work)?;
        println!("    {who}, s: {on_this}");
        tried = if tried.is_empty() {
            on_this
        } else {
            format!("{tried}; {on_this}")
        };
        settings = best;
    }
    let setting = settings[0];
    let (line, x) = who.place();
    let side = Side {
        name: who.to_string(),
        setting: setting.to_string(),
        tried,
        on: Line { line, x },
        ..Side::default()
    };
    Ok((setting, side))
}

/// Settings by their time in one run each, the fastest first, and these times.
fn ranked(
    programs: &Programs,
    settings: &[Setting],
    work: Work,
) -> Result<(Vec<Setting>, String), String> {
    let mut timed = Vec::new();
    for setting in settings {
        timed.push((programs.run(setting, work)?.seconds, *setting));
    }
    timed.sort_by(|one, other| one.0.total_cmp(&other.0));
    let tried: Vec<String> = timed
        .iter()
        .map(|(seconds, setting)| format!("{setting} {seconds:.4}"))
        .collect();
    let settings = timed.into_iter().map(|(_, setting)| setting).collect();
    Ok((settings, tried.join(", ")))
}

impl Side {
    fn take(&mut self, sample: &Sample) {
        self.seconds.push(sample.seconds);
        self.with.clone_from(&sample.with);
        self.bytes = sample.peer_bytes.or(self.bytes);
    }
}

fn print_ratios(record: &Record) {
    for wanted in &record.targets {
        if let Some(ratio) = record.ratio(wanted) {
            let Wanted { side, rival, .. } = wanted;
            println!(
                "    {side} : {rival}: {ratio:.2}, wanted {:.2}",
                wanted.ratio
            );
        }
    }
}
