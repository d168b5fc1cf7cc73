//! The language, for those who write programs. Text alone.

#[doc = include_str!("../../docs/lambdapack.md")]
pub mod reference {}

#[doc = include_str!("../../docs/tutorial.md")]
pub mod tutorial {}
