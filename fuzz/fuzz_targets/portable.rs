//! The fuzzer around [`dotward_fuzz::portable`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dotward_fuzz::portable(data));
