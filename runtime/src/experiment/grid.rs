//! A grid file: which options are fixed, which vary, and the runs that all their combinations make. Checks what
//! can be known without the options' meaning; what a value may be is for whoever parses the lines.

use std::fs;
use std::path::Path;

use super::row::Row;
use super::shipped::SHIPPED;
use super::toml_text::{Entry, EntryValue, FILE_BYTES_MAX, GridError, Text, Value};

/// Most runs of an experiment: 10 trees x 10 sizes x 10 repetitions; a page of them has some 500 kB.
pub const ROWS_MAX: usize = 1_000;

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
const COMMAND: &str = "command";
const INPUTS: &str = "inputs";
const FLEET: &str = "fleet";
const SEED: &str = "seed";
/// Changes of the fleet, by dotted keys.
const SET: &str = "set";

/// An experiment as its file says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// One line.
    pub title: String,
    /// The file's text.
    pub text: String,
    /// Runs of each point.
    pub repeat: u32,
    /// The point whose workers' time and pairs are drawn.
    pub show: Option<usize>,
    /// Options that have several values, in the order of the file.
    pub varied: Vec<String>,
    /// All combinations; the first option varies slowest.
    pub points: Vec<Point>,
}

/// One combination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    settings: Vec<Setting>,
}

/// An option with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    /// Its long name; of the fleet's keys `set.` and the key.
    name: String,
    value: Given,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    Flag(bool),
    Words(Vec<String>),
}

/// What varies together, and its alternatives.
type Choices = Vec<Vec<Setting>>;

