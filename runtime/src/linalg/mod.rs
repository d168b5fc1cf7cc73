//! The user's calls: from a matrix and options to factors and a report.

mod assemble;
mod qr;
mod resume;

pub use qr::{QrOutcome, QrRequest, plan_qr, qr};
pub use resume::{ResumeOptions, forget, resume};
