//! More linear algebra on the last two axes: eigenvalues of any matrix, reflections, reductions by them, tridiagonal systems.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Param, Params, Prim, Primitive, Tangent,
    adjoint, batch_in_front, cotangent,
    defined::{Defined, jvp_of, transpose_of},
    not_linear, operands,
};
use crate::{
    array::{Array, Aval, DType, Dims, linalg},
    error::{Error, Result},
    trace::{bind, bind_all, print::python_float},
};
use smallvec::smallvec;

/// `eig`
pub const EIG: Prim<Factor> = Prim::new("eig");
/// `hessenberg`
pub const HESSENBERG: Prim<Factor> = Prim::new("hessenberg");
/// `schur`
pub const SCHUR: Prim<Factor> = Prim::new("schur");
/// `tridiagonal`
pub const TRIDIAGONAL: Prim<Factor> = Prim::new("tridiagonal");
/// `tridiagonal_solve`
pub const TRIDIAGONAL_SOLVE: Prim<Factor> = Prim::new("tridiagonal_solve");
/// `geqrf`
pub const GEQRF: Prim<Factor> = Prim::new("geqrf");
/// `geqp3`
pub const GEQP3: Prim<Factor> = Prim::new("geqp3");
/// `ormqr`
pub const ORMQR: Prim<Factor> = Prim::new("ormqr");
/// `householder_product`
pub const HOUSEHOLDER_PRODUCT: Prim<Factor> = Prim::new("householder_product");
/// `lu_pivots_to_permutation`
pub const LU_PIVOTS_TO_PERMUTATION: Prim<Factor> = Prim::new("lu_pivots_to_permutation");
/// `symmetric_product`
pub const SYMMETRIC_PRODUCT: Prim<Factor> = Prim::new("symmetric_product");
/// `cholesky_update`
pub const CHOLESKY_UPDATE: Prim<Factor> = Prim::new("cholesky_update");

/// A factorisation, or what belongs to one. Reflections are `1 − τ·v·vᴴ`, where `v` is 1 at its place, zero before it, and what
/// stands below it in the matrix after it, as LAPACK stores them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Factor {
    /// `a·v = v·diag(w)` of a square matrix: `w`, and the left and the right vectors that are asked for, as columns of length 1.
    Eig {
        /// The `u` with `uᴴ·a = diag(w)·uᴴ`?
        left: bool,
        /// The `v`?
        right: bool,
    },
    /// `qᴴ·a·q`, zero below the first subdiagonal, with the reflections of `q` in the place of those zeros, and their `τ`.
    Hessenberg,
    /// `a = z·t·zᴴ`: `t`, and, if asked for, `z`. Of a complex matrix `t` is upper triangular; of a real one `t` and `z` are real, and
    /// each pair of eigenvalues that are not is a block of two rows on the diagonal, its two diagonal elements equal.
    Schur {
        /// Is `z` asked for?
        vectors: bool,
    },
    /// `qᴴ·a·q` of a Hermitian matrix, zero but for the diagonal and its neighbours: the matrix with the reflections, the diagonal,
    /// its neighbour, and the `τ`.
    Tridiagonal {
        /// Is it the lower triangle that is read?
        lower: bool,
    },
    /// The solution of a system with three diagonals: the lower one (whose first element is not read), the main one, the upper one
    /// (whose last element is not read), and right sides as columns.
    TridiagonalSolve,
    /// `r` in the upper triangle, the reflections of `q` below it, and their `τ`.
    Geqrf,
    /// As `Geqrf` of the columns in such an order that those come first of which most is left. With which are to come first (not 0) and
    /// which are free (0); also gives the order, counted from one.
    Geqp3,
    /// The product of all reflections, of a matrix and their `τ`, with another matrix.
    Ormqr {
        /// Do they stand on the left?
        left: bool,
        /// Is it the adjoint of their product?
        transpose: bool,
    },
    /// The first columns of the product of reflections.
    HouseholderProduct,
    /// The permutation that exchanges of rows one after the other amount to.
    PivotsToPermutation {
        /// The number of rows.
        size: usize,
    },
    /// `alpha·a·aᵀ + beta·c`.
    SymmetricProduct {
        /// The factor of the product.
        alpha: f64,
        /// The factor of what is added.
        beta: f64,
    },
    /// The upper triangular `s` with `sᴴ·s = rᴴ·r + w·wᴴ`, of an upper triangular `r` and a vector `w`.
    CholeskyUpdate,
}

