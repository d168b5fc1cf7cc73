//! What this machine, its network and a store are good for in a run: measured, judged, and with what can be
//! done about each. Changes nothing but a probe of its own in the store, which it takes away.

mod fleet;
mod machine;
mod network;
mod store;
mod workers;

use std::path::PathBuf;
use std::time::Duration;

use peerwren_transports::store::Place;
use serde::Serialize;

pub use self::fleet::this_machine;
pub use self::machine::machine;
use crate::options::RunOptions;
use crate::run::RunError;

/// Version of the findings' form.
pub const SCHEMA_VERSION: u32 = 1;

/// What is to be examined besides this machine.
#[derive(Clone, Debug, Default)]
pub struct Examination {
    /// The store that a run would use.
    pub store: Option<Place>,
    /// Where a coordinator listens, `host:port` each; what the token says when empty.
    pub coordinators: Vec<String>,
    /// The token of that coordinator's run.
    pub token: Option<PathBuf>,
    /// STUN servers that are asked what the NAT does, `HOST` or `HOST:PORT` each.
    pub stun: Vec<String>,
    /// With which options two workers are tried.
    pub workers: Option<RunOptions>,
}

/// How something is for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Nothing is to be done.
    Ok,
    /// A run works, but less well than it could.
    Warn,
    /// A run does not work with it.
    Bad,
}

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was seen, with units.
    pub seen: String,
    /// What to do about it; empty where nothing is.
    pub advice: String,
}

impl Finding {
    fn ok(name: &'static str, seen: impl Into<String>) -> Self {
        Self::new(name, Grade::Ok, seen, "")
    }

    fn warn(name: &'static str, seen: impl Into<String>, advice: &str) -> Self {
        Self::new(name, Grade::Warn, seen, advice)
    }

    fn bad(name: &'static str, seen: impl Into<String>, advice: &str) -> Self {
        Self::new(name, Grade::Bad, seen, advice)
    }

    fn new(name: &'static str, grade: Grade, seen: impl Into<String>, advice: &str) -> Self {
        Self {
            name,
            grade,
            seen: seen.into(),
            advice: advice.to_owned(),
        }
    }
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// [`SCHEMA_VERSION`].
    pub schema: u32,
    /// Whether a run would work.
    pub well: bool,
    /// In the order in which they were examined.
    pub findings: Vec<Finding>,
}

/// Examines this machine, and what else is asked for; takes some seconds.
///
/// # Errors
/// [`RunError::Usage`] where a token cannot be used, [`RunError::Failed`] where nothing can be measured.
pub fn examine(examination: Examination) -> Result<Findings, RunError> {
    let thread = std::thread::Builder::new()
        .name("peerwren-doctor".to_owned())
        .spawn(move || {
            let mut findings = crate::run::runtime().block_on(all(&examination))?;
            if let Some(options) = &examination.workers {
                findings.extend(workers::examine(options)?);
            }
            Ok::<_, RunError>(findings)
        });
    let thread = thread.map_err(|error| RunError::Failed(error.to_string()))?;
    let findings = thread.join().map_err(|_| {
        RunError::Failed("the examination panicked; see the lines above".to_owned())
    })??;
    Ok(Findings {
        schema: SCHEMA_VERSION,
        well: findings.iter().all(|found| found.grade < Grade::Bad),
        findings,
    })
}

async fn all(examination: &Examination) -> Result<Vec<Finding>, RunError> {
    let mut findings = machine::examine();
    findings.extend(network::examine_here().await);
    if let Some(place) = &examination.store {
        findings.extend(store::examine(place).await);
    }
    match &examination.token {
        Some(token) => findings.extend(network::examine_coordinator(token, examination).await?),
        None if !examination.stun.is_empty() => {
            findings.push(network::examine_nat(&examination.stun).await?);
        }
        None => {}
    }
    Ok(findings)
}

/// Bytes in a time, as a person reads it.
fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64().max(1e-9) * 1e-6
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
