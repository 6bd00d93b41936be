//! Arrays of which some elements are masked: they take no part.

use super::{Named, families};
use crate::{
    PyTree,
    array::{
        Array, Aval, DType, Dims, IntoAxes, Scalar,
        numpy::{MEAN, MEAN_BACK, Mean, MeanBack},
    },
    dispatch::{ArrayValue, Rules, quaxify},
    error::{Error, Result},
    trace::{
        bind, bind_all,
        op::{
            Across, Binary, Collective, CumulativeKind, DotGeneral, Exchange, Factor, Op, Parts,
            Reduce, Reducer, Scatter, ScatterKind, Sort, TopK, Unary,
        },
    },
};

/// An array with a mask of its shape: where the mask is true, there is no element.
///
/// As NumPy's masked arrays: an operation gives a masked element where an operand has one; sums, extrema and contractions pass over masked elements,
/// and are masked where nothing is left; what has no value (`log` of a negative number, division by zero) is masked. The mask is an array
/// of its own, and never written into the data.
///
/// Means and variances divide by the number of elements that are there, and softmax is among them.
///
/// ```
/// use quaxide::{prelude::*, rules::{filled, masked}};
/// let x = masked(Array::from([1f32, 2.0, f32::NAN]), Array::from([false, false, true])).unwrap();
/// let y = quaxify(|x: &Array| nn::softmax(x, 0))(&x).unwrap();
/// let y = filled(&y, 0.0).unwrap().to_vec::<f32>().unwrap();
/// assert!((y[1] - 0.7310586).abs() < 1e-6 && y[2] == 0.0);
/// let sum = quaxify(|x: &Array| x.sum(()))(&x).unwrap();
/// assert_eq!(filled(&sum, 0.0).unwrap().item::<f32>().unwrap(), 3.0);
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct Masked {
    /// The elements; what stands where the mask is true does not matter.
    pub data: Array,
    /// Where there is none.
    pub mask: Array,
}

/// An array with a mask: true where there is no element.
///
/// An error if the mask is not `bool`, or of another shape.
///
/// ```
/// use quaxide::{prelude::*, rules::masked};
/// let e = masked(Array::ones([3], DType::F32), Array::from([true, false])).unwrap_err();
/// assert_eq!(e.message(), "a mask for f32[3] must be bool[3], not bool[2]");
/// ```
pub fn masked(data: impl Into<Array>, mask: impl Into<Array>) -> Result<Array> {
    families::array(Masked::new(data.into(), mask.into()))
}

/// The array with its masked elements replaced by a number; a plain array as it is.
///
/// An error for an array in error.
pub fn filled(x: &Array, with: impl Into<Scalar>) -> Result<Array> {
    let x = x.ok()?;
    let Some(m) = x.value::<Masked>() else {
        return Ok(x.clone());
    };
    let number = Array::from_scalar(with.into(), m.data.dtype()?, true);
    quaxify(|data: &Array, mask: &Array| mask.select(&number, data))(&m.data, &m.mask)
}

/// Where an array has no element; nowhere for a plain one.
pub fn mask_of(x: &Array) -> Result<Array> {
    let x = x.ok()?;
    match x.value::<Masked>() {
        Some(m) => Ok(m.mask.clone()),
        None => Array::zeros(x.shape(), DType::Bool).ok().cloned(),
    }
}

/// How many elements there are along axes.
///
/// An error for an axis that does not exist.
pub fn masked_count(x: &Array, axes: impl IntoAxes) -> Result<Array> {
    let axes = axes.axes(x.ndim())?;
    quaxify(|mask: &Array| (!mask).sum(&axes))(&mask_of(x)?)
}

/// The mean of the elements that there are, along axes; masked where there is none. `x.mean(axes)` under `quaxify` is the same.
///
/// An error for an axis that does not exist, and for a type without a mean.
///
/// ```
/// use quaxide::{prelude::*, rules::{filled, masked, masked_mean}};
/// let x = masked([1f32, 2.0, 9.0], [false, false, true]).unwrap();
/// assert_eq!(filled(&masked_mean(&x, ()).unwrap(), 0.0).unwrap().item::<f32>().unwrap(), 1.5);
/// let y = quaxify(|x: &Array| x.mean(()))(&x).unwrap();
/// assert_eq!(filled(&y, 0.0).unwrap().item::<f32>().unwrap(), 1.5);
/// ```
pub fn masked_mean(x: &Array, axes: impl IntoAxes) -> Result<Array> {
    let axes = axes.axes(x.ndim())?;
    quaxify(|x: &Array| x.mean(&axes))(x)
}