/// The sizes of a matrix, and those before them.
fn matrix(name: &str, x: &Aval) -> Result<(Dims, usize, usize)> {
    if !matches!(x.dtype, DType::F32 | DType::F64 | DType::C64 | DType::C128) {
        return Err(Error::dtype(format!(
            "`{name}` needs float32, float64 or complex numbers, got {x}"
        )));
    }
    match &x.shape[..] {
        [lead @ .., m, n] => Ok((lead.into(), *m, *n)),
        _ => Err(Error::shape(format!("`{name}` needs matrices, got {x}"))),
    }
}

fn square(name: &str, x: &Aval) -> Result<(Dims, usize)> {
    match matrix(name, x)? {
        (lead, m, n) if m == n => Ok((lead, n)),
        _ => Err(Error::shape(format!(
            "`{name}` needs square matrices, got {x}"
        ))),
    }
}

fn shaped(lead: &Dims, sizes: &[usize], dtype: DType) -> Aval {
    let mut shape = lead.clone();
    shape.extend_from_slice(sizes);
    Aval::new(shape, dtype)
}

/// An operand must be of this type.
fn expect(name: &str, what: &str, x: &Aval, wanted: &Aval) -> Result<()> {
    if x.same_type(wanted) {
        return Ok(());
    }
    Err(Error::shape(format!(
        "`{name}`: {what} is {x}, where {wanted} is needed"
    )))
}

/// The vectors along the last axis moved on by one place, a zero moved in.
fn moved(x: &Array, on: i64) -> Array {
    let zero = Array::zeros_like(x);
    let n = x.shape().last().copied().unwrap_or(0);
    if n < 2 {
        return zero;
    }
    let part = |x: &Array, from: usize, to: usize| x.slice_in_dim(from, to, -1);
    let parts = if on > 0 {
        [part(&zero, 0, 1), part(x, 0, n - 1)]
    } else {
        [part(x, 1, n), part(&zero, 0, 1)]
    };
    crate::array::numpy::concatenate(&[&parts[0], &parts[1]], -1)
}

/// The product of a matrix of three diagonals with columns.
fn three_diagonals(lower: &Array, main: &Array, upper: &Array, x: &Array) -> Array {
    let rows = x.swapaxes(-1, -2);
    let along = |d: &Array, x: &Array| d.expand_dims(-2) * x;
    let y = along(main, &rows) + along(lower, &moved(&rows, 1)) + along(upper, &moved(&rows, -1));
    y.swapaxes(-1, -2)
}

/// The vector of a reflection that stands in a column, as a column, and its `τ`.
fn column_reflection(a: &Array, taus: &Array, i: usize) -> (Array, Array) {
    let column = a.slice_in_dim(i, i + 1, -1);
    let rows = column.shape().iter().rev().nth(1).copied().unwrap_or(0);
    let (places, at) = (Array::iota([rows], 0, DType::I32), i as i32);
    let below = places.gt(at).expand_dims(-1).broadcast_to(column.shape());
    let own = places.eq(at).expand_dims(-1).broadcast_to(column.shape());
    let v = below.select(&column, Array::zeros_like(&column));
    let v = own.select(Array::ones_like(&v), &v);
    (v, taus.slice_in_dim(i, i + 1, -1).expand_dims(-1))
}

