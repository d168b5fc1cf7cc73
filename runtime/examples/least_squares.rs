//! How a disease goes on, as a linear function of ten measures: least squares on the diabetes data set.
//!
//! ```text
//! python3 runtime/examples/data.py data
//! cargo run --release --example least_squares -- data
//! ```

#![allow(clippy::print_stdout, reason = "an example tells what it found")]

use peerwren::{Norm, RunError, Session};

fn main() -> Result<(), RunError> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "data".to_owned());
    let session = Session::new()?.checked();
    let x = session.open(&format!("{folder}/diabetes_x.npy"))?;
    let y = session.open(&format!("{folder}/diabetes_y.npy"))?;
    let (patients, measures) = x.shape();

    // The measures are centred, the outcome is not: it is its mean and a part that the measures explain.
    let ones = session.from_fn(patients, 1, |_, _| 1.0).wait()?;
    let sum = session.matmul(&ones.transposed(), &y).wait()?;
    let mean = sum.to_vec().wait()?[0] / patients as f64;
    let rest = session.add(1.0, &y, -mean, &ones).wait()?;
    let (weights, report) = session.lstsq(&x, &rest).reported().wait()?;
    let fitted = session.matmul(&x, &weights).wait()?;
    let residual = session.add(1.0, &rest, -1.0, &fitted).wait()?;

    let unexplained = session.norm(&residual, Norm::Frobenius).wait()?;
    let all = session.norm(&rest, Norm::Frobenius).wait()?;
    let explained = 1.0 - (unexplained / all).powi(2);
    println!("{patients} patients, {measures} measures, mean outcome {mean:.1}");
    for (measure, weight) in weights.to_vec().wait()?.iter().enumerate() {
        println!("  weight of measure {measure}: {weight:8.2}");
    }
    println!(
        "explained: {explained:.4} of the variance; ratio of |A'(b - Ax)| {:.1e}",
        report.residual.unwrap_or_default()
    );
    // The same as every other least squares finds.
    assert!((explained - 0.5177).abs() < 1e-4);
    Ok(())
}
