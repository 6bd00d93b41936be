//! Random programs over every primitive, on array-ish values against the arrays that they equal.

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

use programs::{Made, Options, agree, generate};
use quaxide::{
    prelude::*,
    rules::{Masked, Named, Zero, filled, mask_of, masked},
};
use rng::Rng;

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

/// Run a program on values, and compare with what it gives for the arrays that they equal. `excused` errors are no failure; how many
/// programs ran is returned.
fn compare(
    seeds: u64,
    options: Options,
    value: impl FnMut(&mut Rng, &Array) -> Option<Array>,
    plain: impl Fn(&Array) -> Result<Array>,
    excused: impl Fn(&Error) -> bool,
) -> usize {
    compare_where(seeds, options, value, plain, excused, |_| true)
}

/// As [`compare`], for programs whose primitives fit.
fn compare_where(
    seeds: u64,
    options: Options,
    mut value: impl FnMut(&mut Rng, &Array) -> Option<Array>,
    plain: impl Fn(&Array) -> Result<Array>,
    excused: impl Fn(&Error) -> bool,
    fits: impl Fn(&[String]) -> bool,
) -> usize {
    let mut ran = 0;
    let seeds = if cfg!(debug_assertions) {
        seeds / 5
    } else {
        seeds
    };
    for seed in 0..seeds {
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
            match agree("result", &got, want, 1e-9) {
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
    let ran = compare(5000, OPTIONS, value, dense, |_| false);
    assert!(ran >= 900);
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
    let ran = compare(5000, OPTIONS, value, dense, clash);
    assert!(ran >= 600, "{ran}");
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
            "must keep its type",
            "is no place",
        ];
        excuses.iter().any(|x| e.to_string().contains(x))
    };
    let ran = compare_where(5000, OPTIONS, value, plain, excuse, |program| {
        // Domains, empty reductions and divisions by zero: NumPy's masked arrays differ there.
        ![
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
        ]
        .iter()
        .any(|n| program.iter().any(|p| p == n))
    });
    assert!(ran >= 200, "{ran}");
}

/// What stands behind a mask does not matter.
#[test]
fn masked_elements_take_no_part() {
    let mut ran = 0;
    let seeds = if cfg!(debug_assertions) { 1000 } else { 5000 };
    for seed in 0..seeds {
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
                match agree("result", &a, &b, 1e-9) {
                    Ok(None) => {}
                    Ok(Some(d)) => panic!("seed {seed}: {d}\n{program}"),
                    Err(e) => panic!("seed {seed}: {e}\n{program}"),
                }
            }
        }
    }
    assert!(ran >= 300, "{ran}");
}
