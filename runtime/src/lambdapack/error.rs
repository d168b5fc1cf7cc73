//! What can be wrong with a program, said with file, line and caret. Never decides whether it is
//! wrong.

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use thiserror::Error;

/// Where in which file: bytes `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) file: u16,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// The span from the start of `self` to the end of `last`, both in one file.
    pub(crate) fn to(self, last: Span) -> Span {
        Span {
            end: last.end.max(self.end),
            ..self
        }
    }
}

/// The files that a program was read from, the program itself first.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) files: Vec<SourceFile>,
}

/// A file's name and text.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    pub(crate) name: String,
    pub(crate) text: Arc<str>,
}

impl Sources {
    /// The file and the line, from 1, in which a span begins.
    pub(crate) fn place(&self, span: Span) -> (&str, usize) {
        let file = &self.files[usize::from(span.file).min(self.files.len() - 1)];
        let before = floor_char(&file.text, span.start as usize);
        (&file.name, file.text[..before].matches('\n').count() + 1)
    }

    /// Makes the diagnosis of `headline` at `span`.
    pub(crate) fn diagnose(&self, span: Span, headline: impl Into<String>) -> Diagnosis {
        let file = &self.files[usize::from(span.file).min(self.files.len() - 1)];
        Diagnosis {
            headline: headline.into(),
            help: None,
            source: NamedSource::new(file.name.clone(), file.text.clone()),
            start: (span.start as usize).min(file.text.len()),
            end: (span.end as usize).min(file.text.len()),
        }
    }
}

/// One fault of a program: a headline, the place, and a hint where there is one.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    headline: String,
    help: Option<String>,
    source: NamedSource<Arc<str>>,
    start: usize,
    end: usize,
}

impl Diagnosis {
    /// Adds what to do about it.
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// The one-line summary, without the word "error" and without the place.
    pub fn headline(&self) -> &str {
        &self.headline
    }

    /// The name of the file.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// Line and column, both from 1; the column counts characters.
    pub fn line_column(&self) -> (usize, usize) {
        let before = &self.source.inner()[..floor_char(self.source.inner(), self.start)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    /// Headline, `file:line:column`, the source line and a caret under the place, without colours.
    pub fn render(&self) -> String {
        let (line, column) = self.line_column();
        let text = self.source.inner().lines().nth(line - 1).unwrap_or("");
        let shown: String = text
            .chars()
            .map(|c| if c == '\t' { ' ' } else { c })
            .collect();
        let start = floor_char(self.source.inner(), self.start);
        let end = floor_char(self.source.inner(), self.end).max(start);
        let marked = self.source.inner()[start..end]
            .split('\n')
            .next()
            .unwrap_or("");
        let carets = "^".repeat(marked.trim_end().chars().count().max(1));
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let mut out = format!(
            "error: {}\n{margin}--> {}:{line}:{column}\n{margin} |\n{number} | {shown}\n{margin} | {}{carets}",
            self.headline,
            self.file(),
            " ".repeat(column - 1),
        );
        if let Some(help) = &self.help {
            out.push_str(&format!("\n{margin} = help: {help}"));
        }
        out
    }
}

/// The start of the character that byte `at` belongs to.
fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{} ({}:{line}:{column})", self.headline, self.file())
    }
}

impl std::error::Error for Diagnosis {}

impl Diagnostic for Diagnosis {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new(None, self.start, self.end.saturating_sub(self.start).max(1));
        Some(Box::new(std::iter::once(label)))
    }
}

/// Why a program cannot be used. The boxes keep the good path's results small.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The text must be changed.
    #[error(transparent)]
    Text(Box<Diagnosis>),
    /// Other parameters must be given: one is missing, unknown or refused by a `require`.
    #[error(transparent)]
    Parameters(Box<Diagnosis>),
    /// The program is sound but larger than a limit of this implementation.
    #[error(transparent)]
    TooLarge(Box<Diagnosis>),
}

impl ProgramError {
    /// The fault with its place.
    pub fn diagnosis(&self) -> &Diagnosis {
        match self {
            Self::Text(d) | Self::Parameters(d) | Self::TooLarge(d) => d,
        }
    }

    /// What a person should see: see [`Diagnosis::render`].
    pub fn render(&self) -> String {
        self.diagnosis().render()
    }
}

/// Why a task cannot be evaluated.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The program has no such task: the statement or its loop indices are out of range.
    #[error("the program has no task {stmt} at {at:?}")]
    NoSuchTask {
        /// The statement's number as given.
        stmt: u16,
        /// The loop indices as given.
        at: Vec<i32>,
    },
    /// The program's text is wrong at this task: an evaluation fault, a false declared inverse, a
    /// tile that nobody writes, an impossible shape.
    #[error(transparent)]
    Program(Box<Diagnosis>),
}

impl TaskError {
    /// What a person should see, with a caret where the program is to blame.
    pub fn render(&self) -> String {
        match self {
            Self::NoSuchTask { .. } => format!("error: {self}"),
            Self::Program(diagnosis) => diagnosis.render(),
        }
    }
}
