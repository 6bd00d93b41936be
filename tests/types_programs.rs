//! Random programs over every primitive, on array-ish values against the arrays that they equal, and their gradients.
//!
//! `QUAXIDE_PROGRAMS` says how many for each type; 5,000 in release builds, and fewer in others. Units and intervals, which equal no
//! array, have random programs of their own in `types_unitful.rs` and `types_interval.rs`.

#[path = "support/programs/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "each file of tests uses its own part"
)]
mod programs;
#[path = "support/rng.rs"]
#[allow(dead_code, reason = "each file of tests uses its own part")]
mod rng;
#[path = "../examples/support/types_table/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the example uses another part")]
mod types_table;

use programs::{Made, Options, agree, generate};
use quaxide::{
    prelude::*,
    rules::{Masked, Named, Zero, filled, mask_of, masked},
};
use rng::Rng;
use types_table::{KINDS, Kind};

const OPTIONS: Options = Options {
    steps: 8,
    depth: 2,
    derivatives: false,
    orders: 0,
    smooth: false,
    loops: true,
    custom_vjp: true,
    odd: false,
};

/// How many programs are tried for each type.
fn count() -> u64 {
    let asked = std::env::var("QUAXIDE_PROGRAMS").ok();
    let usual = if cfg!(debug_assertions) { 400 } else { 5000 };
    asked.and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// How far results may be from each other where sums are taken in another order.
fn rounding(x: &Array) -> f64 {
    match x.dtype() {
        Ok(DType::F32 | DType::C64) => 1e-5,
        Ok(DType::F16 | DType::BF16) => 2e-2,
        _ => 1e-9,
    }
}

/// Run a program on values, and compare with what it gives for the arrays that they equal. `excused` errors are no failure; how many
/// programs ran is returned.
fn compare(
    options: Options,
    value: impl FnMut(&mut Rng, &Array) -> Option<Array>,
    plain: impl Fn(&Array) -> Result<Array>,
    excused: impl Fn(&Error) -> bool,
) -> usize {
    compare_where(options, value, plain, excused, |_| true)
}

/// As [`compare`], for programs whose primitives fit.
fn compare_where(
    options: Options,
    mut value: impl FnMut(&mut Rng, &Array) -> Option<Array>,
    plain: impl Fn(&Array) -> Result<Array>,
    excused: impl Fn(&Error) -> bool,
    fits: impl Fn(&[String]) -> bool,
) -> usize {
    let mut ran = 0;
    for seed in 0..count() {
        let Made { program, x, .. } = generate(seed, options);
        let mut names = vec![];
        program.names(&mut |name, _| names.push(name.to_string()));
        if !fits(&names) {
            continue;
        }
        let mut r = Rng(seed ^ 0x7E57);
        let values: Vec<Array> = (x.iter())
            .map(|x| value(&mut r, x).unwrap_or_else(|| x.clone()))
            .collect();
        let x = values.iter().map(|v| plain(v).unwrap()).collect::<Vec<_>>();
        let run = |x: &Vec<Array>| program.run(x);
        let failed = |what: &str| -> ! { panic!("seed {seed}: {what}\n{program}") };
        let want = match quaxify(run)(&x) {
            Ok(want) => want,
            Err(e) => failed(&format!("plain: {e}")),
        };
        let got = match quaxify(run)(&values) {
            Ok(got) => got,
            Err(e) if excused(&e) => continue,
            Err(e) => failed(&e.to_string()),
        };
        ran += 1;
        for (got, want) in got.iter().zip(&want) {
            let got = match plain(got) {
                Ok(got) => got,
                Err(e) if excused(&e) => continue,
                Err(e) => failed(&e.to_string()),
            };
            match agree("result", &got, want, rounding(want)) {
                Ok(None) => {}
                Ok(Some(d)) => failed(&d),
                Err(e) => failed(&e.to_string()),
            }
        }
    }
    ran
}

#[test]
fn zeros() {
    let value = |r: &mut Rng, x: &Array| {
        let inexact = x.dtype().is_ok_and(|d| d.is_inexact());
        (inexact && r.chance(0.6)).then(|| Zero::like(x))
    };
    let dense = |x: &Array| {
        Ok(if x.is_symbolic_zero() {
            Array::zeros_like(x)
        } else {
            x.clone()
        })
    };
    let ran = compare(OPTIONS, value, dense, |_| false);
    assert!(ran as u64 * 100 >= count() * 90);
}

#[test]
fn named_axes() {
    let value = |r: &mut Rng, x: &Array| {
        // Sums bring axes into one order where all have names: the last has none, so that all else is as for positions.
        let last = x.ndim().checked_sub(1)?;
        let names = (0..x.ndim()).map(|i| (i < last).then(|| format!("axis {}", r.next()).into()));
        let names = names.collect();
        let named = Named::new(x.clone(), names).unwrap();
        (last > 0 && r.chance(0.6)).then(|| Array::from_value(named))
    };
    let dense = |x: &Array| Ok(x.value::<Named>().map_or(x.clone(), |n| n.array.clone()));
    // Axes of two names meet in some programs, a product with itself has a name twice, and a step of a loop gives the names up.
    let clash = |e: &Error| {
        let excuses = [
            "meets axis",
            "two axes would be named",
            "must keep its type",
        ];
        excuses.iter().any(|x| e.message().contains(x))
    };
    let ran = compare(OPTIONS, value, dense, clash);
    assert!(ran as u64 * 100 >= count() * 60, "{ran}");
}

/// Domains, empty reductions and divisions by zero: NumPy's masked arrays differ there.
fn has_numpys_meaning(program: &[String]) -> bool {
    let differ = [
        "div",
        "rem",
        "/",
        "log",
        "log1p",
        "sqrt",
        "rsqrt",
        "asin",
        "acos",
        "acosh",
        "atanh",
        "erf_inv",
        "mean",
        "var",
        "softmax",
        "logsumexp",
        "median",
        "integer_pow",
        "pow",
        "reduce_window_max",
        "reduce_window_min",
        "reduce_window_prod",
        "reduce_window_sum",
    ];
    !program.iter().any(|p| differ.contains(&p.as_str()))
}

/// A mask that is false everywhere changes nothing, but that what has no value is masked.
#[test]
fn masks_of_nothing() {
    let value = |r: &mut Rng, x: &Array| {
        r.chance(0.6)
            .then(|| masked(x.clone(), Array::zeros(x.shape(), DType::Bool)).unwrap())
    };
    // What is masked, of a result or on the way there, makes the rest of a program another one.
    let plain = |x: &Array| match x.value::<Masked>() {
        Some(m) if m.mask.any(()).item::<bool>()? => Err(Error::refused("some are masked")),
        Some(m) => Ok(m.data.clone()),
        None => Ok(x.clone()),
    };
    let excuse = |e: &Error| {
        let excuses = [
            "some are masked",
            "masked elements have no value",
            "masked ones have no order",
            "has no mask",
            "must keep its type",
            "is no place",
        ];
        excuses.iter().any(|x| e.to_string().contains(x))
    };
    let ran = compare_where(OPTIONS, value, plain, excuse, has_numpys_meaning);
    assert!(ran as u64 * 100 >= count() * 20, "{ran}");
}

/// What stands behind a mask does not matter.
#[test]
fn masked_elements_take_no_part() {
    let mut ran = 0;
    for seed in 0..count() {
        let Made { program, x, .. } = generate(seed, OPTIONS);
        let mut r = Rng(seed ^ 0x3A5C);
        let (mut first, mut second) = (vec![], vec![]);
        for x in &x {
            let a = x.aval().unwrap();
            let mask: Vec<bool> = (0..a.size()).map(|_| r.chance(0.3)).collect();
            let mask = Array::new(&a.shape, mask);
            if !a.dtype.is_float() {
                first.push(x.clone());
                second.push(x.clone());
                continue;
            }
            let other = mask.select(x * 0.5 - 0.25, x);
            first.push(masked(x.clone(), mask.clone()).unwrap());
            second.push(masked(other, mask).unwrap());
        }
        let run = |x: &Vec<Array>| program.run(x);
        let (Ok(a), Ok(b)) = (quaxify(run)(&first), quaxify(run)(&second)) else {
            continue;
        };
        ran += 1;
        for (a, b) in a.iter().zip(&b) {
            let masks = (mask_of(a).unwrap(), mask_of(b).unwrap());
            let numbers = (filled(a, 0).unwrap(), filled(b, 0).unwrap());
            for (a, b) in [masks, numbers] {
                match agree("result", &a, &b, rounding(&b)) {
                    Ok(None) => {}
                    Ok(Some(d)) => panic!("seed {seed}: {d}\n{program}"),
                    Err(e) => panic!("seed {seed}: {e}\n{program}"),
                }
            }
        }
    }
    assert!(ran as u64 * 100 >= count() * 30, "{ran}");
}

/// What has a derivative that is not lost in rounding.
const SMOOTH: Options = Options {
    derivatives: true,
    orders: 1,
    smooth: true,
    loops: false,
    custom_vjp: false,
    ..OPTIONS
};

/// Numbers that look random, in the shape of an array; zeros where it has no derivative.
fn direction(r: &mut Rng, x: &Array) -> Array {
    let a = x.aval().unwrap();
    match a.dtype {
        DType::F64 | DType::F32 => rng::random_array(r, &a.shape).astype(a.dtype),
        _ => Array::zeros_like(x),
    }
}

/// The sum of all real results.
fn total(y: &[Array]) -> Array {
    let mut sum = Array::scalar(0f64);
    for y in y {
        match y.dtype() {
            Ok(d) if d.is_float() => sum += y.astype(DType::F64).sum(()),
            Err(_) => return y.clone(),
            _ => {}
        }
    }
    sum
}

fn number(x: &Array) -> f64 {
    x.to_f64_vec().map_or(f64::NAN, |x| x[0])
}

/// Values, and the derivative along a direction of all components, forwards and backwards, against the arrays that the values equal.
/// Returns how many programs ran.
fn differentiate(
    kind: &str,
    fits: impl Fn(&[String]) -> bool,
    value: impl Fn(&mut Rng, &Array) -> Option<Array>,
    excused: impl Fn(&Error) -> bool,
) -> usize {
    let mut ran = 0;
    for seed in 0..count() {
        let Made { program, x, .. } = generate(seed, SMOOTH);
        let mut names = vec![];
        program.names(&mut |name, _| names.push(name.to_string()));
        if !fits(&names) {
            continue;
        }
        let mut r = Rng(seed ^ 0xD1FF);
        let x: Vec<Array> = (x.iter())
            .map(|x| match r.chance(0.7) {
                true => value(&mut r, x).unwrap_or_else(|| x.clone()),
                false => x.clone(),
            })
            .collect();
        let v: Vec<Array> = x
            .iter()
            .map(|x| tree::map(x, |c| direction(&mut r, c)))
            .collect();
        let failed = |what: &str| -> ! { panic!("{kind}, seed {seed}: {what}\n{program}") };
        let plain = |x: &Vec<Array>| -> Result<Array> {
            let dense = x
                .iter()
                .map(types_table::plain)
                .collect::<Result<Vec<_>>>()?;
            Ok(total(&program.run(&dense)?))
        };
        let run = |x: &Vec<Array>| Ok::<_, Error>(total(&program.run(x)?));
        let on_values = |x: &Vec<Array>| types_table::plain(&quaxify(run)(x)?);
        let Ok((want, slope)) = jvp(plain, (&x,), (&v,)) else {
            failed("the arrays themselves have no derivative");
        };
        let (want, slope) = (number(&want), number(&slope));
        if !want.is_finite() || !slope.is_finite() || want.abs() > 1e6 || slope.abs() > 1e6 {
            continue;
        }
        let near = |what: &str, got: f64, want: f64| {
            let error = (got - want).abs() / (1.0 + want.abs());
            // Some programs compute in fewer bits.
            if error > 2e-3 {
                failed(&format!("{what}: {got} for {want}"));
            }
        };
        match jvp(on_values, (&x,), (&v,)) {
            Ok((y, t)) => {
                near("value", number(&y), want);
                near("forwards", number(&t), slope);
            }
            Err(e) if excused(&e) => continue,
            Err(e) => failed(&e.to_string()),
        }
        let g = match grad(on_values)(&x) {
            Ok(g) => g,
            Err(e) if excused(&e) => continue,
            Err(e) => failed(&e.to_string()),
        };
        let leaves = |x: &[Array]| x.iter().flat_map(tree::leaves).collect::<Vec<_>>();
        let parts = leaves(&g).into_iter().zip(leaves(&v));
        let products = parts.filter(|(_, v)| v.dtype().is_ok_and(DType::is_float));
        let along = products
            .map(|(g, v)| number(&(g * v).astype(DType::F64).sum(())))
            .sum();
        near("backwards", along, slope);
        ran += 1;
    }
    ran
}

fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|k| k.name == name).unwrap()
}

