//! The scalar functions against mpmath (`tests/golden/make_special.py`), and their values at
//! infinities, poles and signed zeros.

use super::complex::Power;
use super::{
    Bits, bessel, complex, erf, erf_inv, erfc, exp, expm1, gamma, log, log1p, logistic, tanh,
};
use num_complex::Complex64;

const GOLDEN: &str = include_str!("../../../../tests/golden/special.txt");

/// The value of the function `name`, and how many units in the last place it may be off.
fn evaluate(name: &str, args: &[f64]) -> Option<(Vec<f64>, f64)> {
    if let Some(name) = name.strip_prefix("complex_") {
        let z = Complex64::new(args[0], args[1]);
        let function = match name {
            "exp" => complex::exp,
            "expm1" => complex::expm1,
            "log" => complex::log,
            "log1p" => complex::log1p,
            "sqrt" => complex::sqrt,
            "logistic" => complex::logistic,
            "sin" => complex::sin,
            "cos" => complex::cos,
            "tan" => complex::tan,
            "asin" => complex::asin,
            "acos" => complex::acos,
            "atan" => complex::atan,
            "sinh" => complex::sinh,
            "cosh" => complex::cosh,
            "tanh" => complex::tanh,
            "asinh" => complex::asinh,
            "acosh" => complex::acosh,
            "atanh" => complex::atanh,
            "pow" => {
                let value = z.power(Complex64::new(args[2], args[3]));
                return Some((vec![value.re, value.im], 40.0));
            }
            _ => return None,
        };
        let value = function(z);
        return Some((vec![value.re, value.im], 8.0));
    }
    let (value, ulps) = match (name, args) {
        ("lgamma", &[x]) => (gamma::lgamma(x), 8.0),
        ("digamma", &[x]) => (gamma::digamma(x), 16.0),
        ("bessel_i0e", &[x]) => (bessel::bessel_i0e(x), 8.0),
        ("bessel_i1e", &[x]) => (bessel::bessel_i1e(x), 16.0),
        ("erf", &[x]) => (erf(x), 2.0),
        ("erfc", &[x]) => (erfc(x), 4.0),
        ("erf_inv", &[x]) => (erf_inv(x), 8.0),
        ("log1p", &[x]) => (log1p(x), 4.0),
        ("expm1", &[x]) => (expm1(x), 8.0),
        ("tanh", &[x]) => (tanh(x), 6.0),
        ("logistic", &[x]) => (logistic(x), 4.0),
        ("zeta", &[x, q]) => (gamma::zeta(x, q), 40.0),
        ("polygamma", &[n, x]) => (gamma::polygamma(n, x), 40.0),
        ("igamma", &[a, x]) => (gamma::igamma(a, x), 200.0),
        ("igammac", &[a, x]) => (gamma::igammac(a, x), 200.0),
        ("igamma_grad_a", &[a, x]) => (gamma::igamma_grad_a(a, x), 1_000.0),
        ("random_gamma_grad", &[a, x]) => (gamma::random_gamma_grad(a, x), 1_000.0),
        ("betainc", &[a, b, x]) => (gamma::betainc(a, b, x), 2_000.0),
        _ => return None,
    };
    Some((vec![value], ulps))
}

#[test]
fn every_function_is_within_its_units_of_the_golden_value() {
    let mut checked = 0;
    for line in GOLDEN.lines() {
        let (call, result) = line.split_once(" = ").expect("name args = result");
        let numbers = |text: &str| -> Vec<f64> {
            text.split_whitespace()
                .map(|word| word.parse().expect("a number"))
                .collect()
        };
        let (name, args) = call.split_once(' ').expect("a name");
        let (got, ulps) = evaluate(name, &numbers(args)).expect("a known function");
        let want = numbers(result);
        assert_eq!(got.len(), want.len(), "{line}");
        for (got, want) in got.iter().zip(&want) {
            // An error in one component is measured against that component.
            let error = (got - want).abs() / (want.abs() * f64::EPSILON);
            assert!(error <= ulps, "{call}: {got:e} for {want:e}, {error} ulp");
        }
        checked += 1;
    }
    assert!(checked > 700);
}

