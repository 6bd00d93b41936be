//! Random programs: products over arbitrary labels, sums with broadcasts, values nested to depth 3, several roots. Whatever
//! comes out must be equal to the program as written, never costlier, and the same each time.

use super::*;

/// Programs tried; the optimised build affords more.
pub const PROGRAMS: u64 = if cfg!(debug_assertions) { 60 } else { 4_000 };

/// A random island. `sizes` are the sizes that axes may have.
pub fn island(random: &mut Random, sizes: &[usize], operations: usize) -> Island {
    let mut island = Island::new();
    let mut pool: Vec<u32> = Vec::new();
    for _ in 0..2 + random.below(3) {
        let shape: Vec<usize> = (0..1 + random.below(3))
            .map(|_| sizes[random.below(sizes.len())])
            .collect();
        pool.push(island.leaf(&shape));
    }
    for _ in 0..1 + random.below(2) {
        let depth = 1 + random.below(3);
        let value = value(&mut island, random, sizes, depth);
        pool.push(value);
    }
    for _ in 0..operations {
        let step = match random.below(10) {
            0 | 1 => sum(&mut island, random, &pool),
            2 => shared(&mut island, random, &pool, sizes),
            3 => banded(&mut island, random, &pool, sizes),
            4 => indexed(&mut island, random, &pool, sizes),
            _ => product(&mut island, random, &pool, sizes),
        };
        if super::super::language::elements(island.problem.shape(step)) <= 1e7 {
            pool.push(step);
        }
    }
    for _ in 0..1 + random.below(3) {
        let late = random.below(operations.min(3));
        let root = pool[pool.len() - 1 - late];
        island.root(root);
    }
    island
}

/// A LoRA value whose base is one of `depth - 1`.
fn value(island: &mut Island, random: &mut Random, sizes: &[usize], depth: usize) -> u32 {
    let (n, m) = (
        sizes[random.below(sizes.len())],
        sizes[random.below(sizes.len())],
    );
    let rank = 1 + random.below(2);
    let allow = random.below(4) == 0;
    let axes = u32::from(n > 1) | u32::from(m > 1) << 1;
    let values: Vec<u32> = (0..depth).map(|_| island.value(axes, allow)).collect();
    let mut whole = island.leaf(&[n, m]);
    for value in &values {
        island.mark(whole, *value, 1, &[1, 2]);
    }
    for inner in 0..depth {
        let (a, b) = (island.leaf(&[n, rank]), island.leaf(&[rank, m]));
        for (outer, value) in values.iter().enumerate().skip(inner) {
            let (of_a, of_b) = if outer == inner { (2, 4) } else { (1, 1) };
            island.mark(a, *value, of_a, &[1, 0]);
            island.mark(b, *value, of_b, &[0, 2]);
        }
        let ab = island.einsum("ir,rk->ik", &[a, b]);
        let scale = [1.0, 0.5][random.below(2)];
        whole = island.sum(&[(1.0, whole), (scale, ab)]);
    }
    whole
}

/// Labels for the axes of a tensor: two names for each size.
fn labels(island: &Island, random: &mut Random, step: u32, sizes: &[usize]) -> Labels {
    let mut labels = Labels::new();
    for size in island.problem.shape(step) {
        let kind = sizes
            .iter()
            .position(|s| s == size)
            .unwrap_or(sizes.len() + size);
        let mut label = (2 * kind + random.below(2)) as Label;
        // A tensor's own axes get the same label only now and then.
        if labels.contains(&label) && random.below(8) > 0 {
            label ^= 1;
        }
        labels.push(label);
    }
    labels
}

fn product(island: &mut Island, random: &mut Random, pool: &[u32], sizes: &[usize]) -> u32 {
    let count = 1 + usize::from(random.below(8) > 0);
    let operands: SmallVec<[(u32, Labels); 2]> = (0..count)
        .map(|_| {
            let step = pool[random.below(pool.len())];
            (step, labels(island, random, step, sizes))
        })
        .collect();
    let mut output = Labels::new();
    let mut shape = Shape::new();
    for (step, labels) in &operands {
        for (label, size) in labels.iter().zip(island.problem.shape(*step)) {
            if !output.contains(label) && output.len() < 3 && random.below(2) == 0 {
                output.push(*label);
                shape.push(*size);
            }
        }
    }
    if count == 1 && output.len() < 3 && random.below(4) == 0 {
        output.push(1000);
        shape.push(sizes[0]);
    }
    // Sums over everything that is not kept may be large; the axes come in any order.
    if output.len() > 1 && random.below(2) == 0 {
        output.reverse();
        shape.reverse();
    }
    island
        .problem
        .push(Operation::Product { operands, output }, shape)
}

