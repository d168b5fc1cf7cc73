//! Gaussian process regression by Cholesky, with kernels and a program of one's own on child processes: how a
//! disease goes on, from ten measures, learned of 400 patients and tried on 42.
//!
//! ```text
//! python3 runtime/examples/data.py data
//! cargo run --release --example gaussian_process -- data
//! ```

#![allow(clippy::print_stdout, reason = "an example tells what it found")]

use peerwren::kernels::op::{KernelOp, KernelSet};
use peerwren::kernels::signature::SignatureError;
use peerwren::lambdapack::Program;
use peerwren::linalg::Triangle;
use peerwren::options::RunOptions;
use peerwren::{RunError, Session};

const LEARNED: u64 = 400;
/// Of the process: how far measures reach, and the part of the variance that they do not explain.
const LENGTH: f64 = 0.18;
const NOISE: f64 = 0.5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kernels = kernels()?;
    // The workers are this program again, so that they have its kernels: this returns in the one that was started.
    peerwren::worker_main(kernels.clone());
    let folder = std::env::args().nth(1).unwrap_or_else(|| "data".to_owned());
    let session = Session::with(RunOptions {
        workers: Some(2),
        block: Some(64),
        ..RunOptions::default()
    })?
    .kernels(kernels);

    let x = session.open(&format!("{folder}/diabetes_x.npy"))?;
    let outcomes = session
        .open(&format!("{folder}/diabetes_y.npy"))?
        .to_vec()
        .wait()?;
    let (patients, measures) = x.shape();
    let (mean, deviation) = moments(&outcomes[..LEARNED as usize]);
    let standard: Vec<f64> = outcomes.iter().map(|y| (y - mean) / deviation).collect();
    let y = session.vector(&standard[..LEARNED as usize])?;

    let l = factor(&session, &x.slice(0..LEARNED, 0..measures)?)?;
    // K a = y by two triangles.
    let lower = Triangle::default();
    let half = session.trsm(&l, lower, &y).wait()?;
    let upper = Triangle {
        transposed: true,
        ..lower
    };
    let a = session.trsm(&l, upper, &half).wait()?;

    // What the process expects of those it has not seen: their covariances with those it has, times a.
    let rows = x.to_vec().wait()?;
    let row = move |i: u64| {
        (0..measures)
            .map(|j| rows[(j * patients + i) as usize])
            .collect::<Vec<_>>()
    };
    let cross = session.from_fn(patients - LEARNED, LEARNED, move |i, j| {
        covariance(&row(LEARNED + i), &row(j))
    });
    let expected = session.matmul(&cross.wait()?, &a).wait()?.to_vec().wait()?;

    let seen = &standard[LEARNED as usize..];
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let error = squares(&mut expected.iter().zip(seen).map(|(e, s)| e - s)) / seen.len() as f64;
    let blind = squares(&mut seen.iter().copied()) / seen.len() as f64;
    let evidence = evidence(&session, &l.to_vec().wait()?, &half)?;
    println!("{LEARNED} patients learned, {} foretold", seen.len());
    println!("  log evidence        {evidence:.2}");
    println!("  mean square error   {error:.4}, {blind:.4} without the measures");
    assert!(error < 0.65 * blind);
    Ok(())
}

/// The L of the learned points' covariances.
fn factor(session: &Session, x: &peerwren::BigMatrix) -> Result<peerwren::BigMatrix, RunError> {
    let program = Program::parse("gaussian_process.lp", include_str!("gaussian_process.lp"));
    let program = program.map_err(|error| RunError::Program(error.diagnosis().render()))?;
    let (points, features) = x.shape();
    let run = session
        .program(program)
        .param("points", points as i64)
        .param("features", features as i64)
        .param("nb", 64)
        .input("X", x)
        .output("L");
    Ok(run.run().wait()?["L"].clone())
}

/// The standard kernels, and two that make tiles of the covariance matrix.
fn kernels() -> Result<KernelSet, SignatureError> {
    let mut kernels = KernelSet::standard();
    let between = KernelOp::new("covariance(full(m,d), full(n,d)) -> full(m,n)", |tiles| {
        let (x, z) = (tiles.input(0), tiles.input(1));
        let (m, n) = (x.shape.rows as usize, z.shape.rows as usize);
        let ([k], _) = tiles.outputs();
        for j in 0..n {
            for i in 0..m {
                k.data[j * m + i] = covariance(&row(x.data, m, i), &row(z.data, n, j));
            }
        }
        Ok(())
    })?
    // A distance of d terms takes 3 d operations.
    .with_flops(|shapes| {
        let ((m, d), (n, _)) = (shapes.input(0), shapes.input(1));
        3 * (m * n * d) as u64
    });
    // A lower triangle is kept column by column, without what is above the diagonal.
    let within = KernelOp::new("variance(full(n,d)) -> lower(n,n)", |tiles| {
        let x = tiles.input(0);
        let n = x.shape.rows as usize;
        let ([k], _) = tiles.outputs();
        let places = (0..n).flat_map(|j| (j..n).map(move |i| (i, j)));
        for (k, (i, j)) in k.data.iter_mut().zip(places) {
            let noise = if i == j { NOISE } else { 0.0 };
            *k = covariance(&row(x.data, n, i), &row(x.data, n, j)) + noise;
        }
        Ok(())
    })?;
    kernels.register(between).expect("a new name");
    kernels.register(within).expect("a new name");
    Ok(kernels)
}

/// Row i of m, column by column.
fn row(entries: &[f64], m: usize, i: usize) -> Vec<f64> {
    entries.iter().skip(i).step_by(m).copied().collect()
}

fn covariance(x: &[f64], z: &[f64]) -> f64 {
    let distance: f64 = x.iter().zip(z).map(|(x, z)| (x - z) * (x - z)).sum();
    (-distance / (2.0 * LENGTH * LENGTH)).exp()
}

/// log p(y) = -|L^-1 y|^2 / 2 - sum of log L(i, i) - n log(2 pi) / 2.
fn evidence(session: &Session, l: &[f64], half: &peerwren::BigMatrix) -> Result<f64, RunError> {
    let n = half.shape().0 as usize;
    let norm = session.norm(half, peerwren::Norm::Frobenius).wait()?;
    let logs: f64 = (0..n).map(|i| l[i * n + i].ln()).sum();
    Ok(-0.5 * norm * norm - logs - 0.5 * n as f64 * std::f64::consts::TAU.ln())
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / count;
    (mean, variance.sqrt())
}
