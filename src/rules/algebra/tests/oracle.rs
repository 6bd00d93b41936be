//! What the search by exhaustion says of plans and refusals.

use super::super::oracle::{Optimum, optimum};
use super::*;

/// Compares solutions with the optimum on random small islands; returns how many were compared, and the largest ratio.
fn compare(sizes: &[usize], seed: u64, programs: u64, most: usize) -> (u32, f64) {
    let model = CostModel::default();
    let (mut compared, mut refused, mut worst, mut off) = (0, 0, (1.0f64, 0), 0);
    for program in 0..programs {
        let mut random = Random::new(seed + program);
        let operations = 1 + random.below(most);
        let island = super::random::island(&mut random, sizes, operations);
        let found = island.solve();
        match (optimum(&island.problem, &model), found) {
            (Optimum::Unknown, _) => {}
            (Optimum::Refused, Ok(solution)) => {
                panic!(
                    "program {program} has no plan, and this:\n{}",
                    solution.plan
                )
            }
            (Optimum::Refused, Err(_)) => refused += 1,
            (Optimum::Cost(cost), Err(refusal)) => {
                panic!(
                    "program {program} has a plan of {cost}, and {refusal:?}\n{}",
                    Plan::as_written(&island.problem)
                )
            }
            (Optimum::Cost(cost), Ok(solution)) => {
                compared += 1;
                let ratio = solution.cost / cost.max(1e-9);
                if cost > 0.0 && ratio > worst.0 {
                    worst = (ratio, program);
                }
                off += u32::from(cost > 0.0 && ratio > 1.001);
            }
        }
    }
    println!("{compared} compared, {refused} refused, {off} above the optimum, at most {worst:?}");
    (compared, worst.0)
}

#[test]
fn small_islands_are_planned_and_refused_as_exhaustion_says() {
    let asked = std::env::var("ALGEBRA_PROGRAMS").ok();
    let asked = asked.and_then(|number| number.parse().ok());
    let programs = asked.unwrap_or(if cfg!(debug_assertions) { 60 } else { 2_000 });
    let (compared, _) = compare(&[8, 64, 512], 5 << 32, programs, 4);
    assert!(u64::from(compared) > programs / 4);
}

#[test]
fn what_people_write_is_planned_as_well_as_can_be() {
    // y·yᵀ of a value, and the scores of attention: the first with common factors, the second with a sum better not formed.
    let mut gram = Island::new();
    let w = gram.lora(512, 512, 8, 1.0);
    let product = gram.einsum("ik,jk->ij", &[w.whole, w.whole]);
    gram.root(product);
    let mut scores = Island::new();
    let (q, k) = (scores.lora(512, 512, 8, 1.0), scores.lora(512, 512, 8, 1.0));
    let x = scores.leaf(&[512, 64]);
    let q = scores.einsum("ik,kj->ij", &[q.whole, x]);
    let k = scores.einsum("ik,kj->ij", &[k.whole, x]);
    let product = scores.einsum("ki,kj->ij", &[q, k]);
    scores.root(product);
    for island in [gram, scores] {
        let solution = island.solved();
        let Optimum::Cost(best) = optimum(&island.problem, &CostModel::default()) else {
            panic!("the search does not end");
        };
        assert!(
            solution.cost <= 1.001 * best,
            "{} for {best}",
            solution.cost
        );
    }
}
