//! The value, and what each primitive does with it.

use super::{IntoUnit, Ratio, Unit};
use crate::{
    PyTree,
    array::{Array, Aval, Scalar},
    dispatch::{ArrayValue, Rules},
    error::{Error, Result},
    rules::families,
    trace::{
        bind_all,
        op::{Binary, Factor, Linalg, Op, Reducer, Unary},
    },
};

/// An array of quantities in one unit.
///
/// Under `quaxify` sums and comparisons convert to the unit of the first operand, products multiply units, functions such as `exp`
/// take numbers only, and results without a unit are plain arrays. A plain array has no unit, but 0, ±∞ and NaN are quantities of any.
///
/// There is no array that it equals: [`in_unit`] gives the numbers in a unit that one names.
///
/// `quaxify(grad(f))` gives gradients in the unit of the result per that of the argument. `grad(quaxify(f))` gives a container of the
/// argument's structure, and with it the argument's unit.
///
/// ```
/// use quaxide::{prelude::*, rules::{in_unit, quantity}};
/// let position = |x: &Array, v: &Array, t: &Array| x + v * t;
/// let x = quantity([1f32, 2.0], "m").unwrap();
/// let (v, t) = (quantity([36f32, 72.0], "km/h").unwrap(), quantity(0.5f32, "s").unwrap());
/// let y = quaxify(position)(&x, &v, &t).unwrap();
/// assert_eq!(in_unit(&y, "cm").unwrap().to_vec::<f32>().unwrap(), [600.0, 1200.0]);
/// let e = quaxify(position)(&v, &v, &t).unwrap_err();
/// assert!(e.message().contains("quantities in km h^-1 and quantities in km s h^-1"));
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct Unitful {
    /// The numbers.
    pub array: Array,
    /// What they count.
    #[pytree(meta)]
    pub unit: Unit,
}

/// Numbers in a unit, as an array that quaxified programs take. An error for text that names no unit, and for an array in error.
///
/// ```
/// use quaxide::{prelude::*, rules::quantity};
/// let g = quantity(9.80665f32, "m s^-2").unwrap();
/// assert_eq!(format!("{g:?}"), "unitful[f32[], m s^-2]");
/// assert!(quantity(20f32, "°C").is_err());
/// ```
pub fn quantity(numbers: impl Into<Array>, unit: impl IntoUnit) -> Result<Array> {
    families::array(Unitful::new(numbers.into(), unit))
}

/// The plain numbers that an array's quantities are in a unit. An array without a unit counts in ones.
///
/// An error if the units do not convert.
///
/// ```
/// use quaxide::{prelude::*, rules::{in_unit, quantity}};
/// let d = quantity([1f64, 2.5], "km").unwrap();
/// assert_eq!(in_unit(&d, "m").unwrap().to_vec::<f64>().unwrap(), [1000.0, 2500.0]);
/// assert!(in_unit(&d, "s").is_err());
/// assert_eq!(in_unit(&Array::from([0.5f32]), "%").unwrap().to_vec::<f32>().unwrap(), [50.0]);
/// ```
pub fn in_unit(x: &Array, unit: impl IntoUnit) -> Result<Array> {
    let (array, from) = apart(x.ok()?);
    convert(&array, &from, &unit.into_unit()?)
}

/// The numbers and what they count: a plain array counts in ones.
fn apart(x: &Array) -> (Array, Unit) {
    families::apart(
        x,
        |q: &Unitful| (q.array.clone(), q.unit.clone()),
        |x| (x.clone(), Unit::one()),
    )
}

/// Numbers of one unit in another.
fn convert(x: &Array, from: &Unit, to: &Unit) -> Result<Array> {
    let factor = from.factor_to(to)?;
    if factor == 1.0 {
        return Ok(x.clone());
    }
    if !x.dtype()?.is_inexact() {
        if factor.fract() != 0.0 || factor.abs() > 2f64.powi(53) {
            return Err(
                Error::dtype(format!("integers in {from} are not integers in {to}"))
                    .note("make them floats first, with `astype`"),
            );
        }
        return (x * factor as i64).ok().cloned();
    }
    // A number of the array's own type: the product keeps that type, weak or not.
    let a = x.aval()?;
    let factor = Array::from_scalar(Scalar::Float(factor), a.dtype, true);
    (x * factor).ok().cloned()
}

