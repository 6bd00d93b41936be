//! What it takes to read a program with large constants: seconds of this process, and its peak of memory.
//!
//! `cargo bench --bench import -- [--megabytes 100]`. A module of StableHLO of about so many megabytes, once with its constants as bytes
//! (`dense<"0x…">`), once as numbers.

#[path = "support/mod.rs"]
mod support;

use quaxide::stablehlo::Module;
use std::{fmt::Write, process::ExitCode, time::Instant};
use support::{Options, exit, status_mb};

/// Elements of one constant.
const ELEMENTS: usize = 1 << 18;

fn module(megabytes: usize, hex: bool) -> String {
    let mut text = String::from("module @weights {\n");
    let ty = format!("tensor<{ELEMENTS}xf32>");
    let _ = writeln!(text, "  func.func public @main(%x: {ty}) -> {ty} {{");
    let (mut last, mut bits, mut i) = ("%x".to_string(), 1u32, 0);
    while text.len() < megabytes << 20 {
        let _ = write!(text, "    %c{i} = stablehlo.constant dense<");
        text.push_str(if hex { "\"0x" } else { "[" });
        for k in 0..ELEMENTS {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = (bits >> 8) as f32 / (1 << 24) as f32;
            let separator = if k == 0 || hex { "" } else { ", " };
            let _ = match hex {
                true => write!(text, "{:08X}", value.to_bits().swap_bytes()),
                false => write!(text, "{separator}{value:.6e}"),
            };
        }
        text.push_str(if hex { "\"" } else { "]" });
        let _ = writeln!(text, "> : {ty}");
        let _ = writeln!(text, "    %y{i} = stablehlo.add {last}, %c{i} : {ty}");
        last = format!("%y{i}");
        i += 1;
    }
    let _ = writeln!(text, "    return {last} : {ty}\n  }}\n}}");
    text
}

/// Seconds of this process in user mode, on the systems that tell; by the clock elsewhere.
fn seconds(start: Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").ok();
    let ticks = stat.and_then(|s| {
        s.rsplit(')')
            .next()?
            .split_whitespace()
            .nth(11)?
            .parse()
            .ok()
    });
    ticks.map_or(start.elapsed().as_secs_f64(), |t: f64| t / 100.0)
}

fn run() -> Result<(), String> {
    let options = Options::parse(&[("megabytes", 100)], &[])?;
    for (what, hex) in [("bytes", true), ("numbers", false)] {
        let text = module(options.size("megabytes"), hex);
        let start = Instant::now();
        let before = (seconds(start), status_mb("VmRSS").unwrap_or(0.0));
        let entry = Module::parse("import", &text).and_then(|m| m.main());
        let entry = entry.map_err(|e| e.to_string())?;
        let held: usize = entry.program.consts().len() * ELEMENTS * 4;
        println!(
            "{what}: {:.0} MB of text, {} equations, {:.0} MB of constants: {:.2} s (user), {:.0} MB more memory, {:.0} MB at its peak",
            text.len() as f64 / f64::from(1 << 20),
            entry.program.eqns().len(),
            held as f64 / f64::from(1 << 20),
            seconds(start) - before.0,
            status_mb("VmRSS").unwrap_or(0.0) - before.1,
            status_mb("VmHWM").unwrap_or(0.0) - before.1,
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    exit(run())
}
