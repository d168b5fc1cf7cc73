//! The worker of a Lambda function with the standard kernels: the executable that Lambda calls `bootstrap`.

use std::process::ExitCode;

use peerwren::kernels::op::KernelSet;

fn main() -> ExitCode {
    peerwren::lambda_main(KernelSet::standard())
}
