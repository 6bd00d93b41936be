//! Keys, and the bits that they determine.

use super::attempt;
use crate::{
    array::{Array, Aval, DType, Dims, IntoDims, Operand, fail},
    error::{Error, Result},
    trace::{
        bind, bind_all, here,
        op::{Binary, Concatenate, Slice, Squeeze, Threefry2x32},
        with_location,
    },
};

/// What a draw is determined by: two `u32` words, an array `u32[2]`; several keys under leading axes are a batch, to be mapped over
/// with `vmap`.
///
/// ```
/// use quaxide::prelude::*;
/// use quaxide::random::Key;
/// let keys = random::key(7).split_n(4);
/// let x = vmap(|k: &Key| random::normal(k, [3]))(&keys).unwrap();
/// assert_eq!(x.shape(), [4, 3]);
/// ```
#[derive(Clone, Debug, crate::PyTree)]
pub struct Key {
    data: Array,
}

/// The key of a seed.
///
/// Equal to `jax.random.key(seed)` where JAX takes 64-bit integers (`jax_enable_x64`); without, JAX drops a seed's upper half.
#[must_use]
pub fn key(seed: u64) -> Key {
    Key {
        data: Array::from(super::threefry::seed(seed)),
    }
}

impl Key {
    /// A key of words: `u32[…, 2]`. An error for any other type.
    pub fn from_data(data: Array) -> Result<Key> {
        let a = data.aval()?;
        if a.dtype == DType::U32 && a.shape.last() == Some(&2) {
            Ok(Key { data })
        } else {
            Err(Error::argument(format!(
                "{a} is not the data of a key, which is u32[…, 2]"
            )))
        }
    }

    /// A key, attributed to the caller's line with all that it is made of.
    #[track_caller]
    fn made(data: impl FnOnce() -> Result<Array>) -> Key {
        Key {
            data: attempt(data),
        }
    }

    /// The key of a seed that may be traced: an integer array without axes.
    #[track_caller]
    #[must_use]
    pub fn from_seed(seed: &Array) -> Key {
        Key::made(|| {
            let a = seed.aval()?;
            if !a.dtype.is_integer() || a.ndim() > 0 {
                return Err(Error::argument(format!("a seed is one integer, not {a}")));
            }
            let high = if a.dtype.size() == 8 {
                shift_right(seed, 32).astype(DType::U32)
            } else {
                Array::scalar(0u32)
            };
            Ok(pair(&high, &seed.astype(DType::U32)))
        })
    }

    /// The words: `u32[2]` of a single key.
    pub fn data(&self) -> &Array {
        &self.data
    }

