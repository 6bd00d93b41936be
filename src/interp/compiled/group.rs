//! Which equations become one step.
//!
//! Elementwise equations of one shape are run together, tile by tile. Reductions of the last axes join them, with what is elementwise
//! on their results and what brings these back to the shape ([`tiled`](super::tiled)). A group runs where the last of its operands is
//! there, so an equation joins the group that makes its last operand, or a later one; a group that only one other reads is taken
//! into that one.

use super::{
    blocks::{self, Blocks, Term},
    contract::Contract,
    kernels::reduce::{Fold, folds},
    plan::{Node, Planner, Value, broken},
    reduce::fold_of,
    step::Kernel,
    tiled::{Action, Extent, Instruction, Program, Source, Target, function, nanoseconds},
};
use crate::{
    array::{Aval, DType, Dims},
    error::Result,
    trace::op::Op,
};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use std::panic::Location;

/// The largest number of functions in one program.
const LONGEST: usize = 48;
/// The longest row of which a tile is made.
const WIDEST: usize = 1 << 15;

/// A step before its places are known.
pub(super) struct Draft {
    pub kernel: Kernel,
    pub operands: SmallVec<[Value; 4]>,
    pub results: SmallVec<[u32; 1]>,
    pub at: &'static Location<'static>,
}

/// What a tiled program runs over.
#[derive(Clone, PartialEq)]
pub(super) struct Space {
    pub shape: Dims,
    /// How many axes number the rows, where there are reductions.
    lead: Option<usize>,
}

/// Nodes that become one step.
#[derive(Default)]
pub(super) struct Group {
    /// `None` if it is one node that no tiled program runs, or if it has been merged into another.
    pub space: Option<Space>,
    /// In an order in which they can be run.
    pub nodes: Vec<usize>,
}

/// What a node is in a tiled program.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Role {
    Map(Extent),
    Fold(Fold),
    /// A value of each row at the full extent.
    Spread,
    /// A value of each row under another shape.
    Alias,
}

impl Role {
    /// Does it only look at a value in another way?
    fn is_view(self) -> bool {
        matches!(self, Role::Spread | Role::Alias)
    }
}

/// A shape without the axes of size 1 at its end.
fn trimmed(shape: &[usize]) -> &[usize] {
    let n = shape.iter().rposition(|n| *n != 1).map_or(0, |i| i + 1);
    shape.get(..n).unwrap_or_default()
}

impl Space {
    /// Has a value of this shape an element for each row?
    fn is_rows(&self, shape: &[usize]) -> bool {
        let rows = self.lead.and_then(|n| self.shape.get(..n));
        rows.is_some_and(|rows| trimmed(shape) == trimmed(rows) && shape.len() <= self.shape.len())
    }

    /// The length of what must not be parted: a row, or one element where there are no reductions.
    fn row(&self) -> usize {
        if self.lead.is_some() { self.width() } else { 1 }
    }

    fn width(&self) -> usize {
        let lead = self.lead.unwrap_or(self.shape.len());
        self.shape.iter().skip(lead).product()
    }
}

/// The space that a reduction runs over, and how it folds.
fn reduction(planner: &Planner, node: &Node) -> Option<(Space, Fold)> {
    let Op::Reduce(p) = &node.op else { return None };
    let fold = fold_of(p.reducer)?;
    let x = planner.aval(*node.operands.first()?).ok()?;
    let y = planner.aval(Value::Made(*node.results.first()?)).ok()?;
    let lead = x.ndim().checked_sub(p.axes.len())?;
    let last = p.axes.iter().copied().eq(lead..x.ndim());
    let space = Space {
        shape: x.shape.clone(),
        lead: Some(lead),
    };
    let fits = last
        && x.dtype == y.dtype
        && folds(fold, x.dtype)
        && (2..=WIDEST).contains(&space.width())
        && y.size() > 1;
    fits.then_some((space, fold))
}

