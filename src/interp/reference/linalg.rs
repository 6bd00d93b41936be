//! Linear algebra in double precision complex arithmetic, one matrix after the other. Real matrices stay real: no step makes an
//! imaginary part where there is none.

use super::{Buffers, contract::widened, factor::pivots_of_columns, triangular::triangular_solve};
use crate::{
    array::{Aval, Buffer, DType, Element, Scalar, Stored, buffer::try_vec, dtype::with_dtype},
    error::{Error, Result},
    trace::op::Linalg,
};
use num_complex::Complex;
use std::sync::Arc;

pub(super) type C = Complex<f64>;
pub(super) const ZERO: C = C { re: 0.0, im: 0.0 };
pub(super) const ONE: C = C { re: 1.0, im: 0.0 };

/// A matrix in row-major order. Reading outside gives zero, writing outside does nothing.
#[derive(Clone)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) elements: Vec<C>,
}

impl Matrix {
    fn new(rows: usize, columns: usize, elements: Vec<C>) -> Matrix {
        Matrix {
            rows,
            columns,
            elements,
        }
    }

    /// The matrix of these columns.
    pub(super) fn columns_of(&self, order: &[usize]) -> Matrix {
        let mut m = Matrix::zeros(self.rows, order.len());
        for (j, from) in order.iter().enumerate() {
            (0..self.rows).for_each(|i| m.set(i, j, self.get(i, *from)));
        }
        m
    }

    pub(super) fn zeros(rows: usize, columns: usize) -> Matrix {
        Matrix::new(rows, columns, vec![ZERO; rows * columns])
    }

    pub(super) fn identity(n: usize) -> Matrix {
        let mut m = Matrix::zeros(n, n);
        (0..n).for_each(|i| m.set(i, i, ONE));
        m
    }

    pub(super) fn get(&self, i: usize, j: usize) -> C {
        if j >= self.columns {
            return ZERO;
        }
        self.elements
            .get(i * self.columns + j)
            .copied()
            .unwrap_or(ZERO)
    }

    pub(super) fn set(&mut self, i: usize, j: usize, x: C) {
        if j < self.columns
            && let Some(slot) = self.elements.get_mut(i * self.columns + j)
        {
            *slot = x;
        }
    }

    fn adjoint(&self) -> Matrix {
        let mut m = Matrix::zeros(self.columns, self.rows);
        for i in 0..self.rows {
            for j in 0..self.columns {
                m.set(j, i, self.get(i, j).conj());
            }
        }
        m
    }

    fn exchange_rows(&mut self, i: usize, k: usize) {
        for j in 0..self.columns {
            let (a, b) = (self.get(i, j), self.get(k, j));
            self.set(i, j, b);
            self.set(k, j, a);
        }
    }

    /// The first rows and columns.
    fn corner(&self, rows: usize, columns: usize) -> Matrix {
        let mut m = Matrix::zeros(rows, columns);
        for i in 0..rows {
            for j in 0..columns {
                m.set(i, j, self.get(i, j));
            }
        }
        m
    }

    /// ⟨column i, column j⟩, the first conjugated.
    fn inner(&self, i: usize, j: usize) -> C {
        (0..self.rows)
            .map(|k| self.get(k, i).conj() * self.get(k, j))
            .sum()
    }

    /// Columns p and q replaced by `c·p − s·q` and `s̄·p + c·q`.
    fn rotate(&mut self, p: usize, q: usize, c: f64, s: C) {
        for k in 0..self.rows {
            let (x, y) = (self.get(k, p), self.get(k, q));
            self.set(k, p, x * c - y * s);
            self.set(k, q, x * s.conj() + y * c);
        }
    }

    /// The columns in another order.
    fn ordered(&self, order: &[usize]) -> Matrix {
        let mut m = Matrix::zeros(self.rows, order.len());
        for (to, from) in order.iter().enumerate() {
            for i in 0..self.rows {
                m.set(i, to, self.get(i, *from));
            }
        }
        m
    }
}

/// Row by row. A matrix that is not positive definite gives NaN everywhere.
fn cholesky(a: &Matrix) -> Matrix {
    let n = a.rows;
    let mut l = Matrix::zeros(n, n);
    for i in 0..n {
        for j in 0..=i {
            let sum: C = (0..j).map(|k| l.get(i, k) * l.get(j, k).conj()).sum();
            let rest = a.get(i, j) - sum;
            if i == j {
                if rest.re.is_nan() || rest.re <= 0.0 {
                    return Matrix::new(n, n, vec![C::new(f64::NAN, f64::NAN); n * n]);
                }
                l.set(i, i, C::new(rest.re.sqrt(), 0.0));
            } else {
                l.set(i, j, rest / l.get(j, j));
            }
        }
    }
    l
}

