//! Polynomials, as their coefficients from the highest power down.

use super::{ConvolveMode, concatenate, convolve};
use crate::{
    array::{Array, DType, Dims, attempt, inexact_together, linalg, promoted},
    error::{Error, Result},
};

fn coefficients(name: &str, p: &Array) -> Result<usize> {
    let a = p.aval()?;
    match a.shape[..] {
        [n] => Ok(n),
        _ => Err(Error::shape(format!(
            "{name}: the coefficients of a polynomial have one axis, got {a}"
        ))),
    }
}

/// The value of a polynomial at `x`, by Horner's rule.
///
/// ```
/// use quaxide::prelude::*;
/// let p = Array::from([2f32, 0., 1.]); // 2x² + 1
/// assert_eq!(numpy::polyval(&p, &Array::from([0f32, 3.])).to_vec::<f32>().unwrap(), [1.0, 19.0]);
/// ```
#[track_caller]
pub fn polyval(p: &Array, x: &Array) -> Array {
    attempt(|| {
        let n = coefficients("polyval", p)?;
        let (p, x) = promoted(p, x)?;
        let mut y = Array::zeros_like(&x);
        for i in 0..n {
            y = y * &x + p.slice_in_dim(i, i + 1, 0).squeeze(0);
        }
        Ok(y)
    })
}

/// Two sequences of coefficients made equally long, by zeros in front.
fn aligned(name: &str, p: &Array, q: &Array) -> Result<(Array, Array)> {
    let (m, n) = (coefficients(name, p)?, coefficients(name, q)?);
    let (p, q) = promoted(p, q)?;
    let k = m.max(n);
    Ok((p.pad(&[(k - m, 0)], 0), q.pad(&[(k - n, 0)], 0)))
}

/// The sum of polynomials.
#[track_caller]
pub fn polyadd(p: &Array, q: &Array) -> Array {
    attempt(|| {
        let (p, q) = aligned("polyadd", p, q)?;
        Ok(p + q)
    })
}

/// The difference of polynomials.
#[track_caller]
pub fn polysub(p: &Array, q: &Array) -> Array {
    attempt(|| {
        let (p, q) = aligned("polysub", p, q)?;
        Ok(p - q)
    })
}

/// The product of polynomials. Floats.
#[track_caller]
pub fn polymul(p: &Array, q: &Array) -> Array {
    convolve(p, q, ConvolveMode::Full)
}

/// Quotient and remainder of polynomials. Leading zeros of the remainder stay. An error if the divisor has no coefficients.
pub fn polydiv(p: &Array, q: &Array) -> Result<(Array, Array)> {
    let (m, n) = (coefficients("polydiv", p)?, coefficients("polydiv", q)?);
    if n == 0 {
        return Err(Error::argument("polydiv: the divisor has no coefficients"));
    }
    let both = inexact_together(&[p, q])?;
    let [p, q] = &both[..] else {
        return Err(Error::internal("polydiv takes two arrays"));
    };
    if m < n {
        return Ok((Array::zeros([1], p.dtype()?), p.clone()));
    }
    let lead = q.slice_in_dim(0, 1, 0);
    let mut rest = p.clone();
    let mut quotient = vec![];
    for i in 0..=m - n {
        let factor = rest.slice_in_dim(i, i + 1, 0) / &lead;
        rest -= (&factor * q).pad(&[(i, m - n - i)], 0);
        quotient.push(factor);
    }
    Ok((concatenate(&quotient, 0), rest))
}

/// The `m`-th derivative of a polynomial.
#[track_caller]
pub fn polyder(p: &Array, m: usize) -> Array {
    attempt(|| {
        let mut p = p.clone();
        for _ in 0..m {
            let n = coefficients("polyder", &p)?;
            let powers = Array::arange(n.saturating_sub(1), DType::I32).flip(()) + 1;
            p = p.slice_in_dim(0, n.saturating_sub(1), 0) * powers;
        }
        Ok(p)
    })
}

/// The integral of a polynomial, `m` times, with constants 0. Floats.
#[track_caller]
pub fn polyint(p: &Array, m: usize) -> Array {
    attempt(|| {
        let mut p = p.inexact();
        for _ in 0..m {
            let n = coefficients("polyint", &p)?;
            let powers = Array::arange(n, DType::I32).flip(()) + 1;
            p = (p / powers).pad(&[(0, 1)], 0);
        }
        Ok(p)
    })
}

