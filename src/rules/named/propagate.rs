//! What each primitive does with the names of axes.

use super::{Name, apart, check_unique, shown, wrap};
use crate::{
    array::{Array, Dims},
    error::{Error, Result},
    trace::{
        bind_all,
        op::{
            ConvGeneralDilated, DotGeneral, Exchange, Factor, Gather, Linalg, Op, Parts, Reshape,
            TriangularSolve,
        },
    },
};

pub(super) const OTHERS: &[&str] = &[
    "all_gather",
    "all_to_all",
    "bitcast_convert_type",
    "cholesky",
    "cholesky_update",
    "clamp",
    "concatenate",
    "conv_general_dilated",
    "dot_general",
    "dynamic_update_slice",
    "eig",
    "eigh",
    "fft",
    "geqp3",
    "geqrf",
    "hessenberg",
    "householder_product",
    "lu",
    "lu_pivots_to_permutation",
    "optimization_barrier",
    "ormqr",
    "pad",
    "pbroadcast",
    "pmax",
    "pmin",
    "ppermute",
    "psum",
    "qr",
    "random_gamma",
    "reduce",
    "reduce_scatter",
    "reduce_window",
    "reduce_window_max",
    "reduce_window_min",
    "reduce_window_prod",
    "reduce_window_sum",
    "scatter",
    "scatter-add",
    "scatter-max",
    "scatter-min",
    "scatter-mul",
    "scatter-sub",
    "schur",
    "select_and_gather_add",
    "select_and_scatter",
    "select_and_scatter_add",
    "select_n",
    "sort",
    "stack",
    "svd",
    "symmetric_product",
    "threefry2x32",
    "top_k",
    "triangular_solve",
    "tridiagonal",
    "tridiagonal_solve",
];

/// An operand, taken apart.
struct Operand {
    array: Array,
    names: Vec<Name>,
}

impl Operand {
    fn new(x: &Array) -> Operand {
        let (array, names) = apart(x);
        Operand { array, names }
    }

    fn name(&self, axis: usize) -> Name {
        self.names.get(axis).cloned().flatten()
    }

    /// The names of some axes.
    fn at<'a>(&'a self, axes: &'a [usize]) -> impl Iterator<Item = Name> + 'a {
        axes.iter().map(|i| self.name(*i))
    }
}

/// The name of an axis that is two axes.
fn meet(op: &Op, a: &Name, b: &Name) -> Result<Name> {
    match (a, b) {
        (Some(x), Some(y)) if x != y => Err(Error::argument(format!(
            "`{}`: axis {} meets axis {}",
            op.name(),
            shown(a),
            shown(b)
        ))
        .note("`order_as` puts axes in another order, `rename` gives them other names")),
        _ => Ok(a.clone().or(b.clone())),
    }
}

/// The names of axes that are axes of several arrays.
fn meet_all(op: &Op, all: &[&Operand]) -> Result<Vec<Name>> {
    let rank = all.iter().map(|x| x.names.len()).max().unwrap_or(0);
    let mut names: Vec<Name> = vec![None; rank];
    for x in all.iter().filter(|x| x.names.len() == rank) {
        for (name, other) in names.iter_mut().zip(&x.names) {
            *name = meet(op, name, other)?;
        }
    }
    Ok(names)
}

