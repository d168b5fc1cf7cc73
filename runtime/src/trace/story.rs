//! What a trace says of one block, in the order of time: who made it, where it went and why. Is told a file
//! entry by entry and keeps those that speak of the block.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::form::{About, Entry};
use super::read::{Reader, TraceError, read};
use crate::options::ByteSize;

/// Why there is no story.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoryError {
    /// The file cannot be read, or is no trace.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The text cannot be a block's name.
    #[error(
        "`{0}` is no block's name; expected a family and indices, such as V[1,0], or 3/1.0 as logs \
         write it"
    )]
    NoName(String),
    /// The trace does not speak of the block.
    #[error("block {key} is not in the trace: {hint}")]
    Unknown {
        /// The block.
        key: String,
        /// What is.
        hint: String,
    },
}

/// The story of one block.
#[derive(Clone, Debug)]
pub struct Story {
    title: String,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    at_us: f64,
    what: &'static str,
    text: String,
}

impl Story {
    /// Reads the story of the block that is named `key` from the trace at `path`.
    ///
    /// # Errors
    /// A file that is no trace, and a block that it does not speak of.
    pub fn read(path: &Path, key: &str) -> Result<Self, StoryError> {
        let mut gathered = Gathered {
            name: Name::parse(key)?,
            key: None,
            families: Vec::new(),
            entries: Vec::new(),
            departures: Vec::new(),
            reaches: BTreeMap::new(),
        };
        let about = read(path, &mut gathered)?;
        gathered.tell(&about)
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for Line { at_us, what, text } in &self.lines {
            writeln!(f, "{:>12.3} ms  {what:<10} {text}", at_us / 1e3)?;
        }
        Ok(())
    }
}

/// A block as somebody names it.
#[derive(Debug)]
struct Name {
    /// The family's name or number.
    family: String,
    at: Vec<i32>,
}

impl Name {
    fn parse(text: &str) -> Result<Self, StoryError> {
        let wrong = || {
            StoryError::NoName(
                text.chars()
                    .take(80)
                    .collect::<String>()
                    .escape_debug()
                    .to_string(),
            )
        };
        let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (family, indices) = plain.split_once(['[', '(', '/']).ok_or_else(wrong)?;
        let indices = indices.trim_end_matches([']', ')']);
        let parts = indices.split([',', '.']).filter(|part| !part.is_empty());
        let at: Result<Vec<i32>, _> = parts.map(str::parse).collect();
        if family.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            family: family.to_owned(),
            at: at.map_err(|_| wrong())?,
        })
    }

    /// The name that the trace has for it.
    fn in_trace(&self, families: &[String]) -> String {
        let number = self.family.parse().ok();
        let label = number.and_then(|number: usize| families.get(number));
        named(label.unwrap_or(&self.family), &self.at)
    }
}

fn named(family: &str, at: &[i32]) -> String {
    let at: Vec<String> = at.iter().map(i32::to_string).collect();
    format!("{family}[{}]", at.join(","))
}

/// First and last indices of a family's blocks.
type Reach = (Vec<i32>, Vec<i32>);

/// What a trace says of a block.
struct Gathered {
    name: Name,
    /// Its name in the trace, once that has told its families.
    key: Option<String>,
    /// Names of the families by number.
    families: Vec<String>,
    entries: Vec<Entry>,
    /// Workers that were lost or left.
    departures: Vec<Entry>,
    reaches: BTreeMap<String, Reach>,
}

impl Reader for Gathered {
    fn about(&mut self, about: &About) {
        self.families.clone_from(&about.families);
    }

    fn take(&mut self, entry: Entry) {
        if entry.cat == "worker" && ["lost", "left"].contains(&entry.name.as_str()) {
            self.departures.push(entry);
            return;
        }
        let args = &entry.args;
        let made = args.makes.iter().map(|made| made.block.as_str());
        let named = args.block.as_deref().into_iter().chain(made);
        for block in named.clone() {
            note(&mut self.reaches, block);
        }
        let key = self
            .key
            .get_or_insert_with(|| self.name.in_trace(&self.families));
        let others = args.reads.iter().chain(&args.missing).map(String::as_str);
        if named.chain(others).any(|block| block == key) {
            self.entries.push(entry);
        }
    }
}

