//! libFuzzer's way into [`peerwren_fuzz::program`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerwren_fuzz::program::run(bytes));
