//! Large operands that are unpacked from fewer bits, taken in by rows.
//!
//! A contraction with `(codes − 8) · scale` would unpack all of it first. Where everything between the codes and the contraction works
//! row by row, a loop over groups of rows unpacks one group at a time: what is unpacked stays in cache, and is never held as a whole.

use crate::{
    array::{Array, Aval, Dims, numpy::concatenate},
    error::{Error, Result},
    trace::{
        self, Atom, Env, Eqn, Jaxpr, Literal, Var, bind, bind_at, bind_op,
        op::{DotGeneral, Op, remaining},
        with_location,
    },
    transform::{ScanOptions, scan_with},
};
use rustc_hash::{FxHashMap, FxHashSet};

/// Operands below this many bytes are unpacked as they are.
const LARGE: usize = 1 << 20;
/// How many bytes of rows are unpacked at a time.
const GROUP: usize = 1 << 18;

fn bytes(a: &Aval) -> usize {
    a.size().saturating_mul(a.dtype.size())
}

/// What of a program makes an operand row by row.
#[derive(Default)]
struct Rows {
    /// The equations, by number, and for each of their operands whether it is taken in by rows.
    equations: FxHashMap<usize, Vec<bool>>,
    /// What the first of them take: by rows, or whole.
    sliced: Vec<Var>,
    whole: Vec<Var>,
}

/// The primitive for `rows` in the place of all rows, and whether each operand is taken in by rows, too. `None` if it does not work
/// row by row.
fn by_rows(op: &Op, operands: &[&Aval], out: &Aval, rows: usize) -> Option<(Op, Vec<bool>)> {
    let n = *out.shape.first()?;
    let has_rows = |a: &Aval| a.shape.first() == Some(&n);
    let first = operands.first();
    let resized = |shape: &Dims| {
        let mut shape = shape.clone();
        if let Some(n) = shape.first_mut() {
            *n = rows;
        }
        shape
    };
    Some(match op {
        Op::Unary(_)
        | Op::Binary(_)
        | Op::IntegerPow(_)
        | Op::ConvertElementType(_)
        | Op::SelectN(_)
        | Op::Component(_)
        | Op::StopGradient(_)
        | Op::Copied(_) => {
            let sliced = operands.iter().map(|a| a.ndim() > 0).collect();
            (op.clone(), sliced)
        }
        Op::BroadcastInDim(p) => {
            let mut p = (**p).clone();
            let of_rows = p.broadcast_dimensions.first() == Some(&0) && has_rows(first?);
            p.shape = resized(&p.shape);
            (p.into(), vec![of_rows])
        }
        Op::Reshape(p) if has_rows(first?) => {
            let mut p = (**p).clone();
            p.new_sizes = resized(&p.new_sizes);
            (p.into(), vec![true])
        }
        Op::Transpose(p) if p.permutation.first() == Some(&0) => (op.clone(), vec![true]),
        Op::Squeeze(p) if !p.dimensions.contains(&0) => (op.clone(), vec![true]),
        Op::Slice(p) if has_rows(first?) => {
            let mut p = (**p).clone();
            p.limit_indices = resized(&p.limit_indices);
            (p.into(), vec![true])
        }
        Op::Concatenate(p) if p.dimension != 0 => (op.clone(), vec![true; operands.len()]),
        Op::BitcastConvertType(_) if has_rows(first?) && out.ndim().min(first?.ndim()) > 0 => {
            // The bytes of one number are an axis of their own, or not there.
            let rows_stay = first?.ndim() <= out.ndim() || first?.ndim() > 1;
            (op.clone(), vec![rows_stay])
        }
        Op::Gather(p) => {
            let d = &p.dimension_numbers;
            let plain = d.operand_batching_dims.is_empty() && !d.offset_dims.contains(&0);
            let positions = operands
                .get(1)
                .filter(|a| plain && a.ndim() > 1 && has_rows(a));
            positions?;
            (op.clone(), vec![false, true])
        }
        Op::Reduce(p) if !p.axes.contains(&0) => (op.clone(), vec![true]),
        _ => return None,
    })
}

/// Numbers that a program's equations are found by.
struct Finder<'j> {
    j: &'j Jaxpr,
    /// The equation that makes each variable.
    makers: FxHashMap<Var, usize>,
}

impl<'j> Finder<'j> {
    fn new(j: &'j Jaxpr) -> Self {
        let all = j.eqns.iter().enumerate();
        let makers = all.flat_map(|(i, e)| e.outputs.iter().map(move |v| (*v, i)));
        Finder {
            j,
            makers: makers.collect(),
        }
    }

    /// How many rows an operand has, if it is worth it, and what makes it by rows.
    fn rows(&self, v: Var) -> Option<(usize, Rows)> {
        let aval = self.j.aval(v);
        if bytes(aval) < LARGE || !aval.dtype.is_inexact() {
            return None;
        }
        let mut rows = Rows::default();
        let mut seen = FxHashSet::default();
        self.collect(v, &mut rows, &mut seen);
        let size = |v: &Var| bytes(self.j.aval(*v));
        let read: usize = rows.sliced.iter().chain(&rows.whole).map(size).sum();
        let packed = |v: &Var| self.j.aval(*v).dtype.is_integer();
        let worth = read <= bytes(aval) / 2 && rows.sliced.iter().any(packed);
        let n = *aval.shape.first()?;
        (worth && n > 1).then_some((n, rows))
    }