/// A tensor that is sliced, reversed, padded or all of it along one of its axes; or two of them, one after the other.
fn banded(island: &mut Island, random: &mut Random, pool: &[u32], sizes: &[usize]) -> u32 {
    let operand = pool[random.below(pool.len())];
    let shape: Shape = island.problem.shape(operand).into();
    if shape.is_empty() {
        return operand;
    }
    let axis = random.below(shape.len());
    let (old, new) = (shape[axis], sizes[random.below(sizes.len())]);
    let count = 1 + random.below(old.min(new));
    let mut steps = [1, 1];
    let starts = [0, 1].map(|side| {
        let room = [new, old][side] - count;
        if count > 1 && room >= count && random.below(3) == 0 {
            steps[side] = 2;
        }
        let room = [new, old][side] - (1 + (count - 1) * steps[side] as usize);
        random.below(room + 1)
    });
    let mut band = Band::new([new, old], starts, steps, count);
    if count > 1 && random.below(3) == 0 {
        band = Band::new(
            [new, old],
            [band.at(0, count - 1), starts[1]],
            [-steps[0], steps[1]],
            count,
        );
    }
    let first = island.banded(operand, axis, band);
    if random.below(2) == 0 || count == new {
        return first;
    }
    let rest = new - count;
    let shift = Band::new([new, old], [count, 0], [1, 1], rest.min(old));
    let start = Band::new([new, old], [0, old - count], [1, 1], count);
    let parts = [
        island.banded(operand, axis, start),
        island.banded(operand, axis, shift),
    ];
    island.sum(&[(1.0, parts[0]), (1.0, parts[1])])
}

/// Rows picked by an index, or added up where it says.
fn indexed(island: &mut Island, random: &mut Random, pool: &[u32], sizes: &[usize]) -> u32 {
    let operand = pool[random.below(pool.len())];
    let mut shape: Shape = island.problem.shape(operand).into();
    if shape.is_empty() {
        return operand;
    }
    let axis = random.below(shape.len());
    let other = sizes[random.below(sizes.len())];
    let gathers = random.below(2) == 0;
    let rank = shape.len() as Label;
    let (index, labels, kind) = match gathers {
        true => (
            [other, shape[axis]],
            [axis as Label, rank],
            Structure::Gather,
        ),
        false => (
            [shape[axis], other],
            [rank, axis as Label],
            Structure::Scatter,
        ),
    };
    let index = island.leaf(&index);
    if let Some(leaf) = island.problem.leaves.last_mut() {
        leaf.moves = Some(kind);
    }
    let output: Labels = (0..rank).collect();
    let mut own = output.clone();
    own[axis] = rank;
    shape[axis] = other;
    let operands = SmallVec::from_iter([(operand, own), (index, SmallVec::from_slice(&labels))]);
    let product = Operation::Product { operands, output };
    island.problem.push(product, shape)
}

/// A sum of two products that have a factor in common.
fn shared(island: &mut Island, random: &mut Random, pool: &[u32], sizes: &[usize]) -> u32 {
    let first = product(island, random, pool, sizes);
    let step = island.problem.steps[first as usize].clone();
    let Operation::Product { operands, output } = step.operation else {
        return first;
    };
    let other = operands
        .iter()
        .map(|(step, labels)| (*step, labels.clone()))
        .enumerate()
        .map(|(place, (step, labels))| match place {
            0 => {
                let shape: Shape = island.problem.shape(step).into();
                (island.leaf(&shape), labels)
            }
            _ => (step, labels),
        })
        .collect();
    let second = island.problem.push(
        Operation::Product {
            operands: other,
            output,
        },
        step.shape,
    );
    island.sum(&[(1.0, first), (2.0, second)])
}

fn sum(island: &mut Island, random: &mut Random, pool: &[u32]) -> u32 {
    let first = pool[random.below(pool.len())];
    let shape: Shape = island.problem.shape(first).into();
    let output: Labels = (0..shape.len() as Label).collect();
    let mut terms: SmallVec<[(Coefficient, u32, Labels); 2]> = SmallVec::new();
    let coefficient = |random: &mut Random| Coefficient([1.0, -1.0, 2.0, 0.5][random.below(4)]);
    terms.push((coefficient(random), first, output.clone()));
    for _ in 0..1 + random.below(2) {
        let other = pool[random.below(pool.len())];
        let mut taken = Labels::new();
        for size in island.problem.shape(other) {
            let free = |axis: &usize| shape[*axis] == *size && !taken.contains(&(*axis as Label));
            match (0..shape.len()).find(free) {
                Some(axis) => taken.push(axis as Label),
                None => break,
            }
        }
        if taken.len() == island.problem.shape(other).len() {
            terms.push((coefficient(random), other, taken));
        }
    }
    island.problem.push(Operation::Sum { terms, output }, shape)
}

fn run(sizes: &[usize], seed: u64, programs: u64) {
    let (mut refused, mut improved, mut proven) = (0u64, 0u64, 0);
    let mut slowest = (std::time::Duration::ZERO, 0);
    for program in 0..programs {
        let mut random = Random::new(seed + program);
        let operations = 1 + random.below(8);
        let island = island(&mut random, sizes, operations);
        let start = std::time::Instant::now();
        let outcome = island.solve();
        slowest = slowest.max((start.elapsed(), program));
        assert_eq!(
            outcome,
            island.solve(),
            "program {program} is not deterministic"
        );
        match outcome {
            Err(_) => refused += 1,
            Ok(solution) => {
                check(&island.problem, &solution);
                improved += u64::from(solution.improves());
                proven += u32::from(solution.proven);
            }
        }
    }
    println!(
        "{programs} programs: {refused} refused, {improved} improved, {proven} proven; slowest {slowest:?}"
    );
    assert!(refused < programs / 2);
    assert!(improved > programs / 20);
}

#[test]
fn small_programs_keep_their_meaning() {
    run(&[2, 3, 1], 1 << 32, PROGRAMS);
}

#[test]
fn large_programs_never_get_costlier() {
    run(&[8, 64, 256, 1024], 2 << 32, PROGRAMS);
}
