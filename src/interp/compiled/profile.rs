//! What the steps of plans took, where `QUAXIDE_PROFILE` names a file to write it to.
//!
//! The file is a trace of Chrome's format, a JSON array with a line for each step, which Perfetto and `chrome://tracing` show. A
//! viewer does not mind that the array is not closed, so that nothing has to be done when the process ends.

use super::{
    contract::Contract,
    kernels::{elementwise::Function, reduce::Fold},
    moves::Move,
    step::{Kernel, Step},
    tiled::{Action, Program},
};
use crate::{array::Aval, trace::op::Op};
use std::{
    env,
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread::ThreadId,
    time::Instant,
};

/// The file, and when it was begun.
pub(super) struct Profile {
    start: Instant,
    file: Mutex<BufWriter<File>>,
    threads: Mutex<Vec<ThreadId>>,
}

/// The profile of this process, if it is asked for.
pub(super) fn profile() -> Option<&'static Profile> {
    static PROFILE: OnceLock<Option<Profile>> = OnceLock::new();
    let open = || {
        let path = env::var_os("QUAXIDE_PROFILE").filter(|p| !p.is_empty())?;
        let begin = || {
            let mut file = BufWriter::new(File::create(&path)?);
            file.write_all(b"[\n")?;
            Ok(file)
        };
        match begin() {
            Ok(file) => Some(Profile {
                start: Instant::now(),
                file: Mutex::new(file),
                threads: Mutex::default(),
            }),
            Err(e) => {
                let e: std::io::Error = e;
                eprintln!("QUAXIDE_PROFILE={}: {e}", path.display());
                None
            }
        }
    };
    PROFILE.get_or_init(open).as_ref()
}

impl Profile {
    /// Note a step that began then and has just ended.
    pub(super) fn note(&self, step: &Step, operands: &[Arc<Aval>], began: Instant) {
        let took = began.elapsed();
        let at = began.saturating_duration_since(self.start);
        let bytes: usize = operands
            .iter()
            .chain(&step.avals)
            .map(|a| a.size().saturating_mul(a.dtype.size()))
            .sum();
        let mut types = String::new();
        for a in operands {
            let _ = write!(types, "{a} ");
        }
        types.push_str("->");
        for a in &step.avals {
            let _ = write!(types, " {a}");
        }
        let line = format!(
            "{{\"name\":\"{}\",\"ph\":\"X\",\"pid\":1,\"tid\":{},\"ts\":{:.3},\"dur\":{:.3},\"args\":{{\"types\":\"{types}\",\"flops\":{},\"bytes\":{bytes},\"at\":\"{}:{}\"}}}},\n",
            name(&step.kernel),
            self.thread(),
            at.as_secs_f64() * 1e6,
            took.as_secs_f64() * 1e6,
            flops(&step.kernel, operands, step.avals.first().map(|a| &**a)),
            step.at.file().replace('\\', "/").replace('"', "'"),
            step.at.line(),
        );
        // A file that cannot be written any more is no reason to fail the program.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(line.as_bytes());
    }

    /// A program has ended: what is known is on disk.
    pub(super) fn flush(&self) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.flush();
    }

    /// A small number for this thread.
    fn thread(&self) -> usize {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let id = std::thread::current().id();
        threads.iter().position(|t| *t == id).unwrap_or_else(|| {
            threads.push(id);
            threads.len() - 1
        })
    }
}

/// What a step does, in a word, or in those of its functions.
fn name(kernel: &Kernel) -> String {
    match kernel {
        Kernel::Tiled(program) => functions(program),
        Kernel::Blocks(b) => {
            let products = b.contracts().map(|_| "dot_general ").collect::<String>();
            products + &functions(&b.program)
        }
        Kernel::Transpose(_) => "transpose".into(),
        Kernel::Broadcast(_) => "broadcast_in_dim".into(),
        Kernel::Reshape => "reshape".into(),
        Kernel::Contract(_) => "dot_general".into(),
        Kernel::Conv(..) => "conv_general_dilated".into(),
        Kernel::Reduce(p) => Op::Reduce(p.clone()).name().into(),
        Kernel::Sort(_) => "sort".into(),
        Kernel::TopK(_) => "top_k".into(),
        Kernel::Move(Move::Gather(_)) => "gather".into(),
        Kernel::Move(Move::Scatter(p)) => Op::Scatter(p.clone()).name().into(),
        Kernel::Move(Move::Concatenate(_)) => "concatenate".into(),
        Kernel::Move(Move::Pad(_)) => "pad".into(),
        Kernel::Move(Move::Update) => "dynamic_update_slice".into(),
        Kernel::Control(op, _) | Kernel::Reference(op) => op.name().into(),
    }
}

fn functions(program: &Program) -> String {
    let names = program.instructions.iter().map(|i| match i.action {
        Action::Map(Function::Unary(u)) => Op::from(u).name(),
        Action::Map(Function::Binary(b)) => Op::from(b).name(),
        Action::Map(Function::IntegerPow(_)) => "integer_pow",
        Action::Map(Function::Select) => "select_n",
        Action::Map(Function::Convert) => "convert_element_type",
        Action::Fold(Fold::Sum) => "reduce_sum",
        Action::Fold(Fold::Prod) => "reduce_prod",
        Action::Fold(Fold::Max) => "reduce_max",
        Action::Fold(Fold::Min) => "reduce_min",
        Action::Fold(Fold::And) => "reduce_and",
        Action::Fold(Fold::Or) => "reduce_or",
        Action::Fold(Fold::Xor) => "reduce_xor",
        Action::Spread => "broadcast_in_dim",
    });
    names.collect::<Vec<_>>().join(" ")
}

/// Multiplications and additions: two for each term of a contraction, one for each element of each function or reduction.
fn flops(kernel: &Kernel, operands: &[Arc<Aval>], out: Option<&Aval>) -> usize {
    let size = |a: Option<&Aval>| a.map_or(0, Aval::size);
    match kernel {
        Kernel::Contract(p) => size(out).saturating_mul(p.terms()).saturating_mul(2),
        Kernel::Conv(_, terms) => size(out).saturating_mul(*terms).saturating_mul(2),
        Kernel::Blocks(b) => {
            let terms: usize = b.contracts().map(Contract::terms).sum();
            let each = terms.saturating_mul(2) + b.program.instructions.len();
            b.program.space(size(out)).saturating_mul(each)
        }
        Kernel::Tiled(program) => size(out).saturating_mul(program.instructions.len()),
        Kernel::Reduce(_) => size(operands.first().map(|a| &**a)),
        _ => 0,
    }
}
