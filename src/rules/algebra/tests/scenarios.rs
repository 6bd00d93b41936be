//! Programs a person would write, and the plans that they must get.

use super::super::language::elements;
use super::*;

/// Whether the plan forms a tensor of this many elements.
fn forms(solution: &Solution, size: usize) -> bool {
    solution
        .plan
        .steps
        .iter()
        .any(|step| !matches!(step.action, Action::Leaf(_)) && elements(&step.shape) == size as f64)
}

/// Number of contractions in the plan.
fn contractions(solution: &Solution) -> usize {
    (0..solution.plan.steps.len())
        .filter(|step| solution.plan.is_contraction(*step))
        .count()
}

/// Small odd sizes, which are evaluated, and large ones, where costs decide.
const SIZES: [(usize, usize, usize, usize); 2] = [(7, 5, 2, 3), (1024, 768, 8, 256)];

#[test]
fn a_lora_linear_is_factored_on_either_side() {
    for (n, m, rank, batch) in SIZES {
        for (spec, x_shape) in [
            ("ik,kj->ij", vec![m, batch]),
            ("ik,jk->ji", vec![batch, m]),
            ("ik,jk->ij", vec![batch, m]),
            ("ik,k->i", vec![m]),
            ("ik,bjk->bji", vec![4, batch, m]),
            ("ki,kj->ij", vec![n, batch]),
            ("ki,jk->ji", vec![batch, n]),
        ] {
            let mut island = Island::new();
            let lora = island.lora(n, m, rank, 1.0);
            let x = island.leaf(&x_shape);
            let y = island.einsum(spec, &[lora.whole, x]);
            island.root(y);
            let solution = island.solved();
            assert!(solution.written_is_forbidden);
            assert!(!forms(&solution, n * m), "{spec}\n{}", solution.plan);
            assert_eq!(contractions(&solution), 3, "{spec}\n{}", solution.plan);
            let mut island = Island::new();
            let lora = island.lora(n, m, rank, 0.5);
            let x = island.leaf(&x_shape);
            let (left, right) = spec.split_once("->").map_or(("", ""), |s| s);
            let (a, b) = left.split_once(',').map_or(("", ""), |s| s);
            let y = island.einsum(&format!("{b},{a}->{right}"), &[x, lora.whole]);
            island.root(y);
            assert_eq!(contractions(&island.solved()), 3);
        }
    }
}

#[test]
fn an_adapter_for_each_example_is_factored() {
    for (n, m, rank, batch) in SIZES {
        let mut island = Island::new();
        let value = island.value(0b111, false);
        let (w, a, b) = (
            island.leaf(&[n, m]),
            island.leaf(&[4, n, rank]),
            island.leaf(&[4, rank, m]),
        );
        island.mark(w, value, 1, &[2, 4]);
        island.mark(a, value, 2, &[1, 2, 0]);
        island.mark(b, value, 4, &[1, 0, 4]);
        let ab = island.einsum("eir,erk->eik", &[a, b]);
        let wide = island.broadcast(w, &[1, 2], &[4, n, m]);
        let whole = island.sum(&[(1.0, wide), (1.0, ab)]);
        let x = island.leaf(&[4, batch, m]);
        let y = island.einsum("eik,ejk->eji", &[whole, x]);
        island.root(y);
        let solution = island.solved();
        assert!(!forms(&solution, 4 * n * m), "{}", solution.plan);
        assert_eq!(contractions(&solution), 3, "{}", solution.plan);
    }
}

/// Forward and backward of one linear, as differentiation writes it. Roots y, da, db, dx.
fn training(n: usize, m: usize, rank: usize, batch: usize, scale: f64) -> Island {
    let mut island = Island::new();
    let lora = island.lora(n, m, rank, scale);
    let x = island.leaf(&[batch, m]);
    let y = island.einsum("ok,jk->jo", &[lora.whole, x]);
    let g = island.leaf(&[batch, n]);
    island.problem.roots.push(y);
    // The cotangent comes out of the result through the loss.
    let leaf = island.problem.leaves.len() - 1;
    island.problem.leaves[leaf].after.push(0);
    let dw = island.einsum("jo,jk->ok", &[g, x]);
    let scaled = island.sum(&[(scale, dw)]);
    let da = island.einsum("ok,rk->or", &[scaled, lora.b]);
    let db = island.einsum("or,ok->rk", &[lora.a, scaled]);
    let dx = island.einsum("jo,ok->jk", &[g, lora.whole]);
    for root in [da, db, dx] {
        island.root(root);
    }
    island
}

