//! An application of every primitive to small operands.

use super::families::FAMILIES;
use quaxide::{
    linalg,
    op::{
        self, Across, Binary, Collective, Component, ConvDimensionNumbers, ConvGeneralDilated,
        ConvertElementType, Cumulative, CumulativeKind, DotGeneral, Exchange, Factor, Fft, FftType,
        Gather, GatherDimensionNumbers, GatherScatterMode, Linalg, Op, Parts, Reduce, ReduceWindow,
        Reducer, RngBitGenerator, RoundingMethod, Scatter, ScatterDimensionNumbers, ScatterKind,
        Special, TriangularSolve, Unary, Window, WindowReducer,
    },
    prelude::*,
    transform::{Map, TransposeSolve, custom_linear_solve},
};

/// A primitive with its parameters, and operands for it.
pub struct Case {
    pub op: Op,
    pub operands: Vec<Array>,
    /// The operands that are elements, not places: those that a value may stand for.
    pub elements: Vec<usize>,
}

impl Case {
    fn new(op: impl Into<Op>, operands: &[&Array], elements: &[usize]) -> Case {
        Case {
            op: op.into(),
            operands: operands.iter().map(|x| (*x).clone()).collect(),
            elements: elements.to_vec(),
        }
    }

    pub fn name(&self) -> &'static str {
        self.op.name()
    }
}

/// The functions of one number that have parameters.
const UNARY: &[Unary] = &[
    Unary::Round(RoundingMethod::AwayFromZero),
    Unary::ReducePrecision {
        exponent_bits: 5,
        mantissa_bits: 7,
    },
];

/// A matrix of numbers between 0 and 1 that is well conditioned.
fn matrix() -> Array {
    let number = |k: usize| match k % 5 {
        0 => 0.9,
        _ => 0.05 + ((k * 7) % 16) as f32 / 64.0,
    };
    Array::new([4, 4], (0..16).map(number).collect::<Vec<f32>>())
}

/// The only equation of a function whose operands are these, as a case.
fn traced(
    kind: &str,
    x: &[&Array],
    f: impl Fn(&[Array]) -> Result<Vec<Array>> + Send + Sync,
) -> Result<Case> {
    let x: Vec<Array> = x.iter().map(|x| (*x).clone()).collect();
    let program = make_jaxpr(|x: &Vec<Array>| f(x))(&x)?;
    let found = program.eqns().iter().find(|e| e.op.kind() == kind);
    let missing = || Error::internal(format!("no {kind} in\n{program}"));
    let equation = found.ok_or_else(missing)?;
    let argument = |a: &quaxide::trace::Atom| {
        let v = a.var()?;
        program.invars().iter().position(|i| *i == v)
    };
    let (mut operands, mut elements) = (vec![], vec![]);
    for (i, a) in equation.inputs.iter().enumerate() {
        match (argument(a), a) {
            (Some(k), _) => {
                operands.push(x.get(k).ok_or_else(missing)?.clone());
                elements.push(i);
            }
            (None, quaxide::trace::Atom::Lit(l)) => operands.push(l.array()),
            (None, _) => return Err(missing()),
        }
    }
    Ok(Case {
        op: equation.op.clone(),
        operands,
        elements,
    })
}

fn d(x: &[usize]) -> quaxide::Dims {
    x.into()
}

