//! Decompositions of matrices that are well conditioned, and random numbers.

use super::grow::Grow;
use quaxide::{
    op::{self, Binary, FftType, Linalg, RandomAlgorithm, RngBitGenerator, TriangularSolve, Unary},
    prelude::*,
};

/// A matrix (or several) of a value's numbers, each below 1 in absolute value.
pub fn matrix(g: &mut Grow<'_>, square: bool) -> Option<usize> {
    let fits = |d: DType| matches!(d, DType::F32 | DType::F64 | DType::C64 | DType::C128);
    let like = g.pick(|v| fits(v.dtype()) && v.small)?;
    let s = g.shape(like);
    let is = match s[..] {
        [.., m, n] => !square || m == n,
        _ => false,
    };
    let x = if is {
        like
    } else {
        let n = 1 + g.r.below(3);
        let m = if square { n } else { 1 + g.r.below(4) };
        let lead: &[usize] = if g.r.chance(0.3) { &[2] } else { &[] };
        let shape = [lead, &[m, n]].concat();
        let d = g.dtype(like);
        // A number of the program's, spread over a constant matrix.
        let own = g.random(&shape, d);
        if g.values[like].ndim() > 0 {
            own
        } else {
            g.op(Binary::Mul, &[own, like])?
        }
    };
    g.op(Unary::Tanh, &[x])
        .filter(|_| !g.dtype(x).is_complex())
        .or(Some(x))
}

/// `x` with numbers added on the diagonal: from this one, rising by this step.
pub fn with_diagonal(g: &mut Grow<'_>, x: usize, from: f64, step: f64) -> Option<usize> {
    let s = g.shape(x);
    let (m, n) = (s[s.len() - 2], s[s.len() - 1]);
    let mut d = vec![0.0; m * n];
    for i in 0..m.min(n) {
        d[i * n + i] = from + step * i as f64;
    }
    let axes: Vec<usize> = (s.len() - 2..s.len()).collect();
    let d = Array::new([m, n], d)
        .astype(g.dtype(x))
        .broadcast_in_dim(&s, axes);
    let d = g.constant(d);
    g.op(Binary::Add, &[x, d])
}

/// `x` and its conjugate transpose, added.
pub fn hermitian(g: &mut Grow<'_>, x: usize) -> Option<usize> {
    let rank = g.shape(x).len();
    let mut permutation: Vec<usize> = (0..rank).collect();
    permutation.swap(rank - 1, rank - 2);
    let permutation = permutation.into();
    let mut t = g.op(op::Transpose { permutation }, &[x])?;
    if g.dtype(x).is_complex() {
        t = g.op(Unary::Conj, &[t])?;
    }
    let half = g.number(0.25, g.dtype(x));
    let sum = g.op(Binary::Add, &[x, t])?;
    g.op(Binary::Mul, &[sum, half])
}

/// Fourier transforms.
fn fft(g: &mut Grow<'_>) -> Option<()> {
    let fits = |v: &super::grow::Value| {
        let d = v.dtype();
        v.ndim() > 0 && (d.is_complex() || matches!(d, DType::F32 | DType::F64))
    };
    let x = g.pick(fits)?;
    let s = g.shape(x);
    let k = 1 + g.r.below(s.len());
    let mut fft_lengths: Vec<usize> = s[s.len() - k..].to_vec();
    let fft_type = if !g.dtype(x).is_complex() {
        FftType::Rfft
    } else {
        *g.r.choose(&[FftType::Fft, FftType::Ifft, FftType::Irfft])?
    };
    if fft_type == FftType::Irfft {
        // Half of a spectrum, of an even or an odd number of elements.
        let last = fft_lengths.last_mut()?;
        *last = (2 * *last).checked_sub(1 + g.r.below(2))?;
    }
    if fft_lengths.contains(&0) {
        return None;
    }
    let fft_lengths = fft_lengths.into();
    let op = op::Fft {
        fft_type,
        fft_lengths,
    };
    g.op(op, &[x]).map(drop)
}

