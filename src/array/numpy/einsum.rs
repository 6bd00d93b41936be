//! Products over named axes.

use crate::{
    array::{Array, Dims, IntoAxes, attempt},
    error::{Error, Result},
    trace::op::DotGeneral,
};
use std::borrow::Borrow;

/// The sum of products over named axes, `jnp.einsum`: letters for axes, commas between operands, `->` before the result's axes
/// (without it: those that stand once, in alphabetical order). `...` stands for further axes, which broadcast.
///
/// Operands are contracted pairwise, the pair with the smallest result first.
///
/// ```
/// use quaxide::prelude::*;
/// let (a, b) = (Array::ones([2, 3], DType::F32), Array::ones([3, 4], DType::F32));
/// assert_eq!(numpy::einsum("ij,jk->ki", &[&a, &b]).shape(), [4, 2]);
/// ```
#[track_caller]
pub fn einsum<A: Borrow<Array>>(subscripts: &str, operands: &[A]) -> Array {
    attempt(|| match subscripts.contains("...") {
        false => try_einsum(subscripts, operands),
        true => {
            let (subscripts, operands) = without_ellipsis(subscripts, operands)?;
            try_einsum(&subscripts, &operands)
        }
    })
}

/// A letter for each axis that `...` stands for, counted from the last one. Axes of size 1 that broadcast are dropped.
fn without_ellipsis<A: Borrow<Array>>(
    subscripts: &str,
    operands: &[A],
) -> Result<(String, Vec<Array>)> {
    let text: String = subscripts.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = match text.split_once("->") {
        Some((i, o)) => (i, Some(o)),
        None => (&text[..], None),
    };
    let named: Vec<&str> = inputs.split(',').collect();
    let bad = |why: &str| Error::argument(format!("einsum {subscripts:?}: {why}"));
    if named.len() != operands.len() {
        return Err(bad("there are not as many operands as are named"));
    }
    let free: Vec<char> = ('α'..='ω')
        .chain('а'..='я')
        .filter(|c| !text.contains(*c))
        .collect();
    // The sizes behind each operand's dots, from the last one.
    let mut sizes: Vec<Vec<usize>> = vec![];
    for (x, names) in operands.iter().zip(&named) {
        let a = x.borrow().aval()?;
        let parts: Vec<&str> = names.split("...").collect();
        let letters: usize = parts.iter().map(|p| p.chars().count()).sum();
        let (before, n) = match (&parts[..], a.ndim().checked_sub(letters)) {
            ([_], _) => (0, 0),
            ([first, _], Some(n)) => (first.chars().count(), n),
            _ => return Err(bad("the dots of an operand do not fit its axes")),
        };
        let own = a.shape.iter().skip(before).take(n).rev().copied();
        sizes.push(own.collect());
    }
    let most = sizes.iter().map(Vec::len).max().unwrap_or(0);
    if most > free.len() {
        return Err(bad("`...` stands for too many axes"));
    }
    let wide = |i: usize| sizes.iter().filter_map(|s| s.get(i)).any(|n| *n != 1);
    let all = |keep: &dyn Fn(usize) -> bool, n: usize| -> String {
        (0..n)
            .rev()
            .filter(|i| keep(*i))
            .filter_map(|i| free.get(i))
            .collect()
    };
    let mut names = vec![];
    let mut arrays = vec![];
    for ((x, text), own) in operands.iter().zip(&named).zip(&sizes) {
        let keep = |i: usize| own.get(i) != Some(&1) || !wide(i);
        let letters = all(&keep, own.len());
        names.push(text.replacen("...", &letters, 1));
        let before = text.split("...").next().map_or(0, |p| p.chars().count());
        let gone: Vec<usize> = (0..own.len())
            .filter(|i| !keep(*i))
            .map(|i| before + own.len() - 1 - i)
            .collect();
        arrays.push(if gone.is_empty() {
            x.borrow().clone()
        } else {
            x.borrow().squeeze(gone)
        });
    }
    let letters = all(&|_| true, most);
    let output = match output {
        Some(o) => o.replacen("...", &letters, 1),
        None => {
            let mut once: Vec<char> = inputs.chars().filter(|c| c.is_alphabetic()).collect();
            let counted = once.clone();
            once.retain(|c| counted.iter().filter(|d| *d == c).count() == 1);
            once.sort_unstable();
            letters.chars().chain(once).collect()
        }
    };
    Ok((format!("{}->{output}", names.join(",")), arrays))
}

/// An array and the name of each of its axes.
type Named = (Array, Vec<char>);

