//! Linear algebra: decompositions and triangular systems, each on the last two axes for every place along the others.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Param, Params, Prim, Primitive, Tangent,
    add_tangents, batch_in_front, cotangent, not_linear, operands,
};
use crate::{
    array::{
        Array, Aval, DType, Dims,
        numpy::{concatenate, tril, triu},
    },
    error::{Error, Result},
    trace::{bind, bind_all},
};
use smallvec::smallvec;

/// `cholesky`
pub const CHOLESKY: Prim<Linalg> = Prim::new("cholesky");
/// `triangular_solve`
pub const TRIANGULAR_SOLVE: Prim<Linalg> = Prim::new("triangular_solve");
/// `lu`
pub const LU: Prim<Linalg> = Prim::new("lu");
/// `qr`
pub const QR: Prim<Linalg> = Prim::new("qr");
/// `eigh`
pub const EIGH: Prim<Linalg> = Prim::new("eigh");
/// `svd`
pub const SVD: Prim<Linalg> = Prim::new("svd");

/// How a triangular system is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TriangularSolve {
    /// Is it the matrix's complex conjugate that stands in the system?
    pub conjugate_a: bool,
    /// Does the matrix stand on the left, `a·x = b`, or on the right, `x·a = b`?
    pub left_side: bool,
    /// Is it the lower triangle that is read?
    pub lower: bool,
    /// Is it the matrix's transpose that stands in the system?
    pub transpose_a: bool,
    /// Are the diagonal's elements taken to be 1, whatever they are?
    pub unit_diagonal: bool,
}

/// A decomposition, or a triangular system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Linalg {
    /// The lower triangular `l` with `l·lᴴ = a`, of a positive definite matrix whose lower triangle is read; NaN if it is not.
    Cholesky,
    /// The solution of a triangular system with several right sides.
    TriangularSolve(TriangularSolve),
    /// `a[p] = l·u`: both triangles in one matrix, the rows exchanged at each step, and the permutation `p`.
    Lu,
    /// `a = q·r`.
    Qr {
        /// Is `q` square, and `r` as high as the matrix?
        full_matrices: bool,
        /// Are columns exchanged, so that the diagonal of `r` falls? Then `a[:, p] = q·r`, and the third result is `p`.
        pivoting: bool,
    },
    /// `a = v·diag(w)·vᴴ` of a Hermitian matrix: `v`, and `w` ascending.
    Eigh {
        /// Is it the lower triangle that is read?
        lower: bool,
    },
    /// `a = u·diag(s)·vᴴ`: `s` descending, and, if asked for, `u` and `vᴴ`.
    Svd {
        /// Are `u` and `vᴴ` asked for?
        compute_uv: bool,
        /// Are they square?
        full_matrices: bool,
    },
}

/// The transpose of the last two axes.
pub(crate) fn transposed(x: &Array) -> Array {
    x.swapaxes(-1, -2)
}

/// The conjugate transpose of the last two axes.
pub(crate) fn adjoint(x: &Array) -> Array {
    transposed(x).conj()
}

/// The diagonals of square matrices.
pub(crate) fn diagonal(x: &Array) -> Array {
    let shape = x.shape();
    let n = shape.last().copied().unwrap_or(0);
    let axis = shape.len().saturating_sub(1);
    Array::eye(n, DType::Bool)
        .select(x, Array::zeros_like(x))
        .reduce_sum([axis])
}

/// A vector along the last axis as a row of matrices.
fn row(x: &Array) -> Array {
    x.expand_dims(-2)
}

fn column(x: &Array) -> Array {
    x.expand_dims(-1)
}

/// Part of one of the last two axes.
fn part(x: &Array, from: usize, to: usize, axis: i32) -> Array {
    x.slice_in_dim(from, to, axis)
}

/// `x` with `a` on the left of it, or on the right, solved for.
pub(crate) fn solve_triangle(a: &Array, b: &Array, how: TriangularSolve) -> Array {
    bind(Linalg::TriangularSolve(how), &[a, b])
}

