//! A program of a user's with a kernel of its own, whose workers are child processes.
//!
//! ```text
//! outside own      its workers are this program again: they have the kernel
//! outside without  it does not call worker_main: its workers are `peerwren`, which has no such kernel
//! ```

use std::process::ExitCode;

use peerwren::kernels::op::{KernelOp, KernelSet};
use peerwren::lambdapack::Program;
use peerwren::options::{EngineKind, RunOptions};
use peerwren::{RunError, Session};

const PROGRAM: &str = "program squares
param n, nb
def rows(i) = min(nb, n - i * nb)
input A[i in 0..cdiv(n, nb)] : full(rows(i), 1)
tile B[i] : full(rows(i), 1)
output B[i in 0..cdiv(n, nb)] = B[i]
for i in 0..cdiv(n, nb) { B[i] = square_entries(A[i]) }";

fn main() -> ExitCode {
    let kernels = kernels();
    if std::env::args().nth(1).as_deref() != Some("without") {
        // In a worker this never returns.
        peerwren::worker_main(kernels.clone());
    }
    match squares(kernels) {
        Ok(squares) => {
            println!("squares {squares:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn kernels() -> KernelSet {
    let mut kernels = KernelSet::standard();
    let square = KernelOp::new("square_entries(full(m,n)) -> full(m,n)", |tiles| {
        let a = tiles.input(0);
        let ([b], _) = tiles.outputs();
        for (b, a) in b.data.iter_mut().zip(a.data) {
            *b = a * a;
        }
        Ok(())
    });
    kernels
        .register(square.expect("a signature"))
        .expect("a new name");
    kernels
}

fn squares(kernels: KernelSet) -> Result<Vec<f64>, RunError> {
    let session = Session::with(RunOptions {
        workers: Some(2),
        engine: EngineKind::Processes,
        ..RunOptions::default()
    })?
    .kernels(kernels);
    let entries: Vec<f64> = (0..10).map(f64::from).collect();
    let a = session.vector(&entries)?;
    let program = Program::parse("squares.lp", PROGRAM);
    let program = program.map_err(|error| RunError::Program(error.diagnosis().render()))?;
    let run = session.program(program).param("n", 10).param("nb", 3);
    let outputs = run.input("A", &a).output("B").run().wait()?;
    outputs["B"].to_vec().wait()
}
