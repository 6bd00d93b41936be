//! Values that are cheaper to compute again than to keep.
//!
//! A group that reads elementwise values of an earlier group reads them from memory, where the earlier one has put them for it. Where
//! they follow from fewer values, those are kept instead, and the functions in between are run once more: the backward pass of an
//! activation then needs no more than what went into it. This is the choice of a cut between two groups that PyTorch's partitioner
//! makes between the forward and the backward graph (Chen et al., "Training deep nets with sublinear memory cost", 2016, has the
//! idea), restricted to cuts of at most one new value.

use super::{
    group::{Group, Role},
    plan::{Node, Planner, Value},
    tiled::{Extent, function, nanoseconds},
};
use crate::trace::op::Op;
use rustc_hash::{FxHashMap, FxHashSet};

/// About how long it takes to write a byte that is not in the cache, and to read one, in nanoseconds of one of a few threads.
const WRITE: f64 = 0.22;
const READ: f64 = 0.11;
/// The most functions in a group that grows so.
const LONGEST: usize = 64;

/// What is done in place of keeping some values.
struct Plan {
    /// In nanoseconds for each element.
    cost: f64,
    /// The nodes that are run again, in order.
    again: Vec<usize>,
}

/// Two groups, of which the later reads the earlier.
struct Pair<'a> {
    planner: &'a Planner,
    /// The nodes of the earlier one that are functions of full extent, by what they make.
    functions: FxHashMap<u32, usize>,
    /// What it makes for rows, seen at full extent: cheap to read.
    views: FxHashSet<u32>,
    /// What it keeps for others, anyway.
    kept: FxHashSet<u32>,
    /// What the later one reads.
    read: FxHashSet<Value>,
    /// What only the later one reads.
    wanted: Vec<u32>,
}

impl Pair<'_> {
    fn bytes(&self, v: Value) -> f64 {
        self.planner.aval(v).map_or(8, |a| a.dtype.size()) as f64
    }

    /// Does a value take little memory, whatever its shape: one number, or a few that are repeated?
    fn is_small(&self, v: Value, makers: &[usize]) -> bool {
        let size = |v: Value| self.planner.aval(v).map_or(usize::MAX, |a| a.size());
        let Value::Made(r) = v else {
            return size(v) == 1;
        };
        let maker = makers
            .get(r as usize)
            .and_then(|n| self.planner.nodes.get(*n));
        size(v) == 1
            || maker.is_some_and(|n| {
                let from = n.operands.first().map_or(usize::MAX, |x| size(*x));
                matches!(n.op, Op::BroadcastInDim(_)) && from <= size(v) / 8
            })
    }

    /// What it costs to have all wanted values if, of those that are not kept anyway, only `cut` is kept. `None` if they do not follow.
    fn plan(&self, cut: Option<u32>, makers: &[usize]) -> Option<Plan> {
        let mut again = FxHashSet::default();
        let mut reads = FxHashSet::default();
        let mut open: Vec<Value> = self.wanted.iter().map(|r| Value::Made(*r)).collect();
        let mut cost = 0.0;
        while let Some(v) = open.pop() {
            let Value::Made(r) = v else {
                // Arguments and constants are there.
                reads.insert(v);
                continue;
            };
            if cut == Some(r) || self.kept.contains(&r) {
                reads.insert(v);
            } else if let Some(n) = self.functions.get(&r) {
                if again.insert(*n) {
                    let node = self.planner.nodes.get(*n)?;
                    cost += self.time(node)?;
                    open.extend(&node.operands);
                }
            } else if !self.views.contains(&r) && !self.is_small(v, makers) {
                return None;
            }
        }
        for v in reads {
            let new = !self.read.contains(&v) || self.wanted.iter().any(|r| v == Value::Made(*r));
            if new && !self.is_small(v, makers) {
                cost += READ * self.bytes(v);
            }
        }
        if let Some(r) = cut.filter(|r| !self.kept.contains(r)) {
            cost += WRITE * self.bytes(Value::Made(r));
        }
        let mut again: Vec<usize> = again.into_iter().collect();
        again.sort_unstable();
        Some(Plan { cost, again })
    }

    fn time(&self, node: &Node) -> Option<f64> {
        let dtype = self.planner.aval(*node.operands.first()?).ok()?.dtype;
        let f = function(&node.op, node.operands.len(), Some(dtype))?;
        Some(nanoseconds(f))
    }

    /// The best plan, if one is better than to keep all.
    fn best(&self, makers: &[usize]) -> Option<Plan> {
        let keep = |r: &u32| (WRITE + READ) * self.bytes(Value::Made(*r));
        let now: f64 = self.wanted.iter().map(keep).sum();
        let mut cuts: Vec<u32> = self.functions.keys().copied().collect();
        cuts.sort_unstable();
        let cuts = std::iter::once(None).chain(cuts.into_iter().map(Some));
        cuts.filter_map(|cut| self.plan(cut, makers))
            .min_by(|a, b| a.cost.total_cmp(&b.cost))
            .filter(|p| p.cost < now)
    }
}

