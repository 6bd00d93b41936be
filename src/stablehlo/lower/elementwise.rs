//! Operations element by element.

use super::{apply, given::Given};
use crate::{
    array::{Array, DType, Dims, Scalar},
    error::{Error, Result},
    trace::op::{
        Binary, BitcastConvertType, Clamp, Concatenate, Iota, Reduce, Reducer, RoundingMethod,
        SelectN, Special, Unary,
    },
};

fn unary(name: &str) -> Option<Unary> {
    Some(match name {
        "abs" => Unary::Abs,
        "cbrt" => Unary::Cbrt,
        "ceil" => Unary::Ceil,
        "cosine" => Unary::Cos,
        "count_leading_zeros" => Unary::Clz,
        "exponential" => Unary::Exp,
        "exponential_minus_one" => Unary::Expm1,
        "floor" => Unary::Floor,
        "is_finite" => Unary::IsFinite,
        "log" => Unary::Log,
        "log_plus_one" => Unary::Log1p,
        "logistic" => Unary::Logistic,
        "negate" => Unary::Neg,
        "not" => Unary::Not,
        "popcnt" => Unary::PopulationCount,
        "round_nearest_afz" => Unary::Round(RoundingMethod::AwayFromZero),
        "round_nearest_even" => Unary::Round(RoundingMethod::ToNearestEven),
        "rsqrt" => Unary::Rsqrt,
        "sign" => Unary::Sign,
        "sine" => Unary::Sin,
        "sqrt" => Unary::Sqrt,
        "tan" | "chlo.tan" => Unary::Tan,
        "tanh" => Unary::Tanh,
        "chlo.acos" => Unary::Acos,
        "chlo.acosh" => Unary::Acosh,
        "chlo.asin" => Unary::Asin,
        "chlo.asinh" => Unary::Asinh,
        "chlo.atan" => Unary::Atan,
        "chlo.atanh" => Unary::Atanh,
        "chlo.bessel_i1e" => Unary::BesselI1e,
        "chlo.cosh" => Unary::Cosh,
        "chlo.digamma" => Unary::Digamma,
        "chlo.erf" => Unary::Erf,
        "chlo.erf_inv" => Unary::ErfInv,
        "chlo.erfc" => Unary::Erfc,
        "chlo.lgamma" => Unary::Lgamma,
        "chlo.sinh" => Unary::Sinh,
        "chlo.square" => Unary::Square,
        _ => return None,
    })
}

/// The primitive of an operation of two operands; on bools sums are disjunctions and products conjunctions.
pub(super) fn binary(name: &str, dtype: DType) -> Option<Binary> {
    let bool = dtype == DType::Bool;
    Some(match name.strip_prefix("chlo.broadcast_").unwrap_or(name) {
        "add" | "maximum" if bool => Binary::Or,
        "multiply" | "minimum" if bool => Binary::And,
        "subtract" if bool => Binary::Xor,
        "add" => Binary::Add,
        "and" => Binary::And,
        "atan2" => Binary::Atan2,
        "complex" => Binary::Complex,
        "divide" => Binary::Div,
        "maximum" => Binary::Max,
        "minimum" => Binary::Min,
        "multiply" => Binary::Mul,
        "or" => Binary::Or,
        "power" => Binary::Pow,
        "remainder" => Binary::Rem,
        "shift_left" => Binary::ShiftLeft,
        "shift_right_arithmetic" => Binary::ShiftRightArithmetic,
        "shift_right_logical" => Binary::ShiftRightLogical,
        "subtract" => Binary::Sub,
        "xor" => Binary::Xor,
        "chlo.mulhi" => Binary::Mulhi,
        "chlo.next_after" | "next_after" => Binary::Nextafter,
        _ => return None,
    })
}

fn comparison(direction: &str) -> Option<Binary> {
    Some(match direction {
        "EQ" => Binary::Eq,
        "NE" => Binary::Ne,
        "LT" => Binary::Lt,
        "LE" => Binary::Le,
        "GT" => Binary::Gt,
        "GE" => Binary::Ge,
        _ => return None,
    })
}

/// A number as an array of rank 0.
pub(super) fn number(x: impl Into<Scalar>, dtype: DType) -> Array {
    Array::from_scalar(x.into(), dtype, false)
}

