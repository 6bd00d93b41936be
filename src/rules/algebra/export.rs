//! Plans as equations of dense primitives.
//!
//! The order of a tensor's axes in the program need not be that of its class: each exported tensor says which axis of the class
//! each of its axes is, contractions take and give what order they like, and a `transpose` is written only where two terms of
//! a sum must be aligned or where the program wants another order of a result.

use super::apply::Application;
use super::cost::CostModel;
use super::import::Island;
use super::language::{Label, Labels, Shape};
use super::plan::{Action, Plan, PlanStep};
use crate::array::{Aval, Buffer, DType, Dims, Scalar};
use crate::error::{Error, Result};
use crate::trace::op::{
    Binary, BroadcastInDim, ConvertElementType, DotGeneral, Op, OptimizationBarrier, Reduce,
    Reducer, Reshape, Transpose, Unary,
};
use crate::trace::{Atom, Eqn, Jaxpr, Literal, Var};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};
use std::panic::Location;
use std::sync::Arc;

/// An equation and the equation of the program whose place it takes.
pub(super) struct Placed {
    pub(super) place: usize,
    pub(super) eqn: Eqn,
}

/// The equations of a plan, and what stands for each root of the island.
pub(super) struct Exported {
    pub(super) eqns: Vec<Placed>,
    pub(super) roots: Vec<(Var, Atom)>,
}

/// Writes a plan as equations; new variables are added to the program.
pub(super) fn export(program: &mut Jaxpr, island: &Island, plan: &Plan) -> Result<Exported> {
    let mut writer = Writer {
        dtype: island.dtype,
        plan,
        wanted: wanted(plan),
        scales: folded_scales(plan),
        program,
        island,
        eqns: Vec::new(),
        place: 0,
        at: Location::caller(),
        tensors: Vec::with_capacity(plan.steps.len()),
    };
    for (index, step) in plan.steps.iter().enumerate() {
        let origin = island.origin.get(step.stands_for as usize).copied();
        writer.place = origin.unwrap_or(0);
        if let Some(eqn) = writer.program.eqns().get(writer.place) {
            writer.at = eqn.at;
        }
        let tensor = match step.again {
            Some(leaf) => writer.again(index, step, leaf)?,
            None => writer.step(index, step)?,
        };
        writer.tensors.push(tensor);
    }
    writer.roots(plan)
}

/// A tensor in the program: its `i`-th axis is axis `axes[i]` of the class.
#[derive(Clone)]
pub(super) struct Tensor {
    pub(super) atom: Atom,
    pub(super) shape: Shape,
    pub(super) axes: Labels,
}

/// A factor: a tensor with the label of each of its axes.
#[derive(Clone)]
pub(super) struct Factor {
    pub(super) atom: Atom,
    pub(super) shape: Shape,
    pub(super) labels: Labels,
}

impl Factor {
    fn elements(&self) -> f64 {
        super::language::elements(&self.shape)
    }
}

pub(super) struct Writer<'a> {
    program: &'a mut Jaxpr,
    pub(super) island: &'a Island,
    pub(super) plan: &'a Plan,
    dtype: DType,
    /// For each step the order of axes that its users would like best.
    wanted: Vec<Option<Labels>>,
    /// For each product the coefficient that the sum above it leaves to it.
    scales: Vec<f64>,
    eqns: Vec<Placed>,
    place: usize,
    at: &'static Location<'static>,
    tensors: Vec<Tensor>,
}