impl Planner {
    /// Let groups compute again what is not worth keeping for them. How often each value is used is counted anew.
    pub(super) fn recompute(&mut self, groups: &mut [Group], uses: &mut Vec<u32>) {
        /// Below this many elements everything stays in the cache.
        const LARGE: usize = 1 << 16;
        let mut makers = vec![usize::MAX; self.avals.len()];
        let mut home = vec![usize::MAX; self.avals.len()];
        for (g, group) in groups.iter().enumerate() {
            for n in &group.nodes {
                for r in self.nodes.get(*n).map(|n| &n.results).into_iter().flatten() {
                    if let (Some(m), Some(h)) =
                        (makers.get_mut(*r as usize), home.get_mut(*r as usize))
                    {
                        (*m, *h) = (*n, g);
                    }
                }
            }
        }
        for late in 0..groups.len() {
            let Some(space) = groups.get(late).and_then(|g| g.space.clone()) else {
                continue;
            };
            if space.shape.iter().product::<usize>() < LARGE {
                continue;
            }
            let mut sources: Vec<usize> = self
                .operands_of(groups.get(late))
                .filter_map(|v| match v {
                    Value::Made(r) => home.get(r as usize).copied(),
                    _ => None,
                })
                .filter(|h| *h < late)
                .collect();
            sources.sort_unstable();
            sources.dedup();
            for early in sources {
                let Some(pair) = self.pair(groups, early, late, uses) else {
                    continue;
                };
                let Some(plan) = pair.best(&makers) else {
                    continue;
                };
                let length = groups.get(late).map_or(0, |g| g.nodes.len());
                if plan.again.is_empty() || length + plan.again.len() > LONGEST {
                    continue;
                }
                self.repeat(&plan.again, late, groups, uses);
                self.drop_unused(early, groups, uses);
                makers.resize(self.avals.len(), usize::MAX);
                home.resize(self.avals.len(), late);
            }
        }
    }

    fn operands_of(&self, group: Option<&Group>) -> impl Iterator<Item = Value> {
        let nodes = group.map(|g| g.nodes.as_slice()).unwrap_or_default();
        let nodes = nodes.iter().filter_map(|n| self.nodes.get(*n));
        nodes.flat_map(|n| n.operands.iter().copied())
    }