impl Given<'_, '_, '_> {
    pub(super) fn elementwise(&self) -> Result<Option<Vec<Array>>> {
        let name = self.name();
        let y = match (name, self.x) {
            (_, [x]) if unary(name).is_some() => {
                let Some(op) = unary(name) else {
                    return Ok(None);
                };
                self.unary(op, x)?
            }
            ("reduce_precision", [x]) => {
                let format = self.word(&["format"], 0).unwrap_or_default();
                let pretty = format.strip_prefix('e').and_then(|f| f.split_once('m'));
                let part = |text: Option<&str>, name: &str| match text {
                    Some(t) => t
                        .parse()
                        .map_err(|_| self.wrong("`format` is `e8m23` or so")),
                    None => Ok(u8::try_from(self.number(&[name])?)
                        .map_err(|_| self.wrong("so many bits"))?),
                };
                let op = Unary::ReducePrecision {
                    exponent_bits: part(pretty.map(|p| p.0), "exponent_bits")?,
                    mantissa_bits: part(pretty.map(|p| p.1), "mantissa_bits")?,
                };
                apply(op, &[x])?
            }
            ("compare" | "chlo.broadcast_compare", [x, y]) => {
                let (x, y) = self.together(x, y)?;
                self.compare(&x, &y)?
            }
            ("select" | "chlo.broadcast_select", [p, on_true, on_false]) => {
                apply(SelectN, &[p, on_false, on_true])?
            }
            ("clamp", [low, x, high]) => apply(Clamp, &[low, x, high])?,
            // A complex number loses its imaginary part, to bool as well.
            ("convert", [x]) if x.dtype()?.is_complex() && self.out(0)?.dtype == DType::Bool => {
                self.convert(&apply(Unary::Real, &[x])?, DType::Bool)?
            }
            ("convert", [x]) => self.convert(x, self.out(0)?.dtype)?,
            ("bitcast_convert", [x]) => self.bitcast(x)?,
            ("real", [x]) if !x.dtype()?.is_complex() => x.clone(),
            ("imag", [x]) if !x.dtype()?.is_complex() => {
                apply(Binary::Mul, &[x, &number(0i64, x.dtype()?)])?
            }
            ("real", [x]) => apply(Unary::Real, &[x])?,
            ("imag", [x]) => apply(Unary::Imag, &[x])?,
            ("chlo.conj", [x]) if !x.dtype()?.is_complex() => x.clone(),
            ("chlo.conj", [x]) => apply(Unary::Conj, &[x])?,
            ("chlo.zeta" | "chlo.broadcast_zeta", [x, q]) => {
                let (x, q) = self.together(x, q)?;
                apply(Special::Zeta, &[&x, &q])?
            }
            ("chlo.polygamma" | "chlo.broadcast_polygamma", [n, x]) => {
                let (n, x) = self.together(n, x)?;
                apply(Special::Polygamma, &[&n, &x])?
            }
            ("chlo.is_inf", [x]) => self.is_infinite(&apply(Unary::Abs, &[x])?, f64::INFINITY)?,
            ("chlo.is_pos_inf", [x]) => self.is_infinite(x, f64::INFINITY)?,
            ("chlo.is_neg_inf", [x]) => self.is_infinite(x, f64::NEG_INFINITY)?,
            ("chlo.constant_like", [x]) => {
                let value = self.op.attr("value").and_then(super::Attr::float);
                let value = value.ok_or_else(|| self.wrong("`value` is missing"))?;
                let aval = x.aval()?;
                number(value, aval.dtype).broadcast_in_dim(&aval.shape, ())
            }
            (_, [x, y]) => {
                let Some(op) = binary(name, x.dtype()?) else {
                    return Ok(None);
                };
                let (x, y) = self.together(x, y)?;
                self.binary(op, &x, &y)?
            }
            _ => return Ok(None),
        };
        Ok(Some(vec![y]))
    }

    fn unary(&self, op: Unary, x: &Array) -> Result<Array> {
        let dtype = x.dtype()?;
        match op {
            // The principal branch.
            Unary::Cbrt if dtype.is_complex() => {
                let third = apply(Binary::Div, &[&number(1i64, dtype), &number(3i64, dtype)])?;
                apply(Binary::Pow, &[x, &third])
            }
            Unary::IsFinite if !dtype.is_float() => Err(self.wrong("it takes floats")),
            // An unsigned number is its own absolute value.
            Unary::Abs if dtype.is_unsigned() => Ok(x.clone()),
            _ => apply(op, &[x]),
        }
    }

    fn binary(&self, op: Binary, x: &Array, y: &Array) -> Result<Array> {
        if op == Binary::Atan2 && x.dtype()?.is_complex() {
            // −i log((x + iy) / √(x² + y²))
            let dtype = x.dtype()?;
            let i = number(Scalar::Complex(num_complex::Complex::new(0.0, 1.0)), dtype);
            let turned = apply(Binary::Add, &[y, &apply(Binary::Mul, &[&i, x])?])?;
            let (a, b) = (apply(Unary::Square, &[x])?, apply(Unary::Square, &[y])?);
            let length = apply(Unary::Sqrt, &[&apply(Binary::Add, &[&a, &b])?])?;
            let log = apply(Unary::Log, &[&apply(Binary::Div, &[&turned, &length])?])?;
            return apply(Unary::Neg, &[&apply(Binary::Mul, &[&i, &log])?]);
        }
        apply(op, &[x, y])
    }

    /// The same bits; those of a bool are one bit, the first of several the lowest.
    fn bitcast(&self, x: &Array) -> Result<Array> {
        let (from, to) = (x.aval()?, self.out(0)?);
        let bits = |x: &Array, new_dtype| apply(BitcastConvertType { new_dtype }, &[x]);
        let word = |d: DType| match d.size() {
            1 => DType::U8,
            2 => DType::U16,
            4 => DType::U32,
            _ => DType::U64,
        };
        let places = |n: usize, dtype: DType, shape: &[usize]| {
            let op = Iota {
                dtype,
                shape: Dims::from_elem(n, 1),
                dimension: 0,
            };
            let last = shape.len().saturating_sub(1);
            Ok::<Array, Error>(apply(op, &[])?.broadcast_in_dim(shape, [last]))
        };
        if from.dtype.is_complex() && from.dtype != to.dtype && to.dtype.is_complex() {
            // Both parts along a last axis, cast as what they are, and put together again.
            let axis = from.ndim();
            let parts = [apply(Unary::Real, &[x])?, apply(Unary::Imag, &[x])?];
            let parts = parts.map(|p| p.expand_dims(axis as isize));
            let dimension = axis;
            let parts = apply(Concatenate { dimension }, &[&parts[0], &parts[1]])?;
            let parts = bits(&parts, to.dtype.real())?;
            let part = |i: usize| {
                let y = parts.slice_in_dim(i, i + 1, -1).reshape(&to.shape);
                y.ok()?;
                Ok::<Array, Error>(y)
            };
            return apply(Binary::Complex, &[&part(0)?, &part(1)?]);
        }
        match (from.dtype == DType::Bool, to.dtype == DType::Bool) {
            (true, true) | (false, false) => bits(x, to.dtype),
            (true, false) => {
                let (dtype, n) = (word(to.dtype), to.dtype.size() * 8);
                if from.shape.last() != Some(&n) {
                    return Err(self.wrong(format!("{from} is not made of {to}")));
                }
                let x = self.convert(x, dtype)?;
                let places = places(n, dtype, &from.shape)?;
                let each = apply(Binary::ShiftLeft, &[&x, &places])?;
                let axes = Dims::from_elem(from.ndim() - 1, 1);
                let reducer = Reducer::Or;
                bits(&apply(Reduce { reducer, axes }, &[&each])?, to.dtype)
            }
            (false, true) => {
                let (dtype, n) = (word(from.dtype), from.dtype.size() * 8);
                if to.shape.last() != Some(&n) || to.ndim() != from.ndim() + 1 {
                    return Err(self.wrong(format!("{from} is not made of {to}")));
                }
                let axes: Dims = (0..from.ndim()).collect();
                let x = bits(x, dtype)?.broadcast_in_dim(&to.shape, axes);
                let places = places(n, dtype, &to.shape)?;
                let each = apply(Binary::ShiftRightLogical, &[&x, &places])?;
                let one = apply(Binary::And, &[&each, &number(1i64, dtype)])?;
                self.convert(&one, DType::Bool)
            }
        }
    }

    fn compare(&self, x: &Array, y: &Array) -> Result<Array> {
        let direction = self.word(&["comparison_direction"], 0).unwrap_or_default();
        let op = comparison(direction)
            .ok_or_else(|| self.wrong(format!("there is no comparison `{direction}`")))?;
        let kind = self.word(&["compare_type"], 1).unwrap_or_default();
        if kind == "TOTALORDER" {
            return self.total_order(op, x, y);
        }
        apply(op, &[x, y])
    }

    /// By the order −NaN, −∞, …, −0, 0, …, ∞, NaN; integers have no other than their own.
    fn total_order(&self, op: Binary, x: &Array, y: &Array) -> Result<Array> {
        if !x.dtype()?.is_float() {
            return apply(op, &[x, y]);
        }
        match op {
            Binary::Lt => apply(Binary::LtTo, &[x, y]),
            Binary::Le => apply(Binary::LeTo, &[x, y]),
            Binary::Gt => apply(Binary::LtTo, &[y, x]),
            Binary::Ge => apply(Binary::LeTo, &[y, x]),
            Binary::Ne => apply(Unary::Not, &[&apply(Binary::EqTo, &[x, y])?]),
            _ => apply(Binary::EqTo, &[x, y]),
        }
    }

    fn is_infinite(&self, x: &Array, infinity: f64) -> Result<Array> {
        apply(Binary::Eq, &[x, &number(infinity, x.dtype()?)])
    }

    /// Both operands in one shape: as they are, or broadcast by NumPy's rule for `chlo.broadcast_…`.
    fn together(&self, x: &Array, y: &Array) -> Result<(Array, Array)> {
        if !self.op.name.starts_with("chlo.broadcast_") {
            return Ok((x.clone(), y.clone()));
        }
        let (a, b) = (x.aval()?, y.aval()?);
        let rank = a.ndim().max(b.ndim());
        let size = |s: &[usize], i: usize| {
            (i + s.len())
                .checked_sub(rank)
                .and_then(|i| s.get(i).copied())
        };
        let shape = (0..rank)
            .map(|i| match (size(&a.shape, i), size(&b.shape, i)) {
                (Some(1), Some(n)) | (Some(n), Some(1)) => Ok(n),
                (Some(m), Some(n)) if m == n => Ok(n),
                (Some(n), None) | (None, Some(n)) => Ok(n),
                _ => Err(self.wrong(format!("{a} and {b} do not broadcast"))),
            })
            .collect::<Result<crate::array::Dims>>()?;
        Ok((x.broadcast_to(&shape), y.broadcast_to(&shape)))
    }
}
