//! The smallest program that still fails.

use super::program::{Program, Step};

impl Program {
    /// The number of the first result of a step.
    fn first(&self, step: usize) -> usize {
        self.inputs.len() + self.results[..step].iter().sum::<usize>()
    }

    /// The same program without a step, whose uses read earlier values of the same types instead.
    fn without(&self, k: usize) -> Option<Program> {
        let (first, n) = (self.first(k), self.results[k]);
        let used = |i: &usize| {
            self.outs.contains(i) || self.steps[k + 1..].iter().any(|s| s.operands().contains(i))
        };
        let replacement = |i: usize| {
            let fits = |j: &usize| self.types[*j].same_type(&self.types[i]);
            if used(&i) {
                (0..first).rev().find(fits)
            } else {
                Some(0)
            }
        };
        let instead: Option<Vec<usize>> = (first..first + n).map(replacement).collect();
        let instead = instead?;
        let rename = |i: usize| match i {
            _ if i < first => i,
            _ if i < first + n => instead[i - first],
            _ => i - n,
        };
        let mut p = self.clone();
        p.steps.remove(k);
        p.results.remove(k);
        p.types.drain(first..first + n);
        for s in &mut p.steps {
            s.operands_mut().iter_mut().for_each(|i| *i = rename(*i));
        }
        p.outs.iter_mut().for_each(|i| *i = rename(*i));
        Some(p)
    }

    /// The same program up to and with a step, whose first result is the program's.
    fn up_to(&self, k: usize) -> Program {
        let end = self.first(k) + self.results[k];
        let mut p = self.clone();
        p.steps.truncate(k + 1);
        p.results.truncate(k + 1);
        p.types.truncate(end);
        p.outs = vec![self.first(k)];
        p
    }

    /// Programs that are a little smaller; `fixed`: with results of the same types.
    fn smaller(&self, fixed: bool) -> Vec<Program> {
        let mut all: Vec<Program> = vec![];
        let n = self.steps.len();
        if !fixed {
            all.extend((0..n.saturating_sub(1)).map(|k| self.up_to(k)));
            if self.outs.len() > 1 {
                all.extend((0..self.outs.len()).map(|k| {
                    let mut p = self.clone();
                    p.outs = vec![self.outs[k]];
                    p
                }));
            }
        }
        all.extend((0..n).rev().filter_map(|k| self.without(k)));
        for (k, s) in self.steps.iter().enumerate() {
            let Step::Call(how, programs, x) = s else {
                continue;
            };
            for (i, inner) in programs.iter().enumerate() {
                for small in inner.smaller(true) {
                    let mut programs = programs.clone();
                    programs[i] = small;
                    let mut p = self.clone();
                    p.steps[k] = Step::Call(how.clone(), programs, x.clone());
                    all.push(p);
                }
            }
        }
        all
    }
}

/// The smallest program, found step by step, for which the property still fails.
pub fn shrink(program: &Program, fails: impl Fn(&Program) -> bool) -> Program {
    let mut best = program.clone();
    let mut left = 2000;
    loop {
        let next = best.smaller(false).into_iter().find(|p| {
            left -= 1;
            left > 0 && !p.steps.is_empty() && fails(p)
        });
        match next {
            Some(p) => best = p,
            None => return best,
        }
    }
}
