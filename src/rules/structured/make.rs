//! How structured matrices are made, and what is an error.

use super::{Structure, Structured, of};
use crate::{
    array::{Array, DType, Dims, promote_types},
    error::{Error, Result},
};

fn wrong(what: &str, needs: &str, got: &[&Array]) -> Error {
    let got: Vec<String> = got.iter().map(|x| x.describe()).collect();
    Error::shape(format!("{what} needs {needs}, got {}", got.join(", ")))
}

/// The components in their joint type.
fn joint<const N: usize>(x: [&Array; N]) -> Result<[Array; N]> {
    let dtype = joint_type(x.into_iter())?;
    Ok(x.map(|x| cast(x, dtype)))
}

fn joint_type<'a>(x: impl Iterator<Item = &'a Array>) -> Result<DType> {
    let mut dtype: Option<DType> = None;
    for x in x {
        let own = x.dtype()?;
        dtype = Some(dtype.map_or(own, |d| promote_types((d, false), (own, false)).0));
    }
    Ok(dtype.unwrap_or(DType::F32))
}

fn cast(x: &Array, dtype: DType) -> Array {
    match x.dtype() {
        Ok(d) if d == dtype => x.clone(),
        _ => x.astype(dtype),
    }
}

/// The leading axes of a component with `own` axes of its own behind them.
fn lead(x: &Array, own: usize) -> Option<Dims> {
    let shape = x.shape();
    let k = shape.len().checked_sub(own)?;
    Some(shape.iter().take(k).copied().collect())
}

fn last(x: &Array, back: usize) -> usize {
    x.shape().iter().rev().nth(back).copied().unwrap_or(0)
}

fn made(structure: Structure) -> Result<Structured> {
    let s = Structured {
        structure,
        allow_materialise: false,
    };
    s.structure.aval()?;
    Ok(s)
}

impl Structured {
    /// The identity of `n` rows and `n` columns.
    ///
    /// An error if rows and columns differ.
    ///
    /// ```
    /// use quaxide::{prelude::*, rules::Structured};
    /// assert!(Structured::identity([3, 3], DType::F32).is_ok());
    /// let e = Structured::identity([3, 4], DType::F32).unwrap_err();
    /// assert!(e.message().contains("as many rows as columns"));
    /// ```
    pub fn identity([n, m]: [usize; 2], dtype: DType) -> Result<Structured> {
        if n != m {
            return Err(Error::shape(format!(
                "the identity has as many rows as columns, not {n} and {m}"
            )));
        }
        made(Structure::Identity {
            n,
            batch: Dims::new(),
            dtype,
        })
    }

    /// A diagonal matrix, of its diagonal `[.., n]`.
    pub fn diagonal(diagonal: &Array) -> Result<Structured> {
        match diagonal.aval()?.ndim() {
            0 => Err(wrong(
                "a diagonal matrix",
                "a diagonal [.., n]",
                &[diagonal],
            )),
            _ => made(Structure::Diagonal(diagonal.clone())),
        }
    }

    /// A tridiagonal matrix, of the diagonals below (`[.., n − 1]`), on (`[.., n]`) and above (`[.., n − 1]`).
    ///
    /// An error if the shapes do not fit.
    pub fn tridiagonal(lower: &Array, main: &Array, upper: &Array) -> Result<Structured> {
        let n = last(main, 0);
        let fits = main.ok()?.ndim() > 0
            && [lower, upper].iter().all(|x| {
                x.ndim() == main.ndim() && last(x, 0) + 1 == n && lead(x, 1) == lead(main, 1)
            });
        if !fits || n == 0 {
            let needs = "diagonals [.., n - 1], [.., n] and [.., n - 1]";
            return Err(wrong("a tridiagonal matrix", needs, &[lower, main, upper]));
        }
        let [lower, main, upper] = joint([lower, main, upper])?;
        made(Structure::Tridiagonal { lower, main, upper })
    }

