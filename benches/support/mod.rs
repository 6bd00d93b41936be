//! What the benchmarks that take options share.
#![allow(dead_code, reason = "no benchmark uses all of it")]

pub mod encoder;

use std::{collections::HashMap, process::ExitCode};

/// What was asked for on the command line: `--name NUMBER`, and what is text.
pub struct Options {
    numbers: HashMap<&'static str, u64>,
    texts: HashMap<&'static str, String>,
}

impl Options {
    /// The options with these defaults, and those of text; an error names what is none.
    pub fn parse(defaults: &[(&'static str, u64)], texts: &[&'static str]) -> Result<Self, String> {
        let mut options = Options {
            numbers: defaults.iter().copied().collect(),
            texts: HashMap::new(),
        };
        // `--bench` is what `cargo bench` itself adds.
        let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
        while let Some(arg) = args.next() {
            let (name, value) = (arg.strip_prefix("--").unwrap_or_default(), args.next());
            if let Some(text) = texts.iter().find(|t| **t == name) {
                let value = value.ok_or_else(|| format!("{arg}: needs a value"))?;
                options.texts.insert(text, value);
                continue;
            }
            let value = value.and_then(|v| v.parse().ok());
            match (options.numbers.get_mut(name), value) {
                (Some(option), Some(value)) => *option = value,
                _ => return Err(format!("{arg}: not an option with a number")),
            }
        }
        Ok(options)
    }

    pub fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or(0)
    }

    pub fn size(&self, name: &str) -> usize {
        self.number(name) as usize
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }
}

/// A line of this process's status, such as its peak of memory `VmHWM`, in MB; none where the system does not tell.
pub fn status_mb(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    let kb = line.trim_start_matches(':').split_whitespace().next()?;
    Some(kb.parse::<f64>().ok()? / 1024.0)
}

/// An error goes to standard error, and is the end of the process.
pub fn exit<E: std::fmt::Display>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
