//! Convolution: `conv_general_dilated`.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, ContractPrecision, Inner, Jvp, Param, Params, Prim,
    Primitive, Tangent, add_tangents, batch_to_front, check_axes, cotangent, not_linear, one,
    operands, tuple_text,
};
use crate::{
    array::{Array, Aval, DType, Dims},
    error::{Error, Result},
    trace::bind,
};
use smallvec::{SmallVec, smallvec};

/// `conv_general_dilated`
pub const CONV_GENERAL_DILATED: Prim<ConvGeneralDilated> = Prim::new("conv_general_dilated");

/// What is added before and after each axis; negative numbers take away.
pub type Padding = SmallVec<[(isize, isize); 4]>;

/// `((1, 1), (0, 2))`
pub(crate) fn padding_text(p: &Padding) -> String {
    let pairs: Vec<String> = p.iter().map(|(a, b)| format!("({a}, {b})")).collect();
    match &pairs[..] {
        [one] => format!("({one},)"),
        _ => format!("({})", pairs.join(", ")),
    }
}

/// The size of an axis with `dilation − 1` holes between neighbours.
pub(crate) fn dilated(n: usize, dilation: usize) -> usize {
    if n == 0 {
        0
    } else {
        (n - 1).saturating_mul(dilation).saturating_add(1)
    }
}

/// How many windows of a size fit, at this distance from each other, in an axis with padding.
pub(crate) fn windows(n: usize, padding: (isize, isize), window: usize, stride: usize) -> usize {
    let padded = n as i128 + padding.0 as i128 + padding.1 as i128;
    let room = padded - window as i128;
    if room < 0 || padded <= 0 {
        0
    } else {
        (room / stride.max(1) as i128) as usize + 1
    }
}

/// Which axis means what: batch (or output features), features (or input features), then the spatial ones.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ConvDimensionNumbers {
    /// The left operand's batch axis, feature axis, and spatial axes.
    pub lhs_spec: Dims,
    /// The kernel's output feature axis, input feature axis, and spatial axes.
    pub rhs_spec: Dims,
    /// The result's batch axis, feature axis, and spatial axes.
    pub out_spec: Dims,
}

impl ConvDimensionNumbers {
    /// Batch, features, space: `NCHW` with a kernel `OIHW`, for arrays of `ndim` axes.
    pub fn channels_first(ndim: usize) -> Self {
        let spec: Dims = (0..ndim).collect();
        ConvDimensionNumbers {
            lhs_spec: spec.clone(),
            rhs_spec: spec.clone(),
            out_spec: spec,
        }
    }

    /// From layouts such as `("NHWC", "HWIO", "NHWC")`. An error names what is missing.
    pub fn from_layouts(lhs: &str, rhs: &str, out: &str) -> Result<Self> {
        let spatial: Vec<char> = rhs.chars().filter(|c| !"OI".contains(*c)).collect();
        let spec = |layout: &str, first: [char; 2]| -> Result<Dims> {
            let wanted = first.iter().chain(&spatial);
            let spec: Dims = wanted
                .map(|c| {
                    layout.chars().position(|l| l == *c).ok_or_else(|| {
                        Error::argument(format!("the layout \"{layout}\" lacks an axis '{c}'"))
                    })
                })
                .collect::<Result<_>>()?;
            if spec.len() != layout.chars().count() {
                return Err(Error::argument(format!(
                    "the layouts \"{lhs}\", \"{rhs}\", \"{out}\" differ in their axes"
                )));
            }
            Ok(spec)
        };
        Ok(ConvDimensionNumbers {
            lhs_spec: spec(lhs, ['N', 'C'])?,
            rhs_spec: spec(rhs, ['O', 'I'])?,
            out_spec: spec(out, ['N', 'C'])?,
        })
    }
}

/// Features and batch exchanged.
fn exchanged(spec: &Dims) -> Dims {
    let mut spec = spec.clone();
    if spec.len() > 1 {
        spec.swap(0, 1);
    }
    spec
}

fn at(d: &[usize], i: usize) -> usize {
    d.get(i).copied().unwrap_or(0)
}

/// The sizes along the axes that a specification lists.
fn sizes(shape: &[usize], spec: &[usize]) -> Dims {
    spec.iter().map(|i| at(shape, *i)).collect()
}

