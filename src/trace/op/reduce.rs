//! Reductions over axes.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Param, Params, Prim, Primitive, Tangent,
    batch_in_front, check_axes, cotangent, not_linear, one, operands, remaining, shifted,
};
use crate::{
    array::{Array, Aval, DType, Dims, Kind},
    error::{Error, Result},
    trace::bind,
};
use smallvec::smallvec;

/// How a reduction combines elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "named as in jax.lax")]
pub enum Reducer {
    Sum,
    Prod,
    Max,
    Min,
    And,
    Or,
    Xor,
    /// The position of the largest element, the first of several; NaN counts as the largest.
    Argmax(DType),
    /// The position of the smallest element, the first of several; NaN counts as the smallest.
    Argmin(DType),
}

/// Combine the elements along some axes, which the result lacks.
#[derive(Clone, PartialEq, Debug)]
pub struct Reduce {
    /// How.
    pub reducer: Reducer,
    /// Along which axes, ascending; exactly one for `argmax` and `argmin`.
    pub axes: Dims,
}

macro_rules! tokens {
    ($($NAME:ident = $name:literal;)*) => {
        $(#[doc = concat!("`", $name, "`")] pub const $NAME: Prim<Reduce> = Prim::new($name);)*
    };
}
tokens! {
    REDUCE_SUM = "reduce_sum"; REDUCE_PROD = "reduce_prod"; REDUCE_MAX = "reduce_max"; REDUCE_MIN = "reduce_min";
    REDUCE_AND = "reduce_and"; REDUCE_OR = "reduce_or"; REDUCE_XOR = "reduce_xor"; ARGMAX = "argmax"; ARGMIN = "argmin";
}

impl Reduce {
    /// The tangents' or the elements' shape with reduced axes kept at size 1 is `broadcast` back to `like`.
    fn spread(&self, y: &Array, like: &Aval) -> Array {
        let keep = remaining(like.ndim(), &self.axes, &[]);
        y.broadcast_in_dim(&like.shape, keep)
    }
}

impl Primitive for Reduce {
    fn name(&self) -> &'static str {
        match self.reducer {
            Reducer::Sum => "reduce_sum",
            Reducer::Prod => "reduce_prod",
            Reducer::Max => "reduce_max",
            Reducer::Min => "reduce_min",
            Reducer::And => "reduce_and",
            Reducer::Or => "reduce_or",
            Reducer::Xor => "reduce_xor",
            Reducer::Argmax(_) => "argmax",
            Reducer::Argmin(_) => "argmin",
        }
    }
    fn params(&self) -> Params {
        match self.reducer {
            Reducer::Argmax(d) | Reducer::Argmin(d) => vec![
                ("axes", Param::tuple(&self.axes)),
                ("index_dtype", Param::text(d.name())),
            ],
            Reducer::Sum => vec![
                ("axes", Param::tuple(&self.axes)),
                ("out_sharding", Param::text("None")),
            ],
            _ => vec![("axes", Param::tuple(&self.axes))],
        }
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let name = self.name();
        let [x] = operands(name, x)?;
        check_axes(name, "`axes`", &self.axes, x.ndim())?;
        let keep = remaining(x.ndim(), &self.axes, &[]);
        let shape: Dims = keep
            .iter()
            .filter_map(|i| x.shape.get(*i).copied())
            .collect();
        let takes = |ok: bool, words: &str| {
            if ok {
                return Ok(());
            }
            Err(Error::dtype(format!("`{name}` takes {words}, not {x}")))
        };
        let mut aval = x.with_shape(shape);
        match self.reducer {
            Reducer::Sum | Reducer::Prod => takes(x.dtype != DType::Bool, "numbers (not bool)")?,
            Reducer::Max | Reducer::Min => {}
            Reducer::And | Reducer::Or | Reducer::Xor => {
                takes(
                    matches!(x.dtype.kind(), Kind::Bool | Kind::Int),
                    "integers or bool",
                )?;
            }
            Reducer::Argmax(index) | Reducer::Argmin(index) => {
                takes(!x.dtype.is_complex(), "real numbers")?;
                let [axis] = self.axes[..] else {
                    return Err(Error::argument(format!(
                        "`{name}` works along exactly one axis"
                    )));
                };
                if x.shape.get(axis) == Some(&0) {
                    return Err(Error::argument(format!(
                        "`{name}` of {x}: axis {axis} is empty"
                    )));
                }
                if !index.is_integer() {
                    return Err(Error::dtype(format!(
                        "`{name}` gives integers, not {index}"
                    )));
                }
                aval = aval.with_dtype(index);
            }
        }
        Ok(smallvec![aval])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [x] = operands(self.name(), x)?;
        let y = bind(self.clone(), &[x]);
        let Some(t) = t.first().and_then(Option::as_ref) else {
            return one(y, None);
        };
        let a = x.aval()?;
        let t = match self.reducer {
            Reducer::Sum => bind(self.clone(), &[t]),
            Reducer::Max | Reducer::Min => {
                // The mean over the elements that attain the extremum, as in JAX.
                let hits = x.eq(self.spread(&y, &a)).astype(a.dtype);
                (t * &hits).reduce_sum(&self.axes) / hits.reduce_sum(&self.axes)
            }
            Reducer::Prod => return self.prod_jvp(x, y, t, &a),
            _ => return one(y, None),
        };
        one(y, Some(t))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let [x] = operands(self.name(), x)?;
        if self.reducer != Reducer::Sum {
            return Err(not_linear(self.name()));
        }
        Ok(vec![Some(self.spread(ct, &x.aval()?))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let op = Reduce {
            axes: shifted(&self.axes),
            ..*self
        };
        batch_in_front(op, x, d, axis)
    }
    fn axes(&self, x: &[&Aval]) -> Axes {
        match (self.reducer, x.first()) {
            (Reducer::Sum, Some(x)) => Axes::Product {
                operands: vec![(0..x.ndim() as u16).collect()],
                output: remaining(x.ndim(), &self.axes, &[])
                    .iter()
                    .map(|i| *i as u16)
                    .collect(),
            },
            _ => Axes::Opaque,
        }
    }
    no_programs!();
}

impl Reduce {
    /// Along one flattened axis the derivative of a product is, for each element, the product of those before it and those
    /// after it: exact with zeros among the elements, where dividing by the element is not.
    fn prod_jvp(&self, x: &Array, y: Array, t: &Array, a: &Aval) -> Result<Jvp> {
        let keep = remaining(a.ndim(), &self.axes, &[]);
        let order: Dims = keep.iter().chain(&self.axes).copied().collect();
        let n: usize = self.axes.iter().filter_map(|i| a.shape.get(*i)).product();
        let mut shape: Dims = keep
            .iter()
            .filter_map(|i| a.shape.get(*i).copied())
            .collect();
        shape.push(n);
        let flat = |v: &Array| v.transpose(&order).reshape(&shape);
        let (x, t) = (flat(x), flat(t));
        // others[.., i, j] = x[.., j], but 1 where i = j; its product over j leaves out element i.
        let mut square = shape.clone();
        square.push(n);
        let rank = shape.len();
        let lanes: Dims = (0..rank - 1).chain([rank]).collect();
        let wide = x.broadcast_in_dim(&square, lanes);
        let diagonal = Array::eye(n, DType::Bool).broadcast_in_dim(&square, [rank - 1, rank]);
        let others = diagonal.select(Array::ones_like(&wide), &wide);
        let others = bind(
            Reduce {
                reducer: Reducer::Prod,
                axes: smallvec![rank],
            },
            &[&others],
        );
        one(y, Some((t * others).reduce_sum([rank - 1])))
    }
}
