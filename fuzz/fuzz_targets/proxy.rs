//! The fuzzer around [`dotward_fuzz::proxy`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dotward_fuzz::proxy(data));
