//! Contraction: `dot_general`.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, ContractPrecision, Inner, Jvp, Labels, Param, Params,
    Prim, Primitive, Tangent, add_tangents, batch_to_front, check_axes, cotangent, inverse,
    not_linear, one, operands, remaining, shifted, tuple_text,
};
use crate::{
    array::{Array, Aval, DType, Dims, IntoDims},
    error::{Error, Result},
    trace::bind,
};
use smallvec::smallvec;

/// `dot_general`
pub const DOT_GENERAL: Prim<DotGeneral> = Prim::new("dot_general");

/// The sum of products over pairs of axes. The result's axes are the batch axes, the left operand's others, the right one's.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DotGeneral {
    /// The axes of the left operand that are summed over.
    pub lhs_contract: Dims,
    /// The axes of the right operand that they are paired with.
    pub rhs_contract: Dims,
    /// The axes of the left operand that both share and the result keeps.
    pub lhs_batch: Dims,
    /// The axes of the right operand that they are paired with.
    pub rhs_batch: Dims,
    /// What it is asked to be accurate to.
    pub precision: Option<ContractPrecision>,
    /// The element type of the result, where it is not that of the operands.
    pub preferred_element_type: Option<DType>,
}

impl DotGeneral {
    /// A contraction over pairs of axes, with pairs of batch axes.
    pub fn new(
        contract: (impl IntoDims, impl IntoDims),
        batch: (impl IntoDims, impl IntoDims),
    ) -> Self {
        DotGeneral {
            lhs_contract: contract.0.into_dims(),
            rhs_contract: contract.1.into_dims(),
            lhs_batch: batch.0.into_dims(),
            rhs_batch: batch.1.into_dims(),
            ..DotGeneral::default()
        }
    }

    /// The same, asked to be so accurate.
    pub fn precision(self, precision: impl Into<ContractPrecision>) -> Self {
        DotGeneral {
            precision: Some(precision.into()),
            ..self
        }
    }

    /// The cotangent of one operand: contract `ct` with the other over the other's own axes, then put axes where they were.
    /// `ct` has the axes (batch, left's others, right's others).
    fn cotangent_of(&self, left: bool, ct: &Array, other: &Array, own: &Aval) -> Array {
        let (contract, batch, other_contract, other_batch) = if left {
            (
                &self.lhs_contract,
                &self.lhs_batch,
                &self.rhs_contract,
                &self.rhs_batch,
            )
        } else {
            (
                &self.rhs_contract,
                &self.rhs_batch,
                &self.lhs_contract,
                &self.lhs_batch,
            )
        };
        let own_rest = remaining(own.ndim(), contract, batch);
        let other_rest = remaining(other.ndim(), other_contract, other_batch);
        let nb = batch.len();
        let ct_contract: Dims = if left {
            (nb + own_rest.len()..ct.ndim()).collect()
        } else {
            (nb..nb + other_rest.len()).collect()
        };
        let product = DotGeneral {
            lhs_contract: ct_contract,
            rhs_contract: other_rest,
            lhs_batch: (0..nb).collect(),
            rhs_batch: other_batch.clone(),
            precision: self.precision,
            preferred_element_type: self.preferred_element_type,
        };
        let g = bind(product, &[ct, other]);
        // The other's contracted axes come out in ascending order.
        let mut pairs: Vec<(usize, usize)> = other_contract
            .iter()
            .copied()
            .zip(contract.iter().copied())
            .collect();
        pairs.sort_unstable();
        let placed: Dims = batch
            .iter()
            .copied()
            .chain(own_rest)
            .chain(pairs.into_iter().map(|p| p.1))
            .collect();
        g.transpose(inverse(&placed)).convert(own.dtype)
    }
}

