//! What the generator must know of a primitive: where its derivative exists, and whether small errors stay small.

use quaxide::{
    op::{self, Op, Primitive},
    prelude::*,
};

#[derive(Clone, Copy, Debug)]
pub struct Nature {
    /// Is it differentiable wherever the generator uses it?
    pub smooth: bool,
    /// Do small changes of its operands make small changes of its results?
    pub steady: bool,
    /// May two ways to compute it round differently?
    pub rounds: bool,
}

const SMOOTH: Nature = Nature {
    smooth: true,
    steady: true,
    rounds: false,
};
const KINK: Nature = Nature {
    smooth: false,
    ..SMOOTH
};
const JUMP: Nature = Nature {
    smooth: false,
    steady: false,
    rounds: false,
};
const SUM: Nature = Nature {
    rounds: true,
    ..SMOOTH
};

/// Of an equation, by its operands' types. What is not known counts as the worst.
pub fn nature(op: &Op, x: &[Aval]) -> Nature {
    use op::{Binary::*, Unary::*};
    let complex = x.iter().any(|a| a.dtype.is_complex());
    let branches = Nature {
        steady: !complex,
        ..SMOOTH
    };
    match op {
        Op::Unary(u) => match u {
            Floor | Ceil | Round(_) | IsFinite | Sign | ReducePrecision { .. } => JUMP,
            Abs => KINK,
            Log | Log1p | Sqrt | Rsqrt | Asin | Acos | Atan | Asinh | Acosh | Atanh => branches,
            _ => SMOOTH,
        },
        Op::Binary(b) => match b {
            Max | Min => KINK,
            Rem | Nextafter | Eq | Ne | Lt | Le | Gt | Ge | EqTo | LeTo | LtTo => JUMP,
            Pow => branches,
            Atan2 => Nature {
                steady: false,
                ..SMOOTH
            },
            _ => SMOOTH,
        },
        Op::ConvertElementType(p) if !p.new_dtype.is_inexact() => JUMP,
        Op::Reduce(p) => match p.reducer {
            op::Reducer::Sum | op::Reducer::Prod => SUM,
            op::Reducer::Max | op::Reducer::Min => KINK,
            _ => JUMP,
        },
        Op::DotGeneral(_) | Op::RaggedDotGeneral(_) => SUM,
        Op::ConvGeneralDilated(_) | Op::Special(_) | Op::Fft(_) => SUM,
        Op::Cumulative(p) => match p.kind {
            op::CumulativeKind::Max | op::CumulativeKind::Min => KINK,
            _ => SUM,
        },
        Op::ReduceWindow(p) => match p.reducer {
            op::WindowReducer::Sum | op::WindowReducer::Prod => SUM,
            op::WindowReducer::Max | op::WindowReducer::Min => KINK,
        },
        Op::Scatter(p) => match p.kind {
            op::ScatterKind::Set => SMOOTH,
            op::ScatterKind::Add | op::ScatterKind::Sub | op::ScatterKind::Mul => SUM,
            op::ScatterKind::Min | op::ScatterKind::Max => KINK,
        },
        Op::SelectAndGatherAdd(_) | Op::SelectAndScatterAdd(_) => Nature {
            rounds: true,
            ..JUMP
        },
        Op::ReduceBy(_) | Op::ReduceWindowBy(_) | Op::ScatterBy(_) => Nature {
            rounds: true,
            ..KINK
        },
        Op::CustomLinearSolve(_) => SUM,
        Op::Factor(p) => Nature {
            steady: matches!(
                **p,
                op::Factor::TridiagonalSolve | op::Factor::SymmetricProduct { .. }
            ),
            ..SUM
        },
        Op::Sort(_) if x.len() == 1 && !complex => KINK,
        Op::Sort(_) | Op::TopK(_) | Op::BitcastConvertType(_) | Op::RandomGamma(_) => JUMP,
        Op::Clamp(_) => KINK,
        Op::Exchange(_) => SUM,
        Op::Collective(p) => match p.across {
            op::Across::Sum => SUM,
            _ => KINK,
        },
        Op::Linalg(p) => match p {
            op::Linalg::Cholesky | op::Linalg::TriangularSolve(_) => SUM,
            // Well conditioned as the generator uses them, but a sign or a pivot may flip.
            _ => Nature {
                steady: false,
                ..SUM
            },
        },
        Op::IntegerPow(_)
        | Op::SelectN(_)
        | Op::ConvertElementType(_)
        | Op::StopGradient(_)
        | Op::Component(_)
        | Op::Transpose(_)
        | Op::BroadcastInDim(_)
        | Op::Reshape(_)
        | Op::Iota(_)
        | Op::Squeeze(_)
        | Op::Slice(_)
        | Op::DynamicSlice(_)
        | Op::DynamicUpdateSlice(_)
        | Op::Concatenate(_)
        | Op::Pad(_)
        | Op::Rev(_)
        | Op::Gather(_)
        | Op::Threefry2x32(_)
        | Op::RngBitGenerator(_)
        | Op::Copied(_)
        | Op::OptimizationBarrier(_)
        | Op::SplitAlong(_)
        | Op::Stack(_)
        | Op::Unstack(_)
        | Op::Tile(_)
        | Op::AxisIndex(_) => SMOOTH,
        _ => Nature {
            rounds: true,
            ..JUMP
        },
    }
}

/// Has the equation no derivative (or not the one that differences find) in an operand?
pub fn is_constant(op: &Op, operand: usize, x: &[Aval], orders: usize) -> bool {
    let shape = |i: usize| x.get(i).map(|a| a.shape.to_vec()).unwrap_or_default();
    match op {
        Op::StopGradient(_) | Op::BitcastConvertType(_) | Op::RandomGamma(_) => true,
        Op::Binary(op::Binary::Nextafter) | Op::Unary(op::Unary::ReducePrecision { .. }) => true,
        Op::Binary(op::Binary::Igamma | op::Binary::Igammac) => operand == 0 && orders > 1,
        Op::ScatterBy(p) => !p.unique_indices,
        Op::Factor(p) => !matches!(
            **p,
            op::Factor::TridiagonalSolve
                | op::Factor::SymmetricProduct { .. }
                | op::Factor::HouseholderProduct
                | op::Factor::Ormqr { .. }
                | op::Factor::Eig {
                    left: false,
                    right: false
                }
        ),
        Op::Special(p) => match p.name() {
            "igamma_grad_a" | "random_gamma_grad" => true,
            _ => operand + 1 < x.len(),
        },
        Op::Linalg(op::Linalg::Qr {
            full_matrices: true,
            ..
        }) => matches!(shape(0)[..], [.., m, n] if m > n),
        Op::Linalg(op::Linalg::Svd {
            full_matrices: true,
            ..
        }) => matches!(shape(0)[..], [.., m, n] if m != n),
        Op::SelectAndGatherAdd(p) => {
            let dilated = |d: &[usize]| d.iter().any(|n| *n != 1);
            dilated(&p.window.base_dilation) || dilated(&p.window.window_dilation)
        }
        _ => false,
    }
}

/// The rounding of a type.
pub fn epsilon(d: DType) -> f64 {
    match d.real() {
        DType::F64 => 2.3e-16,
        DType::F32 => 1.2e-7,
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        _ => 0.0,
    }
}