#[test]
fn training_shares_and_never_forms_the_weights_gradient() {
    for (n, m, rank, batch) in SIZES {
        for scale in [1.0, 2.0] {
            let solution = training(n, m, rank, batch, scale).solved();
            assert!(!forms(&solution, n * m), "{}", solution.plan);
            // w·x, b·x, a·(bx), gᵀ·(bx), aᵀ·g, (aᵀg)·x, g·w, (aᵀg)·b: b·x and aᵀ·g each once.
            if n > 100 {
                assert_eq!(contractions(&solution), 8, "{}", solution.plan);
            }
            assert!(solution.proven);
        }
    }
}

#[test]
fn a_tensor_scale_stays_on_the_small_side() {
    for (n, m, rank, batch) in SIZES {
        let mut island = Island::new();
        let value = island.value(0b11, false);
        let (w, a, b, s) = (
            island.leaf(&[n, m]),
            island.leaf(&[n, rank]),
            island.leaf(&[rank, m]),
            island.leaf(&[]),
        );
        island.mark(w, value, 1, &[1, 2]);
        island.mark(a, value, 2, &[1, 0]);
        island.mark(b, value, 4, &[0, 2]);
        island.mark(s, value, 8, &[]);
        let ab = island.einsum("ir,rk->ik", &[a, b]);
        let sab = island.einsum(",ik->ik", &[s, ab]);
        let whole = island.sum(&[(1.0, w), (1.0, sab)]);
        let x = island.leaf(&[batch, m]);
        let y = island.einsum("ik,jk->ji", &[whole, x]);
        island.root(y);
        let solution = island.solved();
        assert!(!forms(&solution, n * m), "{}", solution.plan);
    }
}

#[test]
fn norms_traces_and_gram_matrices_are_no_materialisation() {
    for (n, m, rank, _) in SIZES {
        // DoRA: the squared norm of each row.
        let mut island = Island::new();
        let lora = island.lora(n, m, rank, 1.0);
        let norm = island.einsum("ik,ik->i", &[lora.whole, lora.whole]);
        island.root(norm);
        let solution = island.solved();
        assert!(!forms(&solution, n * m) || n < 10, "{}", solution.plan);

        let mut island = Island::new();
        let lora = island.lora(n, n, rank, 1.0);
        let trace = island.einsum("ii->", &[lora.whole]);
        let rows = island.einsum("ik->i", &[lora.whole]);
        island.root(trace);
        island.root(rows);
        let solution = island.solved();
        assert!(!forms(&solution, n * n), "{}", solution.plan);

        let mut island = Island::new();
        let lora = island.lora(n, m, rank, 1.0);
        let gram = island.einsum("ik,jk->ij", &[lora.whole, lora.whole]);
        island.root(gram);
        island.solved();
    }
}

#[test]
fn chains_of_values_and_of_matrices_are_reordered() {
    for (n, m, rank, batch) in SIZES {
        for right in [false, true] {
            let mut island = Island::new();
            let first = island.lora(n, m, rank, 1.0);
            let second = island.lora(m, n, rank, 1.0);
            let x = island.leaf(&[n, batch]);
            let y = if right {
                let h = island.einsum("il,lj->ij", &[second.whole, x]);
                island.einsum("ik,kj->ij", &[first.whole, h])
            } else {
                let h = island.einsum("ik,kl->il", &[first.whole, second.whole]);
                island.einsum("il,lj->ij", &[h, x])
            };
            island.root(y);
            let solution = island.solved();
            if n > 100 {
                assert_eq!(
                    contractions(&solution),
                    6,
                    "{} {}",
                    solution.cost,
                    solution.plan
                );
            }
        }
    }
    // Five matrices, written from the wrong side.
    let mut island = Island::new();
    let sizes = [600, 500, 400, 300, 200, 1];
    let mut product = island.leaf(&sizes[0..2]);
    for i in 1..5 {
        let next = island.leaf(&sizes[i..i + 2]);
        product = island.einsum("ij,jk->ik", &[product, next]);
    }
    island.root(product);
    let solution = island.solved();
    let products: usize = (0..4).map(|i| 2 * sizes[i] * sizes[i + 1]).sum();
    assert_eq!(solution.plan.flops(), products as f64);
}