fn elementwise(x: &Array) -> Vec<Case> {
    let mut all = vec![];
    let above = x + 1;
    let z = x.astype(DType::C64);
    let bits = (x * 50).astype(DType::I32);
    let small = bits.t() % 8;
    for u in Unary::PLAIN.iter().chain(UNARY) {
        let x = match u {
            Unary::Acosh => &above,
            Unary::Real | Unary::Imag | Unary::Conj => &z,
            Unary::Not | Unary::PopulationCount | Unary::Clz => &bits,
            _ => x,
        };
        all.push(Case::new(*u, &[x], &[0]));
    }
    for b in Binary::PLAIN {
        let (x, y) = match b {
            Binary::And
            | Binary::Or
            | Binary::Xor
            | Binary::Mulhi
            | Binary::ShiftLeft
            | Binary::ShiftRightLogical
            | Binary::ShiftRightArithmetic => (&bits, &small),
            _ => (x, &x.t()),
        };
        all.push(Case::new(*b, &[x, y], &[0, 1]));
    }
    let two = [
        Special::Zeta,
        Special::Polygamma,
        Special::IgammaGradA,
        Special::RandomGammaGrad,
    ];
    let t = x.t();
    for s in two {
        all.push(Case::new(s, &[&above, &t], &[0, 1]));
    }
    let beta = Special::RegularizedIncompleteBeta;
    all.push(Case::new(beta, &[&above, &above.t(), x], &[0, 1, 2]));
    all.push(Case::new(op::IntegerPow { y: 3 }, &[x], &[0]));
    let new_dtype = DType::F64;
    let weak_type = false;
    let convert = ConvertElementType {
        new_dtype,
        weak_type,
    };
    all.push(Case::new(convert, &[x], &[0]));
    let chosen = x.gt(0.2);
    all.push(Case::new(op::SelectN, &[&chosen, x, &t], &[1, 2]));
    all.push(Case::new(op::Clamp, &[&(x * 0.5), &t, x], &[0, 1, 2]));
    all.push(Case::new(op::StopGradient, &[x], &[0]));
    all.push(Case::new(op::Copied, &[x], &[0]));
    all.push(Case::new(op::OptimizationBarrier, &[x, &t], &[0, 1]));
    let mark = Component {
        value: u64::MAX,
        field: None,
        allow_materialise: true,
        what: "a component".into(),
    };
    all.push(Case::new(mark, &[x], &[0]));
    all
}

fn moving(x: &Array) -> Vec<Case> {
    let t = x.t();
    let at = |i: i32| Array::scalar(i);
    let zero = Array::zeros((), x.dtype().unwrap_or(DType::F32));
    let numbers = GatherDimensionNumbers {
        offset_dims: d(&[1]),
        collapsed_slice_dims: d(&[0]),
        start_index_map: d(&[0]),
        ..Default::default()
    };
    let rows = Array::from([[2i32], [0]]);
    let gather = Gather::new(numbers, d(&[1, 4])).mode(GatherScatterMode::Clip);
    let new_dtype = DType::U32;
    let part = x.slice_in_dim(0, 2, 0).slice_in_dim(0, 2, 1);
    vec![
        Case::new(
            op::Transpose {
                permutation: d(&[1, 0]),
            },
            &[x],
            &[0],
        ),
        Case::new(
            op::BroadcastInDim {
                shape: d(&[3, 4, 4]),
                broadcast_dimensions: d(&[1, 2]),
            },
            &[x],
            &[0],
        ),
        Case::new(
            op::Reshape {
                new_sizes: d(&[2, 2, 4]),
            },
            &[x],
            &[0],
        ),
        Case::new(
            op::Squeeze {
                dimensions: d(&[0]),
            },
            &[&x.reshape([1, 4, 4])],
            &[0],
        ),
        Case::new(
            op::Slice {
                start_indices: d(&[1, 0]),
                limit_indices: d(&[3, 4]),
                strides: None,
            },
            &[x],
            &[0],
        ),
        Case::new(
            op::DynamicSlice {
                slice_sizes: d(&[2, 4]),
            },
            &[x, &at(1), &at(0)],
            &[0],
        ),
        Case::new(op::DynamicUpdateSlice, &[x, &part, &at(1), &at(2)], &[0, 1]),
        Case::new(op::Concatenate { dimension: 0 }, &[x, &t], &[0, 1]),
        Case::new(op::Stack { axis: 0 }, &[x, &t], &[0, 1]),
        Case::new(op::Unstack { axis: 0 }, &[x], &[0]),
        Case::new(
            op::SplitAlong {
                axis: 0,
                sizes: d(&[1, 3]),
            },
            &[x],
            &[0],
        ),
        Case::new(op::Tile { reps: d(&[2, 1]) }, &[x], &[0]),
        Case::new(
            op::Pad {
                padding_config: vec![(1, 0, 0), (0, 0, 1)],
            },
            &[x, &zero],
            &[0],
        ),
        Case::new(
            op::Rev {
                dimensions: d(&[0]),
            },
            &[x],
            &[0],
        ),
        Case::new(op::BitcastConvertType { new_dtype }, &[x], &[0]),
        Case::new(gather, &[x, &rows], &[0]),
    ]
}

