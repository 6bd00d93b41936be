//! Elementwise primitives. Operands have one shape, or rank 0 (which stands for every element), and one element type.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Labels, Op, Param, Params, Prim, Primitive,
    Special, Tangent, add_tangents, cotangent, move_axis, not_linear, one, operands,
};
use crate::{
    array::{Array, Aval, DType, Kind},
    error::{Error, Result},
    trace::bind,
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

/// Functions of one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "named as in jax.lax")]
pub enum Unary {
    Neg,
    Sign,
    Floor,
    Ceil,
    Round(RoundingMethod),
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
}

/// Functions of two numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "named as in jax.lax")]
pub enum Binary {
    Add,
    Sub,
    Mul,
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
    Igamma,
    Igammac,
}

macro_rules! tokens {
    ($P:ty: $($NAME:ident = $name:literal;)*) => {
        $(#[doc = concat!("`", $name, "`")] pub const $NAME: Prim<$P> = Prim::new($name);)*
    };
}
tokens! { Unary:
    NEG = "neg"; SIGN = "sign"; FLOOR = "floor"; CEIL = "ceil"; ROUND = "round"; IS_FINITE = "is_finite"; EXP = "exp";
    EXP2 = "exp2"; LOG = "log"; LOG1P = "log1p"; EXPM1 = "expm1"; TANH = "tanh"; LOGISTIC = "logistic"; SIN = "sin";
    COS = "cos"; TAN = "tan"; ASIN = "asin"; ACOS = "acos"; ATAN = "atan"; SINH = "sinh"; COSH = "cosh"; ASINH = "asinh";
    ACOSH = "acosh"; ATANH = "atanh"; SQRT = "sqrt"; RSQRT = "rsqrt"; CBRT = "cbrt"; SQUARE = "square"; ABS = "abs";
    REAL = "real"; IMAG = "imag"; CONJ = "conj"; NOT = "not"; POPULATION_COUNT = "population_count"; CLZ = "clz";
    ERF = "erf"; ERFC = "erfc"; ERF_INV = "erf_inv"; LGAMMA = "lgamma"; DIGAMMA = "digamma"; BESSEL_I0E = "bessel_i0e";
    BESSEL_I1E = "bessel_i1e";
}
tokens! { Binary:
    ADD = "add"; SUB = "sub"; MUL = "mul"; DIV = "div"; REM = "rem"; MAX = "max"; MIN = "min"; POW = "pow"; ATAN2 = "atan2";
    NEXTAFTER = "nextafter"; COMPLEX = "complex"; AND = "and"; OR = "or"; XOR = "xor"; SHIFT_LEFT = "shift_left";
    SHIFT_RIGHT_LOGICAL = "shift_right_logical"; SHIFT_RIGHT_ARITHMETIC = "shift_right_arithmetic"; EQ = "eq"; NE = "ne";
    LT = "lt"; LE = "le"; GT = "gt"; GE = "ge"; IGAMMA = "igamma"; IGAMMAC = "igammac";
}
/// `integer_pow`
pub const INTEGER_POW: Prim<IntegerPow> = Prim::new("integer_pow");
/// `select_n`
pub const SELECT_N: Prim<SelectN> = Prim::new("select_n");
/// `convert_element_type`
pub const CONVERT_ELEMENT_TYPE: Prim<ConvertElementType> = Prim::new("convert_element_type");
/// `stop_gradient`
pub const STOP_GRADIENT: Prim<StopGradient> = Prim::new("stop_gradient");
/// `component`
pub const COMPONENT: Prim<Component> = Prim::new("component");

/// The element types that a primitive takes.
#[derive(Clone, Copy)]
enum Takes {
    Number,
    RealNumber,
    Inexact,
    Float,
    Complex,
    Bits,
    Integer,
    Anything,
}

impl Takes {
    fn accepts(self, d: DType) -> bool {
        match self {
            Takes::Number => d != DType::Bool,
            Takes::RealNumber => d != DType::Bool && !d.is_complex(),
            Takes::Inexact => d.is_inexact(),
            Takes::Float => d.is_float(),
            Takes::Complex => d.is_complex(),
            Takes::Bits => matches!(d.kind(), Kind::Bool | Kind::Int),
            Takes::Integer => d.is_integer(),
            Takes::Anything => true,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Takes::Number => "numbers (not bool)",
            Takes::RealNumber => "real numbers (not bool, not complex)",
            Takes::Inexact => "floating-point or complex numbers",
            Takes::Float => "floating-point numbers",
            Takes::Complex => "complex numbers",
            Takes::Bits => "integers or bool",
            Takes::Integer => "integers",
            Takes::Anything => "anything",
        }
    }

    fn check(self, name: &str, d: DType) -> Result<()> {
        if self.accepts(d) {
            return Ok(());
        }
        Err(Error::dtype(format!(
            "`{name}` takes {}, not {d}",
            self.words()
        )))
    }
}

/// The common shape of elementwise operands, of which those of rank 0 fit everywhere.
pub(super) fn common_shape(name: &str, x: &[&Aval]) -> Result<Aval> {
    let widest = x
        .iter()
        .max_by_key(|a| a.ndim())
        .ok_or_else(|| not_linear(name))?;
    for a in x {
        if a.ndim() > 0 && a.shape != widest.shape {
            return Err(Error::shape(format!(
                "`{name}` needs operands of one shape, got {} and {}",
                x.first().map(|a| a.to_string()).unwrap_or_default(),
                x.iter()
                    .skip(1)
                    .map(|a| a.to_string())
                    .collect::<Vec<_>>()
                    .join(" and ")
            )));
        }
    }
    Ok((**widest).clone())
}

fn common_dtype(name: &str, x: &[&Aval]) -> Result<()> {
    let Some(first) = x.first() else {
        return Ok(());
    };
    match x.iter().find(|a| a.dtype != first.dtype) {
        None => Ok(()),
        Some(other) => Err(Error::dtype(format!(
            "`{name}` needs operands of one element type, got {first} and {other}"
        ))
        .note("the operators of `Array` promote; `lax`-level functions take what they are given")),
    }
}

/// The batching rule of every elementwise primitive.
pub(crate) fn batch_elementwise(
    op: Op,
    x: &[Array],
    dims: &[Option<usize>],
    axis: &BatchAxis,
) -> Result<Batched> {
    let (x, at) = batch_operands(x, dims, axis);
    let y = bind(op, &x.iter().collect::<Vec<_>>());
    Ok((vec![y], vec![Some(at)]))
}

/// The operands of an elementwise primitive over a whole batch, and where the batch axis of its results is.
pub(super) fn batch_operands(
    x: &[Array],
    dims: &[Option<usize>],
    axis: &BatchAxis,
) -> (Vec<Array>, usize) {
    let ranks: Vec<usize> = x
        .iter()
        .zip(dims)
        .map(|(x, d)| x.ndim() - usize::from(d.is_some()))
        .collect();
    let rank = ranks.iter().copied().max().unwrap_or(0);
    let first = dims.iter().flatten().next().copied();
    let aligned = x.iter().zip(dims).zip(&ranks).all(|((x, d), r)| match d {
        Some(_) => *d == first && *r == rank,
        None => x.ndim() == 0,
    });
    if let (true, Some(first)) = (aligned, first) {
        return (x.to_vec(), first);
    }
    let mut shape = smallvec![axis.size];
    if let Some((x, d)) = x
        .iter()
        .zip(dims)
        .zip(&ranks)
        .find(|(_, r)| **r == rank)
        .map(|p| p.0)
    {
        shape.extend(
            x.shape()
                .iter()
                .enumerate()
                .filter(|(i, _)| Some(*i) != *d)
                .map(|(_, n)| *n),
        );
    }
    let x: Vec<Array> = x
        .iter()
        .zip(dims)
        .zip(&ranks)
        .map(|((x, d), r)| match d {
            Some(d) if *r == rank => move_axis(x, *d, 0),
            Some(_) => x.broadcast_in_dim(&shape, [0]),
            None if *r == 0 => x.clone(),
            None => x.broadcast_in_dim(&shape, (1..=rank).collect::<Vec<_>>()),
        })
        .collect();
    (x, 0)
}

/// The cotangent of an operand that may have stood for every element.
fn unbroadcast(ct: &Array, operand: &Arg) -> Result<Array> {
    let a = operand.aval()?;
    Ok(if a.ndim() == 0 && ct.ndim() > 0 {
        ct.sum(())
    } else {
        ct.clone()
    })
}

/// Labels of elementwise operands: the result's axes, or none for rank 0.
fn elementwise_labels(x: &[&Aval]) -> (Vec<Labels>, Labels) {
    let rank = x.iter().map(|a| a.ndim()).max().unwrap_or(0);
    let all: Labels = (0..rank as u16).collect();
    let operands = x
        .iter()
        .map(|a| {
            if a.ndim() == 0 {
                Labels::new()
            } else {
                all.clone()
            }
        })
        .collect();
    (operands, all)
}

fn sum_axes(x: &[&Aval], coefficients: &[f64]) -> Axes {
    let (operands, output) = elementwise_labels(x);
    Axes::Sum {
        coefficients: coefficients.to_vec(),
        operands,
        output,
    }
}

impl Unary {
    fn takes(self) -> Takes {
        use Unary::*;
        match self {
            Neg | Sign | Square | Abs => Takes::Number,
            Floor | Ceil | Round(_) | IsFinite => Takes::Float,
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
            Conj => t.conj(),
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
            _ => vec![],
        }
    }

    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        self.takes().check(self.name(), x.dtype)?;
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

    fn inner(&self) -> Option<&dyn Inner> {
        None
    }
}

impl Binary {
    fn takes(self) -> Takes {
        use Binary::*;
        match self {
            Add | Sub | Mul | Div => Takes::Number,
            Rem => Takes::RealNumber,
            Max | Min => Takes::Anything,
            Pow => Takes::Inexact,
            Atan2 | Igamma | Igammac | Nextafter | Complex => Takes::Float,
            And | Or | Xor => Takes::Bits,
            ShiftLeft | ShiftRightLogical | ShiftRightArithmetic => Takes::Integer,
            Eq | Ne | Lt | Le | Gt | Ge => Takes::Anything,
        }
    }

    /// Is it a comparison, whose result is `bool`?
    pub fn is_comparison(self) -> bool {
        use Binary::*;
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge)
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

    fn inner(&self) -> Option<&dyn Inner> {
        None
    }
}

/// `x` to the power of the integer `y`.
#[derive(Clone, PartialEq, Debug)]
pub struct IntegerPow {
    /// The exponent; negative ones need inexact operands.
    pub y: i32,
}

impl Primitive for IntegerPow {
    fn name(&self) -> &'static str {
        "integer_pow"
    }
    fn params(&self) -> Params {
        vec![("y", Param::text(self.y))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        Takes::Number.check(self.name(), x.dtype)?;
        if self.y < 0 && !x.dtype.is_inexact() {
            return Err(Error::dtype(format!(
                "integers cannot be raised to negative powers, got {x} to the power {}",
                self.y
            )));
        }
        Ok(smallvec![(**x).clone()])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [x] = operands(self.name(), x)?;
        let y = bind(self.clone(), &[x]);
        let t = match (t.first().and_then(Option::as_ref), self.y) {
            (None, _) | (_, 0) => None,
            (Some(t), n) => Some(t * (x.integer_pow(n.saturating_sub(1)) * f64::from(n))),
        };
        one(y, t)
    }
    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(not_linear(self.name()))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_elementwise(self.clone().into(), x, d, axis)
    }
    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }
    fn inner(&self) -> Option<&dyn Inner> {
        None
    }
}

