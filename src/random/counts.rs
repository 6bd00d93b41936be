//! Numbers of events: Poisson, binomial, multinomial. The algorithms, and the order in which they draw, are those of `jax.random`.

use super::{Draw, Key, check_shape, continuous::unit, floats, parameter};
use crate::{
    array::{Array, DType, Dims, Operand, attempt, inexact_together},
    error::{Error, Result},
    transform::{scan, while_loop},
};

/// The Poisson distribution of rate `lam`: `i32` unless another integer type is asked for. Below 10 by products of uniform numbers
/// (Knuth), above by transformed rejection (Hörmann, 1993).
///
/// ```
/// use quaxide::prelude::*;
/// let x = random::poisson(&random::key(0), 4.0, [1000]);
/// let mean = x.astype(DType::F32).mean(()).item::<f32>().unwrap();
/// assert!((mean - 4.0).abs() < 0.3);
/// ```
#[track_caller]
pub fn poisson(key: &Key, lam: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = draw.shape_and_dtype();
        let dtype = dtype.unwrap_or(DType::I32);
        if !dtype.is_integer() {
            return Err(Error::dtype(format!(
                "`random::poisson` draws integers, not {dtype}"
            )));
        }
        let lam = parameter(lam, DType::F32);
        check_shape("poisson", &shape, &[&lam])?;
        let lam = lam.broadcast_to(&shape);
        let knuth = lam.is_nan() | lam.lt(10.0);
        let small = by_products(key, &knuth.select(&lam, 0.0), &shape, dtype)?;
        let large = by_rejection(key, &knuth.select(1e5, &lam), &shape, dtype)?;
        let x = knuth.select(small, large);
        Ok(lam.eq(0.0).select(Array::zeros_like(&x), x))
    })
}

fn by_products(key: &Key, lam: &Array, shape: &Dims, dtype: DType) -> Result<Array> {
    type State = (Array, Key, Array);
    let least = -lam;
    let start = (
        Array::zeros(shape, dtype),
        key.clone(),
        Array::zeros(shape, DType::F32),
    );
    let step = |(k, key, sum): &State| -> State {
        let [next, now] = key.split();
        let k = sum.gt(&least).select(k + 1, k);
        (k, next, sum + unit(&now, shape, DType::F32).log())
    };
    let (k, ..) = while_loop(|(.., sum): &State| sum.gt(&least).any(()), step, &start)?;
    Ok(k - 1)
}

fn by_rejection(key: &Key, lam: &Array, shape: &Dims, dtype: DType) -> Result<Array> {
    type State = (Array, Array, Key);
    let log_lam = lam.log();
    let b = 0.931 + 2.53 * lam.sqrt();
    let a = -0.059 + 0.02483 * &b;
    let inv_alpha = 1.1239 + 1.1328 / (&b - 3.4);
    let v_r = 0.9277 - 3.6224 / (&b - 2);
    let step = |(found, accepted, key): &State| -> State {
        let [next, k0, k1] = key.split();
        let u = unit(&k0, shape, DType::F32) - 0.5;
        let v = unit(&k1, shape, DType::F32);
        let shifted = 0.5 - u.abs();
        let k = ((2 * &a / &shifted + &b) * &u + lam + 0.43).floor();
        let s = (&v * &inv_alpha / (&a / (&shifted * &shifted) + &b)).log();
        let t = -lam + &k * &log_lam - (&k + 1).lgamma();
        let at_once = shifted.ge(0.07) & v.le(&v_r);
        let reject = k.lt(0) | (shifted.lt(0.013) & v.gt(&shifted));
        let accept = at_once | (!reject & s.le(t));
        (accept.select(k, found), accepted | &accept, next)
    };
    let start = (
        Array::full(shape, -1, DType::F32),
        Array::full(shape, false, DType::Bool),
        key.clone(),
    );
    let open = |(_, accepted, _): &State| (!accepted).any(());
    let (k, ..) = while_loop(open, step, &start)?;
    Ok(k.astype(dtype))
}

/// The number of successes in `n` trials, each of probability `p`, as floats: NaN for numbers of trials below 0. Below 10 expected
/// ones by geometric gaps, above by transformed rejection (Hörmann, 1993).
///
/// ```
/// use quaxide::prelude::*;
/// let x = random::binomial(&random::key(0), 20, 0.25, [1000]);
/// let mean = x.mean(()).item::<f32>().unwrap();
/// assert!((mean - 5.0).abs() < 0.3);
/// ```
#[track_caller]
pub fn binomial(key: &Key, n: impl Operand, p: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("binomial", draw)?;
        let p = p.operand(&Array::zeros((), dtype)).inexact();
        let own = p.dtype()?;
        let n = n.operand(&p).astype(own);
        check_shape("binomial", &shape, &[&n, &p])?;
        let (n, p) = (n.broadcast_to(&shape), p.strong().broadcast_to(&shape));
        successes(key, &n, &p, &shape, dtype)
    })
}

fn successes(key: &Key, n: &Array, p: &Array, shape: &Dims, dtype: DType) -> Result<Array> {
    let rare = p.lt(0.5);
    let q = rare.select(p, 1.0 - p);
    let no_count = n.is_nan() | n.lt(0.0);
    let endless = n.eq(f64::INFINITY);
    let (q_nan, q_negative) = (q.is_nan(), q.lt(0.0));
    let q = (&q_nan | &q_negative).select(0.01, &q);
    let few = &no_count | (n * &q).le(10.0);
    let n = n.floor();
    let by_gaps = gaps(key, &few.select(&n, 0.0), &q, shape, dtype)?;
    let rejected = rejection(
        key,
        &few.select(1e4, &n),
        &few.select(0.5, &q),
        shape,
        dtype,
    )?;
    let x = few.select(by_gaps, rejected);
    let invalid = &q_negative | &q_nan | &no_count;
    let x = invalid.select(f64::NAN, x);
    let x = (&endless & !&invalid).select(f64::INFINITY, x);
    let as_it_is = rare | no_count | q_nan | endless;
    Ok(as_it_is.select(&x, n.astype(dtype) - &x))
}