/// A window slides over the spatial axes; at each place, features are summed up with the kernel as weights. (No flip: what
/// signal processing calls correlation.)
#[derive(Clone, PartialEq, Debug)]
pub struct ConvGeneralDilated {
    /// The number of groups that the batch is split into, each of which has output features of its own.
    pub batch_group_count: usize,
    /// Which axis means what.
    pub dimension_numbers: ConvDimensionNumbers,
    /// The number of groups that the features are split into, each of which has output features of its own.
    pub feature_group_count: usize,
    /// The distance between neighbours of the left operand, along each spatial axis.
    pub lhs_dilation: Dims,
    /// What is added around the left operand, along each spatial axis.
    pub padding: Padding,
    /// What it is asked to be accurate to.
    pub precision: Option<ContractPrecision>,
    /// The element type of the result, where it is not that of the operands.
    pub preferred_element_type: Option<DType>,
    /// The distance between neighbours of the kernel.
    pub rhs_dilation: Dims,
    /// The distance between neighbouring windows.
    pub window_strides: Dims,
}

/// Axis `from` becomes part of axis `to` (counted without `from`), as its slower part.
fn axis_into(from: usize, to: usize, x: &Array) -> Array {
    let n = x.ndim();
    let mut order: Dims = (0..n).filter(|i| *i != from).collect();
    order.insert(to.min(order.len()), from);
    let moved = x.transpose(&order);
    let mut shape: Dims = moved.shape().iter().copied().collect();
    let outer = shape.remove(to);
    if let Some(n) = shape.get_mut(to) {
        *n *= outer;
    }
    moved.reshape(shape)
}

/// An axis split in two, the slower one of this size.
fn axis_out_of(axis: usize, outer: usize, x: &Array) -> Array {
    let mut shape: Dims = x.shape().iter().copied().collect();
    if let Some(n) = shape.get_mut(axis) {
        *n /= outer.max(1);
    }
    shape.insert(axis, outer);
    x.reshape(shape)
}

impl ConvGeneralDilated {
    fn check(&self, l: &Aval, r: &Aval) -> Result<Avals> {
        let wrong = |why: String| {
            Err(Error::argument(format!(
                "conv_general_dilated of {l} with {r}: {why}"
            )))
        };
        let n = l.ndim();
        if n < 2 || r.ndim() != n {
            return Err(Error::shape(format!(
                "conv_general_dilated needs two arrays of as many axes, batch, features and space, got {l} and {r}"
            )));
        }
        let ConvDimensionNumbers {
            lhs_spec,
            rhs_spec,
            out_spec,
        } = &self.dimension_numbers;
        for (what, spec) in [
            ("lhs_spec", lhs_spec),
            ("rhs_spec", rhs_spec),
            ("out_spec", out_spec),
        ] {
            check_axes(self.name(), what, spec, n)?;
            if spec.len() != n {
                return wrong(format!(
                    "{what}={} does not name {n} axes",
                    tuple_text(spec)
                ));
            }
        }
        let lists = [
            ("window_strides", &self.window_strides),
            ("lhs_dilation", &self.lhs_dilation),
            ("rhs_dilation", &self.rhs_dilation),
        ];
        for (what, d) in lists {
            if d.len() != n - 2 || d.contains(&0) {
                return wrong(format!(
                    "{what}={} is not one positive number for each of {} spatial axes",
                    tuple_text(d),
                    n - 2
                ));
            }
        }
        if self.padding.len() != n - 2 {
            return wrong(format!(
                "padding={} is not one pair for each of {} spatial axes",
                padding_text(&self.padding),
                n - 2
            ));
        }
        let (lhs, rhs) = (sizes(&l.shape, lhs_spec), sizes(&r.shape, rhs_spec));
        let (groups, batches) = (self.feature_group_count, self.batch_group_count);
        if groups == 0 || batches == 0 || groups > 1 && batches > 1 {
            return wrong(format!(
                "feature_group_count={groups} and batch_group_count={batches}: both are positive and at most one is above 1"
            ));
        }
        if !at(&lhs, 1).is_multiple_of(groups) || at(&lhs, 1) / groups != at(&rhs, 1) {
            return wrong(format!(
                "{} input features in {groups} group(s) do not fit a kernel for {}",
                at(&lhs, 1),
                at(&rhs, 1)
            ));
        }
        if !at(&rhs, 0).is_multiple_of(groups)
            || !at(&rhs, 0).is_multiple_of(batches)
            || !at(&lhs, 0).is_multiple_of(batches)
        {
            return wrong(format!(
                "{} output features and a batch of {} do not split into {} group(s)",
                at(&rhs, 0),
                at(&lhs, 0),
                groups.max(batches)
            ));
        }
        if l.dtype != r.dtype && self.preferred_element_type.is_none() {
            return Err(Error::dtype(format!(
                "conv_general_dilated needs operands of one element type, got {l} and {r}"
            )));
        }
        if l.dtype == DType::Bool {
            return Err(Error::dtype("conv_general_dilated is defined for numbers"));
        }
        let mut out: Dims = smallvec![at(&lhs, 0) / batches, at(&rhs, 0)];
        for i in 0..n - 2 {
            let padding = self.padding.get(i).copied().unwrap_or_default();
            let base = dilated(at(&lhs, i + 2), at(&self.lhs_dilation, i));
            let window = dilated(at(&rhs, i + 2), at(&self.rhs_dilation, i));
            out.push(windows(base, padding, window, at(&self.window_strides, i)));
        }
        let mut shape = Dims::from_elem(0, n);
        for (axis, size) in out_spec.iter().zip(out) {
            if let Some(slot) = shape.get_mut(*axis) {
                *slot = size;
            }
        }
        let dtype = self.preferred_element_type.unwrap_or(l.dtype);
        let weak_type = l.weak_type && r.weak_type && self.preferred_element_type.is_none();
        Ok(smallvec![Aval {
            shape,
            dtype,
            weak_type
        }])
    }

