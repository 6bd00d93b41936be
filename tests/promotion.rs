//! Element types of results, against all that `jax.numpy` gives: each pair of types for each function.

use quaxide::prelude::*;
use std::collections::BTreeMap;

type Binary = fn(&Array, &Array) -> Array;
type Unary = fn(&Array) -> Array;

/// An array of ones of a type by its name; a name with `~` is a number.
fn operand(name: &str) -> Array {
    match name {
        "~i32" => Array::from(1i32),
        "~f32" => Array::from(1f64),
        "~c64" => Array::from_scalar(
            num_complex::Complex::new(1f64, 0.0).into(),
            DType::C64,
            true,
        ),
        name => {
            let dtype = DType::from_name(name).unwrap_or_else(|| panic!("no type {name}"));
            Array::ones([2], dtype)
        }
    }
}

/// The name of a result's type; `-` of a refusal.
fn kind(x: &Array) -> String {
    match x.aval() {
        Ok(a) => format!(
            "{}{}",
            if a.weak_type { "~" } else { "" },
            a.dtype.short_name()
        ),
        Err(_) => "-".into(),
    }
}

fn binary() -> Vec<(&'static str, Binary)> {
    vec![
        ("add", |x, y| x + y),
        ("sub", |x, y| x - y),
        ("mul", |x, y| x * y),
        ("div", |x, y| x / y),
        ("pow", |x, y| x.pow(y)),
        ("floor_divide", |x, y| x.floor_divide(y)),
        ("modulo", |x, y| x.modulo(y)),
        ("fmod", |x, y| x.fmod(y)),
        ("maximum", |x, y| x.maximum(y)),
        ("arctan2", |x, y| x.arctan2(y)),
        ("logaddexp", |x, y| x.logaddexp(y)),
        ("hypot", |x, y| x.hypot(y)),
        ("float_power", |x, y| x.float_power(y)),
        ("copysign", |x, y| x.copysign(y)),
        ("heaviside", |x, y| x.heaviside(y)),
        ("eq", |x, y| x.eq(y)),
        ("lt", |x, y| x.lt(y)),
        ("and", |x, y| x & y),
        ("shl", |x, y| x << y),
        ("shr", |x, y| x >> y),
        ("gcd", |x, y| x.gcd(y)),
        ("logical_and", |x, y| x.logical_and(y)),
        ("select", |x, y| Array::from([true, false]).select(x, y)),
        ("dot", |x, y| x.dot(y)),
    ]
}

fn unary() -> Vec<(&'static str, Unary)> {
    vec![
        ("neg", |x| -x),
        ("abs", |x| x.abs()),
        ("sign", |x| x.sign()),
        ("square", |x| x.square()),
        ("floor", |x| x.floor()),
        ("round", |x| x.round(0)),
        ("sin", |x| x.sin()),
        ("sqrt", |x| x.sqrt()),
        ("exp2", |x| x.exp2()),
        ("log2", |x| x.log2()),
        ("reciprocal", |x| x.reciprocal()),
        ("sinc", |x| x.sinc()),
        ("deg2rad", |x| x.deg2rad()),
        ("isfinite", |x| x.is_finite()),
        ("signbit", |x| x.signbit()),
        ("trunc", |x| x.trunc()),
        ("real", |x| x.real()),
        ("angle", |x| x.angle()),
        ("nan_to_num", |x| x.nan_to_num(0.0)),
        ("i0", |x| x.i0()),
        ("sum", |x| x.sum(())),
        ("prod", |x| x.prod(())),
        ("mean", |x| x.mean(())),
        ("var", |x| x.var(())),
        ("max", |x| x.max(())),
        ("any", |x| x.any(())),
        ("ptp", |x| x.ptp(())),
        ("cumsum", |x| x.ravel().cumsum(0)),
        ("median", |x| x.median(())),
        ("nansum", |x| x.nansum(())),
        ("nanmean", |x| x.nanmean(())),
        ("diff", |x| x.diff(1, -1)),
        ("logsumexp", |x| nn::logsumexp(x, ())),
        ("relu", nn::relu),
        ("softmax", |x| nn::softmax(x, -1)),
        ("gelu", nn::gelu),
        ("softplus", nn::softplus),
        ("norm", |x| linalg::norm(x)),
    ]
}

#[test]
fn element_types_of_results_are_those_of_jax() {
    let text = include_str!("golden/promotion.txt");
    let lines: Vec<Vec<&str>> = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| l.split(' ').collect())
        .collect();
    let names = &lines[0][1..];
    let operands: BTreeMap<&str, Array> = names.iter().map(|n| (*n, operand(n))).collect();
    let (binary, unary) = (binary(), unary());
    let (mut compared, mut wrong) = (0, vec![]);
    let mut compare = |what: String, found: &Array, wanted: &str| {
        // JAX has weak bools; they behave as strong ones.
        let found = kind(found);
        compared += usize::from(wanted != "?");
        if wanted != "?" && found != wanted {
            wrong.push(format!("{what}: {found}, not {wanted}"));
        }
    };
    for line in &lines[1..] {
        if let Some((name, f)) = binary.iter().find(|(n, _)| *n == line[0]) {
            for (right, wanted) in names.iter().zip(&line[2..]) {
                let y = f(&operands[line[1]], &operands[right]);
                compare(format!("{name} {} {right}", line[1]), &y, wanted);
            }
        } else {
            let (name, f) = unary
                .iter()
                .find(|(n, _)| *n == line[0])
                .unwrap_or_else(|| panic!("no function `{}`", line[0]));
            for (x, wanted) in names.iter().zip(&line[1..]) {
                compare(format!("{name} {x}"), &f(&operands[x]), wanted);
            }
        }
    }
    assert!(compared > 7800, "{compared}");
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
