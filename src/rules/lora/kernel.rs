//! Low-rank adaptation of the kernels of convolutions.

use super::{LoraConfig, scaled};
use crate::{
    array::{Array, Aval, Dims},
    dispatch::{ArrayValue, Rules},
    error::{Error, Result},
    random::{self, Key},
    rules::families::IDENTITY,
    trace::{
        bind,
        op::{self, ConvGeneralDilated, DotGeneral, Op, Rev, Unary},
    },
    tree::{Flat, Leaves, PyTree},
};

/// A kernel `[out, in, ..space]` with an update of low rank: `w + scaling·a·b`, with `a` of shape `[out, rank]` and `b` a kernel
/// `[rank, in, ..space]`.
///
/// A convolution with it is one with `w`, and one with the few features of `b`, of which `a` makes all: `a·b` is not formed. Everything else that
/// is linear is planned by the algebra.
///
/// ```
/// use quaxide::{prelude::*, rules::LoraKernel};
/// let conv = nn::Conv2d::new(3, 8, 3, &random::key(0));
/// let kernel = LoraKernel::new(&conv.weight, &LoraConfig::rank(2), &random::key(1)).unwrap();
/// let mut adapted = conv.clone();
/// adapted.weight = Array::from_value(kernel);
/// let x = Array::ones([3, 5, 5], DType::F32);
/// let y = quaxify(nn::Conv2d::call)(&adapted, &x).unwrap();
/// assert!(y.allclose(conv.call(&x), 1e-5, 1e-5, false).item::<bool>().unwrap());
/// ```
#[derive(Clone, Debug)]
pub struct LoraKernel {
    /// The base kernel.
    pub w: Array,
    /// From the update's features to those of the result.
    pub a: Array,
    /// The update's kernel.
    pub b: Array,
    /// Is the base frozen?
    pub stop_gradient: bool,
    /// May a plan form the sum?
    pub allow_materialise: bool,
    /// How many times the update counts.
    pub scaling: f64,
}

impl PyTree for LoraKernel {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("LoraKernel");
        out.meta("stop_gradient", &self.stop_gradient);
        out.meta("allow_materialise", &self.allow_materialise);
        out.meta("scaling", &self.scaling.to_bits());
        out.child("w", &self.w);
        out.child("a", &self.a);
        out.child("b", &self.b);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        LoraKernel {
            w: self.w.unflatten(leaves),
            a: self.a.unflatten(leaves),
            b: self.b.unflatten(leaves),
            ..*self
        }
    }
}

impl LoraKernel {
    /// From its parts, with a frozen base and no materialising. An error if the shapes do not fit.
    pub fn from_parts(w: Array, a: Array, b: Array) -> Result<LoraKernel> {
        let (s, t, u) = (w.aval()?, a.aval()?, b.aval()?);
        let fits = s.ndim() >= 3
            && t.ndim() == 2
            && u.ndim() == s.ndim()
            && s.shape.first() == t.shape.first()
            && t.shape.last() == u.shape.first()
            && s.shape.get(1..) == u.shape.get(1..);
        if !fits {
            return Err(Error::shape(format!(
                "an adapted kernel needs w [out, in, ..], a [out, rank] and b [rank, in, ..]; got {s}, {t} and {u}"
            )));
        }
        Ok(LoraKernel {
            w,
            a,
            b,
            stop_gradient: true,
            allow_materialise: false,
            scaling: 1.0,
        })
    }

    /// A kernel with an update that is zero at first: `a` zero, `b` normal with the configuration's scale.
    ///
    /// An error for a kernel of fewer than three axes or of another type than float, and for a rank of 0 or above the kernel's.
    #[track_caller]
    pub fn new(kernel: &Array, config: &LoraConfig, key: &Key) -> Result<LoraKernel> {
        let at = std::panic::Location::caller();
        LoraKernel::at("LoraKernel", kernel, config, key).map_err(|e| e.at(at))
    }

