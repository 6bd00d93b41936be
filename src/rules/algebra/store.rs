//! Plans in a file, so that a process that starts anew need not search again.
//!
//! A file is a line that names the format, the release and the cost model; then the problems with their plans; then a sum of all
//! bytes. What does not agree is an error and nothing is taken from the file. A plan is found by the whole problem, as in memory,
//! and is taken only if its shapes fit and it costs what is written.

use super::cost::CostModel;
use super::language::{Coefficient, Labels};
use super::memo::{Outcome, each_known, keep};
use super::plan::{Action, Plan, PlanStep, Root};
use super::problem::{Leaf, Mark, Operation, Problem, Step, Value};
use super::solve::Solution;
use super::structure::{Band, Structure};
use crate::error::{Error, Result};
use smallvec::{Array, SmallVec};
use std::path::Path;
use std::sync::Arc;

/// The version of the format.
const FORMAT: u32 = 2;
/// The longest list that is read.
const LONGEST: usize = 1 << 20;

/// Writes all plans that this process knows to a file: beside a compiled program, or wherever the next process looks. Plans with
/// what [`Options`](super::Options) state are left out, since functions cannot be written. Gives the number of plans.
///
/// ```
/// use quaxide::{prelude::*, rules::algebra};
/// let (a, x) = (Array::ones([8, 8], DType::F32), Array::ones([8], DType::F32));
/// let y = jit(|a: &Array, x: &Array| a.dot(a).dot(x))(&a, &x).unwrap();
/// let path = std::env::temp_dir().join(format!("plans-{}", std::process::id()));
/// algebra::save_plans(&path).unwrap();
/// assert!(algebra::load_plans(&path).unwrap() > 0);
/// # std::fs::remove_file(&path).unwrap();
/// ```
///
/// # Errors
///
/// Where the file system has one.
pub fn save_plans(path: &Path) -> Result<usize> {
    let mut bytes = heading().into_bytes();
    let mut entries = Vec::new();
    each_known(|problem, outcome| {
        if let (Ok(solution), true) = (&**outcome, problem.equalities.is_empty()) {
            entries.push((problem.clone(), solution.clone()));
        }
    });
    // The order in memory is that of hashing.
    let mut written: Vec<Vec<u8>> = Vec::with_capacity(entries.len());
    for (problem, solution) in &entries {
        let mut entry = Vec::new();
        if problem.put(&mut entry).is_some() && solution.put(&mut entry).is_some() {
            written.push(entry);
        }
    }
    written.sort_unstable();
    bytes.extend((written.len() as u64).to_le_bytes());
    written.iter().for_each(|entry| bytes.extend(entry));
    let sum = checksum(&bytes);
    bytes.extend(sum.to_le_bytes());
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)?;
    }
    // Never half a file under that name.
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.unfinished", std::process::id()));
    std::fs::write(&unfinished, bytes)?;
    std::fs::rename(&unfinished, path)?;
    Ok(written.len())
}

/// Takes up the plans of a file that [`save_plans`] wrote, beside those that this process knows. Gives the number of plans.
///
/// # Errors
///
/// If the file cannot be read, was written by another release or for another cost model, or is damaged. Nothing is taken from it
/// then, and programs are planned as without it.
pub fn load_plans(path: &Path) -> Result<usize> {
    let bytes = std::fs::read(path)?;
    let bad = |why: &str| {
        Err(Error::format(format!(
            "{}: {why}; its plans are not used, and `save_plans` writes the file anew",
            path.display()
        )))
    };
    let Some((content, sum)) = bytes.split_last_chunk::<8>() else {
        return bad("too short to hold plans");
    };
    let heading = heading();
    let Some(list) = content.strip_prefix(heading.as_bytes()) else {
        return match content.starts_with(b"quaxide plans ") {
            true => bad("written by another release, or for another cost model"),
            false => bad("no file of plans"),
        };
    };
    if checksum(content) != u64::from_le_bytes(*sum) {
        return bad("damaged: its bytes do not add up");
    }
    let mut rest = list;
    let Some(entries) = entries(&mut rest).filter(|_| rest.is_empty()) else {
        return bad("damaged: an entry is none");
    };
    let model = CostModel::current();
    let all_fit = entries.iter().all(|(problem, solution)| {
        let cost = solution.plan.cost(&model, problem.itemsize);
        let as_written = (cost - solution.cost).abs() <= 1e-6 * cost.abs();
        as_written
            && [&solution.plan, &solution.lowered]
                .into_iter()
                .all(|p| fits(p, problem))
    });
    if !all_fit {
        return bad("damaged: a plan does not fit its problem");
    }
    let count = entries.len();
    for (problem, solution) in entries {
        keep(problem, Arc::new(Ok(solution)) as Outcome);
    }
    Ok(count)
}