impl Planner {
    /// What a node would be in a program over this space; `inside` tells what the program itself makes.
    pub(super) fn role(
        &self,
        node: &Node,
        space: &Space,
        inside: &dyn Fn(Value) -> bool,
    ) -> Option<Role> {
        if let Some(shape) = self.elementwise(node) {
            let full = *shape == space.shape;
            let extent = if full { Extent::Full } else { Extent::Row };
            return (full || space.is_rows(shape)).then_some(Role::Map(extent));
        }
        if let Some((own, fold)) = reduction(self, node) {
            let same = own.shape == space.shape && (space.lead.is_none() || own.lead == space.lead);
            return same.then_some(Role::Fold(fold));
        }
        let x = *node.operands.first()?;
        let from = &self.aval(x).ok()?.shape;
        let to = &self.aval(Value::Made(*node.results.first()?)).ok()?.shape;
        if !space.is_rows(from) || !inside(x) {
            return None;
        }
        match &node.op {
            Op::BroadcastInDim(p) if *to == space.shape => {
                let kept =
                    |(i, n): (usize, &usize)| *n == 1 || p.broadcast_dimensions.get(i) == Some(&i);
                from.iter().enumerate().all(kept).then_some(Role::Spread)
            }
            Op::BroadcastInDim(_) | Op::Reshape(_) | Op::Squeeze(_) => {
                space.is_rows(to).then_some(Role::Alias)
            }
            _ => None,
        }
    }

    /// The space of a group that begins with this node.
    fn space(&self, node: &Node) -> Option<Space> {
        let flat = self.elementwise(node).map(|shape| Space {
            shape: shape.clone(),
            lead: None,
        });
        flat.or_else(|| reduction(self, node).map(|(space, _)| space))
    }

    /// Put nodes together where nothing in between depends on them.
    fn group(&self, uses: &[u32]) -> Vec<Group> {
        let mut groups: Vec<Group> = vec![];
        let mut home: Vec<usize> = vec![usize::MAX; self.avals.len()];
        for (n, node) in self.nodes.iter().enumerate() {
            let made = |v: &Value| match v {
                Value::Made(i) => home.get(*i as usize).copied(),
                _ => None,
            };
            let latest = node.operands.iter().filter_map(made).max();
            let role = |g: usize| {
                let group = groups.get(g).filter(|g| g.nodes.len() < LONGEST)?;
                let inside = |v: Value| made(&v) == Some(g);
                self.role(node, group.space.as_ref()?, &inside)
            };
            let joined = latest.filter(|g| role(*g).is_some()).or_else(|| {
                // A later group that reads the same.
                let from = latest.unwrap_or(0).max(groups.len().saturating_sub(8));
                (from..groups.len()).rev().find(|g| {
                    role(*g).is_some_and(|r| !r.is_view())
                        && groups.get(*g).is_some_and(|g| {
                            let shares = |m: &usize| {
                                self.nodes.get(*m).is_some_and(|m| {
                                    m.operands.iter().any(|v| {
                                        node.operands.contains(v)
                                            && self.aval(*v).is_ok_and(|a| a.size() > 1)
                                    })
                                })
                            };
                            g.nodes.iter().any(shares)
                        })
                })
            });
            let g = match joined {
                Some(g) => g,
                None => {
                    groups.push(Group {
                        space: self.space(node),
                        nodes: vec![],
                    });
                    groups.len() - 1
                }
            };
            let lead = reduction(self, node).and_then(|(space, _)| space.lead);
            if let Some(group) = groups.get_mut(g) {
                group.nodes.push(n);
                if let Some(space) = &mut group.space {
                    space.lead = space.lead.or(lead);
                }
            }
            for r in &node.results {
                if let Some(h) = home.get_mut(*r as usize) {
                    *h = g;
                }
            }
            self.absorb(g, node, uses, &mut groups, &mut home);
        }
        groups
    }

    /// Earlier groups that only this one reads are made part of it: their results never leave the tiles.
    fn absorb(
        &self,
        g: usize,
        node: &Node,
        uses: &[u32],
        groups: &mut [Group],
        home: &mut [usize],
    ) {
        for v in &node.operands {
            let Value::Made(i) = v else { continue };
            let Some(&h) = home.get(*i as usize) else {
                continue;
            };
            let (Some(early), Some(late)) = (groups.get(h), groups.get(g)) else {
                continue;
            };
            let (Some(before), Some(after)) = (&early.space, &late.space) else {
                continue;
            };
            let one_lead =
                before.lead.is_none() || after.lead.is_none() || before.lead == after.lead;
            if h >= g
                || before.shape != after.shape
                || !one_lead
                || early.nodes.len() + late.nodes.len() > LONGEST
            {
                continue;
            }
            let lead = before.lead;
            let members = || early.nodes.iter().chain(&late.nodes);
            let inside = |r: u32| -> u32 {
                members()
                    .filter_map(|m| self.nodes.get(*m))
                    .flat_map(|m| &m.operands)
                    .filter(|v| **v == Value::Made(r))
                    .count() as u32
            };
            let private = early
                .nodes
                .iter()
                .filter_map(|m| self.nodes.get(*m))
                .flat_map(|m| &m.results)
                .all(|r| uses.get(*r as usize) == Some(&inside(*r)));
            if !private {
                continue;
            }
            let moved = groups
                .get_mut(h)
                .map(std::mem::take)
                .unwrap_or_default()
                .nodes;
            for r in moved
                .iter()
                .filter_map(|m| self.nodes.get(*m))
                .flat_map(|m| &m.results)
            {
                if let Some(h) = home.get_mut(*r as usize) {
                    *h = g;
                }
            }
            if let Some(late) = groups.get_mut(g) {
                late.nodes.extend(moved);
                late.nodes.sort_unstable();
                if let Some(space) = &mut late.space {
                    space.lead = space.lead.or(lead);
                }
            }
        }
    }

