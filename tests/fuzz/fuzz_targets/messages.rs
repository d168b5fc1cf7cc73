//! libFuzzer's way into [`peerwren_fuzz::messages`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerwren_fuzz::messages::run(bytes));
