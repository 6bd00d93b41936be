//! The cost model of this machine: measured once, and kept in a file.

use super::cost::{CostModel, GRID, Products};
use crate::array::{Array, Aval, DType};
use crate::error::{Error, Result};
use crate::interp::Executable;
use crate::lax;
use crate::trace::op::{DotGeneral, FftType};
use crate::trace::{Jaxpr, stage};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// The first line of a file; another one is of another version.
const VERSION: &str = "quaxide cost model 2";
/// What a machine with AVX-512 measured on two threads.
const DEFAULT: &str = include_str!("cost_model.txt");

/// The model that this process plans with.
static CURRENT: LazyLock<CostModel> = LazyLock::new(|| {
    let stored = CostModel::stored_at().filter(|path| path.is_file());
    stored
        .and_then(|path| CostModel::load(&path).ok())
        .unwrap_or_default()
});

static STANDARD: LazyLock<CostModel> = LazyLock::new(|| {
    CostModel::parse(DEFAULT, "the default model").unwrap_or(CostModel {
        flops_per_us: 330e3,
        bytes_per_us: 20e3,
        cached_bytes_per_us: 100e3,
        cache_bytes: 1e6,
        summed_bytes_per_us: 10e3,
        moved_bytes_per_us: 2e3,
        transform_flops_per_us: 1e3,
        kernel_us: 1.0,
        wide: 2.0,
        narrow: 1.0,
        batched: 1.0,
        accumulated: 1.0,
        accumulating_us: 0.0,
        products: [[[0.0; GRID.len()]; GRID.len()]; GRID.len()],
    })
});

impl Default for CostModel {
    /// A server processor with AVX-512, on two threads.
    fn default() -> Self {
        *STANDARD
    }
}

/// The quantities of a model by their names in a file.
type Quantity = (&'static str, fn(&mut CostModel) -> &mut f64);

const QUANTITIES: [Quantity; 13] = [
    ("flops_per_us", |m| &mut m.flops_per_us),
    ("bytes_per_us", |m| &mut m.bytes_per_us),
    ("cached_bytes_per_us", |m| &mut m.cached_bytes_per_us),
    ("cache_bytes", |m| &mut m.cache_bytes),
    ("summed_bytes_per_us", |m| &mut m.summed_bytes_per_us),
    ("moved_bytes_per_us", |m| &mut m.moved_bytes_per_us),
    ("transform_flops_per_us", |m| &mut m.transform_flops_per_us),
    ("kernel_us", |m| &mut m.kernel_us),
    ("wide", |m| &mut m.wide),
    ("narrow", |m| &mut m.narrow),
    ("batched", |m| &mut m.batched),
    ("accumulated", |m| &mut m.accumulated),
    ("accumulating_us", |m| &mut m.accumulating_us),
];

impl CostModel {
    /// The model that plans are made with: what [`calibrate`] stored on this machine, else the default. Read once in a process,
    /// so that equal programs get equal plans.
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
        let mut text = format!("{VERSION}\n");
        let mut model = *self;
        for (name, of) in QUANTITIES {
            let _ = writeln!(text, "{name} {}", of(&mut model));
        }
        for (large, planes) in GRID.iter().zip(&self.products) {
            for (small, row) in GRID.iter().zip(planes) {
                if small <= large {
                    let time = |log: &f32| rounded(f64::from(*log).exp()).to_string();
                    let times: Vec<String> = row.iter().map(time).collect();
                    let _ = writeln!(text, "product {large} {small} {}", times.join(" "));
                }
            }
        }
        Ok(std::fs::write(path, text)?)
    }

    /// Reads a model that [`CostModel::save`] wrote. An error if it is of another version or lacks a quantity, or one is not a
    /// positive number.
    pub fn load(path: &Path) -> Result<CostModel> {
        let text = std::fs::read_to_string(path)?;
        CostModel::parse(&text, &path.display().to_string())
    }

    fn parse(text: &str, from: &str) -> Result<CostModel> {
        let bad = |what: String| {
            Error::format(format!(
                "{from}: {what}; `quaxide calibrate` writes the file anew"
            ))
        };
        if text.lines().next() != Some(VERSION) {
            return Err(bad(format!("the first line is not `{VERSION}`")));
        }
        let numbers = |name: &str| -> Option<Vec<f64>> {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            let numbers: Option<Vec<f64>> = rest
                .split_whitespace()
                .map(|word| word.parse::<f64>().ok())
                .collect();
            numbers.filter(|all| all.iter().all(|x| x.is_finite() && *x > 0.0))
        };
        let mut model = CostModel {
            flops_per_us: 0.0,
            bytes_per_us: 0.0,
            cached_bytes_per_us: 0.0,
            cache_bytes: 0.0,
            summed_bytes_per_us: 0.0,
            moved_bytes_per_us: 0.0,
            transform_flops_per_us: 0.0,
            kernel_us: 0.0,
            wide: 0.0,
            narrow: 0.0,
            batched: 0.0,
            accumulated: 0.0,
            accumulating_us: 0.0,
            products: Products::default(),
        };
        for (name, of) in QUANTITIES {
            match numbers(&format!("{name} ")).as_deref() {
                Some([value]) => *of(&mut model) = *value,
                _ => return Err(bad(format!("`{name}` is missing or no positive number"))),
            }
        }
        for (l, large) in GRID.iter().enumerate() {
            for (s, small) in GRID.iter().enumerate().take(l + 1) {
                let name = format!("product {large} {small} ");
                let row = numbers(&name).filter(|row| row.len() == GRID.len());
                let row = row.ok_or_else(|| {
                    bad(format!("`{}` is missing or lacks a number", name.trim()))
                })?;
                for (k, us) in row.iter().enumerate() {
                    model.products[l][s][k] = us.ln() as f32;
                    model.products[s][l][k] = us.ln() as f32;
                }
            }
        }
        Ok(model)
    }
}

