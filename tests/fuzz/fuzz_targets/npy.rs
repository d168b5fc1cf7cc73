//! libFuzzer's way into [`peerwren_fuzz::npy`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerwren_fuzz::npy::run(bytes));
