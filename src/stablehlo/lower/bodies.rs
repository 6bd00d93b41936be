//! Reductions, windows and scatters with bodies: the primitive that the body is, or the body itself, run in order.

use super::{
    Closed, Lowering, apply,
    control::scalars,
    given::Given,
    meaning::{alike, combiner, is_literal},
};
use crate::{
    array::{Array, Aval, DType, Dims, Kind},
    error::Result,
    trace::{
        Program, bind_all,
        op::{
            Binary, GatherScatterMode, Reduce, ReduceBy, ReduceWindow, ReduceWindowBy, Reducer,
            Scatter, ScatterBy, ScatterKind, SelectAndScatter, SelectAndScatterAdd, SelectN,
            Window, WindowReducer,
        },
        stage,
    },
};

/// The smallest and the largest integer of a type.
fn integer_range(dtype: DType) -> Option<(i128, i128)> {
    let bits = dtype.size() as u32 * 8;
    match dtype.is_integer() {
        true if dtype.is_unsigned() => Some((0, (1 << bits) - 1)),
        true => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
        false => None,
    }
}

/// The value that a combination leaves as it is.
pub(super) fn identity(op: Binary, dtype: DType) -> Option<f64> {
    let (low, high) = match dtype.kind() {
        Kind::Float => (f64::NEG_INFINITY, f64::INFINITY),
        Kind::Int => integer_range(dtype).map(|(a, b)| (a as f64, b as f64))?,
        Kind::Bool => (0.0, 1.0),
        Kind::Complex => (f64::NAN, f64::NAN),
    };
    Some(match op {
        Binary::Add | Binary::Or | Binary::Xor => 0.0,
        Binary::Mul => 1.0,
        Binary::And if dtype == DType::Bool => 1.0,
        Binary::Max => low,
        Binary::Min => high,
        _ => return None,
    })
}

fn reducer(op: Binary, dtype: DType) -> Option<Reducer> {
    Some(match op {
        Binary::Add => Reducer::Sum,
        Binary::Mul => Reducer::Prod,
        Binary::Max if !dtype.is_complex() => Reducer::Max,
        Binary::Min if !dtype.is_complex() => Reducer::Min,
        Binary::And => Reducer::And,
        Binary::Or => Reducer::Or,
        Binary::Xor => Reducer::Xor,
        _ => return None,
    })
}

/// How the parameters of a body stand: one of each array and then another one of each, or both of each array together.
#[derive(Clone, Copy)]
pub(super) enum Layout {
    Halves,
    Pairs,
}

/// A body that captures numbers takes them as elements of arrays of its own, which are those numbers everywhere, and gives them back.
/// With it, the numbers. An error if it captures an array of elements.
pub(super) fn carrying(
    given: &Given<'_, '_, '_>,
    body: &Closed,
    layout: Layout,
) -> Result<(Program, Vec<Array>)> {
    let k = body.captured.len();
    if k == 0 {
        return Ok((body.program.clone(), vec![]));
    }
    if body.captured.iter().any(|c| c.ndim() > 0) {
        return Err(given.unsupported("a body that uses arrays from outside of it"));
    }
    let avals: Vec<Aval> = body.program.in_avals().cloned().collect();
    let (numbers, own) = avals.split_at(k.min(avals.len()));
    let half = own.len() / 2;
    let parameters: Vec<Aval> = match layout {
        Layout::Halves => {
            let (a, b) = own.split_at(half);
            [a, numbers, b, numbers].concat()
        }
        Layout::Pairs => {
            let twice = numbers.iter().flat_map(|a| [a.clone(), a.clone()]);
            own.iter().cloned().chain(twice).collect()
        }
    };
    let program = stage(&parameters, None, &mut |x| {
        let part = |from: usize, to: usize| x.get(from..to).unwrap_or_default();
        Ok(match layout {
            Layout::Halves => {
                let numbers = part(half, half + k);
                let own = [part(0, half), part(half + k, 2 * half + k)].concat();
                let mut y = body.program.eval(&[numbers, &own].concat())?;
                y.extend_from_slice(numbers);
                y
            }
            Layout::Pairs => {
                let numbers = part(2 * half, x.len()).iter().step_by(2).cloned();
                let all: Vec<Array> = numbers.chain(part(0, 2 * half).to_vec()).collect();
                body.program.eval(&all)?
            }
        })
    })?;
    Ok((program.into(), body.captured.clone()))
}

