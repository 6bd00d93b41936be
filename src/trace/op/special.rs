//! Special functions of several numbers, element by element.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Params, Prim, Primitive, Tangent,
    batch_elementwise, elementwise::common_shape, not_linear, one,
};
use crate::{
    array::{Array, Aval},
    error::{Error, Result},
    trace::bind,
};
use smallvec::smallvec;

/// `zeta`
pub const ZETA: Prim<Special> = Prim::new("zeta");
/// `polygamma`
pub const POLYGAMMA: Prim<Special> = Prim::new("polygamma");
/// `igamma_grad_a`
pub const IGAMMA_GRAD_A: Prim<Special> = Prim::new("igamma_grad_a");
/// `random_gamma_grad`
pub const RANDOM_GAMMA_GRAD: Prim<Special> = Prim::new("random_gamma_grad");
/// `regularized_incomplete_beta`
pub const REGULARIZED_INCOMPLETE_BETA: Prim<Special> = Prim::new("regularized_incomplete_beta");

functions! {
    /// A special function of several floats of one element type, and of one shape or of rank 0.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Special {
        /// The Hurwitz zeta function `ζ(x, q)`.
        Zeta,
        /// The `n`-th derivative of the digamma function, `ψ⁽ⁿ⁾(x)`.
        Polygamma,
        /// The derivative of `igamma(a, x)` in `a`.
        IgammaGradA,
        /// The derivative in `a` of a sample `x` of the gamma distribution with shape `a`, its quantile held fixed.
        RandomGammaGrad,
        /// The regularised incomplete beta function `Iₓ(a, b)`, of `a`, `b` and `x`.
        RegularizedIncompleteBeta,
    }
}

impl Special {
    fn arity(self) -> usize {
        match self {
            Special::RegularizedIncompleteBeta => 3,
            _ => 2,
        }
    }

    /// The derivative of the result in its last operand; there is none in the others.
    fn slope(self, x: &[Array]) -> Result<Array> {
        match (self, x) {
            (Special::Zeta, [x, q]) => Ok(-(x * bind(self, &[&(x + 1.0), q]))),
            (Special::Polygamma, [n, x]) => Ok(bind(self, &[&(n + 1.0), x])),
            (Special::RegularizedIncompleteBeta, [a, b, x]) => {
                let lbeta = a.lgamma() + b.lgamma() - (a + b).lgamma();
                Ok(((b - 1.0) * (-x).log1p() + (a - 1.0) * x.log() - lbeta).exp())
            }
            _ => Err(self.no_derivative(x.len().saturating_sub(1))),
        }
    }

    fn no_derivative(self, operand: usize) -> Error {
        Error::unsupported(format!(
            "`{}` has no derivative in operand {operand}",
            self.name()
        ))
    }
}

impl Primitive for Special {
    fn name(&self) -> &'static str {
        match self {
            Special::Zeta => "zeta",
            Special::Polygamma => "polygamma",
            Special::IgammaGradA => "igamma_grad_a",
            Special::RandomGammaGrad => "random_gamma_grad",
            Special::RegularizedIncompleteBeta => "regularized_incomplete_beta",
        }
    }
    fn params(&self) -> Params {
        vec![]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let name = self.name();
        let Some(first) = x.first().filter(|_| x.len() == self.arity()) else {
            return Err(Error::internal(format!(
                "`{name}` takes {} operands, {} were given",
                self.arity(),
                x.len()
            )));
        };
        if let Some(other) = x
            .iter()
            .find(|a| !a.dtype.is_float() || a.dtype != first.dtype)
        {
            return Err(Error::dtype(format!(
                "`{name}` takes floats of one element type, got {first} and {other}"
            )));
        }
        let weak_type = x.iter().all(|a| a.weak_type);
        Ok(smallvec![Aval {
            weak_type,
            ..common_shape(name, x)?
        }])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let y = bind(*self, &x.iter().collect::<Vec<_>>());
        let last = x.len().saturating_sub(1);
        if let Some(operand) = t.iter().take(last).position(Option::is_some) {
            return Err(self.no_derivative(operand));
        }
        let Some(Some(t)) = t.last() else {
            return one(y, None);
        };
        let t = (self.slope(x)? * t).broadcast_to(y.shape());
        one(y, Some(t))
    }
    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(not_linear(self.name()))
    }
    fn batch(&self, x: &[Array], dims: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_elementwise((*self).into(), x, dims, axis)
    }
    opaque!();
}