/// Element by element, the case that the predicate says: `which, case 0, case 1, …`.
/// `which` is `bool` for two cases, else `i32`, of the cases' shape or of rank 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SelectN;

impl Primitive for SelectN {
    fn name(&self) -> &'static str {
        "select_n"
    }
    fn params(&self) -> Params {
        vec![]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let Some((which, cases)) = x.split_first() else {
            return Err(Error::argument("`select_n` needs a predicate and cases"));
        };
        let Some(first) = cases.first() else {
            return Err(Error::argument("`select_n` needs at least one case"));
        };
        if let Some(other) = cases.iter().find(|c| !c.same_type(first)) {
            return Err(Error::shape(format!(
                "`select_n` needs cases of one type, got {first} and {other}"
            )));
        }
        let ok = which.dtype == DType::Bool && cases.len() <= 2 || which.dtype == DType::I32;
        if !ok {
            return Err(Error::dtype(format!(
                "`select_n` chooses among two cases by bool, among any number by int32; got {which} for {} cases",
                cases.len()
            )));
        }
        if which.ndim() > 0 && which.shape != first.shape {
            return Err(Error::shape(format!(
                "`select_n` needs a predicate of rank 0 or of the cases' shape, got {which} for {first}"
            )));
        }
        let weak_type = cases.iter().all(|c| c.weak_type);
        Ok(smallvec![Aval {
            weak_type,
            ..(**first).clone()
        }])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let y = bind(*self, &x.iter().collect::<Vec<_>>());
        let (Some(which), Some(cases)) = (x.first(), t.get(1..)) else {
            return one(y, None);
        };
        if cases.iter().all(Option::is_none) {
            return one(y, None);
        }
        let t: Vec<Array> = cases
            .iter()
            .map(|t| t.clone().unwrap_or_else(|| Array::zeros_like(&y)))
            .collect();
        let args: Vec<&Array> = std::iter::once(which).chain(&t).collect();
        one(y, Some(bind(*self, &args)))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None; x.len()]);
        };
        let Some(Arg::Known(which)) = x.first() else {
            return Err(not_linear(self.name()));
        };
        let zero = Array::zeros_like(ct);
        let mut out = vec![None];
        for i in 1..x.len() {
            if x.get(i).is_some_and(Arg::is_linear) {
                let args: Vec<&Array> = std::iter::once(which)
                    .chain((1..x.len()).map(|j| if i == j { ct } else { &zero }))
                    .collect();
                out.push(Some(bind(*self, &args)));
            } else {
                out.push(None);
            }
        }
        Ok(out)
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        // A scalar predicate may stand before cases of any shape, but the cases need one shape among themselves.
        let case_rank =
            x.get(1).map_or(0, |c| c.ndim()) - usize::from(d.get(1).copied().flatten().is_some());
        let mut x: Vec<Array> = x.to_vec();
        let mut d: Vec<Option<usize>> = d.to_vec();
        for (x, d) in x.iter_mut().zip(&mut d).skip(1) {
            if d.is_none() && case_rank == 0 {
                *x = x.broadcast_in_dim([axis.size], ());
                *d = Some(0);
            }
        }
        if let (Some(which), Some(at)) = (x.first(), d.first().copied().flatten())
            && which.ndim() == 1
            && case_rank > 0
            && let Some(case) = x.get(1)
        {
            let mut shape: crate::array::Dims = smallvec![axis.size];
            let own = d.get(1).copied().flatten();
            shape.extend(
                case.shape()
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| Some(*i) != own)
                    .map(|p| *p.1),
            );
            let wide = move_axis(which, at, 0).broadcast_in_dim(&shape, [0]);
            if let (Some(x), Some(d)) = (x.first_mut(), d.first_mut()) {
                (*x, *d) = (wide, Some(0));
            }
        }
        batch_elementwise((*self).into(), &x, &d, axis)
    }
    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }
    fn inner(&self) -> Option<&dyn Inner> {
        None
    }
}