/// By the line that makes such a value for the table of types.
fn programs_of(name: &str, least: u64, excuses: &[&str]) {
    let kind = kind(name);
    let make = kind.open.unwrap_or(kind.make[0]);
    let excused = |e: &Error| excuses.iter().any(|x| e.to_string().contains(x));
    let ran = differentiate(name, |_| true, |_, x| make(x), excused);
    assert!(ran as u64 * 100 >= count() * least, "{name}: {ran}");
}

#[test]
fn low_rank_updates() {
    programs_of("LoraArray", 50, &["must keep its type"]);
}

#[test]
fn quantised_arrays() {
    programs_of("Quantised", 50, &["must keep its type"]);
}

#[test]
fn sparse_arrays() {
    programs_of("Bcoo", 50, &["must keep its type", "would be dense"]);
}

#[test]
fn structured_arrays() {
    programs_of("Structured", 50, &["must keep its type"]);
}

#[test]
fn compressed_rows() {
    programs_of("Csr", 20, &["must keep its type", "would be dense"]);
}

#[test]
fn magnitudes_and_directions() {
    programs_of("DoraArray", 50, &["must keep its type"]);
}

#[test]
fn kernels() {
    programs_of("LoraKernel", 50, &["must keep its type"]);
}

#[test]
fn sums_of_terms() {
    programs_of("Terms", 50, &["must keep its type", "would be dense"]);
}