    /// For each spatial axis: sizes of the left operand, of the kernel and of the result, dilated.
    fn extents(&self, l: &Aval, r: &Aval, g: &[usize]) -> Vec<[isize; 3]> {
        let spatial =
            |spec: &Dims, shape: &[usize]| sizes(shape, spec.get(2..).unwrap_or_default());
        let d = &self.dimension_numbers;
        let (l, r, g) = (
            spatial(&d.lhs_spec, &l.shape),
            spatial(&d.rhs_spec, &r.shape),
            spatial(&d.out_spec, g),
        );
        (0..l.len())
            .map(|i| {
                [
                    dilated(at(&l, i), at(&self.lhs_dilation, i)) as isize,
                    dilated(at(&r, i), at(&self.rhs_dilation, i)) as isize,
                    dilated(at(&g, i), at(&self.window_strides, i)) as isize,
                ]
            })
            .collect()
    }

    /// The cotangent of the left operand: the result's convolved with the kernel turned around.
    fn cotangent_of_lhs(&self, g: &Array, l: &Aval, r: &Array) -> Result<Array> {
        let ConvDimensionNumbers {
            lhs_spec,
            rhs_spec,
            out_spec,
        } = &self.dimension_numbers;
        let padding = self
            .extents(l, &r.aval()?, &g.shape())
            .iter()
            .zip(&self.padding)
            .map(|([l, r, g], (low, _))| {
                let before = r - low - 1;
                (before, l + r - 1 - g - before)
            })
            .collect();
        let groups = self.feature_group_count.max(self.batch_group_count);
        let kernel = if groups > 1 {
            // The groups move from the output features to the input features, which change roles.
            let split = axis_out_of(at(rhs_spec, 0), groups, r);
            axis_into(at(rhs_spec, 0), at(rhs_spec, 1), &split)
        } else {
            r.clone()
        };
        let kernel = kernel
            .flip(rhs_spec.get(2..).unwrap_or_default())
            .convert(g.dtype()?);
        let op = ConvGeneralDilated {
            batch_group_count: 1,
            dimension_numbers: ConvDimensionNumbers {
                lhs_spec: out_spec.clone(),
                rhs_spec: exchanged(rhs_spec),
                out_spec: lhs_spec.clone(),
            },
            feature_group_count: groups,
            lhs_dilation: self.window_strides.clone(),
            padding,
            window_strides: self.lhs_dilation.clone(),
            ..self.clone()
        };
        let mut y = bind(op, &[g, &kernel]).convert(l.dtype);
        if self.batch_group_count > 1 {
            y = axis_out_of(at(lhs_spec, 1), self.batch_group_count, &y);
            y = axis_into(at(lhs_spec, 1), at(lhs_spec, 0), &y);
        }
        Ok(y)
    }

    /// The cotangent of the kernel: the left operand convolved with the result's, batch and features exchanged.
    fn cotangent_of_rhs(&self, g: &Array, l: &Array, r: &Aval) -> Result<Array> {
        if g.size() == 0 {
            return Ok(Array::zeros(&r.shape, r.dtype));
        }
        let ConvDimensionNumbers {
            lhs_spec,
            rhs_spec,
            out_spec,
        } = &self.dimension_numbers;
        let padding = self
            .extents(&l.aval()?, r, &g.shape())
            .iter()
            .zip(&self.padding)
            .map(|([l, r, g], (low, _))| (*low, g - l + r - low - 1))
            .collect();
        let (groups, batches) = if self.batch_group_count > 1 {
            (self.batch_group_count, 1)
        } else {
            (1, self.feature_group_count)
        };
        let op = ConvGeneralDilated {
            batch_group_count: batches,
            dimension_numbers: ConvDimensionNumbers {
                lhs_spec: exchanged(lhs_spec),
                rhs_spec: exchanged(out_spec),
                out_spec: exchanged(rhs_spec),
            },
            feature_group_count: groups,
            padding,
            rhs_dilation: self.window_strides.clone(),
            window_strides: self.rhs_dilation.clone(),
            ..self.clone()
        };
        Ok(bind(op, &[&l.convert(g.dtype()?), g]).convert(r.dtype))
    }
}