/// The operands of an elementwise primitive with their axes in one order: that of the first that names all of its axes.
fn aligned(op: &Op, x: Vec<Operand>) -> Result<(Vec<Array>, Vec<Name>)> {
    let rank = x.iter().map(|x| x.names.len()).max().unwrap_or(0);
    let full = |x: &&Operand| x.names.len() == rank && x.names.iter().all(Option::is_some);
    let order = x
        .iter()
        .find(full)
        .map(|x| (x.names.clone(), x.array.shape()));
    let turned = |x: Operand| -> Operand {
        let Some((names, shape)) = &order else {
            return x;
        };
        if x.names == *names || !full(&&x) {
            return x;
        }
        let places: Option<Dims> = names
            .iter()
            .map(|name| x.names.iter().position(|n| n == name))
            .collect();
        let fits = |p: &Dims| {
            let sizes = x.array.shape();
            p.iter()
                .zip(shape.iter())
                .all(|(i, n)| sizes.get(*i) == Some(n))
        };
        match places.filter(fits) {
            Some(p) => Operand {
                array: x.array.transpose(p),
                names: names.clone(),
            },
            None => x,
        }
    };
    let x: Vec<Operand> = x.into_iter().map(turned).collect();
    let names = meet_all(op, &x.iter().collect::<Vec<_>>())?;
    Ok((x.into_iter().map(|x| x.array).collect(), names))
}

/// The primitive on these arrays; each result has the names that are left of its list.
fn apply(op: &Op, arrays: &[Array], names: Vec<Vec<Name>>) -> Result<Vec<Array>> {
    for names in &names {
        check_unique(names).map_err(|e| {
            let all = Error::argument(format!("`{}`: {}", op.name(), e.message()));
            e.notes().iter().fold(all, |e, note| e.note(note))
        })?;
    }
    let mut names = names.into_iter();
    bind_all(op.clone(), arrays)?
        .into_iter()
        .map(|y| match names.next() {
            Some(names) => wrap(y, names),
            None => Ok(y),
        })
        .collect()
}

fn without(names: &[Name], axes: &[usize]) -> Vec<Name> {
    let kept = names.iter().enumerate().filter(|(i, _)| !axes.contains(i));
    kept.map(|(_, name)| name.clone()).collect()
}

/// An axis keeps its name if it is one axis before and after; those that are split or merged have none.
fn reshaped(p: &Reshape, x: &Operand) -> Vec<Name> {
    let from = x.array.shape();
    let mut names: Vec<Name> = vec![None; p.new_sizes.len()];
    // Axes before and after pair up where the number of elements in front of them, and their own size, are the same.
    let offsets = |shape: &[usize]| -> Vec<(usize, usize)> {
        let mut before = 1usize;
        let step = |n: &usize| {
            let at = (before, *n);
            before = before.saturating_mul(*n);
            at
        };
        shape.iter().map(step).collect()
    };
    let old = offsets(&from);
    let mut start = 0;
    for (slot, place) in names.iter_mut().zip(offsets(&p.new_sizes)) {
        if place.1 == 1 {
            continue;
        }
        let rest = old.get(start..).unwrap_or_default();
        if let Some(i) = rest.iter().position(|o| *o == place) {
            *slot = x.name(start + i);
            start += i + 1;
        }
    }
    names
}

fn dot(op: &Op, p: &DotGeneral, l: &Operand, r: &Operand) -> Result<Vec<Name>> {
    for (i, j) in p.lhs_contract.iter().zip(&p.rhs_contract) {
        meet(op, &l.name(*i), &r.name(*j))?;
    }
    let batch = p.lhs_batch.iter().zip(&p.rhs_batch);
    let mut names = batch
        .map(|(i, j)| meet(op, &l.name(*i), &r.name(*j)))
        .collect::<Result<Vec<_>>>()?;
    for (x, contract, batch) in [
        (l, &p.lhs_contract, &p.lhs_batch),
        (r, &p.rhs_contract, &p.rhs_batch),
    ] {
        let gone: Dims = contract.iter().chain(batch).copied().collect();
        names.extend(without(&x.names, &gone));
    }
    Ok(names)
}

