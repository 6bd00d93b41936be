//! Tiled programs: elementwise functions, and reductions of the rows that they work on, run tile by tile.
//!
//! A program without reductions sees its operands as flat. One with them sees them as rows: a tile holds whole rows, some values have
//! an element for each row only, and `spread` brings these back to the width of a row. So softmax or a layer norm, with all that is
//! elementwise before and after it, is one pass over memory.

use super::{
    kernels::{
        Level,
        elementwise::{Function, Lane, Operands, apply},
        reduce::{Fold, fold_rows},
        strided::{Axes, merged, read},
        tile::{Lanes, Part, SliceMut},
    },
    parallel,
    storage::{Pool, TILE, give_register, register},
};
use crate::{
    array::{Aval, Buffer, DType, Data, Stored, dtype::with_dtype},
    error::{Error, Result},
    trace::op::{Binary, Op, Unary},
};
use smallvec::SmallVec;
use std::{ops::Range, sync::Arc};

/// Where an instruction reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// An operand of the program, by number.
    Input(u16),
    /// A tile that an instruction before has filled.
    Register(u16),
    /// A result that an instruction before has written.
    Output(u16),
}

/// Where an instruction writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Register(u16),
    Output(u16),
}

/// How many elements a value of a program has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Extent {
    /// As many as the space that the program runs over.
    Full,
    /// One for each row.
    Row,
}

/// What an instruction does with its operands.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Action {
    /// A function of each element.
    Map(Function),
    /// The elements of each row combined.
    Fold(Fold),
    /// The element of each row, repeated along it.
    Spread,
}

/// One line of a program.
#[derive(Clone, Debug)]
pub(super) struct Instruction {
    pub action: Action,
    /// The element type of the first operand.
    pub from: DType,
    pub to: DType,
    pub sources: SmallVec<[Source; 3]>,
    pub target: Target,
}

/// Functions of arrays of one shape, and of their rows. Operands of one element stand for every element.
#[derive(Debug)]
pub(super) struct Program {
    pub instructions: SmallVec<[Instruction; 1]>,
    /// The types of the tiles.
    pub registers: SmallVec<[(DType, Extent); 4]>,
    pub inputs: SmallVec<[Extent; 4]>,
    pub outputs: SmallVec<[Extent; 1]>,
    /// The length of a row; 1 where there are none.
    pub width: usize,
    /// About how long one element takes.
    pub nanoseconds: f64,
}

/// The elementwise function that a primitive is, if it is one that is run here.
pub(super) fn function(op: &Op, operands: usize, which: Option<DType>) -> Option<Function> {
    match op {
        Op::Unary(u) => Some(Function::Unary(*u)),
        Op::Binary(b) if !b.is_total() => Some(Function::Binary(*b)),
        Op::IntegerPow(p) => Some(Function::IntegerPow(p.y)),
        Op::ConvertElementType(_) => Some(Function::Convert),
        Op::SelectN(_) if operands == 3 && which == Some(DType::Bool) => Some(Function::Select),
        _ => None,
    }
}

/// About how long a function takes for one element.
pub(super) fn nanoseconds(f: Function) -> f64 {
    use Unary::{
        Abs, Ceil, Erf, Erfc, Exp, Floor, Log, Log1p, Logistic, Neg, Not, Rsqrt, Sign, Sqrt,
        Square, Tanh,
    };
    match f {
        Function::Unary(Neg | Abs | Square | Sign | Not | Floor | Ceil) => 0.1,
        Function::Unary(Sqrt | Rsqrt | Exp | Tanh | Logistic | Erf) => 0.2,
        Function::Unary(Log | Log1p | Erfc) => 0.45,
        Function::Unary(_) | Function::Binary(Binary::Pow | Binary::Atan2 | Binary::Rem) => 5.0,
        Function::Binary(Binary::Igamma | Binary::Igammac) => 100.0,
        Function::Binary(_) | Function::Select | Function::Convert => 0.1,
        Function::IntegerPow(_) => 0.5,
    }
}

/// An operand of a step: borrowed, or given up.
pub(super) enum Operand<'a> {
    Shared(&'a Buffer),
    Owned(Buffer),
}

