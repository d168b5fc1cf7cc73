//! What a deployed function is and allows, and what is wrong with it. Never changes it.

use std::fmt;

use super::error::CloudError;
use super::functions::{EVENT_AGE_S, RETRIES};

/// What its description starts with; the version follows.
pub(crate) const DESCRIPTION: &str = "peerwren ";
/// Memory for which a function has one vCPU, in MB.
const MB_A_CORE: u32 = 1_769;
/// Most memory of a function, in MB.
const MB_MAX: u32 = 10_240;
/// Shortest time-out that leaves a worker time to work: start, self-test and hand-over take some 10 s.
const TIMEOUT_S_MIN: u32 = 30;

/// A deployed function as AWS describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Its resource name.
    pub arn: String,
    /// `Active` where it can be invoked; with Lambda's reason where not.
    pub state: String,
    /// `Successful`, or how the last update stands.
    pub update: String,
    /// Memory in MB, which decides the cores.
    pub memory_mb: u32,
    /// Longest life of a worker.
    pub timeout_s: u32,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Lambda's name of the system, such as `provided.al2023`.
    pub runtime: String,
    /// Version of peerwren inside; none where the description does not tell one.
    pub version: Option<String>,
    /// Size of the package in bytes.
    pub code_bytes: u64,
    /// Instances kept for this function alone, and at most so many.
    pub reserved: Option<u32>,
    /// Instances that functions without reservation share.
    pub unreserved: u32,
    /// Instances in the whole account and region.
    pub account: u32,
    /// MaximumRetryAttempts, where it is set.
    pub retries: Option<u32>,
    /// MaximumEventAgeInSeconds, where it is set.
    pub event_age_s: Option<u32>,
}

impl Facts {
    /// Most instances that can run at once.
    pub fn workers_max(&self) -> u32 {
        self.reserved.unwrap_or(self.unreserved)
    }

    /// vCPUs of an instance, at least 1 and at most Lambda's 6.
    pub fn cores(&self) -> u32 {
        (self.memory_mb / MB_A_CORE).clamp(1, 6)
    }

    /// Memory in MB for which an instance has so many vCPUs, at most Lambda's most.
    pub fn memory_mb_of(cores: u32) -> u32 {
        cores.saturating_mul(MB_A_CORE).clamp(MB_A_CORE, MB_MAX)
    }

    /// What keeps it from working as workers need it, and what to do; empty where all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.obstacles();
        let name = &self.name;
        if self.timeout_s < TIMEOUT_S_MIN {
            problems.push(format!(
                "a worker lives {} s at most, which leaves little for work: `peerwren lambda update {name} \
                 --timeout 900`",
                self.timeout_s
            ));
        }
        if self.memory_mb < MB_A_CORE {
            problems.push(format!(
                "{} MB get {:.1} of a vCPU, a whole one takes {MB_A_CORE} MB: `peerwren lambda update {name} \
                 --memory {MB_A_CORE}`",
                self.memory_mb,
                f64::from(self.memory_mb) / f64::from(MB_A_CORE)
            ));
        }
        problems
    }

    /// The first thing for which the engine must not use it.
    ///
    /// # Errors
    /// It is not active, retries events, runs another version, or may not run at all.
    pub fn check(&self) -> Result<(), CloudError> {
        match self.obstacles().into_iter().next() {
            None => Ok(()),
            Some(problem) => Err(CloudError::Unfit {
                name: self.name.clone(),
                problem,
            }),
        }
    }

    fn obstacles(&self) -> Vec<String> {
        let name = &self.name;
        let mut found = Vec::new();
        if self.state != "Active" {
            found.push(format!(
                "is {}, not Active: deploy it again once the reason is gone",
                self.state
            ));
        }
        if self.update.starts_with("Failed") {
            found.push(format!(
                "its last update {}: `peerwren lambda update {name} --package FILE`",
                self.update
            ));
        }
        if self.retries != Some(RETRIES) {
            let now = self
                .retries
                .map_or_else(|| "AWS's default, 2".to_owned(), |n| n.to_string());
            found.push(format!(
                "failed events are retried ({now}), which makes workers that nobody waits for: `peerwren lambda \
                 update {name}` sets it to {RETRIES}"
            ));
        }
        if self.event_age_s != Some(EVENT_AGE_S) {
            let now = self
                .event_age_s
                .map_or_else(|| "AWS's default, 6 h".to_owned(), |s| format!("{s} s"));
            found.push(format!(
                "events wait for long ({now}), so that workers may start when nobody waits for them: `peerwren \
                 lambda update {name}` sets it to {EVENT_AGE_S} s"
            ));
        }
        let version = env!("CARGO_PKG_VERSION");
        match &self.version {
            Some(inside) if inside == version => {}
            Some(inside) => found.push(format!(
                "its peerwren is {inside}, this one {version}: `peerwren lambda update {name} --package FILE`"
            )),
            None => found.push(format!(
                "its description does not tell a version of peerwren: `peerwren lambda update {name} --package FILE`"
            )),
        }
        if self.workers_max() == 0 {
            found.push(format!(
                "its concurrency is 0, so that nothing runs: `peerwren lambda update {name} \
                 --reserved-concurrency N`"
            ));
        }
        found
    }
}