fn try_einsum<A: Borrow<Array>>(subscripts: &str, operands: &[A]) -> Result<Array> {
    let text: String = subscripts.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = match text.split_once("->") {
        Some((i, o)) => (i.to_string(), o.chars().collect::<Vec<_>>()),
        None => {
            let mut once: Vec<char> = text.chars().filter(|c| *c != ',').collect();
            let all = once.clone();
            once.retain(|c| all.iter().filter(|d| *d == c).count() == 1);
            once.sort_unstable();
            (text.clone(), once)
        }
    };
    let names: Vec<Vec<char>> = inputs.split(',').map(|s| s.chars().collect()).collect();
    let bad = |why: String| Err(Error::argument(format!("einsum {subscripts:?}: {why}")));
    if names.len() != operands.len() {
        return bad(format!(
            "{} operands are named, {} were given",
            names.len(),
            operands.len()
        ));
    }
    if let Some(c) = names
        .iter()
        .flatten()
        .chain(&output)
        .find(|c| !c.is_alphabetic())
    {
        return bad(format!("axes are named by letters, not {c:?}"));
    }
    if let Some(c) = output
        .iter()
        .find(|c| !names.iter().flatten().any(|d| d == *c))
    {
        return bad(format!("axis {c:?} of the result is in no operand"));
    }
    let mut sizes: Vec<(char, usize)> = vec![];
    let mut work: Vec<Named> = vec![];
    for (x, names) in operands.iter().zip(names) {
        let x = x.borrow();
        let a = x.aval()?;
        if a.ndim() != names.len() {
            return bad(format!("{} axes are named for {a}", names.len()));
        }
        for (c, n) in names.iter().zip(&a.shape) {
            match sizes.iter().find(|(d, _)| d == c) {
                Some((_, m)) if m != n => return bad(format!("axis {c:?} has sizes {m} and {n}")),
                Some(_) => {}
                None => sizes.push((*c, *n)),
            }
        }
        work.push(diagonal((x.clone(), names))?);
    }
    let size = |names: &[char]| -> f64 {
        names
            .iter()
            .filter_map(|c| sizes.iter().find(|(d, _)| d == c))
            .map(|(_, n)| *n as f64)
            .product()
    };
    while work.len() > 1 {
        let kept = |i: usize, j: usize, work: &[Named]| -> Vec<char> {
            let elsewhere = |c: &char| {
                output.contains(c)
                    || work
                        .iter()
                        .enumerate()
                        .any(|(k, w)| k != i && k != j && w.1.contains(c))
            };
            let mut all: Vec<char> = vec![];
            for k in [i, j] {
                if let Some((_, names)) = work.get(k) {
                    all.extend(
                        names
                            .iter()
                            .filter(|c| elsewhere(c) && !all.contains(c))
                            .copied()
                            .collect::<Vec<_>>(),
                    );
                }
            }
            all
        };
        let mut best: Option<(f64, usize, usize)> = None;
        for i in 0..work.len() {
            for j in i + 1..work.len() {
                let cost = size(&kept(i, j, &work));
                if best.is_none_or(|(c, _, _)| cost < c) {
                    best = Some((cost, i, j));
                }
            }
        }
        let Some((_, i, j)) = best else { break };
        let keep = kept(i, j, &work);
        let (right, left) = (work.remove(j), work.remove(i));
        work.insert(i, contract(left, right, &keep)?);
    }
    let Some(last) = work.pop() else {
        return bad("there is no operand".into());
    };
    let (x, names) = sum_away(last, &output);
    let order: Dims = output
        .iter()
        .filter_map(|c| names.iter().position(|d| d == c))
        .collect();
    Ok(x.transpose(order))
}

/// An operand that names an axis twice, with only its diagonal.
fn diagonal((mut x, mut names): Named) -> Result<Named> {
    while let Some((i, j)) = (0..names.len())
        .flat_map(|i| (i + 1..names.len()).map(move |j| (i, j)))
        .find(|(i, j)| names.get(*i) == names.get(*j))
    {
        let shape = x.shape();
        let n = shape.get(i).copied().unwrap_or(0);
        let mask = Array::eye(n, crate::array::DType::Bool).broadcast_in_dim(&shape, [i, j]);
        x = mask.select(&x, Array::zeros_like(&x)).sum(j);
        names.remove(j);
    }
    Ok((x, names))
}

/// Axes that nobody needs any more are summed.
fn sum_away((x, names): Named, keep: &[char]) -> Named {
    let gone: Vec<usize> = (0..names.len())
        .filter(|i| names.get(*i).is_some_and(|c| !keep.contains(c)))
        .collect();
    if gone.is_empty() {
        return (x, names);
    }
    let names = names.into_iter().filter(|c| keep.contains(c)).collect();
    (x.sum(gone), names)
}

fn contract(left: Named, right: Named, keep: &[char]) -> Result<Named> {
    let needed = |own: &[char], other: &[char]| -> Vec<char> {
        own.iter()
            .filter(|c| keep.contains(c) || other.contains(c))
            .copied()
            .collect()
    };
    let (ln, rn) = (needed(&left.1, &right.1), needed(&right.1, &left.1));
    let ((x, xn), (y, yn)) = (sum_away(left, &ln), sum_away(right, &rn));
    let at = |names: &[char], c: &char| names.iter().position(|d| d == c).unwrap_or(0);
    let shared: Vec<char> = xn.iter().filter(|c| yn.contains(c)).copied().collect();
    let (batch, summed): (Vec<char>, Vec<char>) = shared.iter().partition(|c| keep.contains(c));
    let places =
        |names: &[char], which: &[char]| which.iter().map(|c| at(names, c)).collect::<Dims>();
    let dims = DotGeneral::new(
        (places(&xn, &summed), places(&yn, &summed)),
        (places(&xn, &batch), places(&yn, &batch)),
    );
    let own = |names: &[char]| {
        names
            .iter()
            .filter(|c| !shared.contains(c))
            .copied()
            .collect::<Vec<_>>()
    };
    let names = batch
        .iter()
        .copied()
        .chain(own(&xn))
        .chain(own(&yn))
        .collect();
    Ok((x.product(&y, dims).ok()?.clone(), names))
}

/// The norm of an array's elements over axes: the root of the sum of squares.
#[track_caller]
pub fn norm(x: &Array, axes: impl IntoAxes) -> Array {
    x.abs().square().sum(axes).sqrt()
}