const LOWER: TriangularSolve = TriangularSolve {
    conjugate_a: false,
    left_side: true,
    lower: true,
    transpose_a: false,
    unit_diagonal: false,
};

/// Rows of matrices in the order that a permutation gives.
pub(crate) fn permuted(x: &Array, permutation: &Array) -> Array {
    let a = x.shape();
    let last = a.len().saturating_sub(1);
    let at = permutation.broadcast_in_dim(&a, (0..last).collect::<Dims>());
    super::along_axis(x, &at, last.saturating_sub(1))
}

impl Linalg {
    fn matrix(&self, x: &Aval) -> Result<(Dims, usize, usize)> {
        let narrow = matches!(x.dtype, DType::F16 | DType::BF16)
            && !matches!(self, Linalg::TriangularSolve(_));
        if !x.dtype.is_inexact() || narrow {
            return Err(Error::dtype(format!(
                "`{}` needs float32, float64 or complex numbers, got {x}",
                self.name()
            )));
        }
        match &x.shape[..] {
            [lead @ .., m, n] => Ok((lead.into(), *m, *n)),
            _ => Err(Error::shape(format!(
                "`{}` needs matrices, got {x}",
                self.name()
            ))),
        }
    }

    fn square(&self, x: &Aval) -> Result<(Dims, usize)> {
        match self.matrix(x)? {
            (lead, m, n) if m == n => Ok((lead, n)),
            _ => Err(Error::shape(format!(
                "`{}` needs square matrices, got {x}",
                self.name()
            ))),
        }
    }

    /// De Hoog, Anderssen and Lukas, "Differentiation of matrix functionals using triangular factorization", 2011:
    /// with `f = l⁻¹·a'·u⁻¹`, `l' = l·tril(f, −1)` and `u' = triu(f)·u`.
    fn lu_tangent(lu: &Array, permutation: &Array, t: &Array) -> Result<Array> {
        let a = lu.aval()?;
        let [.., m, n] = a.shape[..] else {
            return Err(Error::internal("`lu` of no matrix"));
        };
        let k = m.min(n);
        let unit = |size: usize, from: usize| -> Array {
            // The identity of this size without its first elements.
            let at = Array::iota([size, size], 0, DType::I32).ge(from as i32);
            (at & Array::eye(size, DType::Bool)).astype(a.dtype)
        };
        let pad = |x: Array, rows: usize, columns: usize| -> Array {
            let x = if rows > 0 {
                let mut s: Dims = x.shape().iter().copied().collect();
                let i = s.len() - 2;
                if let Some(n) = s.get_mut(i) {
                    *n = rows;
                }
                concatenate(&[&x, &Array::zeros(s, a.dtype)], -2)
            } else {
                x
            };
            if columns > 0 {
                let mut s: Dims = x.shape().iter().copied().collect();
                if let Some(n) = s.last_mut() {
                    *n = columns;
                }
                concatenate(&[&x, &Array::zeros(s, a.dtype)], -1)
            } else {
                x
            }
        };
        let l = pad(tril(&part(lu, 0, k, -1), -1), 0, m - k) + unit(m, 0);
        let u = pad(triu(&part(lu, 0, k, -2), 0), n - k, 0) + unit(n, k);
        let la = solve_triangle(
            &l,
            &permuted(t, permutation),
            TriangularSolve {
                unit_diagonal: true,
                ..LOWER
            },
        );
        let f = solve_triangle(
            &u,
            &la,
            TriangularSolve {
                left_side: false,
                lower: false,
                ..LOWER
            },
        );
        Ok(l.matmul(&tril(&f, -1)) + triu(&f, 0).matmul(&u))
    }

    /// Of a matrix that is square or high: with `c = qᴴ·a'·r⁻¹`, `q' = a'·r⁻¹ − q·(c − ω)` and `r' = (c − ω)·r`, where the
    /// antihermitian `ω` has the strictly lower part of `c` (and the imaginary part of its diagonal).
    fn thin_qr_tangent(q: &Array, r: &Array, t: &Array) -> (Array, Array) {
        let upper = TriangularSolve {
            left_side: false,
            lower: false,
            ..LOWER
        };
        let tr = solve_triangle(r, t, upper);
        let c = adjoint(q).matmul(&tr);
        let below = tril(&c, -1);
        let mut omega = &below - adjoint(&below);
        if c.dtype().is_ok_and(DType::is_complex) {
            let on_diagonal = tril(&triu(&c, 0), 0);
            omega += (&on_diagonal - on_diagonal.conj()) * 0.5;
        }
        let rest = &c - &omega;
        let dq = q.matmul(&(omega - &c)) + tr;
        (dq, rest.matmul(r))
    }

