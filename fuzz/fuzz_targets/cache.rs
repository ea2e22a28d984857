//! The fuzzer around [`dotward_fuzz::cache`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dotward_fuzz::cache(data));
