//! Matrices with structure: what is known of their elements makes products, solutions and determinants cheap.

mod apply;
mod element;
mod elementwise;
mod extrema;
mod kind;
mod make;
mod product;
mod rule;
mod scalars;
mod solve;
mod sum;
mod toeplitz;

pub use kind::Structure;

use crate::{
    array::{Array, Aval, DType, Dims},
    dispatch::{ArrayValue, Rules, quaxify},
    error::{Error, Result},
    tree::{Flat, Leaves, PyTree},
};

/// A matrix, or a batch of them, that is given by its structure: diagonal, tridiagonal, triangular, symmetric, Toeplitz, circulant, a
/// Kronecker product, block-diagonal, a permutation, the identity, of low rank, or a sum, a product or an inverse of such.
///
/// Programs are written for plain matrices: `x.matmul(y)`, `x + y`, `linalg::solve`, `inv`, `det`, `numpy::trace`. Under
/// [`quaxify`](crate::quaxify) each costs what the structure costs, and its result keeps the tightest structure that it has: a product of
/// diagonal matrices is diagonal, the inverse of a circulant one circulant. A sum or a product that has no structure of its own stays a
/// sum or a product, which multiplies term by term. What needs every element (`exp`) is refused, unless the value says
/// `allow_materialise`.
///
/// ```
/// use quaxide::{prelude::*, rules::Structured};
/// let solve = |a: &Array, b: &Array| linalg::solve(a, b);
/// let d = Structured::diagonal(&Array::from([2f32, 4.0])).unwrap().array();
/// let b = Array::from([2f32, 8.0]);
/// assert_eq!(quaxify(solve)(&d, &b).unwrap().to_vec::<f32>().unwrap(), [1.0, 2.0]);
/// // It divides, and that is all.
/// let program = quaxify(solve).stages((&d, &b)).unwrap().rewritten;
/// assert!(!program.to_string().contains("f32[2,2]"));
/// // A product keeps the structure.
/// let y = quaxify(|a: &Array| a.matmul(&linalg::inv(a)))(&d).unwrap();
/// assert_eq!(y.describe(), "diagonal[f32[2,2]]");
/// ```
#[derive(Clone, Debug)]
pub struct Structured {
    structure: Structure,
    allow_materialise: bool,
}

impl PyTree for Structured {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("Structured");
        out.meta("allow_materialise", &self.allow_materialise);
        self.structure.flatten_parts(out);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        let parts = self.structure.parts();
        let new: Vec<Array> = parts.iter().map(|p| p.0.unflatten(leaves)).collect();
        Structured {
            structure: self.structure.with_parts(new),
            ..*self
        }
    }
}

impl Structured {
    /// What is known of its elements.
    pub fn structure(&self) -> &Structure {
        &self.structure
    }

    /// The same matrix, which programs may turn into a plain one where they need every element.
    #[must_use]
    pub fn allow_materialise(self, yes: bool) -> Structured {
        Structured {
            allow_materialise: yes,
            ..self
        }
    }

    /// As an array, as programs take it.
    pub fn array(self) -> Array {
        Array::from_value(self)
    }

    /// The plain matrix, whatever `allow_materialise` says.
    ///
    /// An error if a component is one.
    pub fn to_dense(&self) -> Result<Array> {
        quaxify(|x: &Array| match x.value::<Structured>() {
            Some(s) => element::dense(s),
            None => Ok(x.clone()),
        })(&self.clone().array())
    }

    /// The solution of `self·x = b`, looked at: an error if it is not finite though `b` is, as for a singular matrix.
    ///
    /// ```
    /// use quaxide::{prelude::*, rules::Structured};
    /// let d = Structured::diagonal(&Array::from([2f32, 0.0])).unwrap();
    /// let e = d.solve(&Array::from([2f32, 8.0])).unwrap_err();
    /// assert!(e.message().contains("diagonal[f32[2,2]] is singular"));
    /// ```
    pub fn solve(&self, b: &Array) -> Result<Array> {
        let x = quaxify(crate::linalg::solve)(&self.clone().array(), b)?;
        let finite = |x: &Array| -> Result<bool> {
            match x.as_dyn_value() {
                Some(_) => Ok(true),
                None => x.is_finite().all(()).item::<bool>(),
            }
        };
        if finite(b)? && !finite(&x)? {
            return Err(Error::argument(format!(
                "{} is singular to working precision",
                self.describe()
            )));
        }
        Ok(x)
    }

    /// Rows and columns.
    fn size(&self) -> Result<[usize; 2]> {
        match self.aval()?.shape[..] {
            [.., n, m] => Ok([n, m]),
            _ => Err(Error::internal("a matrix of fewer than two axes")),
        }
    }

    fn batch(&self) -> Result<Dims> {
        let mut shape = self.aval()?.shape;
        shape.truncate(shape.len().saturating_sub(2));
        Ok(shape)
    }

    fn dtype(&self) -> Result<DType> {
        Ok(self.aval()?.dtype)
    }

    /// Another structure that comes of this one.
    fn with(&self, structure: Structure) -> Structured {
        Structured { structure, ..*self }
    }

    /// As many rows as columns, or an error that says who needs that.
    fn square(&self, what: &str) -> Result<usize> {
        match self.size()? {
            [n, m] if n == m => Ok(n),
            _ => Err(Error::shape(format!(
                "{what} needs square matrices, got {}",
                self.describe()
            ))),
        }
    }
}

/// The structured matrix in an array.
fn of(x: &Array) -> Option<&Structured> {
    x.value::<Structured>()
}

impl ArrayValue for Structured {
    fn aval(&self) -> Result<Aval> {
        self.structure.aval()
    }

    fn materialise(&self) -> Result<Array> {
        if !self.allow_materialise {
            return Err(Error::refused(format!(
                "refusing to materialise {}",
                self.describe()
            ))
            .note("`Structured::to_dense` makes the plain matrix, `allow_materialise(true)` lets programs do so"));
        }
        element::dense(self)
    }

    fn describe(&self) -> String {
        let name = self.structure.name();
        match (self.aval(), &self.structure) {
            (Ok(a), Structure::LowRank { v, .. }) => {
                let rank = v.shape().iter().rev().nth(1).copied().unwrap_or(0);
                format!("{name}[{a}, rank={rank}]")
            }
            (
                Ok(a),
                Structure::Sum(parts) | Structure::Product(parts) | Structure::Kronecker(parts),
            ) => {
                let parts: Vec<String> = parts.iter().map(Array::describe).collect();
                format!("{name}[{a}, {}]", parts.join(", "))
            }
            (Ok(a), _) => format!("{name}[{a}]"),
            (Err(_), _) => name.into(),
        }
    }

    fn rules(r: &mut Rules) {
        rule::rules(r);
    }
}
