//! Primitives by what they do to the elements: for types that treat a whole family alike.

use crate::{
    array::Array,
    dispatch::{ArrayValue, RuleOperand, Rules},
    error::Result,
    trace::op::Op,
};

/// One rule for every primitive that moves, maps, combines or accumulates elements, and for some others.
#[track_caller]
pub(super) fn all<T: RuleOperand>(
    r: &mut Rules,
    others: &[&'static str],
    rule: fn(&Op, &[&Array]) -> Result<Vec<Array>>,
) {
    let families = [
        MOVING,
        IDENTITY,
        ELEMENTWISE_UNARY,
        ELEMENTWISE_NARY,
        REDUCTIONS,
        CUMULATIVE,
        others,
    ];
    for family in families {
        r.family::<T, _>(family, rule);
    }
}

/// What a value that wraps an array is made of, and what stands for a plain array in its place.
pub(super) fn apart<T: ArrayValue, P>(
    x: &Array,
    wrapped: impl FnOnce(&T) -> P,
    plain: impl FnOnce(&Array) -> P,
) -> P {
    match x.value::<T>() {
        Some(v) => wrapped(v),
        None => plain(x),
    }
}

/// A value that was checked, as an array.
pub(super) fn array<T: ArrayValue>(v: Result<T>) -> Result<Array> {
    v.map(Array::from_value)
}

/// Move elements, or leave some out: the first operand holds them, the others (if any) say where.
pub(super) const MOVING: &[&str] = &[
    "broadcast_in_dim",
    "dynamic_slice",
    "gather",
    "reshape",
    "rev",
    "slice",
    "split",
    "squeeze",
    "tile",
    "transpose",
    "unstack",
];

/// The identity as far as values go.
pub(super) const IDENTITY: &[&str] = &["component", "copy", "stop_gradient"];

/// Functions of one number.
pub(super) const ELEMENTWISE_UNARY: &[&str] = &[
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bessel_i0e",
    "bessel_i1e",
    "cbrt",
    "ceil",
    "clz",
    "conj",
    "convert_element_type",
    "cos",
    "cosh",
    "digamma",
    "erf",
    "erf_inv",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "imag",
    "integer_pow",
    "is_finite",
    "lgamma",
    "log",
    "log1p",
    "logistic",
    "neg",
    "not",
    "population_count",
    "real",
    "reduce_precision",
    "round",
    "rsqrt",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
];

/// Functions of several numbers, element by element; an operand of rank 0 stands for every element.
pub(super) const ELEMENTWISE_NARY: &[&str] = &[
    "add",
    "and",
    "atan2",
    "complex",
    "div",
    "eq",
    "eq_to",
    "ge",
    "gt",
    "igamma",
    "igamma_grad_a",
    "igammac",
    "le",
    "le_to",
    "lt",
    "lt_to",
    "max",
    "min",
    "mul",
    "mulhi",
    "ne",
    "nextafter",
    "or",
    "polygamma",
    "pow",
    "random_gamma_grad",
    "regularized_incomplete_beta",
    "rem",
    "shift_left",
    "shift_right_arithmetic",
    "shift_right_logical",
    "sub",
    "xor",
    "zeta",
];

/// Combine the elements along axes.
pub(super) const REDUCTIONS: &[&str] = &[
    "argmax",
    "argmin",
    "reduce_and",
    "reduce_max",
    "reduce_min",
    "reduce_or",
    "reduce_prod",
    "reduce_sum",
    "reduce_xor",
];

/// Combine the elements before each along an axis.
pub(super) const CUMULATIVE: &[&str] = &["cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"];
