//! Programs of one primitive print as `jax.make_jaxpr` prints them, character for character.

use quaxide::{
    Dims, linalg,
    op::{self, Binary, Factor, FftType, Linalg, Op, Reducer, RoundingMethod, Unary, Window},
    prelude::*,
    trace::{bind, bind_all},
};
use std::collections::BTreeMap;

fn golden() -> BTreeMap<&'static str, &'static str> {
    let text = include_str!("golden/primitive_jaxprs.txt");
    let cases = text.split("== ").skip(1).filter_map(|c| c.split_once('\n'));
    cases
        .map(|(name, body)| (name, body.trim_end_matches('\n')))
        .collect()
}

fn d(x: &[usize]) -> Dims {
    x.into()
}

fn of(op: impl Into<Op>, x: &[&Array]) -> Result<Vec<Array>> {
    let x: Vec<Array> = x.iter().map(|x| (*x).clone()).collect();
    bind_all(op, &x)
}

fn reduce(reducer: Reducer, axes: &[usize], x: &Array) -> Result<Vec<Array>> {
    let axes = d(axes);
    of(op::Reduce { reducer, axes }, &[x])
}

fn results(name: &str, x: &Array) -> Result<Vec<Array>> {
    let integers = || x.astype(DType::I32);
    let complexes = || bind(Binary::Complex, &[x, x]);
    let zero = Array::scalar(0f32);
    let slice = |to: &[usize]| {
        let op = op::Slice {
            start_indices: d(&[0, 0]),
            limit_indices: d(to),
            strides: None,
        };
        bind(op, &[x])
    };
    let window = |sizes: [usize; 2], strides: [usize; 2]| Window::new(&sizes[..], &strides[..]);
    let rows = op::ScatterDimensionNumbers {
        update_window_dims: d(&[1]),
        inserted_window_dims: d(&[0]),
        scatter_dims_to_operand_dims: d(&[0]),
        ..Default::default()
    };
    let at = Array::from([[1i32], [3]]);
    let one = |y: Array| Ok(vec![y]);
    match name {
        "split" => of(
            op::SplitAlong {
                axis: 0,
                sizes: d(&[1, 3]),
            },
            &[x],
        ),
        "stack" => of(op::Stack { axis: 1 }, &[x, x]),
        "unstack" => of(op::Unstack { axis: 1 }, &[x]),
        "tile" => of(op::Tile { reps: d(&[2, 3]) }, &[x]),
        "copy" => of(op::Copied, &[x]),
        "optimization_barrier" => of(op::OptimizationBarrier, &[x, x]),
        "reduce_precision" => of(
            Unary::ReducePrecision {
                exponent_bits: 5,
                mantissa_bits: 3,
            },
            &[x],
        ),
        "round_even" => of(Unary::Round(RoundingMethod::ToNearestEven), &[x]),
        "exp2" => of(Unary::Exp2, &[x]),
        "mulhi" => of(Binary::Mulhi, &[&integers(), &integers()]),
        "shifts" => of(Binary::ShiftRightLogical, &[&integers(), &integers()]),
        "fft" => one(complexes().lax_fft(FftType::Fft, [4, 4])),
        "rfft" => one(x.lax_fft(FftType::Rfft, [4])),
        "irfft" => one(complexes().lax_fft(FftType::Irfft, [6])),
        "rng_bit_generator" => {
            let row = slice(&[1, 4]).squeeze(0).astype(DType::U32);
            let op = op::RngBitGenerator {
                algorithm: op::RandomAlgorithm::Default,
                dtype: DType::U32,
                shape: d(&[5]),
            };
            of(op, &[&row])
        }
        "reduce_sum" => reduce(Reducer::Sum, &[0], x),
        "reduce_prod" => reduce(Reducer::Prod, &[0], x),
        "reduce_max" => reduce(Reducer::Max, &[0, 1], x),
        "reduce_and" => reduce(Reducer::And, &[0], &integers()),
        "reduce_xor" => reduce(Reducer::Xor, &[1], &integers()),
        "argmin" => reduce(Reducer::Argmin(DType::I32), &[1], x),
        "cummax" | "cumlogsumexp" => {
            let (kind, reverse) = match name {
                "cummax" => (op::CumulativeKind::Max, true),
                _ => (op::CumulativeKind::LogSumExp, false),
            };
            let op = op::Cumulative {
                kind,
                axis: 0,
                reverse,
            };
            of(op, &[x])
        }
        "reduce_window" => op::reduce_window(&[x], &[&zero], window([1, 2], [1, 2]), |a, b| {
            vec![&a[0] * &b[0] + 1.0]
        }),
        "reduce_window_max" => {
            let window = Window {
                padding: [(0, 1), (0, 0)].into_iter().collect(),
                ..window([2, 2], [1, 2])
            };
            let reducer = op::WindowReducer::Max;
            of(op::ReduceWindow { reducer, window }, &[x])
        }
        "select_and_scatter" => {
            let source = slice(&[4, 2]);
            let w = window([1, 2], [1, 2]);
            one(op::select_and_scatter(
                x,
                &source,
                &zero,
                w,
                Binary::Ge,
                |a, b| a + b,
            )?)
        }
        "scatter_apply" => {
            let set = op::Scatter::new(op::ScatterKind::Set, rows);
            one(x.scatter_apply(&at, |s| s * 2.0 + 1.0, [2, 4], set))
        }
        "scatter_add" => {
            let add = op::Scatter::new(op::ScatterKind::Add, rows);
            one(x.scatter(&at, &slice(&[2, 4]), add))
        }
        "igamma" => of(Binary::Igamma, &[x, x]),
        "betainc" => of(op::Special::RegularizedIncompleteBeta, &[x, x, x]),
        "zeta" => of(op::Special::Zeta, &[x, x]),
        "polygamma" => of(op::Special::Polygamma, &[x, x]),
        "bessel" => one(x.bessel_i0e().bessel_i1e()),
        "eig" => {
            let [w, v] = linalg::eig(x)?;
            Ok(vec![w, v])
        }
        "hessenberg" => of(Factor::Hessenberg, &[x]),
        "tridiagonal" => of(Factor::Tridiagonal { lower: true }, &[x]),
        "householder_product" => {
            let taus = reduce(Reducer::Max, &[0], x)?;
            of(Factor::HouseholderProduct, &[x, &taus[0]])
        }
        "symmetric_product" => of(
            Factor::SymmetricProduct {
                alpha: 2.0,
                beta: 0.0,
            },
            &[x, x],
        ),
        "triangular_solve" => {
            let how = op::TriangularSolve {
                conjugate_a: false,
                left_side: true,
                lower: true,
                transpose_a: false,
                unit_diagonal: false,
            };
            of(Linalg::TriangularSolve(how), &[x, x])
        }
        "lu" => of(Linalg::Lu, &[x]),
        "svd" => {
            let op = Linalg::Svd {
                compute_uv: true,
                full_matrices: false,
            };
            let y = of(op, &[x])?;
            Ok(vec![y[0].clone()])
        }
        "qr" | "qr_pivoting" => {
            let pivoting = name == "qr_pivoting";
            let op = Linalg::Qr {
                full_matrices: pivoting,
                pivoting,
            };
            of(op, &[x])
        }
        "ragged_dot" => {
            let groups = lax::reshape(x, [2, 4, 2]);
            one(lax::ragged_dot(x, &groups, &Array::from([1i32, 2])))
        }
        "ragged_dot_contracting" => {
            let how = op::RaggedDotGeneral {
                dot: op::DotGeneral::new(([0], [0]), ((), ())).precision(op::Precision::Highest),
                lhs_ragged: 0,
                rhs_group: None,
            };
            one(lax::ragged_dot_general(x, x, &Array::from([1i32, 2]), how))
        }
        _ => panic!("`{name}` has no case"),
    }
}

#[test]
fn primitives_print_as_jax_prints_them() {
    let x = Array::ones([4, 4], DType::F32);
    let mut wrong = vec![];
    for (name, wanted) in golden() {
        let found = make_jaxpr(|x: &Array| results(name, x))(&x).map(|j| j.to_string());
        let found = found.unwrap_or_else(|e| e.to_string());
        if found != wanted {
            wrong.push(format!("{name}:\n{found}\njax:\n{wanted}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
