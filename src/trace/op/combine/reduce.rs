//! `reduce`.

use super::{check_scalars, halves};
use crate::{
    array::{Array, Aval, DType, Dims, aval::size_of},
    error::Result,
    trace::{
        Program, bind, bind_all,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Concatenate, Inner, Jvp, Param, Params, Prim,
            Primitive, Slice, Tangent, check_axes,
            defined::{Defined, batch_of, elementwise_program, jvp_of, transpose_of},
            remaining, shifted,
        },
    },
};

/// `reduce`
pub const REDUCE: Prim<ReduceBy> = Prim::new("reduce");

/// Elements of several arrays combined along some axes by a program, an initial value first. The operands are the arrays and an
/// initial value for each; the program takes one element of each array and then another of each, and gives one of each. It must be
/// associative, since neighbours are combined in any order: few one after the other, many as a tree.
#[derive(Clone, PartialEq, Debug)]
pub struct ReduceBy {
    /// Along which axes.
    pub dimensions: Dims,
    /// How two elements combine.
    pub jaxpr: Program,
}

/// Rows of at most this many elements are combined one after the other, as XLA does; longer ones as a tree.
const ONE_BY_ONE: usize = 64;

/// Rows of several matrices, each combined with a number that comes first, by a program: one element after the other.
fn folded(
    program: &Program,
    start: Vec<Array>,
    x: &[Array],
    rows: usize,
    n: usize,
) -> Result<Vec<Array>> {
    let step = elementwise_program(program, rows)?;
    let mut sum = start;
    for i in 0..n {
        let column = Slice {
            start_indices: Dims::from_slice(&[0, i]),
            limit_indices: Dims::from_slice(&[rows, i + 1]),
            strides: None,
        };
        let next = x.iter().map(|x| bind(column.clone(), &[x]).reshape([rows]));
        sum = step.eval(&sum.into_iter().chain(next).collect::<Vec<_>>())?;
    }
    Ok(sum)
}

/// Rows of several matrices, each combined to one number by a program: pairs of neighbours, then pairs of what those gave.
fn combined(program: &Program, mut x: Vec<Array>, rows: usize, n: usize) -> Result<Vec<Array>> {
    let mut n = n;
    let columns = |x: &Array, start: usize, limit: usize, step: usize| {
        let slice = Slice {
            start_indices: Dims::from_slice(&[0, start]),
            limit_indices: Dims::from_slice(&[rows, limit]),
            strides: Some(Dims::from_slice(&[1, step])),
        };
        bind(slice, &[x])
    };
    while n > 1 {
        let half = n / 2;
        let side = |from: usize| {
            let each = x.iter();
            each.map(move |x| columns(x, from, 2 * half, 2).reshape([rows * half]))
        };
        let pairs: Vec<Array> = side(0).chain(side(1)).collect();
        let y = elementwise_program(program, rows * half)?.eval(&pairs)?;
        let with_rest = |(x, y): (&Array, &Array)| {
            let y = y.reshape([rows, half]);
            if n.is_multiple_of(2) {
                return y;
            }
            bind(
                Concatenate { dimension: 1 },
                &[&y, &columns(x, n - 1, n, 1)],
            )
        };
        x = x.iter().zip(&y).map(with_rest).collect();
        n = half + n % 2;
    }
    Ok(x.iter().map(|x| x.reshape([rows])).collect())
}

impl Defined for ReduceBy {
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        let (arrays, inits) = x.split_at(x.len() / 2);
        let Some(first) = arrays.first() else {
            return Ok(vec![]);
        };
        let shape = first.shape();
        let keep = remaining(shape.len(), &self.dimensions, &[]);
        let size = |axes: &[usize]| -> Dims {
            axes.iter().filter_map(|i| shape.get(*i).copied()).collect()
        };
        let out = size(&keep);
        let (rows, n) = (size_of(&out), size_of(&size(&self.dimensions)));
        let mut starts = vec![];
        for init in inits {
            starts.push(init.broadcast_in_dim([rows], ()));
        }
        if rows > 0 && n > 0 {
            let order: Dims = keep.iter().chain(&self.dimensions).copied().collect();
            let mut flat = vec![];
            for (x, init) in arrays.iter().zip(inits) {
                flat.push(
                    x.convert(init.dtype()?)
                        .transpose(&order)
                        .reshape([rows, n]),
                );
            }
            if n <= ONE_BY_ONE {
                starts = folded(&self.jaxpr, starts, &flat, rows, n)?;
            } else {
                let sums = combined(&self.jaxpr, flat, rows, n)?;
                starts = elementwise_program(&self.jaxpr, rows)?.eval(&[starts, sums].concat())?;
            }
        }
        Ok(starts.iter().map(|y| y.reshape(&out)).collect())
    }
}

impl Primitive for ReduceBy {
    fn name(&self) -> &'static str {
        REDUCE.name
    }
    fn params(&self) -> Params {
        vec![
            ("dimensions", Param::tuple(&self.dimensions)),
            ("jaxpr", Param::Program(self.jaxpr.clone())),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let (arrays, inits) = halves(self.name(), x)?;
        let rank = arrays.first().map_or(0, |a| a.ndim());
        check_axes(self.name(), "`dimensions`", &self.dimensions, rank)?;
        let dtypes: Vec<DType> = inits.iter().map(|a| a.dtype).collect();
        let pairs = [&dtypes[..], &dtypes].concat();
        check_scalars(self.name(), "the program", &self.jaxpr, &pairs, &dtypes)?;
        let keep = remaining(rank, &self.dimensions, &[]);
        let shaped = |(a, d): (&&Aval, DType)| {
            let sizes = keep.iter().filter_map(|i| a.shape.get(*i).copied());
            Aval::new(sizes.collect::<Dims>(), d)
        };
        Ok(arrays.iter().zip(dtypes).map(shaped).collect())
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        jvp_of(self, x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        transpose_of(self, ct, x)
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let n = x.len() / 2;
        if d.iter().skip(n).any(Option::is_some) {
            return batch_of(self, x, d, axis);
        }
        let (arrays, inits) = x.split_at(n);
        let op = ReduceBy {
            dimensions: shifted(&self.dimensions),
            jaxpr: self.jaxpr.clone(),
        };
        let front =
            |(x, d): (&Array, &Option<usize>)| crate::trace::op::batch_to_front(x, *d, axis.size);
        let mut args: Vec<Array> = arrays.iter().zip(d).map(front).collect();
        args.extend_from_slice(inits);
        let y = bind_all(op, &args)?;
        let at = vec![Some(0); y.len()];
        Ok((y, at))
    }
    opaque!();
}