    /// All nodes as steps, in order.
    pub(super) fn drafts(&mut self, mut uses: Vec<u32>) -> Result<Vec<Draft>> {
        let mut groups = self.group(&uses);
        self.recompute(&mut groups, &mut uses);
        self.as_drafts(&groups, &uses)
    }

    fn as_drafts(&self, groups: &[Group], uses: &[u32]) -> Result<Vec<Draft>> {
        let mut maker: Vec<usize> = vec![usize::MAX; self.avals.len()];
        for (n, node) in self.nodes.iter().enumerate() {
            for r in &node.results {
                if let Some(m) = maker.get_mut(*r as usize) {
                    *m = n;
                }
            }
        }
        let mut chains = Vec::with_capacity(groups.len());
        let mut multiplied: FxHashSet<usize> = FxHashSet::default();
        for group in groups {
            let nodes = || group.nodes.iter().filter_map(|n| self.nodes.get(*n));
            chains.push(match &group.space {
                Some(space) if nodes().any(|n| self.elementwise(n).is_some()) => {
                    let nodes: Vec<&Node> = nodes().collect();
                    let mut chain = Chain::of(self, space, nodes, uses)?;
                    chain.find_products(space, uses, &maker)?;
                    multiplied.extend(chain.products.values().map(|p| p.node));
                    Some(chain)
                }
                _ => None,
            });
        }
        let mut drafts = Vec::with_capacity(groups.len());
        for (group, chain) in groups.iter().zip(chains) {
            if let Some(chain) = chain {
                drafts.extend(chain.drafts()?);
                continue;
            }
            for n in group.nodes.iter().filter(|n| !multiplied.contains(n)) {
                drafts.push(self.alone(self.nodes.get(*n).ok_or_else(broken)?)?);
            }
        }
        Ok(drafts)
    }

    /// A node as a step of its own.
    fn alone(&self, node: &Node) -> Result<Draft> {
        let mut types: SmallVec<[&Aval; 4]> = SmallVec::new();
        for v in &node.operands {
            types.push(self.aval(*v)?);
        }
        Ok(Draft {
            kernel: Kernel::of(&node.op, &types)?,
            operands: node.operands.iter().copied().collect(),
            results: node.results.clone(),
            at: node.at,
        })
    }
}

/// A product that a program reads.
struct Factor {
    node: usize,
    contract: Contract,
    operands: [Value; 2],
}

/// A program while it is put together.
struct Chain<'a> {
    planner: &'a Planner,
    nodes: Vec<&'a Node>,
    roles: Vec<Role>,
    /// Products that only this program reads, by value; and the length of their rows.
    products: FxHashMap<u32, Factor>,
    columns: usize,
    /// How often the group itself reads a value.
    reads: FxHashMap<u32, u32>,
    /// Where an alias, or any other value, is made; and the last node that reads it there.
    root: FxHashMap<u32, u32>,
    last: FxHashMap<u32, usize>,
    /// What others read, too.
    outside: FxHashSet<u32>,
    program: Program,
    operands: SmallVec<[(Value, Extent); 4]>,
    results: SmallVec<[u32; 1]>,
    made: FxHashMap<u32, Source>,
    free: Vec<u16>,
}