    fn qr_tangent(&self, x: &Array, y: &[Array], t: &Array, full: bool) -> Result<[Array; 2]> {
        let [q, r] = operands("qr", y)?;
        let a = x.aval()?;
        let [.., m, n] = a.shape[..] else {
            return Err(Error::internal("`qr` of no matrix"));
        };
        if m < n {
            // The first columns are a square problem; the others follow from `r₂ = qᴴ·x₂`.
            let (dq, dr) = Self::thin_qr_tangent(q, &part(r, 0, m, -1), &part(t, 0, m, -1));
            let rest =
                adjoint(&dq).matmul(&part(x, m, n, -1)) + adjoint(q).matmul(&part(t, m, n, -1));
            return Ok([dq, concatenate(&[&dr, &rest], -1)]);
        }
        if full && m > n {
            return Err(Error::unsupported(
                "the derivative of `qr` with `full_matrices` of a matrix that is higher than wide",
            )
            .note("the columns that complete `q` are not determined by the matrix"));
        }
        let (dq, dr) = Self::thin_qr_tangent(q, r, t);
        Ok([dq, dr])
    }

    /// Giles, "An extended collection of matrix derivative results", 2008, for distinct singular values.
    fn svd_tangent(x: &Array, t: &Array, compute_uv: bool) -> Result<(Array, Option<[Array; 2]>)> {
        let a = x.aval()?;
        let thin = Linalg::Svd {
            compute_uv: true,
            full_matrices: false,
        };
        let y = bind_all(thin, std::slice::from_ref(x))?;
        let [s, u, vh] = operands("svd", &y)?;
        let (uh, v) = (adjoint(u), adjoint(vh));
        let ds = uh.matmul(t).matmul(&v);
        let slope = diagonal(&ds.real());
        if !compute_uv {
            return Ok((slope, None));
        }
        let [.., m, n] = a.shape[..] else {
            return Err(Error::internal("`svd` of no matrix"));
        };
        let k = m.min(n);
        let eye = Array::eye(k, s.dtype()?);
        let (across, down) = (row(s), column(s));
        let differences = (&across + &down) * (&across - &down);
        let f = (1.0 / (differences + &eye) - &eye).astype(a.dtype);
        let (across, down) = (across.astype(a.dtype), down.astype(a.dtype));
        let (dss, sds) = (&across * &ds, &down * &ds);
        let zero = s.eq(0.0);
        let inverse = zero.select(0.0, 1.0 / zero.select(1.0, s));
        let phase = (&ds - adjoint(&ds)) * 0.5 * (eye * row(&inverse)).astype(a.dtype);
        let mut du = u.matmul(&(&f * (&dss + adjoint(&dss)) + phase));
        let mut dv = v.matmul(&(&f * (&sds + adjoint(&sds))));
        let inverse = row(&inverse).astype(a.dtype);
        if m > n {
            let tv = t.matmul(&v);
            du += (&tv - u.matmul(&uh.matmul(&tv))) * &inverse;
        }
        if n > m {
            let tu = adjoint(t).matmul(u);
            dv += (&tu - v.matmul(&vh.matmul(&tu))) * &inverse;
        }
        Ok((slope, Some([du, adjoint(&dv)])))
    }

