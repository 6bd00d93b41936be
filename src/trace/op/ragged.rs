//! Contractions of groups of rows, each with an array of its own: `ragged_dot_general`.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, DotGeneral, Inner, Jvp, Param, Params, Prim, Primitive,
    Tangent,
    defined::{Defined, batch_of, jvp_of, transpose_of},
    operands, remaining, tuple_text,
};
use crate::{
    array::{Array, Aval, Dims},
    error::{Error, Result},
    trace::bind,
};

/// `ragged_dot_general`
pub const RAGGED_DOT_GENERAL: Prim<RaggedDotGeneral> = Prim::new("ragged_dot_general");

/// A contraction whose left operand has groups of rows along one axis, of sizes that a third operand says.
///
/// Where that axis is one of the result's, the right operand has an array for each group. Where it is contracted, the result has one
/// for each group, along a new axis in front. Where it is a batch axis, groups change nothing. Rows behind the last group count as zero.
///
/// The sizes are a list of integers, or lists along the left operand's axes that stand before the ragged one: its batch axes, and
/// those others of the same role.
#[derive(Clone, PartialEq, Debug)]
pub struct RaggedDotGeneral {
    /// The contraction. The axis of groups of the right operand is none of those that it names.
    pub dot: DotGeneral,
    /// The axis of the left operand that has groups.
    pub lhs_ragged: usize,
    /// The axis of the right operand that has an array for each group.
    pub rhs_group: Option<usize>,
}

/// What the axis with groups is to the contraction.
enum Role {
    Kept,
    Contracted(usize),
    Batch,
}

impl RaggedDotGeneral {
    /// Rows of a matrix in groups, each times a matrix of its own: `[m,k]` by `[g,k,n]`.
    pub fn rows() -> Self {
        RaggedDotGeneral {
            dot: DotGeneral::new(([1], [1]), ((), ())),
            lhs_ragged: 0,
            rhs_group: Some(0),
        }
    }

    fn role(&self) -> Role {
        let within = |axes: &[usize]| axes.iter().position(|a| *a == self.lhs_ragged);
        match within(&self.dot.lhs_contract) {
            Some(i) => Role::Contracted(i),
            None if within(&self.dot.lhs_batch).is_some() => Role::Batch,
            None => Role::Kept,
        }
    }

    /// The axes of one operand along which lists of sizes may differ.
    fn before(
        &self,
        rank: usize,
        ragged: usize,
        contract: &[usize],
        batch: &[usize],
    ) -> Vec<usize> {
        let until = |axes: &[usize]| -> Vec<usize> {
            axes.iter().copied().take_while(|a| *a != ragged).collect()
        };
        match self.role() {
            Role::Batch => until(batch),
            Role::Contracted(_) => [batch.to_vec(), until(contract)].concat(),
            Role::Kept => [batch.to_vec(), until(&remaining(rank, contract, batch))].concat(),
        }
    }

    /// The operand once for each group, along a new axis in front, with zeros in the place of what belongs to other groups.
    fn by_group(&self, x: &Array, ragged: usize, before: &[usize], sizes: &Array) -> Result<Array> {
        let shape = x.aval()?.shape;
        let counted = sizes.aval()?;
        let groups = counted.shape.last().copied().unwrap_or(0);
        let wide: Dims = std::iter::once(groups)
            .chain(shape.iter().copied())
            .collect();
        let last = counted.ndim().saturating_sub(1);
        let ends = sizes.cumsum(-1);
        let starts = &ends - sizes;
        // One list for all, or lists along axes that have to be in the array's order.
        let axes: &[usize] = if last == 0 { &[] } else { before };
        let mut order: Vec<usize> = (0..axes.len()).collect();
        order.sort_by_key(|i| axes.get(*i).copied());
        let permutation: Dims = std::iter::once(last).chain(order.iter().copied()).collect();
        let places: Dims = std::iter::once(0)
            .chain(order.iter().filter_map(|i| axes.get(*i)).map(|a| a + 1))
            .collect();
        let spread = |x: &Array| x.transpose(&permutation).broadcast_in_dim(&wide, &places);
        let at = Array::iota(&wide, ragged + 1, counted.dtype);
        let within = spread(&starts).le(&at) & at.lt(spread(&ends));
        let repeated: Dims = (1..=shape.len()).collect();
        let x = x.broadcast_in_dim(&wide, repeated);
        Ok(within.select(&x, Array::zeros_like(&x)))
    }
}

