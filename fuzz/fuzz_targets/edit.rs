//! The fuzzer around [`dotward_fuzz::edit`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dotward_fuzz::edit(data));