/// The mean square deviation of the elements that there are from their mean, along axes: `x.var(axes)` under `quaxify`.
///
/// An error as for [`masked_mean`].
pub fn masked_var(x: &Array, axes: impl IntoAxes) -> Result<Array> {
    let axes = axes.axes(x.ndim())?;
    quaxify(|x: &Array| x.var(&axes))(x)
}

impl Masked {
    /// From data and mask, as [`masked`].
    pub fn new(data: Array, mask: Array) -> Result<Masked> {
        let (d, m) = (data.aval()?, mask.aval()?);
        let wanted = Aval::new(&d.shape, DType::Bool);
        if !wanted.same_type(&m) {
            return Err(Error::shape(format!(
                "a mask for {d} must be {wanted}, not {m}"
            )));
        }
        // Axes with names keep the two in step.
        let mask = match (data.value::<Named>(), mask.value::<Named>()) {
            (Some(n), None) => Array::from_value(Named::new(mask, n.names())?),
            _ => mask,
        };
        Ok(Masked { data, mask })
    }
}

/// An operand, taken apart; a plain one has no mask.
struct Operand {
    data: Array,
    mask: Option<Array>,
}

impl Operand {
    fn new(x: &Array) -> Operand {
        let (data, mask) = families::apart(
            x,
            |m: &Masked| (m.data.clone(), Some(m.mask.clone())),
            |x| (x.clone(), None),
        );
        Operand { data, mask }
    }

    /// The mask, all false for a plain operand.
    fn mask(&self) -> Result<Array> {
        match &self.mask {
            Some(mask) => Ok(mask.clone()),
            None => {
                let none = Array::zeros(self.data.shape(), DType::Bool);
                match self.data.value::<Named>() {
                    Some(n) => Ok(Array::from_value(Named::new(none, n.names())?)),
                    None => none.ok().cloned(),
                }
            }
        }
    }

    /// The data with a number where there is no element.
    fn filled(&self, with: Scalar) -> Result<Array> {
        let Some(mask) = &self.mask else {
            return Ok(self.data.clone());
        };
        let number = Array::from_scalar(with, self.data.dtype()?, false);
        mask.select(number, &self.data).ok().cloned()
    }
}

fn value(data: Array, mask: Array) -> Result<Array> {
    Ok(Array::from_value(Masked {
        data: data.ok()?.clone(),
        mask: mask.ok()?.clone(),
    }))
}

/// True where one of the operands of an elementwise primitive has no element. Scalars stand for every element.
fn any_masked(x: &[Operand], like: &Array) -> Result<Array> {
    let mut all: Option<Array> = None;
    for mask in x.iter().filter_map(|x| x.mask.as_ref()) {
        all = Some(match all {
            None => mask.clone(),
            Some(all) => all | mask,
        });
    }
    let all = all.ok_or_else(|| Error::internal("no operand has a mask"))?;
    match all.ndim() == like.ndim() {
        true => Ok(all),
        false => all.broadcast_in_dim(like.shape(), ()).ok().cloned(),
    }
}

/// Where a function of one number has no value, and a number for which it has.
fn outside(u: Unary, x: &Array) -> Option<(Array, f64)> {
    Some(match u {
        Unary::Sqrt => (x.lt(0.0), 1.0),
        Unary::Rsqrt | Unary::Log => (x.le(0.0), 1.0),
        Unary::Log1p => (x.le(-1.0), 0.0),
        Unary::Asin | Unary::Acos | Unary::ErfInv => (x.abs().gt(1.0), 0.0),
        Unary::Acosh => (x.lt(1.0), 1.0),
        Unary::Atanh => (x.abs().ge(1.0), 0.0),
        _ => return None,
    })
}

fn unary(u: Unary, x: &Operand) -> Result<Array> {
    let mask = x.mask()?;
    if x.data.dtype()?.is_float()
        && let Some((outside, inside)) = outside(u, &x.data)
    {
        let mask = mask | outside;
        let safe = mask.select(Array::full_like(&x.data, inside), &x.data);
        return value(bind(u, &[&safe]), mask);
    }
    value(bind(u, &[&x.data]), mask)
}

