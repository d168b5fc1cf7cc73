//! Files that a user writes: fleets and experiments (TOML), prices and calibrations (JSON).

use peerwren::experiment::Experiment;
use peerwren::options::Calibration;
use peerwren::prices::Prices;
use peerwren::sim::Fleet;

use super::{scratch, tagged};

/// A byte for the kind, then the file; of a fleet, lines after a line of `---` are keys that are set.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = tagged(bytes) else {
        return;
    };
    match kind % 4 {
        0 => fleet(bytes),
        1 => experiment(bytes),
        2 => {
            let _ = Prices::read(&scratch::file("prices.json", bytes));
        }
        _ => {
            let _ = Calibration::read(&scratch::file("calibration.json", bytes));
        }
    }
}

fn fleet(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (text, set) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let set: Vec<String> = set.lines().map(str::to_owned).collect();
    let path = scratch::file("fleet.toml", text.as_bytes());
    let name = path.to_str().expect("a path that was made of text");
    for set in [&[][..], &set] {
        if let Err(error) = Fleet::named(name, set) {
            is_a_line(&error.to_string());
        }
    }
}

fn experiment(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Experiment::parse("grid.toml", &text) {
        Ok(experiment) => {
            for row in experiment.rows() {
                let _ = (row.line(), row.name());
            }
        }
        Err(error) => is_a_line(&error.to_string()),
    }
}

fn is_a_line(reason: &str) {
    assert!(!reason.contains('\n'), "more than a line: {reason}");
}
