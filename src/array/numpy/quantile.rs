//! Medians, quantiles and percentiles.

use crate::{
    array::{Array, DType, Dims, IntoAxes, Operand, attempt},
    error::{Error, Result},
    trace::op::remaining,
};

/// What a quantile between two elements is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum QuantileMethod {
    /// In proportion to its distance from both.
    #[default]
    Linear,
    /// The lower one.
    Lower,
    /// The higher one.
    Higher,
    /// Their mean.
    Midpoint,
    /// The nearer one; halfway, the lower.
    Nearest,
}

impl Array {
    /// The median over axes: the mean of the two middle elements where their number is even; NaN where one element is.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// assert_eq!(Array::from([4f32, 1., 3., 2.]).median(()).item::<f32>().unwrap(), 2.5);
    /// ```
    #[track_caller]
    pub fn median(&self, axes: impl IntoAxes) -> Array {
        self.quantile(0.5, axes)
    }

    /// The elements below which a share `q` of all lies, with linear interpolation, over axes: `jnp.quantile`. The axes of `q`, if
    /// it has some, come first in the result. Floats; NaN where one element is.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([0f32, 1., 2., 3., 4.]);
    /// assert_eq!(x.quantile(0.25, ()).item::<f32>().unwrap(), 1.0);
    /// ```
    #[track_caller]
    pub fn quantile(&self, q: impl Operand, axes: impl IntoAxes) -> Array {
        self.quantile_by(q, axes, QuantileMethod::Linear)
    }

    /// As [`Array::quantile`], with a choice of what stands between two elements.
    #[track_caller]
    pub fn quantile_by(
        &self,
        q: impl Operand,
        axes: impl IntoAxes,
        method: QuantileMethod,
    ) -> Array {
        let x = self.inexact();
        let q = q.operand(&x).into_owned();
        attempt(|| quantile(&x, &q, axes, method, false))
    }

    /// As [`Array::quantile`], with shares in per cent.
    #[track_caller]
    pub fn percentile(&self, q: impl Operand, axes: impl IntoAxes) -> Array {
        let x = self.inexact();
        let q = q.operand(&x).into_owned() / 100.0;
        x.quantile(q, axes)
    }

    /// As [`Array::quantile`], of what is not NaN; NaN where all is.
    #[track_caller]
    pub fn nanquantile(&self, q: impl Operand, axes: impl IntoAxes) -> Array {
        let x = self.inexact();
        let q = q.operand(&x).into_owned();
        attempt(|| quantile(&x, &q, axes, QuantileMethod::Linear, true))
    }
}

fn quantile(
    x: &Array,
    q: &Array,
    axes: impl IntoAxes,
    method: QuantileMethod,
    pass_nan: bool,
) -> Result<Array> {
    let (a, b) = (x.aval()?, q.aval()?);
    if !a.dtype.is_float() {
        return Err(Error::dtype(format!(
            "quantile of {a}: complex numbers have no order"
        )));
    }
    let axes = axes.axes(a.ndim())?;
    let kept = remaining(a.ndim(), &axes, &[]);
    let n: usize = axes.iter().filter_map(|i| a.shape.get(*i)).product();
    if n == 0 {
        return Err(Error::argument(format!(
            "quantile of {a}: there are no elements"
        )));
    }
    // The axes that go are one, the last.
    let order: Dims = kept.iter().chain(&axes).copied().collect();
    let rest: Dims = kept
        .iter()
        .filter_map(|i| a.shape.get(*i).copied())
        .collect();
    let lanes: usize = rest.iter().product();
    let x = x.transpose(order).reshape([lanes, n]);
    let missing = x.is_nan();
    let sorted = x.sort(-1);
    // Places are `q · (count − 1)`, one for each lane and share. In double precision, so that they are exact in long lanes.
    let wide = if a.dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let count = if pass_nan {
        (!&missing).astype(wide).sum(1)
    } else {
        Array::full([lanes], n, wide)
    };
    let shares = b.size();
    let last = (&count - 1.0).broadcast_in_dim([lanes, shares], [0]);
    let place = q
        .astype(wide)
        .reshape([shares])
        .broadcast_in_dim([lanes, shares], [1])
        * &last;
    let low = place.floor();
    let weight = &place - &low;
    let element = |v: &Array| {
        let at = v.minimum(&last).maximum(0.0).astype(DType::I32);
        sorted.take_along_axis(&at, 1).astype(wide)
    };
    let (below, above) = (element(&low), element(&place.ceil()));
    let y = match method {
        QuantileMethod::Linear => &below * (1.0 - &weight) + &above * &weight,
        QuantileMethod::Lower => below.clone(),
        QuantileMethod::Higher => above.clone(),
        QuantileMethod::Midpoint => (&below + &above) * 0.5,
        QuantileMethod::Nearest => weight.gt(0.5).select(&above, &below),
    };
    // Equal infinities have no difference, and an infinity with weight 0 has no part.
    let y = (below.eq(&above) | weight.eq(0.0)).select(&below, &y);
    let undefined = if pass_nan {
        missing.all(1)
    } else {
        missing.any(1)
    };
    let y = undefined
        .broadcast_in_dim([lanes, shares], [0])
        .select(f64::NAN, &y);
    // The axes of `q` first.
    let mut shape = b.shape.clone();
    shape.extend(rest);
    Ok(y.convert_weak(a.dtype, false).t().reshape(shape))
}
