//! What `peerwren` tells of a run, in numbers. Never looks at anything but the report.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Bytes of a float.
const FLOAT_BYTES: f64 = 8.0;

/// A report of `peerwren`, of a run or of a plan.
#[derive(Debug)]
pub struct Report {
    file: String,
    told: Value,
}

impl Report {
    /// Reads a report.
    ///
    /// # Errors
    /// There is none, or it is no JSON.
    pub fn read(file: &Path) -> Result<Self, String> {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        Ok(Self {
            told: parse(&name, &text)?,
            file: name,
        })
    }

    /// A number by its JSON pointer.
    ///
    /// # Errors
    /// The report has none there.
    pub fn number(&self, pointer: &str) -> Result<f64, String> {
        let value = self.told.pointer(pointer);
        let number = value.and_then(Value::as_f64);
        number.ok_or_else(|| {
            let came = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            format!("{}: expected a number at {pointer}, got {came}", self.file)
        })
    }

    /// A positive number by its JSON pointer.
    ///
    /// # Errors
    /// The report has none there.
    pub fn positive(&self, pointer: &str) -> Result<f64, String> {
        let number = self.number(pointer)?;
        if number > 0.0 && number.is_finite() {
            return Ok(number);
        }
        let file = &self.file;
        Err(format!(
            "{file}: expected a positive number at {pointer}, got {number}"
        ))
    }

    /// A text by its JSON pointer, empty where there is none.
    pub fn text(&self, pointer: &str) -> &str {
        let value = self.told.pointer(pointer);
        value.and_then(Value::as_str).unwrap_or_default()
    }

    /// Bytes that workers received from each other.
    ///
    /// # Errors
    /// The report does not say.
    pub fn peer_bytes(&self) -> Result<f64, String> {
        self.number("/bytes/peer")
    }

    /// Bytes that were read from the store or written to it, inputs and results included.
    ///
    /// # Errors
    /// The report does not say.
    pub fn store_bytes(&self) -> Result<f64, String> {
        Ok(self.number("/bytes/store_read")? + self.number("/bytes/store_written")?)
    }

    /// Bytes of the matrix (m x n floats).
    ///
    /// # Errors
    /// The report does not say.
    pub fn matrix_bytes(&self) -> Result<f64, String> {
        Ok(self.positive("/m")? * self.positive("/n")? * FLOAT_BYTES)
    }
}

/// Reads JSON that somebody told.
///
/// # Errors
/// It is none.
pub fn parse(whose: &str, text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{whose}: expected JSON: {error}"))
}
