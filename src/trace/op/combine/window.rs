//! `reduce_window` and `select_and_scatter`.

use super::{ReduceBy, ScatterBy, check_scalars, halves, scalar_program};
use crate::{
    array::{Array, Aval, DType, Dims, Scalar},
    error::{Error, Result},
    trace::{
        Program, bind, bind_all,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Binary, GatherDimensionNumbers,
            GatherScatterMode, Inner, Jvp, Pad, Padding, Param, Params, Prim, Primitive, Scatter,
            ScatterKind, SelectN, Tangent, Unary, Window, batch_to_front,
            defined::{Defined, batch_of, jvp_of, transpose_of},
            operands,
        },
    },
};
use smallvec::smallvec;

/// `reduce_window`
pub const REDUCE_WINDOW: Prim<ReduceWindowBy> = Prim::new("reduce_window");
/// `select_and_scatter`
pub const SELECT_AND_SCATTER: Prim<SelectAndScatter> = Prim::new("select_and_scatter");

/// The elements of several arrays under a window combined by a program, for each place of the window. The operands are the arrays
/// and an initial value for each, which also stands where the window reaches outside; the program is that of [`ReduceBy`].
#[derive(Clone, PartialEq, Debug)]
pub struct ReduceWindowBy {
    /// How two elements combine.
    pub jaxpr: Program,
    /// The window.
    pub window: Window,
}

impl Window {
    /// The array with what the window sees around it and between its elements, and a window that stays inside.
    fn padded(&self, x: &Array, value: &Array) -> (Array, Window) {
        let each = self.padding.iter().zip(&self.base_dilation);
        let padding_config = each
            .map(|((low, high), d)| (*low as i64, *high as i64, *d as i64 - 1))
            .collect();
        let inside = Window {
            base_dilation: Dims::from_elem(1, self.base_dilation.len()),
            padding: Padding::from_elem((0, 0), self.padding.len()),
            ..self.clone()
        };
        (bind(Pad { padding_config }, &[x, value]), inside)
    }
}

impl Defined for ReduceWindowBy {
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        let (arrays, inits) = x.split_at(x.len() / 2);
        let mut args = vec![];
        for (x, init) in arrays.iter().zip(inits) {
            let (x, inside) = self.window.padded(&x.convert(init.dtype()?), init);
            args.push(inside.patches(&x, Scalar::Int(0))?);
        }
        let last = arrays.first().map_or(0, Array::ndim);
        args.extend_from_slice(inits);
        let op = ReduceBy {
            dimensions: smallvec![last],
            jaxpr: self.jaxpr.clone(),
        };
        bind_all(op, &args)
    }
}

impl Primitive for ReduceWindowBy {
    fn name(&self) -> &'static str {
        REDUCE_WINDOW.name
    }
    fn params(&self) -> Params {
        let mut params = self.window.params(true, None);
        let inside = [
            ("consts", Param::text("()")),
            ("jaxpr", Param::Program(self.jaxpr.clone())),
        ];
        params.splice(1..1, inside);
        params
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let (arrays, inits) = halves(self.name(), x)?;
        let dtypes: Vec<DType> = inits.iter().map(|a| a.dtype).collect();
        let pairs = [&dtypes[..], &dtypes].concat();
        check_scalars(self.name(), "the program", &self.jaxpr, &pairs, &dtypes)?;
        let each = arrays.iter().zip(dtypes);
        each.map(|(a, d)| Ok(Aval::new(self.window.check(self.name(), a)?, d)))
            .collect()
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
        let op = ReduceWindowBy {
            jaxpr: self.jaxpr.clone(),
            window: self.window.batched(),
        };
        let each = arrays.iter().zip(d);
        let mut args: Vec<Array> = each
            .map(|(x, d)| batch_to_front(x, *d, axis.size))
            .collect();
        args.extend_from_slice(inits);
        let y = bind_all(op, &args)?;
        let at = vec![Some(0); y.len()];
        Ok((y, at))
    }
    opaque!();
}

/// An array of initial values in the shape of the first operand, into which each element of the second is combined where the first
/// has, under the window of that element, the one that a program selects. The operands are the array, the elements, an initial
/// value. Windows are not dilated.
#[derive(Clone, PartialEq, Debug)]
pub struct SelectAndScatter {
    /// From two elements: is the first one to be kept?
    pub select_jaxpr: Program,
    /// From what is there and an element that comes: what is there then.
    pub scatter_jaxpr: Program,
    /// The window.
    pub window: Window,
}

impl SelectAndScatter {
    /// From two candidates, each a flag that there is one, an element, and its place: the one that is kept.
    fn chooser(&self, dtype: DType) -> Result<Program> {
        let one = [DType::Bool, dtype, DType::I64];
        let pair = [one, one].concat();
        scalar_program(self.name(), &pair, &mut |x| {
            let [there, a, i, other, b, j] = operands("select_and_scatter", x)?;
            let kept = self.select_jaxpr.eval(&[a.clone(), b.clone()])?;
            let [kept] = operands("select_and_scatter", &kept)?;
            let alone = bind(Unary::Not, &[other]);
            let first = bind(Binary::Or, &[&alone, kept]);
            let first = bind(Binary::And, &[there, &first]);
            let choose = |a: &Array, b: &Array| bind(SelectN, &[&first, b, a]);
            let any = bind(Binary::Or, &[there, other]);
            Ok(vec![any, choose(a, b), choose(i, j)])
        })
    }
}

