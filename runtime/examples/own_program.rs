//! A program of one's own: the power iteration on the images of digits, `power.lp` beside this file, with two
//! kernels that peerwren does not ship.
//!
//! ```text
//! python3 runtime/examples/data.py data
//! cargo run --release --example own_program -- data
//! ```

#![allow(clippy::print_stdout, reason = "an example tells what it found")]

use peerwren::kernels::op::{KernelOp, KernelSet};
use peerwren::lambdapack::Program;
use peerwren::{RunError, Session};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "data".to_owned());
    let mut kernels = KernelSet::standard();
    kernels.register(KernelOp::new("length(full(n,1)) -> full(1,1)", |tiles| {
        let square: f64 = tiles.input(0).data.iter().map(|x| x * x).sum();
        let ([length], _) = tiles.outputs();
        length.data[0] = square.sqrt();
        Ok(())
    })?)?;
    kernels.register(KernelOp::new(
        "divide(full(n,1), full(1,1)) -> full(n,1)",
        |tiles| {
            let (x, by) = (tiles.input(0), tiles.input(1).data[0]);
            let ([quotient], _) = tiles.outputs();
            for (quotient, x) in quotient.data.iter_mut().zip(x.data) {
                *quotient = x / by;
            }
            Ok(())
        },
    )?)?;

    let session = Session::new()?.kernels(kernels);
    let images = session.open(&format!("{folder}/digits_x.npy"))?;
    let (m, n) = images.shape();
    let start = session.vector(&vec![1.0; n as usize])?;
    let program = Program::parse("power.lp", include_str!("power.lp"));
    let program = program.map_err(|error| RunError::Program(error.diagnosis().render()))?;
    let run = session.program(program);
    let sizes = [
        ("m", m as i64),
        ("n", n as i64),
        ("nb", 256),
        ("steps", 30),
        ("P", 2),
    ];
    let run = sizes
        .iter()
        .fold(run, |run, (name, value)| run.param(name, *value));
    let run = run
        .input("A", &images)
        .input("b", &start)
        .output("x")
        .output("value");
    let (outputs, report) = run.run().reported().wait()?;

    let value = outputs["value"].to_vec().wait()?[0];
    let largest = session.singular_values(&images).wait()?.to_vec().wait()?[0];
    println!(
        "the power iteration: {:.6} after {} tasks",
        value.sqrt(),
        report.factor.tasks
    );
    println!("the decomposition:   {largest:.6}");
    assert!((value.sqrt() / largest - 1.0).abs() < 1e-12);
    Ok(())
}
