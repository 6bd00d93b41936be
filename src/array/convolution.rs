//! Convolutions and pooling, as `lax` and `flax` name them.

use super::{Array, DType, Dims, IntoDims, operators::attempt};
use crate::{
    error::{Error, Result},
    trace::{
        bind,
        op::{
            ContractPrecision, ConvDimensionNumbers, ConvGeneralDilated, Padding, ReduceWindow,
            Window, WindowReducer, dilated,
        },
    },
};

/// How an axis is padded before windows slide over it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Pads {
    /// Not at all: windows stay inside.
    #[default]
    Valid,
    /// So that there is one window for each `stride` elements; an odd element goes after.
    Same,
    /// As [`Pads::Same`], but an odd element goes before.
    SameLower,
    /// So many before and after, along each axis; negative numbers take away.
    Explicit(Vec<(isize, isize)>),
}

impl Pads {
    /// The numbers, for axes and windows of these sizes (dilated).
    pub(crate) fn resolve(&self, sizes: &[usize], windows: &[usize], strides: &[usize]) -> Padding {
        let same = |lower: bool| {
            sizes
                .iter()
                .zip(windows)
                .zip(strides)
                .map(|((n, window), stride)| {
                    let stride = (*stride).max(1);
                    let out = n.div_ceil(stride);
                    let covered = out.saturating_sub(1) * stride + window;
                    let total = covered.saturating_sub(*n) as isize;
                    let (less, more) = (total / 2, total - total / 2);
                    if lower { (more, less) } else { (less, more) }
                })
                .collect()
        };
        match self {
            Pads::Valid => sizes.iter().map(|_| (0, 0)).collect(),
            Pads::Same => same(false),
            Pads::SameLower => same(true),
            Pads::Explicit(p) => p.iter().copied().collect(),
        }
    }
}

impl From<Vec<(isize, isize)>> for Pads {
    fn from(p: Vec<(isize, isize)>) -> Pads {
        Pads::Explicit(p)
    }
}
impl<const N: usize> From<[(isize, isize); N]> for Pads {
    fn from(p: [(isize, isize); N]) -> Pads {
        Pads::Explicit(p.to_vec())
    }
}

/// How a convolution goes: `lax.conv_general_dilated`'s arguments.
///
/// ```
/// use quaxide::{array::{Convolution, Pads}, prelude::*};
/// let image = Array::ones([1, 1, 4, 4], DType::F32);
/// let kernel = Array::ones([2, 1, 3, 3], DType::F32);
/// let same = Convolution::new([1, 1]).padding(Pads::Same);
/// assert_eq!(image.conv_general_dilated(&kernel, &same).shape(), [1, 2, 4, 4]);
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Convolution {
    strides: Dims,
    padding: Pads,
    lhs_dilation: Option<Dims>,
    rhs_dilation: Option<Dims>,
    dimension_numbers: Option<ConvDimensionNumbers>,
    layouts: Option<[String; 3]>,
    feature_group_count: Option<usize>,
    batch_group_count: Option<usize>,
    precision: Option<ContractPrecision>,
    preferred_element_type: Option<DType>,
}

impl Convolution {
    /// With these distances between windows, one number for each spatial axis. Axes are batch, features, space (`NCHW`), the
    /// kernel's are output features, input features, space (`OIHW`), and nothing is padded.
    pub fn new(strides: impl IntoDims) -> Convolution {
        Convolution {
            strides: strides.into_dims(),
            ..Default::default()
        }
    }