impl Experiment {
    /// Reads a file, or the shipped experiment of that name.
    ///
    /// # Errors
    /// There is no such file, or what it says cannot be.
    pub fn open(name: &str) -> Result<Self, GridError> {
        if let Some(shipped) = SHIPPED.iter().find(|shipped| shipped.name == name) {
            return Self::parse(name, shipped.text);
        }
        let shown = name.escape_debug().to_string();
        let path = Path::new(name);
        let facts = fs::metadata(path).map_err(|error| {
            let known: Vec<_> = SHIPPED.iter().map(|shipped| shipped.name).collect();
            GridError(format!(
                "{shown}: {error}; expected a grid file, or one of {}",
                known.join(", ")
            ))
        })?;
        if facts.is_dir() {
            return Err(GridError(format!(
                "{shown}: expected a grid file, found a folder"
            )));
        }
        if facts.len() > FILE_BYTES_MAX {
            return Err(GridError(format!(
                "{shown}: has {} bytes; a grid file has at most {FILE_BYTES_MAX}",
                facts.len()
            )));
        }
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| GridError(format!("{shown}: {error}")))?;
        Self::parse(&shown, &text)
    }

    /// Takes the text of a grid file; `file` begins the errors' text.
    ///
    /// # Errors
    /// What it says cannot be.
    pub fn parse(file: &str, text: &str) -> Result<Self, GridError> {
        let text = Text { file, text };
        let mut title = None;
        let mut repeat = 1;
        let mut show = None;
        let mut fixed = Vec::new();
        let mut axes: Vec<Choices> = Vec::new();
        for entry in text.parse()? {
            match (entry.key.as_str(), &entry.value) {
                ("title", Value::Word(words)) => title = Some(words.clone()),
                ("title", _) => return Err(text.expected(&entry, "a string")),
                ("repeat", Value::Whole(count @ 1..=100)) => repeat = *count as u32,
                ("repeat", _) => return Err(text.expected(&entry, "a number from 1 to 100")),
                ("run", Value::Table(options)) => {
                    fixed = text.settings("run", options)?;
                }
                ("grid", Value::Table(options)) => axes = text.axes("grid", options)?,
                ("show", Value::Table(options)) => {
                    show = Some((entry.line, text.settings("show", options)?));
                }
                ("run" | "grid" | "show", _) => return Err(text.expected(&entry, "a table")),
                (key, _) => {
                    let known = "expected title, repeat, [run], [grid] or [show]";
                    return Err(text.wrong(entry.line, key, known));
                }
            }
        }
        let points = text.product(fixed, &axes, repeat)?;
        let experiment = Self {
            title: title.ok_or_else(|| text.wrong_in_all("expected a title"))?,
            text: text.text.to_owned(),
            repeat,
            show: None,
            varied: varied(&points),
            points,
        };
        for point in &experiment.points {
            text.check(point, repeat)?;
        }
        let show = show.map(|(line, wanted)| experiment.find(text, line, &wanted));
        Ok(Self {
            show: show.transpose()?,
            ..experiment
        })
    }

    /// All runs: point by point, each point's repetitions one after the other.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let row = |(point, repetition): (usize, u32)| Row {
            point,
            repetition,
            words: self.points[point].words(repetition),
        };
        let points = 0..self.points.len();
        let all = points.flat_map(|point| (1..=self.repeat).map(move |run| (point, run)));
        all.map(row).collect()
    }

    /// What a point has of what varies, such as `exchange store, tree flat`.
    #[must_use]
    pub fn label(&self, point: usize) -> String {
        self.label_without(point, &[])
    }

    /// The same without some options.
    pub(super) fn label_without(&self, point: usize, but: &[&str]) -> String {
        let varied = self
            .varied
            .iter()
            .filter(|name| !but.contains(&name.as_str()));
        let parts = varied.filter_map(|name| {
            let value = self.points[point].value(name)?;
            Some(match name.as_str() {
                COMMAND | INPUTS => value,
                _ => format!("{} {value}", shown(name)),
            })
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    fn find(&self, text: Text<'_>, line: usize, wanted: &[Setting]) -> Result<usize, GridError> {
        let fits = |point: &Point| {
            wanted
                .iter()
                .all(|setting| point.settings.contains(setting))
        };
        self.points.iter().position(fits).ok_or_else(|| {
            let reason = "no combination of the grid has these values";
            text.wrong(line, "show", reason)
        })
    }
}

impl Point {
    /// The value of an option as it stands in a table; none where the point does not have it.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<String> {
        let setting = self.settings.iter().find(|setting| setting.name == name)?;
        Some(match &setting.value {
            Given::Flag(true) => "yes".to_owned(),
            Given::Flag(false) => "no".to_owned(),
            Given::Words(words) => words.join(" "),
        })
    }

    /// Whether its runs are simulated.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.value(FLEET).is_some()
    }

    /// The arguments of one of its runs. A simulated one has its number as seed; a real one differs by itself.
    fn words(&self, repetition: u32) -> Vec<String> {
        let mut words = vec!["peerwren".to_owned()];
        if self.is_simulated() {
            words.push("sim".to_owned());
        }
        for first in [COMMAND, INPUTS] {
            let setting = self.settings.iter().find(|setting| setting.name == first);
            if let Some(Given::Words(given)) = setting.map(|setting| &setting.value) {
                words.extend(given.iter().cloned());
            }
        }
        for Setting { name, value } in &self.settings {
            match value {
                Given::Words(_) if [COMMAND, INPUTS].contains(&name.as_str()) => {}
                // The only option whose value may be left out.
                Given::Words(given) if name == "autoscale" => {
                    words.push(format!("--{name}={}", given.join(",")));
                }
                Given::Words(given) => {
                    for word in given {
                        let set = name.strip_prefix("set.");
                        words.push(format!("--{}", if set.is_some() { SET } else { name }));
                        words.push(match set {
                            Some(key) => format!("{key}={word}"),
                            None => word.clone(),
                        });
                    }
                }
                Given::Flag(true) => words.push(format!("--{name}")),
                Given::Flag(false) => {}
            }
        }
        if self.is_simulated() && self.value(SEED).is_none() {
            words.extend([format!("--{SEED}"), repetition.to_string()]);
        }
        words
    }
}

