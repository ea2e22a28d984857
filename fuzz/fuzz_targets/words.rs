//! The fuzzer around [`dotward_fuzz::shell::words`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dotward_fuzz::shell::words(data));
