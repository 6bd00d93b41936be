//! More linear algebra, in double precision complex arithmetic, one matrix after the other.

use super::{
    Buffers,
    linalg::{C, Matrix, ONE, ZERO, buffer, matrices},
};
use crate::{
    array::{Aval, Buffer, Stored},
    error::{Error, Result},
    trace::op::Factor,
};
use std::sync::Arc;

/// The reflection that brings a vector to a multiple of its first element: that multiple, `τ`, and the vector with 1 in front.
/// (LAPACK's `larfg`.)
fn reflection(x: &[C]) -> (C, C, Vec<C>) {
    let Some((alpha, tail)) = x.split_first() else {
        return (ZERO, ZERO, vec![]);
    };
    let rest: f64 = tail.iter().map(C::norm_sqr).sum();
    let mut v = vec![ONE];
    if rest == 0.0 && alpha.im == 0.0 {
        v.extend(tail.iter().map(|_| ZERO));
        return (*alpha, ZERO, v);
    }
    let norm = (alpha.norm_sqr() + rest).sqrt();
    let beta = if alpha.re >= 0.0 { -norm } else { norm };
    let tau = C::new((beta - alpha.re) / beta, -alpha.im / beta);
    let scale = ONE / (alpha - beta);
    v.extend(tail.iter().map(|x| x * scale));
    (C::new(beta, 0.0), tau, v)
}

/// Rows from one on, and columns in a range, multiplied from the left with `1 − τ·v·vᴴ`.
fn reflect_rows(m: &mut Matrix, from: usize, columns: std::ops::Range<usize>, tau: C, v: &[C]) {
    for c in columns {
        let each = v.iter().enumerate();
        let dot: C = each.map(|(i, v)| v.conj() * m.get(from + i, c)).sum();
        for (i, v) in v.iter().enumerate() {
            let x = m.get(from + i, c) - tau * v * dot;
            m.set(from + i, c, x);
        }
    }
}

/// Columns from one on, and rows in a range, multiplied from the right with `1 − τ·v·vᴴ`.
fn reflect_columns(m: &mut Matrix, from: usize, rows: std::ops::Range<usize>, tau: C, v: &[C]) {
    for r in rows {
        let each = v.iter().enumerate();
        let dot: C = each.map(|(i, v)| m.get(r, from + i) * v).sum();
        for (i, v) in v.iter().enumerate() {
            let x = m.get(r, from + i) - tau * dot * v.conj();
            m.set(r, from + i, x);
        }
    }
}

/// Reflect a column to its diagonal, with those after it: the reflection takes the place below, and its `τ` is given.
fn reflected(m: &mut Matrix, j: usize) -> C {
    let column: Vec<C> = (j..m.rows).map(|i| m.get(i, j)).collect();
    let (beta, tau, v) = reflection(&column);
    reflect_rows(m, j, j + 1..m.columns, tau.conj(), &v);
    m.set(j, j, beta);
    for (i, v) in v.iter().enumerate().skip(1) {
        m.set(j + i, j, *v);
    }
    tau
}

/// `r` with the reflections below it, and their `τ`.
fn geqrf(a: &Matrix) -> (Matrix, Vec<C>) {
    let (mut m, mut taus) = (a.clone(), vec![]);
    for j in 0..a.rows.min(a.columns) {
        taus.push(reflected(&mut m, j));
    }
    (m, taus)
}

/// As [`geqrf`] of the columns in an order, counted from one: those first that are to be (not 0), then always the one of which most is
/// left. (LAPACK's `geqp3`.)
fn geqp3(a: &Matrix, first: &[C]) -> (Matrix, Vec<usize>, Vec<C>) {
    let (mut m, mut taus) = (a.clone(), vec![]);
    let is_first = |j: &usize| first.get(*j).is_some_and(|f| f.re != 0.0);
    let mut order: Vec<usize> = (0..a.columns).filter(is_first).collect();
    let fixed = order.len();
    order.extend((0..a.columns).filter(|j| !is_first(j)));
    for (j, from) in order.iter().enumerate() {
        (0..a.rows).for_each(|i| m.set(i, j, a.get(i, *from)));
    }
    for j in 0..a.rows.min(a.columns) {
        if j >= fixed {
            let left = |c: usize| -> f64 { (j..a.rows).map(|i| m.get(i, c).norm_sqr()).sum() };
            let mut best = (j, left(j));
            for c in j + 1..a.columns {
                let norm = left(c);
                if norm > best.1 {
                    best = (c, norm);
                }
            }
            order.swap(j, best.0);
            for i in 0..a.rows {
                let (x, y) = (m.get(i, j), m.get(i, best.0));
                m.set(i, j, y);
                m.set(i, best.0, x);
            }
        }
        taus.push(reflected(&mut m, j));
    }
    (m, order, taus)
}