impl Unitful {
    /// Quantities from their numbers and their unit. An error for text that names no unit, and for an array in error.
    pub fn new(array: Array, unit: impl IntoUnit) -> Result<Unitful> {
        array.ok()?;
        Ok(Unitful {
            array,
            unit: unit.into_unit()?,
        })
    }

    /// The same quantities in another unit. An error if the two do not convert.
    pub fn to(&self, unit: impl IntoUnit) -> Result<Unitful> {
        let unit = unit.into_unit()?;
        Ok(Unitful {
            array: convert(&self.array, &self.unit, &unit)?,
            unit,
        })
    }
}

/// An operand, taken apart.
struct Operand {
    array: Array,
    unit: Unit,
    /// A number that is a quantity of every unit.
    any: bool,
}

fn is_of_any_unit(x: &Array) -> bool {
    let scalar = x.buffer().filter(|b| b.shape().is_empty());
    let free = |s: Scalar| s.as_f64().is_some_and(|x| x == 0.0 || !x.is_finite());
    x.is_symbolic_zero() || scalar.and_then(|b| b.item()).is_some_and(free)
}

impl Operand {
    fn new(x: &Array) -> Operand {
        let any = x.value::<Unitful>().is_none() && is_of_any_unit(x);
        let (array, unit) = apart(x);
        Operand { array, unit, any }
    }

    fn array_in(&self, unit: &Unit) -> Result<Array> {
        match self.any {
            true => Ok(self.array.clone()),
            false => convert(&self.array, &self.unit, unit),
        }
    }
}

/// A result: plain if it has no unit.
fn wrap(array: Array, unit: &Unit) -> Array {
    match unit.is_one() || array.ok().is_err() {
        true => array,
        false => Array::from_value(Unitful {
            array,
            unit: unit.clone(),
        }),
    }
}

/// The primitive on these arrays, each result with its unit.
fn apply(op: &Op, arrays: &[Array], units: &[Unit]) -> Result<Vec<Array>> {
    let results = bind_all(op.clone(), arrays)?;
    let one = Unit::one();
    let unit = |i: usize| units.get(i).unwrap_or(&one);
    Ok(results
        .into_iter()
        .enumerate()
        .map(|(i, y)| wrap(y, unit(i)))
        .collect())
}

fn does_not_fit(op: &Op, units: &[&Unit]) -> Error {
    let named: Vec<String> = units.iter().map(|u| u.named()).collect();
    Error::argument(format!(
        "`{}`: {} do not fit",
        op.name(),
        named.join(" and ")
    ))
}

/// The unit that the operands share, and their numbers in it.
fn share(op: &Op, x: &[Operand]) -> Result<(Unit, Vec<Array>)> {
    let fixed: Vec<&Operand> = x.iter().filter(|x| !x.any).collect();
    let unit = match fixed.first() {
        Some(first) => first.unit.clone(),
        None => Unit::one(),
    };
    if let Some(other) = fixed.iter().find(|o| !o.unit.converts_to(&unit)) {
        let e = does_not_fit(op, &[&unit, &other.unit]);
        return Err(
            match unit.is_dimensionless() || other.unit.is_dimensionless() {
                true => e.note("`quantity` gives a plain array its unit, `in_unit` takes it away"),
                false => e.note(format!(
                    "in SI: {} and {}",
                    unit.to_si(),
                    other.unit.to_si()
                )),
            },
        );
    }
    let arrays = x.iter().map(|x| x.array_in(&unit)).collect::<Result<_>>()?;
    Ok((unit, arrays))
}

/// The operand as a number.
fn number(op: &Op, x: &Operand) -> Result<Array> {
    if !x.unit.is_dimensionless() {
        return Err(Error::argument(format!(
            "`{}` takes numbers, not {}",
            op.name(),
            x.unit.named()
        ))
        .note("divide by a quantity of the same dimension first"));
    }
    x.array_in(&Unit::one())
}

fn numbers(op: &Op, x: &[Operand]) -> Result<Vec<Array>> {
    x.iter().map(|x| number(op, x)).collect()
}

/// The first operands are quantities of one unit, which the first result has; the other operands are numbers.
fn leading(op: &Op, x: &[Operand], quantities: usize) -> Result<Vec<Array>> {
    let (first, rest) = x.split_at(quantities.min(x.len()));
    let (unit, mut arrays) = share(op, first)?;
    arrays.extend(numbers(op, rest)?);
    apply(op, &arrays, &[unit])
}

