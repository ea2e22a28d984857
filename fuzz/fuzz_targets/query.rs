//! The fuzzer around [`dotward_fuzz::query`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dotward_fuzz::query(data));