/// The arrays, and one for each number, of that number everywhere, in the shape of the first.
pub(super) fn with_numbers(x: &[Array], numbers: &[Array]) -> Result<Vec<Array>> {
    let mut all = x.to_vec();
    if let Some(first) = x.first() {
        let shape = first.aval()?.shape;
        all.extend(numbers.iter().map(|n| n.broadcast_in_dim(&shape, ())));
    }
    Ok(all)
}

/// What `bind_all` gives, without what a body carries.
fn without(mut y: Vec<Array>, n: usize) -> Vec<Array> {
    y.truncate(n);
    y
}

impl<'m, 't> Lowering<'m, 't> {
    /// Operands and starting values of a reduction in the types that its body takes, and the body.
    fn reduction(&mut self, given: &Given<'_, 'm, 't>) -> Result<(Vec<Array>, Vec<Array>, Closed)> {
        let n = given.x.len() / 2;
        let (x, start) = given.x.split_at_checked(n).unwrap_or((&[], &[]));
        if n == 0 || x.len() != start.len() {
            return Err(given.wrong("it takes arrays and as many starting values"));
        }
        let outs: Vec<DType> = (0..n)
            .map(|i| Ok(given.out(i)?.dtype))
            .collect::<Result<_>>()?;
        let convert = |x: &[Array]| -> Result<Vec<Array>> {
            x.iter()
                .zip(&outs)
                .map(|(x, d)| given.convert(x, *d))
                .collect()
        };
        let (x, start) = (convert(x)?, convert(start)?);
        let mut avals = scalars(&x)?;
        avals.extend(scalars(&start)?);
        let body = match given.op.attr("applies").and_then(super::Attr::word) {
            None => self.body(given, 0, &avals)?,
            Some(name) => {
                let name = name.strip_prefix("stablehlo.").unwrap_or(name);
                let dtype = outs.first().copied().unwrap_or(DType::F32);
                let op = super::elementwise::binary(name, dtype)
                    .ok_or_else(|| given.wrong(format!("there is no reducer `{name}`")))?;
                let j = stage(&avals, None, &mut |x| {
                    Ok(vec![apply(op, &x.iter().collect::<Vec<_>>())?])
                })?;
                Closed {
                    program: j.into(),
                    captured: vec![],
                    forms: vec![super::Form::Array],
                }
            }
        };
        if body.program.outs().len() != n {
            return Err(given.wrong(format!(
                "its body gives {} results, not {n}",
                body.program.outs().len()
            )));
        }
        Ok((x, start, body))
    }

    pub(super) fn reduce(&mut self, given: &Given<'_, 'm, 't>) -> Result<Vec<Array>> {
        let (x, start, body) = self.reduction(given)?;
        let mut axes = given.dims(&["dimensions"])?;
        axes.sort_unstable();
        axes.dedup();
        let shape = x
            .first()
            .map(Array::aval)
            .transpose()?
            .map_or_else(Dims::new, |a| a.shape);
        if axes.iter().any(|a| *a >= shape.len()) {
            return Err(given.wrong("there is no such axis"));
        }
        if let ([x], [start], true) = (&x[..], &start[..], body.captured.is_empty()) {
            let dtype = x.dtype()?;
            let known = combiner(&body.program).and_then(|op| Some((op, reducer(op, dtype)?)));
            if let Some((op, reducer)) = known {
                let y = apply(Reduce { reducer, axes }, &[x])?;
                let neutral = identity(op, dtype).is_some_and(|v| is_literal(start, v))
                    || op == Binary::And && is_all_ones(start, dtype);
                return Ok(vec![if neutral { y } else { apply(op, &[start, &y])? }]);
            }
        }
        if let Some(y) = self.extremum(&x, &start, &body, &axes)? {
            return Ok(y);
        }
        let (jaxpr, numbers) = carrying(given, &body, Layout::Halves)?;
        let op = ReduceBy {
            dimensions: axes,
            jaxpr,
        };
        let operands = [with_numbers(&x, &numbers)?, start, numbers].concat();
        Ok(without(bind_all(op, &operands)?, x.len()))
    }

