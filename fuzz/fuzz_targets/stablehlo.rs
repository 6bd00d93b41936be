//! Any text as a module of StableHLO: a program or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quaxide::stablehlo::Module;

fuzz_target!(|text: &str| {
    if let Ok(module) = Module::parse("fuzz", text) {
        let _ = module.main();
        let _ = module.checks();
    }
});
