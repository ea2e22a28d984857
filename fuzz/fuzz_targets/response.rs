//! The fuzzer around [`dotward_fuzz::response`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dotward_fuzz::response(data));