    /// The largest or smallest element and its position, as JAX writes them.
    fn extremum(
        &mut self,
        x: &[Array],
        start: &[Array],
        body: &Closed,
        axes: &Dims,
    ) -> Result<Option<Vec<Array>>> {
        let ([values, places], [from, at], [axis]) = (x, start, &axes[..]) else {
            return Ok(None);
        };
        let (v, p) = (values.dtype()?, places.dtype()?);
        let counted = self.iotas.get(&places.identity()) == Some(axis);
        if !counted || v.is_complex() || !p.is_integer() || !is_literal(at, 0.0) {
            return Ok(None);
        }
        for (op, largest) in [(Binary::Gt, true), (Binary::Lt, false)] {
            let neutral = identity(if largest { Binary::Max } else { Binary::Min }, v);
            if neutral.is_none_or(|n| !is_literal(from, n))
                || values.aval()?.shape.get(*axis) == Some(&0)
            {
                continue;
            }
            let avals = [v, p, v, p].map(|d| Aval::new((), d));
            for float in [v.is_float(), false] {
                let known = stage(&avals, None, &mut |x| {
                    let [a, i, b, j] = &x[..] else {
                        return Err(super::few());
                    };
                    let mut first = apply(op, &[a, b])?;
                    if float {
                        first = apply(Binary::Or, &[&first, &apply(Binary::Ne, &[a, a])?])?;
                    }
                    let tie = apply(
                        Binary::And,
                        &[&apply(Binary::Eq, &[a, b])?, &apply(Binary::Lt, &[i, j])?],
                    )?;
                    let place = apply(Binary::Or, &[&first, &tie])?;
                    Ok(vec![
                        apply(SelectN, &[&first, b, a])?,
                        apply(SelectN, &[&place, j, i])?,
                    ])
                })?;
                if alike(&known, &body.program) {
                    let (value, place) = if largest {
                        (Reducer::Max, Reducer::Argmax(p))
                    } else {
                        (Reducer::Min, Reducer::Argmin(p))
                    };
                    let along = |reducer| {
                        let axes = axes.clone();
                        apply(Reduce { reducer, axes }, &[values])
                    };
                    return Ok(Some(vec![along(value)?, along(place)?]));
                }
            }
        }
        Ok(None)
    }

    pub(super) fn reduce_window(&mut self, given: &Given<'_, 'm, 't>) -> Result<Vec<Array>> {
        let (x, start, body) = self.reduction(given)?;
        let window = window(given, x.first().map_or(0, Array::ndim))?;
        if let ([x], [start], true) = (&x[..], &start[..], body.captured.is_empty()) {
            let dtype = x.dtype()?;
            let known = combiner(&body.program).and_then(|op| {
                let reducer = match op {
                    Binary::Add => WindowReducer::Sum,
                    Binary::Mul => WindowReducer::Prod,
                    Binary::Max if !dtype.is_complex() => WindowReducer::Max,
                    Binary::Min if !dtype.is_complex() => WindowReducer::Min,
                    _ => return None,
                };
                identity(op, dtype)
                    .filter(|v| is_literal(start, *v))
                    .map(|_| reducer)
            });
            if let Some(reducer) = known {
                return Ok(vec![apply(ReduceWindow { reducer, window }, &[x])?]);
            }
        }
        let (jaxpr, numbers) = carrying(given, &body, Layout::Halves)?;
        let op = ReduceWindowBy { jaxpr, window };
        let operands = [with_numbers(&x, &numbers)?, start, numbers].concat();
        Ok(without(bind_all(op, &operands)?, x.len()))
    }

    pub(super) fn select_and_scatter(&mut self, given: &Given<'_, 'm, 't>) -> Result<Vec<Array>> {
        let [x, source, start] = given.operands()?;
        let out = given.out(0)?.dtype;
        let number_type = [x.clone(), x.clone()];
        let select = self.body(given, 0, &scalars(&number_type)?)?;
        let (source, start) = (given.convert(source, out)?, given.convert(start, out)?);
        let pair = [source.clone(), source.clone()];
        let scatter = self.body(given, 1, &scalars(&pair)?)?;
        let window = window(given, x.ndim())?;
        let known = (combiner(&select.program), combiner(&scatter.program));
        let largest = match known {
            (Some(Binary::Ge), Some(Binary::Add)) => Some(true),
            (Some(Binary::Le), Some(Binary::Add)) => Some(false),
            _ => None,
        };
        if let Some(largest) = largest
            && x.dtype()? == out
            && !out.is_complex()
            && out != DType::Bool
            && is_literal(&start, 0.0)
        {
            let op = SelectAndScatterAdd { largest, window };
            return Ok(vec![apply(op, &[&source, x])?]);
        }
        let op = SelectAndScatter {
            select_jaxpr: given.closed(&select)?,
            scatter_jaxpr: given.closed(&scatter)?,
            window,
        };
        Ok(vec![apply(op, &[x, &source, &start])?])
    }

