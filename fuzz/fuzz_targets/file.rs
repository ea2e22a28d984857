//! The fuzzer around [`dotward_fuzz::shell::file`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dotward_fuzz::shell::file(data));
