//! From a program to a plan: calls flattened, equations grouped ([`group`](super::group)), operands resolved to places, lifetimes
//! known.

use super::{group::Draft, reduce::fold_of, step::Step, tiled::function};
use crate::{
    array::{Aval, Buffer, Dims},
    error::{Error, Result},
    interp::reference,
    trace::{
        Atom, Jaxpr,
        op::{Binary, Op, Reshape},
    },
};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::{panic::Location, sync::Arc};

/// Where a value is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Place {
    Argument(u32),
    Constant(u32),
    Slot(u32),
}

/// A program that is ready to run, any number of times.
pub(super) struct Plan {
    pub arguments: usize,
    pub constants: Vec<Arc<Buffer>>,
    pub slots: usize,
    pub steps: Vec<Step>,
    pub results: Vec<Outcome>,
    /// About how long it takes in one thread.
    pub nanoseconds: f64,
}

/// A result of the program.
pub(super) struct Outcome {
    pub place: Place,
    pub weak_type: bool,
    /// Nothing after it reads the slot.
    pub last: bool,
}

/// A value while planning: an argument, a constant, or what a node makes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Value {
    Argument(u32),
    Constant(u32),
    Made(u32),
}

/// An equation, with what it reads resolved to values.
#[derive(Clone)]
pub(super) struct Node {
    pub op: Op,
    pub operands: SmallVec<[Value; 3]>,
    pub results: SmallVec<[u32; 1]>,
    pub at: &'static Location<'static>,
}

pub(super) fn broken() -> Error {
    Error::internal("a program reads what nothing has made")
}

#[derive(Default)]
pub(super) struct Planner {
    constants: Vec<Arc<Buffer>>,
    by_address: FxHashMap<usize, u32>,
    pub avals: Vec<Arc<Aval>>,
    pub nodes: Vec<Node>,
    /// Values all of whose elements are one number, which stands in another value.
    splats: FxHashMap<Value, Value>,
    arguments: Vec<Arc<Aval>>,
}

impl Planner {
    pub(super) fn constant(&mut self, b: &Arc<Buffer>) -> Value {
        let next = self.constants.len() as u32;
        let key = Arc::as_ptr(b) as usize;
        let n = *self.by_address.entry(key).or_insert(next);
        if n == next {
            self.constants.push(b.clone());
        }
        Value::Constant(n)
    }

    pub(super) fn aval(&self, v: Value) -> Result<&Arc<Aval>> {
        let aval = match v {
            Value::Argument(i) => self.arguments.get(i as usize),
            Value::Constant(i) => self.constants.get(i as usize).map(|b| b.aval()),
            Value::Made(i) => self.avals.get(i as usize),
        };
        aval.ok_or_else(broken)
    }

    /// Append the equations of a program whose inputs are these values; its results.
    fn append(&mut self, j: &Jaxpr, inputs: &[Value]) -> Result<Vec<Value>> {
        let mut env: Vec<Option<Value>> = vec![None; j.var_count()];
        let set = |env: &mut Vec<Option<Value>>, i: usize, v: Value| {
            if let Some(slot) = env.get_mut(i) {
                *slot = Some(v);
            }
        };
        for (v, x) in j.invars().iter().zip(inputs) {
            set(&mut env, v.index(), *x);
        }
        for (v, c) in j.consts() {
            let c = reference::constant(c)?;
            set(&mut env, v.index(), self.constant(&c));
        }
        let read = |this: &mut Planner, env: &[Option<Value>], a: &Atom| match a {
            Atom::Var(v) => env.get(v.index()).copied().flatten().ok_or_else(broken),
            Atom::Lit(l) => Ok(this.constant(l.buffer())),
        };
        for eqn in j.eqns() {
            let mut operands: SmallVec<[Value; 3]> = SmallVec::new();
            for a in &eqn.inputs {
                operands.push(read(self, &env, a)?);
            }
            if let (Op::Clamp(_), [low, x, high], [out]) =
                (&eqn.op, &operands[..], &eqn.outputs[..])
            {
                let aval = j.aval(*out);
                let above = self.made(Binary::Max.into(), [*low, *x], aval, eqn.at);
                let y = self.made(Binary::Min.into(), [above, *high], aval, eqn.at);
                set(&mut env, out.index(), y);
                continue;
            }
            if let (Op::ReduceWindow(p), [x], [out]) = (&eqn.op, &operands[..], &eqn.outputs[..])
                && let Some(y) = self.windows(p, *x, j.aval(*out), eqn.at)?
            {
                set(&mut env, out.index(), y);
                continue;
            }
            let mut results = SmallVec::new();
            for v in &eqn.outputs {
                let id = self.avals.len() as u32;
                self.avals.push(j.aval(*v).clone());
                results.push(id);
                set(&mut env, v.index(), Value::Made(id));
            }
            if let (Op::BroadcastInDim(_), Some(x), Some(y)) =
                (&eqn.op, operands.first(), results.first())
                && self.aval(*x)?.size() == 1
            {
                let origin = self.splats.get(x).copied().unwrap_or(*x);
                self.splats.insert(Value::Made(*y), origin);
            }
            let op = self.as_reshape(&eqn.op, &operands, &results)?;
            self.nodes.push(Node {
                op: op.unwrap_or_else(|| eqn.op.clone()),
                operands,
                results,
                at: eqn.at,
            });
        }
        j.outs().iter().map(|a| read(self, &env, a)).collect()
    }