/// From the roots down: roots want the program's order, the terms of a sum the sum's.
fn wanted(plan: &Plan) -> Vec<Option<Labels>> {
    let mut wanted: Vec<Option<Labels>> = vec![None; plan.steps.len()];
    for root in &plan.roots {
        let mut order: Labels = SmallVec::from_elem(0, root.axes.len());
        for (axis, place) in root.axes.iter().enumerate() {
            order[*place as usize] = axis as Label;
        }
        wanted[root.step].get_or_insert(order);
    }
    for index in (0..plan.steps.len()).rev() {
        let step = &plan.steps[index];
        let order = wanted[index].clone();
        let pass =
            |wanted: &mut Vec<Option<Labels>>, operand: usize, labels: &Labels, order: &Labels| {
                let own: Option<Labels> = order
                    .iter()
                    .filter(|label| labels.contains(label))
                    .map(|label| {
                        labels
                            .iter()
                            .position(|l| l == label)
                            .map(|axis| axis as Label)
                    })
                    .collect();
                if let Some(own) = own.filter(|own| own.len() == labels.len()) {
                    wanted[operand].get_or_insert(own);
                }
            };
        match &step.action {
            Action::Sum(terms) => {
                let order = order.unwrap_or_else(|| (0..step.shape.len() as Label).collect());
                for (_, operand, labels) in terms {
                    pass(&mut wanted, *operand, labels, &order);
                }
                wanted[index] = Some(order);
            }
            Action::Product(operands) => {
                if let ([(operand, labels)], Some(order)) = (operands.as_slice(), order) {
                    pass(&mut wanted, *operand, labels, &order);
                }
            }
            Action::Leaf(_) | Action::Band(_) | Action::Call(..) => {}
        }
    }
    wanted
}

/// A term `c · Σ a·b` that nothing else uses is scaled at its smaller factor, not as a whole.
fn folded_scales(plan: &Plan) -> Vec<f64> {
    let mut uses = vec![0u32; plan.steps.len()];
    for step in &plan.steps {
        for operand in step.action.operands() {
            uses[operand] += 1;
        }
    }
    for root in &plan.roots {
        uses[root.step] += 1;
    }
    let mut scales = vec![1.0; plan.steps.len()];
    for step in &plan.steps {
        if let Action::Sum(terms) = &step.action {
            for (coefficient, operand, _) in terms {
                let negated = coefficient.abs() == 1.0 && terms.len() > 1;
                if uses[*operand] == 1 && !negated && plan.is_contraction(*operand) {
                    scales[*operand] = *coefficient;
                }
            }
        }
    }
    scales
}

