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
    let programs = if cfg!(debug_assertions) { 60 } else { 2_000 };
    let (compared, _) = compare(&[8, 64, 512], 5 << 32, programs, 4);
    assert!(u64::from(compared) > programs / 4);
}

#[test]
fn zz_gram() {
    let mut island = Island::new();
    let lora = island.lora(512, 512, 8, 1.0);
    let g = island.einsum("ik,jk->ij", &[lora.whole, lora.whole]);
    island.root(g);
    let start = std::time::Instant::now();
    let solution = island.solve().unwrap();
    println!("{:?} {:?} proven {} stopped {} nodes {} classes {} cost {}\n{}", optimum(&island.problem, &CostModel::default()), start.elapsed(), solution.proven, solution.stopped, solution.nodes, solution.classes, solution.cost, solution.plan);
    let model = CostModel::default();
    let mut built = super::super::lower::build(&island.problem, &model, 20000);
    let lowered = super::super::lower::lower(&island.problem, &mut built).unwrap();
    println!("lowered {}\n{}", lowered.cost(&model, 4), lowered);
}