/// The windows' axes are the operand's, the others those of the indices.
fn gather(op: &Op, p: &Gather, x: &Operand, indices: &Operand) -> Result<Vec<Name>> {
    let d = &p.dimension_numbers;
    let gone: Dims = d
        .collapsed_slice_dims
        .iter()
        .chain(&d.operand_batching_dims)
        .copied()
        .collect();
    let mut windows = without(&x.names, &gone).into_iter();
    let mut places = indices.names.clone();
    places.pop();
    for (i, j) in d
        .operand_batching_dims
        .iter()
        .zip(&d.start_indices_batching_dims)
    {
        if let Some(place) = places.get_mut(*j) {
            *place = meet(op, place, &x.name(*i))?;
        }
    }
    let rank = places.len() + d.offset_dims.len();
    let mut places = places.into_iter();
    Ok((0..rank)
        .map(|i| match d.offset_dims.contains(&i) {
            true => windows.next().flatten(),
            false => places.next().flatten(),
        })
        .collect())
}

fn conv(op: &Op, p: &ConvGeneralDilated, x: &Operand, kernel: &Operand) -> Result<Vec<Name>> {
    let d = &p.dimension_numbers;
    let mut names = vec![None; x.names.len()];
    let of = |spec: &Dims, i: usize| spec.get(i).copied().unwrap_or(usize::MAX);
    if p.feature_group_count == 1 {
        meet(
            op,
            &x.name(of(&d.lhs_spec, 1)),
            &kernel.name(of(&d.rhs_spec, 1)),
        )?;
    }
    for i in 0..names.len() {
        let name = match i {
            0 => x.name(of(&d.lhs_spec, 0)),
            1 => kernel.name(of(&d.rhs_spec, 0)),
            i => x.name(of(&d.lhs_spec, i)),
        };
        if let Some(slot) = names.get_mut(of(&d.out_spec, i)) {
            *slot = name;
        }
    }
    Ok(names)
}

fn solve(op: &Op, p: &TriangularSolve, a: &Operand, b: &Operand) -> Result<Vec<Name>> {
    let n = a.names.len();
    let Some(lead) = n.checked_sub(2) else {
        return Ok(b.names.clone());
    };
    let mut names = Vec::new();
    for i in 0..lead {
        names.push(meet(op, &a.name(i), &b.name(i))?);
    }
    // `op(a)·x = b`, or `x·op(a) = b`.
    let (rows, columns) = match p.transpose_a {
        true => (a.name(n - 1), a.name(n - 2)),
        false => (a.name(n - 2), a.name(n - 1)),
    };
    if p.left_side {
        meet(op, &rows, &b.name(lead))?;
        names.extend([columns, b.name(lead + 1)]);
    } else {
        meet(op, &columns, &b.name(lead + 1))?;
        names.extend([b.name(lead), rows]);
    }
    Ok(names)
}

fn linalg(op: &Op, l: &Linalg, x: &[Operand]) -> Result<Vec<Vec<Name>>> {
    let Some(a) = x.first() else {
        return Ok(vec![]);
    };
    let lead = a.names.len().saturating_sub(2);
    let with =
        |last: &[Name]| -> Vec<Name> { a.names.iter().take(lead).chain(last).cloned().collect() };
    let (rows, columns) = (a.name(lead), a.name(lead + 1));
    Ok(match (l, x) {
        (Linalg::TriangularSolve(p), [a, b]) => vec![solve(op, p, a, b)?],
        (Linalg::TriangularSolve(_), _) => vec![],
        (Linalg::Cholesky, _) => vec![with(&[rows, None])],
        // Two triangles in one matrix: neither of its axes is an axis of both.
        (Linalg::Lu, _) => vec![with(&[None, None]), with(&[None]), with(&[None])],
        (Linalg::Qr { pivoting: true, .. }, _) => {
            vec![with(&[rows, None]), with(&[None, None]), with(&[None])]
        }
        (Linalg::Qr { .. }, _) => vec![with(&[rows, None]), with(&[None, columns])],
        (Linalg::Eigh { .. }, _) => vec![with(&[rows, None]), with(&[None])],
        (Linalg::Svd { .. }, _) => {
            vec![with(&[None]), with(&[rows, None]), with(&[None, columns])]
        }
    })
}

