//! Sums of which some terms cannot be formed but have a factor in common: `α·(a·b) + β·(a·c)` is `a·(α·b + β·c)`.

use super::super::construct::{Level, Operand, View, product, sum};
use super::super::language::{Label, Labels};
use super::contract::is_one_step;
use super::{Lowering, Monomial};

/// Summed labels of a rest that its common factor does not carry lie from here on.
const APART: Label = 1 << 13;
/// Sums of more terms are not looked at.
const MOST_TERMS: usize = 32;

impl Lowering<'_> {
    /// Forms terms, and sums of terms, that add up to the step; `None` if not all can be had so. `classes` are the terms as
    /// classes.
    pub(super) fn by_common_factors(
        &mut self,
        terms: &[Monomial],
        classes: &[View],
        free: &[Label],
        depth: usize,
    ) -> Option<Vec<View>> {
        if depth == 0 || terms.len() < 2 || terms.len() > MOST_TERMS {
            return None;
        }
        let mut alone: Vec<bool> = Vec::with_capacity(terms.len());
        for (term, class) in terms.iter().zip(classes) {
            alone.push(self.contract(class, &term.factors, free));
        }
        let mut left: Vec<usize> = (0..terms.len()).collect();
        let mut formed = Vec::new();
        while let Some(stuck) = left.iter().copied().find(|term| !alone[*term]) {
            let factors = terms[stuck].factors.clone();
            let (view, taken) = factors.iter().enumerate().find_map(|(place, factor)| {
                self.with_common_factor(terms, classes, &left, (stuck, place), factor, free, depth)
            })?;
            formed.push(view);
            left.retain(|term| !taken.contains(term));
        }
        formed.extend(left.into_iter().map(|term| classes[term].clone()));
        Some(formed)
    }

    /// Forms the sum of those terms that have a factor in common with one, and says which they are.
    #[expect(clippy::too_many_arguments, reason = "one place in a list of terms")]
    fn with_common_factor(
        &mut self,
        terms: &[Monomial],
        classes: &[View],
        left: &[usize],
        (stuck, place): (usize, usize),
        factor: &Operand,
        free: &[Label],
        depth: usize,
    ) -> Option<(View, Vec<usize>)> {
        let mut own = terms[stuck].clone();
        own.factors.remove(place);
        let open = open_labels(&own, factor, free);
        let (mut taken, mut rests) = (vec![stuck], vec![own]);
        for term in left.iter().copied().filter(|term| *term != stuck) {
            let rest = rest_of(&terms[term], factor, free);
            if let Some(rest) = rest.filter(|rest| open_labels(rest, factor, free) == open) {
                taken.push(term);
                rests.push(rest);
            }
        }
        if taken.len() < 2 || rests.iter().any(|rest| rest.factors.is_empty()) {
            return None;
        }
        let mut views: Vec<View> = Vec::with_capacity(rests.len());
        for (rest, term) in rests.iter().zip(&taken) {
            let mut view = product(self.graph, &rest.factors, &open, Level::Logical);
            // What the term counts beyond its factors stays with it.
            let whole = product(self.graph, &terms[*term].factors, free, Level::Logical);
            view.coefficient *= classes[*term].coefficient / whole.coefficient;
            // A sum of structures cannot be formed.
            if self.graph[view.id].data.structure.is_some() {
                return None;
            }
            views.push(view);
        }
        let inner = sum(self.graph, &views);
        let operands = [factor.clone(), inner.operand()];
        let class = product(self.graph, &operands, free, Level::Logical);
        let one = is_one_step(self.graph, &[&operands[0], &operands[1]], free);
        let admitted = |lowering: &Self, view: &View| {
            let data = &lowering.graph[view.id].data;
            let algebra = &lowering.graph.analysis;
            data.constant.is_none() && algebra.admits(&data.provenance, &data.shape)
        };
        if !one
            || inner.axes.len() != open.len()
            || !admitted(self, &inner)
            || !admitted(self, &class)
        {
            return None;
        }
        let mut all = true;
        for (rest, view) in rests.iter().zip(&views) {
            all = all && self.contract(view, &rest.factors, &open);
        }
        let parts = match all {
            true => views,
            false => self.by_common_factors(&rests, &views, &open, depth - 1)?,
        };
        let inner = self.add(&parts);
        let operands = [factor.clone(), inner.operand()];
        let mut view = product(self.graph, &operands, free, Level::Logical);
        if !self.is_formed(view.id) {
            self.multiply(&view, &operands);
        }
        view.coefficient *= inner.coefficient;
        Some((view, taken))
    }
}

/// The labels that a rest must keep: axes of the result, and those of the factor.
fn open_labels(rest: &Monomial, factor: &Operand, free: &[Label]) -> Labels {
    let all = rest.factors.iter().flat_map(|f| f.labels.iter().copied());
    let mut open: Labels = all
        .filter(|label| free.contains(label) || factor.labels.contains(label))
        .collect();
    open.sort_unstable();
    open.dedup();
    open
}

/// What is left of a term without this factor, under the factor's labels; `None` if the term does not have it.
fn rest_of(term: &Monomial, factor: &Operand, free: &[Label]) -> Option<Monomial> {
    let place = term.factors.iter().position(|own| {
        let same = own.id == factor.id;
        let mut pairs = own.labels.iter().zip(&factor.labels);
        same && pairs.all(
            |(from, to)| match free.contains(from) || free.contains(to) {
                true => from == to,
                false => own
                    .labels
                    .iter()
                    .zip(&factor.labels)
                    .all(|(f, t)| (f == from) == (t == to)),
            },
        )
    })?;
    let mut rest = term.clone();
    let own = rest.factors.remove(place);
    for label in rest.factors.iter_mut().flat_map(|f| f.labels.iter_mut()) {
        *label = match own.labels.iter().position(|l| l == label) {
            Some(axis) => factor.labels[axis],
            None if free.contains(label) => *label,
            None => label.saturating_add(APART),
        };
    }
    Some(rest)
}