fn power(op: &Op, base: &Operand, exponent: Ratio) -> Result<Vec<Array>> {
    let unit = base.unit.pow(exponent)?;
    apply(op, std::slice::from_ref(&base.array), &[unit])
}

fn unary(u: Unary, op: &Op, x: &Operand) -> Result<Vec<Array>> {
    use Unary::*;
    let whole = std::slice::from_ref(&x.array);
    match u {
        Neg | Abs | Real | Imag | Conj | ReducePrecision { .. } => {
            apply(op, whole, std::slice::from_ref(&x.unit))
        }
        // The sign and finiteness of a number do not depend on its unit.
        Sign | IsFinite => apply(op, whole, &[]),
        Square => power(op, x, Ratio::integer(2)),
        Sqrt => power(op, x, Ratio::HALF),
        Rsqrt => power(op, x, Ratio::new(-1, 2).unwrap_or(Ratio::ZERO)),
        Cbrt => power(op, x, Ratio::new(1, 3).unwrap_or(Ratio::ZERO)),
        Floor | Ceil | Round(_) | Exp | Exp2 | Log | Log1p | Expm1 | Tanh | Logistic | Sin
        | Cos | Tan | Asin | Acos | Atan | Sinh | Cosh | Asinh | Acosh | Atanh | Not
        | PopulationCount | Clz | Erf | Erfc | ErfInv | Lgamma | Digamma | BesselI0e
        | BesselI1e => apply(op, &[number(op, x)?], &[]),
    }
}

fn binary(b: Binary, op: &Op, x: &[Operand]) -> Result<Vec<Array>> {
    use Binary::*;
    let [l, r] = x else {
        return Err(Error::internal(format!(
            "`{}` takes two operands",
            op.name()
        )));
    };
    let both = [l.array.clone(), r.array.clone()];
    match b {
        Add | Sub | Rem | Max | Min | Nextafter | Complex => {
            let (unit, arrays) = share(op, x)?;
            apply(op, &arrays, &[unit])
        }
        Eq | Ne | Lt | Le | Gt | Ge | EqTo | LeTo | LtTo | Atan2 => {
            let (_, arrays) = share(op, x)?;
            apply(op, &arrays, &[])
        }
        Mul => apply(op, &both, &[l.unit.times(&r.unit)?]),
        Div => apply(op, &both, &[l.unit.per(&r.unit)?]),
        Pow if l.unit.is_one() || l.unit.is_dimensionless() => apply(op, &numbers(op, x)?, &[]),
        Pow => {
            let exponent = number(op, r)?;
            let known = exponent
                .buffer()
                .and_then(|b| b.item())
                .and_then(Scalar::as_f64);
            let ratio = known.and_then(Ratio::from_f64).ok_or_else(|| {
                Error::argument(format!(
                    "`pow`: {} need an exponent that is one known number, a simple fraction",
                    l.unit.named()
                ))
                .note("an array of exponents would give each element a unit of its own")
            })?;
            apply(op, &[l.array.clone(), exponent], &[l.unit.pow(ratio)?])
        }
        And | Or | Xor | Mulhi | ShiftLeft | ShiftRightLogical | ShiftRightArithmetic | Igamma
        | Igammac => apply(op, &numbers(op, x)?, &[]),
    }
}

fn linalg(l: &Linalg, op: &Op, x: &[Operand]) -> Result<Vec<Array>> {
    let arrays: Vec<Array> = x.iter().map(|x| x.array.clone()).collect();
    let unit = |i: usize| x.get(i).map(|x| x.unit.clone()).unwrap_or_default();
    let one = Unit::one();
    let units = match l {
        Linalg::Cholesky => vec![unit(0).pow(Ratio::HALF)?],
        // With a diagonal of ones the triangle is that of a factorisation, whose entries are numbers.
        Linalg::TriangularSolve(p) if p.unit_diagonal => vec![unit(1)],
        Linalg::TriangularSolve(_) => vec![unit(1).per(&unit(0))?],
        // The upper triangle has the unit, and it alone decides what the two are used for.
        Linalg::Lu => vec![unit(0)],
        Linalg::Qr { .. } => vec![one, unit(0)],
        Linalg::Eigh { .. } => vec![one, unit(0)],
        Linalg::Svd { .. } => vec![unit(0)],
    };
    apply(op, &arrays, &units)
}

