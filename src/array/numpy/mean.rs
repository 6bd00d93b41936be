//! The mean, which array-ish types may answer as a whole: that of a masked array counts what is there.

use crate::{
    array::{Array, Dims, linalg::function::leading},
    error::{Error, Result},
    trace::op::{
        Arg, ArrayFunction, BatchAxis, Batched, Jvp, Param, Params, Prim, Tangent, answerable,
        answerable_one, cotangent,
    },
};

/// `numpy.mean`
pub const MEAN: Prim<Mean> = Prim::new("numpy.mean");
/// [`Array::mean`] over axes; with a second operand, that of the elements that the second has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mean {
    /// The axes, ascending.
    pub axes: Dims,
}

/// `numpy.mean_back`
pub const MEAN_BACK: Prim<MeanBack> = Prim::new("numpy.mean_back");
/// The transpose of the mean: each of the elements that the second operand has gets the same share of the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MeanBack {
    /// The axes of the mean.
    pub axes: Dims,
}

/// The number of elements along axes.
fn along(x: &Array, axes: &Dims) -> f64 {
    let shape = x.shape();
    let n: usize = axes.iter().filter_map(|i| shape.get(*i)).product();
    n as f64
}

/// For operands with a batch axis in front.
fn shifted(axes: &Dims) -> Dims {
    axes.iter().map(|i| i + 1).collect()
}

impl ArrayFunction for Mean {
    fn name(&self) -> &'static str {
        MEAN.name
    }
    fn params(&self) -> Params {
        vec![("axes", Param::tuple(&self.axes))]
    }
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        let [x, ..] = x else {
            return Err(Error::internal("`numpy.mean` takes an operand"));
        };
        Ok(vec![x.sum(&self.axes) / along(x, &self.axes)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Option<Result<Jvp>> {
        let ([x, like @ ..], [t, ..]) = (x, t) else {
            return None;
        };
        let like = like.first().unwrap_or(x);
        let of = |x: &Array| answerable_one(self.clone(), &[x.clone(), like.clone()]);
        let y = answerable(self.clone(), std::slice::from_ref(x));
        Some(y.and_then(|y| Ok((y, vec![t.as_ref().map(of).transpose()?]))))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Option<Result<Vec<Tangent>>> {
        let [Arg::Linear(_), Arg::Known(like)] = x else {
            return None;
        };
        let back = MeanBack {
            axes: self.axes.clone(),
        };
        let Some(ct) = cotangent(ct) else {
            return Some(Ok(vec![None, None]));
        };
        let ct = answerable_one(back, &[ct.clone(), like.clone()]);
        Some(ct.map(|ct| vec![Some(ct), None]))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Option<Result<Batched>> {
        let axes = shifted(&self.axes);
        Some(leading(Mean { axes }, x, d, axis))
    }
}

impl ArrayFunction for MeanBack {
    fn name(&self) -> &'static str {
        MEAN_BACK.name
    }
    fn params(&self) -> Params {
        vec![("axes", Param::tuple(&self.axes))]
    }
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        let [ct, like] = x else {
            return Err(Error::internal("`numpy.mean_back` takes two operands"));
        };
        let kept: Dims = (0..like.ndim())
            .filter(|i| !self.axes.contains(i))
            .collect();
        let share = ct / along(like, &self.axes);
        Ok(vec![share.broadcast_in_dim(like.shape(), kept)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Option<Result<Jvp>> {
        let ([ct, like], [t, ..]) = (x, t) else {
            return None;
        };
        let of = |x: &Array| answerable_one(self.clone(), &[x.clone(), like.clone()]);
        let y = of(ct);
        Some(y.and_then(|y| Ok((vec![y], vec![t.as_ref().map(of).transpose()?]))))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Option<Result<Vec<Tangent>>> {
        let [Arg::Linear(_), Arg::Known(like)] = x else {
            return None;
        };
        let mean = Mean {
            axes: self.axes.clone(),
        };
        let Some(ct) = cotangent(ct) else {
            return Some(Ok(vec![None, None]));
        };
        let ct = answerable_one(mean, &[ct.clone(), like.clone()]);
        Some(ct.map(|ct| vec![Some(ct), None]))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Option<Result<Batched>> {
        let axes = shifted(&self.axes);
        Some(leading(MeanBack { axes }, x, d, axis))
    }
}
