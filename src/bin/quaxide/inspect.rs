//! `quaxide inspect`: what a file of arrays holds.

use crate::output::{Output, quoted};
use quaxide::{Error, Result};
use std::path::Path;

/// List the arrays of a safetensors file.
pub(crate) fn inspect(file: &Path, json: bool, out: &mut Output) -> Result<()> {
    let bytes = std::fs::read(file)
        .map_err(|e| Error::from(e).note(format!("while reading {}", file.display())))?;
    let tensors = safetensors::SafeTensors::deserialize(&bytes)
        .map_err(|e| Error::format(format!("{} is not a safetensors file: {e}", file.display())))?;
    let mut rows: Vec<(String, String, Vec<usize>)> = tensors
        .iter()
        .map(|(name, t)| {
            (
                name.to_string(),
                format!("{:?}", t.dtype()),
                t.shape().to_vec(),
            )
        })
        .collect();
    rows.sort();
    let width = rows.iter().map(|r| r.0.len()).max().unwrap_or(0);
    for (name, dtype, shape) in &rows {
        let n: usize = shape.iter().product();
        if json {
            out.line(&format!(
                "{{\"name\":{},\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"elements\":{n}}}",
                quoted(name)
            ))?;
        } else {
            out.line(&format!("{name:width$}  {dtype:5} {shape:?}  {n}"))?;
        }
    }
    Ok(())
}
