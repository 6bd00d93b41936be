//! `scatter` with any program.

use super::check_scalars;
use crate::{
    array::{Array, Aval, DType},
    error::{Error, Result},
    trace::{
        Program, bind, bind_all,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Gather, GatherDimensionNumbers,
            GatherScatterMode, Inner, Jvp, Param, Params, Prim, Primitive, SCATTER_NAMES, Scatter,
            ScatterDimensionNumbers, ScatterKind, Tangent, batch_to_front,
            defined::{Defined, elementwise_program, jvp_of, transpose_of},
            move_axis,
        },
    },
};

/// `scatter`, by any program
pub const SCATTER_BY: Prim<ScatterBy> = Prim::new("scatter");

/// Several arrays of one shape, of which windows are combined with updates by a program. The operands are the arrays, positions, and
/// updates, one for each array; the program takes an element of each array and one of each update, and gives one of each. Updates of
/// one element are combined in the order in which they stand.
#[derive(Clone, PartialEq, Debug)]
pub struct ScatterBy {
    /// Which axes mean what.
    pub dimension_numbers: ScatterDimensionNumbers,
    /// Does the caller promise that positions ascend?
    pub indices_are_sorted: bool,
    /// What happens to a window that reaches outside.
    pub mode: GatherScatterMode,
    /// Does the caller promise that no two windows overlap?
    pub unique_indices: bool,
    /// How what is there and what comes combine.
    pub update_jaxpr: Program,
}

impl ScatterBy {
    fn numbers(&self) -> GatherDimensionNumbers {
        (&self.dimension_numbers).into()
    }

    /// The operands in three parts.
    pub(crate) fn parts<'a, T>(&self, x: &'a [T]) -> Result<(&'a [T], &'a T, &'a [T])> {
        let n = x.len() / 2;
        let (arrays, rest) = x.split_at(n);
        match rest.split_first() {
            Some((indices, updates)) if updates.len() == n && n > 0 => {
                Ok((arrays, indices, updates))
            }
            _ => Err(Error::argument(format!(
                "scatter: {} operands are not arrays, positions, and as many updates",
                x.len()
            ))),
        }
    }
}

/// For positions that are promised not to overlap: read, combined, and written at once.
impl Defined for ScatterBy {
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        let (arrays, indices, updates) = self.parts(x)?;
        if !self.unique_indices {
            return Err(Error::unsupported(
                "the derivative of a scatter with a program of its own whose windows may overlap",
            )
            .note("`unique_indices` promises that they do not; the kinds of `Scatter` need no promise"));
        }
        let (Some(x), Some(u)) = (arrays.first(), updates.first()) else {
            return Ok(vec![]);
        };
        let shape = u.shape();
        let size = u.size();
        let sizes = self.numbers().window_sizes(x.ndim(), &shape);
        let gather = Gather::new(self.numbers(), sizes).mode(GatherScatterMode::Clip);
        let mut args = vec![];
        for x in arrays {
            args.push(x.gather(indices, gather.clone()).reshape([size]));
        }
        args.extend(updates.iter().map(|u| u.reshape([size])));
        let new = elementwise_program(&self.update_jaxpr, size)?.eval(&args)?;
        let write = Scatter {
            indices_are_sorted: self.indices_are_sorted,
            unique_indices: true,
            ..Scatter::new(ScatterKind::Set, self.dimension_numbers.clone()).mode(self.mode)
        };
        let each = arrays.iter().zip(&new);
        let written = each.map(|(x, new)| x.scatter(indices, &new.reshape(&shape), write.clone()));
        Ok(written.collect())
    }
}

