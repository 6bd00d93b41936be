//! Functions of two numbers.

use super::{
    Takes, batch_elementwise, common_dtype, common_shape, elementwise_labels, sum_axes, tokens,
    unbroadcast,
};
use crate::{
    array::{Array, Aval, DType},
    error::{Error, Result},
    trace::{
        bind,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Params, Prim, Primitive, Special,
            Tangent, add_tangents, cotangent, not_linear, one, operands,
        },
    },
};
use smallvec::smallvec;

functions! {
    /// Functions of two numbers.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[allow(missing_docs, reason = "named as in jax.lax")]
    pub enum Binary {
        Add,
        Sub,
        Mul,
        Mulhi,
        Div,
        Rem,
        Max,
        Min,
        Pow,
        Atan2,
        Nextafter,
        Complex,
        And,
        Or,
        Xor,
        ShiftLeft,
        ShiftRightLogical,
        ShiftRightArithmetic,
        Eq,
        Ne,
        Lt,
        Le,
        Gt,
        Ge,
        EqTo,
        LeTo,
        LtTo,
        Igamma,
        Igammac,
    }
}

tokens! { Binary:
    ADD = "add"; SUB = "sub"; MUL = "mul"; MULHI = "mulhi"; DIV = "div"; REM = "rem"; MAX = "max"; MIN = "min"; POW = "pow"; ATAN2 = "atan2";
    NEXTAFTER = "nextafter"; COMPLEX = "complex"; AND = "and"; OR = "or"; XOR = "xor"; SHIFT_LEFT = "shift_left";
    SHIFT_RIGHT_LOGICAL = "shift_right_logical"; SHIFT_RIGHT_ARITHMETIC = "shift_right_arithmetic"; EQ = "eq"; NE = "ne";
    LT = "lt"; LE = "le"; GT = "gt"; GE = "ge"; EQ_TO = "eq_to"; LE_TO = "le_to"; LT_TO = "lt_to"; IGAMMA = "igamma"; IGAMMAC = "igammac";
}

impl Binary {
    fn takes(self) -> Takes {
        use Binary::*;
        match self {
            Add | Sub | Mul | Div => Takes::Number,
            Rem => Takes::RealNumber,
            Max | Min => Takes::Anything,
            Pow => Takes::Number,
            Atan2 | Igamma | Igammac | Nextafter | Complex => Takes::Float,
            And | Or | Xor => Takes::Bits,
            Mulhi | ShiftLeft | ShiftRightLogical | ShiftRightArithmetic => Takes::Integer,
            Eq | Ne | Lt | Le | Gt | Ge => Takes::Anything,
            EqTo | LeTo | LtTo => Takes::Float,
        }
    }

    /// Is it a comparison, whose result is `bool`?
    pub fn is_comparison(self) -> bool {
        use Binary::*;
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge) || self.is_total()
    }

    /// Does it compare in the total order of IEEE 754, in which `-NaN < -∞ < … < -0 < 0 < … < ∞ < NaN`?
    pub fn is_total(self) -> bool {
        matches!(self, Binary::EqTo | Binary::LeTo | Binary::LtTo)
    }

    /// The derivative of the result for one operand, times its tangent.
    fn tangents(self, x: &Array, y: &Array, z: &Array, side: usize, t: &Array) -> Result<Tangent> {
        use Binary::*;
        let left = side == 0;
        // `t` of rank 0 stands for every element; a result of more axes needs a tangent of as many.
        let full = |t: Array| {
            if t.ndim() < z.ndim() {
                t.broadcast_to(z.shape())
            } else {
                t
            }
        };
        Ok(Some(match self {
            Add => full(t.clone()),
            Sub => full(if left { t.clone() } else { -t }),
            Mul => full(if left { t * y } else { x * t }),
            Div if left => full(t / y),
            Div => full(-(t * (z / y))),
            Rem if left => full(t.clone()),
            Rem => full(-(t * bind_truncated_quotient(x, y))),
            Max | Min => {
                let (a, b) = if left { (x, y) } else { (y, x) };
                full(t * balanced(a, b, z)?)
            }
            Pow if left => {
                let slope = y * x.pow(&(y - 1.0));
                let zero = y.eq(0.0);
                full(t * zero.select(Array::zeros_like(z), full(slope)))
            }
            Pow => {
                let safe = x.eq(0.0).select(Array::ones_like(x), x);
                full(t * (safe.log() * z))
            }
            Atan2 => {
                let d = x.square() + y.square();
                full(if left { t * (y / d) } else { -(t * (x / d)) })
            }
            Complex if left => full(bind(Complex, &[t, &Array::zeros_like(t)])),
            Complex => full(bind(Complex, &[&Array::zeros_like(t), t])),
            Nextafter => return Ok(None),
            Igamma | Igammac if !left => {
                let sign = if self == Igamma { 1.0 } else { -1.0 };
                full(t * ((-y + (x - 1.0) * y.log() - x.lgamma()).exp() * sign))
            }
            Igamma | Igammac => {
                let sign = if self == Igamma { 1.0 } else { -1.0 };
                full(t * (bind(Special::IgammaGradA, &[x, y]) * sign))
            }
            _ => return Ok(None),
        }))
    }
}

