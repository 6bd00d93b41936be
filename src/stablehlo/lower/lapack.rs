//! The routines of LAPACK that JAX calls by name on CPUs. Each also says, as LAPACK does, whether it succeeded.

use super::{Attr, apply, control::scan, given::Given};
use crate::{
    array::{Array, DType, Dims},
    error::Result,
    trace::{
        bind_all,
        op::{Linalg, TriangularSolve},
    },
};

impl Given<'_, '_, '_> {
    /// The routine of a custom call's target, without the letter of its element type; `None` for another target.
    pub(super) fn lapack(&self, target: &str) -> Result<Option<Vec<Array>>> {
        let Some(routine) = target
            .strip_prefix("lapack_")
            .and_then(|r| r.strip_suffix("_ffi"))
            .and_then(|r| r.get(1..))
        else {
            return Ok(None);
        };
        let first = || self.x.first().ok_or_else(|| self.wrong("it takes arrays"));
        Ok(Some(match routine {
            "potrf" => {
                let l = self.cholesky(first()?, self.letter("uplo") == Some('L'))?;
                let info = self.info(&l, 1)?;
                vec![l, info]
            }
            "trsm" => {
                let [a, b] = self.operands()?;
                let trans = self.letter("trans_x");
                let op = TriangularSolve {
                    conjugate_a: trans == Some('C'),
                    left_side: self.letter("side") == Some('L'),
                    lower: self.letter("uplo") == Some('L'),
                    transpose_a: trans != Some('N'),
                    unit_diagonal: self.letter("diag") == Some('U'),
                };
                vec![apply(Linalg::TriangularSolve(op), &[a, b])?]
            }
            "getrf" => {
                let y = bind_all(Linalg::Lu, &[first()?.clone()])?;
                let [lu, pivots, _] = &y[..] else {
                    return Err(super::few());
                };
                // LAPACK counts from one.
                vec![lu.clone(), pivots + 1, self.info(lu, 2)?]
            }
            "geqrf" => {
                let (a, tau) = householder(first()?)?;
                vec![a, tau]
            }
            "orgqr" | "ungqr" => {
                let [a, tau] = self.operands()?;
                vec![reflected(a, tau)?]
            }
            "syevd" | "heevd" => {
                let lower = self.letter("uplo") == Some('L');
                let y = bind_all(Linalg::Eigh { lower }, &[first()?.clone()])?;
                let [v, w] = &y[..] else {
                    return Err(super::few());
                };
                vec![v.clone(), w.clone(), self.info(v, 2)?]
            }
            "gesdd" | "gesvd" => {
                let a = first()?;
                let full = Linalg::Svd {
                    compute_uv: true,
                    full_matrices: self.letter("mode") == Some('A'),
                };
                let y = bind_all(full, &[a.clone()])?;
                let [s, u, vh] = &y[..] else {
                    return Err(super::few());
                };
                let info = self.info(s, 4)?;
                let zeros = |i: usize| {
                    Ok::<Array, crate::Error>(Array::zeros(&self.out(i)?.shape, self.out(i)?.dtype))
                };
                let wanted = self.letter("mode") != Some('N');
                let (u, vh) = if wanted {
                    (u.clone(), vh.clone())
                } else {
                    (zeros(2)?, zeros(3)?)
                };
                vec![a.clone(), s.clone(), u, vh, info]
            }
            _ => return Err(self.unsupported(format!("the target `{target}`"))),
        }))
    }

    /// An option, which LAPACK names by a letter.
    fn letter(&self, name: &str) -> Option<char> {
        let config = self.attr(&["mhlo.backend_config", "backend_config"])?;
        let code = config.field(name).and_then(Attr::int)?;
        u8::try_from(code).ok().map(char::from)
    }

    /// 0 where the numbers of a result are numbers, else 1, in the shape of result `i`.
    fn info(&self, y: &Array, i: usize) -> Result<Array> {
        let out = self.out(i)?;
        let axes: Dims = (out.ndim()..y.ndim()).collect();
        let odd = y.ne(y).any(&axes);
        self.convert(&odd, out.dtype)
    }
}

/// Numbers along an axis, as integers.
fn count(n: usize) -> Array {
    Array::iota([n], 0, DType::I32)
}

fn column(x: &Array) -> Array {
    x.expand_dims(-1)
}

