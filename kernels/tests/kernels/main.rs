//! Kernels against dense arithmetic: residuals, and orthogonality of Q formed by the kernels' own
//! application, on every kind of matrix and edge shape.

mod baseline;
mod bits;
mod compact;
mod exchange;
mod harness;
mod lq;
mod lu;
mod norms;
mod solve;
mod svd;