    fn square_part(what: &str, matrix: &Array) -> Result<Array> {
        let fits = matrix.ok()?.ndim() >= 2 && last(matrix, 0) == last(matrix, 1);
        match fits {
            true => Ok(matrix.clone()),
            false => Err(wrong(what, "a square matrix [.., n, n]", &[matrix])),
        }
    }

    /// The lower triangle of a matrix `[.., n, n]`; what stands above it is not read.
    pub fn lower_triangular(matrix: &Array) -> Result<Structured> {
        let matrix = Structured::square_part("a triangular matrix", matrix)?;
        made(Structure::Triangular {
            matrix,
            lower: true,
        })
    }

    /// The upper triangle of a matrix `[.., n, n]`; what stands below it is not read.
    pub fn upper_triangular(matrix: &Array) -> Result<Structured> {
        let matrix = Structured::square_part("a triangular matrix", matrix)?;
        made(Structure::Triangular {
            matrix,
            lower: false,
        })
    }

    /// A symmetric matrix, of the lower triangle of a matrix `[.., n, n]`.
    pub fn symmetric(matrix: &Array) -> Result<Structured> {
        let matrix = Structured::square_part("a symmetric matrix", matrix)?;
        made(Structure::Symmetric {
            matrix,
            positive: false,
        })
    }

    /// A symmetric matrix of real numbers that is promised to be positive definite: solutions and determinants go by Cholesky's factor, NaN
    /// if the promise is broken.
    pub fn positive_definite(matrix: &Array) -> Result<Structured> {
        let matrix = Structured::square_part("a symmetric matrix", matrix)?;
        if matrix.dtype()?.is_complex() {
            return Err(Error::dtype(format!(
                "a positive definite symmetric matrix is real, got {}",
                matrix.describe()
            )));
        }
        made(Structure::Symmetric {
            matrix: matrix.inexact(),
            positive: true,
        })
    }

    /// A Toeplitz matrix, of its first column `[.., n]` and its first row `[.., m]`, whose first element is not read. Integers become `f32`.
    pub fn toeplitz(column: &Array, row: &Array) -> Result<Structured> {
        let fits = column.ok()?.ndim() > 0
            && row.ok()?.ndim() > 0
            && lead(column, 1) == lead(row, 1)
            && last(column, 0) > 0
            && last(row, 0) > 0;
        if !fits {
            let needs = "a first column [.., n] and a first row [.., m]";
            return Err(wrong("a Toeplitz matrix", needs, &[column, row]));
        }
        let [column, row] = joint([&column.inexact(), &row.inexact()])?;
        made(Structure::Toeplitz { column, row })
    }

    /// A circulant matrix, of its first column `[.., n]`. Integers become `f32`.
    pub fn circulant(column: &Array) -> Result<Structured> {
        match column.aval()?.shape.last() {
            Some(1..) => made(Structure::Circulant(column.inexact())),
            _ => Err(wrong(
                "a circulant matrix",
                "a first column [.., n]",
                &[column],
            )),
        }
    }

    /// The Kronecker product of matrices, plain or structured.
    ///
    /// An error for no matrix at all, or if the leading axes differ.
    pub fn kronecker(factors: &[Array]) -> Result<Structured> {
        let factors = Structured::matrices("a Kronecker product", factors)?;
        made(Structure::Kronecker(factors))
    }

    /// Matrices of the same leading axes and of one type.
    fn matrices(what: &str, x: &[Array]) -> Result<Vec<Array>> {
        let all: Vec<&Array> = x.iter().collect();
        let first = x.first().and_then(|x| lead(x, 2));
        for x in x {
            x.ok()?;
        }
        if first.is_none() || x.iter().any(|x| lead(x, 2) != first) {
            let needs = "matrices [.., n, m] of the same leading axes";
            return Err(wrong(what, needs, &all));
        }
        let dtype = joint_type(x.iter())?;
        if x.iter()
            .any(|x| of(x).is_some() && x.dtype().is_ok_and(|d| d != dtype))
        {
            return Err(Error::dtype(format!(
                "{what}: structured matrices among others need their type, {dtype}"
            )));
        }
        Ok(x.iter().map(|x| cast(x, dtype)).collect())
    }

