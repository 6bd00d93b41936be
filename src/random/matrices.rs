//! Random vectors and matrices.

use super::{Draw, Key, check_shape, continuous::real_normal, floats};
use crate::{
    array::{Array, Dims, IntoDims, attempt, broadcast_shapes, inexact_together, linalg},
    error::{Error, Result},
    numpy::diagonal,
};

/// How [`multivariate_normal_by`] takes the root of the covariance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Root {
    /// By Cholesky's decomposition: for positive definite ones.
    #[default]
    Cholesky,
    /// By eigenvalues: for positive semidefinite ones.
    Eigh,
    /// By singular values: for positive semidefinite ones.
    Svd,
}

/// Normal vectors of a mean (`[…, n]`) and a covariance (`[…, n, n]`): `[shape…, n]`. The leading axes broadcast to `shape`.
///
/// ```
/// use quaxide::prelude::*;
/// let (mean, cov) = (Array::from([1f32, -1.]), Array::from([[2f32, 0.5], [0.5, 1.]]));
/// let x = random::multivariate_normal(&random::key(0), &mean, &cov, [1000]);
/// assert_eq!(x.shape(), [1000, 2]);
/// ```
#[track_caller]
pub fn multivariate_normal(key: &Key, mean: &Array, cov: &Array, shape: impl IntoDims) -> Array {
    multivariate_normal_by(key, mean, cov, shape, Root::Cholesky)
}

/// As [`multivariate_normal`], with a choice of the root. Eigenvectors and singular vectors are determined but for their signs, so that
/// draws by them may differ from JAX's by reflections.
#[track_caller]
pub fn multivariate_normal_by(
    key: &Key,
    mean: &Array,
    cov: &Array,
    shape: impl IntoDims,
    root: Root,
) -> Array {
    let shape = shape.into_dims();
    attempt(|| {
        let both = inexact_together(&[mean, cov])?;
        let [mean, cov] = &both[..] else {
            return Err(Error::internal("multivariate_normal takes two arrays"));
        };
        let (a, b) = (mean.aval()?, cov.aval()?);
        let (lead, n) = match (&a.shape[..], &b.shape[..]) {
            ([lead @ .., n], [more @ .., k, m]) if k == m && n == m => {
                (broadcast_shapes(lead, more), *n)
            }
            _ => {
                return Err(Error::shape(format!(
                    "`random::multivariate_normal`: a mean {a} does not fit a covariance {b}"
                )));
            }
        };
        let lead = lead.ok_or_else(|| {
            Error::shape(format!(
                "`random::multivariate_normal`: the leading axes of {a} and {b} do not broadcast"
            ))
        })?;
        let zeros = Array::zeros(lead, a.dtype);
        check_shape("multivariate_normal", &shape, &[&zeros])?;
        let factor = root_of(cov, root)?;
        let mut full = shape;
        full.push(n);
        let x = real_normal(key, &full, a.dtype);
        Ok(mean + factor.matmul(&x.expand_dims(-1)).squeeze(-1))
    })
}

fn root_of(cov: &Array, root: Root) -> Result<Array> {
    Ok(match root {
        Root::Cholesky => linalg::cholesky(cov),
        Root::Eigh => {
            let [w, v] = linalg::eigh(cov)?;
            v * w.sqrt().expand_dims(-2)
        }
        Root::Svd => {
            let [u, s, _] = linalg::svd(cov, true)?;
            u * s.sqrt().expand_dims(-2)
        }
    })
}

/// `n` × `m` matrices whose rows, or columns if they are fewer, are orthonormal, uniformly distributed: `[shape…, n, m]`. Floats.
///
/// ```
/// use quaxide::prelude::*;
/// let x = random::orthogonal(&random::key(0), 3, 3, ());
/// let one = x.t().dot(&x);
/// assert!(one.allclose(Array::eye(3, DType::F32), 0.0, 1e-5, false).item::<bool>().unwrap());
/// ```
#[track_caller]
pub fn orthogonal(key: &Key, n: usize, m: usize, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("orthogonal", draw)?;
        let full: Dims = shape.iter().copied().chain([n.max(m), n.min(m)]).collect();
        let [q, r] = linalg::qr(&real_normal(key, &full, dtype), false)?;
        let x = q * diagonal(&r, 0, -2, -1).sign().expand_dims(-2);
        Ok(if n < m { x.swapaxes(-1, -2) } else { x })
    })
}
