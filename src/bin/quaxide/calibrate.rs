//! `quaxide calibrate`: what this machine can do, for plans that are made on it.

use crate::output::Output;
use quaxide::{
    Error, Result,
    rules::algebra::{self, CostModel},
};

/// Measure, print, and keep.
pub(crate) fn calibrate(dry_run: bool, out: &mut Output) -> Result<()> {
    let model = algebra::calibrate()?;
    out.line(&format!(
        "products of matrices  {:.1} GFLOP/s\nmemory                {:.1} GB/s\na step                {:.2} µs",
        model.flops_per_us / 1e3,
        model.bytes_per_us / 1e3,
        model.kernel_us
    ))?;
    if dry_run {
        return Ok(());
    }
    let path = CostModel::stored_at().ok_or_else(|| {
        Error::argument("there is no home to keep this in: set QUAXIDE_COST_MODEL to a file")
    })?;
    model
        .save(&path)
        .map_err(|e| e.note(format!("while writing {}", path.display())))?;
    out.line(&format!("kept in {}", path.display()))
}
