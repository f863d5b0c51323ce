#![no_main]

#[path = "../oracles/jwks.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
