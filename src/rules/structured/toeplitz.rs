//! Toeplitz and circulant matrices: products by Fourier transforms, solutions by Levinson's recursion.

use crate::{
    array::{Array, DType, Dims, numpy::concatenate},
    error::{Error, Result},
    trace::op::{self, FftType},
    transform::{TransposeSolve, custom_linear_solve, scan, vmap},
};

/// The type in which transforms are computed.
fn wide(x: &Array) -> Result<Array> {
    Ok(match x.dtype()? {
        DType::F64 | DType::F32 | DType::C64 | DType::C128 => x.clone(),
        _ => x.astype(DType::F32),
    })
}

fn complex(x: &Array) -> Result<Array> {
    Ok(match x.dtype()? {
        DType::F64 => x.astype(DType::C128),
        DType::F32 => x.astype(DType::C64),
        _ => x.clone(),
    })
}

/// The transform along the last axis, of real vectors the half that says all.
fn forward(x: &Array, n: usize) -> Result<Array> {
    let how = match x.dtype()?.is_complex() {
        true => FftType::Fft,
        false => FftType::Rfft,
    };
    Ok(x.lax_fft(how, [n]))
}

fn backward(x: &Array, n: usize, complex: bool) -> Array {
    match complex {
        true => x.lax_fft(FftType::Ifft, [n]),
        false => x.lax_fft(FftType::Irfft, [n]),
    }
}

/// The eigenvalues of a circulant matrix, complex, in the order of the frequencies.
pub(super) fn frequencies(c: &Array) -> Result<Array> {
    let n = c.shape().last().copied().unwrap_or(0);
    Ok(complex(&wide(c)?)?.lax_fft(FftType::Fft, [n]))
}

/// What `f` makes of the transforms of `c [.., n]` and of the columns of `x [.., n, k]`, transformed back.
fn convolved(c: &Array, x: &Array, n: usize, f: impl Fn(&Array, &Array) -> Array) -> Result<Array> {
    let dtype = x.dtype()?;
    let (c, x) = (wide(c)?, wide(x)?.swapaxes(-1, -2));
    let is_complex = c.dtype()?.is_complex() || x.dtype()?.is_complex();
    let (c, x) = match is_complex {
        true => (complex(&c)?, complex(&x)?),
        false => (c, x),
    };
    let y = f(&forward(&c, n)?.expand_dims(-2), &forward(&x, n)?);
    let y = backward(&y, n, is_complex).swapaxes(-1, -2);
    let y = match y.dtype()? == dtype || is_complex {
        true => y,
        false => y.astype(dtype),
    };
    y.ok().cloned()
}

/// A circulant matrix times columns.
pub(super) fn circulate(c: &Array, x: &Array) -> Result<Array> {
    let n = c.shape().last().copied().unwrap_or(0);
    convolved(c, x, n, |c, x| c * x)
}

/// The solution of a circulant system.
pub(super) fn uncirculate(c: &Array, b: &Array) -> Result<Array> {
    let n = c.shape().last().copied().unwrap_or(0);
    convolved(c, b, n, |c, b| b / c)
}

/// A function of the eigenvalues of a circulant matrix: the first column of the result.
pub(super) fn spectral(c: &Array, f: impl Fn(&Array) -> Array) -> Result<Array> {
    let n = c.shape().last().copied().unwrap_or(0);
    let (dtype, c) = (c.dtype()?, wide(c)?);
    let y = backward(&f(&forward(&c, n)?), n, dtype.is_complex());
    let y = match y.dtype()? == dtype {
        true => y,
        false => y.astype(dtype),
    };
    y.ok().cloned()
}

/// The product of two circulant matrices: its first column.
pub(super) fn circulant_product(a: &Array, b: &Array) -> Result<Array> {
    Ok(circulate(a, &b.expand_dims(-1))?.squeeze(-1))
}

fn last(x: &Array) -> usize {
    x.shape().last().copied().unwrap_or(0)
}

/// All diagonals, from the lowest to the highest: `[.., n + m − 1]`.
pub(super) fn diagonals(column: &Array, row: &Array) -> Array {
    let (n, m) = (last(column), last(row));
    let below = column.flip([-1]);
    match m {
        0 | 1 => below,
        _ if n == 0 => row.clone(),
        _ => concatenate(&[below, row.slice_in_dim(1, m, -1)], -1),
    }
}

/// A Toeplitz matrix times columns, as the corner of a circulant one of a power of two.
pub(super) fn product(column: &Array, row: &Array, x: &Array) -> Result<Array> {
    let (n, m) = (last(column), last(row));
    let size = (n + m - 1).max(1).next_power_of_two();
    let lead: Dims = column
        .shape()
        .iter()
        .take(column.ndim() - 1)
        .copied()
        .collect();
    let mut parts = vec![column.clone()];
    let mut middle = lead;
    middle.push(size + 1 - n - m);
    parts.push(Array::zeros(middle, column.dtype()?));
    if m > 1 {
        parts.push(row.slice_in_dim(1, m, -1).flip([-1]));
    }
    let around = concatenate(&parts, -1);
    let mut widths = vec![(0, 0); x.ndim()];
    if let Some(w) = widths.iter_mut().rev().nth(1) {
        *w = (0, size - m);
    }
    let y = convolved(&around, &x.pad(&widths, 0), size, |c, x| c * x)?;
    y.slice_in_dim(0, n, -2).ok().cloned()
}

