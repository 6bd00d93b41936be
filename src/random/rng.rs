//! Keys as generators for the distributions of other crates.

use super::{Draw, Key, attempt, threefry};
use crate::{
    array::{Array, Aval, DType, Stored, buffer::try_vec},
    error::{Error, Result},
};
use rand::{SeedableRng, TryRng, distr::Distribution};
use std::convert::Infallible;

/// A generator of the `rand` crates that a key determines: the blocks of the key's counters, in order.
///
/// Its stream is `random::bits` of `u64`, the upper half of each number first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRng {
    key: threefry::KeyData,
    counter: u64,
    spare: Option<u32>,
}

impl KeyRng {
    fn new(key: threefry::KeyData) -> KeyRng {
        KeyRng {
            key,
            counter: 0,
            spare: None,
        }
    }

    fn block(&mut self) -> (u32, u32) {
        let block = threefry::block(self.key, self.counter);
        self.counter = self.counter.wrapping_add(1);
        block
    }
}

impl TryRng for KeyRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.spare.take().unwrap_or_else(|| {
            let (first, second) = self.block();
            self.spare = Some(second);
            first
        }))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        // A half that is left over is dropped.
        self.spare = None;
        let (high, low) = self.block();
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(4) {
            let word = self.try_next_u32()?.to_le_bytes();
            for (byte, word) in chunk.iter_mut().zip(word) {
                *byte = word;
            }
        }
        Ok(())
    }
}

impl SeedableRng for KeyRng {
    type Seed = [u8; 8];

    fn from_seed(seed: [u8; 8]) -> KeyRng {
        KeyRng::new(threefry::seed(u64::from_le_bytes(seed)))
    }

    fn seed_from_u64(seed: u64) -> KeyRng {
        KeyRng::new(threefry::seed(seed))
    }
}

impl Key {
    /// This key as a generator for `rand` and `rand_distr`. An error for a batch of keys, and for a traced one: a generator has state,
    /// so nothing that is drawn from it can be traced.
    ///
    /// ```
    /// use quaxide::random;
    /// use rand::RngExt;
    /// let mut rng = random::key(0).rng().unwrap();
    /// assert!((1..=6).contains(&rng.random_range(1..=6)));
    /// ```
    pub fn rng(&self) -> Result<KeyRng> {
        let words: Vec<u32> = self.data().to_vec()?;
        match words[..] {
            [a, b] => Ok(KeyRng::new([a, b])),
            _ => Err(Error::argument(format!(
                "a generator needs one key of two words, not {} words",
                words.len()
            ))),
        }
    }
}

/// An array filled from a distribution of the `rand` crates, in row-major order. In the error state for a traced key, and if the
/// element type that is asked for is not the distribution's.
///
/// ```
/// use quaxide::random;
/// let poisson = rand_distr::Poisson::new(3.0).unwrap();
/// let x = random::sample(&random::key(0), poisson, [2, 3]);
/// assert_eq!(x.shape(), [2, 3]);
/// ```
#[track_caller]
pub fn sample<T, D>(key: &Key, distribution: D, draw: impl Draw) -> Array
where
    T: Stored,
    D: Distribution<T>,
{
    attempt(|| {
        let (shape, dtype) = draw.shape_and_dtype();
        check_dtype(dtype, T::DTYPE)?;
        let mut rng = key.rng()?;
        let n = Array::checked_size(&Aval::new(shape.clone(), T::DTYPE))?;
        let mut elements = try_vec(n)?;
        elements.extend((0..n).map(|_| distribution.sample(&mut rng)));
        Ok(Array::new(&shape, elements))
    })
}

fn check_dtype(asked: Option<DType>, given: DType) -> Result<()> {
    match asked {
        Some(asked) if asked != given => Err(Error::dtype(format!(
            "`random::sample` was asked for {asked}, but its distribution gives {given}"
        ))),
        _ => Ok(()),
    }
}