impl Text<'_> {
    fn expected(self, entry: &Entry, what: &str) -> GridError {
        let reason = format!("expected {what}, found {}", entry.value.what());
        self.wrong(entry.line, &entry.key, &reason)
    }

    /// Options with one value each.
    fn settings(self, table: &str, options: &[EntryValue]) -> Result<Vec<Setting>, GridError> {
        let mut settings: Vec<Setting> = Vec::new();
        for (name, line, value) in options {
            let key = format!("{table}.{name}");
            self.check_name(*line, &key, name)?;
            if name == SET {
                settings.extend(self.fleet_keys(*line, &key, value)?);
                continue;
            }
            let value = match value {
                Value::Flag(flag) if ![COMMAND, INPUTS].contains(&name.as_str()) => {
                    Given::Flag(*flag)
                }
                Value::List(list) => {
                    let words: Option<Vec<_>> = list.iter().map(Value::word).collect();
                    let words = words.filter(|words| !words.is_empty());
                    let reason = "expected a list of strings or numbers with at least one of them";
                    Given::Words(words.ok_or_else(|| self.wrong(*line, &key, reason))?)
                }
                other => {
                    let reason = format!("expected a value, found {}", other.what());
                    let word = other
                        .word()
                        .ok_or_else(|| self.wrong(*line, &key, &reason))?;
                    Given::Words(vec![word])
                }
            };
            self.check_given(*line, &key, &value)?;
            settings.push(Setting {
                name: name.clone(),
                value,
            });
        }
        Ok(settings)
    }

    /// Lists of values, each list an axis of the grid.
    fn axes(self, table: &str, options: &[EntryValue]) -> Result<Vec<Choices>, GridError> {
        let mut axes = Vec::new();
        for (name, line, value) in options {
            let key = format!("{table}.{name}");
            if name == SET {
                for (name, line, value) in self.leaves(*line, &key, value)? {
                    axes.push(self.axis(line, &format!("{table}.{name}"), &name, &value)?);
                }
            } else {
                axes.push(self.axis(*line, &key, name, value)?);
            }
        }
        Ok(axes)
    }

    fn axis(self, line: usize, key: &str, name: &str, value: &Value) -> Result<Choices, GridError> {
        let wrong = |reason: &str| self.wrong(line, key, reason);
        let Value::List(values) = value else {
            return Err(wrong(&format!(
                "expected a list of values, found {}",
                value.what()
            )));
        };
        if values.is_empty() {
            return Err(wrong("expected a list of values, found an empty one"));
        }
        let tables = values
            .iter()
            .filter(|value| matches!(value, Value::Table(_)));
        match tables.count() {
            0 => self.check_name(line, key, name)?,
            count if count == values.len() => {}
            _ => return Err(wrong("expected tables alone, or values alone")),
        }
        let mut choices: Choices = Vec::new();
        for value in values {
            let choice = match value {
                Value::Table(options) => self.settings(key, options)?,
                // A list within the list: several words of one value.
                value => {
                    let option = (name.to_owned(), line, value.clone());
                    let table = key.strip_suffix(name).unwrap_or(key).trim_end_matches('.');
                    self.one(table, option)?
                }
            };
            if choices.contains(&choice) {
                return Err(wrong(&format!("has {} twice", value.what())));
            }
            choices.push(choice);
        }
        Ok(choices)
    }

    /// One option of an axis, which may be a key of the fleet.
    fn one(self, table: &str, option: EntryValue) -> Result<Vec<Setting>, GridError> {
        let (name, line, value) = &option;
        let Some(word) = value.word().filter(|_| name.starts_with("set.")) else {
            return self.settings(table, &[option]);
        };
        let value = Given::Words(vec![word]);
        self.check_given(*line, &format!("{table}.{name}"), &value)?;
        Ok(vec![Setting {
            name: name.clone(),
            value,
        }])
    }

    fn fleet_keys(self, line: usize, key: &str, value: &Value) -> Result<Vec<Setting>, GridError> {
        let leaves = self.leaves(line, key, value)?.into_iter();
        let setting = |(name, line, value): EntryValue| {
            let reason = format!("expected a value, found {}", value.what());
            let word = value.word().or(match value {
                Value::Flag(flag) => Some(flag.to_string()),
                _ => None,
            });
            let word = word.ok_or_else(|| self.wrong(line, &format!("{key}.{name}"), &reason))?;
            Ok(Setting {
                name,
                value: Given::Words(vec![word]),
            })
        };
        leaves.map(setting).collect()
    }

    /// The values below a table `set`, by their dotted names from `set.` on.
    fn leaves(self, line: usize, key: &str, value: &Value) -> Result<Vec<EntryValue>, GridError> {
        let Value::Table(options) = value else {
            let reason = format!(
                "expected a table of the fleet's keys, found {}",
                value.what()
            );
            return Err(self.wrong(line, key, &reason));
        };
        let mut leaves = Vec::new();
        let mut waiting: Vec<EntryValue> = Vec::new();
        let below = |prefix: &str, options: &[EntryValue]| {
            let named = options.iter().rev();
            let named =
                named.map(|(name, line, value)| (format!("{prefix}.{name}"), *line, value.clone()));
            named.collect::<Vec<_>>()
        };
        waiting.extend(below(SET, options));
        while let Some((name, line, value)) = waiting.pop() {
            match value {
                Value::Table(options) => waiting.extend(below(&name, &options)),
                value => leaves.push((name, line, value)),
            }
        }
        Ok(leaves)
    }

    /// Each axis' choices with each other's, the first axis slowest.
    fn product(
        self,
        fixed: Vec<Setting>,
        axes: &[Choices],
        repeat: u32,
    ) -> Result<Vec<Point>, GridError> {
        let counts = axes.iter().map(Vec::len);
        let count = counts.fold(repeat as usize, usize::saturating_mul);
        if count > ROWS_MAX {
            let sum: Vec<_> = axes.iter().map(|axis| axis.len().to_string()).collect();
            let reason = format!(
                "the grid has {} x {repeat} repetitions = {count} runs; at most {ROWS_MAX}",
                sum.join(" x ")
            );
            return Err(self.wrong_in_all(&reason));
        }
        let mut points = vec![fixed];
        for choices in axes {
            let with = |point: &Vec<Setting>| {
                let point = point.clone();
                choices
                    .iter()
                    .map(move |choice| [point.as_slice(), choice].concat())
            };
            points = points.iter().flat_map(with).collect();
        }
        for point in &points {
            for (number, setting) in point.iter().enumerate() {
                if point[..number]
                    .iter()
                    .any(|other| other.name == setting.name)
                {
                    let reason = format!("{} is given twice for one run", shown(&setting.name));
                    return Err(self.wrong_in_all(&reason));
                }
            }
        }
        Ok(points
            .into_iter()
            .map(|settings| Point { settings })
            .collect())
    }

    /// What makes a line of a point, whatever the values are.
    fn check(self, point: &Point, repeat: u32) -> Result<(), GridError> {
        let has = |name: &str| point.settings.iter().any(|setting| setting.name == name);
        for needed in [COMMAND, INPUTS] {
            if !has(needed) {
                let reason = format!("expected {needed} in [run] or [grid]");
                return Err(self.wrong_in_all(&reason));
            }
        }
        let set = point
            .settings
            .iter()
            .find(|setting| setting.name.starts_with("set."));
        match (point.is_simulated(), set) {
            (false, Some(set)) => {
                let reason = format!("{} changes a fleet; expected fleet beside it", set.name);
                Err(self.wrong_in_all(&reason))
            }
            (true, _) if has("engine") => {
                Err(self
                    .wrong_in_all("engine and fleet are both given; a run is real or simulated"))
            }
            (true, _) if has(SEED) && repeat > 1 => Err(self.wrong_in_all(
                "seed is given and repeat is above 1; repeated simulations have seeds of their own",
            )),
            _ => Ok(()),
        }
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

/// An option's name as people read it.
pub(super) fn shown(name: &str) -> &str {
    name.strip_prefix("set.").unwrap_or(name)
}

/// Options that not all points have the same value of, as they are met.
fn varied(points: &[Point]) -> Vec<String> {
    let mut names: Vec<&String> = Vec::new();
    for setting in points.iter().flat_map(|point| &point.settings) {
        if !names.contains(&&setting.name) {
            names.push(&setting.name);
        }
    }
    let differs = |name: &&String| {
        let first = points[0].value(name);
        points.iter().any(|point| point.value(name) != first)
    };
    names.into_iter().filter(differs).cloned().collect()
}
