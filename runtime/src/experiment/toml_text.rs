//! TOML as values with the lines that they stand on, in the order of the file. Knows no option.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longest file, in bytes: a line for each of 1,000 rows has 1 KiB.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is wrong with a grid, in one line: the file, the line, the key, what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GridError(pub(super) String);

/// A file's text, to say where in it something is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

/// A value with its key and where that stands.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// As it is written, with dots between the tables' names.
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What a file may say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Flag(bool),
    /// A string, or a number as it is written.
    Word(String),
    Whole(i64),
    List(Vec<Value>),
    Table(Vec<EntryValue>),
}

/// A table's entry, its line counted from the file's first.
pub(super) type EntryValue = (String, usize, Value);

impl Value {
    /// What it is, in words.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Flag(value) => format!("{value}"),
            Self::Word(word) => format!("`{}`", word.escape_debug()),
            Self::Whole(number) => number.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }

    /// A string or a number, as an argument.
    pub(super) fn word(&self) -> Option<String> {
        match self {
            Self::Word(word) => Some(word.clone()),
            Self::Whole(number) => Some(number.to_string()),
            Self::Flag(_) | Self::List(_) | Self::Table(_) => None,
        }
    }
}

impl Text<'_> {
    /// The entries of the whole file.
    pub(super) fn parse(self) -> Result<Vec<Entry>, GridError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let line = error.span().map_or(1, |span| self.line(span.start));
            let told = error.message().lines().collect::<Vec<_>>().join(", ");
            GridError(format!("{}:{line}: {told}", self.file))
        })?;
        let entries = self.table(table.get_ref())?.into_iter();
        Ok(entries
            .map(|(key, line, value)| Entry { key, line, value })
            .collect())
    }

    /// An error at a line and key.
    pub(super) fn wrong(self, line: usize, key: &str, reason: &str) -> GridError {
        GridError(format!("{}:{line}: {key}: {reason}", self.file))
    }

    /// An error of the file as a whole.
    pub(super) fn wrong_in_all(self, reason: &str) -> GridError {
        GridError(format!("{}: {reason}", self.file))
    }

    fn line(self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn table(self, table: &DeTable<'_>) -> Result<Vec<EntryValue>, GridError> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&Spanned<_>, _)| {
            let key: &Spanned<std::borrow::Cow<'_, str>> = key;
            let line = self.line(key.span().start);
            Ok((
                key.get_ref().to_string(),
                line,
                self.value(value, key.get_ref())?,
            ))
        };
        entries.into_iter().map(entry).collect()
    }

    fn value(self, value: &Spanned<DeValue<'_>>, key: &str) -> Result<Value, GridError> {
        let wrong = |reason: &str| self.wrong(self.line(value.span().start), key, reason);
        Ok(match value.get_ref() {
            DeValue::String(text) => Value::Word(text.to_string()),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Integer(number) => {
                let whole = i64::from_str_radix(number.as_str(), number.radix());
                Value::Whole(whole.map_err(|_| wrong("expected a number of 64 bits"))?)
            }
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(finite) if finite.is_finite() => Value::Word(number.as_str().to_owned()),
                _ => return Err(wrong("expected a finite number")),
            },
            DeValue::Array(list) => {
                let values = list.iter().map(|value| self.value(value, key));
                Value::List(values.collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => Value::Table(self.table(table)?),
            DeValue::Datetime(_) => {
                return Err(wrong(
                    "expected a string, a number, a list or a table; found a date",
                ));
            }
        })
    }
}