/// The order of columns in which each is the one with the most left that those before it do not span.
pub(super) fn pivots_of_columns(a: &Matrix) -> Vec<usize> {
    geqp3(a, &[]).1
}

/// The first columns of the product of the reflections that stand below the diagonal.
fn householder_product(a: &Matrix, taus: &[C]) -> Matrix {
    let mut q = Matrix::zeros(a.rows, a.columns);
    (0..a.columns).for_each(|i| q.set(i, i, ONE));
    for (j, tau) in taus.iter().enumerate().rev() {
        let tail = (j + 1..a.rows).map(|i| a.get(i, j));
        let v: Vec<C> = std::iter::once(ONE).chain(tail).collect();
        reflect_rows(&mut q, j, 0..a.columns, *tau, &v);
    }
    q
}

/// The Hessenberg form with the reflections below it, their `τ`, and their product.
fn hessenberg(a: &Matrix) -> (Matrix, Vec<C>, Matrix) {
    let n = a.rows;
    let (mut m, mut taus, mut q) = (a.clone(), vec![], Matrix::identity(n));
    for j in 0..n.saturating_sub(1) {
        let column: Vec<C> = (j + 1..n).map(|i| m.get(i, j)).collect();
        let (beta, tau, v) = reflection(&column);
        reflect_columns(&mut m, j + 1, 0..n, tau, &v);
        reflect_rows(&mut m, j + 1, j + 1..n, tau.conj(), &v);
        reflect_columns(&mut q, j + 1, 0..n, tau, &v);
        m.set(j + 1, j, beta);
        for (i, v) in v.iter().enumerate().skip(1) {
            m.set(j + 1 + i, j, *v);
        }
        taus.push(tau);
    }
    (m, taus, q)
}

/// A Hermitian matrix of which one triangle is read.
fn hermitian(a: &Matrix, lower: bool) -> Matrix {
    let mut m = a.clone();
    for i in 0..a.rows {
        m.set(i, i, C::new(a.get(i, i).re, 0.0));
        for j in 0..i {
            let x = if lower {
                a.get(i, j)
            } else {
                a.get(j, i).conj()
            };
            m.set(i, j, x);
            m.set(j, i, x.conj());
        }
    }
    m
}

/// The matrix with the reflections, the diagonal, its neighbour, the `τ`.
fn tridiagonal(a: &Matrix, lower: bool) -> (Matrix, Vec<C>, Vec<C>, Vec<C>) {
    let n = a.rows;
    let mut m = hermitian(a, lower);
    let mut packed = a.clone();
    let mut beside = vec![ZERO; n.saturating_sub(1)];
    let mut taus = beside.clone();
    let mut note = |i: usize, beta: C, tau: C| {
        if let (Some(e), Some(t)) = (beside.get_mut(i), taus.get_mut(i)) {
            (*e, *t) = (beta, tau);
        }
    };
    if lower {
        for j in 0..n.saturating_sub(1) {
            let column: Vec<C> = (j + 1..n).map(|i| m.get(i, j)).collect();
            let (beta, tau, v) = reflection(&column);
            reflect_rows(&mut m, j + 1, j + 1..n, tau.conj(), &v);
            reflect_columns(&mut m, j + 1, j + 1..n, tau, &v);
            note(j, beta, tau);
            packed.set(j + 1, j, beta);
            for (i, v) in v.iter().enumerate().skip(1) {
                packed.set(j + 1 + i, j, *v);
            }
        }
    } else {
        for j in (0..n.saturating_sub(1)).rev() {
            // The element above the diagonal comes first, those above it after.
            let column: Vec<C> = (0..=j).rev().map(|i| m.get(i, j + 1)).collect();
            let (beta, tau, mut v) = reflection(&column);
            v.reverse();
            reflect_rows(&mut m, 0, 0..j + 1, tau.conj(), &v);
            reflect_columns(&mut m, 0, 0..j + 1, tau, &v);
            note(j, beta, tau);
            packed.set(j, j + 1, beta);
            for (i, v) in v.iter().enumerate().take(j) {
                packed.set(i, j + 1, *v);
            }
        }
    }
    let diagonal: Vec<C> = (0..n).map(|i| C::new(m.get(i, i).re, 0.0)).collect();
    for (i, d) in diagonal.iter().enumerate() {
        packed.set(i, i, *d);
    }
    (packed, diagonal, beside, taus)
}

