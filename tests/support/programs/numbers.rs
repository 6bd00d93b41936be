//! Comparing arrays of any element type.

use quaxide::prelude::*;

/// The parts of an array's elements, exact for floats.
pub fn parts(x: &Array) -> Result<Vec<f64>> {
    if x.aval()?.dtype.is_complex() {
        let mut parts = x.real().to_f64_vec()?;
        parts.extend(x.imag().to_f64_vec()?);
        return Ok(parts);
    }
    x.to_f64_vec()
}

/// Are all elements numbers, and not large?
pub fn is_small(x: &Array) -> bool {
    parts(x).is_ok_and(|v| v.iter().all(|x| x.is_finite() && x.abs() < 20.0))
}

/// How far apart are two arrays, relative to the size of their numbers? Infinities and NaN must agree.
pub fn difference(a: &Array, b: &Array) -> Result<f64> {
    let (s, t) = (a.aval()?, b.aval()?);
    if s.shape != t.shape || s.dtype != t.dtype {
        return Err(Error::shape(format!("{s} against {t}")));
    }
    let (x, y) = (parts(a)?, parts(b)?);
    let finite = x.iter().chain(&y).filter(|x| x.is_finite());
    let scale = finite.fold(1.0f64, |m, v| m.max(v.abs()));
    let apart = |(p, q): (&f64, &f64)| {
        if p == q || p.is_nan() && q.is_nan() {
            0.0
        } else if p.is_finite() && q.is_finite() {
            (p - q).abs() / scale
        } else {
            f64::INFINITY
        }
    };
    Ok(x.iter().zip(&y).map(apart).fold(0.0, f64::max))
}

/// Are two arrays the same, bit by bit but for the bits of NaN?
fn same(a: &Array, b: &Array) -> Result<bool> {
    let (s, t) = (a.aval()?, b.aval()?);
    if s.shape != t.shape || s.dtype != t.dtype {
        return Err(Error::shape(format!("{s} against {t}")));
    }
    match s.dtype {
        DType::I64 => return Ok(a.to_vec::<i64>()? == b.to_vec::<i64>()?),
        DType::U64 => return Ok(a.to_vec::<u64>()? == b.to_vec::<u64>()?),
        _ => {}
    }
    let (x, y) = (parts(a)?, parts(b)?);
    let equal = |(p, q): (&f64, &f64)| p.to_bits() == q.to_bits() || p.is_nan() && q.is_nan();
    Ok(x.iter().zip(&y).all(equal))
}

/// `None` if two arrays agree: bit by bit at a tolerance of 0.
pub fn agree(what: &str, a: &Array, b: &Array, tolerance: f64) -> Result<Option<String>> {
    let (ok, d) = if tolerance == 0.0 {
        (same(a, b)?, difference(a, b)?)
    } else {
        let d = difference(a, b).map_err(|e| e.note(what.to_string()))?;
        (d <= tolerance, d)
    };
    let differ = || format!("{what}: differ by {d:e} (tolerance {tolerance:e})\n{a:?}\n{b:?}");
    Ok((!ok).then(differ))
}
