//! The plan of an earlier run, from its report: what decides the bits of a result, to be chosen again.

use std::path::Path;

use serde::Deserialize;

use super::{Problem, RunOptions, TreeChoice};
use crate::report::REPORT_BYTES_MAX;
use crate::text;

/// What an earlier run or `peerwren plan` chose.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Replay {
    command: String,
    m: u64,
    n: u64,
    block: u32,
    ib: u32,
    tree: String,
    workers: u32,
}

/// A plan that cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plan {file}: {problem}")]
pub struct ReplayError {
    file: String,
    problem: String,
}

impl Replay {
    /// The options of a run of `command` with block, inner block, tree and, where it is left open, number of
    /// workers as the report at `path` tells them: the same plan, so the same bits.
    ///
    /// # Errors
    /// The file cannot be read or is no report, is one of another operation or shape, or `options` choose
    /// a block, an inner block or a tree themselves.
    pub fn apply(
        path: &Path,
        command: &str,
        problem: &Problem,
        options: RunOptions,
    ) -> Result<RunOptions, ReplayError> {
        let read = || {
            let text = text::read(path, REPORT_BYTES_MAX).map_err(|error| error.to_string())?;
            Self::parse(&text)?.applied(command, problem, options)
        };
        read().map_err(|problem| ReplayError {
            file: path.display().to_string(),
            problem,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text)
            .map_err(|error| format!("{error}; expected the report of a run or of `peerwren plan`"))
    }

    fn applied(
        self,
        command: &str,
        problem: &Problem,
        options: RunOptions,
    ) -> Result<RunOptions, String> {
        let twice = [
            ("block", options.block.is_some()),
            ("ib", options.ib.is_some()),
            ("tree", options.tree != TreeChoice::Auto),
        ];
        if let Some((option, _)) = twice.into_iter().find(|(_, given)| *given) {
            return Err(format!(
                "chooses --{option} too; leave out --{option} or --plan"
            ));
        }
        let (Problem { m, n, .. }, Self { command: of, .. }) = (problem, &self);
        if of != command || (self.m, self.n) != (*m, *n) {
            return Err(format!(
                "is of {of} of {} x {}, and this is {command} of {m} x {n}",
                self.m, self.n
            ));
        }
        let tree = self.tree.parse().map_err(|error| format!("{error}"))?;
        Ok(RunOptions {
            block: Some(self.block),
            ib: Some(self.ib),
            tree,
            workers: options.workers.or(Some(self.workers)),
            ..options
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"command": "qr", "m": 100, "n": 80, "block": 20, "ib": 5,
        "tree": "grid:2x1:binary", "workers": 3, "wall_s": 1.5}"#;

    fn replayed(command: &str, m: u64, options: RunOptions) -> Result<RunOptions, String> {
        Replay::parse(REPORT)?.applied(command, &Problem::qr(m, 80), options)
    }

    #[test]
    fn what_decides_the_bits_is_taken_over() {
        let options = replayed("qr", 100, RunOptions::default()).unwrap();
        assert_eq!((options.block, options.ib), (Some(20), Some(5)));
        assert_eq!(options.tree, "grid:2x1:binary".parse().unwrap());
        assert_eq!(options.workers, Some(3));
        let more = RunOptions {
            workers: Some(7),
            ..RunOptions::default()
        };
        assert_eq!(replayed("qr", 100, more).unwrap().workers, Some(7));
    }

    #[test]
    fn another_problem_or_a_second_choice_is_refused() {
        let other = replayed("lu", 100, RunOptions::default()).unwrap_err();
        assert_eq!(other, "is of qr of 100 x 80, and this is lu of 100 x 80");
        let other = replayed("qr", 101, RunOptions::default()).unwrap_err();
        assert_eq!(other, "is of qr of 100 x 80, and this is qr of 101 x 80");
        let twice = RunOptions {
            tree: TreeChoice::Flat,
            ..RunOptions::default()
        };
        let twice = replayed("qr", 100, twice).unwrap_err();
        assert_eq!(twice, "chooses --tree too; leave out --tree or --plan");
        for text in ["", "[]", "{\"command\": \"qr\"}"] {
            let wrong = Replay::parse(text).unwrap_err();
            assert!(
                wrong.ends_with("the report of a run or of `peerwren plan`"),
                "{wrong}"
            );
        }
    }
}