/// Which of the results' axes are axes of the operand: its rows, its columns, or neither.
fn factor(op: &Op, p: &Factor, x: &[Operand]) -> Result<Vec<Vec<Name>>> {
    let Some(a) = x.first() else {
        return Ok(vec![]);
    };
    let lead = a.names.len().saturating_sub(2);
    let with =
        |last: &[Name]| -> Vec<Name> { a.names.iter().take(lead).chain(last).cloned().collect() };
    let (rows, columns) = (a.name(lead), a.name(lead + 1));
    let none = || with(&[None]);
    Ok(match (p, x) {
        (Factor::Eig { left, right }, _) => {
            let mut all = vec![none()];
            let sides = usize::from(*left) + usize::from(*right);
            all.extend(std::iter::repeat_n(with(&[rows, None]), sides));
            all
        }
        (Factor::Schur { .. }, _) => vec![with(&[None, None]), with(&[rows, None])],
        // A product with the reflections on both sides, or packed with them: its axes are no longer those of the matrix.
        (Factor::Hessenberg | Factor::Tridiagonal { .. }, _) => {
            vec![with(&[None, None]), none(), none(), none()]
        }
        (Factor::Geqrf, _) => vec![with(&[None, columns]), none()],
        (Factor::Geqp3, _) => vec![with(&[None, None]), none(), none()],
        (Factor::Ormqr { left, .. }, [_, _, c, ..]) => vec![match left {
            true => with(&[rows, c.name(lead + 1)]),
            false => with(&[c.name(lead), None]),
        }],
        (Factor::HouseholderProduct, _) => vec![with(&[rows, None])],
        (Factor::CholeskyUpdate, [_, w, ..]) => {
            vec![with(&[None, meet(op, &columns, &w.name(lead))?])]
        }
        (Factor::SymmetricProduct { .. }, [_, c, ..]) => {
            let row = meet(op, &rows, &c.name(lead))?;
            let other = c.name(lead + 1);
            vec![with(&[row.filter(|r| other.as_ref() != Some(r)), other])]
        }
        (Factor::TridiagonalSolve, [lower, main, upper, b]) => {
            for x in [lower, main, upper] {
                for (i, name) in x.names.iter().enumerate() {
                    meet(op, name, &b.name(i))?;
                }
            }
            vec![b.names.clone()]
        }
        _ => vec![],
    })
}

/// Of an exchange between examples.
fn exchanged(p: &Exchange, x: &Operand) -> Vec<Name> {
    let mut names = x.names.clone();
    match p.parts {
        Parts::AllGather {
            dimension,
            tiled: false,
        } => names.insert(dimension.min(names.len()), None),
        Parts::ReduceScatter {
            dimension,
            tiled: false,
        } => return without(&names, &[dimension]),
        Parts::AllToAll {
            split_axis,
            concat_axis,
            tiled: false,
        } => {
            names = without(&names, &[split_axis]);
            names.insert(concat_axis.min(names.len()), None);
        }
        _ => {}
    }
    names
}

