//! Linear algebra that array-ish types may answer as a whole: a type of diagonal matrices has a rule for *solving*.

use super::{det, factors, inv, slogdet, solve};
use crate::{
    array::{Array, Dims, numpy},
    error::{Error, Result},
    trace::op::{
        Arg, ArrayFunction, BatchAxis, Batched, Jvp, Param, Params, Prim, Tangent, answerable,
        batch_to_front, cotangent, transposed,
    },
};

macro_rules! functions {
    ($($(#[$doc:meta])* $TOKEN:ident $Name:ident $({ $($(#[$of:meta])* $field:ident: $Type:ty),* })?, $text:literal;)*) => {$(
        #[doc = concat!("`", $text, "`")]
        pub const $TOKEN: Prim<$Name> = Prim::new($text);
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $Name $({ $($(#[$of])* pub $field: $Type),* })?;
    )*};
}

functions! {
    /// [`solve`], of a square matrix and a right side.
    SOLVE Solve, "linalg.solve";
    /// [`inv`]
    INV Inv, "linalg.inv";
    /// [`det`]
    DET Det, "linalg.det";
    /// [`slogdet`], of two results.
    SLOGDET SlogDet, "linalg.slogdet";
    /// [`cholesky`](super::cholesky)
    CHOLESKY Cholesky, "linalg.cholesky";
    /// [`eigh`](super::eigh), of two results: eigenvalues and eigenvectors.
    EIGH Eigh, "linalg.eigh";
    /// [`eigvals`](super::eigvals)
    EIGVALS EigVals, "linalg.eigvals";
    /// [`svdvals`](super::svdvals)
    SVDVALS SvdVals, "linalg.svdvals";
}

/// `linalg.matrix_power`
pub const MATRIX_POWER: Prim<MatrixPower> = Prim::new("linalg.matrix_power");
/// [`matrix_power`](super::matrix_power)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MatrixPower {
    /// The exponent.
    pub n: i32,
}

/// `numpy.diagonal`
pub const DIAGONAL: Prim<Diagonal> = Prim::new("numpy.diagonal");
/// [`numpy::diagonal`]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Diagonal {
    /// Which one: 0 for the main one, positive above it.
    pub offset: i64,
    /// The axis of the rows.
    pub axis1: usize,
    /// The axis of the columns.
    pub axis2: usize,
}

/// `numpy.triangle`
pub const TRIANGLE: Prim<Triangle> = Prim::new("numpy.triangle");
/// [`numpy::tril`] and [`numpy::triu`]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Triangle {
    /// The last diagonal that is kept.
    pub k: i64,
    /// Is it the lower triangle?
    pub lower: bool,
}

/// `numpy.kron`
pub const KRON: Prim<Kron> = Prim::new("numpy.kron");
/// [`numpy::kron`], of two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kron;

/// The names of the functions that types may answer as a whole, in alphabetical order.
pub const FUNCTIONS: &[&str] = &[
    CHOLESKY.name,
    DET.name,
    EIGH.name,
    EIGVALS.name,
    INV.name,
    MATRIX_POWER.name,
    SLOGDET.name,
    SOLVE.name,
    SVDVALS.name,
    DIAGONAL.name,
    KRON.name,
    crate::array::numpy::MEAN.name,
    crate::array::numpy::MEAN_BACK.name,
    TRIANGLE.name,
];

/// A function of matrices on the last two axes, for operands with a batch axis: one more of the leading axes.
pub(crate) fn leading(
    f: impl ArrayFunction,
    x: &[Array],
    dims: &[Option<usize>],
    axis: &BatchAxis,
) -> Result<Batched> {
    let all: Vec<Array> = x
        .iter()
        .zip(dims)
        .map(|(x, d)| batch_to_front(x, *d, axis.size))
        .collect();
    let y = answerable(f, &all)?;
    let at = vec![Some(0); y.len()];
    Ok((y, at))
}

fn columns(x: &Array, vector: bool) -> Array {
    match vector {
        true => x.expand_dims(-1),
        false => x.clone(),
    }
}

fn back(x: Array, vector: bool) -> Array {
    match vector {
        true => x.squeeze(-1),
        false => x,
    }
}

/// Summed over the leading axes along which an array of this shape was repeated.
fn summed_to(x: &Array, shape: &[usize]) -> Array {
    let more = x.ndim().saturating_sub(shape.len());
    let full = x.shape();
    let repeated = shape
        .iter()
        .enumerate()
        .filter(|(i, n)| **n == 1 && full.get(more + i).is_some_and(|m| *m != 1))
        .map(|(i, _)| more + i);
    let axes: Dims = (0..more).chain(repeated).collect();
    match axes.is_empty() {
        true => x.clone(),
        false => x.sum(axes).reshape(shape),
    }
}

impl ArrayFunction for Solve {
    fn name(&self) -> &'static str {
        SOLVE.name
    }
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        match x {
            [a, b] => Ok(vec![super::solved(a, b)?]),
            _ => Err(Error::internal("`linalg.solve` takes two operands")),
        }
    }
    /// From `a·x = b`: `a·x' = b' − a'·x`.
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Option<Result<Jvp>> {
        let ([a, b], [da, db]) = (x, t) else {
            return None;
        };
        let vector = b.ndim() == 1;
        let y = solve(a, b);
        let by_b = db.as_ref().map(|db| columns(db, vector));
        let by_a = da.as_ref().map(|da| -da.matmul(&columns(&y, vector)));
        let right = match (by_b, by_a) {
            (Some(b), Some(a)) => Some(b + a),
            (b, a) => b.or(a),
        };
        let t = right.map(|r| back(solve(a, &r), vector));
        Some(Ok((vec![y], vec![t])))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Option<Result<Vec<Tangent>>> {
        let [Arg::Known(a), Arg::Linear(b)] = x else {
            return None;
        };
        let Some(ct) = cotangent(ct) else {
            return Some(Ok(vec![None, None]));
        };
        let vector = b.ndim() == 1;
        let y = solve(&transposed(a), &columns(ct, vector));
        let y = match vector {
            true => summed_to(&y, &[b.size(), 1]).squeeze(-1),
            false => summed_to(&y, &b.shape),
        };
        Some(Ok(vec![None, Some(y)]))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Option<Result<Batched>> {
        let ([a, b], [da, db]) = (x, d) else {
            return None;
        };
        let rank = |x: &Array, d: &Option<usize>| x.ndim() - usize::from(d.is_some());
        let vector = rank(b, db) == 1;
        let all = rank(a, da).max(rank(b, db) + usize::from(vector));
        // The batch axis is the first; axes of size 1 stand for the leading axes that one of the two lacks.
        let front = |x: &Array, d: &Option<usize>| {
            let Some(d) = d else { return x.clone() };
            let x = batch_to_front(x, Some(*d), axis.size);
            let more = (all + 1).saturating_sub(x.ndim());
            match more {
                0 => x,
                _ => x.expand_dims((1..=more).map(|i| i as i32).collect::<Vec<_>>()),
            }
        };
        let right = match db {
            Some(d) => columns(&batch_to_front(b, Some(*d), axis.size), vector),
            None => columns(b, vector),
        };
        let y = solve(&front(a, da), &front(&right, &db.map(|_| 0)));
        Some(Ok((vec![back(y, vector)], vec![Some(0)])))
    }
}

/// What a function of one matrix says of itself.
macro_rules! of_one {
    ($Name:ident, $TOKEN:ident, $define:expr $(, $jvp:expr)?) => {
        impl ArrayFunction for $Name {
            fn name(&self) -> &'static str {
                $TOKEN.name
            }
            fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
                match x {
                    [x] => $define(x),
                    _ => Err(Error::internal(concat!(stringify!($Name), " takes one operand"))),
                }
            }
            $(fn jvp(&self, x: &[Array], t: &[Tangent]) -> Option<Result<Jvp>> {
                match (x, t) {
                    ([x], [Some(t)]) => $jvp(x, t),
                    _ => None,
                }
            })?
            fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Option<Result<Batched>> {
                Some(leading(*self, x, d, axis))
            }
        }
    };
}