/// How often a block is iterated before giving up; a few steps for each eigenvalue are usual.
const STEPS: usize = 300;

/// The triangular form `t` and the unitary `z` with `a = z·t·zᴴ`: QR steps with Wilkinson's shifts on the Hessenberg form.
fn schur(a: &Matrix) -> (Matrix, Matrix) {
    let n = a.rows;
    let (mut h, _, mut z) = hessenberg(a);
    for j in 0..n {
        for i in j + 2..n {
            h.set(i, j, ZERO);
        }
    }
    let mut end = n;
    let mut steps = 0;
    while end > 1 {
        let last = end - 1;
        let small = |h: &Matrix, i: usize| {
            let beside = h.get(i, i).norm() + h.get(i - 1, i - 1).norm();
            h.get(i, i - 1).norm() <= f64::EPSILON * beside.max(f64::MIN_POSITIVE)
        };
        let start = (1..end).rev().find(|i| small(&h, *i)).unwrap_or(0);
        if start > 0 {
            h.set(start, start - 1, ZERO);
        }
        steps += 1;
        if start == last || steps > STEPS {
            if last > 0 {
                h.set(last, last - 1, ZERO);
            }
            (end, steps) = (last, 0);
            continue;
        }
        let (p, q, r, s) = (
            h.get(last - 1, last - 1),
            h.get(last - 1, last),
            h.get(last, last - 1),
            h.get(last, last),
        );
        let half = (p + s) * 0.5;
        let root = ((p - s) * (p - s) * 0.25 + q * r).sqrt();
        let (one, two) = (half + root, half - root);
        let nearer = if (one - s).norm() <= (two - s).norm() {
            one
        } else {
            two
        };
        // Now and then another shift, lest a cycle be entered.
        let shift = if steps % 11 == 10 {
            s + C::new(r.norm(), 0.0)
        } else {
            nearer
        };
        for i in start..end {
            h.set(i, i, h.get(i, i) - shift);
        }
        let mut rotations = vec![];
        for k in start..last {
            let (x, y) = (h.get(k, k), h.get(k + 1, k));
            let length = x.norm().hypot(y.norm());
            let (c, s) = if length == 0.0 {
                (ONE, ZERO)
            } else {
                (x / length, y / length)
            };
            for j in k..n {
                let (x, y) = (h.get(k, j), h.get(k + 1, j));
                h.set(k, j, c.conj() * x + s.conj() * y);
                h.set(k + 1, j, c * y - s * x);
            }
            rotations.push((k, c, s));
        }
        for (k, c, s) in rotations {
            let turn = |m: &mut Matrix, rows: usize| {
                for i in 0..rows {
                    let (x, y) = (m.get(i, k), m.get(i, k + 1));
                    m.set(i, k, x * c + y * s);
                    m.set(i, k + 1, y * c.conj() - x * s.conj());
                }
            };
            turn(&mut h, (k + 2).min(end));
            turn(&mut z, n);
        }
        for i in start..end {
            h.set(i, i, h.get(i, i) + shift);
        }
    }
    for j in 0..n {
        for i in j + 1..n {
            h.set(i, j, ZERO);
        }
    }
    (h, z)
}

/// Two rows, and then the same two columns, turned by the angle of this cosine and sine; columns of `z` along with them.
fn turn(h: &mut Matrix, z: &mut Matrix, k: usize, c: f64, s: f64) {
    for j in 0..h.columns {
        let (x, y) = (h.get(k, j), h.get(k + 1, j));
        h.set(k, j, x * c + y * s);
        h.set(k + 1, j, y * c - x * s);
    }
    for m in [h, z] {
        for i in 0..m.rows {
            let (x, y) = (m.get(i, k), m.get(i, k + 1));
            m.set(i, k, x * c + y * s);
            m.set(i, k + 1, y * c - x * s);
        }
    }
}