fn gaps(key: &Key, n: &Array, p: &Array, shape: &Dims, dtype: DType) -> Result<Array> {
    type State = (Array, Array, Key);
    let own = p.dtype()?;
    let log_failure = (-p).log1p();
    let step = |(count, sum, key): &State| -> State {
        let [now, next] = key.split();
        let count = sum.le(n).select(count + 1, count);
        let gap = (unit(&now, shape, own).log() / &log_failure).ceil();
        (count, sum + gap, next)
    };
    let zeros = Array::zeros(shape, own);
    let start = (zeros.clone(), zeros, key.clone());
    let (count, ..) = while_loop(|(_, sum, _): &State| sum.le(n).any(()), step, &start)?;
    Ok((count - 1).astype(dtype))
}

fn rejection(key: &Key, n: &Array, p: &Array, shape: &Dims, dtype: DType) -> Result<Array> {
    type State = (Array, Array, Key);
    let own = p.dtype()?;
    let deviation = (n * p * (1 - p)).sqrt();
    let b = 1.15 + 2.53 * &deviation;
    let a = -0.0873 + 0.0248 * &b + 0.01 * p;
    let c = n * p + 0.5;
    let v_r = 0.92 - 4.2 / &b;
    let r = p / (1 - p);
    let alpha = (2.83 + 5.1 / &b) * &deviation;
    let m = ((n + 1) * p).floor();
    let step = |(found, accepted, key): &State| -> State {
        let [next, k0, k1] = key.split();
        let u = unit(&k0, shape, own) - 0.5;
        let v = unit(&k1, shape, own);
        let us = 0.5 - u.abs();
        let at_once = us.ge(0.07) & v.le(&v_r);
        let k = ((2 * &a / &us + &b) * &u + &c).floor();
        let reject = k.lt(0) | k.gt(n);
        let v = (&v * &alpha / (&a / (&us * &us) + &b)).log();
        let bound = (&m + 0.5) * ((&m + 1) / (&r * (n - &m + 1))).log()
            + (n + 1) * ((n - &m + 1) / (n - &k + 1)).log()
            + (&k + 0.5) * (&r * (n - &k + 1) / (&k + 1)).log()
            + stirling_tail(&m)
            + stirling_tail(&(n - &m))
            - stirling_tail(&k)
            - stirling_tail(&(n - &k));
        let accept = at_once | (!reject & v.le(bound));
        (accept.select(k, found), accepted | &accept, next)
    };
    let start = (
        Array::full(shape, -1, own),
        Array::full(shape, false, DType::Bool),
        key.clone(),
    );
    let open = |(_, accepted, _): &State| (!accepted).any(());
    let (k, ..) = while_loop(open, step, &start)?;
    Ok(k.astype(dtype))
}

/// What Stirling's formula lacks of `log(k!)`.
fn stirling_tail(k: &Array) -> Array {
    const TAIL: [f64; 10] = [
        0.0810614667953272,
        0.0413406959554092,
        0.0276779256849983,
        0.02079067210376509,
        0.0166446911898211,
        0.0138761288230707,
        0.0118967099458917,
        0.0104112652619720,
        0.00925546218271273,
        0.00833056343336287,
    ];
    let known = k.le(9);
    let k = k.clip(0.0, 9.0);
    let square = (&k + 1) * (&k + 1);
    let series = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / &square) / &square) / (&k + 1);
    let table = match k.dtype() {
        Ok(d) => Array::from(TAIL).astype(d),
        Err(e) => Array::error(e),
    };
    known.select(table.take(&k.floor().astype(DType::I32), 0), series)
}

/// How often each of several outcomes, of the probabilities along the last axis of `p`, occurs in `n` trials: floats of the shape of
/// `p`. Each outcome's number is binomial, given those before.
///
/// ```
/// use quaxide::prelude::*;
/// let p = Array::from([0.2f32, 0.3, 0.5]);
/// let x = random::multinomial(&random::key(0), 10, &p);
/// assert_eq!(x.sum(()).item::<f32>().unwrap(), 10.0);
/// ```
#[track_caller]
pub fn multinomial(key: &Key, n: impl Operand, p: &Array) -> Array {
    let n = n.operand(p);
    attempt(|| {
        let both = inexact_together(&[&n, p])?;
        let [n, p] = &both[..] else {
            return Err(Error::internal("multinomial takes two arrays"));
        };
        let a = p.aval()?;
        let Some((k, lead)) = a.shape.split_last() else {
            return Err(Error::shape(format!(
                "`random::multinomial` needs an axis of outcomes, got {a}"
            )));
        };
        let lead = Dims::from_slice(lead);
        let n = n.strong().broadcast_to(&lead);
        let p = p.moveaxis(-1, 0);
        let rest = crate::lax::cumsum(&p, 0, true);
        let ratios = &p / rest.eq(0).select(1, &rest);
        let keys = key.split_n(*k);
        let step = |left: &Array, (ratio, key): &(Array, Key)| -> Result<(Array, Array)> {
            let count = successes(key, left, &ratio.clip(0.0, 1.0), &lead, a.dtype)?;
            Ok((left - &count, count))
        };
        let (_, counts) = scan(step, &n, &(ratios, keys))?;
        Ok(counts.moveaxis(0, -1))
    })
}
