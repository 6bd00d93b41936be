//! Determinants, eigenvalues, roots and powers of structured matrices.

use super::{
    Structure, Structured,
    apply::{column, stored},
    element::diagonal,
    of,
    product::multiplied,
    solve::{capacitance, solution},
    sum::squares,
    toeplitz,
};
use crate::{
    array::{Array, DType, linalg},
    error::{Error, Result},
    transform::scan,
};

/// The sign of a determinant and the logarithm of its size.
type Signed = (Array, Array);

fn size(x: &Array, back: usize) -> usize {
    x.shape().iter().rev().nth(back).copied().unwrap_or(0)
}

/// Of the numbers on the last axis, whose product the determinant is.
fn of_product(x: &Array) -> Signed {
    (x.sign().prod(-1), x.abs().log().sum(-1))
}

fn both(a: Signed, b: Signed) -> Signed {
    (a.0 * b.0, a.1 + b.1)
}

/// The sum of what each gives, with the sign to a power and the logarithm times that.
fn all(parts: impl Iterator<Item = Result<Signed>>) -> Result<Signed> {
    let mut y: Option<Signed> = None;
    for p in parts {
        let p = p?;
        y = Some(match y {
            Some(y) => both(y, p),
            None => p,
        });
    }
    y.ok_or_else(|| Error::internal("a matrix without parts"))
}

fn of_any(x: &Array) -> Result<Signed> {
    match of(x) {
        Some(s) => log_determinant(s),
        None => {
            let [sign, log] = linalg::slogdet(x)?;
            Ok((sign, log))
        }
    }
}

/// `slogdet`, in the cost of the structure.
pub(super) fn log_determinant(s: &Structured) -> Result<Signed> {
    let n = s.square("slogdet")?;
    let dtype = s.dtype()?;
    let ones = || -> Result<Array> { Ok(Array::ones(s.batch()?, dtype)) };
    let zeros = || -> Result<Array> { Ok(Array::zeros(s.batch()?, dtype.real())) };
    Ok(match &s.structure {
        Structure::Identity { .. } => (ones()?, zeros()?),
        Structure::Diagonal(d) => of_product(d),
        Structure::Tridiagonal { .. } => continuant(s)?,
        Structure::Triangular { .. } => of_product(&diagonal(s, 0)?),
        Structure::Symmetric { positive: true, .. } => {
            let l = linalg::cholesky(&stored(s)?);
            let (_, half) = of_product(&crate::numpy::diagonal(&l, 0, -2, -1));
            (ones()?, half * 2.0)
        }
        Structure::Symmetric { .. } => of_any(&stored(s)?)?,
        Structure::Toeplitz { column, row } => of_product(&toeplitz::pivots(column, row)?),
        Structure::Circulant(c) => {
            let (sign, log) = of_product(&toeplitz::frequencies(c)?);
            let sign = match dtype.is_complex() {
                true => sign,
                false => sign.real().sign(),
            };
            (sign.astype(dtype), log.astype(dtype.real()))
        }
        Structure::Kronecker(factors) if factors.iter().all(is_square) => {
            all(factors.iter().map(|x| {
                let times = n / size(x, 0).max(1);
                let (sign, log) = of_any(x)?;
                Ok((power(&sign, times), log * times as f64))
            }))?
        }
        Structure::BlockDiagonal(groups) if squares(groups) => all(groups.iter().map(|g| {
            let [sign, log] = linalg::slogdet(g)?;
            Ok((sign.prod(-1), log.sum(-1)))
        }))?,
        Structure::Permutation { from, dtype } => (parity(from).astype(*dtype), zeros()?),
        Structure::LowRank { base: None, u, v } => match size(u, 0) < n {
            true => (ones()? * 0.0, zeros()? + f64::NEG_INFINITY),
            false => of_any(&u.matmul(v))?,
        },
        Structure::LowRank {
            base: Some(a),
            u,
            v,
        } => {
            let small = capacitance(v, &solution(a, u)?)?;
            both(of_any(a)?, of_any(&small)?)
        }
        Structure::Product(parts) if parts.iter().all(is_square) => all(parts.iter().map(of_any))?,
        Structure::Inverse(a) => {
            let (sign, log) = of_any(a)?;
            (1.0 / sign, -log)
        }
        _ => of_any(&s.clone().array().definition()?)?,
    })
}