/// The same numbers in another element type.
#[derive(Clone, PartialEq, Debug)]
pub struct ConvertElementType {
    /// The element type of the result.
    pub new_dtype: DType,
    /// Its weakness.
    pub weak_type: bool,
}

impl Primitive for ConvertElementType {
    fn name(&self) -> &'static str {
        "convert_element_type"
    }
    fn params(&self) -> Params {
        vec![
            ("new_dtype", Param::text(self.new_dtype.name())),
            ("weak_type", Param::bool(self.weak_type)),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        Ok(smallvec![Aval {
            shape: x.shape.clone(),
            dtype: self.new_dtype,
            weak_type: self.weak_type
        }])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [x] = operands(self.name(), x)?;
        let y = bind(self.clone(), &[x]);
        let t = match t.first().and_then(Option::as_ref) {
            Some(t) if self.new_dtype.is_inexact() => Some(bind(self.clone(), &[t])),
            _ => None,
        };
        one(y, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let [x] = operands(self.name(), x)?;
        let a = x.aval()?;
        let back = ConvertElementType {
            new_dtype: a.dtype,
            weak_type: a.weak_type,
        };
        Ok(vec![Some(bind(back, &[ct]))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_elementwise(self.clone().into(), x, d, axis)
    }
    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }
    fn inner(&self) -> Option<&dyn Inner> {
        None
    }
}

/// The identity, whose derivative is zero.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StopGradient;

/// The identity, which says that its operand is part of an array-ish value. Linear, and passed on by every transformation, so
/// that the rewriter knows in the end which arrays must not be merged.
#[derive(Clone, PartialEq, Debug)]
pub struct Component {
    /// A number that the value has for itself in this process.
    pub value: u64,
    /// Which part: the number of the component, or `None` for the array that the value's definition yields.
    pub field: Option<u32>,
    /// May a plan hold the array that the definition yields?
    pub allow_materialise: bool,
    /// The value's type and where it stands in the arguments, for messages.
    pub what: std::sync::Arc<str>,
}

macro_rules! identity {
    ($P:ty, $name:literal, $params:expr, $tangent:expr) => {
        impl Primitive for $P {
            fn name(&self) -> &'static str {
                $name
            }
            fn params(&self) -> Params {
                let params: fn(&$P) -> Params = $params;
                params(self)
            }
            fn infer(&self, x: &[&Aval]) -> Result<Avals> {
                let [x] = operands(self.name(), x)?;
                Ok(smallvec![(**x).clone()])
            }
            fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
                let [x] = operands(self.name(), x)?;
                let tangent: fn(&$P, &Array) -> Tangent = $tangent;
                let t = t
                    .first()
                    .and_then(Option::as_ref)
                    .and_then(|t| tangent(self, t));
                one(bind(self.clone(), &[x]), t)
            }
            fn transpose(&self, ct: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
                Ok(vec![cotangent(ct).cloned()])
            }
            fn batch(&self, x: &[Array], d: &[Option<usize>], _: &BatchAxis) -> Result<Batched> {
                let [x] = operands(self.name(), x)?;
                Ok((vec![bind(self.clone(), &[x])], d.to_vec()))
            }
            fn axes(&self, x: &[&Aval]) -> Axes {
                let (operands, output) = elementwise_labels(x);
                Axes::Product { operands, output }
            }
            fn inner(&self) -> Option<&dyn Inner> {
                None
            }
        }
    };
}
identity!(StopGradient, "stop_gradient", |_| vec![], |_, _| None);
identity!(
    Component,
    "component",
    |c| vec![
        (
            "field",
            Param::text(c.field.map_or("definition".into(), |f| f.to_string()))
        ),
        ("value", Param::text(&c.what)),
    ],
    |_, t| Some(t.clone())
);
