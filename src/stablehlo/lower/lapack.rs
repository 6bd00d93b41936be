//! The routines of LAPACK that JAX calls by name on CPUs. Each also says, as LAPACK does, whether it succeeded.

use super::{Attr, apply, given::Given};
use crate::{
    array::{Array, Dims},
    error::Result,
    numpy::{tril, triu},
    trace::{
        bind_all,
        op::{Factor, Linalg, TriangularSolve},
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
                let (a, lower) = (first()?, self.letter("uplo") == Some('L'));
                let l = self.cholesky(a, lower)?;
                let info = self.info(&l, 1)?;
                // LAPACK leaves the other triangle as it is.
                let rest = if lower { triu(a, 1) } else { tril(a, -1) };
                vec![l + rest, info]
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
                let y = bind_all(Linalg::Lu, std::slice::from_ref(first()?))?;
                let [lu, pivots, _] = &y[..] else {
                    return Err(super::few());
                };
                // LAPACK counts from one.
                vec![lu.clone(), pivots + 1, self.info(lu, 2)?]
            }
            "geqrf" => bind_all(Factor::Geqrf, std::slice::from_ref(first()?))?,
            "geqp3" => {
                let [a, order] = self.operands()?;
                bind_all(Factor::Geqp3, &[a.clone(), order.clone()])?
            }
            "ormqr" | "unmqr" => {
                let [a, tau, c] = self.operands()?;
                let config = self.attr(&["mhlo.backend_config", "backend_config"]);
                let says = |name: &str| config.and_then(|c| c.field(name)).and_then(Attr::bool);
                let op = Factor::Ormqr {
                    left: says("left") == Some(true),
                    transpose: says("transpose") == Some(true),
                };
                vec![apply(op, &[a, tau, c])?]
            }
            "gees" => self.schur(first()?)?,
            "orgqr" | "ungqr" => {
                let [a, tau] = self.operands()?;
                vec![apply(Factor::HouseholderProduct, &[a, tau])?]
            }
            "syevd" | "heevd" => {
                let lower = self.letter("uplo") == Some('L');
                let y = bind_all(Linalg::Eigh { lower }, std::slice::from_ref(first()?))?;
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
                let y = bind_all(full, std::slice::from_ref(a))?;
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
            "geev" => self.eigenvalues(first()?)?,
            "gtsv" => {
                let [lower, main, upper, b] = self.operands()?;
                let y = apply(Factor::TridiagonalSolve, &[lower, main, upper, b])?;
                let info = self.info(&y, 4)?;
                vec![lower.clone(), main.clone(), upper.clone(), y, info]
            }
            _ => return Err(self.unsupported(format!("the target `{target}`"))),
        }))
    }

    /// Of a real matrix: the real and the imaginary parts of the eigenvalues; then, of any, the vectors.
    fn eigenvalues(&self, a: &Array) -> Result<Vec<Array>> {
        let real = a.dtype()?.is_float();
        let (left, right) = (
            self.letter("compute_left") == Some('V'),
            self.letter("compute_right") == Some('V'),
        );
        let mut y = bind_all(Factor::Eig { left, right }, std::slice::from_ref(a))?.into_iter();
        let w = y.next().ok_or_else(super::few)?;
        let mut results = if real {
            vec![w.real(), w.imag()]
        } else {
            vec![w]
        };
        for wanted in [left, right] {
            let out = self.out(results.len())?;
            results.push(if wanted {
                y.next().ok_or_else(super::few)?
            } else {
                Array::zeros(&out.shape, out.dtype)
            });
        }
        let first = results.first().ok_or_else(super::few)?;
        let info = self.info(first, results.len())?;
        results.push(info);
        Ok(results)
    }

    /// The triangular form, the vectors, the eigenvalues (of a real matrix their real and imaginary parts), how many were selected, and
    /// whether it succeeded.
    fn schur(&self, a: &Array) -> Result<Vec<Array>> {
        if self.letter("sort").is_some_and(|c| c != 'N') {
            return Err(self.unsupported("an order of eigenvalues"));
        }
        let y = bind_all(Factor::Schur { vectors: true }, std::slice::from_ref(a))?;
        let [t, z] = &y[..] else {
            return Err(super::few());
        };
        let own = crate::array::numpy::diagonal(t, 0, -2, -1);
        let mut all = vec![t.clone(), z.clone()];
        if a.dtype()?.is_complex() {
            all.push(own);
        } else {
            // A block of two rows has a + √(bc)·i and a − √(bc)·i.
            let n = a.shape().last().copied().unwrap_or(0);
            let beside = |x: &Array| {
                if n > 1 {
                    crate::array::numpy::diagonal(x, 1, -2, -1)
                } else {
                    own.slice_in_dim(0, 0, -1)
                }
            };
            let product = beside(t) * beside(&t.swapaxes(-1, -2));
            let size = product
                .lt(0.0)
                .select((-&product).sqrt(), Array::zeros_like(&product));
            let edge = own.slice_in_dim(0, n.min(1), -1) * 0.0;
            let join = |a: &Array, b: &Array| crate::array::numpy::concatenate(&[a, b], -1);
            all.push(own.clone());
            all.push(join(&size, &edge) - join(&edge, &size));
        }
        let selected = self.out(all.len())?;
        all.push(Array::zeros(&selected.shape, selected.dtype));
        let info = self.info(t, all.len())?;
        all.push(info);
        Ok(all)
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
