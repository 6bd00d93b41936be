//! Every elementwise primitive on numbers where functions are special, in every element type: no panic, and the interpreters
//! agree to the bit. What JAX gives there is asked by `tests/golden/against_jax.py --kind edges`.

use quaxide::{
    interp::{Interpreter, run},
    op::NAMES,
    prelude::*,
};
use std::collections::BTreeSet;

const FLOATS: [f64; 28] = [
    0.0,
    -0.0,
    0.5,
    -0.5,
    1.0,
    -1.0,
    1.5,
    -1.5,
    2.0,
    -2.5,
    3.0,
    -3.0,
    7.25,
    -11.5,
    30.0,
    -80.0,
    200.0,
    1e-3,
    6e-8,
    1e4,
    -6e4,
    1e-30,
    3e38,
    1e300,
    1e-310,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];
const WHOLE: [i64; 17] = [
    i64::MIN,
    i64::MIN + 1,
    i32::MIN as i64,
    -128,
    -2,
    -1,
    0,
    1,
    2,
    3,
    7,
    31,
    63,
    64,
    127,
    i32::MAX as i64,
    i64::MAX,
];

/// What is not tried here, and why; the random programs of `tests/random_programs.rs` hold all of it, on odd numbers too.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "moves elements and computes nothing",
        "broadcast_in_dim component concatenate dynamic_slice dynamic_update_slice gather iota pad reshape rev scatter slice split
         squeeze stack tile transpose unstack",
    ),
    (
        "combines elements of an axis, in an order that an interpreter may choose",
        "argmax argmin cumlogsumexp cummax cummin cumprod cumsum reduce reduce_and reduce_max reduce_min reduce_or reduce_prod
         reduce_sum reduce_window reduce_window_max reduce_window_min reduce_window_prod reduce_window_sum reduce_xor scatter-add
         scatter-max scatter-min scatter-mul scatter-sub select_and_gather_add select_and_scatter select_and_scatter_add sort top_k",
    ),
    (
        "sums products",
        "conv_general_dilated dot_general fft ragged_dot_general symmetric_product",
    ),
    (
        "takes matrices",
        "cholesky cholesky_update eig eigh geqp3 geqrf hessenberg householder_product lu lu_pivots_to_permutation ormqr qr schur
         svd triangular_solve tridiagonal tridiagonal_solve",
    ),
    (
        "takes keys or states of generators",
        "random_gamma rng_bit_generator threefry2x32",
    ),
    (
        "holds programs",
        "cond custom_jvp_call custom_linear_solve custom_vjp_call jit remat2 scan while",
    ),
    (
        "means an axis of `vmap`",
        "all_gather all_to_all axis_index pbroadcast pmax pmin ppermute psum reduce_scatter",
    ),
];

/// Parameters of those that have some, one text for each way.
fn parameters(name: &str) -> Vec<String> {
    let each = |all: &[&str]| all.iter().map(|p| format!("[{p}]")).collect();
    match name {
        "round" => each(&["rounding_method=0", "rounding_method=1"]),
        "integer_pow" => each(&["y=-3", "y=-1", "y=0", "y=1", "y=2", "y=5", "y=31"]),
        "reduce_precision" => each(&[
            "exponent_bits=5 mantissa_bits=10",
            "exponent_bits=8 mantissa_bits=7",
            "exponent_bits=2 mantissa_bits=1",
            "exponent_bits=11 mantissa_bits=52",
        ]),
        "convert_element_type" => DType::ALL
            .iter()
            .map(|d| format!("[new_dtype={} weak_type=False]", d.name()))
            .collect(),
        "bitcast_convert_type" => DType::ALL
            .iter()
            .map(|d| format!("[new_dtype={}]", d.name()))
            .collect(),
        _ => vec![String::new()],
    }
}

/// The numbers in an element type.
fn numbers(dtype: DType) -> Array {
    match dtype {
        DType::Bool => Array::from(vec![false, true]),
        d if d.is_integer() => Array::from(WHOLE.to_vec()).astype(d),
        d if d.is_complex() => {
            let some = Array::from(FLOATS.iter().step_by(2).copied().collect::<Vec<_>>());
            let n = some.shape()[0];
            let re = some.broadcast_in_dim([n, n], [0]).reshape([n * n]);
            let im = some.broadcast_in_dim([n, n], [1]).reshape([n * n]);
            lax::complex(&re, &im).astype(d)
        }
        d => Array::from(FLOATS.to_vec()).astype(d),
    }
}

/// Every number beside every other.
fn pairs(x: &Array) -> [Array; 2] {
    let n = x.shape()[0];
    [0, 1].map(|i| x.broadcast_in_dim([n, n], [i]).reshape([n * n]))
}

/// The primitive on operands of these types, if it takes such ones: an equation whose result is of one of the element types.
fn program(name: &str, parameters: &str, operands: &[Array]) -> Option<Jaxpr> {
    let names = ["a", "b", "c"];
    let typed = |(x, name): (&Array, &&str)| format!("{name}:{}", x.aval().unwrap());
    let inputs: Vec<String> = operands.iter().zip(&names).map(typed).collect();
    let shape = operands[0].aval().unwrap();
    let result = |d: DType| {
        let y = shape.with_dtype(d);
        let used = names[..operands.len()].join(" ");
        format!(
            "{{ lambda ; {}. let y:{y} = {name}{parameters} {used} in (y,) }}",
            inputs.join(" ")
        )
    };
    DType::ALL.into_iter().find_map(|d| result(d).parse().ok())
}

/// Equal to the bit, but that a NaN is a NaN.
fn same(a: &Array, b: &Array) -> bool {
    format!("{a:?}") == format!("{b:?}") && a.aval().unwrap().same_type(&b.aval().unwrap())
}

#[test]
fn primitives_are_defined_everywhere() {
    let mut met = BTreeSet::new();
    for dtype in DType::ALL {
        let x = numbers(dtype);
        let [a, b] = pairs(&x);
        let which = lax::rev(&b, [0]).astype(DType::Bool);
        let operands = [
            vec![x.clone()],
            vec![a.clone(), b.clone()],
            vec![a.clone(), b.clone(), lax::rev(&a, [0])],
            vec![which, a, b],
        ];
        for name in NAMES {
            for x in &operands {
                for p in parameters(name) {
                    let Some(j) = program(name, &p, x) else {
                        continue;
                    };
                    met.insert(*name);
                    let [wanted, found] =
                        [Interpreter::Reference, Interpreter::Compiled].map(|way| {
                            run(&j, x, way)
                                .unwrap_or_else(|e| panic!("{j}: {e}"))
                                .remove(0)
                        });
                    assert!(same(&wanted, &found), "{j}\n{wanted:?}\n{found:?}");
                    let jitted = jit(|x: &Vec<Array>| j.eval(x).map(|mut y| y.remove(0)))(x);
                    assert!(same(&wanted, &jitted.unwrap()), "{j}");
                }
            }
        }
    }
    let elsewhere = ELSEWHERE
        .iter()
        .flat_map(|(_, names)| names.split_whitespace());
    let elsewhere: BTreeSet<&str> = elsewhere.collect();
    let all: BTreeSet<&str> = NAMES.iter().copied().collect();
    let twice: Vec<_> = met.intersection(&elsewhere).collect();
    assert!(twice.is_empty(), "tried here after all: {twice:?}");
    let both: BTreeSet<&str> = met.union(&elsewhere).copied().collect();
    let missing: Vec<_> = all.symmetric_difference(&both).collect();
    assert!(missing.is_empty(), "neither tried nor listed: {missing:?}");
}