impl Defined for Factor {
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        match (self, x) {
            (Factor::SymmetricProduct { alpha, beta }, [a, c]) => {
                let product = a.matmul(&a.swapaxes(-1, -2));
                Ok(vec![product * *alpha + c * *beta])
            }
            (Factor::CholeskyUpdate, [r, w]) => {
                let column = w.expand_dims(-1);
                let a = adjoint(r).matmul(r) + column.matmul(&adjoint(&column));
                Ok(vec![adjoint(&bind(super::Linalg::Cholesky, &[&a]))])
            }
            (Factor::Ormqr { left, transpose }, [a, taus, c]) => {
                let k = taus.shape().last().copied().unwrap_or(0);
                // The one next to the matrix comes first.
                let mut order: Vec<usize> = (0..k).collect();
                if left != transpose {
                    order.reverse();
                }
                let mut y = c.clone();
                for i in order {
                    let (v, tau) = column_reflection(a, taus, i);
                    let tau = if *transpose { tau.conj() } else { tau };
                    y = if *left {
                        &y - (v.clone() * tau).matmul(&adjoint(&v).matmul(&y))
                    } else {
                        &y - y.matmul(&(v.clone() * tau)).matmul(&adjoint(&v))
                    };
                }
                Ok(vec![y])
            }
            // One reflection after the other, the last one first.
            (Factor::HouseholderProduct, [a, taus]) => {
                let aval = a.aval()?;
                let (lead, m, n) = matrix(self.name(), &aval)?;
                let k = taus.shape().last().copied().unwrap_or(0);
                let mut unit: Dims = lead.clone();
                unit.extend([m, n]);
                let eye = Array::eye(m.max(n), aval.dtype);
                let eye = eye.slice_in_dim(0, m, 0).slice_in_dim(0, n, 1);
                let mut q = eye.broadcast_to(unit);
                for i in (0..k).rev() {
                    let (v, tau) = column_reflection(a, taus, i);
                    q = &q - (v.clone() * tau).matmul(&adjoint(&v).matmul(&q));
                }
                Ok(vec![q])
            }
            _ => Err(Error::unsupported(format!(
                "the derivative of `{}`",
                self.name()
            ))),
        }
    }
}