/// The polynomial with these zeros and a highest coefficient of 1.
#[track_caller]
pub fn poly(zeros: &Array) -> Array {
    attempt(|| {
        let n = coefficients("poly", zeros)?;
        let zeros = zeros.inexact();
        let mut p = Array::ones([1], zeros.dtype()?);
        for i in 0..n {
            let zero = zeros.slice_in_dim(i, i + 1, 0);
            p = p.pad(&[(0, 1)], 0) - (&p * zero).pad(&[(1, 0)], 0);
        }
        Ok(p)
    })
}

/// The polynomial of degree `degree` nearest to the points (`x`, `y`), by least squares; `y` may have a second axis of several
/// sets of values. Floats.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([0f64, 1., 2., 3.]);
/// let p = numpy::polyfit(&x, &(&x * 2.0 + 1.0), 1);
/// assert!(p.allclose(Array::from([2f64, 1.]), 1e-9, 1e-9, false).item::<bool>().unwrap());
/// ```
#[track_caller]
pub fn polyfit(x: &Array, y: &Array, degree: usize) -> Array {
    attempt(|| {
        let n = coefficients("polyfit", x)?;
        let both = inexact_together(&[x, y])?;
        let [x, y] = &both[..] else {
            return Err(Error::internal("polyfit takes two arrays"));
        };
        // Columns of one length make the problem better conditioned.
        let left = vander(x, degree + 1, false);
        let scale = left.square().sum(0).sqrt();
        let epsilon = if x.dtype()? == DType::F64 {
            f64::EPSILON
        } else {
            f64::from(f32::EPSILON)
        };
        let [solution, ..] = linalg::lstsq(&(left / &scale), y, n as f64 * epsilon)?;
        let wide = if y.ndim() > 1 {
            scale.expand_dims(-1)
        } else {
            scale
        };
        Ok(solution / wide)
    })
}

/// The powers of each number as rows of `n`: the highest first, unless `increasing`.
///
/// ```
/// use quaxide::prelude::*;
/// let y = numpy::vander(&Array::from([2i32, 3]), 3, false);
/// assert_eq!(y.to_vec::<i32>().unwrap(), [4, 2, 1, 9, 3, 1]);
/// ```
#[track_caller]
pub fn vander(x: &Array, n: usize, increasing: bool) -> Array {
    attempt(|| {
        let m = coefficients("vander", x)?;
        let powers = Array::arange(n, DType::I32);
        let powers = if increasing { powers } else { powers.flip(()) };
        let base = x.broadcast_in_dim(Dims::from_slice(&[m, n]), [0]);
        let powers = powers.broadcast_in_dim([m, n], [1]);
        // Powers of zero and of negative numbers are right with integers only.
        if x.dtype()?.is_inexact() {
            let columns: Vec<Array> = (0..n)
                .map(|j| if increasing { j } else { n - 1 - j })
                .map(|j| x.integer_pow(j as i32).expand_dims(-1))
                .collect();
            return match columns.is_empty() {
                true => Ok(base),
                false => Ok(concatenate(&columns, 1)),
            };
        }
        Ok(base.pow(&powers))
    })
}

/// The zeros of a polynomial, complex: the eigenvalues of its companion matrix. The highest coefficient must not be 0.
///
/// ```
/// use quaxide::prelude::*;
/// let zeros = numpy::roots(&Array::from([1f64, -3., 2.])).real().sort(0);
/// assert!(zeros.allclose(Array::from([1f64, 2.]), 1e-9, 1e-9, false).item::<bool>().unwrap());
/// ```
#[track_caller]
pub fn roots(p: &Array) -> Array {
    attempt(|| {
        let n = coefficients("roots", p)?;
        let p = p.inexact();
        let d = p.dtype()?;
        if n < 2 {
            return Ok(Array::zeros([0], d.complex()));
        }
        let first = -p.slice_in_dim(1, n, 0) / p.slice_in_dim(0, 1, 0);
        let below = super::eye(n - 2, n - 1, 0, d);
        let companion = concatenate(&[first.expand_dims(0), below], 0);
        Ok(linalg::eigvals(&companion))
    })
}