/// Gauss's elimination; the pivot is the largest element of the column, by |re| + |im| as in LAPACK, the first of several.
fn lu(a: &Matrix) -> (Matrix, Vec<usize>, Vec<usize>) {
    let mut m = a.clone();
    let k = m.rows.min(m.columns);
    let mut pivots = Vec::with_capacity(k);
    let mut permutation: Vec<usize> = (0..m.rows).collect();
    let size = |x: C| x.re.abs() + x.im.abs();
    for j in 0..k {
        let mut best = j;
        for i in j + 1..m.rows {
            if size(m.get(i, j)) > size(m.get(best, j)) {
                best = i;
            }
        }
        pivots.push(best);
        m.exchange_rows(j, best);
        permutation.swap(j, best);
        let pivot = m.get(j, j);
        if pivot == ZERO {
            continue;
        }
        for i in j + 1..m.rows {
            let factor = m.get(i, j) / pivot;
            m.set(i, j, factor);
            for c in j + 1..m.columns {
                let x = m.get(i, c) - factor * m.get(j, c);
                m.set(i, c, x);
            }
        }
    }
    (m, pivots, permutation)
}

/// Householder's reflections, with LAPACK's choice of signs: the square `q`, and `r` in the shape of the matrix.
fn qr(a: &Matrix) -> (Matrix, Matrix) {
    let (m, n) = (a.rows, a.columns);
    let mut r = a.clone();
    let mut q = Matrix::identity(m);
    for j in 0..m.min(n) {
        let alpha = r.get(j, j);
        let tail: f64 = (j + 1..m).map(|i| r.get(i, j).norm_sqr()).sum();
        if tail == 0.0 && alpha.im == 0.0 {
            continue;
        }
        let norm = (alpha.norm_sqr() + tail).sqrt();
        let beta = if alpha.re >= 0.0 { -norm } else { norm };
        let tau = C::new((beta - alpha.re) / beta, -alpha.im / beta);
        let scale = ONE / (alpha - beta);
        let v: Vec<C> = (0..m)
            .map(|i| match i.cmp(&j) {
                std::cmp::Ordering::Less => ZERO,
                std::cmp::Ordering::Equal => ONE,
                std::cmp::Ordering::Greater => r.get(i, j) * scale,
            })
            .collect();
        // r ← (1 − τ̄·v·vᴴ)·r and q ← q·(1 − τ·v·vᴴ).
        for c in j..n {
            let dot: C = v
                .iter()
                .enumerate()
                .map(|(i, v)| v.conj() * r.get(i, c))
                .sum();
            for (i, v) in v.iter().enumerate().skip(j) {
                let x = r.get(i, c) - tau.conj() * v * dot;
                r.set(i, c, x);
            }
        }
        for row in 0..m {
            let dot: C = v.iter().enumerate().map(|(i, v)| q.get(row, i) * v).sum();
            for (i, v) in v.iter().enumerate().skip(j) {
                let x = q.get(row, i) - tau * dot * v.conj();
                q.set(row, i, x);
            }
        }
        for i in j + 1..m {
            r.set(i, j, ZERO);
        }
    }
    (q, r)
}

/// The rotation that makes the off-diagonal element of [[a, g], [ḡ, b]] zero: its cosine, and its sine with the phase of `g`.
fn jacobi_rotation(a: f64, b: f64, g: C) -> (f64, C) {
    let size = g.norm();
    let theta = (b - a) / (2.0 * size);
    let t = if theta == 0.0 {
        1.0
    } else {
        theta.signum() / (theta.abs() + theta.hypot(1.0))
    };
    let c = 1.0 / t.hypot(1.0);
    (c, (g.conj() / size) * (t * c))
}

/// How often all pairs are visited at most; convergence is quadratic, so that a dozen is plenty.
const SWEEPS: usize = 60;