#[test]
fn single_precision_is_the_double_rounded_to_a_few_units() {
    for k in -400..400 {
        let x = k as f32 * 0.021;
        for (name, single, double, ulps) in [
            ("exp", exp(x), f64::from(x).exp(), 2.0),
            ("tanh", tanh(x), f64::from(x).tanh(), 4.0),
            ("expm1", expm1(x), f64::from(x).exp_m1(), 6.0),
            ("erf", erf(x), libm::erf(f64::from(x)), 4.0),
            ("erfc", erfc(x), libm::erfc(f64::from(x)), 120.0),
            ("logistic", logistic(x), logistic(f64::from(x)), 4.0),
            ("log", log(x.exp()), f64::from(x.exp()).ln(), 2.0),
        ] {
            let error = (f64::from(single) - double).abs();
            let unit = f64::from(f32::EPSILON) * double.abs();
            assert!(
                error <= ulps * unit,
                "{name}({x}): {single} for {double}, {} ulp",
                error / unit
            );
        }
    }
}

#[test]
fn infinities_poles_and_zeros() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    assert_eq!(gamma::lgamma(0.0), inf);
    assert_eq!(gamma::lgamma(-3.0), inf);
    assert_eq!(gamma::lgamma(-inf), inf);
    assert!(gamma::digamma(0.0).is_nan() && gamma::digamma(-2.0).is_nan());
    assert_eq!(gamma::digamma(inf), inf);
    assert_eq!(gamma::zeta(1.0, 2.0), inf);
    assert_eq!(gamma::zeta(2.0, -1.0), inf);
    assert!(gamma::zeta(0.5, 2.0).is_nan());
    assert!(gamma::polygamma(1.5, 2.0).is_nan());
    assert!(gamma::igamma(0.0, 0.0).is_nan() && gamma::igamma(-1.0, 2.0).is_nan());
    assert_eq!(
        [gamma::igamma(2.0, 0.0), gamma::igamma(2.0, inf)],
        [0.0, 1.0]
    );
    assert_eq!(
        [gamma::igammac(2.0, 0.0), gamma::igammac(2.0, inf)],
        [1.0, 0.0]
    );
    assert_eq!(gamma::igamma_grad_a(inf, 2.0), 0.0);
    assert_eq!(gamma::betainc(2.0, 3.0, 0.0), 0.0);
    assert_eq!(gamma::betainc(0.0, 3.0, 0.5), 1.0);
    assert!(gamma::betainc(0.0, 0.0, 0.5).is_nan());
    assert_eq!(
        [erf_inv(1f32), erf_inv(-1f32)],
        [f32::INFINITY, -f32::INFINITY]
    );
    assert!(erf_inv(1.5f32).is_nan() && erf_inv(nan).is_nan());
    assert!(erf_inv(-0f32).is_sign_negative() && log1p(-0f32).is_sign_negative());
    assert_eq!(log(0f32), -f32::INFINITY);
    assert!(log(-1f32).is_nan() && log1p(-2f32).is_nan());
    assert_eq!(
        [exp(f32::INFINITY), exp(-f32::INFINITY)],
        [f32::INFINITY, 0.0]
    );
    assert_eq!([exp(inf), exp(-inf)], [inf, 0.0]);
    assert_eq!([expm1(-inf), tanh(-inf)], [-1.0, -1.0]);
    assert!(exp(f32::NAN).is_nan() && tanh(nan).is_nan() && erf(nan).is_nan());
}

#[test]
fn results_below_the_normal_numbers_are_gradual() {
    let x = -100f32;
    let exact = f64::from(x).exp() as f32;
    assert!((exp(x) - exact).abs() <= f32::from_bits(1));
    assert!((log(exact) - x).abs() < 0.02);
    assert!((exp(-740f64) - (-740f64).exp()).abs() <= 5e-324);
}

