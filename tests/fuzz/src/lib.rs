//! What is fed with bytes that nobody vouches for: one function a kind of input, which must neither panic, nor
//! hang, nor take more memory than its kind may. Run by libFuzzer (`fuzz_targets`), and with the seeds of
//! `seeds` by a test of the workspace. Never judges what comes out, but where two ways must agree.

pub mod arguments;
pub mod files;
pub mod messages;
pub mod npy;
pub mod program;
pub mod scheduler;
pub mod zarr;

mod scratch;

/// Takes any bytes, and panics where that shows a fault.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its folder of seeds.
pub const TARGETS: [(&str, Target); 7] = [
    ("arguments", arguments::run),
    ("files", files::run),
    ("messages", messages::run),
    ("npy", npy::run),
    ("program", program::run),
    ("scheduler", scheduler::run),
    ("zarr", zarr::run),
];

/// The input after its first byte, which says what the rest is.
fn tagged(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    Some((tag, rest))
}