fn factor(p: &Factor, op: &Op, x: &[Operand]) -> Result<Vec<Array>> {
    let one = Unit::one();
    match (p, x) {
        (Factor::Eig { .. }, [a]) | (Factor::Schur { .. }, [a]) => {
            apply(op, std::slice::from_ref(&a.array), &[a.unit.clone(), one])
        }
        (Factor::TridiagonalSolve, [matrix @ .., b]) => {
            let (unit, mut arrays) = share(op, matrix)?;
            arrays.push(b.array.clone());
            apply(op, &arrays, &[b.unit.per(&unit)?])
        }
        (Factor::CholeskyUpdate, _) => {
            let (unit, arrays) = share(op, x)?;
            apply(op, &arrays, &[unit])
        }
        (Factor::SymmetricProduct { .. }, [a, c]) => {
            let unit = a.unit.powi(2)?;
            if !c.any && !c.unit.converts_to(&unit) {
                return Err(does_not_fit(op, &[&unit, &c.unit]));
            }
            apply(op, &[a.array.clone(), c.array_in(&unit)?], &[unit])
        }
        (Factor::Ormqr { .. }, [a, taus, c]) => {
            let all = [number(op, a)?, number(op, taus)?, c.array.clone()];
            apply(op, &all, std::slice::from_ref(&c.unit))
        }
        // Reflections, which are numbers, are packed with what is left of the matrix.
        _ => apply(op, &numbers(op, x)?, &[]),
    }
}

/// How many elements a reduction combines into one.
fn combined(axes: &[usize], x: &Operand) -> Result<i64> {
    let shape = x.array.aval()?.shape;
    let n: usize = axes.iter().filter_map(|i| shape.get(*i)).product();
    i64::try_from(n).map_err(|_| Error::argument("a product over too many elements"))
}

fn rule(op: &Op, operands: &[&Array]) -> Result<Vec<Array>> {
    let x: Vec<Operand> = operands.iter().map(|x| Operand::new(x)).collect();
    let Some(first) = x.first() else {
        return Err(Error::internal(format!("`{}` has no operand", op.name())));
    };
    let arrays = || x.iter().map(|x| x.array.clone()).collect::<Vec<_>>();
    match op {
        Op::Unary(u) => unary(*u, op, first),
        Op::Binary(b) => binary(*b, op, &x),
        Op::IntegerPow(p) => power(op, first, Ratio::integer(p.y)),
        Op::Linalg(l) => linalg(l, op, &x),
        Op::Factor(p) => factor(p, op, &x),
        Op::DotGeneral(_) | Op::ConvGeneralDilated(_) => match &x[..] {
            [l, r] => apply(op, &arrays(), &[l.unit.times(&r.unit)?]),
            _ => Err(Error::internal("a product takes two operands")),
        },
        Op::Reduce(p) => match p.reducer {
            Reducer::Sum | Reducer::Max | Reducer::Min => leading(op, &x, 1),
            Reducer::Argmax(_) | Reducer::Argmin(_) => apply(op, &arrays(), &[]),
            Reducer::Prod => {
                let n = Ratio::new(combined(&p.axes, first)?, 1)
                    .ok_or_else(|| Error::argument("a product over too many elements"))?;
                power(op, first, n)
            }
            Reducer::And | Reducer::Or | Reducer::Xor => apply(op, &numbers(op, &x)?, &[]),
        },
        Op::ConvertElementType(p) if p.new_dtype == crate::array::DType::Bool => {
            apply(op, &arrays(), &[])
        }
        Op::SelectN(_) | Op::Clamp(_) => {
            // `which, case, …` and `low, x, high`.
            let cases = usize::from(matches!(op, Op::SelectN(_)));
            let (which, cases) = x.split_at(cases.min(x.len()));
            let (unit, shared) = share(op, cases)?;
            let mut all = numbers(op, which)?;
            all.extend(shared);
            apply(op, &all, &[unit])
        }
        Op::Scatter(p) => {
            use crate::trace::op::ScatterKind::{Add, Max, Min, Mul, Set, Sub};
            let [operand, indices, updates] = &x[..] else {
                return Err(Error::internal("a scatter takes three operands"));
            };
            let indices = number(op, indices)?;
            match p.kind {
                Set | Add | Sub | Min | Max => {
                    let pair = [
                        Operand::new(&wrap(operand.array.clone(), &operand.unit)),
                        Operand::new(&wrap(updates.array.clone(), &updates.unit)),
                    ];
                    let (unit, mut all) = share(op, &pair)?;
                    all.insert(1, indices);
                    apply(op, &all, &[unit])
                }
                Mul => {
                    let all = [operand.array.clone(), indices, number(op, updates)?];
                    apply(op, &all, std::slice::from_ref(&operand.unit))
                }
            }
        }
        Op::DynamicUpdateSlice(_) => leading(op, &x, 2),
        Op::Concatenate(_)
        | Op::Pad(_)
        | Op::SelectAndGatherAdd(_)
        | Op::SelectAndScatterAdd(_) => {
            let (unit, all) = share(op, &x)?;
            apply(op, &all, &[unit])
        }
        Op::SplitAlong(_) | Op::Unstack(_) => {
            let parts = bind_all(op.clone(), &arrays())?;
            Ok(parts.into_iter().map(|y| wrap(y, &first.unit)).collect())
        }
        Op::Sort(_) | Op::OptimizationBarrier(_) => {
            let units: Vec<Unit> = x.iter().map(|x| x.unit.clone()).collect();
            apply(op, &arrays(), &units)
        }
        Op::Cumulative(_) if matches!(op.name(), "cumprod" | "cumlogsumexp") => {
            apply(op, &numbers(op, &x)?, &[])
        }
        Op::ReduceWindow(_) if op.name() == "reduce_window_prod" => {
            apply(op, &numbers(op, &x)?, &[])
        }
        Op::ReduceBy(_)
        | Op::ReduceWindowBy(_)
        | Op::SelectAndScatter(_)
        | Op::ScatterBy(_)
        | Op::SortBy(_)
        | Op::RngBitGenerator(_)
        | Op::Special(_)
        | Op::RandomGamma(_)
        | Op::Threefry2x32(_)
        | Op::BitcastConvertType(_) => apply(op, &numbers(op, &x)?, &[]),
        _ => leading(op, &x, 1),
    }
}