    /// The tangents of the results, of which positions have none.
    fn tangents(&self, x: &[Array], y: &[Array], t: &[Tangent]) -> Result<Vec<Tangent>> {
        if let Linalg::TriangularSolve(how) = self {
            let ([a, _], [da, db], [y]) = (
                operands("triangular_solve", x)?,
                operands("triangular_solve", t)?,
                operands("triangular_solve", y)?,
            );
            let of_b = db.as_ref().map(|db| solve_triangle(a, db, *how));
            let of_a = da.as_ref().map(|da| {
                let k = i64::from(how.unit_diagonal);
                let da = if how.lower { tril(da, -k) } else { triu(da, k) };
                let da = if how.transpose_a { transposed(&da) } else { da };
                let da = if how.conjugate_a { da.conj() } else { da };
                let moved = if how.left_side {
                    da.matmul(y)
                } else {
                    y.matmul(&da)
                };
                -solve_triangle(a, &moved, *how)
            });
            return Ok(vec![add_tangents(of_b, of_a)]);
        }
        let ([x], [Some(t)]) = (operands(self.name(), x)?, operands(self.name(), t)?) else {
            return Ok(vec![None; y.len()]);
        };
        Ok(match (self, y) {
            // Murray, "Differentiation of the Cholesky decomposition", 2016.
            (Linalg::Cholesky, [l]) => {
                let n = l.shape().last().copied().unwrap_or(0);
                let right = TriangularSolve {
                    left_side: false,
                    transpose_a: true,
                    conjugate_a: true,
                    ..LOWER
                };
                let inner = solve_triangle(l, &solve_triangle(l, t, right), LOWER);
                let halved = tril(&inner, 0) / (Array::eye(n, l.dtype()?) + 1.0);
                vec![Some(l.matmul(&halved))]
            }
            (Linalg::Lu, [lu, _, permutation]) => {
                vec![Some(Self::lu_tangent(lu, permutation, t)?), None, None]
            }
            (
                Linalg::Qr {
                    full_matrices,
                    pivoting: true,
                },
                [q, r, order],
            ) => {
                let columns = |x: &Array| transposed(&permuted(&transposed(x), order));
                let y = [q.clone(), r.clone()];
                let [dq, dr] = self.qr_tangent(&columns(x), &y, &columns(t), *full_matrices)?;
                vec![Some(dq), Some(dr), None]
            }
            (Linalg::Qr { full_matrices, .. }, y) => {
                self.qr_tangent(x, y, t, *full_matrices)?.map(Some).to_vec()
            }
            // First-order perturbation, for distinct eigenvalues.
            (Linalg::Eigh { .. }, [v, w]) => {
                let n = w.shape().last().copied().unwrap_or(0);
                let dtype = v.dtype()?;
                let eye = Array::eye(n, w.dtype()?);
                let gaps = row(w) - column(w);
                let f = (1.0 / (gaps + &eye) - eye).astype(dtype);
                let inner = adjoint(v).matmul(t).matmul(v);
                let dw = diagonal(&inner.real());
                vec![Some(v.matmul(&(f * inner))), Some(dw)]
            }
            (
                Linalg::Svd {
                    compute_uv,
                    full_matrices,
                },
                _,
            ) => {
                let a = x.aval()?;
                let [.., m, n] = a.shape[..] else {
                    return Err(Error::internal("`svd` of no matrix"));
                };
                if *compute_uv && *full_matrices && m != n {
                    return Err(Error::unsupported(
                        "the derivative of `svd` with `full_matrices` of a matrix that is not square",
                    )
                    .note("with `full_matrices` false it has one"));
                }
                let (ds, rest) = Self::svd_tangent(x, t, *compute_uv)?;
                std::iter::once(Some(ds))
                    .chain(rest.into_iter().flatten().map(Some))
                    .collect()
            }
            _ => {
                return Err(Error::internal(format!("`{}` lost a result", self.name())));
            }
        })
    }
}