fn binary(b: Binary, x: &[Operand]) -> Result<Array> {
    let data: Vec<&Array> = x.iter().map(|x| &x.data).collect();
    let (Binary::Div | Binary::Rem, [l, r]) = (b, &data[..]) else {
        let y = bind(b, &data);
        let mask = any_masked(x, y.ok()?)?;
        return value(y, mask);
    };
    // A quotient by zero is none.
    let zero = r.eq(0.0);
    let one = Array::full_like(r, 1);
    let y = bind(b, &[l, &zero.select(one, *r)]);
    let mask = any_masked(x, y.ok()?)?;
    let zero = match zero.ndim() == y.ndim() {
        true => zero,
        false => zero.broadcast_in_dim(y.shape(), ()),
    };
    value(y, mask | zero)
}

/// The largest or the smallest number of a type.
fn extreme(d: DType, largest: bool) -> Scalar {
    let bits = 8 * d.size() as u32;
    let unsigned = d.is_integer() && !d.is_signed();
    match (d, largest) {
        (DType::Bool, largest) => Scalar::Bool(largest),
        (d, true) if d.is_integer() && unsigned => Scalar::Int((1i128 << bits) - 1),
        (d, false) if d.is_integer() && unsigned => Scalar::Int(0),
        (d, true) if d.is_integer() => Scalar::Int((1i128 << (bits - 1)) - 1),
        (d, false) if d.is_integer() => Scalar::Int(-(1i128 << (bits - 1))),
        (_, true) => Scalar::Float(f64::INFINITY),
        (_, false) => Scalar::Float(f64::NEG_INFINITY),
    }
}

fn reduce(p: &Reduce, x: &Operand) -> Result<Array> {
    let d = x.data.dtype()?;
    let neutral = match p.reducer {
        Reducer::Sum | Reducer::Xor => Scalar::Int(0),
        Reducer::Prod => Scalar::Int(1),
        Reducer::Max | Reducer::Argmax(_) => extreme(d, false),
        Reducer::Min | Reducer::Argmin(_) => extreme(d, true),
        Reducer::And if d == DType::Bool => Scalar::Bool(true),
        Reducer::And => Scalar::Int(-1),
        Reducer::Or => Scalar::Int(0),
    };
    let y = bind(p.clone(), &[&x.filled(neutral)?]);
    let all = Reduce {
        reducer: Reducer::And,
        axes: p.axes.clone(),
    };
    value(y, bind(all, &[&x.mask()?]))
}

/// A sum of products passes over pairs of which one is not there.
fn product(op: &Op, x: &[Operand]) -> Result<Array> {
    let zero = Scalar::Int(0);
    let data = x
        .iter()
        .map(|x| x.filled(zero))
        .collect::<Result<Vec<_>>>()?;
    let there = |x: &Operand| Ok((!x.mask()?).astype(DType::F32));
    let there = x.iter().map(there).collect::<Result<Vec<Array>>>()?;
    let mut counting = op.clone();
    if let Op::DotGeneral(p) = op {
        let mut p = (**p).clone();
        p.preferred_element_type = None;
        counting = p.into();
    }
    if let Op::ConvGeneralDilated(p) = op {
        let mut p = (**p).clone();
        p.preferred_element_type = None;
        counting = p.into();
    }
    let y = bind(op.clone(), &data.iter().collect::<Vec<_>>());
    let pairs = bind(counting, &there.iter().collect::<Vec<_>>());
    value(y, pairs.eq(0.0))
}

/// The mean of what is there: of `x`, where `like` has elements, too.
fn mean(p: &Mean, x: &Array, like: &Array) -> Result<Array> {
    let (x, like) = (Operand::new(x), Operand::new(like));
    let mask = x.mask()? | like.mask()?;
    let count = (!&mask).sum(&p.axes);
    let x = Operand {
        data: x.data,
        mask: Some(mask),
    };
    let sum = x.filled(Scalar::Int(0))?.sum(&p.axes);
    let n = count.maximum(1).astype(sum.dtype()?.real());
    value(sum / n, count.eq(0))
}

