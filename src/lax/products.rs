//! Contractions, convolutions and Fourier transforms.

use crate::{
    array::{Array, Convolution, Dims, IntoDims, Pads, attempt},
    error::{Error, Result},
    trace::{
        bind,
        op::{DotGeneral, Fft, FftType, RaggedDotGeneral},
    },
    transform::named::jitted,
};

/// The product of vectors and matrices of one element type.
#[track_caller]
pub fn dot(x: &Array, y: &Array) -> Array {
    attempt(|| {
        let (a, b) = (x.aval()?, y.aval()?);
        if !(1..=2).contains(&a.ndim()) || !(1..=2).contains(&b.ndim()) {
            return Err(
                Error::shape(format!("dot takes vectors and matrices, got {a} and {b}"))
                    .note("`dot_general` takes arrays of any rank"),
            );
        }
        Ok(bind(
            DotGeneral::new(([a.ndim() - 1], [0]), ((), ())),
            &[x, y],
        ))
    })
}

/// The contraction over pairs of axes, with pairs of batch axes.
#[track_caller]
pub fn dot_general(x: &Array, y: &Array, dimensions: DotGeneral) -> Array {
    bind(dimensions, &[x, y])
}

/// What windows over an image see, as its features: `[batch, features, space…]` becomes
/// `[batch, features · elements of a window, places of windows…]`, the elements of one feature's window side by side.
///
/// `how` says strides, padding and dilations; its layouts are the default ones.
///
/// ```
/// use quaxide::{array::Convolution, prelude::*};
/// let x = Array::from([1f32, 2., 3.]).reshape([1, 1, 3]);
/// let y = lax::conv_general_dilated_patches(&x, [2], Convolution::new([1]));
/// assert_eq!(y.shape(), [1, 2, 2]);
/// assert_eq!(y.to_vec::<f32>().unwrap(), [1., 2., 2., 3.]);
/// ```
#[track_caller]
pub fn conv_general_dilated_patches(
    x: &Array,
    filter_shape: impl IntoDims,
    how: Convolution,
) -> Array {
    let filter = filter_shape.into_dims();
    attempt(|| {
        let a = x.aval()?;
        let features = a.shape.get(1).copied().unwrap_or(0);
        let elements: usize = filter.iter().product();
        // A kernel for each element of a window, that sees it alone; and all of them for each feature.
        let mut shape: Dims = [elements, 1].into_iter().collect();
        shape.extend_from_slice(&filter);
        let one = Array::eye(elements, a.dtype).reshape(&shape);
        let mut wide: Dims = [features].into_iter().collect();
        wide.extend_from_slice(&shape);
        let at: Dims = (1..wide.len()).collect();
        if let Some(n) = shape.first_mut() {
            *n = features * elements;
        }
        let kernel = one.broadcast_in_dim(wide, at).reshape(shape);
        Ok(x.conv_general_dilated(&kernel, &how.feature_groups(features)))
    })
}

/// A convolution with a kernel of its own at every place: `[batch, features, space…]` by
/// `[output features, features · elements of a window, places of windows…]`. `how` is as for [`conv_general_dilated_patches`].
#[track_caller]
pub fn conv_general_dilated_local(
    x: &Array,
    kernels: &Array,
    filter_shape: impl IntoDims,
    how: Convolution,
) -> Array {
    let patches = conv_general_dilated_patches(x, filter_shape, how);
    attempt(|| {
        let n = patches.aval()?.ndim();
        let places: Dims = (2..n).collect();
        let dot = DotGeneral::new(([1], [1]), (places.clone(), places));
        // Places, batch, features: the first go last.
        let order: Dims = (n - 2..n).chain(0..n - 2).collect();
        Ok(bind(dot, &[&patches, kernels]).transpose(order))
    })
}

/// The contraction of groups of rows, each with an array of its own; see [`RaggedDotGeneral`].
#[track_caller]
pub fn ragged_dot_general(
    x: &Array,
    y: &Array,
    group_sizes: &Array,
    dimensions: RaggedDotGeneral,
) -> Array {
    bind(dimensions, &[x, y, group_sizes])
}

/// Rows of a matrix in groups, each group times a matrix of its own: `[m,k]` by `[g,k,n]` with `g` sizes.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([[1f32], [1.], [1.]]);
/// let of_groups = Array::from([[[10f32]], [[20.]]]);
/// let y = lax::ragged_dot(&x, &of_groups, &Array::from([1i32, 2]));
/// assert_eq!(y.to_vec::<f32>().unwrap(), [10., 20., 20.]);
/// ```
#[track_caller]
pub fn ragged_dot(x: &Array, y: &Array, group_sizes: &Array) -> Array {
    ragged_dot_general(x, y, group_sizes, RaggedDotGeneral::rows())
}

