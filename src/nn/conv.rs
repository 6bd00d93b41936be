//! Convolutions and pooling.

use super::{attempt, linear::uniform};
use crate::{
    PyTree,
    array::{Array, Convolution, DType, Dims, Pads},
    error::{Error, Result},
    random::Key,
    trace::op::WindowReducer,
};

/// What may say a size along each of `N` axes: one number for all, or one for each.
pub trait Sizes<const N: usize> {
    /// The numbers.
    fn sizes(self) -> [usize; N];
}
impl<const N: usize> Sizes<N> for usize {
    fn sizes(self) -> [usize; N] {
        [self; N]
    }
}
impl<const N: usize> Sizes<N> for [usize; N] {
    fn sizes(self) -> [usize; N] {
        self
    }
}

/// What may say how `N` axes are padded: one number for all sides, one for each axis, a pair (before, after) for each axis, or
/// [`Pads`].
pub trait Sides<const N: usize> {
    /// The padding.
    fn pads(self) -> Pads;
}

fn signed(n: usize) -> isize {
    isize::try_from(n).unwrap_or(isize::MAX)
}

impl<const N: usize> Sides<N> for usize {
    fn pads(self) -> Pads {
        Sides::<N>::pads([self; N])
    }
}
impl<const N: usize> Sides<N> for [usize; N] {
    fn pads(self) -> Pads {
        Sides::<N>::pads(self.map(|n| (n, n)))
    }
}
impl<const N: usize> Sides<N> for [(usize, usize); N] {
    fn pads(self) -> Pads {
        Pads::from(self.map(|(a, b)| (signed(a), signed(b))))
    }
}
impl<const N: usize> Sides<N> for Pads {
    fn pads(self) -> Pads {
        self
    }
}

/// What stands in the padding of a convolution.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The image mirrored at its outermost elements, which are not repeated.
    Reflect,
    /// The outermost elements.
    Replicate,
    /// The image again.
    Circular,
}

impl PaddingMode {
    /// The place in an axis of `n` that stands at `i`, which may lie outside.
    fn place(self, i: isize, n: isize) -> isize {
        match self {
            PaddingMode::Zeros | PaddingMode::Replicate => i.clamp(0, (n - 1).max(0)),
            PaddingMode::Circular => i.rem_euclid(n.max(1)),
            PaddingMode::Reflect => {
                let period = (2 * (n - 1)).max(1);
                let i = i.rem_euclid(period);
                i.min(period - i).min((n - 1).max(0))
            }
        }
    }
}

/// A convolution over `N` axes of space.
///
/// ```
/// use quaxide::{array::Pads, prelude::*};
/// let [k1, k2] = random::key(0).split();
/// let layer = nn::ConvConfig::<2>::new(3, 8, 3).stride(2).padding(1).init(&k1);
/// assert_eq!(layer.call(&random::normal(&k2, [3, 10, 10])).shape(), [8, 5, 5]);
/// assert_eq!(layer.call(&random::normal(&k2, [4, 3, 10, 10])).shape(), [4, 8, 5, 5]);
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct Conv<const N: usize> {
    /// `[out, in / groups, ..kernel]`
    pub weight: Array,
    /// `[out, 1, ..]`
    pub bias: Option<Array>,
    #[pytree(meta)]
    how: How<N>,
}

/// A convolution over one axis: `[channels, length]`.
pub type Conv1d = Conv<1>;
/// A convolution over two axes: `[channels, height, width]`.
pub type Conv2d = Conv<2>;
/// A convolution over three axes: `[channels, depth, height, width]`.
pub type Conv3d = Conv<3>;

/// What of a convolution is part of its structure.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct How<const N: usize> {
    stride: [usize; N],
    dilation: [usize; N],
    groups: usize,
    padding: Pads,
    mode: PaddingMode,
}

/// The options of a [`Conv`]: those of `equinox.nn.Conv`.
#[derive(Clone, Debug)]
pub struct ConvConfig<const N: usize> {
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; N],
    how: How<N>,
    use_bias: bool,
    dtype: DType,
}

