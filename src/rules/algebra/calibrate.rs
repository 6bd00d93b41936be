//! The cost model of this machine: measured once, and kept in a file.

use super::cost::CostModel;
use crate::array::{Array, Aval, DType};
use crate::error::{Error, Result};
use crate::interp::Executable;
use crate::trace::{Jaxpr, stage};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// How long one quantity is measured.
const EACH: Duration = Duration::from_millis(300);

/// The model that this process plans with.
static CURRENT: LazyLock<CostModel> = LazyLock::new(|| {
    let stored = CostModel::stored_at().filter(|path| path.is_file());
    stored
        .and_then(|path| CostModel::load(&path).ok())
        .unwrap_or_default()
});

impl CostModel {
    /// The model that plans are made with: what [`calibrate`] stored on this machine, else the default. Read once in a process.
    pub fn current() -> CostModel {
        *CURRENT
    }

    /// Where the model of this machine is kept: `$QUAXIDE_COST_MODEL`, or `quaxide/cost_model` in the user's cache.
    pub fn stored_at() -> Option<PathBuf> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(path) = variable("QUAXIDE_COST_MODEL") {
            return Some(path.into());
        }
        let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
        Some(cache?.join("quaxide").join("cost_model"))
    }

    /// Writes the model to a file, a line for each quantity. An error where the file system has one.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = format!(
            "flops_per_us {}\nbytes_per_us {}\nkernel_us {}\n",
            self.flops_per_us, self.bytes_per_us, self.kernel_us
        );
        Ok(std::fs::write(path, text)?)
    }

    /// Reads a model that [`CostModel::save`] wrote. An error if the file lacks a quantity, or one is not a positive number.
    pub fn load(path: &Path) -> Result<CostModel> {
        let text = std::fs::read_to_string(path)?;
        let quantity = |name: &str| {
            let of_line = |line: &str| {
                let (key, value) = line.split_once(' ')?;
                (key == name).then(|| value.trim().parse::<f64>().ok())?
            };
            let value = text.lines().find_map(of_line);
            value.filter(|v| v.is_finite() && *v > 0.0).ok_or_else(|| {
                Error::format(format!(
                    "{}: `{name}` is missing or no positive number; `quaxide calibrate` writes the file anew",
                    path.display()
                ))
            })
        };
        Ok(CostModel {
            flops_per_us: quantity("flops_per_us")?,
            bytes_per_us: quantity("bytes_per_us")?,
            kernel_us: quantity("kernel_us")?,
        })
    }
}

/// Measures this machine: a large product of matrices, an addition of arrays that no cache holds, and many small steps. Takes
/// about a second. [`CostModel::save`] keeps the result.
///
/// ```no_run
/// use quaxide::rules::algebra::{CostModel, calibrate};
/// let model = calibrate()?;
/// if let Some(path) = CostModel::stored_at() {
///     model.save(&path)?;
/// }
/// # Ok::<(), quaxide::Error>(())
/// ```
///
/// # Errors
///
/// If there is not the memory to measure with.
pub fn calibrate() -> Result<CostModel> {
    let kernel_us = per_small_step()?;
    let bytes_per_us = {
        let n = 16 << 20;
        let add = |x: &[Array]| match x {
            [a, b] => a + b,
            _ => Array::error(Error::internal("two operands")),
        };
        let us = measure(&[&[n], &[n]], add)?;
        12.0 * n as f64 / us
    };
    let flops_per_us = {
        let n = 768;
        let product = |x: &[Array]| match x {
            [a, b] => a.dot(b),
            _ => Array::error(Error::internal("two operands")),
        };
        let us = measure(&[&[n, n], &[n, n]], product)?;
        2.0 * (n as f64).powi(3) / us
    };
    Ok(CostModel {
        flops_per_us,
        bytes_per_us,
        kernel_us,
    })
}

/// Microseconds of one step of a program of many that have nothing to do.
fn per_small_step() -> Result<f64> {
    let steps = |count: usize| {
        move |x: &[Array]| {
            let [a, b] = x else {
                return Array::error(Error::internal("two operands"));
            };
            (0..count).fold(b.clone(), |b, _| a.dot(&b))
        }
    };
    let (few, many) = (8, 136);
    let shapes: [&[usize]; 2] = [&[2, 2], &[2, 2]];
    let difference = measure(&shapes, steps(many))? - measure(&shapes, steps(few))?;
    Ok((difference / (many - few) as f64).max(0.01))
}

/// Microseconds of a program on arrays of ones, as it stands: the least of many runs.
fn measure(shapes: &[&[usize]], f: impl Fn(&[Array]) -> Array) -> Result<f64> {
    let avals: Vec<Aval> = shapes
        .iter()
        .map(|shape| Aval::new(*shape, DType::F32))
        .collect();
    let program: Jaxpr = stage(&avals, None, &mut |x| Ok(vec![f(&x)]))?;
    let executable = Executable::new(&program)?;
    let args: Vec<_> = shapes
        .iter()
        .map(|shape| Array::ones(*shape, DType::F32).concrete("an argument"))
        .collect::<Result<Vec<Arc<_>>>>()?;
    let (start, mut least) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < EACH || least.is_infinite() {
        let run = Instant::now();
        executable.run(&args)?;
        least = least.min(run.elapsed().as_secs_f64() * 1e6);
    }
    Ok(least)
}
