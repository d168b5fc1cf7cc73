//! libFuzzer's way into [`peerwren_fuzz::files`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerwren_fuzz::files::run(bytes));