/// The share of each element in a mean of those that are there; the others are masked.
fn mean_back(p: &MeanBack, ct: &Array, like: &Array) -> Result<Array> {
    let (ct, like) = (Operand::new(ct), Operand::new(like));
    let mask = like.mask()?;
    let count = (!&mask).sum(&p.axes);
    let shape = like.data.shape();
    let kept: Dims = (0..shape.len()).filter(|i| !p.axes.contains(i)).collect();
    let n = count.maximum(1).astype(ct.data.dtype()?.real());
    let share = (&ct.data / n).broadcast_in_dim(&shape, &kept);
    value(share, mask | ct.mask()?.broadcast_in_dim(&shape, &kept))
}

/// The same primitive for masks, where its parameters depend on the element type.
fn for_masks(op: &Op) -> Op {
    match op {
        Op::Gather(p) => {
            let mut p = (**p).clone();
            // A number that is asked for is an element; without one there is none outside.
            p.fill_value = Some(Scalar::Bool(p.fill_value.is_none()));
            p.into()
        }
        Op::Scatter(p) => Scatter {
            kind: match p.kind {
                ScatterKind::Set => ScatterKind::Set,
                _ => ScatterKind::Max,
            },
            dtype: DType::Bool,
            ..(**p).clone()
        }
        .into(),
        _ => op.clone(),
    }
}

/// Elements move, and their masks with them; the operands that are not elements say where.
fn moved(op: &Op, x: &[Operand], elements: impl Fn(usize) -> bool) -> Result<Vec<Array>> {
    let (mut data, mut masks) = (vec![], vec![]);
    for (i, x) in x.iter().enumerate() {
        data.push(x.data.clone());
        masks.push(match elements(i) {
            true => x.mask()?,
            false if x.mask.is_some() => {
                return Err(Error::refused(format!(
                    "`{}`: a place that is masked is no place",
                    op.name()
                )));
            }
            false => x.data.clone(),
        });
    }
    let data = bind_all(op.clone(), &data)?;
    let masks = bind_all(for_masks(op), &masks)?;
    data.into_iter()
        .zip(masks)
        .map(|(d, m)| value(d, m))
        .collect()
}

/// Masked elements come last.
fn sort(p: &Sort, x: &Operand) -> Result<Vec<Array>> {
    let by = Sort {
        num_keys: 2,
        ..p.clone()
    };
    let results = bind_all(by, &[x.mask()?, x.data.clone()])?;
    match &results[..] {
        [mask, data] => Ok(vec![value(data.clone(), mask.clone())?]),
        _ => Err(Error::internal("sorting lost an array")),
    }
}

fn window(op: &Op, x: &[Operand]) -> Result<Array> {
    let [x] = x else {
        return Err(Error::internal("a window takes one operand"));
    };
    let d = x.data.dtype()?;
    let neutral = match op.name() {
        "reduce_window_max" => extreme(d, false),
        "reduce_window_min" => extreme(d, true),
        "reduce_window_prod" => Scalar::Int(1),
        _ => Scalar::Int(0),
    };
    let y = bind(op.clone(), &[&x.filled(neutral)?]);
    let Op::ReduceWindow(p) = op else {
        return Err(Error::internal("not a window"));
    };
    let mut count = (**p).clone();
    count.reducer = crate::trace::op::WindowReducer::Sum;
    let there = bind(count, &[&(!x.mask()?).astype(DType::F32)]);
    value(y, there.eq(0.0))
}

fn cumulative(op: &Op, kind: CumulativeKind, x: &Operand) -> Result<Array> {
    let d = x.data.dtype()?;
    let neutral = match kind {
        CumulativeKind::Sum => Scalar::Int(0),
        CumulativeKind::Prod => Scalar::Int(1),
        CumulativeKind::Max | CumulativeKind::LogSumExp => extreme(d, false),
        CumulativeKind::Min => extreme(d, true),
    };
    value(bind(op.clone(), &[&x.filled(neutral)?]), x.mask()?)
}

/// The largest that there are; those that are masked come last.
fn top_k(p: &TopK, x: &Operand) -> Result<Vec<Array>> {
    let lowest = extreme(x.data.dtype()?, false);
    let results = bind_all(p.clone(), &[x.filled(lowest)?])?;
    let [values, places] = &results[..] else {
        return Err(Error::internal("`top_k` gives two arrays"));
    };
    let mask = x.mask()?.take_along_axis(places, p.axis as i32);
    Ok(vec![value(values.clone(), mask)?, places.clone()])
}