fn reductions(x: &Array) -> Vec<Case> {
    let axes = || d(&[1]);
    let bits = (x * 50).astype(DType::I32);
    let mut all = vec![];
    for reducer in [
        Reducer::Sum,
        Reducer::Prod,
        Reducer::Max,
        Reducer::Min,
        Reducer::Argmax(DType::I32),
        Reducer::Argmin(DType::I32),
    ] {
        let axes = axes();
        all.push(Case::new(Reduce { reducer, axes }, &[x], &[0]));
    }
    for reducer in [Reducer::And, Reducer::Or, Reducer::Xor] {
        let axes = axes();
        all.push(Case::new(Reduce { reducer, axes }, &[&bits], &[0]));
    }
    for kind in [
        CumulativeKind::Sum,
        CumulativeKind::Prod,
        CumulativeKind::Max,
        CumulativeKind::Min,
        CumulativeKind::LogSumExp,
    ] {
        let cumulative = Cumulative {
            kind,
            axis: 0,
            reverse: false,
        };
        all.push(Case::new(cumulative, &[x], &[0]));
    }
    let sort = op::Sort {
        dimension: 1,
        is_stable: true,
        num_keys: 1,
    };
    all.push(Case::new(sort, &[x], &[0]));
    all.push(Case::new(op::TopK { axis: 1, k: 2 }, &[x], &[0]));
    all
}

fn windows(x: &Array) -> Result<Vec<Case>> {
    let zero = &Array::zeros((), x.dtype()?);
    let window = || Window::new([2, 2], [2, 2]);
    let source = x.slice_in_dim(0, 2, 0).slice_in_dim(0, 2, 1);
    let mut all = vec![];
    for reducer in [
        WindowReducer::Sum,
        WindowReducer::Prod,
        WindowReducer::Max,
        WindowReducer::Min,
    ] {
        let window = window();
        all.push(Case::new(ReduceWindow { reducer, window }, &[x], &[0]));
    }
    let (largest, pair) = (true, (x, x.t()));
    all.push(Case::new(
        op::SelectAndGatherAdd {
            largest,
            window: window(),
        },
        &[pair.0, &pair.1],
        &[0, 1],
    ));
    all.push(Case::new(
        op::SelectAndScatterAdd {
            largest,
            window: window(),
        },
        &[&source, x],
        &[0, 1],
    ));
    let sum = |a: &[Array], b: &[Array]| vec![&a[0] + &b[0]];
    all.push(traced("ReduceBy", &[x, zero], |x| {
        op::reduce(&[&x[0]], &[&x[1]], [1], sum)
    })?);
    all.push(traced("ReduceWindowBy", &[x, zero], |x| {
        op::reduce_window(&[&x[0]], &[&x[1]], Window::new([2, 2], [2, 2]), sum)
    })?);
    all.push(traced("SelectAndScatter", &[x, &source, zero], |x| {
        let w = Window::new([2, 2], [2, 2]);
        let y = op::select_and_scatter(&x[0], &x[1], &x[2], w, Binary::Ge, |a, b| a + b)?;
        Ok(vec![y])
    })?);
    let image = x.broadcast_in_dim([1, 4, 4, 4], [2, 3]);
    let kernel = x.broadcast_in_dim([4, 4, 4, 4], [0, 1]);
    let conv = ConvGeneralDilated {
        batch_group_count: 1,
        dimension_numbers: ConvDimensionNumbers {
            lhs_spec: d(&[0, 1, 2, 3]),
            rhs_spec: d(&[0, 1, 2, 3]),
            out_spec: d(&[0, 1, 2, 3]),
        },
        feature_group_count: 1,
        lhs_dilation: d(&[1, 1]),
        padding: [(1, 1), (1, 1)].into_iter().collect(),
        precision: None,
        preferred_element_type: None,
        rhs_dilation: d(&[1, 1]),
        window_strides: d(&[1, 1]),
    };
    all.push(Case::new(conv, &[&image, &kernel], &[0, 1]));
    Ok(all)
}