    fn collect(&self, v: Var, rows: &mut Rows, seen: &mut FxHashSet<Var>) {
        if !seen.insert(v) {
            return;
        }
        let steps = self.makers.get(&v).and_then(|i| {
            let eqn = self.j.eqns.get(*i).filter(|e| e.outputs.len() == 1)?;
            let operands: Vec<&Aval> = eqn.inputs.iter().map(|a| self.j.atom_aval(a)).collect();
            let (_, sliced) = by_rows(&eqn.op, &operands, self.j.aval(v), 1)?;
            Some((*i, eqn, sliced))
        });
        let Some((i, eqn, sliced)) = steps else {
            rows.sliced.push(v);
            return;
        };
        for (a, sliced) in eqn.inputs.iter().zip(&sliced) {
            match a.var() {
                Some(v) if *sliced => self.collect(v, rows, seen),
                Some(v) => rows.whole.push(v),
                None => {}
            }
        }
        rows.equations.insert(i, sliced);
    }
}

/// The operand for a group of rows of what it is made of.
fn unpack(
    j: &Jaxpr,
    rows: &Rows,
    target: Var,
    known: &FxHashMap<Var, Array>,
    n: usize,
) -> Result<Array> {
    let mut known = known.clone();
    let missing = || Error::internal("a row is made of something that is missing");
    let mut order: Vec<usize> = rows.equations.keys().copied().collect();
    order.sort_unstable();
    for i in order {
        let eqn = j.eqns.get(i).ok_or_else(missing)?;
        let out = *eqn.outputs.first().ok_or_else(missing)?;
        let operands: Vec<&Aval> = eqn.inputs.iter().map(|a| j.atom_aval(a)).collect();
        let (op, _) = by_rows(&eqn.op, &operands, j.aval(out), n).ok_or_else(missing)?;
        let x = eqn
            .inputs
            .iter()
            .map(|a| match a {
                Atom::Var(v) => known.get(v).cloned().ok_or_else(missing),
                Atom::Lit(l) => Ok(Literal::array(l)),
            })
            .collect::<Result<Vec<Array>>>()?;
        let y = bind_op(&op, &x.iter().collect::<Vec<_>>(), eqn.at);
        known.insert(out, y.ok()?.clone());
    }
    known.get(&target).cloned().ok_or_else(missing)
}

/// Rows of an array along its first axis.
fn part(x: &Array, from: usize, to: usize) -> Array {
    x.slice_in_dim(from, to, 0)
}

/// What is to be contracted: which operand is made by rows, of what.
struct Contraction<'p> {
    p: &'p DotGeneral,
    /// Is it the left operand that comes by rows?
    left: bool,
    other: Array,
    /// The axis of the other operand that its rows run along with.
    other_axis: Option<usize>,
    /// Where its rows are in the result, unless they are summed over.
    out_axis: Option<usize>,
}

impl<'p> Contraction<'p> {
    fn new(p: &'p DotGeneral, left: bool, ndim: usize, other: Array) -> Self {
        let (contract, batch, other_contract, other_batch) = match left {
            true => (&p.lhs_contract, &p.lhs_batch, &p.rhs_contract, &p.rhs_batch),
            false => (&p.rhs_contract, &p.rhs_batch, &p.lhs_contract, &p.lhs_batch),
        };
        let at = |axes: &Dims| axes.iter().position(|i| *i == 0);
        let (mut other_axis, mut out_axis) = (None, None);
        if let Some(k) = at(contract) {
            other_axis = other_contract.get(k).copied();
        } else if let Some(k) = at(batch) {
            other_axis = other_batch.get(k).copied();
            out_axis = Some(k);
        } else {
            let free = remaining(ndim, contract, batch);
            let before = match left {
                true => batch.len(),
                false => remaining(other.ndim(), other_contract, other_batch).len() + batch.len(),
            };
            out_axis = at(&free).map(|k| k + before);
        }
        Contraction {
            p,
            left,
            other,
            other_axis,
            out_axis,
        }
    }

    /// The product of a group of rows, with those of the other operand that run along, which stand at its front.
    fn product(&self, rows: &Array, other: Option<&Array>) -> Array {
        let other = match (other, self.other_axis) {
            (Some(x), Some(axis)) => crate::trace::op::move_axis(x, 0, axis),
            _ => self.other.clone(),
        };
        let pair = if self.left {
            [rows, &other]
        } else {
            [&other, rows]
        };
        bind(self.p.clone(), &pair)
    }
}