pub(super) fn rule(op: &Op, operands: &[&Array]) -> Result<Vec<Array>> {
    let x: Vec<Operand> = operands.iter().map(|x| Operand::new(x)).collect();
    let arrays: Vec<Array> = x.iter().map(|x| x.array.clone()).collect();
    let missing = || Error::internal(format!("`{}` lacks an operand", op.name()));
    let first = x.first().ok_or_else(missing)?;
    let second = || x.get(1).ok_or_else(missing);
    let names = match op {
        Op::Binary(_) | Op::SelectN(_) | Op::Clamp(_) | Op::Special(_) => {
            let (arrays, names) = aligned(op, x)?;
            return apply(op, &arrays, vec![names]);
        }
        Op::Transpose(p) => first.at(&p.permutation).collect(),
        Op::BroadcastInDim(p) => {
            let mut names = vec![None; p.shape.len()];
            for (i, d) in p.broadcast_dimensions.iter().enumerate() {
                if let Some(slot) = names.get_mut(*d) {
                    *slot = first.name(i);
                }
            }
            names
        }
        Op::Reshape(p) => reshaped(p, first),
        Op::Squeeze(p) => without(&first.names, &p.dimensions),
        Op::Reduce(p) => without(&first.names, &p.axes),
        Op::Gather(p) => gather(op, p, first, second()?)?,
        Op::DotGeneral(p) => dot(op, p, first, second()?)?,
        Op::ConvGeneralDilated(p) => conv(op, p, first, second()?)?,
        Op::Linalg(l) => {
            let names = linalg(op, l, &x)?;
            return apply(op, &arrays, names);
        }
        Op::Factor(p) => {
            let names = factor(op, p, &x)?;
            return apply(op, &arrays, names);
        }
        Op::Exchange(p) => exchanged(p, first),
        Op::BitcastConvertType(p) => {
            let (from, to) = (first.array.dtype()?.size(), p.new_dtype.size());
            let mut names = first.names.clone();
            match from.cmp(&to) {
                std::cmp::Ordering::Less => drop(names.pop()),
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Greater => names.push(None),
            }
            names
        }
        Op::ReduceBy(p) => {
            let (parts, _) = x.split_at(x.len() / 2);
            let names = meet_all(op, &parts.iter().collect::<Vec<_>>())?;
            let names = without(&names, &p.dimensions);
            return apply(op, &arrays, vec![names; parts.len()]);
        }
        Op::ReduceWindowBy(_) => {
            let (parts, _) = x.split_at(x.len() / 2);
            let names = meet_all(op, &parts.iter().collect::<Vec<_>>())?;
            return apply(op, &arrays, vec![names; parts.len()]);
        }
        Op::Threefry2x32(_) => {
            let counters = x.get(2..).unwrap_or_default();
            let names = meet_all(op, &counters.iter().collect::<Vec<_>>())?;
            return apply(op, &arrays, vec![names; 2]);
        }
        // The key comes first, with an axis of words.
        Op::RandomGamma(_) => second()?.names.clone(),
        Op::SplitAlong(p) => {
            return apply(op, &arrays, vec![first.names.clone(); p.sizes.len()]);
        }
        Op::Unstack(p) => {
            let parts = first.array.shape().get(p.axis).copied().unwrap_or(0);
            return apply(op, &arrays, vec![without(&first.names, &[p.axis]); parts]);
        }
        Op::Stack(p) => {
            let mut names = meet_all(op, &x.iter().collect::<Vec<_>>())?;
            names.insert(p.axis.min(names.len()), None);
            names
        }
        Op::OptimizationBarrier(_) => {
            return apply(op, &arrays, x.into_iter().map(|x| x.names).collect());
        }
        Op::Concatenate(_) | Op::SortBy(_) | Op::Sort(_) | Op::SelectAndGatherAdd(_) => {
            let names = meet_all(op, &x.iter().collect::<Vec<_>>())?;
            let results = if matches!(op, Op::Sort(_) | Op::SortBy(_)) {
                x.len()
            } else {
                1
            };
            return apply(op, &arrays, vec![names; results]);
        }
        Op::DynamicUpdateSlice(_) => meet_all(op, &[first, second()?])?,
        Op::TopK(_) => return apply(op, &arrays, vec![first.names.clone(); 2]),
        // The result of the last is as its source is: the first operand says nothing of that.
        Op::SelectAndScatterAdd(_) => second()?.names.clone(),
        Op::Scatter(p) => {
            let d = &p.dimension_numbers;
            let updates = x.get(2).ok_or_else(missing)?;
            let gone: Dims = d
                .inserted_window_dims
                .iter()
                .chain(&d.operand_batching_dims)
                .copied()
                .collect();
            let windows = without(&first.names, &gone);
            for (name, i) in windows.iter().zip(&d.update_window_dims) {
                meet(op, name, &updates.name(*i))?;
            }
            first.names.clone()
        }
        _ => first.names.clone(),
    };
    apply(op, &arrays, vec![names])
}
