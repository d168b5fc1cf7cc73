//! libFuzzer's way into [`peerwren_fuzz::zarr`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerwren_fuzz::zarr::run(bytes));