impl Operand<'_> {
    pub(super) fn buffer(&self) -> &Buffer {
        match self {
            Operand::Shared(b) => b,
            Operand::Owned(b) => b,
        }
    }
}

/// Computes blocks in one thread: the rows, and where they go, an array for each operand. `None` where it cannot.
pub(super) type Produce<'a> = Box<dyn FnMut(Range<usize>, &mut [Data]) -> Option<()> + 'a>;

/// Operands that do not lie in memory: some rows of each are computed, and used while the caches have them.
pub(super) trait Producer: Sync {
    /// The inputs of the program that are these operands, and their element types.
    fn inputs(&self) -> &[(u16, DType)];
    /// The length of their rows, which are no parts of a row of the program; and how many rows are computed at once.
    fn block(&self) -> [usize; 2];
    /// About how long all of it takes.
    fn nanoseconds(&self) -> f64;
    /// What computes them in one thread.
    fn start(&self) -> Produce<'_>;
}

/// How an operand is read.
enum Input<'a> {
    Whole(&'a Buffer),
    Every(&'a Buffer),
    /// Copied into a tile first: a view by strides.
    Strided(&'a Buffer, Axes),
    /// Copied into a tile first: its storage is that of a result.
    InPlace(usize, DType),
    /// What a producer has computed, by number.
    Block(usize),
}

fn broken() -> Error {
    Error::internal("an elementwise program does not fit its operands")
}

/// One thread's part: elements `start..end`.
struct Section<'a> {
    start: usize,
    end: usize,
    outputs: SmallVec<[Option<SliceMut<'a>>; 2]>,
}

struct Worker<'i, 'o> {
    program: &'i Program,
    inputs: &'i [Input<'i>],
    /// The tile of each input that is copied first.
    loaded: SmallVec<[u16; 4]>,
    registers: SmallVec<[Option<Data>; 8]>,
    part: Section<'o>,
    /// What a producer has computed, from this element on.
    blocks: SmallVec<[Data; 2]>,
    block: usize,
    at: usize,
    n: usize,
}

impl Worker<'_, '_> {
    /// Where the tile begins in a value of this extent that begins with the first element of all, and how many elements of it there are.
    fn span(&self, extent: Extent) -> (usize, usize) {
        self.program.span(extent, self.at, self.n)
    }

    /// The same in an output, which begins with the first of this part.
    fn output_span(&self, k: usize) -> Option<(usize, usize)> {
        let extent = *self.program.outputs.get(k)?;
        Some(self.program.span(extent, self.at - self.part.start, self.n))
    }
}

struct Reader<'i, 'o, 'r> {
    worker: &'r Worker<'i, 'o>,
    sources: &'r [Source],
}

impl Operands for Reader<'_, '_, '_> {
    fn lane<T: Part>(&self, i: usize) -> Option<Lane<'_, T>> {
        let w = self.worker;
        let tile = |r: u16, extent: Extent| -> Option<Lane<'_, T>> {
            let data = w.registers.get(usize::from(r))?.as_ref()?;
            Some(Lane::Each(T::slice(data)?.get(..w.span(extent).1)?))
        };
        match *self.sources.get(i)? {
            Source::Register(r) => tile(r, w.program.registers.get(usize::from(r))?.1),
            Source::Output(k) => {
                let z = w.part.outputs.get(usize::from(k))?.as_ref()?;
                let (from, n) = w.output_span(usize::from(k))?;
                Some(Lane::Each(T::part(z, from, n)?))
            }
            Source::Input(i) => {
                let i = usize::from(i);
                let extent = *w.program.inputs.get(i)?;
                match w.inputs.get(i)? {
                    Input::Whole(b) => {
                        let (from, n) = w.span(extent);
                        let from = b.offset() + from;
                        Some(Lane::Each(b.storage::<T>()?.get(from..from + n)?))
                    }
                    Input::Block(k) => {
                        let from = w.at - w.block;
                        let block = T::slice(w.blocks.get(*k)?)?;
                        Some(Lane::Each(block.get(from..from + w.n)?))
                    }
                    Input::Every(b) => Some(Lane::Every(*b.storage::<T>()?.get(b.offset())?)),
                    Input::Strided(..) | Input::InPlace(..) => tile(*w.loaded.get(i)?, extent),
                }
            }
        }
    }
}