impl Writer<'_> {
    fn step(&mut self, index: usize, step: &PlanStep) -> Result<Tensor> {
        let rank = step.shape.len();
        match &step.action {
            Action::Leaf(leaf) => {
                let var = self.island.leaves.get(*leaf as usize).copied();
                let var =
                    var.ok_or_else(|| Error::internal("a plan reads a leaf that is not there"))?;
                let atom = match step.structure {
                    Some(_) => Atom::Var(var),
                    None => self.leaf(var, &step.shape),
                };
                Ok(Tensor {
                    atom,
                    shape: step.shape.clone(),
                    axes: (0..rank as Label).collect(),
                })
            }
            Action::Call(applied, operands) => self.call(applied, operands, &step.shape),
            // Nothing is there to be read: products with it are slices and paddings.
            Action::Band(_) => Ok(Tensor {
                atom: self.number(0.0)?,
                shape: step.shape.clone(),
                axes: (0..rank as Label).collect(),
            }),
            Action::Product(operands) if self.moves(operands) => self.moved(index, operands, step),
            Action::Product(operands) => {
                let mut factors: SmallVec<[Factor; 3]> = operands
                    .iter()
                    .map(|(operand, labels)| self.factor(*operand, labels))
                    .collect();
                let scale = self.scales[index];
                if scale != 1.0 {
                    let number = self.number(scale)?;
                    factors.push(Factor {
                        atom: number,
                        shape: Shape::new(),
                        labels: Labels::new(),
                    });
                }
                self.product(factors, &step.shape, self.wanted[index].clone())
            }
            Action::Sum(terms) => {
                let order = self.wanted[index].clone();
                let order = order.unwrap_or_else(|| (0..rank as Label).collect());
                if let Some(whole) = self.direct_sum(terms, &step.shape, &order)? {
                    return Ok(whole);
                }
                self.sum(terms, &step.shape, &order)
            }
        }
    }

    /// A step that is computed again, of operands of which one waits for a leaf: otherwise it would be the same expression as
    /// before, and be shared with it.
    fn again(&mut self, index: usize, step: &PlanStep, leaf: u32) -> Result<Tensor> {
        let plan = self.plan;
        let waits = |operand: &usize| plan.steps[*operand].again.is_some();
        let operands = step.action.operands();
        let early = |operand: &&usize| {
            plan.steps[**operand].structure.is_none()
                && self.tensors[**operand].atom.var().is_some()
        };
        let held = operands.iter().find(early).copied();
        let (Some(held), false) = (held, operands.iter().any(waits)) else {
            return self.step(index, step);
        };
        let gone = || Error::internal("a plan waits for a leaf that is not there");
        let var = *self.island.leaves.get(leaf as usize).ok_or_else(gone)?;
        let before = self.tensors[held].atom.clone();
        let aval = self.program.atom_aval(&before).clone();
        let behind = self.program.fresh(Arc::new(aval));
        let other = self.program.fresh(self.program.aval(var).clone());
        self.eqns.push(Placed {
            place: self.place,
            eqn: Eqn {
                op: OptimizationBarrier.into(),
                inputs: smallvec![before.clone(), Atom::Var(var)],
                outputs: smallvec![behind, other],
                at: self.at,
            },
        });
        self.tensors[held].atom = Atom::Var(behind);
        let tensor = self.step(index, step);
        self.tensors[held].atom = before;
        tensor
    }

    /// The coefficient that the sum above leaves to a product.
    pub(super) fn scale(&self, step: usize) -> f64 {
        self.scales.get(step).copied().unwrap_or(1.0)
    }

    /// An earlier step under the labels of a later one.
    pub(super) fn factor(&self, step: usize, labels: &[Label]) -> Factor {
        let tensor = &self.tensors[step];
        Factor {
            atom: tensor.atom.clone(),
            shape: tensor.shape.clone(),
            labels: tensor
                .axes
                .iter()
                .map(|axis| labels[*axis as usize])
                .collect(),
        }
    }

    pub(super) fn number(&self, value: f64) -> Result<Atom> {
        let buffer = Buffer::scalar(Scalar::Float(value), self.dtype, false);
        Literal::new(Arc::new(buffer))
            .map(Atom::Lit)
            .ok_or_else(|| Error::internal("a number has no axes"))
    }

    /// The element type of what is there already.
    pub(super) fn dtype_of(&self, atom: &Atom) -> DType {
        self.program.atom_aval(atom).dtype
    }

    /// Appends an equation and returns its result.
    pub(super) fn emit(&mut self, op: impl Into<Op>, inputs: &[&Atom], shape: &[usize]) -> Atom {
        let aval = Aval::new(Dims::from_slice(shape), self.dtype);
        let var = self.program.fresh(Arc::new(aval));
        self.eqns.push(Placed {
            place: self.place,
            eqn: Eqn {
                op: op.into(),
                inputs: inputs.iter().map(|atom| (*atom).clone()).collect(),
                outputs: smallvec![var],
                at: self.at,
            },
        });
        Atom::Var(var)
    }

    /// A factor with its axes in another order.
    pub(super) fn transposed(&mut self, factor: Factor, labels: &[Label]) -> Factor {
        if factor.labels.as_slice() == labels {
            return factor;
        }
        let permutation: Dims = labels
            .iter()
            .filter_map(|label| factor.labels.iter().position(|l| l == label))
            .collect();
        let shape: Shape = permutation.iter().map(|axis| factor.shape[*axis]).collect();
        let atom = self.emit(Transpose { permutation }, &[&factor.atom], &shape);
        Factor {
            atom,
            shape,
            labels: labels.into(),
        }
    }

    /// A factor with the axes `labels`, of these sizes, repeated along those that it lacks.
    pub(super) fn broadcast(
        &mut self,
        factor: Factor,
        labels: &[Label],
        shape: &[usize],
    ) -> Factor {
        if factor.labels.len() == labels.len() {
            return self.transposed(factor, labels);
        }
        let kept: Labels = labels
            .iter()
            .copied()
            .filter(|label| factor.labels.contains(label))
            .collect();
        let factor = self.transposed(factor, &kept);
        let broadcast_dimensions = (0..labels.len())
            .filter(|axis| kept.contains(&labels[*axis]))
            .collect();
        let op = BroadcastInDim {
            shape: Dims::from_slice(shape),
            broadcast_dimensions,
        };
        Factor {
            atom: self.emit(op, &[&factor.atom], shape),
            shape: shape.into(),
            labels: labels.into(),
        }
    }

    /// Sums over the axes that are neither in the result nor in another factor.
    pub(super) fn reduced(&mut self, factor: Factor, keep: impl Fn(Label) -> bool) -> Factor {
        let gone: Dims = (0..factor.labels.len())
            .filter(|axis| !keep(factor.labels[*axis]))
            .collect();
        if gone.is_empty() {
            return factor;
        }
        let kept = |axis: &usize| !gone.contains(axis);
        let shape: Shape = (0..factor.shape.len())
            .filter(kept)
            .map(|axis| factor.shape[axis])
            .collect();
        let labels = (0..factor.labels.len())
            .filter(kept)
            .map(|axis| factor.labels[axis])
            .collect();
        let op: Op = match gone.iter().all(|axis| factor.shape[*axis] == 1) {
            true => Reshape {
                new_sizes: Dims::from_slice(&shape),
            }
            .into(),
            false => Reduce {
                reducer: Reducer::Sum,
                axes: gone,
            }
            .into(),
        };
        Factor {
            atom: self.emit(op, &[&factor.atom], &shape),
            shape,
            labels,
        }
    }

    fn product(
        &mut self,
        factors: SmallVec<[Factor; 3]>,
        shape: &[usize],
        wanted: Option<Labels>,
    ) -> Result<Tensor> {
        let rank = shape.len() as Label;
        let (mut tensors, scalars): (SmallVec<[Factor; 3]>, SmallVec<[Factor; 3]>) =
            factors.into_iter().partition(|f| !f.labels.is_empty());
        for factor in &mut tensors {
            *factor = self.diagonal(factor.clone());
        }
        for index in 0..tensors.len() {
            let others: Labels = tensors
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .flat_map(|(_, factor)| factor.labels.iter().copied())
                .collect();
            let factor = tensors[index].clone();
            tensors[index] = self.reduced(factor, |label| label < rank || others.contains(&label));
        }
        let wanted = wanted.unwrap_or_else(|| (0..rank).collect());
        let scale = self.scalar_product(&scalars);
        let result_size = super::language::elements(shape);
        let result = match (tensors.len(), scale) {
            (0, None) => self.ones()?,
            (0, Some(scale)) => scale,
            (1, scale) => {
                let only = tensors.remove(0);
                self.scaled(only, scale)
            }
            (2, scale) => {
                let (mut right, mut left) = (tensors.remove(1), tensors.remove(0));
                let (l, r) = (left.elements(), right.elements());
                let scale = match scale {
                    Some(_) if r <= l && r <= result_size => {
                        right = self.scaled(right, scale);
                        None
                    }
                    Some(_) if l <= result_size => {
                        left = self.scaled(left, scale);
                        None
                    }
                    other => other,
                };
                let product = self.pair(left, right, rank, &wanted);
                self.scaled(product, scale)
            }
            _ => return Err(Error::internal("a plan multiplies three tensors at once")),
        };
        let result = match result.labels.len() == shape.len() {
            true => result,
            false => {
                let order: Labels = (0..rank).collect();
                self.broadcast(result, &order, shape)
            }
        };
        Ok(Tensor {
            atom: result.atom,
            shape: result.shape,
            axes: result.labels,
        })
    }

    /// What users know to be equal, equation by equation.
    fn call(
        &mut self,
        applied: &Application,
        operands: &[(usize, Labels)],
        shape: &[usize],
    ) -> Result<Tensor> {
        let inner = &applied.program;
        let broken = || Error::internal("an equality has no result");
        let mut names: FxHashMap<Var, Atom> = FxHashMap::default();
        for (var, (step, axes)) in inner.invars().iter().zip(operands) {
            let own: Labels = (0..axes.len() as Label).collect();
            let factor = self.factor(*step, &own);
            names.insert(*var, self.transposed(factor, axes).atom);
        }
        for (var, value) in inner.consts() {
            let own = self.program.fresh(inner.aval(*var).clone());
            self.program.consts.push((own, value.clone()));
            names.insert(*var, Atom::Var(own));
        }
        let named = |names: &FxHashMap<Var, Atom>, atom: &Atom| match atom.var() {
            Some(var) => names.get(&var).cloned().ok_or_else(broken),
            None => Ok(atom.clone()),
        };
        for eqn in inner.eqns() {
            let inputs = eqn.inputs.iter().map(|atom| named(&names, atom));
            let inputs = inputs.collect::<Result<_>>()?;
            let mut outputs = SmallVec::new();
            for var in &eqn.outputs {
                let own = self.program.fresh(inner.aval(*var).clone());
                names.insert(*var, Atom::Var(own));
                outputs.push(own);
            }
            self.eqns.push(Placed {
                place: self.place,
                eqn: Eqn {
                    op: eqn.op.clone(),
                    inputs,
                    outputs,
                    at: self.at,
                },
            });
        }
        Ok(Tensor {
            atom: named(&names, inner.outs().first().ok_or_else(broken)?)?,
            shape: shape.into(),
            axes: (0..shape.len() as Label).collect(),
        })
    }

    fn ones(&self) -> Result<Factor> {
        Ok(Factor {
            atom: self.number(1.0)?,
            shape: Shape::new(),
            labels: Labels::new(),
        })
    }

    pub(super) fn scalar_product(&mut self, scalars: &[Factor]) -> Option<Factor> {
        let (first, rest) = scalars.split_first()?;
        let mut product = first.clone();
        for next in rest {
            product.atom = self.emit(Binary::Mul, &[&product.atom, &next.atom], &[]);
        }
        Some(product)
    }

    pub(super) fn scaled(&mut self, factor: Factor, scale: Option<Factor>) -> Factor {
        let Some(scale) = scale else {
            return factor;
        };
        let atom = self.emit(Binary::Mul, &[&factor.atom, &scale.atom], &factor.shape);
        Factor { atom, ..factor }
    }

    /// Whether elements of two tensors with these axes are multiplied and then added up, as the model has it.
    fn adds_up(&self, factor: &Factor, rank: Label) -> bool {
        let (mut batch, mut summed) = (1.0, 1.0);
        for (label, size) in factor.labels.iter().zip(&factor.shape) {
            match *label < rank {
                true => batch *= *size as f64,
                false => summed *= *size as f64,
            }
        }
        let itemsize = f64::from(self.island.problem.itemsize);
        CostModel::current().adds_up(itemsize, batch, summed)
    }

    /// The product of two tensors, summed over the labels that they share and that the result lacks.
    fn pair(&mut self, left: Factor, right: Factor, rank: Label, wanted: &[Label]) -> Factor {
        let shared = |label: &Label| right.labels.contains(label) && left.labels.contains(label);
        let contracts = left.labels.iter().any(|l| shared(l) && *l >= rank);
        let same = left.labels.len() == right.labels.len() && left.labels.iter().all(shared);
        if contracts && same && self.adds_up(&left, rank) {
            let (big, small) = (left.clone(), right.clone());
            let small = self.transposed(small, &big.labels);
            let atom = self.emit(Binary::Mul, &[&big.atom, &small.atom], &big.shape);
            return self.reduced(Factor { atom, ..big }, |label| label < rank);
        }
        if !contracts {
            let (big, small) = match left.labels.len() >= right.labels.len() {
                true => (&left, &right),
                false => (&right, &left),
            };
            if small.labels.iter().all(|label| big.labels.contains(label)) {
                let (big, small) = (big.clone(), small.clone());
                let small = self.broadcast(small, &big.labels, &big.shape);
                let atom = self.emit(Binary::Mul, &[&big.atom, &small.atom], &big.shape);
                return Factor { atom, ..big };
            }
        }
        // Batch axes in the order in which they are wanted, then the left operand's own, then the right one's.
        let batch: Labels = wanted
            .iter()
            .copied()
            .filter(|label| shared(label))
            .collect();
        let order = |a: &Factor, b: &Factor| -> Labels {
            let own = |factor: &Factor, other: &Factor| -> Labels {
                let own = factor.labels.iter().copied();
                own.filter(|label| !other.labels.contains(label)).collect()
            };
            batch
                .iter()
                .copied()
                .chain(own(a, b))
                .chain(own(b, a))
                .collect()
        };
        // The order that is wanted; if both are, the tensor with more axes first, as one writes a matrix and a vector.
        let fits = |a: &Factor, b: &Factor| order(a, b).as_slice() == wanted;
        let turned = match (fits(&left, &right), fits(&right, &left)) {
            (true, true) => right.labels.len() > left.labels.len(),
            (_, turned) => turned,
        };
        let (a, b) = match turned {
            true => (&right, &left),
            false => (&left, &right),
        };
        let labels = order(a, b);
        let axis = |factor: &Factor, label: &Label| factor.labels.iter().position(|l| l == label);
        let summed = a.labels.iter().filter(|l| shared(l) && **l >= rank);
        let (mut lhs_contract, mut rhs_contract) = (Dims::new(), Dims::new());
        for label in summed {
            lhs_contract.extend(axis(a, label));
            rhs_contract.extend(axis(b, label));
        }
        let op = DotGeneral {
            lhs_contract,
            rhs_contract,
            lhs_batch: batch.iter().filter_map(|label| axis(a, label)).collect(),
            rhs_batch: batch.iter().filter_map(|label| axis(b, label)).collect(),
            preferred_element_type: self.island.preferred.then_some(self.dtype),
            ..DotGeneral::default()
        };
        let shape: Shape = labels
            .iter()
            .filter_map(|label| {
                let of = |factor: &Factor| axis(factor, label).map(|axis| factor.shape[axis]);
                of(a).or_else(|| of(b))
            })
            .collect();
        let atom = self.emit(op, &[&a.atom, &b.atom], &shape);
        Factor {
            atom,
            shape,
            labels,
        }
    }

    fn sum(
        &mut self,
        terms: &[(f64, usize, Labels)],
        shape: &[usize],
        order: &Labels,
    ) -> Result<Tensor> {
        let sizes: Shape = order.iter().map(|label| shape[*label as usize]).collect();
        let alone = terms.len() == 1;
        let mut total: Option<(Factor, bool)> = None;
        // A term that has all axes and is not negated comes first.
        let mut terms: SmallVec<[(f64, Factor); 4]> = terms
            .iter()
            .map(|(coefficient, step, labels)| {
                let folded = self.scales[*step] != 1.0;
                let coefficient = if folded { 1.0 } else { *coefficient };
                (coefficient, self.factor(*step, labels))
            })
            .collect();
        terms.sort_by_key(|(coefficient, factor)| {
            (factor.labels.len() != order.len(), *coefficient < 0.0)
        });
        for (coefficient, factor) in terms {
            let (coefficient, negated) = match coefficient == -1.0 && !alone {
                true => (1.0, true),
                false => (coefficient, false),
            };
            let mut factor = factor;
            if coefficient == -1.0 {
                factor.atom = self.emit(Unary::Neg, &[&factor.atom], &factor.shape);
            } else if coefficient != 1.0 {
                factor = self.times(factor, coefficient)?;
            }
            let scalar = factor.labels.is_empty() && total.is_some();
            let factor = match scalar {
                true => factor,
                false => self.broadcast(factor, order, &sizes),
            };
            total = Some(match total {
                None => (factor, negated),
                Some((sum, sum_negated)) => {
                    let (op, a, b) = match (sum_negated, negated) {
                        (false, false) | (true, true) => (Binary::Add, sum, factor),
                        (false, true) => (Binary::Sub, sum, factor),
                        (true, false) => (Binary::Sub, factor, sum),
                    };
                    let atom = self.emit(op, &[&a.atom, &b.atom], &sizes);
                    let whole = Factor {
                        atom,
                        shape: sizes.clone(),
                        labels: order.clone(),
                    };
                    (whole, sum_negated && negated)
                }
            });
        }
        let Some((mut sum, negated)) = total else {
            return Err(Error::internal("a plan has a sum without terms"));
        };
        if negated {
            sum.atom = self.emit(Unary::Neg, &[&sum.atom], &sizes);
        }
        Ok(Tensor {
            atom: sum.atom,
            shape: sum.shape,
            axes: sum.labels,
        })
    }

    /// A factor times a number; two numbers are multiplied at once.
    pub(super) fn times(&mut self, factor: Factor, coefficient: f64) -> Result<Factor> {
        if let Atom::Lit(literal) = &factor.atom
            && let Some(value) = literal.value().as_f64()
        {
            let atom = self.number(value * coefficient)?;
            return Ok(Factor { atom, ..factor });
        }
        let number = self.number(coefficient)?;
        let atom = self.emit(Binary::Mul, &[&factor.atom, &number], &factor.shape);
        Ok(Factor { atom, ..factor })
    }

    /// A tensor from outside, in the island's element type and with its axes taken apart as the island has them.
    fn leaf(&mut self, var: Var, shape: &[usize]) -> Atom {
        let aval = self.program.aval(var);
        let (dtype, reshaped) = (aval.dtype, aval.shape.as_slice() != shape);
        let mut atom = Atom::Var(var);
        if dtype != self.dtype {
            let given = aval.shape.clone();
            let op = ConvertElementType {
                new_dtype: self.dtype,
                weak_type: false,
            };
            atom = self.emit(op, &[&atom], &given);
        }
        if reshaped {
            let new_sizes = Dims::from_slice(shape);
            atom = self.emit(Reshape { new_sizes }, &[&atom], shape);
        }
        atom
    }

    /// A result with the shape and the element type that the program gives it.
    fn result(&mut self, atom: Atom, var: Var) -> Atom {
        let (mut atom, aval) = (atom, self.program.aval(var).clone());
        if self.program.atom_aval(&atom).shape != aval.shape {
            let new_sizes = aval.shape.clone();
            atom = self.emit(Reshape { new_sizes }, &[&atom], &aval.shape);
        }
        if self.dtype != aval.dtype {
            let op = ConvertElementType {
                new_dtype: aval.dtype,
                weak_type: aval.weak_type,
            };
            let shape = aval.shape.clone();
            let own = std::mem::replace(&mut self.dtype, aval.dtype);
            atom = self.emit(op, &[&atom], &shape);
            self.dtype = own;
        }
        atom
    }

    /// Gives each root its order of axes, and its variable where a new equation defines it.
    fn roots(mut self, plan: &Plan) -> Result<Exported> {
        let made: FxHashMap<Var, usize> = self
            .eqns
            .iter()
            .enumerate()
            .flat_map(|(index, placed)| placed.eqn.outputs.iter().map(move |var| (*var, index)))
            .collect();
        let mut renamed: FxHashMap<Var, Var> = FxHashMap::default();
        let mut roots = Vec::with_capacity(plan.roots.len());
        for (root, var) in plan.roots.iter().zip(&self.island.roots.clone()) {
            let tensor = &self.tensors[root.step];
            let factor = Factor {
                atom: tensor.atom.clone(),
                shape: tensor.shape.clone(),
                labels: tensor
                    .axes
                    .iter()
                    .map(|axis| root.axes[*axis as usize])
                    .collect(),
            };
            let order: Labels = (0..factor.labels.len() as Label).collect();
            if let Some(place) = factor.atom.var().and_then(|var| made.get(&var)) {
                self.place = self.eqns[*place].place;
                self.at = self.eqns[*place].eqn.at;
            }
            let before = self.eqns.len();
            let turned = self.transposed(factor.clone(), &order);
            let atom = self.result(turned.atom, *var);
            if self.eqns.len() > before {
                if let Some(new) = atom.var() {
                    renamed.insert(new, *var);
                }
                roots.push((*var, Atom::Var(*var)));
                continue;
            }
            match factor.atom.var() {
                Some(new) if made.contains_key(&new) && !renamed.contains_key(&new) => {
                    renamed.insert(new, *var);
                    roots.push((*var, Atom::Var(*var)));
                }
                Some(new) => {
                    let known = renamed.get(&new).copied().unwrap_or(new);
                    roots.push((*var, Atom::Var(known)));
                }
                None => roots.push((*var, factor.atom)),
            }
        }
        for placed in &mut self.eqns {
            for atom in &mut placed.eqn.inputs {
                if let Some(new) = atom.var().and_then(|var| renamed.get(&var)) {
                    *atom = Atom::Var(*new);
                }
            }
            for var in &mut placed.eqn.outputs {
                if let Some(new) = renamed.get(var) {
                    *var = *new;
                }
            }
        }
        Ok(Exported {
            eqns: self.eqns,
            roots,
        })
    }
}
