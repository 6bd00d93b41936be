//! What can be known of a matrix, and its components.

use crate::{
    array::{Array, Aval, DType, Dims},
    error::{Error, Result},
    tree::Flat,
};

/// What is known of the elements of a matrix `n` × `m`; every component has the leading axes of the batch in front.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Structure {
    /// The identity.
    Identity {
        /// Rows and columns.
        n: usize,
        /// The leading axes.
        batch: Dims,
        /// The element type.
        dtype: DType,
    },
    /// Zero off the diagonal `[.., n]`.
    Diagonal(Array),
    /// Zero but on three diagonals.
    Tridiagonal {
        /// Below the main one, `[.., n − 1]`.
        lower: Array,
        /// The main one, `[.., n]`.
        main: Array,
        /// Above the main one, `[.., n − 1]`.
        upper: Array,
    },
    /// Zero above the diagonal, or below it: what stands there in `matrix` is not read.
    Triangular {
        /// The elements, `[.., n, n]`.
        matrix: Array,
        /// Is it the lower triangle that is not zero?
        lower: bool,
    },
    /// Equal to its transpose.
    Symmetric {
        /// The elements, `[.., n, n]`, of which the lower triangle is read.
        matrix: Array,
        /// Is it promised to be positive definite?
        positive: bool,
    },
    /// The same along each diagonal.
    Toeplitz {
        /// The first column, `[.., n]`.
        column: Array,
        /// The first row, `[.., m]`, whose first element is not read.
        row: Array,
    },
    /// Toeplitz, with each column the one before it, moved down by one and around; the first one `[.., n]`.
    Circulant(Array),
    /// The Kronecker product of two matrices or more, plain or structured.
    Kronecker(Vec<Array>),
    /// Zero off blocks along the diagonal: groups `[.., k, p, q]` of `k` blocks of one size, in order.
    BlockDiagonal(Vec<Array>),
    /// A permutation `i32[.., n]`: row `i` has its one where it says for `i`.
    Permutation {
        /// Which element of a vector comes to each place.
        from: Array,
        /// The element type of the matrix.
        dtype: DType,
    },
    /// `u·v`, or `base + u·v`.
    LowRank {
        /// What it is added to, plain or structured.
        base: Option<Array>,
        /// `[.., n, rank]`
        u: Array,
        /// `[.., rank, m]`
        v: Array,
    },
    /// A sum of matrices of one shape, plain or structured.
    Sum(Vec<Array>),
    /// A product of matrices, plain or structured.
    Product(Vec<Array>),
    /// The inverse of a matrix.
    Inverse(Array),
}

/// A component's own axes, behind those of the batch.
pub(super) type Part<'a> = (&'a Array, usize);

