//! libFuzzer's way into [`peerwren_fuzz::scheduler`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerwren_fuzz::scheduler::run(bytes));