#[test]
fn the_sign_of_zero_chooses_the_side_of_a_cut() {
    let at = |re, im| Complex64::new(re, im);
    for (function, z, side) in [
        (
            complex::log as fn(Complex64) -> Complex64,
            at(-2.0, 0.0),
            1.0,
        ),
        (complex::sqrt, at(-2.0, 0.0), 1.0),
        (complex::acosh, at(-2.0, 0.0), 1.0),
        (complex::asin, at(2.0, 0.0), 1.0),
        (complex::acos, at(2.0, 0.0), -1.0),
        (complex::atanh, at(2.0, 0.0), 1.0),
        (complex::log1p, at(-3.0, 0.0), 1.0),
    ] {
        let above = function(z);
        let below = function(z.conj());
        assert_eq!(below, above.conj(), "{z}");
        assert!(above.im * side > 0.0, "{z}: {above}");
    }
    for function in [complex::asinh, complex::atan] {
        let right = function(at(0.0, 2.0));
        let left = function(at(-0.0, 2.0));
        assert_eq!((left.re, left.im), (-right.re, right.im));
        assert!(right.re > 0.0);
    }
    assert_eq!(at(0.0, 0.0).power(at(0.0, 0.0)), at(1.0, 0.0));
    assert_eq!(at(0.0, 0.0).power(at(2.0, 0.0)), at(0.0, 0.0));
    assert_eq!(complex::sqrt(at(1e300, f64::INFINITY)).re, f64::INFINITY);
    assert!(complex::tanh(at(400.0, 1.0)).re == 1.0);
    assert!(complex::exp(at(710.0, 1.5)).re.is_finite());
}

#[test]
fn the_next_number_is_one_step_away() {
    use half::{bf16, f16};
    assert_eq!(f32::next_after(1.0, 2.0), 1.0 + f32::EPSILON);
    assert_eq!(f32::next_after(-1.0, 0.0), -1.0 + f32::EPSILON / 2.0);
    assert_eq!(f64::next_after(0.0, -1.0), -5e-324);
    assert_eq!(f64::next_after(f64::MAX, f64::INFINITY), f64::INFINITY);
    assert_eq!(f32::next_after(f32::INFINITY, 0.0), f32::MAX);
    assert!(f32::next_after(0.0, -0.0).is_sign_negative());
    assert!(f32::next_after(f32::NAN, 1.0).is_nan());
    assert_eq!(
        f16::next_after(f16::NEG_ONE, f16::ZERO).to_f32(),
        -0.999_511_7
    );
    assert_eq!(
        bf16::next_after(bf16::NEG_ONE, bf16::ZERO).to_f32(),
        -0.996_093_75
    );
}

/// C99's Annex G: what is infinite or zero stays so, whatever NaNs the schoolbook's formula has.
#[test]
fn quotients_keep_infinities_and_zeros() {
    use num_complex::Complex64;
    let c = Complex64::new;
    let (infinity, nan) = (f64::INFINITY, f64::NAN);
    for (x, y, wanted) in [
        (c(1.0, 0.0), c(infinity, nan), c(0.0, 0.0)),
        (c(1.0, 2.0), c(-infinity, infinity), c(0.0, 0.0)),
        (c(infinity, 1.0), c(2.0, 0.0), c(infinity, nan)),
        (c(infinity, infinity), c(1.0, 1.0), c(infinity, nan)),
        (c(1.0, 1.0), c(0.0, 0.0), c(infinity, infinity)),
        (c(1e300, 1e300), c(1e300, 1e300), c(1.0, 0.0)),
        (c(1e-300, 0.0), c(0.0, 1e-300), c(0.0, -1.0)),
        (c(3.0, 4.0), c(1.0, -2.0), c(-1.0, 2.0)),
    ] {
        let z = complex::quotient(x, y);
        let same = |a: f64, b: f64| a == b || b.is_nan();
        assert!(
            same(z.re, wanted.re) && same(z.im, wanted.im),
            "{x} / {y} = {z}"
        );
    }
    for (z, wanted) in [
        (c(0.0, 0.0), c(infinity, nan)),
        (c(-infinity, 1.0), c(0.0, 0.0)),
        (c(4.0, 0.0), c(0.5, 0.0)),
    ] {
        let y = complex::rsqrt(z);
        assert!(
            (y.re - wanted.re).abs() < 1e-15 || y.re == wanted.re,
            "{z}: {y}"
        );
    }
    assert_eq!(complex::logistic(c(-infinity, 1.0)).norm(), 0.0);
    assert_eq!(complex::logistic(c(infinity, 1.0)).re, 1.0);
}
