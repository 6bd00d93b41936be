//! Any text as a jaxpr: what is read prints as something that reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quaxide::Jaxpr;

fuzz_target!(|text: &str| {
    if let Ok(program) = text.parse::<Jaxpr>() {
        let printed = program.to_string();
        let again: Jaxpr = printed.parse().expect("what is printed is read");
        assert_eq!(again.to_string(), printed);
    }
});