#[test]
fn gradients_of_zeros() {
    programs_of("Zero", 50, &["must keep its type"]);
}

#[test]
fn gradients_of_named_axes() {
    // As above: the last axis has no name.
    let value = |r: &mut Rng, x: &Array| {
        let last = x.ndim().checked_sub(1).filter(|last| *last > 0)?;
        let names = (0..=last).map(|i| (i < last).then(|| format!("axis {}", r.next()).into()));
        let named = Named::new(x.clone(), names.collect()).ok()?;
        Some(Array::from_value(named))
    };
    let clash = [
        "meets axis",
        "two axes would be named",
        "must keep its type",
    ];
    let excused = |e: &Error| clash.iter().any(|x| e.to_string().contains(x));
    let ran = differentiate("Named", |_| true, value, excused);
    assert!(ran as u64 * 100 >= count() * 20, "{ran}");
}

/// A mask that is false everywhere.
#[test]
fn gradients_of_masks_of_nothing() {
    let value = |_: &mut Rng, x: &Array| {
        let none = Array::zeros(x.shape(), DType::Bool);
        masked(x.clone(), none).ok()
    };
    let excuses = ["masked", "must keep its type", "is no place"];
    let excused = |e: &Error| excuses.iter().any(|x| e.to_string().contains(x));
    let ran = differentiate("Masked", has_numpys_meaning, value, excused);
    assert!(ran as u64 * 100 >= count() * 20, "{ran}");
}
