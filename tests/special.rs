//! Special functions as primitives: derivatives against finite differences, batching, and what has no derivative.

use quaxide::prelude::*;

type Function = fn(&Array) -> Array;

/// Functions of one number that differentiate, and where.
const FUNCTIONS: [(&str, Function, f64); 14] = [
    ("igamma in a", |a| a.igamma(2.5), 1.7),
    ("igamma in x", |x| Array::scalar(1.7).igamma(x), 2.5),
    ("igammac in a", |a| a.igammac(0.4), 3.2),
    ("igammac in x", |x| Array::scalar(3.2).igammac(x), 0.4),
    ("zeta in q", |q| Array::scalar(2.3).zeta(q), 1.4),
    ("polygamma", |x| x.polygamma(2), 1.3),
    ("digamma", |x| x.digamma(), 2.6),
    ("lgamma", |x| x.lgamma(), 2.6),
    ("betainc", |x| x.betainc(2.0, 3.5), 0.3),
    ("bessel_i0e", |x| x.bessel_i0e(), 1.3),
    ("bessel_i1e", |x| x.bessel_i1e(), -9.3),
    ("erf", |x| x.erf(), 0.7),
    ("erfc", |x| x.erfc(), 1.7),
    ("erf_inv", |x| x.erf_inv(), 0.3),
];

fn value(x: Array) -> f64 {
    x.item().unwrap()
}

#[test]
fn derivatives_are_the_slopes() {
    for (name, f, at) in FUNCTIONS {
        let h = 1e-5;
        let slope =
            (value(f(&Array::scalar(at + h))) - value(f(&Array::scalar(at - h)))) / (2.0 * h);
        let forward = jvp(f, (&Array::scalar(at),), (&Array::scalar(1.0),))
            .unwrap()
            .1;
        let reverse = grad(f)(&Array::scalar(at)).unwrap();
        for derivative in [value(forward), value(reverse)] {
            let error = (derivative - slope).abs() / (1.0 + slope.abs());
            assert!(error < 1e-8, "{name}: {derivative} for {slope}");
        }
    }
}

#[test]
fn a_batch_is_its_examples() {
    for (name, f, at) in FUNCTIONS {
        let x = Array::from([at, at * 0.9, at * 1.05]);
        let slopes = jit(vmap(grad(f)))(&x).unwrap().to_vec::<f64>().unwrap();
        for (x, slope) in x.to_vec::<f64>().unwrap().into_iter().zip(slopes) {
            assert_eq!(value(grad(f)(&Array::scalar(x)).unwrap()), slope, "{name}");
        }
    }
}

#[test]
fn operands_broadcast_and_promote() {
    let a = Array::from([[1f32], [2.0]]);
    let x = a.igamma(Array::from([1i32, 2, 3]));
    assert_eq!(
        (x.shape(), x.dtype().unwrap()),
        (Array::zeros([2, 3], DType::F32).shape(), DType::F32)
    );
    let half = Array::scalar(half::f16::from_f32(0.25)).betainc(2, 2);
    assert_eq!(
        half.to_vec::<half::f16>().unwrap(),
        [half::f16::from_f32(0.15625)]
    );
    assert!(a.zeta(Array::zeros([3, 3], DType::F32)).ok().is_err());
    assert!(a.astype(DType::C64).polygamma(1).ok().is_err());
}

#[test]
fn what_has_no_derivative_says_so() {
    let at = Array::scalar(2.5);
    let refused = [
        grad(|x: &Array| x.zeta(1.5))(&at),
        grad(|n: &Array| Array::scalar(1.5).polygamma(n))(&at),
        grad(|a: &Array| Array::scalar(0.5).betainc(a, 1.0))(&at),
        grad(grad(|a: &Array| a.igamma(1.0)))(&at),
    ];
    for result in refused {
        let message = result.unwrap_err().to_string();
        assert!(message.contains("has no derivative"), "{message}");
        assert!(message.contains("tests/special.rs"), "{message}");
    }
}