    pub(super) fn scatter(&mut self, given: &Given<'_, 'm, 't>) -> Result<Vec<Array>> {
        let n = given.x.len().saturating_sub(1) / 2;
        let wrong = || given.wrong("it takes arrays, indices, and as many updates");
        if n == 0 || given.x.len() != 2 * n + 1 {
            return Err(wrong());
        }
        let (x, rest) = given.x.split_at_checked(n).ok_or_else(wrong)?;
        let (indices, updates) = rest.split_first().ok_or_else(wrong)?;
        let outs: Vec<DType> = (0..n)
            .map(|i| Ok(given.out(i)?.dtype))
            .collect::<Result<_>>()?;
        let convert = |x: &[Array]| -> Result<Vec<Array>> {
            x.iter()
                .zip(&outs)
                .map(|(x, d)| given.convert(x, *d))
                .collect()
        };
        let (x, updates) = (convert(x)?, convert(updates)?);
        let mut avals = scalars(&x)?;
        avals.extend(scalars(&updates)?);
        let body = self.body(given, 0, &avals)?;
        if body.program.outs().len() != n {
            return Err(given.wrong("its body gives another number of results"));
        }
        let (indices, numbers) = given.scatter_numbers(indices)?;
        if let ([x], [u], true) = (&x[..], &updates[..], body.captured.is_empty())
            && let Some(kind) = kind(&body, x.dtype()?)
        {
            let op = Scatter {
                indices_are_sorted: given.flag("indices_are_sorted", false),
                unique_indices: given.flag("unique_indices", false),
                mode: GatherScatterMode::FillOrDrop,
                ..Scatter::new(kind, numbers)
            };
            let y = x.scatter(&indices, u, op);
            y.ok()?;
            return Ok(vec![y]);
        }
        let dimension_numbers = numbers;
        let (update_jaxpr, numbers) = carrying(given, &body, Layout::Halves)?;
        let op = ScatterBy {
            dimension_numbers,
            indices_are_sorted: given.flag("indices_are_sorted", false),
            mode: GatherScatterMode::FillOrDrop,
            unique_indices: given.flag("unique_indices", false),
            update_jaxpr,
        };
        let operands = [
            with_numbers(&x, &numbers)?,
            vec![indices],
            with_numbers(&updates, &numbers)?,
        ]
        .concat();
        Ok(without(bind_all(op, &operands)?, n))
    }
}

fn is_all_ones(x: &Array, dtype: DType) -> bool {
    let ones = match integer_range(dtype) {
        Some((0, high)) => high as f64,
        Some(_) => -1.0,
        None => 1.0,
    };
    is_literal(x, ones)
}

/// The scatter that a body is: it gives the update, or combines old and update.
fn kind(body: &Closed, dtype: DType) -> Option<ScatterKind> {
    let j = &body.program;
    if let ([_, update], [], [out]) = (j.invars(), j.eqns(), j.outs()) {
        return (out.var() == Some(*update)).then_some(ScatterKind::Set);
    }
    Some(match combiner(j)? {
        Binary::Add => ScatterKind::Add,
        Binary::Sub => ScatterKind::Sub,
        Binary::Mul => ScatterKind::Mul,
        Binary::Max if !dtype.is_complex() => ScatterKind::Max,
        Binary::Min if !dtype.is_complex() => ScatterKind::Min,
        Binary::Or if dtype == DType::Bool => ScatterKind::Max,
        Binary::And if dtype == DType::Bool => ScatterKind::Min,
        _ => return None,
    })
}

fn window(given: &Given<'_, '_, '_>, n: usize) -> Result<Window> {
    let padding = given.pairs(given.ints(&["padding"])?, n)?;
    let mut w = Window::new(
        given.each(&["window_dimensions"], n, 1)?,
        given.each(&["window_strides"], n, 1)?,
    );
    w.base_dilation = given.each(&["base_dilations"], n, 1)?;
    w.window_dilation = given.each(&["window_dilations"], n, 1)?;
    w.padding = padding
        .iter()
        .map(|(a, b)| (*a as isize, *b as isize))
        .collect();
    Ok(w)
}