impl<'a> Chain<'a> {
    fn of(planner: &'a Planner, space: &Space, nodes: Vec<&'a Node>, uses: &[u32]) -> Result<Self> {
        let own: FxHashSet<u32> = nodes.iter().flat_map(|n| &n.results).copied().collect();
        let inside = |v: Value| matches!(v, Value::Made(r) if own.contains(&r));
        let mut chain = Chain {
            planner,
            roles: Vec::with_capacity(nodes.len()),
            products: FxHashMap::default(),
            columns: 0,
            reads: FxHashMap::default(),
            root: FxHashMap::default(),
            last: FxHashMap::default(),
            outside: FxHashSet::default(),
            program: Program {
                instructions: SmallVec::new(),
                registers: SmallVec::new(),
                inputs: SmallVec::new(),
                outputs: SmallVec::new(),
                width: space.width(),
                nanoseconds: 0.0,
            },
            operands: SmallVec::new(),
            results: SmallVec::new(),
            made: FxHashMap::default(),
            free: vec![],
            nodes: vec![],
        };
        for (i, node) in nodes.iter().enumerate() {
            let role = planner.role(node, space, &inside).ok_or_else(broken)?;
            chain.roles.push(role);
            for v in &node.operands {
                if let Value::Made(r) = v {
                    *chain.reads.entry(*r).or_default() += 1;
                    let root = chain.root.get(r).copied().unwrap_or(*r);
                    chain.last.insert(root, i);
                    if role == Role::Alias {
                        let result = *node.results.first().ok_or_else(broken)?;
                        chain.root.insert(result, root);
                    }
                }
            }
        }
        for (node, role) in nodes.iter().zip(&chain.roles).rev() {
            let result = *node.results.first().ok_or_else(broken)?;
            let read = chain.reads.get(&result).copied().unwrap_or(0);
            if uses.get(result as usize).copied().unwrap_or(0) > read {
                chain.outside.insert(result);
            }
            if let (true, Some(Value::Made(r))) = (role.is_view(), node.operands.first())
                && chain.outside.contains(&result)
            {
                chain.outside.insert(*r);
            }
        }
        chain.nodes = nodes;
        Ok(chain)
    }

    /// Find the products that may be computed by blocks of rows as this program runs: those of its shape that it alone reads.
    fn find_products(&mut self, space: &Space, uses: &[u32], maker: &[usize]) -> Result<()> {
        let planner = self.planner;
        for (node, role) in self.nodes.iter().zip(&self.roles) {
            if !matches!(role, Role::Map(Extent::Full) | Role::Fold(_)) {
                continue;
            }
            for v in &node.operands {
                let Value::Made(r) = v else { continue };
                let known = self.products.contains_key(r);
                if known || uses.get(*r as usize) != self.reads.get(r) {
                    continue;
                }
                let Some(n) = maker.get(*r as usize).copied() else {
                    continue;
                };
                let Some(made) = planner.nodes.get(n) else {
                    continue;
                };
                let (Op::DotGeneral(p), [x, y]) = (&made.op, &made.operands[..]) else {
                    continue;
                };
                let (a, b, out) = (planner.aval(*x)?, planner.aval(*y)?, planner.aval(*v)?);
                let contract = Contract::new(p, &a.shape, &b.shape);
                let Some(columns) = blocks::columns(&contract, a, b, out) else {
                    continue;
                };
                let fits = out.shape == space.shape
                    && columns % space.row() == 0
                    && (self.products.is_empty() || self.columns == columns);
                if fits {
                    self.columns = columns;
                    let factor = Factor {
                        node: n,
                        contract,
                        operands: [*x, *y],
                    };
                    self.products.insert(*r, factor);
                }
            }
        }
        Ok(())
    }