/// Jacobi's method: rotations make one off-diagonal element after the other zero. Vectors as columns, values ascending.
fn eigh(a: &Matrix, lower: bool) -> (Matrix, Vec<f64>) {
    let n = a.rows;
    let mut m = Matrix::zeros(n, n);
    for i in 0..n {
        m.set(i, i, C::new(a.get(i, i).re, 0.0));
        for j in 0..i {
            let x = if lower {
                a.get(i, j)
            } else {
                a.get(j, i).conj()
            };
            m.set(i, j, x);
            m.set(j, i, x.conj());
        }
    }
    let mut v = Matrix::identity(n);
    for _ in 0..SWEEPS {
        let mut moved = false;
        for p in 0..n {
            for q in p + 1..n {
                let g = m.get(p, q);
                let (a, b) = (m.get(p, p).re, m.get(q, q).re);
                if g.norm()
                    <= f64::EPSILON * 1e-3 * (a.abs() * b.abs()).sqrt().max(f64::MIN_POSITIVE)
                {
                    continue;
                }
                moved = true;
                let (c, s) = jacobi_rotation(a, b, g);
                m.rotate(p, q, c, s);
                // And the rows likewise, with the conjugate.
                for k in 0..n {
                    let (x, y) = (m.get(p, k), m.get(q, k));
                    m.set(p, k, x * c - y * s.conj());
                    m.set(q, k, x * s + y * c);
                }
                v.rotate(p, q, c, s);
            }
        }
        if !moved {
            break;
        }
    }
    let values: Vec<f64> = (0..n).map(|i| m.get(i, i).re).collect();
    let mut order: Vec<usize> = (0..n).collect();
    let value = |i: &usize| values.get(*i).copied().unwrap_or(0.0);
    order.sort_by(|i, j| value(i).total_cmp(&value(j)));
    (v.ordered(&order), order.iter().map(value).collect())
}

/// Hestenes' method for a matrix that is not wider than high: rotations make its columns orthogonal. Thin `u`, values
/// descending, and `v`.
fn svd_high(a: &Matrix) -> (Matrix, Vec<f64>, Matrix) {
    let n = a.columns;
    let mut u = a.clone();
    let mut v = Matrix::identity(n);
    for _ in 0..SWEEPS {
        let mut moved = false;
        for p in 0..n {
            for q in p + 1..n {
                let (a, b, g) = (u.inner(p, p).re, u.inner(q, q).re, u.inner(p, q));
                if g.norm() <= f64::EPSILON * (a * b).sqrt() || g.norm() == 0.0 {
                    continue;
                }
                moved = true;
                let (c, s) = jacobi_rotation(a, b, g);
                u.rotate(p, q, c, s);
                v.rotate(p, q, c, s);
            }
        }
        if !moved {
            break;
        }
    }
    let values: Vec<f64> = (0..n).map(|j| u.inner(j, j).re.sqrt()).collect();
    let mut order: Vec<usize> = (0..n).collect();
    let value = |i: &usize| values.get(*i).copied().unwrap_or(0.0);
    order.sort_by(|i, j| value(j).total_cmp(&value(i)));
    let (mut u, v) = (u.ordered(&order), v.ordered(&order));
    let values: Vec<f64> = order.iter().map(value).collect();
    let largest = values.first().copied().unwrap_or(0.0);
    let negligible = largest * f64::EPSILON * a.rows as f64;
    let rank = values.iter().filter(|s| **s > negligible).count();
    for j in 0..rank {
        let s = values.get(j).copied().unwrap_or(1.0);
        for i in 0..u.rows {
            let x = u.get(i, j) / s;
            u.set(i, j, x);
        }
    }
    let u = completed(&u, rank, n);
    (u, values, v)
}

/// The first `rank` columns, which are orthonormal, and others that are orthogonal to them, `wanted` in all.
fn completed(u: &Matrix, rank: usize, wanted: usize) -> Matrix {
    let mut out = u
        .corner(u.rows, rank)
        .ordered(&(0..rank).collect::<Vec<_>>());
    let mut wide = Matrix::zeros(u.rows, wanted);
    for j in 0..rank {
        for i in 0..u.rows {
            wide.set(i, j, out.get(i, j));
        }
    }
    out = wide;
    let mut next = rank;
    for axis in 0..u.rows {
        if next >= wanted {
            break;
        }
        for i in 0..u.rows {
            out.set(i, next, if i == axis { ONE } else { ZERO });
        }
        // Twice is enough: Kahan's rule for Gram and Schmidt's method.
        for _ in 0..2 {
            for j in 0..next {
                let along = out.inner(j, next);
                for i in 0..u.rows {
                    let x = out.get(i, next) - out.get(i, j) * along;
                    out.set(i, next, x);
                }
            }
        }
        let norm = out.inner(next, next).re.sqrt();
        if norm > 0.5 / (u.rows as f64).sqrt() {
            for i in 0..u.rows {
                let x = out.get(i, next) / norm;
                out.set(i, next, x);
            }
            next += 1;
        }
    }
    out
}

