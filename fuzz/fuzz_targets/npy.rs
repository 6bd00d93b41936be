//! Any bytes as an npy file: an array or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(x) = quaxide::io::npy_from_bytes(bytes) {
        assert!(x.aval().is_ok());
    }
});