/// A block of two rows with real eigenvalues becomes triangular; of another the diagonal elements become equal. (LAPACK's `lanv2`.)
fn standard_block(h: &mut Matrix, z: &mut Matrix, k: usize) {
    let at = |h: &Matrix, i: usize, j: usize| h.get(k + i, k + j).re;
    let (a, b, c, d) = (at(h, 0, 0), at(h, 0, 1), at(h, 1, 0), at(h, 1, 1));
    if c == 0.0 {
        return;
    }
    let p = 0.5 * (a - d);
    let discriminant = p * p + b * c;
    if discriminant >= 0.0 {
        // The eigenvector of the eigenvalue that is further from d.
        let first = p + discriminant.sqrt().copysign(p);
        let length = first.hypot(c);
        let (cosine, sine) = (first / length, c / length);
        turn(h, z, k, cosine, sine);
        h.set(k + 1, k, ZERO);
        return;
    }
    let sigma = b + c;
    let tau = sigma.hypot(a - d);
    if tau > 0.0 {
        let cosine = (0.5 * (1.0 + sigma.abs() / tau)).sqrt();
        let sine = -(p / (tau * cosine)) * 1f64.copysign(sigma);
        turn(h, z, k, cosine, sine);
        let mean = C::new(0.5 * (at(h, 0, 0) + at(h, 1, 1)), 0.0);
        h.set(k, k, mean);
        h.set(k + 1, k + 1, mean);
    }
}

/// The form of a real matrix with blocks of one or two rows on the diagonal, and the orthogonal `z` with `a = z·t·zᵀ`: Francis' QR
/// steps with two shifts at once, by Golub and Van Loan, "Matrix Computations", 7.5.
fn real_schur(a: &Matrix) -> (Matrix, Matrix) {
    let n = a.rows;
    let (mut h, _, mut z) = hessenberg(a);
    for j in 0..n {
        for i in j + 2..n {
            h.set(i, j, ZERO);
        }
    }
    let (mut end, mut steps) = (n, 0);
    while end > 0 {
        let small = |h: &Matrix, i: usize| {
            let beside = h.get(i, i).norm() + h.get(i - 1, i - 1).norm();
            h.get(i, i - 1).norm() <= f64::EPSILON * beside.max(f64::MIN_POSITIVE)
        };
        let start = (1..end).rev().find(|i| small(&h, *i)).unwrap_or(0);
        if start > 0 {
            h.set(start, start - 1, ZERO);
        }
        if start + 1 == end {
            (end, steps) = (start, 0);
            continue;
        }
        steps += 1;
        if start + 2 == end || steps > STEPS {
            standard_block(&mut h, &mut z, end - 2);
            if end > 2 {
                h.set(end - 2, end - 3, ZERO);
            }
            (end, steps) = (end - 2, 0);
            continue;
        }
        let (last, at) = (end - 1, |h: &Matrix, i: usize, j: usize| h.get(i, j).re);
        let (mut sum, mut product) = {
            let (w, x) = (at(&h, last - 1, last - 1), at(&h, last - 1, last));
            let (y, v) = (at(&h, last, last - 1), at(&h, last, last));
            (w + v, w * v - x * y)
        };
        // Now and then other shifts, lest a cycle be entered.
        if steps % 11 == 10 {
            let size = at(&h, last, last - 1).abs() + at(&h, last - 1, last - 2).abs();
            (sum, product) = (1.5 * size, size * size);
        }
        for k in start..last {
            let length = 3.min(end - k);
            let column: Vec<C> = if k == start {
                let (p, q) = (at(&h, k, k), at(&h, k + 1, k));
                let (r, s) = (at(&h, k, k + 1), at(&h, k + 1, k + 1));
                let third = q * at(&h, k + 2, k + 1);
                [p * p + r * q - sum * p + product, q * (p + s - sum), third]
                    .map(|x| C::new(x, 0.0))
                    .to_vec()
            } else {
                (k..k + length).map(|i| h.get(i, k - 1)).collect()
            };
            let (beta, tau, v) = reflection(&column);
            let from = k.saturating_sub(usize::from(k > start));
            reflect_rows(&mut h, k, from..n, tau, &v);
            reflect_columns(&mut h, k, 0..(k + 4).min(end), tau, &v);
            reflect_columns(&mut z, k, 0..n, tau, &v);
            if k > start {
                h.set(k, k - 1, beta);
                (k + 1..k + length).for_each(|i| h.set(i, k - 1, ZERO));
            }
        }
    }
    (h, z)
}

fn times(a: &Matrix, b: &Matrix) -> Matrix {
    let mut y = Matrix::zeros(a.rows, b.columns);
    for i in 0..a.rows {
        for j in 0..b.columns {
            y.set(
                i,
                j,
                (0..a.columns).map(|k| a.get(i, k) * b.get(k, j)).sum(),
            );
        }
    }
    y
}