    pub(super) fn at(
        place: &str,
        kernel: &Array,
        config: &LoraConfig,
        key: &Key,
    ) -> Result<LoraKernel> {
        let aval = kernel.aval()?;
        let [out, rest @ ..] = &aval.shape[..] else {
            return Err(Error::shape(format!(
                "{place}: a kernel has axes, found {aval}"
            )));
        };
        if rest.len() < 2 {
            return Err(Error::shape(format!(
                "{place}: a kernel is [out, in, ..], found {aval}"
            )));
        }
        let flat = aval.with_shape([*out, rest.iter().product()]);
        config.check(place, &flat)?;
        let shape: Dims = std::iter::once(config.rank)
            .chain(rest.iter().copied())
            .collect();
        let b = random::normal(key, (shape, aval.dtype)) * config.scale;
        Ok(LoraKernel {
            w: kernel.clone(),
            a: Array::zeros([*out, config.rank], aval.dtype),
            b: b.ok()?.clone(),
            stop_gradient: config.stop_gradient,
            allow_materialise: config.allow_materialise,
            scaling: config.scaling(),
        })
    }

    /// The plain kernel, whatever `allow_materialise` says. An error if a component is one.
    pub fn merge(&self) -> Result<Array> {
        let (w, update) = (self.w.materialise()?, product(&self.a, &self.b));
        (w + scaled(update, self.scaling)).ok().cloned()
    }

    fn base(&self) -> Array {
        match self.stop_gradient {
            true => self.w.stop_gradient(),
            false => self.w.clone(),
        }
    }
}

fn product(a: &Array, b: &Array) -> Array {
    a.dot_general(b, DotGeneral::new(([1], [0]), ((), ())))
}

impl ArrayValue for LoraKernel {
    fn aval(&self) -> Result<Aval> {
        self.w.aval()
    }

    fn materialise(&self) -> Result<Array> {
        (self.base() + scaled(product(&self.a, &self.b), self.scaling))
            .ok()
            .cloned()
    }

    fn may_materialise(&self) -> bool {
        self.allow_materialise
    }

    fn terms(&self) -> Option<Vec<Array>> {
        let update = Update {
            a: scaled(self.a.clone(), self.scaling),
            b: self.b.clone(),
            allow_materialise: self.allow_materialise,
        };
        Some(vec![self.base(), Array::from_value(update)])
    }

    fn describe(&self) -> String {
        match (self.aval(), self.b.shape().first()) {
            (Ok(a), Some(rank)) => format!("lora_kernel[{a}, rank={rank}]"),
            _ => "lora_kernel".into(),
        }
    }
}

/// The update by itself, `a·b`.
#[derive(Clone, Debug)]
struct Update {
    a: Array,
    b: Array,
    allow_materialise: bool,
}

impl PyTree for Update {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("Update");
        out.meta("allow_materialise", &self.allow_materialise);
        out.child("a", &self.a);
        out.child("b", &self.b);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        Update {
            a: self.a.unflatten(leaves),
            b: self.b.unflatten(leaves),
            ..*self
        }
    }
}

impl ArrayValue for Update {
    fn aval(&self) -> Result<Aval> {
        let (a, b) = (self.a.aval()?, self.b.aval()?);
        let rest = b.shape.iter().skip(1).copied();
        let shape: Dims = a.shape.iter().take(1).copied().chain(rest).collect();
        Ok(b.with_shape(shape))
    }

    fn materialise(&self) -> Result<Array> {
        product(&self.a, &self.b).ok().cloned()
    }

    fn may_materialise(&self) -> bool {
        self.allow_materialise
    }

    fn describe(&self) -> String {
        match self.aval() {
            Ok(a) => format!("lora_update[{a}]"),
            Err(_) => "lora_update".into(),
        }
    }