const OTHERS: &[&str] = &[
    "all_gather",
    "all_to_all",
    "bitcast_convert_type",
    "cholesky",
    "cholesky_update",
    "clamp",
    "concatenate",
    "conv_general_dilated",
    "dot_general",
    "dynamic_update_slice",
    "eig",
    "eigh",
    "fft",
    "geqp3",
    "geqrf",
    "hessenberg",
    "householder_product",
    "lu",
    "lu_pivots_to_permutation",
    "optimization_barrier",
    "ormqr",
    "pad",
    "pbroadcast",
    "pmax",
    "pmin",
    "ppermute",
    "psum",
    "qr",
    "random_gamma",
    "reduce",
    "reduce_scatter",
    "reduce_window",
    "reduce_window_max",
    "reduce_window_min",
    "reduce_window_prod",
    "reduce_window_sum",
    "rng_bit_generator",
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
    "sort",
    "stack",
    "svd",
    "symmetric_product",
    "threefry2x32",
    "top_k",
    "triangular_solve",
    "tridiagonal",
    "tridiagonal_solve",
];

impl ArrayValue for Unitful {
    fn aval(&self) -> Result<Aval> {
        self.array.aval()
    }

    fn materialise(&self) -> Result<Array> {
        if self.unit.is_dimensionless() {
            return convert(&self.array, &self.unit, &Unit::one());
        }
        Err(
            Error::refused(format!("{} have no unit-free value", self.unit.named()))
                .note("`in_unit` gives the numbers in a unit that one names"),
        )
    }

    fn is_own_tangent(&self) -> bool {
        true
    }

    fn cotangent(&self) -> Unitful {
        Unitful {
            array: self.array.clone(),
            unit: self.unit.powi(-1).unwrap_or_else(|_| self.unit.clone()),
        }
    }

    fn describe(&self) -> String {
        format!("unitful[{}, {}]", self.array.describe(), self.unit)
    }

    fn rules(r: &mut Rules) {
        r.precedence(40);
        families::all::<Unitful>(r, OTHERS, rule);
    }
}
