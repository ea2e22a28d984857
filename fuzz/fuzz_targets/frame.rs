//! The fuzzer around [`dotward_fuzz::frame`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dotward_fuzz::frame(data));
