//! Programs in files: StableHLO, or the text of a jaxpr.

use quaxide::{Error, Jaxpr, Result, stablehlo::Module};
use std::path::Path;

/// A program with names for what it takes and gives.
pub(crate) struct Program {
    pub(crate) jaxpr: Jaxpr,
    pub(crate) inputs: Vec<String>,
    pub(crate) results: Vec<String>,
}

/// Read a program. An error names the place in the file.
pub(crate) fn load(file: &Path) -> Result<Program> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|e| Error::from(e).note(format!("while reading {name}")))?;
    let (jaxpr, inputs, results) = if text.trim_start().starts_with("{ lambda") {
        let jaxpr = Jaxpr::parse(&name, &text)?.lifted();
        // The names that printing gives, in the order in which they stand.
        let inputs = (0..jaxpr.invars().len()).map(letters).collect();
        (jaxpr, inputs, vec![])
    } else {
        let entry = Module::parse(&name, &text)?.main()?;
        (entry.program, entry.inputs, entry.results)
    };
    let results = (0..jaxpr.outs().len())
        .map(|i| match results.get(i) {
            Some(Some(name)) => name.clone(),
            _ => format!("result[{i}]"),
        })
        .collect();
    Ok(Program {
        jaxpr,
        inputs,
        results,
    })
}

/// a, b, …, z, ba, bb, …
fn letters(mut n: usize) -> String {
    let mut all = vec![];
    loop {
        all.push(char::from(b'a' + (n % 26) as u8));
        n /= 26;
        if n == 0 {
            return all.iter().rev().collect();
        }
    }
}

/// A name with dots where Python has brackets: `params['layers'][0].w` is `params.layers.0.w`.
pub(crate) fn dotted(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            '[' => out.push('.'),
            ']' | '\'' | '"' => {}
            c => out.push(c),
        }
    }
    out.trim_start_matches('.').to_string()
}

/// Do a name and a pattern fit, in which `*` stands for any characters?
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(i) => rest = rest.get(i + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}