    /// A reduction of axes of size 1 as the reshape that it is.
    fn as_reshape(&self, op: &Op, x: &[Value], y: &[u32]) -> Result<Option<Op>> {
        let (Op::Reduce(p), [x], [y]) = (op, x, y) else {
            return Ok(None);
        };
        let (x, y) = (self.aval(*x)?, self.aval(Value::Made(*y))?);
        let same = x.size() == y.size() && x.size() > 0 && x.dtype == y.dtype;
        let reshape = Reshape {
            new_sizes: y.shape.clone(),
        };
        Ok((same && fold_of(p.reducer).is_some()).then(|| Op::Reshape(reshape.into())))
    }

    /// Append an equation; its result.
    pub(super) fn made<const N: usize>(
        &mut self,
        op: Op,
        operands: [Value; N],
        aval: &Arc<Aval>,
        at: &'static Location<'static>,
    ) -> Value {
        let id = self.avals.len() as u32;
        self.avals.push(aval.clone());
        self.nodes.push(Node {
            op,
            operands: operands.into_iter().collect(),
            results: SmallVec::from_elem(id, 1),
            at,
        });
        Value::Made(id)
    }

    /// Leave out what no result depends on, and count the uses of the rest.
    fn prune(&mut self, outs: &[Value]) -> Vec<u32> {
        let mut uses = vec![0u32; self.avals.len()];
        let count = |uses: &mut Vec<u32>, v: Value| {
            if let Value::Made(i) = v
                && let Some(n) = uses.get_mut(i as usize)
            {
                *n += 1;
            }
        };
        outs.iter().for_each(|v| count(&mut uses, *v));
        let mut kept = Vec::with_capacity(self.nodes.len());
        for mut node in std::mem::take(&mut self.nodes).into_iter().rev() {
            let used = |i: &u32| uses.get(*i as usize).is_some_and(|n| *n > 0);
            if !node.results.iter().any(used) {
                continue;
            }
            if self.elementwise(&node).is_some() {
                for v in &mut node.operands {
                    *v = self.splats.get(v).copied().unwrap_or(*v);
                }
            }
            node.operands.iter().for_each(|v| count(&mut uses, *v));
            kept.push(node);
        }
        kept.reverse();
        self.nodes = kept;
        uses
    }

    /// The shape of an elementwise node.
    pub(super) fn elementwise(&self, node: &Node) -> Option<&Dims> {
        let which = node.operands.first().and_then(|v| self.aval(*v).ok());
        function(&node.op, node.operands.len(), which.map(|a| a.dtype))?;
        let out = self.avals.get(*node.results.first()? as usize)?;
        // `select_n` and the others take operands of the result's shape, or of one element.
        node.operands
            .iter()
            .all(|v| {
                self.aval(*v)
                    .is_ok_and(|a| a.shape == out.shape || a.size() == 1)
            })
            .then_some(&out.shape)
    }
}