impl Primitive for Linalg {
    fn name(&self) -> &'static str {
        match self {
            Linalg::Cholesky => "cholesky",
            Linalg::TriangularSolve(_) => "triangular_solve",
            Linalg::Lu => "lu",
            Linalg::Qr { .. } => "qr",
            Linalg::Eigh { .. } => "eigh",
            Linalg::Svd { .. } => "svd",
        }
    }
    fn params(&self) -> Params {
        match self {
            Linalg::Cholesky | Linalg::Lu => vec![],
            Linalg::TriangularSolve(p) => vec![
                ("conjugate_a", Param::bool(p.conjugate_a)),
                ("left_side", Param::bool(p.left_side)),
                ("lower", Param::bool(p.lower)),
                ("transpose_a", Param::bool(p.transpose_a)),
                ("unit_diagonal", Param::bool(p.unit_diagonal)),
            ],
            Linalg::Qr {
                full_matrices,
                pivoting,
            } => vec![
                ("full_matrices", Param::bool(*full_matrices)),
                ("pivoting", Param::bool(*pivoting)),
                ("use_magma", Param::text("None")),
            ],
            Linalg::Eigh { lower } => vec![
                ("algorithm", Param::text("None")),
                ("lower", Param::bool(*lower)),
                ("sort_eigenvalues", Param::bool(true)),
                ("subset_by_index", Param::text("None")),
            ],
            Linalg::Svd {
                compute_uv,
                full_matrices,
            } => vec![
                ("algorithm", Param::text("None")),
                ("compute_uv", Param::bool(*compute_uv)),
                ("full_matrices", Param::bool(*full_matrices)),
                ("subset_by_index", Param::text("None")),
            ],
        }
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        if let Linalg::TriangularSolve(p) = self {
            let [a, b] = operands(self.name(), x)?;
            let (lead, n) = self.square(a)?;
            let (others, rows, columns) = self.matrix(b)?;
            let own = if p.left_side { rows } else { columns };
            if lead != others || own != n || a.dtype != b.dtype {
                return Err(Error::shape(format!(
                    "`triangular_solve`: {a} does not fit a right side {b}"
                )));
            }
            return Ok(smallvec![b.strong()]);
        }
        let [x] = operands(self.name(), x)?;
        let with = |lead: &Dims, sizes: &[usize], dtype: DType| {
            let mut shape = lead.clone();
            shape.extend_from_slice(sizes);
            Aval::new(shape, dtype)
        };
        let d = x.dtype;
        Ok(match self {
            Linalg::Cholesky => {
                let (lead, n) = self.square(x)?;
                smallvec![with(&lead, &[n, n], d)]
            }
            Linalg::Eigh { .. } => {
                let (lead, n) = self.square(x)?;
                smallvec![with(&lead, &[n, n], d), with(&lead, &[n], d.real())]
            }
            Linalg::Lu => {
                let (lead, m, n) = self.matrix(x)?;
                smallvec![
                    with(&lead, &[m, n], d),
                    with(&lead, &[m.min(n)], DType::I32),
                    with(&lead, &[m], DType::I32)
                ]
            }
            Linalg::Qr {
                full_matrices,
                pivoting,
            } => {
                let (lead, m, n) = self.matrix(x)?;
                let k = if *full_matrices { m } else { m.min(n) };
                let mut y: Avals = smallvec![with(&lead, &[m, k], d), with(&lead, &[k, n], d)];
                if *pivoting {
                    y.push(with(&lead, &[n], DType::I32));
                }
                y
            }
            Linalg::Svd {
                compute_uv,
                full_matrices,
            } => {
                let (lead, m, n) = self.matrix(x)?;
                let k = m.min(n);
                let (left, right) = if *full_matrices { (m, n) } else { (k, k) };
                let mut y: Avals = smallvec![with(&lead, &[k], d.real())];
                if *compute_uv {
                    y.push(with(&lead, &[m, left], d));
                    y.push(with(&lead, &[right, n], d));
                }
                y
            }
            Linalg::TriangularSolve(_) => smallvec![],
        })
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let y = bind_all(*self, x)?;
        let t = self.tangents(x, &y, t)?;
        Ok((y, t))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let (Linalg::TriangularSolve(p), [Arg::Known(a), Arg::Linear(_)]) = (self, x) else {
            return Err(not_linear(self.name()));
        };
        let back = TriangularSolve {
            transpose_a: !p.transpose_a,
            ..*p
        };
        let ct = cotangent(ct).map(|ct| solve_triangle(a, ct, back));
        Ok(vec![None, ct])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_in_front(*self, x, d, axis)
    }
    opaque!();
}
