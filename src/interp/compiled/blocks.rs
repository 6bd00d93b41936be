//! Matrix products that a tiled program reads: a block of rows at a time is computed, and used while the caches have it.
//!
//! The product itself is never in memory. Several products may go into one block: the sum of `x · w` and `(x · b) · a` is one of them,
//! the second added where the first has been left.

use super::{
    contract::{Contract, Contraction, View},
    kept::{self, Packed as Kept},
    kernels::{
        elementwise::Function,
        gemm::{Matrix, Packed, pack, packed_len, times_packed},
        strided::{count, offset, offsets},
        threads,
    },
    storage::Pool,
    tiled::{Action, Instruction, Operand, Produce, Producer, Program, Source, Target},
};
use crate::{
    array::{Aval, Buffer, DType, Data, Stored},
    error::{Error, Result},
    trace::op::Binary,
};
use smallvec::SmallVec;
use std::{borrow::Cow, ops::Range, sync::Arc};

fn broken() -> Error {
    Error::internal("a product by rows does not fit its operands")
}

/// A product, and where its operands are among those of the step.
#[derive(Debug)]
pub(super) struct Term {
    pub contract: Contract,
    pub operands: [usize; 2],
    /// Is the right operand one that the program is given? Then it may be the same the next time.
    pub given: bool,
}

/// An input of the program that is a sum of products.
#[derive(Debug)]
struct Product {
    input: u16,
    dtype: DType,
    terms: SmallVec<[Term; 2]>,
}

/// A tiled program with products among its inputs.
#[derive(Debug)]
pub(super) struct Blocks {
    pub program: Program,
    products: Vec<Product>,
    inputs: Vec<(u16, DType)>,
    /// The length of the rows of the products.
    columns: usize,
}

/// Sizes below which a product is not worth computing by blocks of rows.
const FEW_ROWS: usize = 32;
const FEW_COLUMNS: usize = 16;
const FEW_TERMS: usize = 4;

/// The length of the rows of a product that may be computed by blocks of them; `None` of one that had better be computed at once.
pub(super) fn columns(contract: &Contract, x: &Aval, y: &Aval, out: &Aval) -> Option<usize> {
    let (_, [m, n, _]) = contract.sizes();
    let real = matches!(out.dtype, DType::F32 | DType::F64);
    let same = x.dtype == out.dtype && y.dtype == out.dtype;
    let [inner, inner_columns, inner_terms] = contract.inner_sizes();
    let large = m >= FEW_ROWS
        && inner >= FEW_COLUMNS
        && inner_columns >= FEW_COLUMNS
        && inner_terms >= FEW_TERMS;
    (real && same && large).then_some(n)
}

impl Blocks {
    /// A program whose inputs of these numbers are products.
    pub(super) fn new(program: Program, columns: usize, terms: Vec<(u16, DType, Term)>) -> Blocks {
        let products = terms.into_iter().map(|(input, dtype, term)| Product {
            input,
            dtype,
            terms: SmallVec::from_iter([term]),
        });
        let mut blocks = Blocks {
            program,
            products: products.collect(),
            inputs: vec![],
            columns,
        };
        while blocks.merge().is_some() {}
        blocks.products.sort_by_key(|p| p.input);
        let inputs = blocks.products.iter().map(|p| (p.input, p.dtype));
        blocks.inputs = inputs.collect();
        blocks
    }

