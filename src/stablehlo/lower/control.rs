//! Operations with regions: which program goes where.

use super::{Closed, Lowering, apply, elementwise::number, few, given::Given};
use crate::{
    array::{Array, Aval, DType, Dims},
    error::{Error, Result},
    trace::{
        Jaxpr, Program, bind_all,
        op::{BatchAxis, Binary, Cond, Scan, SelectN, Transpose, While},
        stage,
    },
    transform::batch::batch,
};

impl Closed {
    /// Run it, in the current trace, on operands.
    pub(super) fn run(&self, x: &[Array]) -> Result<Vec<Array>> {
        let all: Vec<Array> = self.captured.iter().chain(x).cloned().collect();
        self.program.eval(&all)
    }

    /// Run it on every element of arrays of one shape; it is a program of numbers.
    pub(super) fn elementwise(&self, x: &[Array]) -> Result<Vec<Array>> {
        let shape: Dims = x
            .first()
            .map(Array::aval)
            .transpose()?
            .map_or_else(Dims::new, |a| a.shape);
        if shape.is_empty() {
            return self.run(x);
        }
        let size = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let size = size.ok_or_else(|| Error::memory("an array with too many elements"))?;
        let axis = BatchAxis { size, name: None };
        let dims: Vec<Option<usize>> = (0..self.program.invars().len())
            .map(|i| (i >= self.captured.len()).then_some(0))
            .collect();
        let wanted = vec![Some(0); self.program.outs().len()];
        let (j, _) = batch(&self.program, &dims, &axis, Some(&wanted))?;
        let flat = x.iter().map(|x| x.reshape([size]));
        let all: Vec<Array> = self.captured.iter().cloned().chain(flat).collect();
        let y = j.eval(&all)?;
        y.into_iter()
            .map(|y| {
                let y = y.reshape(&shape);
                y.ok()?;
                Ok(y)
            })
            .collect()
    }
}

/// A scan over the first axis of `xs`, its step a function of carry and slices.
pub(super) fn scan(
    carry: &[Array],
    xs: &[Array],
    length: usize,
    mut step: impl FnMut(&[Array], &[Array]) -> Result<(Vec<Array>, Vec<Array>)>,
) -> Result<(Vec<Array>, Vec<Array>)> {
    let mut avals = vec![];
    for c in carry {
        avals.push(c.aval()?);
    }
    for x in xs {
        let mut a = x.aval()?;
        if a.ndim() > 0 {
            a.shape.remove(0);
        }
        avals.push(a);
    }
    let n = carry.len();
    let j = stage(&avals, None, &mut |x| {
        let (carry, slices) = x.split_at_checked(n).ok_or_else(few)?;
        let (mut next, outs) = step(carry, slices)?;
        next.extend(outs);
        Ok(next)
    })?;
    let (j, captured) = j.dce().close();
    let op = Scan {
        length,
        num_carry: n,
        num_consts: captured.len(),
        reverse: false,
        unroll: 1,
        jaxpr: j.into(),
    };
    let operands: Vec<Array> = captured.iter().chain(carry).chain(xs).cloned().collect();
    let mut results = bind_all(op, &operands)?;
    let ys = results.split_off(n.min(results.len()));
    Ok((results, ys))
}

/// Programs of one signature: each also takes what the others capture.
fn aligned(branches: &[Closed]) -> Result<(Vec<Program>, Vec<Array>)> {
    let operands: Vec<Array> = branches.iter().flat_map(|b| b.captured.clone()).collect();
    let avals = operands
        .iter()
        .map(Array::aval)
        .collect::<Result<Vec<Aval>>>()?;
    let mut first = 0;
    let mut programs = vec![];
    for b in branches {
        let own = first..first + b.captured.len();
        first = own.end;
        let j: Jaxpr = stage(&avals, None, &mut |x| {
            b.program.eval(x.get(own.clone()).unwrap_or_default())
        })?;
        programs.push(j.into());
    }
    Ok((programs, operands))
}

impl<'m, 't> Lowering<'m, 't> {
    /// Operations with regions; `None` for those without.
    pub(super) fn with_regions(&mut self, given: &Given<'_, 'm, 't>) -> Result<Option<Vec<Array>>> {
        Ok(Some(match given.name() {
            "while" => self.while_loop(given)?,
            "if" | "case" => self.cond(given)?,
            "map" => {
                let avals = scalars(given.x)?;
                let body = self.body(given, 0, &avals)?;
                body.elementwise(given.x)?
            }
            "chlo.scan" => self.scan(given)?,
            "reduce" => self.reduce(given)?,
            "reduce_window" => self.reduce_window(given)?,
            "select_and_scatter" => self.select_and_scatter(given)?,
            "scatter" => self.scatter(given)?,
            "sort" => self.sort(given)?,
            "custom_call" => return self.approximate_top_k(given),
            _ => return Ok(None),
        }))
    }

