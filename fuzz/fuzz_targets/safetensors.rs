//! Any bytes as a safetensors file: arrays or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(all) = quaxide::io::safetensors_from_bytes(bytes) {
        assert!(all.values().all(|x| x.aval().is_ok()));
    }
});