/// Columns of length 1, of which the largest element is real.
fn normalised(mut v: Matrix) -> Matrix {
    for j in 0..v.columns {
        let column: Vec<C> = (0..v.rows).map(|i| v.get(i, j)).collect();
        let norm = column.iter().map(C::norm_sqr).sum::<f64>().sqrt();
        let largest = column.iter().max_by(|a, b| a.norm().total_cmp(&b.norm()));
        let phase = match largest {
            Some(x) if x.norm() > 0.0 && x.im != 0.0 => x.conj() / x.norm(),
            _ => ONE,
        };
        if norm > 0.0 {
            for (i, x) in column.iter().enumerate() {
                v.set(i, j, x * phase / norm);
            }
        }
    }
    v
}

/// The eigenvalues, the left vectors and the right ones.
fn eig(a: &Matrix, real: bool) -> (Vec<C>, Matrix, Matrix) {
    let n = a.rows;
    let (t, z) = schur(a);
    let scale = (0..n * n)
        .map(|k| t.get(k / n.max(1), k % n.max(1)).norm())
        .fold(0.0, f64::max);
    let tiny = (f64::EPSILON * scale).max(f64::MIN_POSITIVE);
    let over = |x: C, gap: C| if gap.norm() < tiny { x / tiny } else { x / gap };
    let (mut left, mut right) = (Matrix::zeros(n, n), Matrix::zeros(n, n));
    for k in 0..n {
        let own = t.get(k, k);
        right.set(k, k, ONE);
        for i in (0..k).rev() {
            let sum: C = (i + 1..=k).map(|j| t.get(i, j) * right.get(j, k)).sum();
            right.set(i, k, over(-sum, t.get(i, i) - own));
        }
        left.set(k, k, ONE);
        for i in k + 1..n {
            let sum: C = (k..i).map(|j| t.get(j, i).conj() * left.get(j, k)).sum();
            left.set(i, k, over(-sum, (t.get(i, i) - own).conj()));
        }
    }
    let values = (0..n)
        .map(|k| {
            let w = t.get(k, k);
            if real && w.im.abs() <= 16.0 * n as f64 * tiny {
                C::new(w.re, 0.0)
            } else {
                w
            }
        })
        .collect();
    (
        values,
        normalised(times(&z, &left)),
        normalised(times(&z, &right)),
    )
}

/// Gauss's elimination with exchanges of neighbouring rows. (LAPACK's `gtsv`.)
fn tridiagonal_solve(lower: &[C], main: &[C], upper: &[C], b: &Matrix) -> Matrix {
    let (n, mut x) = (b.rows, b.clone());
    let at = |v: &[C], i: usize| v.get(i).copied().unwrap_or(ZERO);
    let set = |v: &mut [C], i: usize, x: C| {
        if let Some(slot) = v.get_mut(i) {
            *slot = x;
        }
    };
    let (mut main, mut first) = (main.to_vec(), upper.to_vec());
    let mut second = vec![ZERO; n];
    for i in 0..n.saturating_sub(1) {
        let below = at(lower, i + 1);
        if at(&main, i).norm() >= below.norm() {
            let factor = if below == ZERO {
                ZERO
            } else {
                below / at(&main, i)
            };
            let next = at(&main, i + 1) - factor * at(&first, i);
            set(&mut main, i + 1, next);
            for c in 0..b.columns {
                x.set(i + 1, c, x.get(i + 1, c) - factor * x.get(i, c));
            }
        } else {
            let factor = at(&main, i) / below;
            let (own, beside) = (at(&first, i), at(&main, i + 1));
            set(&mut main, i, below);
            set(&mut first, i, beside);
            set(&mut main, i + 1, own - factor * beside);
            if i + 2 < n {
                let beyond = at(&first, i + 1);
                set(&mut second, i, beyond);
                set(&mut first, i + 1, -factor * beyond);
            }
            for c in 0..b.columns {
                let (upper, under) = (x.get(i, c), x.get(i + 1, c));
                x.set(i, c, under);
                x.set(i + 1, c, upper - factor * under);
            }
        }
    }
    for c in 0..b.columns {
        for i in (0..n).rev() {
            let mut rest = x.get(i, c);
            if i + 1 < n {
                rest -= at(&first, i) * x.get(i + 1, c);
            }
            if i + 2 < n {
                rest -= at(&second, i) * x.get(i + 2, c);
            }
            x.set(i, c, rest / at(&main, i));
        }
    }
    x
}