fn heading() -> String {
    let model = format!("{:?}", CostModel::current());
    format!(
        "quaxide plans {FORMAT}, release {}, cost model {:016x}\n",
        env!("CARGO_PKG_VERSION"),
        checksum(model.as_bytes())
    )
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn entries(bytes: &mut &[u8]) -> Option<Vec<(Problem, Solution)>> {
    let count = usize::get(bytes)?;
    let mut entries = Vec::new();
    for _ in 0..count.min(LONGEST) {
        let (problem, solution) = (Problem::get(bytes)?, Solution::get(bytes)?);
        // What shapes are compared to must be there.
        if !is_whole(&problem)
            || !reads_backwards(&solution.plan)
            || !reads_backwards(&solution.lowered)
        {
            return None;
        }
        entries.push((problem, solution));
    }
    Some(entries)
}

fn is_whole(problem: &Problem) -> bool {
    let exists = |root: &u32| (*root as usize) < problem.steps.len();
    problem.roots.iter().all(exists)
}

/// Whether each step reads earlier ones, with as many labels as those have axes.
fn reads_backwards(plan: &Plan) -> bool {
    let fits = |index: usize, step: &usize, labels: &Labels| {
        *step < index && plan.steps[*step].shape.len() == labels.len()
    };
    let steps = plan
        .steps
        .iter()
        .enumerate()
        .all(|(index, step)| match &step.action {
            Action::Leaf(_) | Action::Band(_) => true,
            Action::Product(operands) => operands.iter().all(|(o, labels)| fits(index, o, labels)),
            Action::Sum(terms) => {
                let inside =
                    |labels: &Labels| labels.iter().all(|l| (*l as usize) < step.shape.len());
                terms
                    .iter()
                    .all(|(_, o, labels)| fits(index, o, labels) && inside(labels))
            }
            Action::Call(..) => false,
        });
    steps
        && plan
            .roots
            .iter()
            .all(|root| fits(plan.steps.len(), &root.step, &root.axes))
}

/// Whether a plan is of the shapes that a problem has.
fn fits(plan: &Plan, problem: &Problem) -> bool {
    let of_step = |step: &PlanStep| {
        let size = |label: u16, size: usize| {
            step.shape
                .get(label as usize)
                .is_none_or(|own| *own == size)
        };
        let sizes = |operand: usize, labels: &Labels| {
            let shape = &plan.steps[operand].shape;
            labels
                .iter()
                .zip(shape)
                .all(|(label, own)| size(*label, *own))
        };
        match &step.action {
            Action::Leaf(leaf) => problem
                .leaves
                .get(*leaf as usize)
                .is_some_and(|leaf| leaf.shape == step.shape && leaf.moves == step.structure),
            Action::Band(band) => step.shape.as_slice() == band.sizes,
            Action::Product(operands) => operands.iter().all(|(o, labels)| sizes(*o, labels)),
            Action::Sum(terms) => terms.iter().all(|(_, o, labels)| sizes(*o, labels)),
            Action::Call(..) => false,
        }
    };
    let of_root = |(root, wanted): (&Root, &u32)| {
        let shape = &plan.steps[root.step].shape;
        let wanted = problem.shape(*wanted);
        let mut seen = vec![false; wanted.len()];
        shape.len() == wanted.len()
            && root.axes.iter().zip(shape).all(|(axis, size)| {
                let axis = *axis as usize;
                let new = seen
                    .get_mut(axis)
                    .is_some_and(|seen| !std::mem::replace(seen, true));
                new && wanted.get(axis) == Some(size)
            })
    };
    plan.roots.len() == problem.roots.len()
        && plan.steps.iter().all(of_step)
        && plan.roots.iter().zip(&problem.roots).all(of_root)
}

/// What can be written as bytes and read again; `None` for what cannot be, and for bytes that are none of it.
trait Stored: Sized {
    fn put(&self, to: &mut Vec<u8>) -> Option<()>;
    fn get(from: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($T:ty as $W:ty),*) => {$(
        impl Stored for $T {
            fn put(&self, to: &mut Vec<u8>) -> Option<()> {
                to.extend((*self as $W).to_le_bytes());
                Some(())
            }
            fn get(from: &mut &[u8]) -> Option<$T> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                <$T>::try_from(<$W>::from_le_bytes(*bytes)).ok()
            }
        }
    )*};
}
numbers!(
    u8 as u8,
    u16 as u16,
    u32 as u32,
    u64 as u64,
    i64 as i64,
    usize as u64
);

