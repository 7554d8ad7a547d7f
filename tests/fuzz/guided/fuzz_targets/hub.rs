#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edgempi_fuzz::fuzz_hub(data));
