//! The fuzzer around [`dotward_fuzz::session`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dotward_fuzz::session(data));