/// `u`, the values, and `vᴴ`; square if `full`.
fn svd(a: &Matrix, full: bool) -> (Matrix, Vec<f64>, Matrix) {
    let (u, s, v) = if a.rows >= a.columns {
        svd_high(a)
    } else {
        let (v, s, u) = svd_high(&a.adjoint());
        (u, s, v)
    };
    let k = s.len();
    let square = |m: Matrix| {
        if full { completed(&m, k, m.rows) } else { m }
    };
    (square(u), s, square(v).adjoint())
}

/// The matrices of a buffer, one after the other.
pub(super) fn matrices(x: &Buffer) -> Result<Vec<Matrix>> {
    let [.., m, n] = x.shape() else {
        return Err(Error::internal("linear algebra needs matrices"));
    };
    let elements = widened::<C>(&x.contiguous()?)?;
    if m * n == 0 {
        let count = x.shape().iter().rev().skip(2).product();
        return Ok(vec![Matrix::zeros(*m, *n); count]);
    }
    Ok(elements
        .chunks(m * n)
        .map(|c| Matrix::new(*m, *n, c.to_vec()))
        .collect())
}

pub(super) fn buffer(out: &Aval, elements: impl Iterator<Item = C>) -> Result<Buffer> {
    with_dtype!(out.dtype, T => {
        let mut v: Vec<T> = try_vec(out.size())?;
        v.extend(elements.map(|x| T::from_scalar(if out.dtype.is_complex() { Scalar::Complex(x) } else { Scalar::Float(x.re) })));
        Buffer::from_data(out.clone(), T::data(v))
    })
}

pub(super) fn linalg(p: Linalg, x: &[Arc<Buffer>], results: &[Aval]) -> Result<Buffers> {
    let missing = || Error::internal("linear algebra lost an operand");
    let first = x.first().ok_or_else(missing)?;
    if let Linalg::TriangularSolve(how) = p {
        let (b, out) = (x.get(1).ok_or_else(missing)?, results.first());
        let y = triangular_solve(how, first, b, out.ok_or_else(missing)?)?;
        return Ok(Buffers::from_elem(y, 1));
    }
    let a = matrices(first)?;
    // For each matrix, the elements of each result.
    let real = |v: Vec<f64>| -> Vec<C> { v.into_iter().map(|x| C::new(x, 0.0)).collect() };
    let index =
        |v: Vec<usize>| -> Vec<C> { v.into_iter().map(|i| C::new(i as f64, 0.0)).collect() };
    let all: Vec<Vec<Vec<C>>> = match p {
        Linalg::Cholesky => a.iter().map(|a| vec![cholesky(a).elements]).collect(),
        Linalg::TriangularSolve(_) => vec![],
        Linalg::Lu => a
            .iter()
            .map(|a| {
                let (m, pivots, permutation) = lu(a);
                vec![m.elements, index(pivots), index(permutation)]
            })
            .collect(),
        Linalg::Qr {
            full_matrices,
            pivoting,
        } => a
            .iter()
            .map(|a| {
                let order = pivoting.then(|| pivots_of_columns(a));
                let a = &match &order {
                    Some(order) => a.columns_of(order),
                    None => a.clone(),
                };
                let (q, r) = qr(a);
                let k = if full_matrices {
                    a.rows
                } else {
                    a.rows.min(a.columns)
                };
                let mut y = vec![
                    q.corner(a.rows, k).elements,
                    r.corner(k, a.columns).elements,
                ];
                y.extend(order.map(index));
                y
            })
            .collect(),
        Linalg::Eigh { lower } => a
            .iter()
            .map(|a| {
                let (v, w) = eigh(a, lower);
                vec![v.elements, real(w)]
            })
            .collect(),
        Linalg::Svd {
            compute_uv,
            full_matrices,
        } => a
            .iter()
            .map(|a| {
                let (u, s, vh) = svd(a, compute_uv && full_matrices);
                vec![real(s), u.elements, vh.elements]
            })
            .collect(),
    };
    results
        .iter()
        .enumerate()
        .map(|(i, out)| {
            let elements = all.iter().filter_map(|r| r.get(i)).flatten().copied();
            if out.dtype == DType::I32 {
                let v: Vec<i32> = elements.map(|x| x.re as i32).collect();
                return Buffer::from_data(out.clone(), i32::data(v));
            }
            buffer(out, elements)
        })
        .collect()
}
