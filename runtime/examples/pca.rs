//! Principal components of images of digits: the singular value decomposition of the centred data, whole and by a
//! sketch of the first ten.
//!
//! ```text
//! python3 runtime/examples/data.py data
//! cargo run --release --example pca -- data
//! ```

#![allow(clippy::print_stdout, reason = "an example tells what it found")]

use peerwren::linalg::Truncation;
use peerwren::{BigMatrix, Norm, RunError, Session};

const COMPONENTS: u64 = 10;

fn main() -> Result<(), RunError> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "data".to_owned());
    let session = Session::new()?.checked();
    let images = session.open(&format!("{folder}/digits_x.npy"))?;
    let (count, pixels) = images.shape();

    let centred = centre(&session, &images)?;
    let svd = session.svd(&centred).wait()?;
    let total = session.norm(&centred, Norm::Frobenius).wait()?.powi(2);
    let shares: Vec<f64> = svd
        .s
        .to_vec()
        .wait()?
        .iter()
        .map(|s| s * s / total)
        .collect();
    println!("{count} images of {pixels} pixels; the first components' shares of the variance:");
    for (number, share) in shares.iter().take(COMPONENTS as usize).enumerate() {
        println!(
            "  {number}: {share:.4} {}",
            "#".repeat((share * 200.0) as usize)
        );
    }

    // The images in ten numbers each: U S, which is the centred data times the first rows of Vt, transposed.
    let axes = svd.vt.slice(0..COMPONENTS, 0..pixels)?;
    let scores = session.matmul(&centred, &axes.transposed()).wait()?;
    let back = session.matmul(&scores, &axes).wait()?;
    let lost = session.add(1.0, &centred, -1.0, &back).wait()?;
    let kept = 1.0 - session.norm(&lost, Norm::Frobenius).wait()?.powi(2) / total;
    println!("{COMPONENTS} of them keep {kept:.4} of the variance");
    assert!((kept - shares.iter().take(COMPONENTS as usize).sum::<f64>()).abs() < 1e-12);

    // A sketch finds them without the other 54.
    let sketch = session
        .svd_truncated(&centred, Truncation::rank(COMPONENTS))
        .wait()?;
    let largest = sketch.s.to_vec().wait()?;
    let apart = largest
        .iter()
        .zip(&shares)
        .map(|(s, share)| (s * s / total / share - 1.0).abs());
    let worst = apart.fold(0.0, f64::max);
    println!(
        "a sketch of {} columns finds them to {worst:.1e}",
        COMPONENTS + 10
    );
    assert!((shares[0] - 0.1489).abs() < 1e-4 && worst < 1e-2);
    Ok(())
}

/// The rows less their mean: A - 1 (1'A / m).
fn centre(session: &Session, a: &BigMatrix) -> Result<BigMatrix, RunError> {
    let rows = a.shape().0;
    let ones = session.from_fn(rows, 1, |_, _| 1.0).wait()?;
    let sums = session.matmul(&ones.transposed(), a).wait()?;
    session
        .gemm(-1.0 / rows as f64, &ones, &sums, 1.0, a)
        .wait()
}
