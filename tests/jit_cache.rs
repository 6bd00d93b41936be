//! What calls of a compiled function share, and what they must not.

use quaxide::prelude::*;
use std::{
    hash::{Hash, Hasher},
    sync::atomic::{AtomicUsize, Ordering},
};

/// Static, and of a hash that says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Colliding(i32);

impl Hash for Colliding {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// A function, and how often it was traced.
fn counted(traces: &AtomicUsize) -> impl Fn(&Array, &Static<Colliding>) -> Array + '_ {
    move |x, n| {
        traces.fetch_add(1, Ordering::Relaxed);
        x * f64::from(n.0.0)
    }
}

#[test]
fn structures_are_compared_not_their_hashes() {
    let traces = AtomicUsize::new(0);
    let f = jit(counted(&traces));
    let x = Array::from([1f64, 2.0]);
    for round in 0..3 {
        for n in [3, 5, 7] {
            let y = f(&x, &Static(Colliding(n))).unwrap();
            let n = f64::from(n);
            assert_eq!(y.to_vec::<f64>().unwrap(), [n, 2.0 * n], "round {round}");
        }
    }
    assert_eq!(traces.load(Ordering::Relaxed), 3);
}

#[test]
fn types_of_leaves_are_compared() {
    let traces = AtomicUsize::new(0);
    let f = jit(|x: &Array| {
        traces.fetch_add(1, Ordering::Relaxed);
        x * 2.0
    });
    let [a, b] = [[2, 3], [3, 2]].map(|s| Array::ones(s, DType::F32));
    let zero = Array::symbolic_zero(a.aval().unwrap());
    for x in [&a, &b, &a.astype(DType::F64), &zero, &a, &b, &zero] {
        let y = f(x).unwrap();
        assert_eq!(y.aval().unwrap(), x.aval().unwrap());
    }
    assert_eq!(traces.load(Ordering::Relaxed), 4);
}

/// Trees that differ in where their leaves are, not in how many there are.
#[test]
fn places_of_leaves_are_compared() {
    let traces = AtomicUsize::new(0);
    let f = jit(|t: &(Option<Array>, Option<Array>)| {
        traces.fetch_add(1, Ordering::Relaxed);
        match t {
            (Some(x), _) => x.clone(),
            (None, Some(x)) => -x,
            (None, None) => Array::from(0f32),
        }
    });
    let x = || Some(Array::from(2f32));
    for _ in 0..2 {
        let sides = [(x(), None), (None, x()), (None, None)];
        let found = sides
            .each_ref()
            .map(|t| f(t).unwrap().item::<f32>().unwrap());
        assert_eq!(found, [2.0, -2.0, 0.0]);
    }
    assert_eq!(traces.load(Ordering::Relaxed), 3);
}

/// Two parts of one tree, each of one leaf of the same type.
#[test]
fn parts_of_a_tree_are_told_apart() {
    let pair = (Array::from([1f32]), Array::from([10f32]));
    let (first, second) = tree::partition(&pair, |path, _| path == "[0]");
    let traces = AtomicUsize::new(0);
    let f = jit(|p: &tree::Part<(Array, Array)>| {
        traces.fetch_add(1, Ordering::Relaxed);
        let whole = (Array::from([3f32]), Array::from([4f32]));
        let (a, b) = p.onto(&whole)?;
        Ok(a - b)
    });
    for _ in 0..2 {
        assert_eq!(f(&first).unwrap().item::<f32>().unwrap(), -3.0);
        assert_eq!(f(&second).unwrap().item::<f32>().unwrap(), -7.0);
    }
    assert_eq!(traces.load(Ordering::Relaxed), 2);
}

/// Values whose static fields differ are two structures; the same value inside another container is a third.
#[test]
fn static_fields_of_values_are_compared() {
    let traces = AtomicUsize::new(0);
    let f = jit(quaxify(|w: &Array, x: &Array| {
        traces.fetch_add(1, Ordering::Relaxed);
        w.dot(x)
    }));
    let part = |shape: [usize; 2]| Array::ones(shape, DType::F32);
    let mut lora = LoraArray::from_parts(part([3, 2]), part([3, 1]), part([1, 2])).unwrap();
    let x = Array::ones([2], DType::F32);
    for stop in [true, false, true, false] {
        lora.stop_gradient = stop;
        let y = f(&Array::from_value(lora.clone()), &x).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), [4.0; 3]);
    }
    assert_eq!(
        f(&part([3, 2]), &x).unwrap().to_vec::<f32>().unwrap(),
        [2.0; 3]
    );
    assert_eq!(traces.load(Ordering::Relaxed), 3);
}

#[test]
fn structures_print() {
    let t = (Array::from(1f32), Static("relu"), vec![Array::from(2f32)]);
    let text = format!("{:?}", tree::structure(&t));
    assert_eq!(text, "[(), *, \"relu\", Vec, 1, *]");
}

/// From many threads at once, with several structures.
#[test]
fn threads_share_a_cache() {
    let traces = AtomicUsize::new(0);
    let f = &jit(counted(&traces));
    std::thread::scope(|s| {
        for t in 0..4 {
            s.spawn(move || {
                let x = Array::from([1f64]);
                for i in 0..50 {
                    let n = (i + t) % 5;
                    let y = f(&x, &Static(Colliding(n))).unwrap();
                    assert_eq!(y.item::<f64>().unwrap(), f64::from(n));
                }
            });
        }
    });
    // Two threads may trace the same at the same time.
    assert!((5..=20).contains(&traces.load(Ordering::Relaxed)));
}
