//! Sizes in bytes as people write them: `4096`, `256MiB`, `1.5GiB`.

use std::fmt;
use std::str::FromStr;

const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A size that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected bytes, or a number with KiB, MiB, GiB or TiB, such as 256MiB")]
pub struct SizeError;

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let text = text.trim();
        let digits = text
            .bytes()
            .take_while(|b| b.is_ascii_digit() || *b == b'.')
            .count();
        let (number, unit) = (&text[..digits], text[digits..].trim_start());
        let scale = match unit {
            "" | "B" => 1,
            _ => {
                let known = UNITS
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(unit));
                known.ok_or(SizeError)?.1
            }
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(scale).map(Self).ok_or(SizeError);
        }
        let value = number.parse::<f64>().map_err(|_| SizeError)? * scale as f64;
        if scale == 1 || !value.is_finite() || value >= u64::MAX as f64 {
            return Err(SizeError);
        }
        Ok(Self(value as u64))
    }
}

impl fmt::Display for ByteSize {
    /// With three digits in the unit that fits; `134217728` reads `128 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((unit, scale)) = UNITS.iter().find(|(_, scale)| self.0 >= *scale) else {
            return write!(f, "{} B", self.0);
        };
        let value = self.0 as f64 / *scale as f64;
        let decimals = if self.0.is_multiple_of(*scale) || value >= 100.0 {
            0
        } else if value >= 10.0 {
            1
        } else {
            2
        };
        write!(f, "{value:.decimals$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        let table = [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("4096B", Some(4096)),
            ("256MiB", Some(256 << 20)),
            ("256 mib", Some(256 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("2TiB", Some(2 << 40)),
            ("1.5", None),
            ("256MB", None),
            ("-1", None),
            ("GiB", None),
            ("1.2.3GiB", None),
            ("99999999TiB", None),
            ("", None),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse().ok(), bytes.map(ByteSize), "{text}");
        }
    }

    #[test]
    fn writes_sizes() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.50 KiB"),
            (134_217_728, "128 MiB"),
            (u64::MAX, "16777216 TiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
