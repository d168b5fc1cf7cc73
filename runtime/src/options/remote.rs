//! How workers on other machines join a run, and what such a run cannot do without.

use std::path::PathBuf;
use std::time::Duration;

use super::resolve::OptionError;
use super::{ControlChoice, EngineKind, RunOptions, StoreChoice};

/// How workers on other machines join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteOptions {
    /// Where the token goes that lets workers join.
    pub token: PathBuf,
    /// How long the token is good for.
    pub token_valid: Duration,
    /// How long workers are waited for: the wanted ones before the first task, any at all later.
    pub start_timeout: Duration,
}

impl RunOptions {
    /// How control goes in fact: packets always reach workers on this machine.
    pub(super) fn control_way(&self) -> ControlChoice {
        let here = matches!(self.engine, EngineKind::Threads | EngineKind::Processes);
        match self.control {
            ControlChoice::Auto if here => ControlChoice::Quic,
            control => control,
        }
    }

    /// Refuses what workers on other machines cannot do with, before any of them is asked.
    ///
    /// # Errors
    /// A store that they do not reach, or a number of workers that is left open.
    pub fn check_engine(&self) -> Result<(), OptionError> {
        let wrong = |text: &str| Err(OptionError::Contradiction(text.to_owned()));
        match (&self.remote, &self.engine) {
            (None, EngineKind::Remote) => {
                return wrong("--engine remote is what `peerwren coordinator` runs: use that");
            }
            (None, EngineKind::Lambda(_))
                if matches!(
                    self.store,
                    StoreChoice::Temporary | StoreChoice::Memory | StoreChoice::Folder(_)
                ) =>
            {
                return wrong(
                    "--engine lambda:NAME needs --store s3://bucket/prefix: workers on Lambda share nothing else",
                );
            }
            (None, _) => return Ok(()),
            (Some(_), _) => {}
        }
        if matches!(self.store, StoreChoice::Temporary | StoreChoice::Memory) {
            return wrong(
                "workers on other machines need a store that all of them reach: give --store a shared \
                 folder or s3://bucket/prefix",
            );
        }
        if self.workers.is_none() {
            return wrong(
                "--workers is needed: for how many workers is the run to wait before it begins?",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::MachineFacts;

    #[test]
    fn a_run_of_other_machines_names_its_store_and_its_workers() {
        let facts = MachineFacts::read();
        let remote = RunOptions {
            engine: EngineKind::Remote,
            remote: Some(RemoteOptions {
                token: "run.token".into(),
                token_valid: Duration::from_secs(3600),
                start_timeout: Duration::from_secs(60),
            }),
            workers: Some(2),
            store: StoreChoice::Folder("/shared".into()),
            ..RunOptions::default()
        };
        let said = |options: &RunOptions| options.resolve(100, 100, &facts).map(drop);
        assert_eq!(said(&remote), Ok(()));
        let store = StoreChoice::Temporary;
        let error = said(&RunOptions {
            store,
            ..remote.clone()
        })
        .unwrap_err();
        assert!(error.to_string().contains("--store"), "{error}");
        let workers = None;
        let error = said(&RunOptions {
            workers,
            ..remote.clone()
        })
        .unwrap_err();
        assert!(error.to_string().contains("--workers"), "{error}");
        let error = said(&RunOptions {
            remote: None,
            ..remote
        })
        .unwrap_err();
        assert!(
            error.to_string().contains("peerwren coordinator"),
            "{error}"
        );
    }
}