/// A sign to a power.
fn power(x: &Array, n: usize) -> Array {
    x.integer_pow(i32::try_from(n).unwrap_or(i32::MAX))
}

fn is_square(x: &Array) -> bool {
    size(x, 0) == size(x, 1)
}

/// `det`: products where they are products, else by the logarithm.
pub(super) fn determinant(s: &Structured) -> Result<Array> {
    s.square("det")?;
    let y = match &s.structure {
        Structure::Diagonal(d) => d.prod(-1),
        Structure::Triangular { .. } => diagonal(s, 0)?.prod(-1),
        Structure::Toeplitz { column, row } => toeplitz::pivots(column, row)?.prod(-1),
        Structure::BlockDiagonal(groups) if squares(groups) => {
            let mut all = groups.iter().map(|g| linalg::det(g).prod(-1));
            let first = all.next().ok_or_else(|| Error::internal("no blocks"))?;
            all.fold(first, |x, y| x * y)
        }
        Structure::Product(parts) if parts.iter().all(is_square) => {
            let mut all = parts.iter().map(linalg::det);
            let first = all.next().ok_or_else(|| Error::internal("no factors"))?;
            all.fold(first, |x, y| x * y)
        }
        Structure::Symmetric {
            positive: false, ..
        } => linalg::det(&stored(s)?),
        Structure::Sum(_) => linalg::det(&s.clone().array().definition()?),
        Structure::Inverse(a) => 1.0 / linalg::det(a),
        Structure::LowRank {
            base: Some(a),
            u,
            v,
        } => linalg::det(a) * linalg::det(&capacitance(v, &solution(a, u)?)?),
        _ => {
            let (sign, log) = log_determinant(s)?;
            let dtype = sign.dtype()?;
            sign * log.exp().astype(dtype)
        }
    };
    y.ok().cloned()
}

/// The determinant of a tridiagonal matrix by its recurrence of three terms, kept in the range of the numbers by a factor that no
/// derivative sees, as it cancels.
fn continuant(s: &Structured) -> Result<Signed> {
    let Structure::Tridiagonal { lower, main, upper } = &s.structure else {
        return Err(Error::internal("not a tridiagonal matrix"));
    };
    let n = size(main, 0);
    let first = |x: &Array| x.moveaxis(-1, 0);
    let beside = first(&(lower * upper));
    let main = first(main);
    let start = main.slice_in_dim(0, 1, 0).squeeze(0);
    let one = Array::ones_like(&start);
    let none = one.abs() * 0.0;
    let scaled = |now: Array, before: Array, log: &Array| {
        let size = now.abs().maximum(before.abs()).stop_gradient();
        let size = size.gt(0.0).select(&size, Array::ones_like(&size));
        let by = size.astype(now.dtype().unwrap_or(DType::F32));
        (now / &by, before / &by, log + size.log())
    };
    let step = |(now, before, log): &(Array, Array, Array), (a, bc): &(Array, Array)| {
        let next = a * now - bc * before;
        (scaled(next, now.clone(), log), ())
    };
    let begin = scaled(start, one, &none);
    let ((now, _, log), ()) = scan(step, &begin, &(main.slice_in_dim(1, n, 0), beside))?;
    Ok((now.sign(), now.abs().log() + log))
}

/// 1 or −1: the sign of a permutation, by its number of cycles. Each element finds the least of its cycle by pointers that double.
fn parity(from: &Array) -> Array {
    let n = size(from, 0);
    let follow = |x: &Array, at: &Array| match from.ndim() {
        1 => x.take(at, -1),
        _ => x.take_along_axis(at, -1),
    };
    let own = Array::arange(n, DType::I32).broadcast_to(from.shape());
    let (mut least, mut next) = (own.clone(), from.clone());
    let mut reach = 1;
    while reach < n {
        least = least.minimum(follow(&least, &next));
        next = follow(&next, &next);
        reach *= 2;
    }
    let cycles = least.eq(&own).astype(DType::I32).sum(-1);
    let moved: Array = n as i32 - cycles;
    1 - 2 * (moved & 1)
}