impl Gathered {
    fn tell(mut self, about: &About) -> Result<Story, StoryError> {
        let key = self.name.in_trace(&about.families);
        if self.entries.is_empty() {
            let hint = self.hint(about);
            return Err(StoryError::Unknown { key, hint });
        }
        // At one moment a worker is lost first, then what it had.
        self.departures.append(&mut self.entries);
        let mut entries = self.departures;
        // A block is there when its task ends; all else is told when it begins.
        let at = |entry: &Entry| {
            let is_made = entry.args.makes.iter().any(|made| made.block == key);
            entry.ts + entry.dur.filter(|_| is_made).unwrap_or(0.0)
        };
        entries.sort_by(|a, b| at(a).total_cmp(&at(b)));
        let mut teller = Teller::new(&key);
        for entry in &entries {
            teller.add(entry, at(entry));
        }
        Ok(Story {
            title: teller.title(about),
            lines: teller.lines,
        })
    }

    /// What the trace has that is like the block.
    fn hint(&self, about: &About) -> String {
        let number = self.name.family.parse().ok();
        let family = number.and_then(|number: usize| about.families.get(number));
        let family = family.unwrap_or(&self.name.family);
        let like = |other: &&String| other.eq_ignore_ascii_case(family);
        let family = self.reaches.keys().find(like).unwrap_or(family);
        match self.reaches.get(family) {
            Some((first, last)) => format!(
                "{family} goes from {} to {}",
                named(family, first),
                named(family, last)
            ),
            None => {
                let known: Vec<_> = self.reaches.keys().map(String::as_str).collect();
                format!("its families are {}", known.join(", "))
            }
        }
    }
}

/// Widens the reach of a block's family.
fn note(families: &mut BTreeMap<String, Reach>, block: &str) {
    let Ok(Name { family, at }) = Name::parse(block) else {
        return;
    };
    match families.get_mut(&family) {
        None => drop(families.insert(family, (at.clone(), at))),
        Some((first, last)) => {
            if at < *first {
                *first = at;
            } else if at > *last {
                *last = at;
            }
        }
    }
}

/// Puts entries into words, first to last.
struct Teller<'a> {
    key: &'a str,
    bytes: u64,
    digest: String,
    /// Who has it.
    holders: BTreeSet<u32>,
    /// Who fetched it for which task.
    fetched_for: BTreeSet<(u32, String)>,
    times_made: u32,
    is_input: bool,
    /// The last task that read it so far, where, and when it ended.
    last_reader: Option<(String, u32, f64)>,
    lines: Vec<Line>,
}

impl<'a> Teller<'a> {
    fn new(key: &'a str) -> Self {
        Self {
            key,
            bytes: 0,
            digest: String::new(),
            holders: BTreeSet::new(),
            fetched_for: BTreeSet::new(),
            times_made: 0,
            is_input: false,
            last_reader: None,
            lines: Vec::new(),
        }
    }

    fn title(&self, about: &About) -> String {
        let mut title = format!("{}: ", self.key);
        if self.bytes > 0 {
            title.push_str(&format!("{}, ", ByteSize(self.bytes)));
        }
        title.push_str(&match (self.digest.is_empty(), self.is_input) {
            (false, _) => format!("digest {}", self.digest),
            (true, true) => "an input: each worker reads it for itself".to_owned(),
            (true, false) => {
                "made by nobody in this trace: a constant, or lost with who made it".to_owned()
            }
        });
        title.push_str(&format!(
            "\n  {}, run {}; times since the coordinator began, workers' within {}",
            about.title,
            about.run,
            crate::report::seconds(about.clock_error_us / 1e6),
        ));
        if about.outcome != "complete" {
            title.push_str(&format!("\n  the run failed: {}", about.outcome));
        }
        title
    }

    fn say(&mut self, at_us: f64, what: &'static str, text: String) {
        self.lines.push(Line { at_us, what, text });
    }

