//! Takes the arguments of the command's operations and answers them by a session of the library, so that one script
//! holds both against LAPACK: inputs, results as `.npy` files and the operation's options; where and how it runs is
//! not looked at, but for `--block` and `--workers`.

#![allow(clippy::print_stderr, reason = "a program says why it ends")]

use std::collections::BTreeMap;
use std::process::ExitCode;

use peerwren::linalg::{Triangle, Truncation};
use peerwren::options::{EngineKind, RunOptions};
use peerwren::{BigMatrix, RunError, Session};

/// Options that have no value.
const FLAGS: [&str; 6] = ["ta", "tb", "upper", "trans", "unit", "quiet"];

/// What was asked for.
struct Asked {
    operation: String,
    inputs: Vec<String>,
    options: BTreeMap<String, String>,
}

fn main() -> ExitCode {
    let Some(asked) = Asked::parse(std::env::args().skip(1)) else {
        eprintln!("error: expected OPERATION INPUT.npy .. --RESULT FILE.npy ..");
        return ExitCode::from(2);
    };
    match answer(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, RunError::Failed(_)) {
                1
            } else {
                2
            })
        }
    }
}

impl Asked {
    fn parse(words: impl Iterator<Item = String>) -> Option<Self> {
        let mut words = words.peekable();
        let operation = words.next()?;
        let (mut inputs, mut options) = (Vec::new(), BTreeMap::new());
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                None => inputs.push(word),
                Some(name) if FLAGS.contains(&name) => {
                    options.insert(name.to_owned(), String::new());
                }
                Some(name) => {
                    options.insert(name.to_owned(), words.next()?);
                }
            }
        }
        Some(Self {
            operation,
            inputs,
            options,
        })
    }

    fn is_set(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }

    fn number<T: std::str::FromStr>(&self, option: &str) -> Option<T> {
        self.options.get(option)?.parse().ok()
    }
}

fn answer(asked: &Asked) -> Result<(), RunError> {
    let session = Session::with(RunOptions {
        engine: EngineKind::Threads,
        block: asked.number("block"),
        workers: asked.number("workers"),
        ..RunOptions::default()
    })?;
    let inputs = asked.inputs.iter().map(|name| session.open(name));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    for (name, matrix) in results(asked, &session, &inputs)? {
        if let Some(path) = asked.options.get(name) {
            session.write(&matrix, path).wait()?;
        }
    }
    Ok(())
}

/// The results of the operation, by the names of their options.
fn results(
    asked: &Asked,
    session: &Session,
    inputs: &[BigMatrix],
) -> Result<Vec<(&'static str, BigMatrix)>, RunError> {
    let turned = |matrix: &BigMatrix, is_turned| {
        if is_turned {
            matrix.transposed()
        } else {
            matrix.clone()
        }
    };
    let usage = || RunError::Usage(format!("{} of {} inputs", asked.operation, inputs.len()));
    Ok(match (asked.operation.as_str(), inputs) {
        ("qr", [a]) => {
            let qr = session.qr(a).wait()?;
            vec![("q", qr.q), ("r", qr.r)]
        }
        ("tsqr", [a]) => {
            let qr = session.tsqr(a).wait()?;
            vec![("q", qr.q), ("r", qr.r)]
        }
        ("cholesky", [a]) => vec![("l", session.cholesky(a).wait()?)],
        ("lu", [a]) => {
            let lu = session.lu(a).wait()?;
            vec![("l", lu.l), ("u", lu.u), ("p", lu.p)]
        }
        ("gemm", [a, b, more @ ..]) => {
            let a = turned(a, asked.is_set("ta"));
            let b = turned(b, asked.is_set("tb"));
            let alpha: f64 = asked.number("alpha").unwrap_or(1.0);
            let c = match more {
                [c0] => {
                    let beta = asked.number("beta").unwrap_or(1.0);
                    session.gemm(alpha, &a, &b, beta, c0).wait()?
                }
                _ if alpha == 1.0 => session.matmul(&a, &b).wait()?,
                _ => session
                    .scale(alpha, &session.matmul(&a, &b).wait()?)
                    .wait()?,
            };
            vec![("c", c)]
        }
        ("trsm", [a, b]) => {
            let triangle = Triangle {
                upper: asked.is_set("upper"),
                transposed: asked.is_set("trans"),
                unit: asked.is_set("unit"),
            };
            vec![("x", session.trsm(a, triangle, b).wait()?)]
        }
        ("solve", [a, b]) => vec![("x", session.solve(a, b).wait()?)],
        ("posv", [a, b]) => vec![("x", session.posv(a, b).wait()?)],
        ("lstsq", [a, b]) => vec![("x", session.lstsq(a, b).wait()?)],
        ("svd", [a]) => {
            let svd = match asked.number("rank") {
                Some(rank) => {
                    let mut truncation = Truncation::rank(rank);
                    truncation.power = asked.number("power").unwrap_or(truncation.power);
                    session.svd_truncated(a, truncation).wait()?
                }
                None if asked.is_set("u") || asked.is_set("vt") => session.svd(a).wait()?,
                None => return Ok(vec![("s", session.singular_values(a).wait()?)]),
            };
            vec![("s", svd.s), ("u", svd.u), ("vt", svd.vt)]
        }
        _ => return Err(usage()),
    })
}