    /// Make the sum of two products that are read nowhere else one product.
    fn merge(&mut self) -> Option<()> {
        let instructions = &self.program.instructions;
        let once = |s: &Source| {
            let all = instructions.iter().flat_map(|i| &i.sources);
            all.filter(|t| *t == s).count() == 1
        };
        let product = |s: &Source| match s {
            Source::Input(i) if once(s) => self.products.iter().position(|p| p.input == *i),
            _ => None,
        };
        let sum = |(at, i): (usize, &Instruction)| match (i.action, &i.sources[..], i.target) {
            (Action::Map(Function::Binary(Binary::Add)), [x, y], Target::Register(tile)) => {
                Some((at, tile, product(x)?, product(y)?))
            }
            _ => None,
        };
        let (at, tile, first, second) = instructions.iter().enumerate().find_map(sum)?;
        self.program.instructions.remove(at);
        let terms = std::mem::take(&mut self.products.get_mut(second)?.terms);
        let kept = self.products.get_mut(first)?;
        kept.terms.extend(terms);
        let kept = kept.input;
        // What read the sum reads the first product, until the tile holds something else.
        for i in self.program.instructions.iter_mut().skip(at) {
            for s in &mut i.sources {
                if *s == Source::Register(tile) {
                    *s = Source::Input(kept);
                }
            }
            if i.target == Target::Register(tile) {
                break;
            }
        }
        let gone = self.products.remove(second).input;
        self.program.inputs.remove(usize::from(gone));
        let sources = self
            .program
            .instructions
            .iter_mut()
            .flat_map(|i| &mut i.sources);
        for s in sources {
            if let Source::Input(i) = s
                && *i > gone
            {
                *i -= 1;
            }
        }
        for p in &mut self.products {
            p.input -= u16::from(p.input > gone);
        }
        Some(())
    }

    /// All products of the program.
    pub(super) fn contracts(&self) -> impl Iterator<Item = &Contract> {
        let terms = self.products.iter().flat_map(|p| &p.terms);
        terms.map(|t| &t.contract)
    }

    /// About how long the products take for one element, in one thread.
    pub(super) fn nanoseconds(&self) -> f64 {
        self.contracts().map(Contract::terms).sum::<usize>() as f64 * 0.01
    }

    /// How many operands the program itself reads: the first ones of the step.
    pub(super) fn own(&self) -> usize {
        self.program
            .inputs
            .len()
            .saturating_sub(self.products.len())
    }

    /// Is an operand of the step one of a product?
    pub(super) fn multiplies(&self, operand: usize) -> bool {
        let terms = self.products.iter().flat_map(|p| &p.terms);
        terms.flat_map(|t| &t.operands).any(|i| *i == operand)
    }

    /// How many rows go into a block: what is computed should stay in the second level of the cache.
    fn rows(&self) -> usize {
        const ELEMENTS: usize = 160 << 10;
        let rows = ELEMENTS / (self.columns * self.products.len()).max(1);
        rows.clamp(32, 192) / 8 * 8
    }

