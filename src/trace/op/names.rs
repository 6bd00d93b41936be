//! The names of all primitives.

/// The name of every primitive that the crate has, in alphabetical order.
pub const NAMES: &[&str] = &[
    "abs",
    "acos",
    "acosh",
    "add",
    "all_gather",
    "all_to_all",
    "and",
    "argmax",
    "argmin",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "axis_index",
    "bessel_i0e",
    "bessel_i1e",
    "bitcast_convert_type",
    "broadcast_in_dim",
    "cbrt",
    "ceil",
    "cholesky",
    "cholesky_update",
    "clamp",
    "clz",
    "complex",
    "component",
    "concatenate",
    "cond",
    "conj",
    "conv_general_dilated",
    "convert_element_type",
    "copy",
    "cos",
    "cosh",
    "cumlogsumexp",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "custom_jvp_call",
    "custom_linear_solve",
    "custom_vjp_call",
    "digamma",
    "div",
    "dot_general",
    "dynamic_slice",
    "dynamic_update_slice",
    "eig",
    "eigh",
    "eq",
    "eq_to",
    "erf",
    "erf_inv",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "fft",
    "floor",
    "gather",
    "ge",
    "geqp3",
    "geqrf",
    "gt",
    "hessenberg",
    "householder_product",
    "igamma",
    "igamma_grad_a",
    "igammac",
    "imag",
    "integer_pow",
    "iota",
    "is_finite",
    "jit",
    "le",
    "le_to",
    "lgamma",
    "log",
    "log1p",
    "logistic",
    "lt",
    "lt_to",
    "lu",
    "lu_pivots_to_permutation",
    "max",
    "min",
    "mul",
    "mulhi",
    "ne",
    "neg",
    "nextafter",
    "not",
    "optimization_barrier",
    "or",
    "ormqr",
    "pad",
    "pbroadcast",
    "pmax",
    "pmin",
    "polygamma",
    "population_count",
    "pow",
    "ppermute",
    "psum",
    "qr",
    "ragged_dot_general",
    "random_gamma",
    "random_gamma_grad",
    "real",
    "reduce",
    "reduce_and",
    "reduce_max",
    "reduce_min",
    "reduce_or",
    "reduce_precision",
    "reduce_prod",
    "reduce_scatter",
    "reduce_sum",
    "reduce_window",
    "reduce_window_max",
    "reduce_window_min",
    "reduce_window_prod",
    "reduce_window_sum",
    "reduce_xor",
    "regularized_incomplete_beta",
    "rem",
    "remat2",
    "reshape",
    "rev",
    "rng_bit_generator",
    "round",
    "rsqrt",
    "scan",
    "scatter",
    "scatter-add",
    "scatter-max",
    "scatter-min",
    "scatter-mul",
    "scatter-sub",
    "schur",
    "select_and_gather_add",
    "select_and_scatter",
    "select_and_scatter_add",
    "select_n",
    "shift_left",
    "shift_right_arithmetic",
    "shift_right_logical",
    "sign",
    "sin",
    "sinh",
    "slice",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "stop_gradient",
    "sub",
    "svd",
    "symmetric_product",
    "tan",
    "tanh",
    "threefry2x32",
    "tile",
    "top_k",
    "transpose",
    "triangular_solve",
    "tridiagonal",
    "tridiagonal_solve",
    "unstack",
    "while",
    "xor",
    "zeta",
];

/// The names of those that hold programs.
pub const PROGRAMS_INSIDE: &[&str] = &[
    "cond",
    "custom_jvp_call",
    "custom_linear_solve",
    "custom_vjp_call",
    "jit",
    "remat2",
    "scan",
    "while",
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    fn collect(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            // Examples name primitives of their own.
            let code = |l: &&str| !l.trim_start().starts_with("///");
            let text = text.lines().filter(code).collect::<Vec<_>>().join("\n");
            let constant = |name: &str| {
                let of = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                !name.is_empty() && name.chars().all(of)
            };
            for statement in text.split(';') {
                let Some((left, right)) = statement.rsplit_once(" = ") else {
                    continue;
                };
                let token = left.contains(": Prim<")
                    || constant(left.trim().rsplit([' ', '\n']).next().unwrap());
                let name = right
                    .strip_prefix("Prim::new(")
                    .unwrap_or(right)
                    .trim_end_matches(')');
                let name = name.strip_prefix('"').and_then(|n| n.strip_suffix('"'));
                if let (true, Some(name)) = (token, name) {
                    found.insert(name.to_string());
                }
            }
        }
    }

    #[test]
    fn the_names_are_those_of_the_tokens() {
        let mut found = BTreeSet::new();
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/trace/op");
        collect(&dir, &mut found);
        let listed: Vec<String> = super::NAMES.iter().map(|n| n.to_string()).collect();
        assert_eq!(listed, found.into_iter().collect::<Vec<_>>());
    }
}
