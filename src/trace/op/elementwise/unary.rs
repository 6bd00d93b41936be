//! Functions of one number.

use super::{Binary, Takes, batch_elementwise, sum_axes, tokens};
use crate::{
    array::{Array, Aval, DType},
    error::{Error, Result},
    trace::{
        bind,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Param, Params, Prim, Primitive,
            Tangent, cotangent, not_linear, one, operands,
        },
    },
};
use smallvec::smallvec;

/// How [`Unary::Round`] treats numbers halfway between two integers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RoundingMethod {
    /// `0.5` becomes `1`.
    AwayFromZero,
    /// `0.5` becomes `0`, `1.5` becomes `2`.
    ToNearestEven,
}

functions! {
    /// Functions of one number.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[allow(missing_docs, reason = "named as in jax.lax")]
    pub enum Unary {
        Neg,
        Sign,
        Floor,
        Ceil,
        IsFinite,
        Exp,
        Exp2,
        Log,
        Log1p,
        Expm1,
        Tanh,
        Logistic,
        Sin,
        Cos,
        Tan,
        Asin,
        Acos,
        Atan,
        Sinh,
        Cosh,
        Asinh,
        Acosh,
        Atanh,
        Sqrt,
        Rsqrt,
        Cbrt,
        Square,
        Abs,
        Real,
        Imag,
        Conj,
        Not,
        PopulationCount,
        Clz,
        Erf,
        Erfc,
        ErfInv,
        Lgamma,
        Digamma,
        BesselI0e,
        BesselI1e,
        ;
        Round(RoundingMethod),
        /// Rounded to a float of so many bits, to nearest even; what its exponent cannot hold becomes infinite or zero.
        ReducePrecision {
            /// The bits of the exponent, at least one.
            exponent_bits: u8,
            /// The bits of the mantissa.
            mantissa_bits: u8,
        },
    }
}

tokens! { Unary:
    NEG = "neg"; SIGN = "sign"; FLOOR = "floor"; CEIL = "ceil"; ROUND = "round"; REDUCE_PRECISION = "reduce_precision"; IS_FINITE = "is_finite"; EXP = "exp";
    EXP2 = "exp2"; LOG = "log"; LOG1P = "log1p"; EXPM1 = "expm1"; TANH = "tanh"; LOGISTIC = "logistic"; SIN = "sin";
    COS = "cos"; TAN = "tan"; ASIN = "asin"; ACOS = "acos"; ATAN = "atan"; SINH = "sinh"; COSH = "cosh"; ASINH = "asinh";
    ACOSH = "acosh"; ATANH = "atanh"; SQRT = "sqrt"; RSQRT = "rsqrt"; CBRT = "cbrt"; SQUARE = "square"; ABS = "abs";
    REAL = "real"; IMAG = "imag"; CONJ = "conj"; NOT = "not"; POPULATION_COUNT = "population_count"; CLZ = "clz";
    ERF = "erf"; ERFC = "erfc"; ERF_INV = "erf_inv"; LGAMMA = "lgamma"; DIGAMMA = "digamma"; BESSEL_I0E = "bessel_i0e";
    BESSEL_I1E = "bessel_i1e";
}

impl Unary {
    fn takes(self) -> Takes {
        use Unary::*;
        match self {
            Neg | Sign | Square | Abs => Takes::Number,
            Floor | Ceil | Round(_) | IsFinite | ReducePrecision { .. } => Takes::Float,
            Exp | Exp2 | Log | Log1p | Expm1 | Tanh | Logistic | Sin | Cos | Tan | Asin | Acos
            | Atan | Sinh | Cosh | Asinh | Acosh | Atanh | Sqrt | Rsqrt => Takes::Inexact,
            Cbrt => Takes::Float,
            Real | Imag => Takes::Complex,
            Conj => Takes::Inexact,
            Not => Takes::Bits,
            PopulationCount | Clz => Takes::Integer,
            Erf | Erfc | ErfInv | Lgamma | Digamma | BesselI0e | BesselI1e => Takes::Float,
        }
    }

    /// The element type of the result.
    pub(crate) fn result_dtype(self, d: DType) -> DType {
        match self {
            Unary::IsFinite => DType::Bool,
            Unary::Abs | Unary::Real | Unary::Imag => d.real(),
            Unary::Conj => d.complex(),
            _ => d,
        }
    }