impl Worker<'_, '_> {
    /// Copy the operands that cannot be read in place.
    fn load(&mut self) -> Option<()> {
        for (i, input) in self.inputs.iter().enumerate() {
            if matches!(input, Input::Whole(_) | Input::Every(_) | Input::Block(_)) {
                continue;
            }
            let r = usize::from(*self.loaded.get(i)?);
            let (at, n) = self.span(*self.program.inputs.get(i)?);
            let mut tile = self.registers.get_mut(r)?.take()?;
            match input {
                Input::Strided(b, axes) => with_dtype!(b.dtype(), T => {
                    let z = T::vec_mut(&mut tile)?.get_mut(..n)?;
                    read(b.storage::<T>()?, b.offset(), axes, at, z);
                }),
                Input::InPlace(k, dtype) => with_dtype!(*dtype, T => {
                    let (from, n) = self.output_span(*k)?;
                    let z = self.part.outputs.get(*k)?.as_ref()?;
                    T::vec_mut(&mut tile)?.get_mut(..n)?.copy_from_slice(T::part(z, from, n)?);
                }),
                Input::Whole(_) | Input::Every(_) | Input::Block(_) => {}
            }
            *self.registers.get_mut(r)? = Some(tile);
        }
        Some(())
    }

    fn step(&mut self, level: Level, i: &Instruction) -> Option<()> {
        match i.target {
            Target::Register(r) => {
                let r = usize::from(r);
                let (_, n) = self.span(self.program.registers.get(r)?.1);
                let mut tile = self.registers.get_mut(r)?.take()?;
                let (z, _) = SliceMut::of(&mut tile).split(n);
                self.act(level, i, z)?;
                *self.registers.get_mut(r)? = Some(tile);
            }
            Target::Output(k) => {
                let k = usize::from(k);
                let (from, n) = self.output_span(k)?;
                let mut out = self.part.outputs.get_mut(k)?.take()?;
                self.act(level, i, out.part(from, n)?)?;
                *self.part.outputs.get_mut(k)? = Some(out);
            }
        }
        Some(())
    }

    fn act(&self, level: Level, i: &Instruction, z: SliceMut<'_>) -> Option<()> {
        let reader = Reader {
            worker: self,
            sources: &i.sources,
        };
        let width = self.program.width;
        match i.action {
            Action::Map(f) => apply(level, f, i.from, i.to, &reader, z),
            Action::Fold(f) => with_dtype!(i.from, T => {
                fold_rows::<T>(level, f, reader.lane(0)?, width, T::slice_mut(z)?)
            }),
            Action::Spread => with_dtype!(i.from, T => {
                let rows = T::slice_mut(z)?.chunks_mut(width);
                match reader.lane::<T>(0)? {
                    Lane::Each(x) => rows.zip(x).for_each(|(z, x)| z.fill(*x)),
                    Lane::Every(x) => rows.for_each(|z| z.fill(x)),
                }
                Some(())
            }),
        }
    }
}

impl Program {
    /// A program of one function.
    pub(super) fn single(f: Function, from: DType, to: DType, operands: usize) -> Program {
        Program {
            instructions: SmallVec::from_iter([Instruction {
                action: Action::Map(f),
                from,
                to,
                sources: (0..operands).map(|i| Source::Input(i as u16)).collect(),
                target: Target::Output(0),
            }]),
            registers: SmallVec::new(),
            inputs: SmallVec::from_elem(Extent::Full, operands),
            outputs: SmallVec::from_elem(Extent::Full, 1),
            width: 1,
            nanoseconds: nanoseconds(f),
        }
    }

    /// Where the elements `at..at + n` of the space lie in a value of this extent: the first, and their number.
    fn span(&self, extent: Extent, at: usize, n: usize) -> (usize, usize) {
        match extent {
            Extent::Full => (at, n),
            Extent::Row => (at / self.width, n / self.width),
        }
    }

