//! `peerwren doctor`: what this machine and its surroundings are good for, and what to do about it.

use std::fmt::Write;

use peerwren::doctor::{Examination, Findings, Grade, examine, this_machine};
use peerwren::options::{RunOptions, StoreChoice};
use peerwren::report::{check_text_file, write_text_file};

use super::args::DoctorArgs;
use super::failure::Failure;
use super::{version, work};

/// Examines and prints; fails when a run would not work.
pub(crate) fn run(arguments: DoctorArgs) -> Result<(), Failure> {
    if let Some(path) = &arguments.fleet {
        check_text_file("fleet", path).map_err(Failure::usage)?;
    }
    let store = match &arguments.store {
        None => None,
        Some(StoreChoice::Memory | StoreChoice::Temporary) => {
            return Err(Failure::usage(
                "--store memory: there is nothing to examine; name a folder or s3://bucket/prefix",
            ));
        }
        Some(choice) => Some(choice.to_string().parse().map_err(Failure::usage)?),
    };
    let findings = examine(Examination {
        store,
        coordinators: arguments.join,
        token: arguments.token,
        stun: arguments.stun.clone(),
        workers: arguments.engine.map(|engine| RunOptions {
            engine,
            store: arguments.store.unwrap_or_default(),
            stun: arguments.stun,
            ..RunOptions::default()
        }),
    });
    let findings = findings.map_err(work::explain)?;
    let text = if arguments.json {
        serde_json::to_string_pretty(&findings).map_err(Failure::run)? + "\n"
    } else {
        table(&findings)
    };
    super::print(text.as_bytes())?;
    if let Some(path) = &arguments.fleet {
        let fleet = this_machine().map_err(work::explain)?;
        write_text_file("fleet", path, &fleet).map_err(Failure::run)?;
    }
    let bad = |grade| {
        findings
            .findings
            .iter()
            .filter(|f| f.grade == grade)
            .count()
    };
    if findings.well {
        Ok(())
    } else {
        Err(Failure::run(format!(
            "a run would not work: {} bad, {} to mend; see above",
            bad(Grade::Bad),
            bad(Grade::Warn)
        )))
    }
}

fn table(findings: &Findings) -> String {
    let mut text = format!("peerwren {}\n", version::text());
    for found in &findings.findings {
        let grade = match found.grade {
            Grade::Ok => "ok  ",
            Grade::Warn => "warn",
            Grade::Bad => "bad ",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {grade}  {:16}  {}", found.name, found.seen);
        if !found.advice.is_empty() {
            let _ = writeln!(text, "                          {}", found.advice);
        }
    }
    text
}