/// The logarithm of what caches may lose from one size of the grid to the next.
const LOST: f64 = 0.3;

/// To four digits.
fn rounded(us: f64) -> f64 {
    let digits = 3 - us.abs().max(1e-30).log10().floor() as i32;
    (us * 10f64.powi(digits)).round() / 10f64.powi(digits)
}

/// Measures this machine: products of matrices of many shapes, sums and reductions in caches and in memory, and small steps, all
/// by the compiled interpreter. Takes a few seconds. [`CostModel::save`] keeps the result.
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
    let (f32, f64, bf16) = (DType::F32, DType::F64, DType::BF16);
    let kernel_us = per_small_step()?;
    // What is measured is beside the charge for a kernel, and beside what a call and the corner of its result take.
    let call = measure(&[&[8, 8]], f32, EACH, |x| corner(&first(x)))?;
    let timed = |shapes: &[&[usize]], dtype, long, f: fn(&[Array]) -> Array| {
        let us = measure(shapes, dtype, long, |x| corner(&f(x)))?;
        Ok::<f64, Error>((us - call - kernel_us).max(0.02))
    };
    let alone = |shapes: &[&[usize]], dtype, f| timed(shapes, dtype, EACH, f);
    let product = |[m, n, k]: [usize; 3], dtype| alone(&[&[m, k], &[k, n]], dtype, product_of_two);

    let rate = |n: usize| -> Result<f64> {
        let us = alone(&[&[n / 256, 256], &[n / 256, 256]], f32, sum_of_two)?;
        Ok((12 * n) as f64 / us)
    };
    // Arrays that some cache holds, and such that none does.
    let cached_bytes_per_us = rate(1 << 17)?;
    let bytes_per_us = rate(8 << 20)?.min(cached_bytes_per_us);
    let summed_bytes_per_us = {
        let n = 1 << 18;
        (4 * n) as f64 / alone(&[&[n / 512, 512]], f32, |x| first(x).sum(-1).expand_dims(1))?
    };
    let moved_bytes_per_us = {
        let (rows, n) = (256, 64);
        let us = alone(&[&[rows, n]], f32, |x| {
            let x = first(x);
            let rows = x.shape().first().copied().unwrap_or(1) as i32;
            let places: Vec<i32> = (0..rows).map(|i| (i * 7) % rows).collect();
            x.take(&Array::from(places), 0)
        })?;
        (8 * rows * n) as f64 / us
    };
    let transform_flops_per_us = {
        let n = 1 << 10;
        let us = alone(&[&[1, n]], f32, |x| {
            let n = first(x).shape().last().copied().unwrap_or(1);
            lax::fft(&first(x), FftType::Rfft, [n]).real()
        })?;
        5.0 * n as f64 * (n as f64).log2() / us
    };

    let mut products = Products::default();
    for (l, large) in GRID.iter().enumerate() {
        for (s, small) in GRID.iter().enumerate().take(l + 1) {
            for (k, sum) in GRID.iter().enumerate() {
                let log = |[m, n, k]: [usize; 3]| {
                    let shapes: [&[usize]; 2] = [&[m, k], &[k, n]];
                    let us = timed(&shapes, f32, EACH_PRODUCT, product_of_two)?;
                    Ok::<f64, Error>(us.ln())
                };
                let mut us = log([*large, *small, *sum])?;
                if large != small {
                    us = (us + log([*small, *large, *sum])?) / 2.0;
                }
                // Time grows no faster than arithmetic, but for what caches lose; what does was disturbed.
                let grown = |size: usize, before: f32| match size {
                    0 => f64::INFINITY,
                    i => f64::from(before) + (GRID[i] as f64 / GRID[i - 1] as f64).ln() + LOST,
                };
                let before = |i: usize| i.saturating_sub(1);
                us = us
                    .min(grown(l, products[before(l)][s][k]))
                    .min(grown(k, products[l][s][before(k)]));
                let us = rounded(us.exp()).ln() as f32;
                products[l][s][k] = us;
                products[s][l][k] = us;
            }
        }
    }

    let side = 768;
    let cube = [side; 3];
    let large = product(cube, f32)?;
    let flops_per_us = 2.0 * (side as f64).powi(3) / large;
    let wide = product(cube, f64)? / large;
    let narrow = product(cube, bf16)? / large;
    let batched = {
        let us = alone(&[&[32, 96, 96], &[32, 96, 96]], f32, |x| match x {
            [a, b] => {
                let product = a.dot_general(b, DotGeneral::new(([2], [1]), ([0], [0])));
                product.reshape([32 * 96, 96])
            }
            _ => other_number(),
        })?;
        us / (32.0 * product([96; 3], f32)?)
    };
    let added = |side: usize| -> Result<f64> {
        let with = alone(&[&[side, 4], &[4, side], &[side, side]], f32, |x| match x {
            [a, b, c] => a.dot(b) + c,
            _ => other_number(),
        })?;
        Ok((with - product([side, side, 4], f32)?).max(0.01))
    };
    let pass = (4 * 512 * 512) as f64 / cached_bytes_per_us;
    let accumulating_us = added(8)?;
    // One pass reads what is added.
    let accumulated = ((added(512)? - accumulating_us) / pass - 1.0).clamp(0.5, 3.0);
    Ok(CostModel {
        flops_per_us,
        bytes_per_us,
        cached_bytes_per_us,
        cache_bytes: 24e6,
        summed_bytes_per_us,
        moved_bytes_per_us,
        transform_flops_per_us,
        kernel_us,
        wide,
        narrow,
        batched,
        accumulated,
        accumulating_us,
        products,
    })
}

