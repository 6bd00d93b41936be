//! Which leaves of an island can only be there after some of its roots: opaque equations make the ones from the others.

use super::import::Island;
use crate::trace::{Atom, Jaxpr, Var};

/// Roots that are followed through the program at once.
const AT_ONCE: usize = 512;

/// Some of the roots that are followed, one bit each.
type Roots = [u64; AT_ONCE / 64];

/// A root: the island, its number there, its variable.
type Place = (usize, u32, Var);

/// Notes for each leaf the roots of its island on which it depends through equations outside of the island.
pub(super) fn note_waits(program: &Jaxpr, islands: &mut [Island]) {
    let mut island_of = vec![usize::MAX; program.eqns().len()];
    let mut roots: Vec<Place> = Vec::new();
    for (number, island) in islands.iter().enumerate() {
        for eqn in &island.eqns {
            island_of[*eqn] = number;
        }
        let own = (0..).zip(&island.roots);
        roots.extend(own.map(|(place, root)| (number, place, *root)));
    }
    for some in roots.chunks(AT_ONCE) {
        follow(program, islands, &island_of, some);
    }
}

fn follow(program: &Jaxpr, islands: &mut [Island], island_of: &[usize], some: &[Place]) {
    let (Some((first, ..)), Some((last, ..))) = (some.first(), some.last()) else {
        return;
    };
    let mut bit_of = vec![u32::MAX; program.var_count()];
    let mut own: Vec<Roots> = vec![Roots::default(); last - first + 1];
    for (bit, (island, _, root)) in some.iter().enumerate() {
        bit_of[root.index()] = bit as u32;
        set(&mut own[island - first], bit);
    }
    let mut below: Vec<Roots> = vec![Roots::default(); program.var_count()];
    for (eqn, island) in program.eqns().iter().zip(island_of) {
        let mut all = Roots::default();
        for var in eqn.inputs.iter().filter_map(Atom::var) {
            let roots = &below[var.index()];
            all.iter_mut().zip(roots).for_each(|(a, b)| *a |= b);
        }
        // Within an island it is for the plan to say what comes first.
        if let Some(own) = island.checked_sub(*first).and_then(|place| own.get(place)) {
            all.iter_mut().zip(own).for_each(|(a, b)| *a &= !b);
        }
        for var in &eqn.outputs {
            below[var.index()] = all;
            if let Some(bit) = bit_of.get(var.index()).filter(|bit| **bit != u32::MAX) {
                set(&mut below[var.index()], *bit as usize);
            }
        }
    }
    for (island, own) in islands[*first..].iter_mut().zip(&own) {
        for (leaf, var) in island.problem.leaves.iter_mut().zip(&island.leaves) {
            if island.roots.contains(var) {
                continue;
            }
            for (word, (roots, own)) in below[var.index()].iter().zip(own).enumerate() {
                let mut left = roots & own;
                while left != 0 {
                    let bit = 64 * word + left.trailing_zeros() as usize;
                    leaf.after.push(some[bit].1);
                    left &= left - 1;
                }
            }
        }
    }
}

fn set(roots: &mut Roots, bit: usize) {
    roots[bit / 64] |= 1 << (bit % 64);
}