/// Eigenvalues, complex, where the structure has them.
pub(super) fn eigenvalues(s: &Structured) -> Result<Array> {
    s.square("eigvals")?;
    let complex = |x: &Array| -> Result<Array> {
        let to = match x.dtype()? {
            DType::F64 | DType::C128 => DType::C128,
            _ => DType::C64,
        };
        Ok(if x.dtype()? == to {
            x.clone()
        } else {
            x.astype(to)
        })
    };
    match &s.structure {
        Structure::Identity { .. } | Structure::Diagonal(_) | Structure::Triangular { .. } => {
            complex(&diagonal(s, 0)?)
        }
        Structure::Circulant(c) => toeplitz::frequencies(c),
        Structure::Kronecker(x) if x.iter().all(is_square) => outer(x, linalg::eigvals),
        Structure::BlockDiagonal(groups) if squares(groups) => flat(groups, linalg::eigvals),
        Structure::Symmetric { .. } => Ok(linalg::eigvals(&stored(s)?)),
        Structure::Inverse(a) => Ok(1.0 / linalg::eigvals(a)),
        _ => Ok(linalg::eigvals(&s.clone().array().definition()?)),
    }
}

/// Every product of one number of each factor.
fn outer(x: &[Array], f: impl Fn(&Array) -> Array) -> Result<Array> {
    let mut y: Option<Array> = None;
    for x in x {
        let w = f(x);
        y = Some(match y {
            None => w,
            Some(y) => {
                let all = column(&y) * w.expand_dims(-2);
                let mut shape = all.shape().to_vec();
                let m = shape.pop().unwrap_or(1);
                if let Some(n) = shape.last_mut() {
                    *n *= m;
                }
                all.reshape(shape)
            }
        });
    }
    y.ok_or_else(|| Error::internal("no factors"))
}

/// The numbers of all blocks.
fn flat(groups: &[Array], f: impl Fn(&Array) -> Array) -> Result<Array> {
    let each = groups.iter().map(|g| {
        let w = f(g);
        let mut shape = w.shape().to_vec();
        let m = shape.pop().unwrap_or(1);
        if let Some(n) = shape.last_mut() {
            *n *= m;
        }
        w.reshape(shape)
    });
    crate::numpy::concatenate(&each.collect::<Vec<_>>(), -1)
        .ok()
        .cloned()
}

/// Eigenvalues in ascending order and eigenvectors of a Hermitian matrix: those of a diagonal one are a permutation.
pub(super) fn hermitian(s: &Structured) -> Result<[Array; 2]> {
    s.square("eigh")?;
    let real = |x: &Array| x.real();
    match &s.structure {
        Structure::Identity { batch, n, dtype } => {
            let mut shape = batch.clone();
            shape.push(*n);
            Ok([Array::ones(shape, dtype.real()), s.clone().array()])
        }
        Structure::Diagonal(d) => {
            let d = real(d);
            let order = d.argsort(-1);
            let vectors = s.with(Structure::Permutation {
                from: order.argsort(-1),
                dtype: s.dtype()?,
            });
            // Column `i` has its one in row `order[i]`, so row `j` has it in the column of its rank.
            Ok([d.sort(-1), vectors.array()])
        }
        Structure::Symmetric { .. } => linalg::eigh(&stored(s)?),
        _ => linalg::eigh(&s.clone().array().definition()?),
    }
}

/// Singular values in descending order.
pub(super) fn singular_values(s: &Structured) -> Result<Array> {
    let down = |x: Array| x.sort(-1).flip([-1]);
    match &s.structure {
        Structure::Identity { .. } | Structure::Permutation { .. } => {
            let mut shape = s.batch()?;
            shape.push(s.size()?[0]);
            Ok(Array::ones(shape, s.dtype()?.real()))
        }
        Structure::Diagonal(d) => Ok(down(d.abs())),
        Structure::Circulant(c) => {
            let w = down(toeplitz::frequencies(c)?.abs());
            Ok(w.astype(s.dtype()?.real()))
        }
        Structure::Kronecker(x) if x.iter().all(is_square) => Ok(down(outer(x, linalg::svdvals)?)),
        Structure::BlockDiagonal(groups) if squares(groups) => {
            Ok(down(flat(groups, linalg::svdvals)?))
        }
        Structure::Triangular { .. } | Structure::Symmetric { .. } => {
            Ok(linalg::svdvals(&stored(s)?))
        }
        _ => Ok(linalg::svdvals(&s.clone().array().definition()?)),
    }
}