    /// How many elements the space has, if the first output has so many.
    pub(super) fn space(&self, first: usize) -> usize {
        match self.outputs.first() {
            Some(Extent::Row) => first * self.width,
            _ => first,
        }
    }

    /// How many elements a tile has: whole rows, at least one.
    fn tile(&self) -> usize {
        (TILE / self.width).max(1) * self.width
    }

    /// Run it on operands of the shape of the results, or of one element.
    pub(super) fn run(
        &self,
        operands: SmallVec<[Operand<'_>; 4]>,
        avals: &[Arc<Aval>],
        pool: &mut Pool,
    ) -> Result<SmallVec<[Buffer; 1]>> {
        self.run_with(operands, None, avals, pool)
    }

    /// The same with some of its operands computed on the way; those that are given are the others, in order.
    pub(super) fn run_with(
        &self,
        operands: SmallVec<[Operand<'_>; 4]>,
        producer: Option<&dyn Producer>,
        avals: &[Arc<Aval>],
        pool: &mut Pool,
    ) -> Result<SmallVec<[Buffer; 1]>> {
        let made = producer.map(Producer::inputs).unwrap_or_default();
        let extents: SmallVec<[Extent; 4]> = (0u16..)
            .zip(&self.inputs)
            .filter(|(i, _)| !made.iter().any(|(m, _)| m == i))
            .map(|(_, extent)| *extent)
            .collect();
        let n = self.space(avals.first().ok_or_else(broken)?.size());
        let mut operands = operands;
        let mut in_place: SmallVec<[Option<(usize, DType)>; 4]> =
            SmallVec::from_elem(None, operands.len());
        let mut storage: SmallVec<[Arc<Data>; 2]> = SmallVec::new();
        for (k, aval) in avals.iter().enumerate() {
            let mut given = None;
            for ((operand, place), extent) in operands.iter_mut().zip(&mut in_place).zip(&extents) {
                let fits = |b: &Buffer| b.dtype() == aval.dtype && b.len() == aval.size();
                if place.is_none()
                    && self.outputs.get(k) == Some(extent)
                    && matches!(operand, Operand::Owned(b) if fits(b))
                {
                    let empty = Operand::Owned(nothing());
                    match std::mem::replace(operand, empty) {
                        Operand::Owned(b) => match b.into_storage() {
                            Ok(data) => {
                                *place = Some((k, aval.dtype));
                                given = Some(data);
                                break;
                            }
                            Err(b) => *operand = Operand::Owned(b),
                        },
                        shared => *operand = shared,
                    }
                }
            }
            storage.push(match given {
                Some(data) => data,
                None => pool.take_for(aval)?,
            });
        }
        let mut inputs: SmallVec<[Input<'_>; 4]> = operands
            .iter()
            .zip(&in_place)
            .zip(&extents)
            .map(|((o, place), extent)| {
                let b = o.buffer();
                let (_, len) = self.span(*extent, 0, n);
                match place {
                    Some((k, dtype)) => Input::InPlace(*k, *dtype),
                    None if b.is_contiguous() && b.len() == len => Input::Whole(b),
                    None if b.len() == 1 => Input::Every(b),
                    None => match merged(b.shape(), b.strides()) {
                        axes if axes.iter().all(|(_, s)| *s == 0) => Input::Every(b),
                        axes => Input::Strided(b, axes),
                    },
                }
            })
            .collect();
        for (k, (i, _)) in made.iter().enumerate() {
            if usize::from(*i) > inputs.len() {
                return Err(broken());
            }
            inputs.insert(usize::from(*i), Input::Block(k));
        }
        if n > 0 {
            let mut outputs: SmallVec<[SliceMut<'_>; 2]> = SmallVec::new();
            for data in &mut storage {
                outputs.push(SliceMut::of(Arc::get_mut(data).ok_or_else(broken)?));
            }
            self.fill(n, &inputs, outputs, producer)?;
        }
        drop(inputs);
        for o in operands {
            if let Operand::Owned(b) = o {
                pool.give(b);
            }
        }
        Ok(storage
            .into_iter()
            .zip(avals)
            .map(|(data, aval)| Buffer::from_storage(aval.clone(), data))
            .collect())
    }

    fn fill(
        &self,
        n: usize,
        inputs: &[Input<'_>],
        outputs: SmallVec<[SliceMut<'_>; 2]>,
        producer: Option<&dyn Producer>,
    ) -> Result<()> {
        let before = producer.map_or(0.0, Producer::nanoseconds);
        let parts = parallel::parts(n as f64 * self.nanoseconds + before);
        // Parts are whole tiles, or whole rows of what is produced.
        let unit = producer.map_or(self.tile(), |p| p.block()[0]);
        let size = if parts == 1 {
            n
        } else {
            n.div_ceil(parts).next_multiple_of(unit.max(1))
        };
        let (mut rest, mut at, mut all) = (outputs, 0, vec![]);
        while at < n {
            let end = (at + size).min(n);
            let (mine, others): (SmallVec<[Option<SliceMut<'_>>; 2]>, SmallVec<_>) = rest
                .into_iter()
                .zip(&self.outputs)
                .map(|(o, extent)| o.split(self.span(*extent, at, end - at).1))
                .map(|(a, b)| (Some(a), b))
                .unzip();
            all.push(Section {
                start: at,
                end,
                outputs: mine,
            });
            (rest, at) = (others, end);
        }
        parallel::all(all, &|part| self.work(inputs, part, producer)).ok_or_else(broken)
    }

    fn work(
        &self,
        inputs: &[Input<'_>],
        part: Section<'_>,
        producer: Option<&dyn Producer>,
    ) -> Option<()> {
        let tile = self.tile();
        let mut registers: SmallVec<[Option<Data>; 8]> = self
            .registers
            .iter()
            .map(|(d, _)| register(*d, tile).map(Some))
            .collect::<Option<_>>()?;
        let mut loaded = SmallVec::new();
        for input in inputs {
            loaded.push(registers.len() as u16);
            match input {
                Input::Strided(b, _) => registers.push(Some(register(b.dtype(), tile)?)),
                Input::InPlace(_, dtype) => registers.push(Some(register(*dtype, tile)?)),
                Input::Whole(_) | Input::Every(_) | Input::Block(_) => {}
            }
        }
        let (start, end) = (part.start, part.end);
        let mut worker = Worker {
            program: self,
            inputs,
            loaded,
            registers,
            part,
            blocks: SmallVec::new(),
            block: 0,
            at: start,
            n: 0,
        };
        match producer {
            None => worker.run(end)?,
            Some(producer) => {
                let [columns, rows] = producer.block();
                for (_, dtype) in producer.inputs() {
                    worker.blocks.push(register(*dtype, rows * columns)?);
                }
                let mut produce = producer.start();
                while worker.at < end {
                    let from = worker.at / columns;
                    let to = (from + rows).min(end / columns);
                    produce(from..to, &mut worker.blocks)?;
                    worker.block = worker.at;
                    worker.run(to * columns)?;
                }
                std::mem::take(&mut worker.blocks)
                    .into_iter()
                    .for_each(give_register);
            }
        }
        worker
            .registers
            .into_iter()
            .flatten()
            .for_each(give_register);
        Some(())
    }
}

impl Worker<'_, '_> {
    /// Run the program on all elements before this one.
    fn run(&mut self, end: usize) -> Option<()> {
        let (level, tile) = (Level::get(), self.program.tile());
        let copies = self.registers.len() > self.program.registers.len();
        while self.at < end {
            self.n = tile.min(end - self.at);
            if copies {
                self.load()?;
            }
            for i in &self.program.instructions {
                self.step(level, i)?;
            }
            self.at += self.n;
        }
        Some(())
    }
}

/// A buffer that stands where another has been taken from.
fn nothing() -> Buffer {
    static EMPTY: std::sync::LazyLock<Buffer> = std::sync::LazyLock::new(|| {
        Buffer::scalar(crate::array::Scalar::Bool(false), DType::Bool, false)
    });
    EMPTY.clone()
}
