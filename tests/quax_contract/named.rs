//! Quax's tests of `named.NamedArray`.

use super::support::close;
use quaxide::{
    numpy,
    prelude::*,
    rules::{Named, axes_of, named},
};

fn x(shape: &[usize]) -> Array {
    random::normal(&random::key(0), (shape, DType::F64))
}

fn words(x: &Array) -> Vec<String> {
    let axes = axes_of(x).unwrap();
    axes.iter()
        .map(|n| n.as_deref().unwrap_or("_").to_string())
        .collect()
}

fn array(x: &Array) -> Array {
    x.value::<Named>().map_or(x.clone(), |n| n.array.clone())
}

/// named: names are unique, and as many as there are axes.
#[test]
fn a_wrong_list_of_names() {
    assert!(named(x(&[2, 3]), ["a", "a"]).is_err());
    assert!(named(x(&[2, 3]), ["a"]).is_err());
    assert!(named(x(&[2, 3]), ["a", "b", "c"]).is_err());
}

/// named: sums, with each other and with a number; axes that differ are an error of `+`, `*` and `-`.
#[test]
fn sums_pair_names() {
    let a = named(x(&[2, 3]), ["a", "b"]).unwrap();
    let y = quaxify(|a: &Array| a + a)(&a).unwrap();
    assert_eq!(words(&y), ["a", "b"]);
    close(&array(&y), &(array(&a) * 2.0));
    let y = quaxify(|a: &Array| 1.0 + a)(&a).unwrap();
    assert_eq!(words(&y), ["a", "b"]);
    let b = named(x(&[2, 3]), ["a", "c"]).unwrap();
    for f in [
        (|a: &Array, b: &Array| a + b) as fn(&Array, &Array) -> Array,
        |a, b| a * b,
        |a, b| a - b,
    ] {
        let e = quaxify(f)(&a, &b).unwrap_err();
        assert!(
            e.message().contains("`b`") && e.message().contains("`c`"),
            "{e}"
        );
    }
}

/// named: contractions pair names; an axis twice in the result, and numbers of axes that do not exist, are errors.
#[test]
fn contractions_pair_names() {
    let a = named(x(&[2, 3]), ["a", "b"]).unwrap();
    let b = named(x(&[3, 4]), ["b", "c"]).unwrap();
    let y = quaxify(|a: &Array, b: &Array| a.matmul(b))(&a, &b).unwrap();
    assert_eq!(words(&y), ["a", "c"]);
    close(&array(&y), &array(&a).matmul(&array(&b)));
    let wrong = named(x(&[3, 4]), ["d", "c"]).unwrap();
    assert!(quaxify(|a: &Array, b: &Array| a.matmul(b))(&a, &wrong).is_err());
    let twice = named(x(&[3, 2]), ["b", "a"]).unwrap();
    assert!(quaxify(|a: &Array, b: &Array| a.matmul(b))(&a, &twice).is_err());
    // Pair by pair: the same names in another order do not do.
    let square = named(x(&[3, 3]), ["a", "b"]).unwrap();
    let turned = named(x(&[3, 3]), ["b", "a"]).unwrap();
    let dot = |contract: [usize; 2], other: [usize; 2]| {
        move |a: &Array, b: &Array| {
            a.dot_general(b, op::DotGeneral::new((contract, other), ((), ())))
        }
    };
    assert!(quaxify(dot([0, 1], [1, 0]))(&square, &turned).is_ok());
    assert!(quaxify(dot([0, 1], [0, 1]))(&square, &turned).is_err());
    let batch = |a: &Array, b: &Array| a.dot_general(b, op::DotGeneral::new(((), ()), ([0], [0])));
    assert!(quaxify(batch)(&square, &turned).is_err());
    for dims in [(vec![0, 1], vec![0]), (vec![7], vec![0])] {
        let bad = move |a: &Array, b: &Array| {
            a.dot_general(b, op::DotGeneral::new((&dims.0[..], &dims.1[..]), ((), ())))
        };
        assert!(quaxify(bad)(&square, &turned).is_err());
    }
}

/// named: a linear layer with names on weight, bias and input.
#[test]
fn a_layer_with_names() {
    let layer = nn::Linear::new(3, 4, &random::key(1));
    let names = nn::Linear {
        weight: named(layer.weight.clone(), ["out", "in"]).unwrap(),
        bias: layer
            .bias
            .as_ref()
            .map(|b| named(b.clone(), ["out"]).unwrap()),
        ..layer.clone()
    };
    let x = Array::ones([3], DType::F32);
    let y = quaxify(nn::Linear::call)(&names, &named(x.clone(), ["in"]).unwrap()).unwrap();
    assert_eq!(words(&y), ["out"]);
    close(&array(&y), layer.call(&x).ok().unwrap());
}

/// named: trace.
#[test]
fn a_trace_takes_two_axes() {
    let a = named(x(&[3, 4, 3]), ["a", "b", "c"]).unwrap();
    let y = quaxify(|a: &Array| numpy::trace(a, 0, 0, 2))(&a).unwrap();
    assert_eq!(words(&y), ["b"]);
    close(&array(&y), &numpy::trace(&array(&a), 0, 0, 2));
    assert!(quaxify(|a: &Array| numpy::trace(a, 0, 1, 1))(&a).is_err());
}