    /// The program as a step, with the views of its results that others read.
    fn drafts(mut self) -> Result<Vec<Draft>> {
        for i in 0..self.nodes.len() {
            self.append(i)?;
        }
        let first = self.nodes.first().ok_or_else(broken)?;
        let (mut operands, mut products) = (SmallVec::<[Value; 4]>::new(), vec![]);
        for (i, (v, _)) in self.operands.iter().enumerate() {
            match v {
                Value::Made(r) if self.products.contains_key(r) => products.push((i as u16, *r)),
                v => operands.push(*v),
            }
        }
        let kernel = if products.is_empty() {
            Kernel::Tiled(self.program.into())
        } else {
            let mut terms = Vec::with_capacity(products.len());
            for (input, r) in products {
                let factor = self.products.remove(&r).ok_or_else(broken)?;
                let dtype = self.planner.aval(Value::Made(r))?.dtype;
                let place = factor.operands.map(|v| {
                    operands.iter().position(|o| *o == v).unwrap_or_else(|| {
                        operands.push(v);
                        operands.len() - 1
                    })
                });
                let term = Term {
                    contract: factor.contract,
                    operands: place,
                    given: !matches!(factor.operands[1], Value::Made(_)),
                };
                terms.push((input, dtype, term));
            }
            Kernel::Blocks(Blocks::new(self.program, self.columns, terms).into())
        };
        let mut drafts = vec![Draft {
            kernel,
            operands,
            results: self.results,
            at: first.at,
        }];
        for (node, role) in self.nodes.iter().zip(&self.roles) {
            if role.is_view() && node.results.iter().any(|r| self.outside.contains(r)) {
                drafts.push(self.planner.alone(node)?);
            }
        }
        Ok(drafts)
    }

    /// Where a node reads an operand, at the extent at which it does.
    fn source(&mut self, v: Value, extent: Extent) -> Source {
        let inner = match v {
            Value::Made(r) => self.made.get(&r).copied(),
            _ => None,
        };
        inner.unwrap_or_else(|| {
            let known = self.operands.iter().position(|o| *o == (v, extent));
            Source::Input(known.unwrap_or_else(|| {
                self.operands.push((v, extent));
                self.program.inputs.push(extent);
                self.operands.len() - 1
            }) as u16)
        })
    }

    /// A tile of this type that nothing reads any more, or a new one.
    fn register(&mut self, dtype: DType, extent: Extent) -> u16 {
        let registers = &mut self.program.registers;
        let fits = |r: &u16| registers.get(usize::from(*r)) == Some(&(dtype, extent));
        match self.free.iter().position(fits) {
            Some(i) => self.free.swap_remove(i),
            None => {
                registers.push((dtype, extent));
                (registers.len() - 1) as u16
            }
        }
    }

    fn append(&mut self, i: usize) -> Result<()> {
        let node = *self.nodes.get(i).ok_or_else(broken)?;
        let result = *node.results.first().ok_or_else(broken)?;
        let role = *self.roles.get(i).ok_or_else(broken)?;
        let (from, to) = match role {
            Role::Map(extent) => (extent, extent),
            Role::Fold(_) => (Extent::Full, Extent::Row),
            Role::Spread | Role::Alias => (Extent::Row, Extent::Full),
        };
        if role.is_view() && !self.reads.contains_key(&result) {
            return Ok(());
        }
        let sources: SmallVec<[Source; 3]> = node
            .operands
            .iter()
            .map(|v| self.source(*v, from))
            .collect();
        if role == Role::Alias {
            self.made
                .insert(result, *sources.first().ok_or_else(broken)?);
            return Ok(());
        }
        let first = self
            .planner
            .aval(*node.operands.first().ok_or_else(broken)?)?;
        let (from_type, to_type) = (first.dtype, self.planner.aval(Value::Made(result))?.dtype);
        let target = if self.outside.contains(&result) && role != Role::Spread {
            self.results.push(result);
            self.program.outputs.push(to);
            Target::Output((self.results.len() - 1) as u16)
        } else {
            Target::Register(self.register(to_type, to))
        };
        // Tiles that are read here for the last time are free for later results, not for this one.
        for v in &node.operands {
            if let Value::Made(r) = v
                && let root = self.root.get(r).copied().unwrap_or(*r)
                && self.last.get(&root) == Some(&i)
                && let Some(Source::Register(t)) = self.made.get(&root)
                && !self.free.contains(t)
            {
                self.free.push(*t);
            }
        }
        let (action, cost) = match role {
            Role::Map(_) => {
                let f = function(&node.op, node.operands.len(), Some(from_type));
                let f = f.ok_or_else(broken)?;
                (Action::Map(f), nanoseconds(f))
            }
            Role::Fold(f) => (Action::Fold(f), 0.1),
            Role::Spread | Role::Alias => (Action::Spread, 0.05),
        };
        if from == Extent::Full || to == Extent::Full {
            self.program.nanoseconds += cost;
        }
        self.program.instructions.push(Instruction {
            action,
            from: from_type,
            to: to_type,
            sources,
            target,
        });
        self.made.insert(
            result,
            match target {
                Target::Register(r) => Source::Register(r),
                Target::Output(k) => Source::Output(k),
            },
        );
        Ok(())
    }
}