    /// Run it: `operands` are those that the program itself reads, `x` those of the step that are not given up.
    pub(super) fn run(
        &self,
        operands: SmallVec<[Operand<'_>; 4]>,
        x: &[Option<&Buffer>],
        avals: &[Arc<Aval>],
        pool: &mut Pool,
    ) -> Result<SmallVec<[Buffer; 1]>> {
        let operand = |i: usize| x.get(i).copied().flatten().ok_or_else(broken);
        let mut ready = Ready {
            blocks: self,
            rows: 0,
            terms: vec![],
        };
        for p in &self.products {
            let mut terms = SmallVec::new();
            for t in &p.terms {
                let (x, y) = (operand(t.operands[0])?, operand(t.operands[1])?);
                let (stack, [m, ..]) = t.contract.sizes();
                ready.rows = stack * m;
                terms.push(match p.dtype {
                    DType::F32 => Rows::F32(ByRows::new(t, x, y, pool)?),
                    _ => Rows::F64(ByRows::new(t, x, y, pool)?),
                });
            }
            ready.terms.push(terms);
        }
        let results = self.program.run_with(operands, Some(&ready), avals, pool);
        for t in ready.terms.into_iter().flatten() {
            match t {
                Rows::F32(t) => t.packed.into_iter().for_each(|p| pool.put(p)),
                Rows::F64(t) => t.packed.into_iter().for_each(|p| pool.put(p)),
            }
        }
        results
    }
}

/// The products of a program, with their operands.
struct Ready<'a> {
    blocks: &'a Blocks,
    /// How many rows there are.
    rows: usize,
    terms: Vec<SmallVec<[Rows<'a>; 2]>>,
}

enum Rows<'a> {
    F32(ByRows<'a, f32>),
    F64(ByRows<'a, f64>),
}

/// A product that is computed by blocks of rows.
struct ByRows<'a, T> {
    plan: Cow<'a, Contraction>,
    x: View<'a, T>,
    y: View<'a, T>,
    columns: usize,
    /// The right operand, where there is no stack.
    packed: Option<Arc<Data>>,
}

/// Memory of one thread: the right operand of one entry of the stack, and which.
struct Entry<T> {
    packed: Vec<T>,
    of: Option<usize>,
}

/// The outer axes, and the last.
fn parted<A: Copy>(axes: &[A], one: A) -> (&[A], A) {
    match axes.split_last() {
        Some((last, outer)) => (outer, *last),
        None => (&[], one),
    }
}

impl<'a, T: Packed + Stored> ByRows<'a, T> {
    fn new(term: &'a Term, x: &'a Buffer, y: &'a Buffer, pool: &mut Pool) -> Result<Self> {
        let contract = &term.contract;
        let (stack, [_, columns, _]) = contract.sizes();
        let view = |b: &'a Buffer| {
            let storage = b.storage::<T>().ok_or_else(broken)?;
            Ok::<_, Error>(View {
                storage,
                offset: b.offset(),
            })
        };
        let mut rows = ByRows {
            plan: contract.planned(x, y),
            x: view(x)?,
            y: view(y)?,
            columns,
            packed: None,
        };
        if stack == 1 {
            let found = match term.given {
                true => kept::find(y, rows.layout()),
                false => Kept::New,
            };
            if let Kept::Ready(data) = found {
                rows.packed = Some(data);
                return Ok(rows);
            }
            let mut data = pool.take(x.dtype(), rows.packed_len())?;
            let memory = Arc::get_mut(&mut data).and_then(T::vec_mut);
            rows.pack(0, memory.ok_or_else(broken)?, threads())?;
            if let Kept::Again(key) = found {
                kept::keep(key, &data);
            }
            rows.packed = Some(data);
        }
        Ok(rows)
    }

    /// The products that the right operand is packed for, in the order in which they are computed: for each the outer columns and the
    /// outer part of the sum.
    fn inner(&self) -> impl Iterator<Item = (usize, usize)> {
        let (columns, _) = parted(&self.plan.own[1], (1, 1));
        let (sums, _) = parted(&self.plan.sum, (1, 1, 1));
        let sums: usize = sums.iter().map(|s| s.0).product();
        (0..count(columns)).flat_map(move |j| (0..sums).map(move |l| (j, l)))
    }

    /// How the right operand is read.
    fn layout(&self) -> impl Iterator<Item = isize> {
        let own = self.plan.own[1].iter().map(|(n, s)| (*n, *s));
        let sum = self.plan.sum.iter().map(|(n, _, t)| (*n, *t));
        let pair = |(n, s): (usize, isize)| [n as isize, s];
        own.chain([(0, 0)]).chain(sum).flat_map(pair)
    }

    /// The inner sizes: columns and products.
    fn size(&self) -> [usize; 2] {
        let (_, (n, _)) = parted(&self.plan.own[1], (1, 1));
        let (_, (k, _, _)) = parted(&self.plan.sum, (1, 1, 1));
        [n, k]
    }

    /// How much memory the right operand of one entry takes.
    fn packed_len(&self) -> usize {
        let [n, k] = self.size();
        self.inner().count() * packed_len::<T>(k, n)
    }

    fn pack(&self, entry: usize, memory: &mut [T], threads: usize) -> Result<()> {
        let [n, k] = self.size();
        let (outer, (_, column)) = parted(&self.plan.own[1], (1, 1));
        let (outer_sum, (_, _, down)) = parted(&self.plan.sum, (1, 1, 1));
        let [_, batch] = offsets(&self.plan.batch, entry);
        for ((j, l), memory) in self.inner().zip(memory.chunks_mut(packed_len::<T>(k, n))) {
            let at = batch + offset(outer, j) + offsets(outer_sum, l)[1];
            let y = Matrix {
                storage: self.y.storage,
                offset: self.y.offset.wrapping_add_signed(at),
                rows: down,
                columns: column,
            };
            pack(y, [k, n], memory, threads)?;
        }
        Ok(())
    }

