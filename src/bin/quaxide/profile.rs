//! `quaxide profile`: where the time of a program went, from the trace that `QUAXIDE_PROFILE` had it write.

use crate::output::{Output, quoted};
use quaxide::{Error, Result, rules::algebra::CostModel};
use std::{collections::HashMap, path::Path};

/// What all steps of one kind took.
#[derive(Default)]
struct Row {
    calls: usize,
    us: f64,
    flops: f64,
    bytes: f64,
}

/// The value of a field of a line: a number, or what stands between quotation marks.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{name}\":"))?;
    match rest.strip_prefix('"') {
        Some(text) => text.split('"').next(),
        None => rest.split([',', '}']).next(),
    }
}

fn number(line: &str, name: &str) -> Option<f64> {
    field(line, name)?.parse().ok()
}

/// Print a table of the steps of a trace, those first that took longest.
pub(crate) fn profile(
    file: &Path,
    types: bool,
    after_ms: f64,
    json: bool,
    out: &mut Output,
) -> Result<()> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Error::from(e).note(format!("while reading {}", file.display())))?;
    let mut rows: HashMap<String, Row> = HashMap::new();
    for (i, line) in text.lines().enumerate() {
        if !line.starts_with('{') {
            continue;
        }
        let read = || {
            let mut name = field(line, "name")?.to_string();
            if types {
                name = format!("{name}  {}", field(line, "types")?);
            }
            let numbers = ["ts", "dur", "flops", "bytes"].map(|n| number(line, n));
            let [Some(ts), Some(us), Some(flops), Some(bytes)] = numbers else {
                return None;
            };
            Some((name, ts, us, flops, bytes))
        };
        let Some((name, ts, us, flops, bytes)) = read() else {
            return Err(Error::format(format!(
                "{}, line {}: not a step as QUAXIDE_PROFILE writes it",
                file.display(),
                i + 1
            )));
        };
        if ts < after_ms * 1e3 {
            continue;
        }
        let row = rows.entry(name).or_default();
        row.calls += 1;
        row.us += us;
        row.flops += flops;
        row.bytes += bytes;
    }
    let mut rows: Vec<(String, Row)> = rows.into_iter().collect();
    rows.sort_by(|a, b| b.1.us.total_cmp(&a.1.us).then_with(|| a.0.cmp(&b.0)));
    let total: f64 = rows.iter().map(|r| r.1.us).sum();
    let (bandwidth, peak) = (
        CostModel::current().bytes_per_us,
        quaxide::interp::peak_gflops()?,
    );
    if !json {
        out.line(&format!(
            "{:>7} {:>9} {:>6} {:>8} {:>5} {:>7} {:>5}  operation",
            "calls", "ms", "share", "GFLOP/s", "peak", "GB/s", "peak"
        ))?;
    }
    for (name, r) in &rows {
        let us = r.us.max(1e-3);
        let (flops, bytes) = (r.flops / us, r.bytes / us);
        if json {
            out.line(&format!(
                "{{\"operation\":{},\"calls\":{},\"ms\":{:.4},\"gflops\":{:.3},\"gbytes\":{:.3}}}",
                quoted(name),
                r.calls,
                r.us / 1e3,
                flops / 1e3,
                bytes / 1e3
            ))?;
            continue;
        }
        out.line(&format!(
            "{:>7} {:>9.2} {:>5.1}% {:>8.1} {:>4.0}% {:>7.1} {:>4.0}%  {name}",
            r.calls,
            r.us / 1e3,
            100.0 * r.us / total.max(1e-3),
            flops / 1e3,
            0.1 * flops / peak,
            bytes / 1e3,
            100.0 * bytes / bandwidth,
        ))?;
    }
    if !json {
        out.line(&format!(
            "{:>7} {:>9.2}  all steps; the first peak is measured now, the second that of `quaxide calibrate`",
            rows.iter().map(|r| r.1.calls).sum::<usize>(),
            total / 1e3
        ))?;
    }
    Ok(())
}