impl<const N: usize> ConvConfig<N> {
    /// A stride of 1, no padding, no dilation, one group, with a bias, in `f32`.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Sizes<N>) -> Self {
        ConvConfig {
            in_channels,
            out_channels,
            kernel: kernel_size.sizes(),
            how: How {
                stride: [1; N],
                dilation: [1; N],
                groups: 1,
                padding: Pads::Valid,
                mode: PaddingMode::Zeros,
            },
            use_bias: true,
            dtype: DType::F32,
        }
    }

    /// The distance between windows.
    #[must_use]
    pub fn stride(mut self, stride: impl Sizes<N>) -> Self {
        self.how.stride = stride.sizes();
        self
    }

    /// What is added to the image at its sides.
    #[must_use]
    pub fn padding(mut self, padding: impl Sides<N>) -> Self {
        self.how.padding = padding.pads();
        self
    }

    /// What stands there; zeros if not said.
    #[must_use]
    pub fn padding_mode(mut self, mode: PaddingMode) -> Self {
        self.how.mode = mode;
        self
    }

    /// The distance between the kernel's elements.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Sizes<N>) -> Self {
        self.how.dilation = dilation.sizes();
        self
    }

    /// Channels in so many groups, which do not see each other.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Self {
        self.how.groups = groups;
        self
    }

    /// With a bias?
    #[must_use]
    pub fn use_bias(mut self, yes: bool) -> Self {
        self.use_bias = yes;
        self
    }

    /// The element type of weight and bias.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// The layer, with weight and bias uniform between ±1/√(in · kernel / groups), those of `equinox.nn.Conv`, bit for bit. They
    /// are in the error state if the groups do not divide the channels.
    #[track_caller]
    pub fn init(&self, key: &Key) -> Conv<N> {
        let [wkey, bkey] = key.split();
        let groups = self.how.groups;
        let divides = |n: usize| groups > 0 && n.is_multiple_of(groups);
        let grouped = self.in_channels.checked_div(groups).unwrap_or(0);
        let limit = match grouped * self.kernel.iter().product::<usize>() {
            0 => 1.0,
            n => 1.0 / (n as f64).sqrt(),
        };
        let weight = attempt(|| {
            if !divides(self.in_channels) || !divides(self.out_channels) {
                return Err(Error::argument(format!(
                    "Conv: {groups} groups do not divide {} channels in and {} out",
                    self.in_channels, self.out_channels
                )));
            }
            let mut shape = Dims::from_slice(&[self.out_channels, grouped]);
            shape.extend(self.kernel);
            Ok(uniform(&wkey, shape, self.dtype, limit))
        });
        let bias = || {
            let mut shape = Dims::from_elem(1, N + 1);
            if let Some(n) = shape.first_mut() {
                *n = self.out_channels;
            }
            uniform(&bkey, shape, self.dtype, limit)
        };
        Conv {
            weight,
            bias: self.use_bias.then(bias),
            how: self.how.clone(),
        }
    }
}

/// `f` on images with one axis of examples, whatever the axes before channels and space are.
fn by_example(
    layer: &str,
    x: &Array,
    axes: usize,
    f: impl FnOnce(&Array) -> Result<Array>,
) -> Result<Array> {
    let a = x.aval()?;
    let Some(lead) = a.ndim().checked_sub(axes) else {
        return Err(Error::shape(format!(
            "{layer}: [channels, ..{} of space], found {a}",
            axes - 1
        )));
    };
    let (examples, image) = a.shape.split_at_checked(lead).unwrap_or_default();
    let count: usize = examples.iter().product();
    let y = f(&x.reshape(
        std::iter::once(count)
            .chain(image.iter().copied())
            .collect::<Dims>(),
    ))?;
    let rest = y.aval()?.shape;
    let shape = examples.iter().copied().chain(rest.into_iter().skip(1));
    Ok(y.reshape(shape.collect::<Dims>()))
}