    /// The tangent of `y = self(x)` for a tangent of `x`; `None` where the derivative is zero.
    fn tangent(self, x: &Array, y: &Array, t: &Array) -> Result<Tangent> {
        use Unary::*;
        let complex = x.aval()?.dtype.is_complex();
        Ok(Some(match self {
            Neg => -t,
            ReducePrecision { .. } => bind(self, &[t]),
            // What turns the number, not what stretches it; JAX gives zero here.
            Sign if complex => {
                let length = x.abs();
                let zero = length.eq(0.0);
                let safe = zero.select(Array::ones_like(&length), &length);
                let turned = (t - y * (y.conj() * t).real()) / safe;
                zero.select(Array::zeros_like(t), turned)
            }
            Sign | Floor | Ceil | Round(_) | IsFinite | Not | PopulationCount | Clz => {
                return Ok(None);
            }
            Exp => t * y,
            Exp2 => t * y * std::f64::consts::LN_2,
            Log => t / x,
            Log1p => t / (x + 1.0),
            Expm1 => t * (y + 1.0),
            Tanh => t * (1.0 - y * y),
            Logistic => t * y * (1.0 - y),
            Sin => t * x.cos(),
            Cos => -(t * x.sin()),
            Tan => t * (y * y + 1.0),
            Asin => t * (1.0 - x.square()).rsqrt(),
            Acos => -(t * (1.0 - x.square()).rsqrt()),
            Atan => t / (1.0 + x.square()),
            Sinh => t * x.cosh(),
            Cosh => t * x.sinh(),
            Asinh => t * (x.square() + 1.0).rsqrt(),
            Acosh => t * ((x - 1.0).rsqrt() * (x + 1.0).rsqrt()),
            Atanh => t / ((1.0 - x) * (1.0 + x)),
            Sqrt => t * (0.5 / y),
            Rsqrt => t * (-0.5 * (y / x)),
            Cbrt => t * (y / x) * (1.0 / 3.0),
            Square => t * (2.0 * x),
            Abs if complex => {
                let safe = y.eq(0.0).select(Array::ones_like(y), y);
                (t * x.conj()).real() / safe
            }
            Abs => t * x.sign(),
            Real => t.real(),
            Imag => t.imag(),
            // Of a real number, too, it is complex.
            Conj => bind(Conj, &[t]),
            Erf => t * (2.0 / std::f64::consts::PI.sqrt() * (-x.square()).exp()),
            Erfc => t * (-2.0 / std::f64::consts::PI.sqrt() * (-x.square()).exp()),
            ErfInv => t * (std::f64::consts::PI.sqrt() / 2.0 * y.square().exp()),
            Lgamma => t * x.digamma(),
            Digamma => t * x.polygamma(1),
            BesselI0e => t * (x.bessel_i1e() - x.sign() * y),
            BesselI1e => {
                let safe = x.eq(0.0).select(Array::ones_like(x), x);
                let d = x.bessel_i0e() - y * (x.sign() + 1.0 / safe);
                t * x.eq(0.0).select(Array::full_like(x, 0.5), &d)
            }
        }))
    }
}

impl Primitive for Unary {
    fn name(&self) -> &'static str {
        use Unary::*;
        match self {
            Neg => "neg",
            Sign => "sign",
            Floor => "floor",
            Ceil => "ceil",
            Round(_) => "round",
            ReducePrecision { .. } => "reduce_precision",
            IsFinite => "is_finite",
            Exp => "exp",
            Exp2 => "exp2",
            Log => "log",
            Log1p => "log1p",
            Expm1 => "expm1",
            Tanh => "tanh",
            Logistic => "logistic",
            Sin => "sin",
            Cos => "cos",
            Tan => "tan",
            Asin => "asin",
            Acos => "acos",
            Atan => "atan",
            Sinh => "sinh",
            Cosh => "cosh",
            Asinh => "asinh",
            Acosh => "acosh",
            Atanh => "atanh",
            Sqrt => "sqrt",
            Rsqrt => "rsqrt",
            Cbrt => "cbrt",
            Square => "square",
            Abs => "abs",
            Real => "real",
            Imag => "imag",
            Conj => "conj",
            Not => "not",
            PopulationCount => "population_count",
            Clz => "clz",
            Erf => "erf",
            Erfc => "erfc",
            ErfInv => "erf_inv",
            Lgamma => "lgamma",
            Digamma => "digamma",
            BesselI0e => "bessel_i0e",
            BesselI1e => "bessel_i1e",
        }
    }

    fn params(&self) -> Params {
        match self {
            Unary::Round(RoundingMethod::AwayFromZero) => {
                vec![("rounding_method", Param::text("0"))]
            }
            Unary::Round(RoundingMethod::ToNearestEven) => {
                vec![("rounding_method", Param::text("1"))]
            }
            Unary::ReducePrecision {
                exponent_bits,
                mantissa_bits,
            } => vec![
                ("exponent_bits", Param::text(exponent_bits)),
                ("mantissa_bits", Param::text(mantissa_bits)),
            ],
            _ => vec![],
        }
    }

    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        self.takes().check(self.name(), x.dtype)?;
        if let Unary::ReducePrecision {
            exponent_bits: 0, ..
        } = self
        {
            return Err(Error::argument(
                "`reduce_precision` needs at least one bit for the exponent",
            ));
        }
        let dtype = self.result_dtype(x.dtype);
        Ok(smallvec![Aval {
            shape: x.shape.clone(),
            dtype,
            weak_type: x.weak_type && dtype != DType::Bool
        }])
    }

    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [x] = operands(self.name(), x)?;
        let y = bind(*self, &[x]);
        let t = match t.first().and_then(Option::as_ref) {
            Some(t) => self.tangent(x, &y, t)?,
            None => None,
        };
        one(y, t)
    }

    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let [x] = operands(self.name(), x)?;
        Ok(vec![Some(match self {
            Unary::Neg => -ct,
            Unary::ReducePrecision { .. } => bind(*self, &[ct]),
            Unary::Real => bind(Binary::Complex, &[ct, &Array::zeros_like(ct)]),
            Unary::Imag => bind(Binary::Complex, &[&Array::zeros_like(ct), &-ct]),
            Unary::Conj if x.aval()?.dtype.is_complex() => ct.conj(),
            Unary::Conj => ct.real(),
            _ => return Err(not_linear(self.name())),
        })])
    }

    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_elementwise((*self).into(), x, d, axis)
    }

    fn axes(&self, x: &[&Aval]) -> Axes {
        match self {
            Unary::Neg => sum_axes(x, &[-1.0]),
            _ => Axes::Opaque,
        }
    }

    no_programs!();
}