impl Defined for RaggedDotGeneral {
    fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
        let [x, y, sizes] = operands(self.name(), x)?;
        let later = |axes: &[usize]| -> Dims { axes.iter().map(|a| a + 1).collect() };
        let front = |axes: &[usize]| -> Dims {
            std::iter::once(0)
                .chain(axes.iter().map(|a| a + 1))
                .collect()
        };
        let d = &self.dot;
        let before = self.before(x.ndim(), self.lhs_ragged, &d.lhs_contract, &d.lhs_batch);
        let (dot, x, y) = match self.role() {
            Role::Batch => (d.clone(), x.clone(), y.clone()),
            Role::Kept => {
                let group = self.rhs_group.unwrap_or(0);
                let lhs_contract = front(&d.lhs_contract);
                let rhs_contract = std::iter::once(group).chain(d.rhs_contract.iter().copied());
                let dot = DotGeneral {
                    lhs_contract,
                    rhs_contract: rhs_contract.collect(),
                    lhs_batch: later(&d.lhs_batch),
                    ..d.clone()
                };
                let x = self.by_group(x, self.lhs_ragged, &before, sizes)?;
                (dot, x, y.clone())
            }
            Role::Contracted(i) => {
                let rhs_ragged = d.rhs_contract.get(i).copied().unwrap_or(0);
                let beside = self.before(y.ndim(), rhs_ragged, &d.rhs_contract, &d.rhs_batch);
                let dot = DotGeneral {
                    lhs_contract: later(&d.lhs_contract),
                    rhs_contract: later(&d.rhs_contract),
                    lhs_batch: front(&d.lhs_batch),
                    rhs_batch: front(&d.rhs_batch),
                    ..d.clone()
                };
                let x = self.by_group(x, self.lhs_ragged, &before, sizes)?;
                (dot, x, self.by_group(y, rhs_ragged, &beside, sizes)?)
            }
        };
        Ok(vec![bind(dot, &[&x, &y])])
    }
}

impl Primitive for RaggedDotGeneral {
    fn name(&self) -> &'static str {
        RAGGED_DOT_GENERAL.name
    }
    fn params(&self) -> Params {
        let d = &self.dot;
        let group: Dims = self.rhs_group.into_iter().collect();
        let numbers = format!(
            "RaggedDotDimensionNumbers(dot_dimension_numbers=(({}, {}), ({}, {})), lhs_ragged_dimensions={}, \
             rhs_group_dimensions={})",
            tuple_text(&d.lhs_contract),
            tuple_text(&d.rhs_contract),
            tuple_text(&d.lhs_batch),
            tuple_text(&d.rhs_batch),
            tuple_text(&[self.lhs_ragged]),
            tuple_text(&group)
        );
        let none = || "None".to_string();
        vec![
            ("group_offset", Param::text("None")),
            ("out_sharding", Param::text("None")),
            (
                "precision",
                Param::text(d.precision.map_or_else(none, |p| p.to_string())),
            ),
            (
                "preferred_element_type",
                Param::text(
                    d.preferred_element_type
                        .map_or_else(none, |d| d.name().to_string()),
                ),
            ),
            ("ragged_dot_dimension_numbers", Param::text(numbers)),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [l, r, sizes] = operands(self.name(), x)?;
        let d = &self.dot;
        let refuse = |why: String| Err(Error::shape(format!("`{}`: {why}", self.name())));
        if self.lhs_ragged >= l.ndim() {
            return refuse(format!("{l} has no axis {}", self.lhs_ragged));
        }
        if !sizes.dtype.is_integer() {
            return refuse(format!("the sizes of groups are integers, got {sizes}"));
        }
        let before = self.before(l.ndim(), self.lhs_ragged, &d.lhs_contract, &d.lhs_batch);
        let lead: Vec<usize> = before
            .iter()
            .filter_map(|a| l.shape.get(*a).copied())
            .collect();
        let groups = match sizes.shape.split_last() {
            Some((g, l)) if l.is_empty() || *l == lead[..] => *g,
            _ => {
                return refuse(format!(
                    "the sizes of groups are one list, or lists along axes of sizes {}, got {sizes}",
                    tuple_text(&lead)
                ));
            }
        };
        match (self.role(), self.rhs_group) {
            (Role::Kept, Some(group)) => {
                let named = d.rhs_contract.iter().chain(&d.rhs_batch).any(|a| *a == group);
                if named || r.shape.get(group) != Some(&groups) {
                    return refuse(format!(
                        "axis {group} of {r} does not hold an array for each of {groups} groups"
                    ));
                }
                // As the contraction with one of the arrays, whose axes are numbered without that of the groups.
                let without = |axes: &[usize]| -> Dims {
                    axes.iter().map(|a| a - usize::from(*a > group)).collect()
                };
                let dot = DotGeneral {
                    rhs_contract: without(&d.rhs_contract),
                    rhs_batch: without(&d.rhs_batch),
                    ..d.clone()
                };
                let mut one = (*r).clone();
                one.shape.remove(group);
                dot.infer(&[l, &one])
            }
            (Role::Kept, None) => {
                refuse("the right operand needs an axis with an array for each group".into())
            }
            (_, Some(_)) => refuse("the right operand has an array for each group only where the axis with groups is kept".into()),
            (role, None) => {
                let mut y = d.infer(&[l, r])?;
                if let (Role::Contracted(_), Some(y)) = (role, y.first_mut()) {
                    y.shape.insert(0, groups);
                }
                Ok(y)
            }
        }
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        jvp_of(self, x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        transpose_of(self, ct, x)
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_of(self, x, d, axis)
    }
    opaque!();
}