    fn pair(&self, groups: &[Group], early: usize, late: usize, uses: &[u32]) -> Option<Pair<'_>> {
        let (before, after) = (groups.get(early)?, groups.get(late)?);
        let (space, other) = (before.space.as_ref()?, after.space.as_ref()?);
        if space.shape != other.shape {
            return None;
        }
        let nodes = || {
            before
                .nodes
                .iter()
                .filter_map(|n| Some((*n, self.nodes.get(*n)?)))
        };
        let own: FxHashSet<u32> = nodes().flat_map(|(_, n)| &n.results).copied().collect();
        let inside = |v: Value| matches!(v, Value::Made(r) if own.contains(&r));
        let mut pair = Pair {
            planner: self,
            functions: FxHashMap::default(),
            views: FxHashSet::default(),
            kept: FxHashSet::default(),
            read: self.operands_of(Some(after)).collect(),
            wanted: vec![],
        };
        let count = |group: &Group, r: u32| {
            let all = self.operands_of(Some(group));
            all.filter(|v| *v == Value::Made(r)).count() as u32
        };
        for (n, node) in nodes() {
            let r = *node.results.first()?;
            match self.role(node, space, &inside) {
                Some(Role::Map(Extent::Full)) => {
                    pair.functions.insert(r, n);
                    let (there, here) = (count(after, r), count(before, r));
                    match uses.get(r as usize).copied().unwrap_or(0) {
                        all if all > here + there => {
                            pair.kept.insert(r);
                        }
                        _ if there > 0 => pair.wanted.push(r),
                        _ => {}
                    }
                }
                Some(Role::Spread) => {
                    pair.views.insert(r);
                }
                _ => {}
            }
        }
        (!pair.wanted.is_empty()).then_some(pair)
    }

    /// Run nodes again at the beginning of a group, which then reads what they make there.
    fn repeat(&mut self, again: &[usize], late: usize, groups: &mut [Group], uses: &mut Vec<u32>) {
        let mut copies: FxHashMap<u32, u32> = FxHashMap::default();
        let mut new = vec![];
        let change = |uses: &mut Vec<u32>, v: Value, by: i64| {
            if let Value::Made(r) = v
                && let Some(n) = uses.get_mut(r as usize)
            {
                *n = (i64::from(*n) + by).max(0) as u32;
            }
        };
        for n in again {
            let Some(node) = self.nodes.get(*n) else {
                continue;
            };
            let mut node = node.clone();
            for v in &mut node.operands {
                if let Value::Made(r) = v
                    && let Some(copy) = copies.get(r)
                {
                    *v = Value::Made(*copy);
                }
                change(uses, *v, 1);
            }
            for r in &mut node.results {
                let copy = self.avals.len() as u32;
                if let Some(aval) = self.avals.get(*r as usize).cloned() {
                    self.avals.push(aval);
                    uses.push(0);
                }
                copies.insert(*r, copy);
                *r = copy;
            }
            new.push(self.nodes.len());
            self.nodes.push(node);
        }
        let Some(group) = groups.get_mut(late) else {
            return;
        };
        for n in &group.nodes {
            for v in self
                .nodes
                .get_mut(*n)
                .map(|n| &mut n.operands)
                .into_iter()
                .flatten()
            {
                if let Value::Made(r) = v
                    && let Some(copy) = copies.get(r)
                {
                    change(uses, *v, -1);
                    *v = Value::Made(*copy);
                    change(uses, *v, 1);
                }
            }
        }
        group.nodes.splice(0..0, new);
    }

    /// Leave out what nothing reads any more.
    fn drop_unused(&self, early: usize, groups: &mut [Group], uses: &mut [u32]) {
        let Some(group) = groups.get_mut(early) else {
            return;
        };
        let mut kept = vec![];
        for n in std::mem::take(&mut group.nodes).into_iter().rev() {
            let Some(node) = self.nodes.get(n) else {
                continue;
            };
            let used = |r: &u32| uses.get(*r as usize).is_some_and(|n| *n > 0);
            if node.results.iter().any(used) {
                kept.push(n);
                continue;
            }
            for v in &node.operands {
                if let Value::Made(r) = v
                    && let Some(n) = uses.get_mut(*r as usize)
                {
                    *n = n.saturating_sub(1);
                }
            }
        }
        kept.reverse();
        group.nodes = kept;
    }
}
