//! `conv_general_dilated` by the matrix products of [`kernels::conv`](super::kernels::conv), whatever the order of the axes.

use super::{
    contract::converted,
    kernels::{
        conv::{Convolve, Space},
        gemm::Packed,
        strided::{self, axes_of, merge},
        threads,
    },
    storage::{Pool, zeros},
};
use crate::{
    array::{Aval, Buffer, DType, Dims, Stored, buffer::row_major},
    error::{Error, Result},
    trace::op::ConvGeneralDilated,
};
use std::sync::Arc;

fn broken() -> Error {
    Error::internal("a convolution does not fit its operands")
}

/// Is it computed here? Others are left to the reference interpreter.
pub(super) fn fits(p: &ConvGeneralDilated, operands: &[&Aval]) -> bool {
    let out = p
        .preferred_element_type
        .or_else(|| operands.first().map(|a| a.dtype));
    out.is_some_and(DType::is_float)
}

/// The axes in the order batch, features, space.
fn axes(spec: &Dims, shape: &[usize], strides: &[isize]) -> Result<Vec<(usize, isize)>> {
    let axes: Vec<(usize, isize)> = axes_of((shape, strides), spec).into_iter().collect();
    (axes.len() == shape.len() && axes.len() >= 2)
        .then_some(axes)
        .ok_or_else(broken)
}

fn convolve(p: &ConvGeneralDilated, x: &Buffer, y: &Buffer, out: &Aval) -> Result<Convolve> {
    let d = &p.dimension_numbers;
    let image = axes(&d.lhs_spec, x.shape(), x.strides())?;
    let kernel = axes(&d.rhs_spec, y.shape(), y.strides())?;
    let result = axes(&d.out_spec, &out.shape, &row_major(&out.shape))?;
    let (
        [(_, image_entry), (_, image_feature), image @ ..],
        [(features, _), (channels, _), kernel @ ..],
        [(batch, out_entry), (_, out_feature), result @ ..],
    ) = (&image[..], &kernel[..], &result[..])
    else {
        return Err(broken());
    };
    let by_batch = p.batch_group_count > 1;
    let groups = p.feature_group_count.max(p.batch_group_count).max(1);
    let features = features / groups;
    let image_group = match by_batch {
        true => *batch as isize * image_entry,
        false => *channels as isize * image_feature,
    };
    let get = |d: &Dims, i: usize| d.get(i).copied().unwrap_or(1).max(1);
    let axes = image.iter().zip(kernel).zip(result).enumerate();
    let space = axes.map(|(i, ((image, kernel), out))| Space {
        image: image.0,
        kernel: kernel.0,
        out: out.0,
        stride: get(&p.window_strides, i),
        image_dilation: get(&p.lhs_dilation, i),
        kernel_dilation: get(&p.rhs_dilation, i),
        low: p.padding.get(i).map_or(0, |p| p.0),
        image_step: image.1,
        out_step: out.1,
    });
    Ok(Convolve {
        batch: *batch,
        features,
        channels: *channels,
        groups,
        image: [image_group, *image_entry, *image_feature],
        out: [features as isize * out_feature, *out_entry, *out_feature],
        space: space.collect(),
    })
}

/// The convolution; `f16` and `bf16` are summed in `f32`.
pub(super) fn conv(
    p: &ConvGeneralDilated,
    x: &Buffer,
    y: &Buffer,
    out: &Arc<Aval>,
    pool: &mut Pool,
) -> Result<Buffer> {
    let wide = match out.dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    let mut of_type = |b: &Buffer| -> Result<Option<Buffer>> {
        (b.dtype() != wide)
            .then(|| converted(b, wide, pool))
            .transpose()
    };
    let (wide_x, wide_y) = (of_type(x)?, of_type(y)?);
    let (x, y) = (wide_x.as_ref().unwrap_or(x), wide_y.as_ref().unwrap_or(y));
    let aval = match out.dtype == wide {
        true => out.clone(),
        false => Arc::new(out.with_dtype(wide)),
    };
    let z = match wide {
        DType::F64 => typed::<f64>(p, x, y, &aval, pool)?,
        _ => typed::<f32>(p, x, y, &aval, pool)?,
    };
    for b in [wide_x, wide_y].into_iter().flatten() {
        pool.give(b);
    }
    if wide == out.dtype {
        return Ok(z);
    }
    let narrow = converted(&z, out.dtype, pool)?;
    pool.give(z);
    Ok(narrow)
}

fn typed<T: Packed + Stored>(
    p: &ConvGeneralDilated,
    x: &Buffer,
    y: &Buffer,
    out: &Arc<Aval>,
    pool: &mut Pool,
) -> Result<Buffer> {
    let convolve = convolve(p, x, y, out)?;
    // The kernel as a matrix: a row for each feature.
    let order = &p.dimension_numbers.rhs_spec;
    let mut kernels = zeros::<T>(y.len())?;
    let axes = merge(axes_of((y.shape(), y.strides()), order));
    let storage = y.storage::<T>().ok_or_else(broken)?;
    strided::copy(storage, y.offset(), &axes, &mut kernels);
    let mut data = pool.take_for(out)?;
    let z = Arc::get_mut(&mut data)
        .and_then(T::vec_mut)
        .ok_or_else(broken)?;
    let image = x.storage::<T>().ok_or_else(broken)?;
    convolve.run(image, x.offset() as isize, &kernels, z, threads())?;
    Ok(Buffer::from_storage(out.clone(), data))
}

/// How many products each element of the result is the sum of.
pub(super) fn terms(p: &ConvGeneralDilated, kernel: &Aval) -> usize {
    let features = p.dimension_numbers.rhs_spec.first();
    let features = features.and_then(|i| kernel.shape.get(*i)).copied();
    kernel.size() / features.unwrap_or(1).max(1)
}