/// Lines for a person.
impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |value: Option<u32>, otherwise: &str| {
            value.map_or_else(|| otherwise.to_owned(), |value| value.to_string())
        };
        let age = self
            .event_age_s
            .map_or_else(|| "6 h".to_owned(), |s| format!("{s} s"));
        writeln!(f, "{}", self.arn)?;
        writeln!(
            f,
            "  state        {} (last update: {})",
            self.state, self.update
        )?;
        writeln!(
            f,
            "  peerwren     {}",
            self.version.as_deref().unwrap_or("unknown")
        )?;
        writeln!(
            f,
            "  instance     {} MB, {} vCPU, {}, {}, ended after {} s",
            self.memory_mb,
            self.cores(),
            self.architecture,
            self.runtime,
            self.timeout_s
        )?;
        writeln!(
            f,
            "  package      {:.1} MiB",
            self.code_bytes as f64 / f64::from(1 << 20)
        )?;
        writeln!(
            f,
            "  concurrency  {} at most ({} reserved, {} in the account)",
            self.workers_max(),
            or(self.reserved, "none"),
            self.account
        )?;
        writeln!(
            f,
            "  events       {} retries, at most {age} old",
            or(self.retries, "2")
        )?;
        let problems = self.problems();
        if problems.is_empty() {
            return writeln!(f, "  problems     none");
        }
        for (number, problem) in problems.iter().enumerate() {
            writeln!(
                f,
                "  {:<12} {problem}",
                if number == 0 { "problems" } else { "" }
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Facts {
        Facts {
            name: "f".into(),
            state: "Active".into(),
            update: "Successful".into(),
            memory_mb: 1_769,
            timeout_s: 900,
            version: Some(env!("CARGO_PKG_VERSION").into()),
            unreserved: 1_000,
            retries: Some(0),
            event_age_s: Some(60),
            ..Facts::default()
        }
    }

    #[test]
    fn a_sound_function_has_no_problems_and_each_fault_is_found() {
        assert_eq!(sound().problems(), Vec::<String>::new());
        assert!(sound().check().is_ok());
        type Fault = (&'static str, fn(&mut Facts), bool);
        let faults: [Fault; 9] = [
            ("is Pending", |f| f.state = "Pending".into(), true),
            (
                "its last update Failed",
                |f| f.update = "Failed (too large)".into(),
                true,
            ),
            (
                "failed events are retried (AWS's default, 2)",
                |f| f.retries = None,
                true,
            ),
            (
                "failed events are retried (1)",
                |f| f.retries = Some(1),
                true,
            ),
            (
                "events wait for long (AWS's default, 6 h)",
                |f| f.event_age_s = None,
                true,
            ),
            (
                "its peerwren is 0.0.1",
                |f| f.version = Some("0.0.1".into()),
                true,
            ),
            ("its concurrency is 0", |f| f.reserved = Some(0), true),
            ("a worker lives 3 s at most", |f| f.timeout_s = 3, false),
            ("512 MB get 0.3 of a vCPU", |f| f.memory_mb = 512, false),
        ];
        for (text, break_it, forbids) in faults {
            let mut facts = sound();
            break_it(&mut facts);
            let problems = facts.problems();
            assert!(
                problems.len() == 1 && problems[0].starts_with(text),
                "{problems:?}"
            );
            assert_eq!(facts.check().is_err(), forbids, "{text}");
            assert!(facts.to_string().contains(text));
        }
    }

    #[test]
    fn cores_follow_memory() {
        let cores = |memory_mb| {
            Facts {
                memory_mb,
                ..sound()
            }
            .cores()
        };
        assert_eq!(
            [128, 1_769, 3_537, 3_538, 10_240].map(cores),
            [1, 1, 1, 2, 5]
        );
    }
}
