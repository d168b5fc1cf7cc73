//! One run of an experiment: its line of arguments, and the name that its report is kept under.

use std::fmt::Write;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which point of the grid, from 0.
    pub point: usize,
    /// Which of the point's runs, from 1.
    pub repetition: u32,
    /// The arguments, the command's name first.
    pub words: Vec<String>,
}

impl Row {
    /// The line that runs it again in a shell.
    #[must_use]
    pub fn line(&self) -> String {
        shell_line(&self.words)
    }

    /// A name for its report: two rows with other arguments, or other repetitions, have others.
    #[must_use]
    pub fn name(&self) -> String {
        let digest = blake3::hash(self.words.join("\0").as_bytes()).to_hex();
        format!("{}-{}", &digest[..16], self.repetition)
    }
}

/// Words as a POSIX shell reads them: in quotes where they must be.
#[must_use]
pub fn shell_line(words: &[String]) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
        if !word.is_empty() && word.chars().all(is_plain) {
            line.push_str(word);
        } else {
            let _ = write!(line, "'{}'", word.replace('\'', "'\\''"));
        }
    }
    line
}
