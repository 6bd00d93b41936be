//! Scatters and sorts by any program. The program runs for many elements at once.

use super::{index::Windows, run};
use crate::{
    array::{
        Aval, Buffer, Dims, Stored,
        buffer::{row_major, try_vec},
        dtype::with_dtype,
    },
    error::{Error, Result},
    interp::Buffers,
    trace::{
        Jaxpr,
        op::{GatherDimensionNumbers, ScatterBy, SortBy, defined::elementwise_program},
    },
};
use std::sync::Arc;

/// The elements of an array at these places, as a vector.
fn taken(x: &Buffer, places: &[usize]) -> Result<Arc<Buffer>> {
    let aval = Aval::new([places.len()].as_slice(), x.dtype());
    let data = with_dtype!(x.dtype(), T => {
        let x = x.contiguous()?;
        let elements = x.as_slice::<T>().unwrap_or_default();
        let mut y: Vec<T> = try_vec(places.len())?;
        y.extend(places.iter().map(|i| elements.get(*i).copied().unwrap_or_default()));
        T::data(y)
    });
    Ok(Arc::new(Buffer::from_data(aval, data)?))
}

/// Arrays with the elements at these places replaced.
fn replaced(x: &Buffer, places: &[usize], by: &Buffer) -> Result<Buffer> {
    let data = with_dtype!(x.dtype(), T => {
        let mut y = x.to_vec::<T>()?;
        for (i, v) in places.iter().zip(by.to_vec::<T>()?) {
            if let Some(slot) = y.get_mut(*i) {
                *slot = v;
            }
        }
        T::data(y)
    });
    Buffer::from_data((**x.aval()).clone(), data)
}

/// Updates in rounds: in each, no two of one element. An element's updates keep their order.
pub(super) fn scatter(p: &ScatterBy, x: &[Arc<Buffer>], results: &[Aval]) -> Result<Buffers> {
    let (arrays, indices, updates) = p.parts(x)?;
    let (Some(first), Some(u)) = (arrays.first(), updates.first()) else {
        return Err(Error::internal("a scatter of nothing"));
    };
    let numbers = GatherDimensionNumbers::from(&p.dimension_numbers);
    let sizes: Dims = numbers.window_sizes(first.shape().len(), u.shape());
    let windows = Windows::new(
        &numbers,
        &sizes,
        (first.shape(), &row_major(first.shape())),
        (u.shape(), &row_major(u.shape())),
        indices,
        p.mode,
        true,
    )?;
    let mut seen = vec![0u32; first.len()];
    let mut rounds: Vec<(Vec<usize>, Vec<usize>)> = vec![];
    windows.each(|to, from| {
        let Some(count) = seen.get_mut(to) else {
            return;
        };
        let round = *count as usize;
        *count += 1;
        if rounds.len() <= round {
            rounds.push((vec![], vec![]));
        }
        if let Some((places, sources)) = rounds.get_mut(round) {
            places.push(to);
            sources.push(from);
        }
    });
    let mut arrays: Vec<Buffer> = arrays.iter().map(|x| (**x).clone()).collect();
    for (places, sources) in rounds {
        let program = elementwise_program(&p.update_jaxpr, places.len())?;
        let mut args = vec![];
        for x in &arrays {
            args.push(taken(x, &places)?);
        }
        for u in updates {
            args.push(taken(u, &sources)?);
        }
        let new = run(&program, args)?;
        for (x, new) in arrays.iter_mut().zip(new) {
            *x = replaced(x, &places, &new)?;
        }
    }
    let typed = arrays.iter().zip(results);
    Ok(typed.map(|(x, a)| x.with_weak_type(a.weak_type)).collect())
}

/// The places of the elements of each lane along an axis, lane after lane.
fn lanes(shape: &[usize], axis: usize) -> Vec<usize> {
    let n = shape.get(axis).copied().unwrap_or(1);
    let inner: usize = shape.get(axis + 1..).unwrap_or_default().iter().product();
    let outer: usize = shape.iter().take(axis).product();
    let mut all = Vec::with_capacity(outer * inner * n);
    for o in 0..outer {
        for i in 0..inner {
            all.extend((0..n).map(|k| (o * n + k) * inner + i));
        }
    }
    all
}

/// Two runs of places that are being merged.
#[derive(Clone, Copy)]
struct Merge {
    left: usize,
    left_end: usize,
    right: usize,
    right_end: usize,
}

/// Merge sort from the bottom up. All merges of a level go on together, one comparison of each at a time.
pub(super) fn sort(p: &SortBy, x: &[Arc<Buffer>], results: &[Aval]) -> Result<Buffers> {
    let Some(first) = x.first() else {
        return Err(Error::internal("a sort of nothing"));
    };
    let n = first.shape().get(p.dimension).copied().unwrap_or(0);
    let places = lanes(first.shape(), p.dimension);
    let mut order = places.clone();
    let mut width = 1;
    while width < n {
        let mut merges = vec![];
        for lane in 0..order.len() / n {
            let end = (lane + 1) * n;
            for left in (lane * n..end).step_by(2 * width) {
                let right = (left + width).min(end);
                merges.push(Merge {
                    left,
                    left_end: right,
                    right,
                    right_end: (left + 2 * width).min(end),
                });
            }
        }
        order = level(
            &elementwise_program(&p.comparator, merges.len())?,
            x,
            &order,
            merges,
        )?;
        width *= 2;
    }
    let mut sorted = Buffers::new();
    for (x, a) in x.iter().zip(results) {
        let y = replaced(x, &places, &*taken(x, &order)?)?;
        sorted.push(y.with_weak_type(a.weak_type));
    }
    Ok(sorted)
}

fn level(
    comparator: &Jaxpr,
    x: &[Arc<Buffer>],
    order: &[usize],
    mut merges: Vec<Merge>,
) -> Result<Vec<usize>> {
    let mut next = order.to_vec();
    let mut at: Vec<usize> = merges.iter().map(|m| m.left).collect();
    let place = |i: usize| order.get(i).copied().unwrap_or(0);
    while merges
        .iter()
        .any(|m| m.left < m.left_end && m.right < m.right_end)
    {
        // A merge with an empty side compares what it does not look at.
        let lefts: Vec<usize> = merges.iter().map(|m| place(m.left)).collect();
        let rights: Vec<usize> = merges.iter().map(|m| place(m.right)).collect();
        let mut args = vec![];
        for x in x {
            args.extend([taken(x, &rights)?, taken(x, &lefts)?]);
        }
        let earlier = run(comparator, args)?;
        let earlier: Vec<bool> = match earlier.first() {
            Some(b) => b.to_vec()?,
            None => return Err(Error::internal("an order gives no bool")),
        };
        for ((m, at), earlier) in merges.iter_mut().zip(&mut at).zip(earlier) {
            if m.left >= m.left_end || m.right >= m.right_end {
                continue;
            }
            let from = if earlier { &mut m.right } else { &mut m.left };
            if let Some(slot) = next.get_mut(*at) {
                *slot = place(*from);
            }
            *from += 1;
            *at += 1;
        }
    }
    for (m, at) in merges.iter().zip(at) {
        let rest = (m.left..m.left_end).chain(m.right..m.right_end);
        for (slot, i) in next.iter_mut().skip(at).zip(rest) {
            *slot = place(i);
        }
    }
    Ok(next)
}