impl Defined for SelectAndScatter {
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        let [x, source, init] = operands(self.name(), x)?;
        let a = x.aval()?;
        let n = a.size();
        let last = a.ndim();
        let places = Array::iota([n], 0, DType::I64).reshape(&a.shape);
        let inside = Array::full(&a.shape, true, DType::Bool);
        let args = [
            self.window.patches(&inside, Scalar::Bool(false))?,
            self.window.patches(&x.stop_gradient(), Scalar::Int(0))?,
            self.window.patches(&places, Scalar::Int(-1))?,
            Array::scalar(false),
            Array::from_scalar(0.into(), a.dtype, false),
            Array::scalar(-1i64),
        ];
        let choose = ReduceBy {
            dimensions: smallvec![last],
            jaxpr: self.chooser(a.dtype)?,
        };
        let chosen = bind_all(choose, &args)?;
        let [_, _, at] = operands(self.name(), &chosen)?;
        let count = at.size();
        let numbers = GatherDimensionNumbers {
            collapsed_slice_dims: smallvec![0],
            start_index_map: smallvec![0],
            ..Default::default()
        };
        let start = init.broadcast_in_dim([n], ());
        let (at, source) = (at.reshape([count, 1]), source.reshape([count]));
        let y = if adds(&self.scatter_jaxpr) {
            let scatter = Scatter::new(ScatterKind::Add, (&numbers).into());
            start.scatter(&at, &source, scatter)
        } else {
            let scatter = ScatterBy {
                dimension_numbers: (&numbers).into(),
                indices_are_sorted: false,
                mode: GatherScatterMode::FillOrDrop,
                unique_indices: false,
                update_jaxpr: self.scatter_jaxpr.clone(),
            };
            bind(scatter, &[&start, &at, &source])
        };
        Ok(vec![y.reshape(&a.shape)])
    }
}

/// Does a program add its two arguments?
fn adds(program: &Program) -> bool {
    use crate::trace::Atom::Var;
    let ([eqn], [a, b], [Var(out)]) = (program.eqns(), program.invars(), program.outs()) else {
        return false;
    };
    let adds = eqn.op.get::<Binary>() == Some(&Binary::Add);
    adds && eqn.outputs[..] == [*out]
        && (eqn.inputs[..] == [Var(*a), Var(*b)] || eqn.inputs[..] == [Var(*b), Var(*a)])
}

impl Primitive for SelectAndScatter {
    fn name(&self) -> &'static str {
        SELECT_AND_SCATTER.name
    }
    fn params(&self) -> Params {
        let mut params = self.window.params(false, None);
        let programs = [
            ("scatter_consts", Param::text("()")),
            ("scatter_jaxpr", Param::Program(self.scatter_jaxpr.clone())),
            ("select_consts", Param::text("()")),
            ("select_jaxpr", Param::Program(self.select_jaxpr.clone())),
        ];
        params.splice(1..1, programs);
        params
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x, source, init] = operands(self.name(), x)?;
        let counts = self.window.check(self.name(), x)?;
        if source.shape != counts || !self.window.is_plain() {
            return Err(Error::shape(format!(
                "{}: {source} has not one element for each window of {x}, which are {counts:?}",
                self.name()
            )));
        }
        if init.ndim() > 0 || init.dtype != source.dtype {
            return Err(Error::argument(format!(
                "{}: the initial value is {init}, not a scalar like the elements of {source}",
                self.name()
            )));
        }
        let (d, s) = (x.dtype, source.dtype);
        let pair = [d, d];
        let name = self.name();
        check_scalars(
            name,
            "the selection",
            &self.select_jaxpr,
            &pair,
            &[DType::Bool],
        )?;
        check_scalars(name, "the combination", &self.scatter_jaxpr, &[s, s], &[s])?;
        Ok(smallvec![Aval::new(x.shape.clone(), s)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        jvp_of(self, x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        transpose_of(self, ct, x)
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let ([x, source, init], [dx, ds, di]) =
            (operands(self.name(), x)?, operands(self.name(), d)?);
        if di.is_some() {
            let all = [x.clone(), source.clone(), init.clone()];
            return batch_of(self, &all, d, axis);
        }
        let op = SelectAndScatter {
            window: self.window.batched(),
            ..self.clone()
        };
        let x = batch_to_front(x, *dx, axis.size);
        let source = batch_to_front(source, *ds, axis.size);
        Ok((vec![bind(op, &[&x, &source, init])], vec![Some(0)]))
    }
    opaque!();
}
