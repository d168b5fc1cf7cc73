//! A grid file: which options are fixed, which vary, and the runs that all their combinations make. Checks what
//! can be known without the options' meaning; what a value may be is for whoever parses the lines.

use std::fs;
use std::path::Path;

use super::row::Row;
use super::settings::{COMMAND, Choices, FLEET, Given, INPUTS, SEED, SET, Setting};
use super::shipped::SHIPPED;
use super::toml_text::{FILE_BYTES_MAX, GridError, Text, Value};
use crate::text;

/// Most runs of an experiment: 10 trees x 10 sizes x 10 repetitions; a page of them has some 500 kB.
pub const ROWS_MAX: usize = 1_000;

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
        let text = text::read(path, FILE_BYTES_MAX);
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

    /// All runs: every point once, then every point again, so that a machine whose speed drifts is as fast or slow
    /// for all of them.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let row = |repetition: u32, point: usize| Row {
            point,
            repetition,
            words: self.points[point].words(repetition),
        };
        let points = 0..self.points.len();
        let all =
            (1..=self.repeat).flat_map(|run| points.clone().map(move |point| row(run, point)));
        all.collect()
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