    /// A block-diagonal matrix, of its blocks `[.., p, q]`, of any sizes. Neighbours of one size are computed with together.
    ///
    /// An error for no block at all, or if the leading axes differ.
    pub fn block_diagonal(blocks: &[Array]) -> Result<Structured> {
        let blocks = Structured::matrices("a block-diagonal matrix", blocks)?;
        let mut groups: Vec<Vec<Array>> = vec![];
        for b in blocks {
            let b = match of(&b) {
                Some(s) => s.to_dense()?,
                None => b,
            };
            let alike = |g: &&mut Vec<Array>| g.first().is_some_and(|a| a.shape() == b.shape());
            match groups.last_mut().filter(alike) {
                Some(g) => g.push(b),
                None => groups.push(vec![b]),
            }
        }
        let stacked = groups.iter().map(|g| match &g[..] {
            [one] => one.expand_dims(-3),
            many => crate::numpy::stack(many, -3),
        });
        made(Structure::BlockDiagonal(stacked.collect()))
    }

    /// A block-diagonal matrix of blocks of one size, stacked: `[.., k, p, q]`.
    pub fn blocks(stacked: &Array) -> Result<Structured> {
        match stacked.aval()?.ndim() {
            0..3 => Err(wrong(
                "a block-diagonal matrix",
                "blocks [.., k, p, q]",
                &[stacked],
            )),
            _ => made(Structure::BlockDiagonal(vec![stacked.clone()])),
        }
    }

    /// A permutation matrix: its product with a vector `x` is `x[from]`. Its elements are of the type `dtype`.
    ///
    /// An error unless each of `0 .. n` is there once, where the numbers are known.
    pub fn permutation(from: &Array, dtype: DType) -> Result<Structured> {
        let a = from.aval()?;
        if a.ndim() == 0 || !a.dtype.is_integer() {
            return Err(wrong("a permutation", "integers [.., n]", &[from]));
        }
        if from.buffer().is_some() {
            let all = from.astype(DType::I64).to_vec::<i64>()?;
            for one in all.chunks(last(from, 0).max(1)) {
                let mut sorted = one.to_vec();
                sorted.sort_unstable();
                if sorted.iter().zip(0..).any(|(i, j)| *i != j) {
                    return Err(Error::argument(format!(
                        "a permutation has each of 0 to {} once, got {one:?}",
                        one.len().saturating_sub(1)
                    )));
                }
            }
        }
        made(Structure::Permutation {
            from: from.astype(DType::I32),
            dtype,
        })
    }

    /// A matrix of low rank, `u·v` of `u [.., n, rank]` and `v [.., rank, m]`.
    pub fn low_rank(u: &Array, v: &Array) -> Result<Structured> {
        let fits = u.ok()?.ndim() >= 2
            && v.ok()?.ndim() >= 2
            && lead(u, 2) == lead(v, 2)
            && last(u, 0) == last(v, 1);
        if !fits {
            let needs = "u [.., n, rank] and v [.., rank, m]";
            return Err(wrong("a matrix of low rank", needs, &[u, v]));
        }
        let [u, v] = joint([u, v])?;
        made(Structure::LowRank { base: None, u, v })
    }

    /// `base + u·v`: a matrix, plain or structured, with an update of low rank. Solutions and determinants are those of the base and of a
    /// matrix of the rank's size (Woodbury's identity).
    pub fn low_rank_update(base: &Array, u: &Array, v: &Array) -> Result<Structured> {
        let update = Structured::low_rank(u, v)?;
        let (a, b) = (base.aval()?, update.structure.aval()?);
        if a.shape != b.shape || a.dtype != b.dtype {
            return Err(Error::shape(format!(
                "an update of low rank has the shape and the type of its base, got {b} for {a}"
            )));
        }
        let Structure::LowRank { u, v, .. } = update.structure else {
            return Err(Error::internal("an update of low rank is one"));
        };
        made(Structure::LowRank {
            base: Some(base.clone()),
            u,
            v,
        })
    }
}
