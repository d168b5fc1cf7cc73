//! How fast the workers are that automatic choices are made for. A fixed worker unless a file is named, so
//! that the same command makes the same plan on every machine; never measures.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::text;

/// Longest file: its name and five figures take less than a kB.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The worker that the choices of block and grid are made for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calibration {
    /// Where the figures come from, as a report tells it.
    pub name: String,
    /// Operations a second that a core reaches on large tiles.
    pub flops_s: f64,
    /// The tile side at which it reaches half of that.
    pub half_block: f64,
    /// Bytes a second that a worker takes in.
    pub bytes_s: f64,
    /// Seconds from asking for a block to its first byte.
    pub fetch_s: f64,
    /// Seconds that a task takes beside its kernel.
    pub task_s: f64,
}

impl Default for Calibration {
    /// A worker on Lambda: 25 GFLOP/s a core, 600 Mbit/s, a block after 10 ms.
    fn default() -> Self {
        Self {
            name: "a core of 25 GFLOP/s, a line of 75 MB/s".to_owned(),
            flops_s: 25e9,
            half_block: 48.0,
            bytes_s: 75e6,
            fetch_s: 0.01,
            task_s: 1e-4,
        }
    }
}

/// A calibration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("calibration {file}: {problem}")]
pub struct CalibrationError {
    file: String,
    problem: String,
}

impl Calibration {
    /// Reads a calibration: a JSON object with any of the fields above; those that are not there keep their
    /// defaults.
    ///
    /// ```
    /// # let file = std::env::temp_dir().join(format!("peerwren-calibration-{}.json", std::process::id()));
    /// std::fs::write(&file, r#"{ "name": "my cluster", "flops_s": 6e10, "bytes_s": 1.2e9 }"#)?;
    /// let calibration = peerwren::options::Calibration::read(&file)?;
    /// assert_eq!(calibration.fetch_s, 0.01);
    /// # std::fs::remove_file(file)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The file cannot be read, is no such object, or a figure is out of its bounds.
    pub fn read(path: &Path) -> Result<Self, CalibrationError> {
        let error = |problem: String| CalibrationError {
            file: path.display().to_string(),
            problem,
        };
        let text = text::read(path, FILE_BYTES_MAX).map_err(|e| error(e.to_string()))?;
        Self::parse(&text).map_err(error)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let expected = |why: String| {
            format!(
                "{why}; expected an object of name, flops_s, half_block, bytes_s, fetch_s and task_s"
            )
        };
        let given: serde_json::Value =
            serde_json::from_str(text).map_err(|error| expected(error.to_string()))?;
        if !given.is_object() {
            return Err(expected("is no object".to_owned()));
        }
        let given: Self =
            serde_json::from_value(given).map_err(|error| expected(error.to_string()))?;
        let bounds = [
            ("flops_s", given.flops_s, 1e6, 1e15),
            ("half_block", given.half_block, 0.0, 1e5),
            ("bytes_s", given.bytes_s, 1e3, 1e13),
            ("fetch_s", given.fetch_s, 0.0, 1e3),
            ("task_s", given.task_s, 0.0, 1e3),
        ];
        for (name, came, least, most) in bounds {
            if !(least..=most).contains(&came) {
                return Err(format!("{name} is {came}; expected {least:e} to {most:e}"));
            }
        }
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("{\"flops_s\": 0}", "flops_s is 0; expected 1e6 to 1e15"),
            ("{\"bytes_s\": -1}", "bytes_s is -1; expected 1e3 to 1e13"),
            (
                "{\"half_block\": 1e9}",
                "half_block is 1000000000; expected 0e0 to 1e5",
            ),
        ];
        for (text, problem) in table {
            assert_eq!(Calibration::parse(text).unwrap_err(), problem);
        }
        for text in ["[]", "{\"flops\": 1e9}", "{\"flops_s\": \"fast\"}", ""] {
            let problem = Calibration::parse(text).unwrap_err();
            assert!(problem.ends_with("fetch_s and task_s"), "{text}: {problem}");
        }
        assert_eq!(Calibration::parse("{}").unwrap(), Calibration::default());
    }
}