/// The vectors along the last axis.
fn vectors(x: &Buffer, count: usize) -> Result<Vec<Vec<C>>> {
    let elements = super::contract::widened::<C>(&x.contiguous()?)?;
    let n = x.shape().last().copied().unwrap_or(0);
    if n == 0 {
        return Ok(vec![vec![]; count]);
    }
    Ok(elements.chunks(n).map(<[C]>::to_vec).collect())
}

fn permutations(pivots: &Buffer, size: usize, out: &Aval) -> Result<Buffer> {
    let k = pivots.shape().last().copied().unwrap_or(0);
    let count: usize = pivots.shape().iter().rev().skip(1).product();
    let pivots: Vec<i32> = pivots.to_vec()?;
    let mut all = Vec::with_capacity(out.size());
    for c in 0..count {
        let mut order: Vec<i32> = (0..size as i32).collect();
        for (i, p) in pivots.iter().skip(c * k).take(k).enumerate() {
            if let Ok(p) = usize::try_from(*p)
                && p < size
            {
                order.swap(i, p);
            }
        }
        all.extend(order);
    }
    Buffer::from_data(out.clone(), i32::data(all))
}

pub(super) fn factor(p: Factor, x: &[Arc<Buffer>], results: &[Aval]) -> Result<Buffers> {
    let missing = || Error::internal("linear algebra lost an operand");
    let operand = |i: usize| x.get(i).map(|b| &**b).ok_or_else(missing);
    if let (Factor::PivotsToPermutation { size }, Some(out)) = (p, results.first()) {
        return Ok(Buffers::from_elem(permutations(operand(0)?, size, out)?, 1));
    }
    if let (Factor::TridiagonalSolve, Some(out)) = (p, results.first()) {
        let b = matrices(operand(3)?)?;
        let (lower, main, upper) = (
            vectors(operand(0)?, b.len())?,
            vectors(operand(1)?, b.len())?,
            vectors(operand(2)?, b.len())?,
        );
        let each = b.iter().zip(lower.iter().zip(main.iter().zip(&upper)));
        let solved: Vec<C> = each
            .flat_map(|(b, (l, (d, u)))| tridiagonal_solve(l, d, u, b).elements)
            .collect();
        return Ok(Buffers::from_elem(buffer(out, solved.into_iter())?, 1));
    }
    let a = matrices(operand(0)?)?;
    let real = !operand(0)?.dtype().is_complex();
    let all: Vec<Vec<Vec<C>>> = match p {
        Factor::Eig { left, right } => a
            .iter()
            .map(|a| {
                let (w, u, v) = eig(a, real);
                let mut y = vec![w];
                y.extend(left.then_some(u.elements));
                y.extend(right.then_some(v.elements));
                y
            })
            .collect(),
        Factor::Hessenberg => a
            .iter()
            .map(|a| {
                let (m, taus, _) = hessenberg(a);
                vec![m.elements, taus]
            })
            .collect(),
        Factor::Schur { .. } => a
            .iter()
            .map(|a| {
                let (t, z) = if real { real_schur(a) } else { schur(a) };
                vec![t.elements, z.elements]
            })
            .collect(),
        Factor::Geqp3 => {
            let first = vectors(operand(1)?, a.len())?;
            a.iter()
                .zip(&first)
                .map(|(a, first)| {
                    let (m, order, taus) = geqp3(a, first);
                    let order = order.iter().map(|j| C::new((j + 1) as f64, 0.0));
                    vec![m.elements, order.collect(), taus]
                })
                .collect()
        }
        Factor::Tridiagonal { lower } => a
            .iter()
            .map(|a| {
                let (m, d, e, taus) = tridiagonal(a, lower);
                vec![m.elements, d, e, taus]
            })
            .collect(),
        Factor::Geqrf => a
            .iter()
            .map(|a| {
                let (m, taus) = geqrf(a);
                vec![m.elements, taus]
            })
            .collect(),
        Factor::HouseholderProduct => {
            let taus = vectors(operand(1)?, a.len())?;
            let each = a.iter().zip(&taus);
            each.map(|(a, taus)| vec![householder_product(a, taus).elements])
                .collect()
        }
        Factor::TridiagonalSolve
        | Factor::PivotsToPermutation { .. }
        | Factor::SymmetricProduct { .. }
        | Factor::Ormqr { .. }
        | Factor::CholeskyUpdate => return Err(missing()),
    };
    let result = |(i, out): (usize, &Aval)| {
        let elements = all.iter().filter_map(|r| r.get(i)).flatten().copied();
        buffer(out, elements)
    };
    results.iter().enumerate().map(result).collect()
}