impl Primitive for DotGeneral {
    fn name(&self) -> &'static str {
        "dot_general"
    }
    fn params(&self) -> Params {
        let list = |d: &[usize]| {
            format!(
                "[{}]",
                d.iter()
                    .map(usize::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        };
        let mut params = vec![(
            "dimension_numbers",
            Param::text(format!(
                "(({}, {}), ({}, {}))",
                list(&self.lhs_contract),
                list(&self.rhs_contract),
                list(&self.lhs_batch),
                list(&self.rhs_batch)
            )),
        )];
        // What is not asked for is not printed.
        params.extend(self.precision.map(|p| ("precision", Param::text(p))));
        params.extend(
            self.preferred_element_type
                .map(|d| ("preferred_element_type", Param::text(d.name()))),
        );
        params
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [l, r] = operands(self.name(), x)?;
        let pairs = [
            ("contracted", &self.lhs_contract, &self.rhs_contract),
            ("batch", &self.lhs_batch, &self.rhs_batch),
        ];
        for (what, a, b) in pairs {
            if a.len() != b.len() {
                return Err(Error::argument(format!(
                    "dot_general: {what} axes come in pairs, got {} and {}",
                    tuple_text(a),
                    tuple_text(b)
                )));
            }
            check_axes("dot_general", &format!("the left {what} axes"), a, l.ndim())?;
            check_axes(
                "dot_general",
                &format!("the right {what} axes"),
                b,
                r.ndim(),
            )?;
            for (i, j) in a.iter().zip(b) {
                if l.shape.get(*i) != r.shape.get(*j) {
                    return Err(Error::shape(format!(
                        "dot_general: {what} axis {i} of {l} does not match axis {j} of {r}"
                    )));
                }
            }
        }
        for (what, a, b) in [
            ("left", &self.lhs_contract, &self.lhs_batch),
            ("right", &self.rhs_contract, &self.rhs_batch),
        ] {
            if let Some(both) = a.iter().find(|i| b.contains(i)) {
                return Err(Error::argument(format!(
                    "dot_general: axis {both} of the {what} operand is both contracted and batch"
                )));
            }
        }
        if l.dtype != r.dtype && self.preferred_element_type.is_none() {
            return Err(Error::dtype(format!(
                "dot_general needs operands of one element type, got {l} and {r}"
            ))
            .note("`.dot` and `.matmul` promote; or give `preferred_element_type`"));
        }
        let mut shape: Dims = self
            .lhs_batch
            .iter()
            .filter_map(|i| l.shape.get(*i).copied())
            .collect();
        shape.extend(
            remaining(l.ndim(), &self.lhs_contract, &self.lhs_batch)
                .iter()
                .filter_map(|i| l.shape.get(*i).copied()),
        );
        shape.extend(
            remaining(r.ndim(), &self.rhs_contract, &self.rhs_batch)
                .iter()
                .filter_map(|i| r.shape.get(*i).copied()),
        );
        let dtype = self.preferred_element_type.unwrap_or(l.dtype);
        let weak_type = l.weak_type && r.weak_type && dtype == l.dtype;
        Ok(smallvec![Aval {
            shape,
            dtype,
            weak_type
        }])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [l, r] = operands(self.name(), x)?;
        let [dl, dr] = operands(self.name(), t)?;
        let y = bind(self.clone(), &[l, r]);
        let left = dl.as_ref().map(|t| bind(self.clone(), &[t, r]));
        let right = dr.as_ref().map(|t| bind(self.clone(), &[l, t]));
        one(y, add_tangents(left, right))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None, None]);
        };
        match x {
            [Arg::Linear(own), Arg::Known(other)] => {
                Ok(vec![Some(self.cotangent_of(true, ct, other, own)), None])
            }
            [Arg::Known(other), Arg::Linear(own)] => {
                Ok(vec![None, Some(self.cotangent_of(false, ct, other, own))])
            }
            _ => Err(not_linear(self.name())),
        }
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let [l, r] = operands(self.name(), x)?;
        let [dl, dr] = operands(self.name(), d)?;
        let mut op = self.clone();
        let left = dl.map(|_| batch_to_front(l, *dl, axis.size));
        let right = dr.map(|_| batch_to_front(r, *dr, axis.size));
        if left.is_some() {
            op.lhs_contract = shifted(&self.lhs_contract);
            op.lhs_batch = shifted(&self.lhs_batch);
        }
        if right.is_some() {
            op.rhs_contract = shifted(&self.rhs_contract);
            op.rhs_batch = shifted(&self.rhs_batch);
        }
        let at = match (&left, &right) {
            (Some(_), Some(_)) => {
                op.lhs_batch.insert(0, 0);
                op.rhs_batch.insert(0, 0);
                0
            }
            // The batch axis is the first of the operand's own axes.
            (Some(_), None) => self.lhs_batch.len(),
            _ => l.ndim() - self.lhs_contract.len(),
        };
        let y = bind(
            op,
            &[left.as_ref().unwrap_or(l), right.as_ref().unwrap_or(r)],
        );
        Ok((vec![y], vec![Some(at)]))
    }
    fn axes(&self, x: &[&Aval]) -> Axes {
        let [l, r] = x else { return Axes::Opaque };
        // A result of another type is not the plain product.
        let natural = |d: DType| d == l.dtype && d == r.dtype;
        if !self.preferred_element_type.is_none_or(natural) {
            return Axes::Opaque;
        }
        let lhs: Labels = (0..l.ndim() as u16).collect();
        let mut rhs: Labels = (0..r.ndim()).map(|i| (l.ndim() + i) as u16).collect();
        let pairs = self.lhs_contract.iter().zip(&self.rhs_contract);
        for (i, j) in pairs.chain(self.lhs_batch.iter().zip(&self.rhs_batch)) {
            if let Some(slot) = rhs.get_mut(*j) {
                *slot = *i as u16;
            }
        }
        let output = self
            .lhs_batch
            .iter()
            .map(|i| *i as u16)
            .chain(
                remaining(l.ndim(), &self.lhs_contract, &self.lhs_batch)
                    .iter()
                    .map(|i| *i as u16),
            )
            .chain(
                remaining(r.ndim(), &self.rhs_contract, &self.rhs_batch)
                    .iter()
                    .filter_map(|i| rhs.get(*i).copied()),
            )
            .collect();
        Axes::Product {
            operands: vec![lhs, rhs],
            output,
        }
    }
    no_programs!();
}