impl Stored for f64 {
    fn put(&self, to: &mut Vec<u8>) -> Option<()> {
        self.to_bits().put(to)
    }
    fn get(from: &mut &[u8]) -> Option<f64> {
        u64::get(from).map(f64::from_bits)
    }
}

impl Stored for bool {
    fn put(&self, to: &mut Vec<u8>) -> Option<()> {
        u8::from(*self).put(to)
    }
    fn get(from: &mut &[u8]) -> Option<bool> {
        match u8::get(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

fn put_all<'a, T: Stored + 'a>(
    all: impl ExactSizeIterator<Item = &'a T>,
    to: &mut Vec<u8>,
) -> Option<()> {
    all.len().put(to)?;
    all.into_iter().try_for_each(|item| item.put(to))
}

fn get_all<T: Stored, C: FromIterator<T>>(from: &mut &[u8]) -> Option<C> {
    let count = usize::get(from)?;
    (count <= LONGEST).then_some(())?;
    (0..count).map(|_| T::get(from)).collect()
}

impl<T: Stored> Stored for Vec<T> {
    fn put(&self, to: &mut Vec<u8>) -> Option<()> {
        put_all(self.iter(), to)
    }
    fn get(from: &mut &[u8]) -> Option<Vec<T>> {
        get_all(from)
    }
}

impl<A: Array> Stored for SmallVec<A>
where
    A::Item: Stored,
{
    fn put(&self, to: &mut Vec<u8>) -> Option<()> {
        put_all(self.iter(), to)
    }
    fn get(from: &mut &[u8]) -> Option<SmallVec<A>> {
        get_all(from)
    }
}

impl<T: Stored> Stored for [T; 2] {
    fn put(&self, to: &mut Vec<u8>) -> Option<()> {
        self.iter().try_for_each(|item| item.put(to))
    }
    fn get(from: &mut &[u8]) -> Option<[T; 2]> {
        Some([T::get(from)?, T::get(from)?])
    }
}

impl<T: Stored> Stored for Option<T> {
    fn put(&self, to: &mut Vec<u8>) -> Option<()> {
        self.is_some().put(to)?;
        self.iter().try_for_each(|item| item.put(to))
    }
    fn get(from: &mut &[u8]) -> Option<Option<T>> {
        match bool::get(from)? {
            true => T::get(from).map(Some),
            false => Some(None),
        }
    }
}

macro_rules! tuples {
    ($(($($T:ident $place:tt),*)),*) => {$(
        impl<$($T: Stored),*> Stored for ($($T,)*) {
            fn put(&self, to: &mut Vec<u8>) -> Option<()> {
                $(self.$place.put(to)?;)*
                Some(())
            }
            fn get(from: &mut &[u8]) -> Option<Self> {
                Some(($($T::get(from)?,)*))
            }
        }
    )*};
}
tuples!((A 0, B 1), (A 0, B 1, C 2));

macro_rules! structs {
    ($($T:ident { $($field:ident),* $(; $rest:expr)? })*) => {$(
        impl Stored for $T {
            fn put(&self, to: &mut Vec<u8>) -> Option<()> {
                $(self.$field.put(to)?;)*
                Some(())
            }
            fn get(from: &mut &[u8]) -> Option<$T> {
                Some($T { $($field: Stored::get(from)?,)* $(..$rest)? })
            }
        }
    )*};
}
structs! {
    Band { sizes, starts, steps, count }
    Leaf { shape, moves, after, given }
    Step { operation, shape }
    Mark { step, value, components, origins }
    Value { axes, size, allow_materialise }
    Problem { leaves, steps, roots, marks, values, itemsize, residual_price; Problem::default() }
    PlanStep { action, shape, structure, stands_for, again }
    Root { step, axes }
    Plan { steps, roots }
    Solution { plan, lowered, cost, cost_as_written, written_is_forbidden, proven, stopped, nodes, classes }
}

impl Stored for Coefficient {
    fn put(&self, to: &mut Vec<u8>) -> Option<()> {
        self.0.put(to)
    }
    fn get(from: &mut &[u8]) -> Option<Coefficient> {
        f64::get(from).map(Coefficient)
    }
}

impl Stored for Structure {
    fn put(&self, to: &mut Vec<u8>) -> Option<()> {
        match self {
            Structure::Band(band) => {
                0u8.put(to)?;
                band.put(to)
            }
            Structure::Gather => 1u8.put(to),
            Structure::Scatter => 2u8.put(to),
        }
    }
    fn get(from: &mut &[u8]) -> Option<Structure> {
        match u8::get(from)? {
            0 => Band::get(from).map(Structure::Band),
            1 => Some(Structure::Gather),
            2 => Some(Structure::Scatter),
            _ => None,
        }
    }
}

impl Stored for Operation {
    fn put(&self, to: &mut Vec<u8>) -> Option<()> {
        match self {
            Operation::Leaf(leaf) => (0u8, *leaf).put(to),
            Operation::Band(band) => (1u8, *band).put(to),
            Operation::Product { operands, output } => {
                2u8.put(to)?;
                operands.put(to)?;
                output.put(to)
            }
            Operation::Sum { terms, output } => {
                3u8.put(to)?;
                terms.put(to)?;
                output.put(to)
            }
        }
    }
    fn get(from: &mut &[u8]) -> Option<Operation> {
        Some(match u8::get(from)? {
            0 => Operation::Leaf(u32::get(from)?),
            1 => Operation::Band(Band::get(from)?),
            2 => Operation::Product {
                operands: Stored::get(from)?,
                output: Stored::get(from)?,
            },
            3 => Operation::Sum {
                terms: Stored::get(from)?,
                output: Stored::get(from)?,
            },
            _ => return None,
        })
    }
}

impl Stored for Action {
    fn put(&self, to: &mut Vec<u8>) -> Option<()> {
        match self {
            Action::Leaf(leaf) => (0u8, *leaf).put(to),
            Action::Band(band) => (1u8, *band).put(to),
            Action::Product(operands) => {
                2u8.put(to)?;
                operands.put(to)
            }
            Action::Sum(terms) => {
                3u8.put(to)?;
                terms.put(to)
            }
            // A function of the user's.
            Action::Call(..) => None,
        }
    }
    fn get(from: &mut &[u8]) -> Option<Action> {
        Some(match u8::get(from)? {
            0 => Action::Leaf(u32::get(from)?),
            1 => Action::Band(Band::get(from)?),
            2 => Action::Product(Stored::get(from)?),
            3 => Action::Sum(Stored::get(from)?),
            _ => return None,
        })
    }
}