impl Plan {
    /// Plan a program.
    pub(super) fn new(j: &Jaxpr) -> Result<Plan> {
        let mut planner = Planner {
            arguments: j.invars().iter().map(|v| j.aval(*v).clone()).collect(),
            ..Planner::default()
        };
        let inputs: Vec<Value> = (0..j.invars().len())
            .map(|i| Value::Argument(i as u32))
            .collect();
        let outs = planner.append(j, &inputs)?;
        let uses = planner.prune(&outs);
        let drafts = planner.drafts(uses)?;
        planner.place(drafts, &outs, j)
    }
}

impl Planner {
    /// Give each value a slot for as long as it lives.
    fn place(self, drafts: Vec<Draft>, outs: &[Value], j: &Jaxpr) -> Result<Plan> {
        let mut last = vec![0usize; self.avals.len()];
        let mut note = |v: &Value, at: usize| {
            if let Value::Made(i) = v
                && let Some(l) = last.get_mut(*i as usize)
            {
                *l = at;
            }
        };
        for (i, d) in drafts.iter().enumerate() {
            // A result that nothing reads dies where it is made.
            d.results.iter().for_each(|r| note(&Value::Made(*r), i));
            d.operands.iter().for_each(|v| note(v, i));
        }
        outs.iter().for_each(|v| note(v, usize::MAX));
        let mut slot_of: Vec<u32> = vec![u32::MAX; self.avals.len()];
        let (mut free, mut slots) = (Vec::<u32>::new(), 0u32);
        let place = |slot_of: &[u32], v: &Value| match v {
            Value::Argument(i) => Ok(Place::Argument(*i)),
            Value::Constant(i) => Ok(Place::Constant(*i)),
            Value::Made(i) => match slot_of.get(*i as usize) {
                Some(s) if *s != u32::MAX => Ok(Place::Slot(*s)),
                _ => Err(broken()),
            },
        };
        let mut steps = Vec::with_capacity(drafts.len());
        for (i, d) in drafts.into_iter().enumerate() {
            let mut operands: SmallVec<[Place; 4]> = SmallVec::new();
            let mut dead: SmallVec<[u32; 2]> = SmallVec::new();
            for v in &d.operands {
                let p = place(&slot_of, v)?;
                operands.push(p);
                if let (Value::Made(r), Place::Slot(s)) = (v, p)
                    && last.get(*r as usize) == Some(&i)
                    && !dead.contains(&s)
                {
                    dead.push(s);
                }
            }
            let mut results: SmallVec<[u32; 1]> = SmallVec::new();
            let mut avals: SmallVec<[Arc<Aval>; 1]> = SmallVec::new();
            for r in &d.results {
                let s = free.pop().unwrap_or_else(|| {
                    slots += 1;
                    slots - 1
                });
                if let Some(slot) = slot_of.get_mut(*r as usize) {
                    *slot = s;
                }
                results.push(s);
                avals.push(self.aval(Value::Made(*r))?.clone());
                if last.get(*r as usize) == Some(&i) {
                    dead.push(s);
                }
            }
            free.extend(&dead);
            steps.push(Step {
                kernel: d.kernel,
                operands,
                results,
                avals,
                dead,
                at: d.at,
            });
        }
        let mut results: Vec<Outcome> = vec![];
        for (v, a) in outs.iter().zip(j.outs()) {
            results.push(Outcome {
                place: place(&slot_of, v)?,
                weak_type: j.atom_aval(a).weak_type,
                last: true,
            });
        }
        for i in 0..results.len() {
            let (before, after) = results.split_at_mut(i + 1);
            if let Some(this) = before.last_mut() {
                this.last = !after.iter().any(|o| o.place == this.place);
            }
        }
        Ok(Plan {
            nanoseconds: steps.iter().map(Step::nanoseconds).sum(),
            arguments: self.arguments.len(),
            constants: self.constants,
            slots: slots as usize,
            steps,
            results,
        })
    }
}