/// The steps of Levinson's recursion for one square matrix, of its diagonals `[2n − 1]` from the lowest, and right sides `[n, k]`:
/// the solution, and for each leading minor the quotient of the determinant before it by its own.
///
/// Golub and Van Loan, *Matrix Computations*, 4.7; the general matrix as in Press and others, *Numerical Recipes*, 2.8. It needs every
/// leading minor to be other than zero.
fn levinson(t: &Array, b: &Array) -> Result<(Array, Array)> {
    let [n, k] = b.dims()?;
    let dtype = t.dtype()?;
    let at = |i: usize| t.slice_in_dim(i, i + 1, -1);
    let (first, row) = (at(n - 1), t.slice_in_dim(n - 1, 2 * n - 1, 0));
    let lengthened = |x: Array, k: usize| x.pad(&[(0, n - k)], 0);
    let start = lengthened(1.0 / &first, 1);
    let x = b.slice_in_dim(0, 1, 0) / &first;
    let x = x.pad(&[(0, n - 1), (0, 0)], 0);
    let steps = Array::arange(n - 1, DType::I32) + 1;
    let right = b.slice_in_dim(1, n, 0);
    let shifted = |x: &Array| x.slice_in_dim(0, n - 1, 0).pad(&[(1, 0)], 0);
    let step = |(f, g, x): &(Array, Array, Array), (i, b): &(Array, Array)| {
        // Row `i`; vectors have zeros where it goes beyond them.
        let from = n as i32 - 1 - i;
        let window = op::DynamicSlice {
            slice_sizes: Dims::from_slice(&[n]),
        };
        let own = crate::trace::bind(window, &[t, &from]);
        let g = shifted(g);
        let ahead = own.dot(f);
        let behind = row.dot(&g);
        let scale = 1.0 / (1.0 - &ahead * &behind);
        let next = (f - &g * &ahead) * &scale;
        let last = (&g - f * &behind) * &scale;
        let missing = b - own.dot(x);
        let x = x + last.expand_dims(-1) * missing.expand_dims(0);
        let ratio = next.slice_in_dim(0, 1, 0).reshape(());
        ((next, last, x), ratio)
    };
    let ((_, _, x), ratios) = scan(step, &(start.clone(), start.clone(), x), &(steps, right))?;
    let ratios = concatenate(&[start.slice_in_dim(0, 1, 0), ratios.reshape([n - 1])], 0);
    Ok((x.reshape([n, k]).astype(dtype), ratios))
}

/// The same for a batch.
fn levinson_all(t: &Array, b: &Array) -> Result<(Array, Array)> {
    let (bs, n) = (
        b.shape(),
        b.shape().iter().rev().nth(1).copied().unwrap_or(0),
    );
    let lead: Dims = bs.iter().take(bs.len() - 2).copied().collect();
    if n == 0 {
        return Ok((b.clone(), Array::ones(t.shape(), t.dtype()?)));
    }
    if lead.is_empty() {
        return levinson(t, b);
    }
    let all: usize = lead.iter().product();
    let k = last(b);
    let (x, ratios) = vmap(levinson)(&t.reshape([all, 2 * n - 1]), &b.reshape([all, n, k]))?;
    let mut shape = lead;
    shape.push(n);
    Ok((x.reshape(bs), ratios.reshape(shape)))
}

/// The solution of a square Toeplitz system. Its derivative is that of the solution, by products and one more recursion.
pub(super) fn solution(column: &Array, row: &Array, b: &Array) -> Result<Array> {
    let (dtype, b) = (b.dtype()?, wide(b)?);
    let (column, row) = (wide(column)?, wide(row)?);
    let n = last(&column);
    // The first element of the row is that of the column.
    let row = match n {
        0 | 1 => column.clone(),
        _ => concatenate(
            &[column.slice_in_dim(0, 1, -1), row.slice_in_dim(1, n, -1)],
            -1,
        ),
    };
    let joint = (&column + &row).dtype()?;
    let b = match (&b + column.slice_in_dim(0, 1, -1).expand_dims(-1)).dtype()? {
        d if d == b.dtype()? => b,
        d => b.astype(d),
    };
    if joint.is_complex() != b.dtype()?.is_complex() {
        return Err(Error::dtype(
            "a Toeplitz system with a right side of another type",
        ));
    }
    let t = diagonals(&column, &row);
    let back = t.flip([-1]);
    let x = custom_linear_solve(
        |x: &Array| product(&column, &row, x),
        &b,
        |_, b: &Array| levinson_all(&t, b).map(|y| y.0),
        TransposeSolve::By(&|_, b: &Array| levinson_all(&back, b).map(|y| y.0)),
    )?;
    Ok(match x.dtype()? == dtype || x.dtype()?.is_complex() {
        true => x,
        false => x.astype(dtype),
    })
}

/// The quotients whose product is the determinant of a square Toeplitz matrix.
pub(super) fn pivots(column: &Array, row: &Array) -> Result<Array> {
    let (column, row) = (wide(column)?, wide(row)?);
    let t = diagonals(&column, &row);
    let b = Array::zeros_like(&column).expand_dims(-1);
    let (_, ratios) = levinson_all(&t, &b)?;
    Ok(1.0 / ratios)
}