    /// Independent keys, as many as the pattern or the annotation says. The first ones do not depend on their number.
    ///
    /// ```
    /// let [k1, k2, k3] = quaxide::random::key(0).split();
    /// # let _ = (k1, k2, k3);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn split<const N: usize>(&self) -> [Key; N] {
        with_location(here(), || {
            let keys = self.split_n(N);
            std::array::from_fn(|i| keys.nth(i))
        })
    }

    /// As many independent keys as asked for: [`Key::split`] for a number that is not known to the compiler.
    #[track_caller]
    #[must_use]
    pub fn split_vec(&self, n: usize) -> Vec<Key> {
        with_location(here(), || {
            let keys = self.split_n(n);
            (0..n).map(|i| keys.nth(i)).collect()
        })
    }

    /// The `i`-th key of a batch.
    fn nth(&self, i: usize) -> Key {
        Key::made(|| Ok(pick(self.data.ok()?, i)))
    }

    /// A batch of `n` independent keys, for `vmap` or `scan`.
    #[track_caller]
    #[must_use]
    pub fn split_n(&self, n: usize) -> Key {
        self.split_shape([n])
    }

    /// A batch of independent keys under axes of these sizes.
    #[track_caller]
    #[must_use]
    pub fn split_shape(&self, shape: impl IntoDims) -> Key {
        Key::made(|| {
            let (a, b) = self.blocks(shape)?;
            Ok(pair(&a, &b))
        })
    }

    /// The key that this one and a number determine together: for the step of a loop, say. The number is converted to `u32`.
    ///
    /// ```
    /// use quaxide::random;
    /// let key = random::key(0);
    /// let step = key.fold_in(17);
    /// # let _ = step;
    /// ```
    #[track_caller]
    #[must_use]
    pub fn fold_in(&self, data: impl Operand) -> Key {
        Key::made(|| {
            let [k0, k1] = self.words()?;
            let data = data.operand(&Array::scalar(0u32));
            let a = data.aval()?;
            if !a.dtype.is_integer() || a.ndim() > 0 {
                return Err(Error::argument(format!(
                    "`fold_in` takes one integer, not {a}"
                )));
            }
            let zero = Array::scalar(0u32);
            let (a, b) = encrypt([&k0, &k1, &zero, &data.astype(DType::U32)])?;
            Ok(pair(&a, &b))
        })
    }

    /// Random bits: the shape's elements, of an unsigned integer type.
    pub(super) fn bits(&self, shape: &Dims, dtype: DType) -> Array {
        if !dtype.is_unsigned() {
            return fail(Error::dtype(format!(
                "random bits are unsigned integers, not {dtype}"
            )));
        }
        match self.blocks(shape) {
            Ok((a, b)) if dtype == DType::U64 => {
                (a.astype(DType::U64) << 32u64) | b.astype(DType::U64)
            }
            Ok((a, b)) => (a ^ b).astype(dtype),
            Err(e) => fail(e),
        }
    }

    /// The words of a single key; an error for a batch.
    pub(super) fn single(&self) -> Result<&Array> {
        let a = self.data.aval()?;
        if a.shape[..] == [2] && a.dtype == DType::U32 {
            return Ok(&self.data);
        }
        let e = Error::argument(format!(
            "a single key has the words u32[2], this one has {a}"
        ));
        Err(e.note("map over a batch of keys with `vmap`"))
    }

    /// The two words of a single key.
    fn words(&self) -> Result<[Array; 2]> {
        let data = self.single()?;
        Ok([pick(data, 0), pick(data, 1)])
    }

    /// The blocks of the counters 0, 1, … under this key, in a shape.
    fn blocks(&self, shape: impl IntoDims) -> Result<(Array, Array)> {
        let shape = shape.into_dims();
        let [k0, k1] = self.words()?;
        let n = Array::checked_size(&Aval::new(shape.clone(), DType::U32))?;
        let (high, low) = if u32::try_from(n.saturating_sub(1)).is_ok() {
            (Array::scalar(0u32), Array::arange(n, DType::U32))
        } else {
            let count = Array::arange(n, DType::U64);
            (
                shift_right(&count, 32).astype(DType::U32).reshape(&shape),
                count.astype(DType::U32),
            )
        };
        encrypt([&k0, &k1, &high, &low.reshape(&shape)])
    }
}

/// Each element's bits, shifted right by `by`; zeros enter.
pub(super) fn shift_right(x: &Array, by: u32) -> Array {
    match x.dtype() {
        Ok(dtype) => {
            let by = Array::from_scalar(i64::from(by).into(), dtype, false);
            bind(Binary::ShiftRightLogical, &[x, &by])
        }
        Err(e) => Array::error(e),
    }
}

fn encrypt(words: [&Array; 4]) -> Result<(Array, Array)> {
    let [a, b]: [Array; 2] = bind_all(Threefry2x32, &words.map(Clone::clone))?
        .try_into()
        .map_err(|_| Error::internal("`threefry2x32` has two results"))?;
    Ok((a, b))
}

/// Place `i` of the first axis, which has it.
pub(super) fn pick(x: &Array, i: usize) -> Array {
    let mut start_indices = Dims::from_elem(0, x.ndim());
    let mut limit_indices: Dims = x.shape().iter().copied().collect();
    if let (Some(start), Some(limit)) = (start_indices.first_mut(), limit_indices.first_mut()) {
        (*start, *limit) = (i, i + 1);
    }
    let slice = Slice {
        start_indices,
        limit_indices,
        strides: None,
    };
    let dimensions = Dims::from_slice(&[0]);
    bind(Squeeze { dimensions }, &[&bind(slice, &[x])])
}

/// Two arrays under a new last axis.
fn pair(a: &Array, b: &Array) -> Array {
    let shape: Dims = b.shape().iter().copied().chain([1]).collect();
    let dimension = shape.len() - 1;
    let [a, b] = [a, b].map(|x| {
        let kept = (0..x.ndim()).collect::<Dims>();
        x.broadcast_in_dim(&shape, kept)
    });
    bind(Concatenate { dimension }, &[&a, &b])
}