fn size(x: &Array) -> usize {
    x.shape().last().copied().unwrap_or(0)
}

/// The sum over the last two axes of `inv(x)ᵀ ∘ t`: how the logarithm of a determinant changes.
fn along_inverse(x: &Array, t: &Array) -> Array {
    (transposed(&inv(x)) * t).sum([-2, -1])
}

of_one!(
    Inv,
    INV,
    |x| Ok(vec![super::inverse(x)?]),
    |x, t: &Array| {
        let y = inv(x);
        let dy = -y.matmul(t).matmul(&y);
        Some(Ok((vec![y], vec![Some(dy)])))
    }
);
of_one!(Det, DET, |x| Ok(vec![super::determinant(x)?]), |x, t| {
    // The polynomials of small ones are differentiated as they are.
    if size(x) <= 3 {
        return None;
    }
    let y = det(x);
    let dy = &y * along_inverse(x, t);
    Some(Ok((vec![y], vec![Some(dy)])))
});
of_one!(
    SlogDet,
    SLOGDET,
    |x| super::log_determinant(x).map(Vec::from),
    |x: &Array, t| {
        if size(x) == 0 || x.dtype().ok()?.is_complex() {
            return None;
        }
        let dy = along_inverse(x, t);
        Some(slogdet(x).map(|y| (y.to_vec(), vec![None, Some(dy)])))
    }
);
of_one!(Cholesky, CHOLESKY, |x| Ok(vec![super::lower_factor(x)?]));
of_one!(Eigh, EIGH, |x| super::hermitian(x).map(Vec::from));
of_one!(EigVals, EIGVALS, |x| Ok(vec![factors::values_alone(x)?]));
of_one!(SvdVals, SVDVALS, |x| Ok(vec![super::singular(x)?]));