pub fn linalg(g: &mut Grow<'_>) -> Option<()> {
    if g.r.chance(0.25) {
        return fft(g);
    }
    let square = !matches!(g.r.below(2), 0);
    let choice = if square {
        g.r.below(3)
    } else {
        3 + g.r.below(3)
    };
    let x = matrix(g, square)?;
    let complex = g.dtype(x).is_complex();
    if complex && g.options.derivatives && g.values[x].varies && choice != 1 {
        // The phase of a column is a convention that differences need not follow.
        return None;
    }
    match choice {
        0 => {
            let x = hermitian(g, x)?;
            let x = with_diagonal(g, x, 6.0, 0.0)?;
            g.op(Linalg::Cholesky, &[x]).map(drop)
        }
        1 => {
            let s = g.shape(x);
            let (lead, n) = (s[..s.len() - 2].to_vec(), s[s.len() - 1]);
            let a = with_diagonal(g, x, 3.0, 0.5)?;
            let left_side = g.r.chance(0.5);
            let k = 1 + g.r.below(2);
            let own = if left_side { [n, k] } else { [k, n] };
            let b = g.like(&[&lead[..], &own].concat(), g.dtype(x));
            let how = TriangularSolve {
                conjugate_a: complex && g.r.chance(0.5),
                left_side,
                lower: g.r.chance(0.5),
                transpose_a: g.r.chance(0.5),
                unit_diagonal: g.r.chance(0.3),
            };
            g.op(Linalg::TriangularSolve(how), &[a, b]).map(drop)
        }
        2 => {
            let x = hermitian(g, x)?;
            let x = with_diagonal(g, x, 1.0, 3.0)?;
            let lower = g.r.chance(0.5);
            // The signs of eigenvectors are a convention, steady where eigenvalues are far apart.
            g.ops(Linalg::Eigh { lower }, &[x]).map(drop)
        }
        3 => {
            let x = with_diagonal(g, x, 4.0, 0.5)?;
            g.ops(Linalg::Lu, &[x]).map(drop)
        }
        4 => {
            let x = with_diagonal(g, x, 4.0, 0.5)?;
            let full_matrices = g.r.chance(0.3);
            let op = Linalg::Qr {
                full_matrices,
                pivoting: g.r.chance(0.3),
            };
            g.ops(op, &[x]).map(drop)
        }
        _ => {
            let x = with_diagonal(g, x, 4.0, 4.0)?;
            let compute_uv = g.r.chance(0.6);
            let full_matrices = g.r.chance(0.3);
            let op = Linalg::Svd {
                compute_uv,
                full_matrices,
            };
            g.ops(op, &[x]).map(drop)
        }
    }
}

pub fn random(g: &mut Grow<'_>) -> Option<()> {
    let shape = g.pick(|v| v.aval.size() < 20)?;
    let shape = g.shape(shape);
    let words = |g: &mut Grow<'_>, shape: &[usize]| match g
        .pick(|v| v.dtype() == DType::U32 && v.aval.shape[..] == *shape)
    {
        Some(x) => x,
        None => g.random(shape, DType::U32),
    };
    if g.r.chance(0.2) {
        let state = words(g, &[4]);
        let algorithm = *g.r.choose(&[
            RandomAlgorithm::Default,
            RandomAlgorithm::ThreeFry,
            RandomAlgorithm::Philox,
        ])?;
        let op = RngBitGenerator {
            algorithm,
            dtype: *g
                .r
                .choose(&[DType::U8, DType::U16, DType::U32, DType::U64])?,
            shape: shape.into(),
        };
        return g.ops(op, &[state]).map(drop);
    }
    if g.r.chance(0.5) {
        let (a, b) = (words(g, &[]), words(g, &[]));
        let (x, y) = (words(g, &shape), words(g, &shape));
        return g.ops(op::Threefry2x32, &[a, b, x, y]).map(drop);
    }
    // Samples for keys with the samples' leading axes.
    let a =
        g.pick(|v| v.is_float() && v.dtype() != DType::F16 && v.dtype() != DType::BF16 && v.small)?;
    let d = g.dtype(a);
    let square = g.op(Unary::Square, &[a])?;
    let half = g.number(0.5, d);
    let a = g.op(Binary::Add, &[square, half])?;
    let s = g.shape(a);
    let leading = g.r.below(s.len() + 1);
    let keys = words(g, &[&s[..leading], &[2]].concat());
    let log_space = g.r.chance(0.3);
    g.op(op::RandomGamma { log_space }, &[keys, a]).map(drop)
}