#[test]
fn two_adapters_share_the_sum_of_their_bases() {
    let (n, m, rank, batch) = SIZES[1];
    let mut island = Island::new();
    let first = island.lora(n, m, rank, 1.0);
    let second = island.lora(n, m, rank, 1.0);
    let whole = island.sum(&[(1.0, first.whole), (1.0, second.whole)]);
    let x = island.leaf(&[m, batch]);
    let y = island.einsum("ik,kj->ij", &[whole, x]);
    island.root(y);
    let solution = island.solved();
    assert_eq!(contractions(&solution), 5, "{}", solution.plan);
}

#[test]
fn written_by_hand_is_merged_where_that_is_cheaper_and_allowed() {
    let (n, m, rank) = (1024, 768, 8);
    let mut island = Island::new();
    let lora = island.lora(n, m, rank, 1.0);
    island.problem.values[0].allow_materialise = true;
    let x = island.leaf(&[m, 65536]);
    let wx = island.einsum("ik,kj->ij", &[lora.w, x]);
    let bx = island.einsum("rk,kj->rj", &[lora.b, x]);
    let abx = island.einsum("ir,rj->ij", &[lora.a, bx]);
    let y = island.sum(&[(1.0, wx), (1.0, abx)]);
    island.root(y);
    let solution = island.solved();
    assert!(forms(&solution, n * m), "{}", solution.plan);
    assert!(solution.cost < 0.95 * solution.cost_as_written);
}

#[test]
fn what_needs_the_sum_is_refused() {
    // The value itself, a multiple of its transpose, and its sum with something else.
    let mut island = Island::new();
    let lora = island.lora(7, 5, 2, 1.0);
    island.root(lora.whole);
    let refusal = island.solve().expect_err("the sum");
    assert_eq!(refusal.step, lora.whole);
    assert_eq!(refusal.value, Some(0));

    let mut island = Island::new();
    let lora = island.lora(7, 5, 2, 1.0);
    let scaled = island.sum(&[(2.0, lora.whole)]);
    let transposed = island.einsum("ij->ji", &[scaled]);
    island.root(transposed);
    assert!(island.solve().is_err());

    let mut island = Island::new();
    let lora = island.lora(7, 5, 2, 1.0);
    let dense = island.leaf(&[7, 5]);
    let mixed = island.sum(&[(1.0, lora.whole), (1.0, dense)]);
    island.root(mixed);
    let refusal = island.solve().expect_err("the sum with a dense tensor");
    assert_eq!((refusal.step, refusal.value), (mixed, Some(0)));

    // Elementwise with a dense tensor: the other plan needs a temporary larger than anything in the program.
    let mut island = Island::new();
    let lora = island.lora(70, 50, 2, 1.0);
    let dense = island.leaf(&[70, 50]);
    let scaled = island.einsum("ij,ij->ij", &[lora.whole, dense]);
    island.root(scaled);
    assert!(island.solve().is_err());

    // With permission the same programs run as written.
    island.problem.values[0].allow_materialise = true;
    assert!(!island.solved().improves());
}

#[test]
fn what_is_infeasible_on_the_way_may_be_feasible_in_the_end() {
    let mut island = Island::new();
    let lora = island.lora(7, 5, 2, 1.0);
    let dense = island.leaf(&[7, 5]);
    let mixed = island.sum(&[(1.0, lora.whole), (3.0, dense)]);
    let x = island.leaf(&[5, 3]);
    let y = island.einsum("ik,kj->ij", &[mixed, x]);
    island.root(y);
    island.solved();

    // What is added is taken away again.
    let mut island = Island::new();
    let lora = island.lora(7, 5, 2, 1.0);
    let dense = island.leaf(&[7, 5]);
    let mixed = island.sum(&[(1.0, lora.whole), (3.0, dense)]);
    let rest = island.sum(&[(1.0, mixed), (-1.0, lora.whole)]);
    island.root(rest);
    let solution = island.solved();
    assert_eq!(solution.cost, 0.0);
}

