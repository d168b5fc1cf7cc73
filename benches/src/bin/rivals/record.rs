//! What a case measured, as a file that the results page is made from. Measures nothing.

use std::fs;
use std::path::Path;

use peerwren_benches::figures::median;
use serde::{Deserialize, Serialize};

/// One case.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) case: String,
    pub(crate) title: String,
    /// The day, and the command line.
    pub(crate) day: String,
    pub(crate) command: String,
    pub(crate) machine: String,
    /// Percent of the CPUs that others took meanwhile.
    #[serde(default)]
    pub(crate) others: f64,
    pub(crate) packages: String,
    pub(crate) peerwren: String,
    /// By LAPACK's count.
    pub(crate) flops: f64,
    pub(crate) matrix_bytes: f64,
    /// What is varied, or nothing.
    pub(crate) over: String,
    pub(crate) sides: Vec<Side>,
    pub(crate) targets: Vec<Wanted>,
    /// Figures that no rival has.
    pub(crate) figures: Vec<Figure>,
}

/// What a side took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Side {
    pub(crate) name: String,
    /// The setting that was chosen, and the times of those that were tried.
    pub(crate) setting: String,
    pub(crate) tried: String,
    /// BLAS's kernels, or peerwren's tree.
    pub(crate) with: String,
    /// Of every run.
    pub(crate) seconds: Vec<f64>,
    /// Bytes between ranks or workers.
    pub(crate) bytes: Option<f64>,
    /// Where it lies in a picture over something.
    pub(crate) on: Line,
}

/// A point of a picture: its line, and where on it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) line: String,
    pub(crate) x: f64,
}

/// A ratio that is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) side: String,
    pub(crate) rival: String,
    pub(crate) ratio: f64,
}

/// A figure of peerwren alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// What is asked for: at most, or at least.
    pub(crate) at_most: Option<f64>,
    pub(crate) at_least: Option<f64>,
}

impl Figure {
    /// What is asked for in words, and whether it is met; nothing where nothing is asked.
    pub(crate) fn target(&self) -> Option<(String, bool)> {
        let unit = &self.unit;
        let most = self
            .at_most
            .map(|most| (format!("at most {most} {unit}"), self.value <= most));
        let least = self
            .at_least
            .map(|least| (format!("at least {least} {unit}"), self.value >= least));
        most.or(least)
    }
}

impl Record {
    /// A side by its name.
    pub(crate) fn side(&self, name: &str) -> Option<&Side> {
        self.sides.iter().find(|side| side.name == name)
    }

    /// How many times as fast as the rival a side was, if both were measured.
    pub(crate) fn ratio(&self, wanted: &Wanted) -> Option<f64> {
        let (side, rival) = (self.side(&wanted.side)?, self.side(&wanted.rival)?);
        Some(median(&rival.seconds) / median(&side.seconds))
    }

    /// GFLOP/s of a side.
    pub(crate) fn rate(&self, side: &Side) -> f64 {
        self.flops / median(&side.seconds) * 1e-9
    }

    /// Writes the file of the case into a folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        write(&folder.join(format!("{}.json", self.case)), &(text + "\n"))
    }

    /// Reads the files of a folder, in the order of the names; a case without a file is left out.
    ///
    /// # Errors
    /// A file is none of these.
    pub(crate) fn read_all(folder: &Path, names: &[&str]) -> Result<Vec<Self>, String> {
        let files = names.iter().map(|name| folder.join(format!("{name}.json")));
        files
            .filter(|file| file.is_file())
            .map(|file| {
                let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
                let text = fs::read_to_string(&file).map_err(|error| named(&error))?;
                serde_json::from_str(&text).map_err(|error| named(&error))
            })
            .collect()
    }
}

/// Every run of every case, one a line.
pub(crate) fn csv(records: &[Record]) -> String {
    let mut out = "case,side,setting,with,run,seconds,gflops,bytes\n".to_owned();
    for record in records {
        for side in &record.sides {
            let quoted = [&side.name, &side.setting, &side.with].map(|text| format!("\"{text}\""));
            let bytes = side
                .bytes
                .map_or_else(String::new, |bytes| format!("{bytes:.0}"));
            for (run, seconds) in side.seconds.iter().enumerate() {
                out.push_str(&format!(
                    "{},{},{},{seconds:.6},{:.2},{bytes}\n",
                    record.case,
                    quoted.join(","),
                    run + 1,
                    record.flops / seconds * 1e-9
                ));
            }
        }
    }
    out
}

/// Writes a text file.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}