/// The first element of a matrix, plus one: a result that is small, so that the matrix is storage that a program reuses and not
/// fresh pages.
fn corner(x: &Array) -> Array {
    lax::slice(x, [0, 0], [1, 1], None) + 1.0
}

fn first(x: &[Array]) -> Array {
    x.first().cloned().unwrap_or_else(other_number)
}

fn product_of_two(x: &[Array]) -> Array {
    match x {
        [a, b] => a.dot(b),
        _ => other_number(),
    }
}

fn other_number() -> Array {
    Array::error(Error::internal("another number of operands"))
}

fn sum_of_two(x: &[Array]) -> Array {
    match x {
        [a, b] => a + b,
        _ => other_number(),
    }
}

/// Microseconds of one step of a program of many that have nothing to do.
fn per_small_step() -> Result<f64> {
    let steps = |count: usize| {
        move |x: &[Array]| match x {
            [a, b] => (0..count).fold(b.clone(), |b, _| a.dot(&b)),
            _ => other_number(),
        }
    };
    let (few, many) = (8, 136);
    let shapes: [&[usize]; 2] = [&[2, 2], &[2, 2]];
    let difference = measure(&shapes, DType::F32, EACH, steps(many))?
        - measure(&shapes, DType::F32, EACH, steps(few))?;
    Ok((difference / (many - few) as f64).max(0.01))
}

/// How long one quantity is measured at least, and one of the many products.
const EACH: Duration = Duration::from_millis(60);
const EACH_PRODUCT: Duration = Duration::from_millis(12);

/// The least time, in microseconds, of many runs of a program on arrays of ones, as it stands: at least ten, and so long.
fn measure(
    shapes: &[&[usize]],
    dtype: DType,
    long: Duration,
    f: impl Fn(&[Array]) -> Array,
) -> Result<f64> {
    let avals: Vec<Aval> = shapes
        .iter()
        .map(|shape| Aval::new(*shape, dtype))
        .collect();
    let program: Jaxpr = stage(&avals, None, &mut |x| Ok(vec![f(&x)]))?;
    let executable = Executable::new(&program)?;
    let args: Vec<_> = shapes
        .iter()
        .map(|shape| {
            // Numbers that are all there: `Array::ones` is one number under many indices.
            let ones = vec![1f32; shape.iter().product()];
            let array = Array::from(ones).reshape(*shape).astype(dtype);
            array.concrete("an argument")
        })
        .collect::<Result<Vec<Arc<_>>>>()?;
    let (start, mut least, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while start.elapsed() < long || runs < 10 {
        let run = Instant::now();
        executable.run(&args)?;
        least = least.min(run.elapsed().as_secs_f64() * 1e6);
        runs += 1;
    }
    Ok(least)
}