/// The contraction, in groups of rows.
fn streamed(
    j: &Jaxpr,
    eqn: &Eqn,
    target: Var,
    (n, rows): (usize, Rows),
    c: &Contraction<'_>,
    env: &Env<Array>,
) -> Result<Array> {
    let row = bytes(j.aval(target)) / n;
    let group = (GROUP / row.max(1)).clamp(1, n);
    let (steps, rest) = (n / group, n % group);
    let mut whole = FxHashMap::default();
    for v in &rows.whole {
        whole.insert(*v, env.get(*v)?.clone());
    }
    let sliced = rows
        .sliced
        .iter()
        .map(|v| env.get(*v).cloned())
        .collect::<Result<Vec<_>>>()?;
    let other = c
        .other_axis
        .map(|axis| crate::trace::op::move_axis(&c.other, axis, 0));
    let all: Vec<Array> = sliced.into_iter().chain(other).collect();
    let product = |x: &[Array], size: usize| -> Result<Array> {
        let mut known = whole.clone();
        known.extend(rows.sliced.iter().copied().zip(x.iter().cloned()));
        let operand = unpack(j, &rows, target, &known, size)?;
        let along = x.get(rows.sliced.len());
        with_location(eqn.at, || c.product(&operand, along).ok().cloned())
    };
    let groups: Vec<Array> = all
        .iter()
        .map(|x| {
            let x = part(x, 0, steps * group);
            let mut shape = x.shape().to_vec();
            shape.splice(0..1, [steps, group]);
            x.reshape(shape)
        })
        .collect();
    let last: Vec<Array> = all.iter().map(|x| part(x, steps * group, n)).collect();
    let out = eqn.outputs.first().map(|v| j.aval(*v));
    let out = out.ok_or_else(|| Error::internal("a contraction without a result"))?;
    let options = ScanOptions::new().length(steps);
    let Some(axis) = c.out_axis else {
        let start = Array::zeros(&out.shape, out.dtype);
        let step = |sum: &Array, x: &Vec<Array>| Ok((sum + product(x, group)?, ()));
        let (sum, ()) = scan_with(options, step, &start, &groups)?;
        return match rest {
            0 => Ok(sum),
            _ => (sum + product(&last, rest)?).ok().cloned(),
        };
    };
    let step = |(): &(), x: &Vec<Array>| Ok(((), product(x, group)?));
    let ((), parts) = scan_with(options, step, &(), &groups)?;
    let mut shape = out.shape.clone();
    if let Some(size) = shape.get_mut(axis) {
        *size = steps * group;
    }
    let found = crate::trace::op::move_axis(&parts, 0, axis).reshape(shape);
    match rest {
        0 => Ok(found),
        _ => concatenate(&[found, product(&last, rest)?], axis as i32)
            .ok()
            .cloned(),
    }
}

impl Jaxpr {
    /// The program in which contractions with large operands that are unpacked from fewer bits take these in by groups of rows, if
    /// nothing else reads them; in the programs inside, too.
    pub(crate) fn stream(self) -> Result<Jaxpr> {
        let j = self.within(Jaxpr::stream)?;
        let found: FxHashMap<usize, (Var, bool, (usize, Rows))> = {
            let finder = Finder::new(&j);
            // What something else than a contraction reads is there anyway.
            let mut kept: FxHashSet<Var> = j.outs.iter().filter_map(Atom::var).collect();
            for e in &j.eqns {
                if !matches!(e.op, Op::DotGeneral(_)) {
                    kept.extend(e.inputs.iter().filter_map(Atom::var));
                }
            }
            let side = |e: &Eqn, k: usize| {
                let v = e.inputs.get(k)?.var().filter(|v| !kept.contains(v))?;
                Some((v, k == 0, finder.rows(v)?))
            };
            let all = j.eqns.iter().enumerate();
            let products = all.filter(|(_, e)| matches!(e.op, Op::DotGeneral(_)));
            products
                .filter_map(|(i, e)| Some((i, side(e, 0).or_else(|| side(e, 1))?)))
                .collect()
        };
        if found.is_empty() {
            return Ok(j);
        }
        let mut found = found;
        let avals: Vec<Aval> = j.in_avals().cloned().collect();
        trace::stage(&avals, None, &mut |x| {
            let mut env: Env<Array> = Env::new(&j, x.into_iter())?;
            for (v, c) in &j.consts {
                env.set(*v, c.clone());
            }
            for (i, eqn) in j.eqns.iter().enumerate() {
                let x = eqn
                    .inputs
                    .iter()
                    .map(|a| env.atom(a))
                    .collect::<Result<Vec<_>>>()?;
                if let (Op::DotGeneral(p), Some((v, left, rows))) = (&eqn.op, found.remove(&i))
                    && let Some(other) = x.get(usize::from(left))
                {
                    let c = Contraction::new(p, left, j.aval(v).ndim(), other.clone());
                    let y = streamed(&j, eqn, v, rows, &c, &env)?;
                    if let Some(out) = eqn.outputs.first() {
                        env.set(*out, y);
                    }
                    continue;
                }
                let results = bind_at(&eqn.op, &x.iter().collect::<Vec<_>>(), eqn.at)?;
                for (v, y) in eqn.outputs.iter().zip(results) {
                    env.set(*v, y);
                }
            }
            j.outs.iter().map(|a| env.atom(a)).collect()
        })
    }
}