impl Primitive for Factor {
    fn name(&self) -> &'static str {
        match self {
            Factor::Eig { .. } => EIG.name,
            Factor::Hessenberg => HESSENBERG.name,
            Factor::Schur { .. } => SCHUR.name,
            Factor::Tridiagonal { .. } => TRIDIAGONAL.name,
            Factor::TridiagonalSolve => TRIDIAGONAL_SOLVE.name,
            Factor::Geqrf => GEQRF.name,
            Factor::Geqp3 => GEQP3.name,
            Factor::Ormqr { .. } => ORMQR.name,
            Factor::HouseholderProduct => HOUSEHOLDER_PRODUCT.name,
            Factor::PivotsToPermutation { .. } => LU_PIVOTS_TO_PERMUTATION.name,
            Factor::SymmetricProduct { .. } => SYMMETRIC_PRODUCT.name,
            Factor::CholeskyUpdate => CHOLESKY_UPDATE.name,
        }
    }
    fn params(&self) -> Params {
        match self {
            Factor::Eig { left, right } => vec![
                ("compute_left_eigenvectors", Param::bool(*left)),
                ("compute_right_eigenvectors", Param::bool(*right)),
                ("enable_eigvec_derivs", Param::bool(false)),
                ("implementation", Param::text("None")),
            ],
            Factor::Schur { vectors } => vec![
                ("compute_schur_vectors", Param::bool(*vectors)),
                ("select_callable", Param::text("None")),
                ("sort_eig_vals", Param::bool(false)),
            ],
            Factor::Tridiagonal { lower } => vec![("lower", Param::bool(*lower))],
            Factor::Geqp3 => vec![("use_magma", Param::text("None"))],
            Factor::Ormqr { left, transpose } => vec![
                ("left", Param::bool(*left)),
                ("transpose", Param::bool(*transpose)),
            ],
            Factor::TridiagonalSolve => vec![("perturb_singular", Param::bool(false))],
            Factor::PivotsToPermutation { size } => vec![("permutation_size", Param::text(size))],
            Factor::SymmetricProduct { alpha, beta } => vec![
                ("alpha", Param::text(python_float(*alpha))),
                ("beta", Param::text(python_float(*beta))),
            ],
            Factor::Hessenberg
            | Factor::Geqrf
            | Factor::HouseholderProduct
            | Factor::CholeskyUpdate => vec![],
        }
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let name = self.name();
        Ok(match self {
            Factor::Eig { left, right } => {
                let [a] = operands(name, x)?;
                let (lead, n) = square(name, a)?;
                let d = a.dtype.complex();
                let vectors = usize::from(*left) + usize::from(*right);
                let mut y: Avals = smallvec![shaped(&lead, &[n], d)];
                y.extend((0..vectors).map(|_| shaped(&lead, &[n, n], d)));
                y
            }
            Factor::Hessenberg => {
                let [a] = operands(name, x)?;
                let (lead, n) = square(name, a)?;
                let taus = shaped(&lead, &[n.saturating_sub(1)], a.dtype);
                smallvec![a.strong(), taus]
            }
            Factor::Schur { vectors } => {
                let [a] = operands(name, x)?;
                square(name, a)?;
                (0..1 + usize::from(*vectors)).map(|_| a.strong()).collect()
            }
            Factor::Tridiagonal { .. } => {
                let [a] = operands(name, x)?;
                let (lead, n) = square(name, a)?;
                let (real, less) = (a.dtype.real(), n.saturating_sub(1));
                smallvec![
                    a.strong(),
                    shaped(&lead, &[n], real),
                    shaped(&lead, &[less], real),
                    shaped(&lead, &[less], a.dtype)
                ]
            }
            Factor::TridiagonalSolve => {
                let [lower, main, upper, b] = operands(name, x)?;
                let (lead, n, _) = matrix(name, b)?;
                let wanted = shaped(&lead, &[n], b.dtype);
                expect(name, "the lower diagonal", lower, &wanted)?;
                expect(name, "the main diagonal", main, &wanted)?;
                expect(name, "the upper diagonal", upper, &wanted)?;
                smallvec![b.strong()]
            }
            Factor::Geqrf => {
                let [a] = operands(name, x)?;
                let (lead, m, n) = matrix(name, a)?;
                smallvec![a.strong(), shaped(&lead, &[m.min(n)], a.dtype)]
            }
            Factor::Geqp3 => {
                let [a, first] = operands(name, x)?;
                let (lead, m, n) = matrix(name, a)?;
                let order = shaped(&lead, &[n], DType::I32);
                expect(name, "the list of columns", first, &order)?;
                smallvec![a.strong(), order, shaped(&lead, &[m.min(n)], a.dtype)]
            }
            Factor::Ormqr { left, .. } => {
                let [a, taus, c] = operands(name, x)?;
                let (lead, m, n) = matrix(name, a)?;
                let (_, rows, columns) = matrix(name, c)?;
                let k = taus.shape.last().copied().unwrap_or(0);
                expect(name, "the list of τ", taus, &shaped(&lead, &[k], a.dtype))?;
                expect(
                    name,
                    "the other matrix",
                    c,
                    &shaped(&lead, &[rows, columns], a.dtype),
                )?;
                let own = if *left { rows } else { columns };
                if own != m || k > n || k > m {
                    return Err(Error::shape(format!(
                        "`{name}` of {k} reflections in {a} does not fit {c}"
                    )));
                }
                smallvec![c.strong()]
            }
            Factor::HouseholderProduct => {
                let [a, taus] = operands(name, x)?;
                let (lead, m, n) = matrix(name, a)?;
                let k = taus.shape.last().copied().unwrap_or(0);
                expect(name, "the list of τ", taus, &shaped(&lead, &[k], a.dtype))?;
                if m < n || k > n {
                    return Err(Error::shape(format!(
                        "`{name}` of {k} reflections in {a}: there are at most as many as columns, and not more columns than rows"
                    )));
                }
                smallvec![a.strong()]
            }
            Factor::PivotsToPermutation { size } => {
                let [pivots] = operands(name, x)?;
                let Some((k, lead)) = pivots.shape.split_last() else {
                    return Err(Error::shape(format!("`{name}` needs a list, got {pivots}")));
                };
                if pivots.dtype != DType::I32 || k > size {
                    return Err(Error::argument(format!(
                        "`{name}` takes at most {size} pivots of int32, got {pivots}"
                    )));
                }
                smallvec![shaped(&Dims::from_slice(lead), &[*size], DType::I32)]
            }
            Factor::SymmetricProduct { .. } => {
                let [a, c] = operands(name, x)?;
                let (lead, m, _) = matrix(name, a)?;
                expect(name, "what is added", c, &shaped(&lead, &[m, m], a.dtype))?;
                smallvec![c.strong()]
            }
            Factor::CholeskyUpdate => {
                let [r, w] = operands(name, x)?;
                let (lead, n) = square(name, r)?;
                expect(name, "the vector", w, &shaped(&lead, &[n], r.dtype))?;
                smallvec![r.strong()]
            }
        })
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        match (self, x, t) {
            // The first-order change of a simple eigenvalue.
            (
                Factor::Eig {
                    left: false,
                    right: false,
                },
                [a],
                [Some(da)],
            ) => {
                let y = bind_all(*self, x)?;
                let both = Factor::Eig {
                    left: false,
                    right: true,
                };
                let all = bind_all(both, std::slice::from_ref(a))?;
                let [_, v] = operands("eig", &all)?;
                let da = da.astype(v.dtype()?);
                let along = linalg::solve(v, &da.matmul(v));
                Ok((y, vec![Some(super::diagonal(&along))]))
            }
            (Factor::Eig { .. }, ..) => Err(Error::unsupported(
                "the derivative of `eig` with vectors, which are determined up to a factor",
            )
            .note("without vectors, the eigenvalues have one")),
            (Factor::TridiagonalSolve, [lower, main, upper, _], _) => {
                let y = bind_all(*self, x)?;
                let [solution] = operands(self.name(), &y)?;
                let [dl, dd, du, db] = operands(self.name(), t)?;
                let or_zeros =
                    |t: &Tangent, x: &Array| t.clone().unwrap_or_else(|| Array::zeros_like(x));
                let mut rhs = or_zeros(db, solution);
                if [dl, dd, du].iter().any(|t| t.is_some()) {
                    let (dl, dd, du) =
                        (or_zeros(dl, lower), or_zeros(dd, main), or_zeros(du, upper));
                    rhs -= three_diagonals(&dl, &dd, &du, solution);
                }
                let t = bind(*self, &[lower, main, upper, &rhs]);
                Ok((y, vec![Some(t)]))
            }
            (Factor::PivotsToPermutation { .. }, ..) => Ok((bind_all(*self, x)?, vec![None])),
            _ => jvp_of(self, x, t),
        }
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        match (self, x) {
            (
                Factor::TridiagonalSolve,
                [
                    Arg::Known(lower),
                    Arg::Known(main),
                    Arg::Known(upper),
                    Arg::Linear(_),
                ],
            ) => {
                let back = cotangent(ct).map(|ct| {
                    let (below, above) = (moved(upper, 1), moved(lower, -1));
                    bind(*self, &[&below, main, &above, ct])
                });
                Ok(vec![None, None, None, back])
            }
            (Factor::SymmetricProduct { .. }, _) => transpose_of(self, ct, x),
            _ => Err(not_linear(self.name())),
        }
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_in_front(*self, x, d, axis)
    }
    opaque!();
}