fn scatters(x: &Array) -> Result<Vec<Case>> {
    let rows = Array::from([[2i32], [0]]);
    let numbers = || ScatterDimensionNumbers {
        update_window_dims: d(&[1]),
        inserted_window_dims: d(&[0]),
        scatter_dims_to_operand_dims: d(&[0]),
        ..Default::default()
    };
    let updates = x.slice_in_dim(1, 3, 0);
    let mut all = vec![];
    for kind in [
        ScatterKind::Set,
        ScatterKind::Add,
        ScatterKind::Sub,
        ScatterKind::Mul,
        ScatterKind::Min,
        ScatterKind::Max,
    ] {
        let mut scatter = Scatter::new(kind, numbers());
        (scatter.dtype, scatter.unique_indices) = (x.dtype()?, true);
        all.push(Case::new(scatter, &[x, &rows, &updates], &[0, 2]));
    }
    Ok(all)
}

fn algebra(x: &Array) -> Vec<Case> {
    let t = x.t();
    let z = x.astype(DType::C64);
    let spd = x.dot(&t) + Array::eye(4, DType::F32);
    let row = x.index(0);
    let dot = DotGeneral::new(([1], [0]), ((), ()));
    let lower = TriangularSolve {
        conjugate_a: false,
        left_side: true,
        lower: true,
        transpose_a: false,
        unit_diagonal: false,
    };
    let fft = Fft {
        fft_type: FftType::Fft,
        fft_lengths: d(&[4]),
    };
    let both = (false, true);
    vec![
        Case::new(dot.clone(), &[x, &t], &[0, 1]),
        Case::new(Linalg::Cholesky, &[&spd], &[0]),
        Case::new(Linalg::TriangularSolve(lower), &[x, &t], &[0, 1]),
        Case::new(
            op::RaggedDotGeneral {
                dot,
                lhs_ragged: 1,
                rhs_group: None,
            },
            &[x, &t, &Array::from([1i32, 2])],
            &[0, 1],
        ),
        Case::new(Linalg::Lu, &[x], &[0]),
        Case::new(
            Linalg::Qr {
                full_matrices: false,
                pivoting: false,
            },
            &[x],
            &[0],
        ),
        Case::new(Linalg::Eigh { lower: true }, &[&spd], &[0]),
        Case::new(
            Linalg::Svd {
                compute_uv: false,
                full_matrices: false,
            },
            &[x],
            &[0],
        ),
        Case::new(
            Factor::Eig {
                left: both.0,
                right: both.1,
            },
            &[x],
            &[0],
        ),
        Case::new(Factor::Hessenberg, &[x], &[0]),
        Case::new(Factor::Schur { vectors: true }, &[&z], &[0]),
        Case::new(Factor::Tridiagonal { lower: true }, &[&spd], &[0]),
        Case::new(
            Factor::TridiagonalSolve,
            &[&row, &(&row + 3.0), &row, x],
            &[0, 1, 2, 3],
        ),
        Case::new(Factor::Geqrf, &[x], &[0]),
        Case::new(Factor::Geqp3, &[x, &Array::zeros([4], DType::I32)], &[0]),
        Case::new(
            Factor::Ormqr {
                left: true,
                transpose: false,
            },
            &[x, &row, &t],
            &[0, 1, 2],
        ),
        Case::new(Factor::HouseholderProduct, &[x, &row], &[0, 1]),
        Case::new(
            Factor::SymmetricProduct {
                alpha: 1.0,
                beta: 1.0,
            },
            &[x, &spd],
            &[0, 1],
        ),
        Case::new(Factor::CholeskyUpdate, &[x, &row], &[0, 1]),
        Case::new(
            Factor::PivotsToPermutation { size: 4 },
            &[&Array::from([1i32, 2, 3, 3])],
            &[0],
        ),
        Case::new(fft, &[&z], &[0]),
    ]
}

fn generators(x: &Array) -> Vec<Case> {
    let words = (x * 50).astype(DType::U32);
    let state = words.index(0);
    let bits = RngBitGenerator {
        algorithm: op::RandomAlgorithm::Default,
        dtype: DType::U32,
        shape: d(&[4]),
    };
    let threefry = [&words.index((0, 0)), &words.index((0, 1)), &words, &words];
    vec![
        Case::new(op::Threefry2x32, &threefry, &[2, 3]),
        Case::new(bits, &[&state], &[0]),
        Case::new(
            op::RandomGamma { log_space: true },
            &[&words.slice_in_dim(0, 2, 1), &x.index(0)],
            &[1],
        ),
    ]
}