/// The product of the matrices on the last two axes, for each place along the others, which are the same for both.
#[track_caller]
pub fn batch_matmul(x: &Array, y: &Array) -> Array {
    attempt(|| {
        let (a, b) = (x.aval()?, y.aval()?);
        if a.ndim() < 2 || a.ndim() != b.ndim() {
            return Err(Error::shape(format!(
                "batch_matmul takes arrays of equally many axes, at least two, got {a} and {b}"
            )));
        }
        let n = a.ndim() - 2;
        let batch: Dims = (0..n).collect();
        Ok(bind(
            DotGeneral::new(([n + 1], [n]), (batch.clone(), batch)),
            &[x, y],
        ))
    })
}

/// The convolution with a kernel (not flipped), with all options.
#[track_caller]
pub fn conv_general_dilated(x: &Array, kernel: &Array, how: &Convolution) -> Array {
    x.conv_general_dilated(kernel, how)
}

/// The convolution of `NCHW` images with an `OIHW` kernel.
#[track_caller]
pub fn conv(x: &Array, kernel: &Array, strides: impl IntoDims, padding: impl Into<Pads>) -> Array {
    x.conv_general_dilated(kernel, &Convolution::new(strides).padding(padding))
}

/// As [`conv`], with dilations of image and kernel.
#[track_caller]
pub fn conv_with_general_padding(
    x: &Array,
    kernel: &Array,
    strides: impl IntoDims,
    padding: impl Into<Pads>,
    lhs_dilation: impl IntoDims,
    rhs_dilation: impl IntoDims,
) -> Array {
    let how = Convolution::new(strides)
        .padding(padding)
        .lhs_dilation(lhs_dilation)
        .rhs_dilation(rhs_dilation);
    x.conv_general_dilated(kernel, &how)
}

/// The transposed convolution of `NHWC` images with an `HWIO` kernel, as `lax.conv_transpose`: the image is spread by the strides,
/// and `Same` gives strides times its size.
#[track_caller]
pub fn conv_transpose(
    x: &Array,
    kernel: &Array,
    strides: impl IntoDims,
    padding: impl Into<Pads>,
) -> Array {
    let (strides, padding) = (strides.into_dims(), padding.into());
    attempt(|| {
        let (a, k) = (x.aval()?, kernel.aval()?);
        let n = strides.len();
        if a.ndim() != n + 2 || k.ndim() != n + 2 {
            return Err(Error::shape(format!(
                "conv_transpose with {n} stride(s) is of arrays of {} axes, got {a} and {k}",
                n + 2
            )));
        }
        let pads = match padding {
            Pads::Explicit(p) => p,
            how => {
                let sizes = k.shape.iter().zip(&strides);
                let each = sizes.map(|(k, s)| transposed_padding(*k as isize, *s as isize, &how));
                each.collect::<Result<Vec<_>>>()?
            }
        };
        // Letters for the axes of space.
        let space: String = "0123456789".chars().take(n).collect();
        let (image, weights) = (format!("N{space}C"), format!("{space}IO"));
        let how = Convolution::new(Dims::from_elem(1, n))
            .padding(Pads::Explicit(pads))
            .lhs_dilation(strides)
            .layouts(&image, &weights, &image);
        Ok(x.conv_general_dilated(kernel, &how))
    })
}

/// How much is put around an axis of a spread image, for a kernel of size `k` and a stride `s`.
fn transposed_padding(k: isize, s: isize, how: &Pads) -> Result<(isize, isize)> {
    let (total, before) = match how {
        Pads::Same => {
            let total = k + s - 2;
            let before = if s > k - 1 { k - 1 } else { (total + 1) / 2 };
            (total, before)
        }
        Pads::Valid => (k + s - 2 + (k - s).max(0), k - 1),
        _ => {
            return Err(Error::argument(
                "conv_transpose is padded by `Same`, `Valid` or numbers",
            ));
        }
    };
    Ok((before, total - before))
}

/// The discrete Fourier transform over the last axes, as many as there are lengths.
///
/// ```
/// use quaxide::{op::FftType, prelude::*};
/// let y = lax::fft(&Array::from([1f32, 0., 0., 0.]), FftType::Rfft, [4]);
/// assert_eq!(y.real().to_vec::<f32>().unwrap(), [1.0, 1.0, 1.0]);
/// ```
#[track_caller]
pub fn fft(x: &Array, fft_type: FftType, lengths: impl IntoDims) -> Array {
    let fft_lengths = lengths.into_dims();
    let mut key = vec![fft_type.number() as u64];
    key.extend(fft_lengths.iter().map(|n| *n as u64));
    jitted("fft", &key, &[x], &|x| {
        let fft_lengths = fft_lengths.clone();
        let op = Fft {
            fft_type,
            fft_lengths,
        };
        Ok(bind(op, &x.iter().collect::<Vec<_>>()))
    })
}
