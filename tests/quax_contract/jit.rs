//! `jit` and its cache.

use super::support::*;
use quaxide::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// «same avals reuse, different avals or tree miss».
#[test]
fn the_cache_goes_by_types_and_trees() {
    let traces = AtomicUsize::new(0);
    let f = jit(quaxify(|x: &Array| {
        traces.fetch_add(1, Ordering::Relaxed);
        x + x
    }));
    let (short, long) = (vector(&[1.0]), vector(&[1.0, 2.0]));
    let inputs = [
        metres(short.clone(), 1),
        metres(short.clone(), 2),
        metres(long.clone(), 1),
        long,
        Array::from_value(Pair(short.clone(), short)),
    ];
    for round in 0..3 {
        for x in &inputs {
            let _ = f(x).unwrap();
        }
        assert_eq!(
            traces.load(Ordering::Relaxed),
            inputs.len(),
            "round {round}"
        );
    }
}

/// Section 4: either order of `jit` and `quaxify`, and both.
#[test]
fn either_order() {
    let f = |x: &Array, y: &Array| x * y + x;
    let (x, y) = (metres(vector(&[2.0]), 1), vector(&[3.0]));
    for z in [
        jit(quaxify(f))(&x, &y),
        quaxify(jit(f))(&x, &y),
        jit(quaxify(jit(f)))(&x, &y),
    ] {
        let z = z.unwrap();
        assert_eq!((number(&in_metres(&z).x), in_metres(&z).power), (8.0, 1));
    }
    let e = quaxify(jit(f))(&x, &x).unwrap_err();
    assert!(e.message().contains("cannot add m^2 and m^1"), "{e}");
}