/// Cholesky's factor: as lower triangular as the structure allows.
pub(super) fn cholesky(s: &Structured) -> Result<Array> {
    s.square("cholesky")?;
    let done = |x: Structure| Ok(s.with(x).array());
    match &s.structure {
        Structure::Identity { .. } => Ok(s.clone().array()),
        Structure::Diagonal(d) => done(Structure::Diagonal(d.sqrt())),
        Structure::Symmetric { .. } => done(Structure::Triangular {
            matrix: linalg::cholesky(&stored(s)?),
            lower: true,
        }),
        Structure::Kronecker(x) if x.iter().all(is_square) => done(Structure::Kronecker(
            x.iter().map(linalg::cholesky).collect(),
        )),
        Structure::BlockDiagonal(x) if squares(x) => done(Structure::BlockDiagonal(
            x.iter().map(linalg::cholesky).collect(),
        )),
        _ => Ok(linalg::cholesky(&s.clone().array().definition()?)),
    }
}

/// An integer power.
pub(super) fn matrix_power(s: &Structured, n: i32) -> Result<Array> {
    let size = s.square("matrix_power")?;
    let done = |x: Structure| Ok(s.with(x).array());
    match &s.structure {
        _ if n == 0 => done(Structure::Identity {
            n: size,
            batch: s.batch()?,
            dtype: s.dtype()?,
        }),
        Structure::Identity { .. } => Ok(s.clone().array()),
        Structure::Diagonal(d) => done(Structure::Diagonal(d.integer_pow(n))),
        Structure::Circulant(c) => done(Structure::Circulant(toeplitz::spectral(c, |w| {
            w.integer_pow(n)
        })?)),
        Structure::Kronecker(x) if x.iter().all(is_square) => done(Structure::Kronecker(
            x.iter().map(|x| linalg::matrix_power(x, n)).collect(),
        )),
        Structure::BlockDiagonal(x) if squares(x) => done(Structure::BlockDiagonal(
            x.iter().map(|x| linalg::matrix_power(x, n)).collect(),
        )),
        _ if n < 0 => {
            let back = super::solve::inverse(s)?;
            repeated(&back, n.unsigned_abs())
        }
        _ => repeated(&s.clone().array(), n.unsigned_abs()),
    }
}

/// By squaring.
fn repeated(x: &Array, mut n: u32) -> Result<Array> {
    let (mut base, mut y): (Array, Option<Array>) = (x.clone(), None);
    loop {
        if n & 1 == 1 {
            y = Some(match y {
                Some(y) => multiplied(&y, &base)?,
                None => base.clone(),
            });
        }
        n >>= 1;
        if n == 0 {
            return y.ok_or_else(|| Error::internal("a power of zero"));
        }
        base = multiplied(&base, &base)?;
    }
}

/// The Kronecker product of two matrices of which one is structured, or both.
pub(super) fn kron(a: &Array, b: &Array) -> Result<Array> {
    let (x, y) = (a.aval()?, b.aval()?);
    if x.ndim() != 2 || y.ndim() != 2 || x.dtype != y.dtype {
        return Err(Error::shape(format!(
            "kron of a structured matrix takes two matrices of one type, got {x} and {y}"
        )));
    }
    let parts = |x: &Array| match of(x).map(|s| &s.structure) {
        Some(Structure::Kronecker(x)) => x.clone(),
        _ => vec![x.clone()],
    };
    let like = of(a)
        .or(of(b))
        .ok_or_else(|| Error::internal("no structured operand"))?;
    if let (Some(Structure::Diagonal(c)), Some(Structure::Diagonal(d))) =
        (of(a).map(|s| &s.structure), of(b).map(|s| &s.structure))
    {
        let d = (column(c) * d.expand_dims(0)).ravel();
        return Ok(like.with(Structure::Diagonal(d)).array());
    }
    let parts = [parts(a), parts(b)].concat();
    Ok(like.with(Structure::Kronecker(parts)).array())
}