impl ArrayFunction for MatrixPower {
    fn name(&self) -> &'static str {
        MATRIX_POWER.name
    }
    fn params(&self) -> Params {
        vec![("n", Param::text(self.n))]
    }
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        match x {
            [x] => Ok(vec![super::power(x, self.n)?]),
            _ => Err(Error::internal("`linalg.matrix_power` takes one operand")),
        }
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Option<Result<Batched>> {
        Some(leading(*self, x, d, axis))
    }
}

impl ArrayFunction for Triangle {
    fn name(&self) -> &'static str {
        TRIANGLE.name
    }
    fn params(&self) -> Params {
        vec![
            ("k", Param::text(self.k)),
            ("lower", Param::bool(self.lower)),
        ]
    }
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        match x {
            [x] => Ok(vec![numpy::triangle_of(x, self.k, self.lower)?]),
            _ => Err(Error::internal("`numpy.triangle` takes one operand")),
        }
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Option<Result<Jvp>> {
        let ([x], [Some(t)]) = (x, t) else {
            return None;
        };
        let of = |x: &Array| answerable(*self, std::slice::from_ref(x));
        Some(of(x).and_then(|y| Ok((y, of(t)?.into_iter().map(Some).collect()))))
    }
    fn transpose(&self, ct: &[Tangent], _: &[Arg]) -> Option<Result<Vec<Tangent>>> {
        let ct = cotangent(ct)?;
        let back = answerable(*self, std::slice::from_ref(ct));
        Some(back.map(|y| y.into_iter().map(Some).collect()))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Option<Result<Batched>> {
        Some(leading(*self, x, d, axis))
    }
}

impl ArrayFunction for Diagonal {
    fn name(&self) -> &'static str {
        DIAGONAL.name
    }
    fn params(&self) -> Params {
        vec![
            ("axis1", Param::text(self.axis1)),
            ("axis2", Param::text(self.axis2)),
            ("offset", Param::text(self.offset)),
        ]
    }
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        match x {
            [x] => Ok(vec![numpy::diagonal_of(x, *self)?]),
            _ => Err(Error::internal("`numpy.diagonal` takes one operand")),
        }
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Option<Result<Jvp>> {
        let ([x], [Some(t)]) = (x, t) else {
            return None;
        };
        let of = |x: &Array| answerable(*self, std::slice::from_ref(x));
        Some(of(x).and_then(|y| Ok((y, of(t)?.into_iter().map(Some).collect()))))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Option<Result<Batched>> {
        let f = Diagonal {
            axis1: self.axis1 + 1,
            axis2: self.axis2 + 1,
            ..*self
        };
        Some(leading(f, x, d, axis))
    }
}

impl ArrayFunction for Kron {
    fn name(&self) -> &'static str {
        KRON.name
    }
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        match x {
            [x, y] => Ok(vec![numpy::kron_of(x, y)?]),
            _ => Err(Error::internal("`numpy.kron` takes two operands")),
        }
    }
}