/// What is masked is no candidate for the largest of a window, nor is anything added there.
fn of_windows(op: &Op, largest: bool, x: &[Operand]) -> Result<Array> {
    let [added, candidates] = x else {
        return Err(Error::internal("a selection takes two operands"));
    };
    let never = extreme(candidates.data.dtype()?, !largest);
    let y = bind(
        op.clone(),
        &[&added.filled(Scalar::Int(0))?, &candidates.filled(never)?],
    );
    let mask = match op {
        Op::SelectAndScatterAdd(_) => candidates.mask()?,
        // Those of the elements that were chosen.
        _ => {
            let there = !(added.mask()? | candidates.mask()?);
            let there = there.astype(candidates.data.dtype()?);
            bind(op.clone(), &[&there, &candidates.filled(never)?]).eq(0.0)
        }
    };
    value(y, mask)
}

/// Over the examples of a `vmap`: masked where none of them has an element.
fn collective(p: &Collective, x: &Operand) -> Result<Array> {
    let neutral = match p.across {
        Across::Sum => Scalar::Int(0),
        Across::Max => extreme(x.data.dtype()?, false),
        Across::Min => extreme(x.data.dtype()?, true),
    };
    let count = Collective {
        across: Across::Sum,
        axis: p.axis.clone(),
    };
    let there = (!x.mask()?).astype(DType::F32);
    value(
        bind(p.clone(), &[&x.filled(neutral)?]),
        bind(count, &[&there]).eq(0.0),
    )
}

fn exchange(p: &Exchange, x: &[Operand]) -> Result<Vec<Array>> {
    let (Parts::ReduceScatter { .. }, [x]) = (&p.parts, x) else {
        return moved(&p.clone().into(), x, |_| true);
    };
    let there = (!x.mask()?).astype(DType::F32);
    let sum = bind(p.clone(), &[&x.filled(Scalar::Int(0))?]);
    Ok(vec![value(sum, bind(p.clone(), &[&there]).eq(0.0))?])
}

/// `alpha·a·aᵀ + beta·c`, each by its own rule.
fn symmetric_product(alpha: f64, beta: f64, a: &Array, c: &Array) -> Result<Array> {
    let last = a.ndim().saturating_sub(1);
    let lead = || (0..last.saturating_sub(1)).collect::<Dims>();
    let dims = DotGeneral::new(([last], [last]), (lead(), lead()));
    (bind(dims, &[a, a]) * alpha + c * beta).ok().cloned()
}

