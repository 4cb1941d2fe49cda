//! See `skep_tests::robustness::text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skep_tests::robustness::text(data));
