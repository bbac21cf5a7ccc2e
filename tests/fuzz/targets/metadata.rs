#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corenexis_cdn_fuzz::images::metadata(data));
