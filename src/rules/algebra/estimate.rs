//! What a whole program costs as it stands.

use super::cost::CostModel;
use super::import::whole;
use super::plan::Plan;
use super::report::prepared;
use crate::array::Aval;
use crate::error::Result;
use crate::trace::op::Op;
use crate::trace::{Atom, Eqn, Jaxpr, Var};

impl CostModel {
    /// What a program takes as it stands, in microseconds: algebra as plans are charged, transforms by their arithmetic,
    /// elementwise functions by what their chain reads and writes, loops by their steps.
    ///
    /// ```
    /// use quaxide::{prelude::*, rules::algebra::CostModel};
    /// let (a, x) = (Array::zeros([512, 512], DType::F32), Array::zeros([512], DType::F32));
    /// let cost = |f: fn(&Array, &Array) -> Array| CostModel::current().estimate(&make_jaxpr(f)(&a, &x).unwrap()).unwrap();
    /// assert!(cost(|a, x| a.dot(&a.dot(x))) < cost(|a, x| a.dot(a).dot(x)));
    /// ```
    ///
    /// # Errors
    ///
    /// If the program is broken.
    pub fn estimate(&self, program: &Jaxpr) -> Result<f64> {
        Ok(cost(&prepared(program)?, self))
    }
}

/// As [`CostModel::estimate`], of a program that has been inlined.
pub(super) fn cost(program: &Jaxpr, model: &CostModel) -> f64 {
    let (island, rest) = whole(program);
    let (plan, _) = Plan::as_written(&island.problem).trimmed().with_flat_sums();
    let algebra = plan.cost(model, island.problem.itemsize);
    let chains = Chains::new(program);
    let rest = rest.iter().filter_map(|index| program.eqns().get(*index));
    algebra + rest.map(|eqn| chains.cost(eqn, model)).sum::<f64>()
}

fn is_elementwise(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary(_)
            | Op::Binary(_)
            | Op::IntegerPow(_)
            | Op::SelectN(_)
            | Op::Clamp(_)
            | Op::ConvertElementType(_)
    )
}

/// Which variables stay within a chain of elementwise functions.
struct Chains<'a> {
    program: &'a Jaxpr,
    /// By variable: made by an elementwise function.
    made: Vec<bool>,
    /// By variable: read by something else too, or a result.
    leaves: Vec<bool>,
}

impl Chains<'_> {
    fn new(program: &Jaxpr) -> Chains<'_> {
        let count = program.var_count();
        let (mut made, mut leaves) = (vec![false; count], vec![false; count]);
        let set = |flags: &mut Vec<bool>, var: Var| {
            if let Some(flag) = flags.get_mut(var.index()) {
                *flag = true;
            }
        };
        for eqn in program.eqns() {
            let elementwise = is_elementwise(&eqn.op);
            for var in eqn.inputs.iter().filter_map(Atom::var) {
                if !elementwise {
                    set(&mut leaves, var);
                }
            }
            for var in &eqn.outputs {
                if elementwise {
                    set(&mut made, *var);
                }
            }
        }
        for var in program.outs().iter().filter_map(Atom::var) {
            set(&mut leaves, var);
        }
        Chains {
            program,
            made,
            leaves,
        }
    }

    fn cost(&self, eqn: &Eqn, model: &CostModel) -> f64 {
        let bytes = |aval: &Aval| (aval.size() * aval.dtype.size()) as f64;
        let has = |flags: &[bool], var: Var| flags.get(var.index()).copied().unwrap_or(false);
        let read = |atom: &Atom| bytes(self.program.atom_aval(atom));
        let results = || eqn.outputs.iter().map(|var| &**self.program.aval(*var));
        match &eqn.op {
            Op::Component(_)
            | Op::StopGradient(_)
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::BroadcastInDim(_)
            | Op::Squeeze(_)
            | Op::OptimizationBarrier(_) => 0.0,
            op if is_elementwise(op) => {
                let inside = |atom: &&Atom| atom.var().is_some_and(|var| has(&self.made, var));
                let starts = !eqn.inputs.iter().any(|atom| inside(&atom));
                let outer = eqn.inputs.iter().filter(|atom| !inside(atom));
                let leaves = eqn.outputs.iter().filter(|var| has(&self.leaves, **var));
                let written: f64 = leaves.map(|var| bytes(self.program.aval(*var))).sum();
                let moved = outer.map(read).sum::<f64>() + written;
                model.kernel(moved) - if starts { 0.0 } else { model.kernel_us }
            }
            Op::Fft(fft) => {
                let length: usize = fft.fft_lengths.iter().product();
                let read = eqn.inputs.iter().map(|atom| self.program.atom_aval(atom));
                let sizes = read.chain(results()).map(|aval| aval.size() as f64);
                model.transform(sizes.fold(0.0, f64::max), length as f64)
            }
            op => {
                let steps = match op {
                    Op::Scan(scan) => scan.length as f64,
                    _ => 1.0,
                };
                match op.inner() {
                    Some(call) => {
                        let programs = call.programs();
                        let inner = programs.iter().map(|inner| cost(inner, model));
                        steps * inner.sum::<f64>()
                    }
                    None => {
                        let moved = eqn.inputs.iter().map(read).sum::<f64>();
                        let moved = moved + results().map(bytes).sum::<f64>();
                        model.kernel_us + moved / model.moved_bytes_per_us
                    }
                }
            }
        }
    }
}