    /// The program of a region of an operation.
    pub(super) fn body(
        &mut self,
        given: &Given<'_, 'm, 't>,
        i: usize,
        avals: &[Aval],
    ) -> Result<Closed> {
        match given.op.regions.get(i) {
            Some(block) => self.region(given.op.at, block, avals),
            None => Err(given.wrong("a region is missing")),
        }
    }

    fn while_loop(&mut self, given: &Given<'_, 'm, 't>) -> Result<Vec<Array>> {
        let avals = given
            .x
            .iter()
            .map(Array::aval)
            .collect::<Result<Vec<Aval>>>()?;
        let cond = self.body(given, 0, &avals)?;
        let body = self.body(given, 1, &avals)?;
        let op = While {
            body_nconsts: body.captured.len(),
            body_jaxpr: body.program,
            cond_nconsts: cond.captured.len(),
            cond_jaxpr: cond.program,
        };
        let operands: Vec<Array> = cond
            .captured
            .iter()
            .chain(&body.captured)
            .chain(given.x)
            .cloned()
            .collect();
        bind_all(op, &operands)
    }

    fn cond(&mut self, given: &Given<'_, 'm, 't>) -> Result<Vec<Array>> {
        let [index] = given.operands()?;
        let mut branches = (0..given.op.regions.len())
            .map(|i| self.body(given, i, &[]))
            .collect::<Result<Vec<_>>>()?;
        let index = if given.name() == "if" {
            if branches.len() != 2 {
                return Err(given.wrong("it has two regions"));
            }
            // The branch of the truth stands first in the text, and second in `cond`.
            branches.reverse();
            given.convert(index, DType::I32)?
        } else {
            // An index outside means the last branch.
            let n = i64::try_from(branches.len()).unwrap_or(i64::MAX);
            let index = given.convert(index, DType::I32)?;
            let last = number(n - 1, DType::I32);
            let negative = apply(Binary::Lt, &[&index, &number(0i64, DType::I32)])?;
            apply(SelectN, &[&negative, &index, &last])?
        };
        let (branches, operands) = aligned(&branches)?;
        let all: Vec<Array> = std::iter::once(index).chain(operands).collect();
        bind_all(Cond { branches }, &all)
    }

    /// `chlo.scan`: its body takes slices and the carry, and gives slices and the carry.
    fn scan(&mut self, given: &Given<'_, 'm, 't>) -> Result<Vec<Array>> {
        let segments = given
            .ints(&["inputs", "operandSegmentSizes"])?
            .unwrap_or_default();
        let inputs = segments
            .first()
            .and_then(|n| usize::try_from(*n).ok())
            .unwrap_or(0);
        let (xs, carry) = given
            .x
            .split_at_checked(inputs)
            .ok_or_else(|| given.wrong("it has fewer operands than inputs"))?;
        let axis = given.number(&["dimension"])?;
        let reverse = given.flag("is_reverse", false);
        let first = xs
            .first()
            .ok_or_else(|| given.wrong("there is nothing to scan"))?;
        let length = first.aval()?.shape.get(axis).copied();
        let length = length.ok_or_else(|| given.wrong("there is no such axis"))?;
        let front = |x: &Array| {
            let y = move_axis(x, axis, 0)?;
            Ok(if reverse { y.flip([0usize]) } else { y })
        };
        let xs = xs.iter().map(front).collect::<Result<Vec<Array>>>()?;
        let mut avals = vec![];
        for x in &xs {
            let mut a = x.aval()?;
            a.shape.remove(0);
            avals.push(a);
        }
        for c in carry {
            avals.push(c.aval()?);
        }
        let body = self.body(given, 0, &avals)?;
        let outs = body.program.outs().len();
        let stacked = outs
            .checked_sub(carry.len())
            .ok_or_else(|| given.wrong("its body gives fewer results than the carry"))?;
        let (carry, ys) = scan(carry, &xs, length, |carry, slices| {
            let x: Vec<Array> = slices.iter().chain(carry).cloned().collect();
            let mut y = body.run(&x)?;
            let carry = y.split_off(stacked);
            Ok((carry, y))
        })?;
        let mut results = vec![];
        for y in ys {
            let y = if reverse { y.flip([0usize]) } else { y };
            results.push(move_axis(&y, 0, axis)?);
        }
        results.extend(carry);
        Ok(results)
    }
}

/// An axis in another place, the others in their order.
pub(super) fn move_axis(x: &Array, from: usize, to: usize) -> Result<Array> {
    let n = x.ndim();
    let mut permutation: Dims = (0..n).filter(|i| *i != from).collect();
    permutation.insert(to.min(permutation.len()), from);
    if permutation.is_sorted() {
        return Ok(x.clone());
    }
    apply(Transpose { permutation }, &[x])
}

/// The types of single elements.
pub(super) fn scalars(x: &[Array]) -> Result<Vec<Aval>> {
    x.iter().map(|x| Ok(Aval::new((), x.dtype()?))).collect()
}
