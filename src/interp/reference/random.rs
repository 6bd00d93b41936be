//! The random number generator.

use crate::{
    array::{Aval, Buffer, Stored, buffer::try_vec},
    error::{Error, Result},
    interp::Buffers,
    random::threefry::threefry2x32 as block,
    trace::op::operands,
};
use smallvec::smallvec;
use std::sync::Arc;

/// One word for each element of the result; a buffer of rank 0 stands for every element.
fn words(x: &Buffer, n: usize) -> Result<Vec<u32>> {
    let words: Vec<u32> = x.to_vec()?;
    match words[..] {
        [word] if x.shape().is_empty() => {
            let mut all = try_vec(n)?;
            all.resize(n, word);
            Ok(all)
        }
        _ => Ok(words),
    }
}

pub(super) fn threefry2x32(x: &[Arc<Buffer>], results: &[Aval]) -> Result<Buffers> {
    let [k0, k1, c0, c1] = operands("threefry2x32", x)?;
    let [first, second] = results else {
        return Err(Error::internal("`threefry2x32` has two results"));
    };
    let n = first.size();
    let (k0, k1, c0, c1) = (words(k0, n)?, words(k1, n)?, words(c0, n)?, words(c1, n)?);
    let (mut a, mut b) = (try_vec(n)?, try_vec(n)?);
    for (((k0, k1), c0), c1) in k0.into_iter().zip(k1).zip(c0).zip(c1) {
        let (x, y) = block(k0, k1, c0, c1);
        a.push(x);
        b.push(y);
    }
    Ok(smallvec![
        Buffer::from_data(first.clone(), u32::data(a))?,
        Buffer::from_data(second.clone(), u32::data(b))?,
    ])
}
