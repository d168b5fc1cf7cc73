//! The options of a grid file's tables: single values, and lists of alternatives. Knows of no option what its
//! values may be.

use super::toml_text::{Entry, EntryValue, GridError, Text, Value};

/// Options that an experiment sets itself, or that its rows cannot have.
const OWN: [(&str, &str); 14] = [
    ("report", "the experiment keeps each row's report"),
    ("trace", "name the row to be traced in [show]"),
    ("quiet", "give it to `peerwren experiment`"),
    ("log", "give it to `peerwren experiment`"),
    ("q", RESULTS),
    ("r", RESULTS),
    ("l", RESULTS),
    ("u", RESULTS),
    ("p", RESULTS),
    ("c", RESULTS),
    ("x", RESULTS),
    ("s", RESULTS),
    ("vt", RESULTS),
    ("output", RESULTS),
];
const RESULTS: &str = "rows write no results, each would replace the last one's";

/// What comes before options in a line, or makes it the simulator's.
pub(super) const COMMAND: &str = "command";
pub(super) const INPUTS: &str = "inputs";
pub(super) const FLEET: &str = "fleet";
pub(super) const SEED: &str = "seed";
/// Changes of the fleet, by dotted keys.
pub(super) const SET: &str = "set";

/// An option with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its long name; of the fleet's keys `set.` and the key.
    pub(super) name: String,
    pub(super) value: Given,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Flag(bool),
    Words(Vec<String>),
}

/// What varies together, and its alternatives.
pub(super) type Choices = Vec<Vec<Setting>>;

impl Text<'_> {
    pub(super) fn expected(self, entry: &Entry, what: &str) -> GridError {
        let reason = format!("expected {what}, found {}", entry.value.what());
        self.wrong(entry.line, &entry.key, &reason)
    }

    /// Options with one value each.
    pub(super) fn settings(
        self,
        table: &str,
        options: &[EntryValue],
    ) -> Result<Vec<Setting>, GridError> {
        let options = self.flat(table, options)?.into_iter();
        let setting = |(name, line, value): EntryValue| {
            self.setting(line, &format!("{table}.{name}"), &name, &value)
        };
        options.map(setting).collect()
    }

    /// Lists of values, each list an axis of the grid.
    pub(super) fn axes(
        self,
        table: &str,
        options: &[EntryValue],
    ) -> Result<Vec<Choices>, GridError> {
        let options = self.flat(table, options)?.into_iter();
        let axis = |(name, line, value): EntryValue| {
            self.axis(line, &format!("{table}.{name}"), &name, &value)
        };
        options.map(axis).collect()
    }

    fn axis(self, line: usize, key: &str, name: &str, value: &Value) -> Result<Choices, GridError> {
        let wrong = |reason: &str| self.wrong(line, key, reason);
        let Value::List(values) = value else {
            let reason = format!("expected a list of values, found {}", value.what());
            return Err(wrong(&reason));
        };
        if values.is_empty() {
            return Err(wrong("expected a list of values, found an empty one"));
        }
        let tables = values
            .iter()
            .filter(|value| matches!(value, Value::Table(_)));
        if ![0, values.len()].contains(&tables.count()) {
            return Err(wrong("expected tables alone, or values alone"));
        }
        let mut choices: Choices = Vec::new();
        for value in values {
            let choice = match value {
                Value::Table(options) => self.settings(key, options)?,
                // A list within the list has several words of one value.
                value => vec![self.setting(line, key, name, value)?],
            };
            if choices.contains(&choice) {
                return Err(wrong(&format!("has {} twice", value.what())));
            }
            choices.push(choice);
        }
        Ok(choices)
    }

    fn setting(
        self,
        line: usize,
        key: &str,
        name: &str,
        value: &Value,
    ) -> Result<Setting, GridError> {
        self.check_name(line, key, name)?;
        let wrong = |reason: &str| self.wrong(line, key, reason);
        let is_fleets = name.starts_with("set.");
        let value = match value {
            Value::Flag(flag) if is_fleets => Given::Words(vec![flag.to_string()]),
            Value::Flag(flag) if ![COMMAND, INPUTS].contains(&name) => Given::Flag(*flag),
            Value::List(list) if !is_fleets => {
                let words: Option<Vec<_>> = list.iter().map(Value::word).collect();
                let words = words.filter(|words| !words.is_empty());
                let reason = "expected a list of strings or numbers with at least one of them";
                Given::Words(words.ok_or_else(|| wrong(reason))?)
            }
            other => {
                let reason = format!("expected a value, found {}", other.what());
                Given::Words(vec![other.word().ok_or_else(|| wrong(&reason))?])
            }
        };
        self.check_given(line, key, &value)?;
        Ok(Setting {
            name: name.to_owned(),
            value,
        })
    }

    /// The options of a table; those below `set` by their dotted names.
    fn flat(self, table: &str, options: &[EntryValue]) -> Result<Vec<EntryValue>, GridError> {
        let mut flat = Vec::new();
        let mut waiting: Vec<EntryValue> = options.iter().rev().cloned().collect();
        while let Some((name, line, value)) = waiting.pop() {
            match value {
                Value::Table(below) if name == SET || name.starts_with("set.") => {
                    let named = below.into_iter().rev();
                    waiting.extend(
                        named.map(|(key, line, value)| (format!("{name}.{key}"), line, value)),
                    );
                }
                value if name == SET => {
                    let reason = format!(
                        "expected a table of the fleet's keys, found {}",
                        value.what()
                    );
                    return Err(self.wrong(line, &format!("{table}.{name}"), &reason));
                }
                value => flat.push((name, line, value)),
            }
        }
        Ok(flat)
    }

    fn check_name(self, line: usize, key: &str, name: &str) -> Result<(), GridError> {
        if let Some((_, why)) = OWN.iter().find(|(own, _)| *own == name) {
            return Err(self.wrong(line, key, &format!("rows cannot have it: {why}")));
        }
        let is_option = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let name = name.strip_prefix("set.").unwrap_or(name);
        let allowed = |c: char| is_option(c) || ".-_".contains(c);
        if name.is_empty() || name.starts_with('-') || !name.chars().all(allowed) {
            let reason = "expected an option by its long name, without dashes before it";
            return Err(self.wrong(line, key, reason));
        }
        Ok(())
    }

    /// Nothing that stands for a value is an option of its own.
    fn check_given(self, line: usize, key: &str, value: &Given) -> Result<(), GridError> {
        let Given::Words(words) = value else {
            return Ok(());
        };
        let is_option = |word: &&String| word.starts_with('-') && word.parse::<f64>().is_err();
        match words.iter().find(is_option) {
            None => Ok(()),
            Some(word) => {
                let reason = format!("expected a value, found `{}`", word.escape_debug());
                Err(self.wrong(line, key, &reason))
            }
        }
    }
}