fn collectives(x: &Array) -> Vec<Case> {
    let axis = || super::AXIS.into();
    let mut all = vec![];
    for across in [Across::Sum, Across::Max, Across::Min] {
        all.push(Case::new(
            Collective {
                across,
                axis: axis(),
            },
            &[x],
            &[0],
        ));
    }
    let (dimension, tiled) = (0, true);
    for parts in [
        Parts::AllGather { dimension, tiled },
        Parts::AllToAll {
            split_axis: 0,
            concat_axis: 1,
            tiled,
        },
        Parts::Permute { perm: vec![(0, 1)] },
        Parts::ReduceScatter { dimension, tiled },
        Parts::Broadcast { source: 0 },
    ] {
        let exchange = Exchange {
            parts,
            axis: axis(),
            axis_size: super::EXAMPLES,
        };
        all.push(Case::new(exchange, &[x], &[0]));
    }
    all
}

fn programs(x: &Array) -> Vec<Result<Case>> {
    let one = |y: Array| Ok(vec![y]);
    let t = &x.t();
    let step = |x: &Array| lax::rev(x, [0]);
    vec![
        traced("Jit", &[x], |x| one(jit(step)(&x[0])?)),
        traced("Checkpoint", &[x], |x| one(checkpoint(step)(&x[0])?)),
        traced("CustomJvp", &[x], |x| {
            let f = custom_jvp(step, |(x,), (t,)| (lax::rev(x, [0]), lax::rev(t, [0])));
            one(f(&x[0])?)
        }),
        traced("CustomVjp", &[x], |x| {
            let f = custom_vjp(
                step,
                |x: &Array| (lax::rev(x, [0]), Array::scalar(0f32)),
                |_, ct| (lax::rev(ct, [0]),),
            );
            one(f(&x[0])?)
        }),
        traced("Scan", &[x, t], |x| {
            let (carry, ys) = scan(|c, x| (lax::rev(c, [0]), lax::rev(x, [0])), &x[0], &x[1])?;
            Ok(vec![carry, ys])
        }),
        traced("While", &[x, t], |x| {
            let body = |(n, c): &(Array, Array)| (n + 1, lax::rev(c, [0]));
            let start = (Array::scalar(0i32), x[0].clone());
            one(while_loop(|(n, _)| n.lt(3), body, &start)?.1)
        }),
        traced("Cond", &[x], |x| {
            let p = Array::scalar(true);
            one(cond(
                &p,
                |x: &Array| lax::rev(x, [0]),
                |x: &Array| lax::rev(x, [1]),
                &x[0],
            )?)
        }),
        traced("CustomLinearSolve", &[x, &x.index(0)], |x| {
            let (a, b) = (&x[0], &x[1]);
            let solve = |_: &Map<'_, Array>, b: &Array| linalg::solve(a, b);
            let y = custom_linear_solve(|x: &Array| a.dot(x), b, solve, TransposeSolve::None)?;
            one(y)
        }),
    ]
}

/// One case for every primitive that takes operands, on arrays of an element type.
pub fn cases(elements: DType) -> Result<Vec<Case>> {
    let x = match elements.is_integer() {
        true => (matrix() * 50).astype(elements),
        false => matrix().astype(elements),
    };
    let x = &x;
    let mut all = elementwise(x);
    all.extend(moving(x));
    all.extend(reductions(x));
    all.extend(windows(x)?);
    all.extend(scatters(x)?);
    all.extend(algebra(x));
    all.extend(generators(x));
    all.extend(collectives(x));
    for case in programs(x) {
        match case {
            // Some programs are about fractions.
            Err(_) if elements.is_integer() => {}
            case => all.push(case?),
        }
    }
    let place = |c: &Case| {
        let order = FAMILIES.iter().flat_map(|(_, names)| names.iter());
        order
            .clone()
            .position(|n| *n == c.name())
            .unwrap_or(usize::MAX)
    };
    all.sort_by_key(place);
    Ok(all)
}