    /// Memory for one thread.
    fn start(&self) -> Entry<T> {
        Entry {
            packed: vec![],
            of: None,
        }
    }

    /// Some rows, to where they lie one after the other.
    fn compute(
        &self,
        rows: Range<usize>,
        z: &mut [T],
        accumulate: bool,
        own: &mut Entry<T>,
    ) -> Result<()> {
        let [n, k] = self.size();
        let (outer, (m, row)) = parted(&self.plan.own[0], (1, 1));
        let (outer_sum, (_, across, _)) = parted(&self.plan.sum, (1, 1, 1));
        let above = count(outer);
        let mut z = z;
        let mut from = rows.start;
        while from < rows.end {
            let (block, within) = (from / m, from % m);
            let some = (m - within).min(rows.end - from);
            let (entry, i) = (block / above, block % above);
            if self.packed.is_none() && own.of != Some(entry) {
                if own.packed.is_empty() {
                    own.packed = super::storage::zeros(self.packed_len())?;
                }
                self.pack(entry, &mut own.packed, 1)?;
                own.of = Some(entry);
            }
            let packed = match &self.packed {
                Some(data) => T::slice(data).ok_or_else(broken)?,
                None => &own.packed,
            };
            let [batch, _] = offsets(&self.plan.batch, entry);
            let base = batch + offset(outer, i) + within as isize * row;
            let (these, rest) = z.split_at_mut((some * self.columns).min(z.len()));
            for ((j, l), packed) in self.inner().zip(packed.chunks(packed_len::<T>(k, n))) {
                let at = base + offsets(outer_sum, l)[0];
                let x = Matrix {
                    storage: self.x.storage,
                    offset: self.x.offset.wrapping_add_signed(at),
                    rows: row,
                    columns: across,
                };
                let z = these.get_mut(j * n..).unwrap_or_default();
                times_packed(
                    [some, n, k],
                    x,
                    packed,
                    z,
                    self.columns,
                    accumulate || l > 0,
                )?;
            }
            z = rest;
            from += some;
        }
        Ok(())
    }
}

impl Producer for Ready<'_> {
    fn inputs(&self) -> &[(u16, DType)] {
        &self.blocks.inputs
    }

    fn block(&self) -> [usize; 2] {
        [self.blocks.columns, self.blocks.rows()]
    }

    fn nanoseconds(&self) -> f64 {
        (self.rows * self.blocks.columns) as f64 * self.blocks.nanoseconds()
    }

    fn start(&self) -> Produce<'_> {
        let own = |t: &Rows<'_>| match t {
            Rows::F32(t) => (Some(t.start()), None),
            Rows::F64(t) => (None, Some(t.start())),
        };
        let mut own: Vec<Vec<_>> = self
            .terms
            .iter()
            .map(|p| p.iter().map(own).collect())
            .collect();
        let columns = self.blocks.columns;
        Box::new(move |rows, memory| {
            let n = rows.len() * columns;
            for ((terms, own), z) in self.terms.iter().zip(&mut own).zip(memory) {
                for (i, (term, own)) in terms.iter().zip(own).enumerate() {
                    let rows = rows.clone();
                    let done = match (term, own) {
                        (Rows::F32(t), (Some(own), _)) => {
                            t.compute(rows, f32::vec_mut(z)?.get_mut(..n)?, i > 0, own)
                        }
                        (Rows::F64(t), (_, Some(own))) => {
                            t.compute(rows, f64::vec_mut(z)?.get_mut(..n)?, i > 0, own)
                        }
                        _ => return None,
                    };
                    done.ok()?;
                }
            }
            Some(())
        })
    }
}
