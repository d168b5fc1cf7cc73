//! What a function's facts make of a run's options: cores and memory of a worker, how many there may be,
//! where the coordinator listens. Never starts anything.

use std::net::{Ipv4Addr, SocketAddr};

use super::{CloudError, Facts, Functions};
use crate::options::{EngineKind, LISTEN_DEFAULT, RunOptions};

/// Share of a function's memory that a worker's blocks and scratch may take, in percent: the others are
/// for the executable, buffers of the network and the system.
const MEMORY_PERCENT: u64 = 85;
/// Workers of a run that does not say how many.
const WORKERS_DEFAULT: u32 = 16;

/// Options that a function cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// AWS refuses, or the function cannot be used.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// More is asked for than the function gives.
    #[error("{0}")]
    TooMuch(String),
    /// No thread or runtime can be had to ask AWS with.
    #[error("cannot ask AWS: {0}")]
    System(#[from] std::io::Error),
}

/// Fills in what a run on Lambda leaves open, from the function's facts; `cores` are those asked for. Options
/// of other engines stay as they are. Asks AWS, on a thread of its own.
///
/// # Errors
/// The function cannot be used, or gives less than is asked for.
pub fn fit(options: RunOptions, cores: Option<u32>) -> Result<RunOptions, FitError> {
    let EngineKind::Lambda(function) = &options.engine else {
        return Ok(options);
    };
    let function = function.clone();
    let asking = std::thread::Builder::new().spawn(move || -> Result<Facts, FitError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let facts = runtime.block_on(async { Functions::open().await?.facts(&function).await })?;
        Ok(facts)
    })?;
    let facts = asking
        .join()
        .map_err(|_| std::io::Error::other("the thread that asks panicked"))??;
    facts.check()?;
    fit_to(&facts, options, cores)
}

/// What [`fit`] would make of a run's options if the function had the memory that its cores need by AWS's
/// rule, and no quota; AWS is not asked.
///
/// # Errors
/// No function has so many cores, or so much memory with them.
pub fn assumed(options: RunOptions, cores: Option<u32>) -> Result<RunOptions, FitError> {
    let EngineKind::Lambda(function) = &options.engine else {
        return Ok(options);
    };
    let facts = Facts {
        name: function.clone(),
        memory_mb: Facts::memory_mb_of(cores.unwrap_or(1)),
        reserved: Some(u32::MAX),
        ..Facts::default()
    };
    fit_to(&facts, options, cores)
}

fn fit_to(facts: &Facts, options: RunOptions, cores: Option<u32>) -> Result<RunOptions, FitError> {
    let (name, most) = (&facts.name, facts.workers_max());
    let too_much = |text: String| Err(FitError::TooMuch(text));
    let workers = options
        .workers
        .unwrap_or_else(|| WORKERS_DEFAULT.min(most / 2).max(1));
    if workers > most {
        return too_much(format!(
            "--workers is {workers} but function {name} may run {most} instances at once: ask for fewer, or have \
             AWS raise the quota of concurrent executions"
        ));
    }
    if u64::from(workers) * 2 > u64::from(most) {
        tracing::warn!(
            workers,
            most,
            "replacements run beside those whom they replace: with less than twice the instances they wait"
        );
    }
    if cores.is_some_and(|cores| cores > facts.cores()) {
        return too_much(format!(
            "--cores is {} but function {name} has {} with its {} MB: leave --cores out, or give it more memory",
            cores.unwrap_or_default(),
            facts.cores(),
            facts.memory_mb
        ));
    }
    let given = (u64::from(facts.memory_mb) << 20) / 100 * MEMORY_PERCENT;
    if options.memory.is_some_and(|memory| memory > given) {
        return too_much(format!(
            "--memory is more than the {given} bytes ({MEMORY_PERCENT}%) of function {name}: leave it out, or give \
             the function more"
        ));
    }
    let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Ok(RunOptions {
        workers: Some(workers),
        cores: cores.unwrap_or(facts.cores()),
        memory: Some(options.memory.unwrap_or(given)),
        listen: if options.listen == LISTEN_DEFAULT {
            anywhere
        } else {
            options.listen
        },
        ..options
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(memory_mb: u32, reserved: Option<u32>) -> Facts {
        Facts {
            name: "f".to_owned(),
            arn: "arn".to_owned(),
            state: "Active".to_owned(),
            update: "Successful".to_owned(),
            memory_mb,
            timeout_s: 900,
            architecture: "x86_64".to_owned(),
            runtime: "provided.al2023".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            code_bytes: 1,
            reserved,
            unreserved: 100,
            account: 1_000,
            retries: Some(0),
            event_age_s: Some(60),
        }
    }

    #[test]
    fn a_function_decides_cores_memory_and_workers() {
        let asked = |workers, memory| RunOptions {
            engine: EngineKind::Lambda("f".to_owned()),
            workers,
            memory,
            ..RunOptions::default()
        };
        // Memory of the function, its reservation, workers and cores asked for; what they become.
        let table = [
            (1_769, None, None, None, (16, 1)),
            (10_240, None, Some(50), None, (50, 5)),
            (10_240, Some(6), None, Some(3), (3, 3)),
            (512, Some(1), None, None, (1, 1)),
        ];
        for (memory_mb, reserved, workers, cores, expected) in table {
            let fitted = fit_to(&facts(memory_mb, reserved), asked(workers, None), cores).unwrap();
            assert_eq!((fitted.workers.unwrap(), fitted.cores), expected);
            let bytes = u64::from(memory_mb) << 20;
            assert_eq!(fitted.memory, Some(bytes / 100 * 85));
            assert!(fitted.listen.ip().is_unspecified());
        }
        let refused = |options, cores| {
            fit_to(&facts(1_769, Some(4)), options, cores)
                .unwrap_err()
                .to_string()
        };
        assert!(
            refused(asked(Some(5), None), None)
                .starts_with("--workers is 5 but function f may run 4")
        );
        assert!(
            refused(asked(None, None), Some(2)).starts_with("--cores is 2 but function f has 1")
        );
        assert!(refused(asked(None, Some(2 << 30)), None).starts_with("--memory is more than"));
    }
}