    fn add(&mut self, entry: &Entry, at: f64) {
        let worker = entry.args.worker.unwrap_or(0);
        match entry.cat.as_str() {
            "task" => self.task(entry, worker, at),
            "fetch" => self.fetch(entry, worker),
            "put" => {
                let why = entry.args.why.as_deref().unwrap_or_default();
                let text = format!("by worker {worker} in {}: {why}", took(entry));
                self.say(at, "stored", text);
            }
            "drop" => {
                self.holders.remove(&worker);
                let why = entry.args.why.as_deref().unwrap_or_default();
                self.say(at, "dropped", format!("by worker {worker}: {why}"));
            }
            "worker" if self.holders.remove(&worker) => {
                let how = if entry.name == "lost" {
                    "was lost"
                } else {
                    "left"
                };
                let text = format!("worker {worker} {how}, and its copy with it");
                self.say(at, "gone", text);
            }
            "lease" => {
                let task = entry.args.task.as_deref().unwrap_or_default();
                let text = format!("worker {worker} could not have it and gave {task} back");
                self.say(at, "missed", text);
            }
            "block" => self.fate(entry, at),
            _ => {}
        }
    }

    fn task(&mut self, entry: &Entry, worker: u32, at: f64) {
        let args = &entry.args;
        let task = args.task.as_deref().unwrap_or(&entry.name);
        let thread = entry.tid.saturating_sub(1);
        let why = args.why.as_deref().unwrap_or_default();
        let line = args.line.as_deref().unwrap_or_default();
        if let Some(made) = args.makes.iter().find(|made| made.block == self.key) {
            let again = self.times_made > 0;
            self.times_made += 1;
            let bits = match () {
                () if !again || self.digest.is_empty() || made.digest.is_empty() => "",
                () if self.digest == made.digest => ", the same bits",
                () => ", OTHER BITS",
            };
            self.bytes = made.bytes;
            self.digest.clone_from(&made.digest);
            self.holders.insert(worker);
            let text = format!(
                "by {task} ({line}) on worker {worker} ({why}), thread {thread}, in {}{bits}",
                took(entry),
            );
            self.say(at, if again { "made again" } else { "made" }, text);
        }
        if args.reads.iter().any(|block| block == self.key) {
            let how = if self.fetched_for.remove(&(worker, task.to_owned())) {
                "fetched for it"
            } else {
                "from its cache"
            };
            let text = format!("by {task} on worker {worker} ({why}), {how}");
            self.say(entry.ts, "read", text);
            let end = entry.ts + entry.dur.unwrap_or(0.0);
            if self
                .last_reader
                .as_ref()
                .is_none_or(|(_, _, last)| end > *last)
            {
                self.last_reader = Some((task.to_owned(), worker, end));
            }
        }
    }

    fn fetch(&mut self, entry: &Entry, worker: u32) {
        let args = &entry.args;
        let from = args.from.as_deref().unwrap_or("somewhere");
        let wanted = match (&args.task, &args.why) {
            (Some(task), _) => format!("for {task}"),
            (None, Some(why)) => why.clone(),
            (None, None) => String::new(),
        };
        if let Some(other) = &args.referred {
            let text = format!(
                "by worker {worker} at {from} {wanted}: referred to {other} in {}",
                took(entry)
            );
            return self.say(entry.ts, "asked", text);
        }
        let Some(bytes) = args.bytes else {
            let text = format!("by worker {worker} at {from} {wanted}: not there, or not in time");
            return self.say(entry.ts, "asked", text);
        };
        self.bytes = bytes;
        self.is_input |= from == "the input";
        self.holders.insert(worker);
        if let Some(task) = &args.task {
            self.fetched_for.insert((worker, task.clone()));
        }
        let text = format!(
            "by worker {worker} from {from} {wanted}: {} in {}",
            ByteSize(bytes),
            took(entry)
        );
        self.say(entry.ts, "fetched", text);
    }

    /// What the coordinator learned of the block itself.
    fn fate(&mut self, entry: &Entry, at: f64) {
        match entry.name.as_str() {
            "lost" => self.say(
                at,
                "lost",
                "nobody has it any more, and it is still needed".to_owned(),
            ),
            "reopened" => {
                let task = entry.args.task.as_deref().unwrap_or_default();
                self.say(at, "reopened", format!("{task} must run again, to make it"));
            }
            "dead" => {
                let reader = self.last_reader.as_ref();
                let reader = reader.map_or(String::new(), |(task, worker, _)| {
                    format!(", {task} on worker {worker},")
                });
                let text = format!("the last task that reads it{reader} is finished");
                self.say(at, "done with", text);
            }
            _ => {}
        }
    }
}

/// How long an entry lasted.
fn took(entry: &Entry) -> String {
    crate::report::seconds(entry.dur.unwrap_or(0.0) / 1e6)
}
