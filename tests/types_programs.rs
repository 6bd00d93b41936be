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
    rules::{Named, Zero},
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
    mut value: impl FnMut(&mut Rng, &Array) -> Option<Array>,
    plain: impl Fn(&Array) -> Result<Array>,
    excused: impl Fn(&Error) -> bool,
) -> usize {
    let mut ran = 0;
    let seeds = if cfg!(debug_assertions) {
        seeds / 5
    } else {
        seeds
    };
    for seed in 0..seeds {
        let Made { program, x, .. } = generate(seed, options);
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
            let got = plain(got).unwrap();
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