fn rule(op: &Op, operands: &[&Array]) -> Result<Vec<Array>> {
    let x: Vec<Operand> = operands.iter().map(|x| Operand::new(x)).collect();
    let first = x
        .first()
        .ok_or_else(|| Error::internal(format!("`{}` has no operand", op.name())))?;
    let one = |y: Result<Array>| y.map(|y| vec![y]);
    let data: Vec<&Array> = x.iter().map(|x| &x.data).collect();
    match op {
        Op::Unary(u) => one(unary(*u, first)),
        Op::Binary(b) => one(binary(*b, &x)),
        Op::IntegerPow(p) if p.y < 0 => {
            let zero = first.data.eq(0.0);
            let safe = zero.select(Array::full_like(&first.data, 1), &first.data);
            one(value(bind(op.clone(), &[&safe]), first.mask()? | zero))
        }
        Op::Clamp(_) | Op::Special(_) => {
            let y = bind(op.clone(), &data);
            let mask = any_masked(&x, y.ok()?)?;
            one(value(y, mask))
        }
        Op::SelectN(p) => {
            let [which, cases @ ..] = &x[..] else {
                return Err(Error::internal("`select_n` has no predicate"));
            };
            let y = bind(op.clone(), &data);
            let masks = cases
                .iter()
                .map(Operand::mask)
                .collect::<Result<Vec<_>>>()?;
            let choice: Vec<&Array> = std::iter::once(&which.data).chain(&masks).collect();
            let mut mask = bind(*p, &choice);
            if let Some(m) = &which.mask {
                mask = mask | m.broadcast_to(y.ok()?.shape());
            }
            one(value(y, mask))
        }
        Op::Reduce(p) => one(reduce(p, first)),
        Op::DotGeneral(_) | Op::ConvGeneralDilated(_) => one(product(op, &x)),
        Op::Cumulative(p) => one(cumulative(op, p.kind, first)),
        Op::ReduceWindow(_) => one(window(op, &x)),
        Op::Sort(p) if x.len() == 1 => sort(p, first),
        Op::TopK(p) => top_k(p, first),
        Op::SelectAndGatherAdd(p) => one(of_windows(op, p.largest, &x)),
        Op::SelectAndScatterAdd(p) => one(of_windows(op, p.largest, &x)),
        Op::Collective(p) => one(collective(p, first)),
        Op::Exchange(p) => exchange(p, &x),
        Op::Factor(p) => match (&**p, operands) {
            (Factor::SymmetricProduct { alpha, beta }, [a, c]) => {
                one(symmetric_product(*alpha, *beta, a, c))
            }
            _ => Err(Error::internal(format!("no rule for `{}`", op.name()))),
        },
        Op::BitcastConvertType(p) if first.data.dtype()?.size() == p.new_dtype.size() => {
            one(value(bind(op.clone(), &[&first.data]), first.mask()?))
        }
        Op::BitcastConvertType(_) => Err(Error::refused(
            "`bitcast_convert_type` to elements of another size: a part of an element has no mask",
        )),
        Op::Sort(_) | Op::SortBy(_) => Err(Error::refused(
            "`sort` of several arrays together: masked ones have no order",
        )),
        Op::ScatterBy(_) => Err(Error::refused(
            "a program that combines elements does not know of masks: masked elements have no value",
        )),
        Op::Scatter(_) => moved(op, &x, |i| i != 1),
        Op::DynamicUpdateSlice(_) => moved(op, &x, |i| i < 2),
        Op::Pad(_) => {
            let (Some(x), Some(with)) = (x.first(), x.get(1)) else {
                return Err(Error::internal("`pad` takes two operands"));
            };
            let y = bind(op.clone(), &data);
            one(value(y, bind(op.clone(), &[&x.mask()?, &with.mask()?])))
        }
        Op::Concatenate(_) | Op::Stack(_) | Op::OptimizationBarrier(_) => moved(op, &x, |_| true),
        Op::StopGradient(_)
        | Op::Component(_)
        | Op::Copied(_)
        | Op::ConvertElementType(_)
        | Op::IntegerPow(_) => one(value(bind(op.clone(), &[&first.data]), first.mask()?)),
        _ => moved(op, &x, |i| i == 0),
    }
}

const OTHERS: &[&str] = &[
    "all_gather",
    "all_to_all",
    "bitcast_convert_type",
    "clamp",
    "concatenate",
    "conv_general_dilated",
    "dot_general",
    "dynamic_update_slice",
    "optimization_barrier",
    "pad",
    "pbroadcast",
    "pmax",
    "pmin",
    "ppermute",
    "psum",
    "reduce_scatter",
    "reduce_window_max",
    "reduce_window_min",
    "reduce_window_prod",
    "reduce_window_sum",
    "scatter",
    "scatter-add",
    "scatter-max",
    "scatter-min",
    "scatter-mul",
    "scatter-sub",
    "select_and_gather_add",
    "select_and_scatter_add",
    "select_n",
    "sort",
    "stack",
    "symmetric_product",
    "top_k",
];

impl ArrayValue for Masked {
    fn aval(&self) -> Result<Aval> {
        self.data.aval()
    }

    fn materialise(&self) -> Result<Array> {
        Err(Error::refused("masked elements have no value")
            .note("`filled` puts a number in their place"))
    }

    fn is_own_tangent(&self) -> bool {
        true
    }

    /// What is not there moves nothing.
    fn as_cotangent(&self) -> Result<Array> {
        Ok(self.mask.select(Array::zeros_like(&self.data), &self.data))
    }

    fn describe(&self) -> String {
        format!("masked[{}]", self.data.describe())
    }

    fn rules(r: &mut Rules) {
        r.precedence(60);
        r.mixed::<Mean, Masked, _>(MEAN, |p, x| match x {
            [x] => mean(p, x, x),
            [x, like] => mean(p, x, like),
            _ => Err(Error::internal("a mean takes one operand, or two")),
        });
        r.mixed::<MeanBack, Masked, _>(MEAN_BACK, |p, x| match x {
            [ct, like] => mean_back(p, ct, like),
            _ => Err(Error::internal(
                "the transpose of a mean takes two operands",
            )),
        });
        families::all::<Masked>(r, OTHERS, rule);
    }
}