#[test]
fn values_nest() {
    for (n, m, rank, batch) in SIZES {
        // w₀ + a₀b₀ is the base of a second adapter, and that of a third.
        let mut island = Island::new();
        let values: Vec<u32> = (0..3).map(|_| island.value(0b11, false)).collect();
        let mut whole = island.leaf(&[n, m]);
        for value in &values {
            island.mark(whole, *value, 1, &[1, 2]);
        }
        for depth in 0..3 {
            let (a, b) = (island.leaf(&[n, rank]), island.leaf(&[rank, m]));
            for (later, value) in values.iter().enumerate().skip(depth) {
                let components = if later == depth { (2, 4) } else { (1, 1) };
                island.mark(a, *value, components.0, &[1, 0]);
                island.mark(b, *value, components.1, &[0, 2]);
            }
            let ab = island.einsum("ir,rk->ik", &[a, b]);
            whole = island.sum(&[(1.0, whole), (1.0, ab)]);
        }
        let x = island.leaf(&[batch, m]);
        let y = island.einsum("ik,jk->ji", &[whole, x]);
        island.root(y);
        let solution = island.solved();
        assert!(!forms(&solution, n * m), "{}", solution.plan);
        island.problem.roots[0] = whole;
        assert_eq!(island.solve().expect_err("the sum").value, Some(2));
    }
}

#[test]
fn broadcasts_constants_and_sums_of_nothing() {
    let mut island = Island::new();
    let x = island.leaf(&[4, 3]);
    let bias = island.leaf(&[3]);
    let wide = island.broadcast(bias, &[1], &[4, 3]);
    let y = island.sum(&[(1.0, x), (2.0, wide)]);
    let total = island.einsum("ij->", &[y]);
    let nothing = island.sum(&[(1.0, y), (-1.0, y)]);
    let one = island.problem.push(
        Operation::Product {
            operands: SmallVec::new(),
            output: Labels::new(),
        },
        Shape::new(),
    );
    let half = island.sum(&[(0.5, one)]);
    let filled = island.broadcast(half, &[], &[4, 3]);
    let with_constant = island.sum(&[(1.0, filled), (1.0, x)]);
    let summed = island.einsum("ij->j", &[filled]);
    for root in [y, total, nothing, filled, with_constant, summed, wide] {
        island.root(root);
    }
    island.solved();
}

#[test]
fn the_same_island_gets_the_same_plan() {
    let first = training(1024, 768, 8, 256, 2.0).solved();
    for _ in 0..3 {
        assert_eq!(first, training(1024, 768, 8, 256, 2.0).solved());
    }
    assert_eq!(
        training(7, 5, 2, 3, 1.0).problem,
        training(7, 5, 2, 3, 1.0).problem
    );
}

#[test]
fn large_islands_stay_bounded() {
    // A chain of 64 matrices, a sum of 1,000 terms, 10,000 additions in a row.
    let mut island = Island::new();
    let mut product = island.leaf(&[30, 40]);
    for i in 0..63 {
        let next = island.leaf(&[40 - i % 2 * 10, 30 + i % 2 * 10]);
        product = island.einsum("ij,jk->ik", &[product, next]);
    }
    island.root(product);
    island.solved();

    let mut island = Island::new();
    let mut total = island.leaf(&[3, 3]);
    for _ in 0..1000 {
        let next = island.leaf(&[3, 3]);
        total = island.sum(&[(1.0, total), (1.0, next)]);
    }
    island.root(total);
    island.solved();

    let mut island = Island::new();
    let x = island.leaf(&[3, 3]);
    let mut total = x;
    for i in 0..10_000 {
        total = match i % 2 {
            0 => island.einsum("ij,jk->ik", &[total, x]),
            _ => island.sum(&[(0.5, total), (0.5, x)]),
        };
    }
    island.root(total);
    island.solved();
}