    /// With padding.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Pads>) -> Self {
        self.padding = padding.into();
        self
    }

    /// With this distance between neighbours of the image (a transposed convolution's stride).
    #[must_use]
    pub fn lhs_dilation(mut self, d: impl IntoDims) -> Self {
        self.lhs_dilation = Some(d.into_dims());
        self
    }

    /// With this distance between neighbours of the kernel.
    #[must_use]
    pub fn rhs_dilation(mut self, d: impl IntoDims) -> Self {
        self.rhs_dilation = Some(d.into_dims());
        self
    }

    /// With axes in this order.
    #[must_use]
    pub fn dimension_numbers(mut self, d: ConvDimensionNumbers) -> Self {
        self.dimension_numbers = Some(d);
        self
    }

    /// With axes in the order of layouts such as `("NHWC", "HWIO", "NHWC")`: image, kernel, result.
    #[must_use]
    pub fn layouts(mut self, lhs: &str, rhs: &str, out: &str) -> Self {
        self.layouts = Some([lhs.into(), rhs.into(), out.into()]);
        self
    }

    /// With features in so many groups, each of which has output features of its own.
    #[must_use]
    pub fn feature_groups(mut self, n: usize) -> Self {
        self.feature_group_count = Some(n);
        self
    }

    /// With the batch in so many groups, each of which has output features of its own.
    #[must_use]
    pub fn batch_groups(mut self, n: usize) -> Self {
        self.batch_group_count = Some(n);
        self
    }

    /// Asked to be so accurate.
    #[must_use]
    pub fn precision(mut self, precision: impl Into<ContractPrecision>) -> Self {
        self.precision = Some(precision.into());
        self
    }

    /// With a result of this element type.
    #[must_use]
    pub fn preferred_element_type(mut self, dtype: DType) -> Self {
        self.preferred_element_type = Some(dtype);
        self
    }

    fn resolve(&self, x: &Array, kernel: &Array) -> Result<ConvGeneralDilated> {
        let (a, b) = (x.aval()?, kernel.aval()?);
        let n = self.strides.len();
        if a.ndim() != n + 2 || b.ndim() != n + 2 {
            return Err(Error::shape(format!(
                "a convolution with {n} stride(s) is of arrays of {} axes, got {a} and {b}",
                n + 2
            )));
        }
        let numbers = match (&self.dimension_numbers, &self.layouts) {
            (Some(d), _) => d.clone(),
            (None, Some([l, r, o])) => ConvDimensionNumbers::from_layouts(l, r, o)?,
            (None, None) => ConvDimensionNumbers::channels_first(n + 2),
        };
        let ones = || Dims::from_elem(1, n);
        let lhs_dilation = self.lhs_dilation.clone().unwrap_or_else(ones);
        let rhs_dilation = self.rhs_dilation.clone().unwrap_or_else(ones);
        let sizes = |shape: &Dims, spec: &Dims, dilation: &Dims| -> Dims {
            spec.iter()
                .skip(2)
                .zip(dilation)
                .map(|(i, d)| dilated(shape.get(*i).copied().unwrap_or(0), *d))
                .collect()
        };
        let padding = self.padding.resolve(
            &sizes(&a.shape, &numbers.lhs_spec, &lhs_dilation),
            &sizes(&b.shape, &numbers.rhs_spec, &rhs_dilation),
            &self.strides,
        );
        Ok(ConvGeneralDilated {
            batch_group_count: self.batch_group_count.unwrap_or(1),
            dimension_numbers: numbers,
            feature_group_count: self.feature_group_count.unwrap_or(1),
            lhs_dilation,
            padding,
            precision: self.precision,
            preferred_element_type: self.preferred_element_type,
            rhs_dilation,
            window_strides: self.strides.clone(),
        })
    }
}

impl Array {
    /// The convolution with a kernel (not flipped), as `lax.conv_general_dilated`. Operands of one element type; in the error state
    /// where sizes do not fit.
    #[track_caller]
    pub fn conv_general_dilated(&self, kernel: &Array, how: &Convolution) -> Array {
        attempt(|| Ok(bind(how.resolve(self, kernel)?, &[self, kernel])))
    }
}

impl Array {
    /// The elements under a window combined, for each place of the window: `lax.reduce_window`. One number of the window for each
    /// axis of the array; in the error state where they do not fit.
    #[track_caller]
    pub fn reduce_window(&self, reducer: WindowReducer, window: &Window) -> Array {
        let window = window.clone();
        bind(ReduceWindow { reducer, window }, &[self])
    }

    /// The largest element under each window over the last axes, as many as `window` has numbers: max pooling.
    ///
    /// ```
    /// use quaxide::{array::Pads, prelude::*};
    /// let x = Array::arange(16, DType::F32).reshape([1, 4, 4]);
    /// let y = x.max_pool([2, 2], [2, 2], Pads::Valid);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [5.0, 7.0, 13.0, 15.0]);
    /// ```
    #[track_caller]
    pub fn max_pool(
        &self,
        window: impl IntoDims,
        strides: impl IntoDims,
        padding: impl Into<Pads>,
    ) -> Array {
        self.pool(WindowReducer::Max, window, strides, padding)
    }

    /// The mean of the elements under each window over the last axes; padding counts as zeros.
    ///
    /// ```
    /// use quaxide::{array::Pads, prelude::*};
    /// let x = Array::from([[1f32, 3., 5.]]);
    /// assert_eq!(x.avg_pool([2], [1], Pads::Valid).to_vec::<f32>().unwrap(), [2.0, 4.0]);
    /// ```
    #[track_caller]
    pub fn avg_pool(
        &self,
        window: impl IntoDims,
        strides: impl IntoDims,
        padding: impl Into<Pads>,
    ) -> Array {
        let window = window.into_dims();
        let n: usize = window.iter().product();
        self.pool(WindowReducer::Sum, window, strides, padding) / n as f64
    }

    /// The elements under each window over the last axes combined.
    #[track_caller]
    pub fn pool(
        &self,
        reducer: WindowReducer,
        window: impl IntoDims,
        strides: impl IntoDims,
        padding: impl Into<Pads>,
    ) -> Array {
        let (window, strides, padding) = (window.into_dims(), strides.into_dims(), padding.into());
        attempt(|| {
            let a = self.aval()?;
            let n = window.len();
            if strides.len() != n || n > a.ndim() {
                return Err(Error::argument(format!(
                    "pooling {a}: a window of {n} axes with {} stride(s)",
                    strides.len()
                )));
            }
            let lead = a.ndim() - n;
            let space = a.shape.get(lead..).unwrap_or_default();
            let resolved = padding.resolve(space, &window, &strides);
            let with_ones = |d: Dims| -> Dims { std::iter::repeat_n(1, lead).chain(d).collect() };
            let window = Window {
                padding: std::iter::repeat_n((0, 0), lead).chain(resolved).collect(),
                ..Window::new(with_ones(window), with_ones(strides))
            };
            Ok(bind(ReduceWindow { reducer, window }, &[self]))
        })
    }
}
