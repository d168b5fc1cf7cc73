//! libFuzzer's way into [`peerwren_fuzz::arguments`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerwren_fuzz::arguments::run(bytes));