impl Primitive for ConvGeneralDilated {
    fn name(&self) -> &'static str {
        "conv_general_dilated"
    }
    fn params(&self) -> Params {
        let ConvDimensionNumbers {
            lhs_spec,
            rhs_spec,
            out_spec,
        } = &self.dimension_numbers;
        let numbers = format!(
            "ConvDimensionNumbers(lhs_spec={}, rhs_spec={}, out_spec={})",
            tuple_text(lhs_spec),
            tuple_text(rhs_spec),
            tuple_text(out_spec)
        );
        let preferred = self.preferred_element_type.map_or("None", DType::name);
        vec![
            ("batch_group_count", Param::text(self.batch_group_count)),
            ("dimension_numbers", Param::text(numbers)),
            ("feature_group_count", Param::text(self.feature_group_count)),
            ("lhs_dilation", Param::tuple(&self.lhs_dilation)),
            ("out_sharding", Param::text("None")),
            ("padding", Param::text(padding_text(&self.padding))),
            (
                "precision",
                self.precision.map_or(Param::text("None"), Param::text),
            ),
            ("preferred_element_type", Param::text(preferred)),
            ("rhs_dilation", Param::tuple(&self.rhs_dilation)),
            ("window_strides", Param::tuple(&self.window_strides)),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [l, r] = operands(self.name(), x)?;
        self.check(l, r)
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [l, r] = operands(self.name(), x)?;
        let [dl, dr] = operands(self.name(), t)?;
        let y = bind(self.clone(), &[l, r]);
        let left = dl.as_ref().map(|t| bind(self.clone(), &[t, r]));
        let right = dr.as_ref().map(|t| bind(self.clone(), &[l, t]));
        one(y, add_tangents(left, right))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None, None]);
        };
        match x {
            [Arg::Linear(own), Arg::Known(r)] => {
                Ok(vec![Some(self.cotangent_of_lhs(ct, own, r)?), None])
            }
            [Arg::Known(l), Arg::Linear(own)] => {
                Ok(vec![None, Some(self.cotangent_of_rhs(ct, l, own)?)])
            }
            _ => Err(not_linear(self.name())),
        }
    }
    /// The batch axis becomes part of another axis: of the batch, of the output features, or, for both operands, of the groups.
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let [l, r] = operands(self.name(), x)?;
        let [dl, dr] = operands(self.name(), d)?;
        let ConvDimensionNumbers {
            lhs_spec,
            rhs_spec,
            out_spec,
        } = &self.dimension_numbers;
        let n = axis.size;
        let groups = self.feature_group_count.max(self.batch_group_count);
        let mut op = self.clone();
        let left = dl.map(|_| batch_to_front(l, *dl, n));
        let right = dr.map(|_| batch_to_front(r, *dr, n));
        // Groups stand outermost: they are split off, the batch joins what is left, and they return.
        let within_groups = |x: &Array, axis: usize| {
            let x = axis_out_of(axis + 1, groups, x);
            let x = axis_into(0, axis + 1, &x);
            axis_into(axis, axis, &x)
        };
        match (left, right) {
            (Some(l), Some(r)) => {
                let to = if self.batch_group_count > 1 {
                    op.batch_group_count *= n;
                    at(lhs_spec, 0)
                } else {
                    op.feature_group_count *= n;
                    at(lhs_spec, 1)
                };
                let (l, r) = (axis_into(0, to, &l), axis_into(0, at(rhs_spec, 0), &r));
                let y = axis_out_of(at(out_spec, 1), n, &bind(op, &[&l, &r]));
                Ok((vec![y], vec![Some(at(out_spec, 1))]))
            }
            (Some(l), None) => {
                let l = if self.batch_group_count == 1 {
                    axis_into(0, at(lhs_spec, 0), &l)
                } else {
                    within_groups(&l, at(lhs_spec, 0))
                };
                let y = axis_out_of(at(out_spec, 0), n, &bind(op, &[&l, r]));
                Ok((vec![y], vec![Some(at(out_spec, 0))]))
            }
            (None, Some(r)) => {
                let feature = at(out_spec, 1);
                if groups == 1 {
                    let r = axis_into(0, at(rhs_spec, 0), &r);
                    let y = axis_out_of(feature, n, &bind(op, &[l, &r]));
                    return Ok((vec![y], vec![Some(feature)]));
                }
                let r = within_groups(&r, at(rhs_spec, 0));
                let y = axis_out_of(feature, groups, &bind(op, &[l, &r]));
                let y = axis_out_of(feature + 1, n, &y);
                Ok((
                    vec![axis_into(feature, feature + 1, &y)],
                    vec![Some(feature)],
                ))
            }
            (None, None) => Ok((vec![bind(op, &[l, r])], vec![None])),
        }
    }
    opaque!();
}