impl Primitive for ScatterBy {
    fn name(&self) -> &'static str {
        SCATTER_BY.name
    }
    fn params(&self) -> Params {
        let numbers = self
            .numbers()
            .text("ScatterDimensionNumbers", &SCATTER_NAMES);
        vec![
            ("dimension_numbers", Param::text(numbers)),
            ("indices_are_sorted", Param::bool(self.indices_are_sorted)),
            ("mode", Param::text(self.mode.name())),
            ("unique_indices", Param::bool(self.unique_indices)),
            ("update_consts", Param::text("()")),
            ("update_jaxpr", Param::Program(self.update_jaxpr.clone())),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let (arrays, indices, updates) = self.parts(x)?;
        let dtypes: Vec<DType> = arrays.iter().map(|a| a.dtype).collect();
        let inputs: Vec<DType> = arrays.iter().chain(updates).map(|a| a.dtype).collect();
        check_scalars(
            "scatter",
            "the program",
            &self.update_jaxpr,
            &inputs,
            &dtypes,
        )?;
        let first = arrays.first().map(|a| a.shape.clone()).unwrap_or_default();
        let numbers = self.numbers();
        for (a, u) in arrays.iter().zip(updates) {
            let sizes = numbers.window_sizes(a.ndim(), &u.shape);
            let wanted = numbers.check("scatter", &SCATTER_NAMES, a, indices, &sizes)?;
            if wanted != u.shape || a.shape != first {
                return Err(Error::shape(format!(
                    "scatter: positions {indices} in {a} ask for updates of shape {wanted:?}, got {u}"
                )));
            }
        }
        Ok(arrays.iter().map(|a| a.strong()).collect())
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        jvp_of(self, x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        transpose_of(self, ct, x)
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let (arrays, indices, updates) = self.parts(x)?;
        let (da, di, du) = self.parts(d)?;
        let op = ScatterBy {
            dimension_numbers: (&self.numbers().batched(true, di.is_some())).into(),
            ..self.clone()
        };
        let front = |(x, d): (&Array, &Option<usize>)| batch_to_front(x, *d, axis.size);
        let mut args: Vec<Array> = arrays.iter().zip(da).map(front).collect();
        args.push(match di {
            Some(d) => move_axis(indices, *d, 0),
            None => indices.clone(),
        });
        args.extend(updates.iter().zip(du).map(front));
        let y = bind_all(op, &args)?;
        let at = vec![Some(0); y.len()];
        Ok((y, at))
    }
    opaque!();
}

impl Array {
    /// The array with windows of it changed by a function of one element: `lax.scatter_apply`. `shape` is that of the windows
    /// together, as updates of a [`Array::scatter`] would have. In the error state where the numbers do not fit, or the function
    /// captures an array.
    ///
    /// ```
    /// use quaxide::{op::{GatherDimensionNumbers, Scatter, ScatterKind}, prelude::*};
    /// let at = GatherDimensionNumbers {
    ///     collapsed_slice_dims: [0].as_slice().into(),
    ///     start_index_map: [0].as_slice().into(),
    ///     ..Default::default()
    /// };
    /// let x = Array::from([1f32, 2., 3.]);
    /// let y = x.scatter_apply(&Array::from([[2i32]]), |x| x * 10.0, [1], Scatter::new(ScatterKind::Set, (&at).into()));
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 2.0, 30.0]);
    /// ```
    #[track_caller]
    pub fn scatter_apply(
        &self,
        indices: &Array,
        f: impl Fn(&Array) -> Array,
        shape: impl crate::array::IntoDims,
        scatter: Scatter,
    ) -> Array {
        let made = (|| -> Result<ScatterBy> {
            let dtype = self.dtype()?;
            let update_jaxpr = super::scalar_program("scatter_apply", &[dtype, dtype], &mut |x| {
                let old = x
                    .first()
                    .ok_or_else(|| Error::internal("an argument is missing"))?;
                Ok(vec![f(old).ok()?.convert(dtype)])
            })?;
            Ok(ScatterBy {
                dimension_numbers: scatter.dimension_numbers.clone(),
                indices_are_sorted: scatter.indices_are_sorted,
                mode: scatter.mode,
                unique_indices: scatter.unique_indices,
                update_jaxpr,
            })
        })();
        match (made, self.dtype()) {
            (Ok(op), Ok(dtype)) => bind(op, &[self, indices, &Array::zeros(shape, dtype)]),
            (Err(e), _) | (_, Err(e)) => crate::array::fail(e),
        }
    }
}
