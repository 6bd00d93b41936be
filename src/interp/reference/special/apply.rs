//! Special functions of several operands.

use super::gamma;
use crate::{
    array::{Aval, Buffer, DType, Stored, buffer::try_vec},
    error::{Error, Result},
    trace::op::Special,
};
use half::{bf16, f16};
use std::sync::Arc;

/// Run one of them. Every float is computed in `f64` and rounded once.
pub(in super::super) fn apply(op: Special, x: &[Arc<Buffer>], out: &Aval) -> Result<Buffer> {
    let n = out.size();
    let operands = x.iter().map(|x| wide(x, n)).collect::<Result<Vec<_>>>()?;
    let mut results: Vec<f64> = try_vec(n)?;
    match &operands[..] {
        [a, b] => {
            let function = match op {
                Special::Zeta => gamma::zeta,
                Special::Polygamma => gamma::polygamma,
                Special::IgammaGradA => gamma::igamma_grad_a,
                Special::RandomGammaGrad => gamma::random_gamma_grad,
                Special::RegularizedIncompleteBeta => return Err(mismatch()),
            };
            results.extend(a.iter().zip(b).map(|(a, b)| function(*a, *b)));
        }
        [a, b, x] => {
            let each = a.iter().zip(b).zip(x);
            results.extend(each.map(|((a, b), x)| gamma::betainc(*a, *b, *x)));
        }
        _ => return Err(mismatch()),
    }
    let data = match out.dtype {
        DType::F16 => f16::data(results.into_iter().map(f16::from_f64).collect()),
        DType::BF16 => bf16::data(results.into_iter().map(bf16::from_f64).collect()),
        DType::F32 => f32::data(results.into_iter().map(|x| x as f32).collect()),
        _ => f64::data(results),
    };
    Buffer::from_data(out.clone(), data)
}

fn mismatch() -> Error {
    Error::internal("a special function was given a number of operands that its type rule refuses")
}

/// The elements in `f64`, as many as the result has: a buffer of rank 0 stands for every element.
fn wide(x: &Buffer, n: usize) -> Result<Vec<f64>> {
    let mut elements: Vec<f64> = match x.dtype() {
        DType::F16 => x.to_vec::<f16>()?.into_iter().map(f16::to_f64).collect(),
        DType::BF16 => x.to_vec::<bf16>()?.into_iter().map(bf16::to_f64).collect(),
        DType::F32 => x.to_vec::<f32>()?.into_iter().map(f64::from).collect(),
        _ => x.to_vec()?,
    };
    if let ([element], []) = (&elements[..], x.shape()) {
        let element = *element;
        elements.resize(n, element);
    }
    Ok(elements)
}