fn bind_truncated_quotient(x: &Array, y: &Array) -> Array {
    let q = x / y;
    q.sign() * q.abs().floor()
}

/// 1 where `a` alone attains `z`, ½ where both operands do, else 0: the derivative of max and min that JAX uses.
fn balanced(a: &Array, b: &Array, z: &Array) -> Result<Array> {
    let dtype = z.aval()?.dtype;
    let hits = |v: &Array| v.eq(z).astype(dtype);
    Ok(hits(a) / (hits(a) + hits(b)))
}

impl Primitive for Binary {
    fn name(&self) -> &'static str {
        use Binary::*;
        match self {
            Add => "add",
            Sub => "sub",
            Mul => "mul",
            Mulhi => "mulhi",
            Div => "div",
            Rem => "rem",
            Max => "max",
            Min => "min",
            Pow => "pow",
            Atan2 => "atan2",
            Nextafter => "nextafter",
            Complex => "complex",
            And => "and",
            Or => "or",
            Xor => "xor",
            ShiftLeft => "shift_left",
            ShiftRightLogical => "shift_right_logical",
            ShiftRightArithmetic => "shift_right_arithmetic",
            Eq => "eq",
            Ne => "ne",
            Lt => "lt",
            Le => "le",
            Gt => "gt",
            Ge => "ge",
            EqTo => "eq_to",
            LeTo => "le_to",
            LtTo => "lt_to",
            Igamma => "igamma",
            Igammac => "igammac",
        }
    }

    fn params(&self) -> Params {
        vec![]
    }

    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let name = self.name();
        let pair: &[&Aval; 2] = operands(name, x)?;
        common_dtype(name, x)?;
        let widest = common_shape(name, x)?;
        let dtype = pair[0].dtype;
        self.takes().check(name, dtype)?;
        if matches!(self, Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge) && dtype.is_complex() {
            return Err(Error::dtype(format!("`{name}` has no meaning for {dtype}")));
        }
        if *self == Binary::Complex && !matches!(dtype, DType::F32 | DType::F64) {
            return Err(Error::dtype(format!(
                "`complex` takes float32 or float64, not {dtype}"
            )));
        }
        let dtype = match self {
            c if c.is_comparison() => DType::Bool,
            Binary::Complex => dtype.complex(),
            _ => dtype,
        };
        let weak_type = dtype != DType::Bool && x.iter().all(|a| a.weak_type);
        Ok(smallvec![Aval {
            shape: widest.shape,
            dtype,
            weak_type
        }])
    }

    fn jvp(&self, p: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [x, y] = operands(self.name(), p)?;
        let z = bind(*self, &[x, y]);
        let mut total = None;
        for (side, t) in t.iter().enumerate() {
            if let Some(t) = t {
                total = add_tangents(total, self.tangents(x, y, &z, side, t)?);
            }
        }
        one(z, total)
    }

    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None, None]);
        };
        let [x, y] = operands(self.name(), x)?;
        let each = |arg: &Arg, ct: &Array| -> Result<Tangent> {
            Ok(if arg.is_linear() {
                Some(unbroadcast(ct, arg)?)
            } else {
                None
            })
        };
        Ok(match (self, x, y) {
            (Binary::Add, ..) => vec![each(x, ct)?, each(y, ct)?],
            (Binary::Sub, ..) => {
                vec![
                    each(x, ct)?,
                    if y.is_linear() { each(y, &-ct)? } else { None },
                ]
            }
            (Binary::Mul, Arg::Linear(_), Arg::Known(v)) => vec![each(x, &(ct * v))?, None],
            (Binary::Mul, Arg::Known(v), Arg::Linear(_)) => vec![None, each(y, &(v * ct))?],
            (Binary::Div, Arg::Linear(_), Arg::Known(v)) => vec![each(x, &(ct / v))?, None],
            (Binary::Complex, ..) => vec![
                if x.is_linear() {
                    each(x, &ct.real())?
                } else {
                    None
                },
                if y.is_linear() {
                    each(y, &-ct.imag())?
                } else {
                    None
                },
            ],
            _ => return Err(not_linear(self.name())),
        })
    }

    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_elementwise((*self).into(), x, d, axis)
    }

    fn axes(&self, x: &[&Aval]) -> Axes {
        match self {
            Binary::Add => sum_axes(x, &[1.0, 1.0]),
            Binary::Sub => sum_axes(x, &[1.0, -1.0]),
            Binary::Mul => {
                let (operands, output) = elementwise_labels(x);
                Axes::Product { operands, output }
            }
            _ => Axes::Opaque,
        }
    }

    no_programs!();
}