impl<const N: usize> Conv<N> {
    /// A layer with a stride of 1, no padding and a bias, in `f32`. For other options see [`ConvConfig`].
    #[track_caller]
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        kernel_size: impl Sizes<N>,
        key: &Key,
    ) -> Conv<N> {
        ConvConfig::new(in_channels, out_channels, kernel_size).init(key)
    }

    /// `[in, ..space]` to `[out, ..space]`; axes before are examples. In the error state if the shapes do not fit.
    #[track_caller]
    pub fn call(&self, x: &Array) -> Array {
        attempt(|| by_example("Conv", x, N + 1, |x| self.apply(x)))
    }

    fn apply(&self, x: &Array) -> Result<Array> {
        let (a, w) = (x.aval()?, self.weight.aval()?);
        let How {
            stride,
            dilation,
            groups,
            padding,
            mode,
        } = &self.how;
        if w.ndim() != N + 2 {
            return Err(
                Error::shape(format!("Conv: the weight is {w}, of {} axes", N + 2))
                    .note("a stack of layers is applied with `vmap`"),
            );
        }
        let channels = w.shape.get(1).map_or(0, |n| n * groups);
        if a.shape.get(1) != Some(&channels) {
            return Err(Error::shape(format!(
                "Conv: expected {channels} channels, found {}",
                a.with_shape(a.shape.iter().skip(1).copied().collect::<Dims>())
            )));
        }
        let (space, kernel) = (a.shape.get(2..), w.shape.get(2..));
        let (space, kernel) = (space.unwrap_or_default(), kernel.unwrap_or_default());
        let mut x = x.clone();
        let mut pads = padding.clone();
        if *mode != PaddingMode::Zeros {
            let windows: Dims = (kernel.iter().zip(dilation))
                .map(|(k, d)| k.saturating_sub(1) * d + 1)
                .collect();
            let sides = pads.resolve(space, &windows, stride);
            for (i, ((before, after), n)) in sides.iter().zip(space).enumerate() {
                let n = signed(*n);
                if n == 0 || (*before, *after) == (0, 0) {
                    continue;
                }
                let places = (-before..n + after).map(|i| mode.place(i, n) as i64);
                let places = Array::from(places.collect::<Vec<i64>>());
                x = x.take(&places, i as i32 + 2);
            }
            pads = Pads::Valid;
        }
        let how = Convolution::new(*stride)
            .padding(pads)
            .rhs_dilation(*dilation)
            .feature_groups(*groups);
        let y = x.conv_general_dilated(&self.weight, &how);
        Ok(match &self.bias {
            Some(bias) => y + bias,
            None => y,
        })
    }
}

/// Pooling over `N` axes of space: the largest element or the mean under each window.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::arange(16, DType::F32).reshape([1, 4, 4]);
/// let y = nn::Pool::<2>::max(2).stride(2).call(&x);
/// assert_eq!(y.to_vec::<f32>().unwrap(), [5.0, 7.0, 13.0, 15.0]);
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct Pool<const N: usize> {
    #[pytree(meta)]
    mean: bool,
    #[pytree(meta)]
    kernel: [usize; N],
    #[pytree(meta)]
    stride: [usize; N],
    #[pytree(meta)]
    padding: Pads,
}

impl<const N: usize> Pool<N> {
    fn new(mean: bool, kernel_size: impl Sizes<N>) -> Pool<N> {
        Pool {
            mean,
            kernel: kernel_size.sizes(),
            stride: [1; N],
            padding: Pads::Valid,
        }
    }

    /// The largest element under each window, as `equinox.nn.MaxPool`: with a stride of 1 and no padding.
    pub fn max(kernel_size: impl Sizes<N>) -> Pool<N> {
        Pool::new(false, kernel_size)
    }

    /// The mean under each window, as `equinox.nn.AvgPool`: with a stride of 1 and no padding (which counts as zeros).
    pub fn mean(kernel_size: impl Sizes<N>) -> Pool<N> {
        Pool::new(true, kernel_size)
    }

    /// The distance between windows.
    #[must_use]
    pub fn stride(mut self, stride: impl Sizes<N>) -> Self {
        self.stride = stride.sizes();
        self
    }

    /// What is added to the image at its sides.
    #[must_use]
    pub fn padding(mut self, padding: impl Sides<N>) -> Self {
        self.padding = padding.pads();
        self
    }

    /// `[channels, ..space]` to the same with less space; axes before are examples. In the error state if the window does not fit.
    #[track_caller]
    pub fn call(&self, x: &Array) -> Array {
        attempt(|| {
            by_example("Pool", x, N + 1, |x| {
                let pads = self.padding.clone();
                Ok(if self.mean {
                    let n: usize = self.kernel.iter().product();
                    x.inexact()
                        .pool(WindowReducer::Sum, self.kernel, self.stride, pads)
                        / n as f64
                } else {
                    x.max_pool(self.kernel, self.stride, pads)
                })
            })
        })
    }
}