    fn rules(r: &mut Rules) {
        // Sums are taken apart first.
        r.precedence(24);
        let on_kernel = |x: &Update, op: Op| Update {
            b: bind(op, &[&x.b]),
            ..x.clone()
        };
        r.mixed::<ConvGeneralDilated, Update, _>(op::CONV_GENERAL_DILATED, convolved);
        r.unary(op::REV, move |p: &Rev, x: &Update| {
            match p.dimensions.contains(&0) {
                false => Ok(Array::from_value(on_kernel(x, p.clone().into()))),
                true => {
                    let x = Array::from_value(x.clone()).definition()?;
                    Ok(bind(p.clone(), &[&x]))
                }
            }
        });
        r.unary(op::NEG, move |p: &Unary, x: &Update| {
            on_kernel(x, (*p).into())
        });
        r.family::<Update, _>(IDENTITY, |op: &Op, x: &[&Array]| {
            let [x] = x else {
                return Err(Error::internal("the identity takes one operand"));
            };
            let update = x
                .value::<Update>()
                .ok_or_else(|| Error::internal("no update of a kernel"))?;
            Ok(Array::from_value(Update {
                a: bind(op.clone(), &[&update.a]),
                b: bind(op.clone(), &[&update.b]),
                ..update.clone()
            }))
        });
    }
}

/// A convolution with an update of low rank: one with its few features, and one at each place that makes all features of them.
fn convolved(p: &ConvGeneralDilated, x: &[&Array]) -> Result<Array> {
    let plainly = || {
        let x: Vec<Array> = x.iter().map(|x| x.definition()).collect::<Result<_>>()?;
        Ok(bind(p.clone(), &x.iter().collect::<Vec<_>>()))
    };
    let [image, kernel] = x else {
        return Err(Error::internal("a convolution takes two operands"));
    };
    let Some(update) = kernel
        .value::<Update>()
        .filter(|_| image.value::<Update>().is_none())
    else {
        return plainly();
    };
    let spec = &p.dimension_numbers.rhs_spec;
    let groups = p.feature_group_count;
    let forwards = spec.first() == Some(&0);
    let backwards = spec.get(1) == Some(&0) && groups == 1;
    if p.batch_group_count != 1 || !(forwards || backwards) {
        return plainly();
    }
    let n = kernel.ndim();
    // At each place: strides of one, no padding, a window of one.
    let still = |lhs_spec: &Dims| ConvGeneralDilated {
        window_strides: Dims::from_elem(1, n - 2),
        lhs_dilation: Dims::from_elem(1, n - 2),
        rhs_dilation: Dims::from_elem(1, n - 2),
        padding: vec![(0, 0); n - 2].into_iter().collect(),
        dimension_numbers: op::ConvDimensionNumbers {
            lhs_spec: lhs_spec.clone(),
            ..p.dimension_numbers.clone()
        },
        ..p.clone()
    };
    // `a` as a kernel: its features are on the kernel's own two axes for them, which are its first and another.
    let own = match forwards {
        true => spec.get(1).copied(),
        false => spec.first().copied(),
    };
    let other = own.ok_or_else(|| Error::internal("a kernel without features"))?;
    let [out, rank] = update.a.dims()?;
    let mut shape = Dims::from_elem(1, n);
    for (axis, size) in [(0, out), (other, rank)] {
        if let Some(slot) = shape.get_mut(axis) {
            *slot = size;
        }
    }
    let a = update.a.reshape(shape);
    let y = match forwards {
        true => {
            // Every group has the features of the update for itself.
            let b = match groups {
                1 => update.b.clone(),
                _ => {
                    let mut times = vec![1; n];
                    if let Some(t) = times.first_mut() {
                        *t = groups;
                    }
                    update.b.tile(&times)
                }
            };
            let few = bind(p.clone(), &[image, &b]);
            let out_spec = p.dimension_numbers.out_spec.clone();
            bind(still(&out_spec), &[&few, &a])
        }
        false => {
            let lhs_spec = p.dimension_numbers.lhs_spec.clone();
            let mut at_each = still(&lhs_spec);
            at_each.dimension_numbers.out_spec = lhs_spec;
            let few = bind(at_each, &[image, &a]);
            bind(p.clone(), &[&few, &update.b])
        }
    };
    y.ok().cloned()
}