impl Structure {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Structure::Identity { .. } => "identity",
            Structure::Diagonal(_) => "diagonal",
            Structure::Tridiagonal { .. } => "tridiagonal",
            Structure::Triangular { lower: true, .. } => "lower_triangular",
            Structure::Triangular { .. } => "upper_triangular",
            Structure::Symmetric { .. } => "symmetric",
            Structure::Toeplitz { .. } => "toeplitz",
            Structure::Circulant(_) => "circulant",
            Structure::Kronecker(_) => "kronecker",
            Structure::BlockDiagonal(_) => "block_diagonal",
            Structure::Permutation { .. } => "permutation",
            Structure::LowRank { base: None, .. } => "low_rank",
            Structure::LowRank { .. } => "low_rank_update",
            Structure::Sum(_) => "sum",
            Structure::Product(_) => "product",
            Structure::Inverse(_) => "inverse",
        }
    }

    /// The components, each with its number of own axes.
    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let matrices = |all: &'_ [Array]| -> Vec<usize> { vec![2; all.len()] };
        match self {
            Structure::Identity { .. } => vec![],
            Structure::Diagonal(d) | Structure::Circulant(d) => vec![(d, 1)],
            Structure::Permutation { from, .. } => vec![(from, 1)],
            Structure::Tridiagonal { lower, main, upper } => {
                vec![(lower, 1), (main, 1), (upper, 1)]
            }
            Structure::Triangular { matrix, .. } | Structure::Symmetric { matrix, .. } => {
                vec![(matrix, 2)]
            }
            Structure::Toeplitz { column, row } => vec![(column, 1), (row, 1)],
            Structure::BlockDiagonal(groups) => groups.iter().map(|g| (g, 3)).collect(),
            Structure::LowRank { base, u, v } => {
                base.iter().chain([u, v]).map(|x| (x, 2)).collect()
            }
            Structure::Kronecker(x) | Structure::Sum(x) | Structure::Product(x) => {
                x.iter().zip(matrices(x)).collect()
            }
            Structure::Inverse(x) => vec![(x, 2)],
        }
    }

    /// The same structure of other components, as many as it has.
    pub(super) fn with_parts(&self, new: Vec<Array>) -> Structure {
        let mut new = new.into_iter();
        let mut next = || {
            new.next()
                .unwrap_or_else(|| Array::error(Error::internal("too few components")))
        };
        match self {
            Structure::Identity { .. } => self.clone(),
            Structure::Diagonal(_) => Structure::Diagonal(next()),
            Structure::Circulant(_) => Structure::Circulant(next()),
            Structure::Permutation { dtype, .. } => Structure::Permutation {
                from: next(),
                dtype: *dtype,
            },
            Structure::Tridiagonal { .. } => Structure::Tridiagonal {
                lower: next(),
                main: next(),
                upper: next(),
            },
            Structure::Triangular { lower, .. } => Structure::Triangular {
                matrix: next(),
                lower: *lower,
            },
            Structure::Symmetric { positive, .. } => Structure::Symmetric {
                matrix: next(),
                positive: *positive,
            },
            Structure::Toeplitz { .. } => Structure::Toeplitz {
                column: next(),
                row: next(),
            },
            Structure::LowRank { base, .. } => Structure::LowRank {
                base: base.as_ref().map(|_| next()),
                u: next(),
                v: next(),
            },
            Structure::BlockDiagonal(x) => {
                Structure::BlockDiagonal(x.iter().map(|_| next()).collect())
            }
            Structure::Kronecker(x) => Structure::Kronecker(x.iter().map(|_| next()).collect()),
            Structure::Sum(x) => Structure::Sum(x.iter().map(|_| next()).collect()),
            Structure::Product(x) => Structure::Product(x.iter().map(|_| next()).collect()),
            Structure::Inverse(_) => Structure::Inverse(next()),
        }
    }

    /// The names of the components, as paths and files have them.
    fn names(&self) -> &'static [&'static str] {
        match self {
            Structure::Tridiagonal { .. } => &["lower", "main", "upper"],
            Structure::Toeplitz { .. } => &["column", "row"],
            Structure::LowRank { base: Some(_), .. } => &["base", "u", "v"],
            Structure::LowRank { .. } => &["u", "v"],
            Structure::Triangular { .. } | Structure::Symmetric { .. } | Structure::Inverse(_) => {
                &["matrix"]
            }
            Structure::Diagonal(_) => &["diagonal"],
            Structure::Circulant(_) => &["column"],
            Structure::Permutation { .. } => &["from"],
            _ => &[],
        }
    }

    pub(super) fn flatten_parts(&self, out: &mut Flat<'_>) {
        out.meta("structure", &self.name());
        match self {
            Structure::Identity { n, batch, dtype } => {
                out.meta("n", n);
                out.meta("batch", batch);
                out.meta("dtype", dtype);
            }
            Structure::Permutation { dtype, .. } => out.meta("dtype", dtype),
            Structure::Symmetric { positive, .. } => out.meta("positive", positive),
            _ => {}
        }
        let parts = self.parts();
        out.meta("parts", &parts.len());
        const NUMBERED: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
        let names = self.names();
        for (i, (x, _)) in parts.iter().enumerate() {
            let name = names.get(i).or(NUMBERED.get(i)).copied();
            out.child(name.unwrap_or("more"), *x);
        }
    }

    /// Shape and element type.
    pub(super) fn aval(&self) -> Result<Aval> {
        let broken = || Error::internal("a structured matrix without components");
        // The batch and the last size of a component.
        let vector = |x: &Array| -> Result<(Aval, usize)> {
            let a = x.aval()?;
            let n = a.shape.last().copied().ok_or_else(broken)?;
            Ok((a, n))
        };
        let matrix = |a: Aval, own: usize, n: usize, m: usize| {
            let mut shape = a.shape.clone();
            shape.truncate(shape.len().saturating_sub(own));
            shape.extend([n, m]);
            a.with_shape(shape)
        };
        let size = |x: &Array, back: usize| -> Result<usize> {
            x.aval()?
                .shape
                .iter()
                .rev()
                .nth(back)
                .copied()
                .ok_or_else(broken)
        };
        let a = match self {
            Structure::Identity { n, batch, dtype } => {
                let mut shape = batch.clone();
                shape.extend([*n, *n]);
                Aval::new(shape, *dtype)
            }
            Structure::Diagonal(d) | Structure::Circulant(d) => {
                let (a, n) = vector(d)?;
                matrix(a, 1, n, n)
            }
            Structure::Tridiagonal { main, .. } => {
                let (a, n) = vector(main)?;
                matrix(a, 1, n, n)
            }
            Structure::Triangular { matrix, .. } | Structure::Symmetric { matrix, .. } => {
                matrix.aval()?
            }
            Structure::Toeplitz { column, row } => {
                let (a, n) = vector(column)?;
                matrix(a, 1, n, vector(row)?.1)
            }
            Structure::Permutation { from, dtype } => {
                let (a, n) = vector(from)?;
                let a = matrix(a, 1, n, n);
                Aval::new(a.shape, *dtype)
            }
            Structure::Kronecker(x) => {
                let (mut n, mut m) = (1, 1);
                for x in x {
                    n *= size(x, 1)?;
                    m *= size(x, 0)?;
                }
                matrix(x.first().ok_or_else(broken)?.aval()?, 2, n, m)
            }
            Structure::BlockDiagonal(x) => {
                let (mut n, mut m) = (0, 0);
                for x in x {
                    n += size(x, 2)? * size(x, 1)?;
                    m += size(x, 2)? * size(x, 0)?;
                }
                matrix(x.first().ok_or_else(broken)?.aval()?, 3, n, m)
            }
            Structure::LowRank { u, v, .. } => matrix(u.aval()?, 2, size(u, 1)?, size(v, 0)?),
            Structure::Sum(x) => x.first().ok_or_else(broken)?.aval()?,
            Structure::Product(x) => {
                let (first, last) = (x.first().ok_or_else(broken)?, x.last().ok_or_else(broken)?);
                matrix(first.aval()?, 2, size(first, 1)?, size(last, 0)?)
            }
            Structure::Inverse(x) => x.aval()?,
        };
        Ok(a.strong())
    }
}