fn row(x: &Array) -> Array {
    x.expand_dims(-2)
}

fn conjugate(x: &Array) -> Array {
    if x.dtype().is_ok_and(|d| d.is_complex()) {
        x.conj()
    } else {
        x.clone()
    }
}

/// Column `j` of matrices.
fn column_of(a: &Array, j: &Array) -> Array {
    let n = a.shape().last().copied().unwrap_or(0);
    count(n).eq(j).select(a, 0).reduce_sum([a.ndim() - 1])
}

/// A QR decomposition by Householder's reflections, packed as `geqrf` does: `r` in the upper triangle, below it the vectors of the
/// reflections, whose first elements are 1; and their factors. (Golub and Van Loan, "Matrix computations", 5.2.)
fn householder(a: &Array) -> Result<(Array, Array)> {
    let aval = a.aval()?;
    let [.., m, n] = aval.shape[..] else {
        return Err(super::few());
    };
    let k = m.min(n);
    let mut shape: Dims = aval.shape.iter().take(aval.ndim() - 2).copied().collect();
    shape.push(k);
    let tau = Array::zeros(&shape, aval.dtype);
    let (rows, columns) = (count(m), count(n));
    let last = |x: &Array| x.ndim() - 1;
    let (done, _) = scan(&[a.clone(), tau], &[count(k)], k, |carry, slices| {
        let ([a, tau], [j]) = (carry, slices) else {
            return Err(super::few());
        };
        let x = column_of(a, j);
        let (at, below) = (rows.eq(j), rows.gt(j));
        let head = at.select(&x, 0).reduce_sum([last(&x)]);
        let tail = below.select(&x, 0);
        let tail = (conjugate(&tail) * &tail).reduce_sum([last(&x)]);
        let (head_re, tail) = if aval.dtype.is_complex() {
            (head.real(), tail.real())
        } else {
            (head.clone(), tail)
        };
        let size = (head.abs().square() + &tail).sqrt();
        let beta = head_re.lt(0).select(&size, -&size);
        // A column that is zero below, and real, stays as it is.
        let plain = tail.eq(0) & head.eq(head_re.astype(aval.dtype));
        let beta = plain.select(&head_re, beta).astype(aval.dtype);
        let divisor = plain.select(Array::ones_like(&beta), &beta);
        let factor = plain.select(Array::zeros_like(&beta), (&beta - &head) / divisor);
        let scale = plain.select(Array::ones_like(&beta), &head - &beta);
        let v = below.select(&x / column(&scale), at.astype(aval.dtype));
        let w = (column(&conjugate(&v)) * a).reduce_sum([last(a) - 1]);
        let change = column(&(&v * column(&conjugate(&factor)))) * row(&w);
        let a = columns.gt(j).select(a - change, a);
        let replaced = below.select(&v, at.select(column(&beta), &x));
        let a = columns.eq(j).select(column(&replaced), a);
        let tau = count(k).eq(j).select(column(&factor), tau);
        Ok((vec![a, tau], vec![]))
    })?;
    match &done[..] {
        [a, tau] => Ok((a.clone(), tau.clone())),
        _ => Err(super::few()),
    }
}

/// The leading columns of the product of reflections that [`householder`] packed.
fn reflected(a: &Array, tau: &Array) -> Result<Array> {
    let aval = a.aval()?;
    let [.., m, n] = aval.shape[..] else {
        return Err(super::few());
    };
    let k = tau.aval()?.shape.last().copied().unwrap_or(0);
    let rows = count(m);
    let start = rows
        .expand_dims(-1)
        .eq(count(n))
        .astype(aval.dtype)
        .broadcast_to(&aval.shape);
    let backwards = count(k).flip([0usize]);
    let (done, _) = scan(&[start], &[backwards], k, |carry, slices| {
        let ([q], [j]) = (carry, slices) else {
            return Err(super::few());
        };
        let v = rows
            .gt(j)
            .select(column_of(a, j), rows.eq(j).astype(aval.dtype));
        let factor = column_of(&row(tau), j);
        let w = (column(&conjugate(&v)) * q).reduce_sum([q.ndim() - 2]);
        let change = column(&(&v * factor)) * row(&w);
        Ok((vec![q - change], vec![]))
    })?;
    done.into_iter().next().ok_or_else(super::few)
}
