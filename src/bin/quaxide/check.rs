//! `quaxide check`: programs that say themselves what they compute.

use crate::output::{Output, quoted};
use quaxide::{
    Array, Error, ErrorKind, Result,
    interp::{self, Interpreter},
    stablehlo::Module,
};
use std::{
    borrow::Cow,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Enough for programs that are nested as deeply as the reader allows.
const STACK: usize = 256 << 20;

enum Outcome {
    Passed,
    Failed(String),
    Unsupported(String),
}

impl Outcome {
    fn of(e: &Error) -> Outcome {
        if e.kind() == ErrorKind::Unsupported {
            Outcome::Unsupported(e.to_string())
        } else {
            Outcome::Failed(e.to_string())
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed(_) => "failed",
            Outcome::Unsupported(_) => "unsupported",
        }
    }

    fn reason(&self) -> &str {
        match self {
            Outcome::Passed => "",
            Outcome::Failed(why) | Outcome::Unsupported(why) => why,
        }
    }
}

/// Run the programs, several at once. Did all of them pass?
pub(crate) fn check(
    files: &[PathBuf],
    way: Interpreter,
    json: bool,
    out: &mut Output,
) -> Result<bool> {
    let mut counts = [0usize; 3];
    each(
        files,
        |file| guarded(file, way),
        |file, outcome| {
            let slot = match &outcome {
                Outcome::Passed => 0,
                Outcome::Failed(_) => 1,
                Outcome::Unsupported(_) => 2,
            };
            if let Some(n) = counts.get_mut(slot) {
                *n += 1;
            }
            let (name, reason) = (outcome.name(), outcome.reason());
            let shown = file.display().to_string();
            match (json, slot) {
                (true, _) => out.line(&format!(
                    "{{\"file\":{},\"outcome\":\"{name}\",\"reason\":{}}}",
                    quoted(&shown),
                    quoted(reason)
                )),
                (false, 0) => Ok(()),
                (false, _) => {
                    let first = reason.lines().next().unwrap_or_default();
                    let prefix = format!("{shown}:");
                    let first = first.strip_prefix(&prefix).unwrap_or(first);
                    out.line(&format!("{shown}: {name}: {first}"))
                }
            }
        },
    )?;
    let [passed, failed, unsupported] = counts;
    if json {
        out.line(&format!(
            "{{\"passed\":{passed},\"failed\":{failed},\"unsupported\":{unsupported}}}"
        ))?;
    } else {
        out.line(&format!(
            "{passed} passed, {failed} failed, {unsupported} unsupported"
        ))?;
    }
    Ok(failed + unsupported == 0)
}

/// Do something to every file on as many threads as there are cores, and tell of each in the order of the list.
fn each<T: Send>(
    files: &[PathBuf],
    work: impl Fn(&Path) -> T + Sync,
    mut tell: impl FnMut(&Path, T) -> Result<()>,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(files.len().max(1));
    thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::channel();
        for _ in 0..workers {
            let (send, next, work) = (send.clone(), &next, &work);
            thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, move || {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        let Some(file) = files.get(i) else { return };
                        if send.send((i, work(file))).is_err() {
                            return;
                        }
                    }
                })?;
        }
        drop(send);
        let mut waiting = std::collections::BTreeMap::new();
        let mut told = 0;
        for (i, outcome) in receive {
            waiting.insert(i, outcome);
            while let Some(outcome) = waiting.remove(&told) {
                if let Some(file) = files.get(told) {
                    tell(file, outcome)
                        .inspect_err(|_| next.store(usize::MAX / 2, Ordering::Relaxed))?;
                }
                told += 1;
            }
        }
        Ok(())
    })
}

fn guarded(file: &Path, way: Interpreter) -> Outcome {
    // A panic is a defect of Quaxide's; the other programs are still worth knowing of.
    panic::catch_unwind(AssertUnwindSafe(|| run(file, way)))
        .unwrap_or_else(|_| Outcome::Failed("it made Quaxide panic".into()))
}

fn run(file: &Path, way: Interpreter) -> Outcome {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) => return Outcome::Failed(e.to_string()),
    };
    let name = file.display().to_string();
    let mut expectations = 0;
    let mut unsupported = None;
    // A file may hold several modules; lines are counted from its start.
    let mut before = 0;
    for part in text.split("// -----") {
        let padded = match before {
            0 => Cow::Borrowed(part),
            n => Cow::Owned(format!("{}{part}", "\n".repeat(n))),
        };
        before += part.matches('\n').count();
        match module(&name, &padded, way) {
            Ok(n) => expectations += n,
            Err(outcome @ Outcome::Unsupported(_)) => {
                unsupported.get_or_insert(outcome);
            }
            Err(other) => return other,
        }
    }
    match unsupported {
        Some(outcome) => outcome,
        None if expectations == 0 => Outcome::Unsupported("it expects nothing".into()),
        None => Outcome::Passed,
    }
}

/// The number of expectations of a module, all of which are met.
fn module(name: &str, text: &str, way: Interpreter) -> Result<usize, Outcome> {
    let fail = |e: Error| Outcome::of(&e);
    let module = Module::parse(name, text).map_err(fail)?;
    let mut expectations = 0;
    for (program, checks) in module.checks().map_err(fail)? {
        if program.invars().is_empty() {
            let results: Vec<Array> = interp::run(&program, &[], way).map_err(fail)?;
            for (check, pair) in checks.iter().zip(results.chunks_exact(2)) {
                let [actual, expected] = pair else { continue };
                if let Some(m) = check.compare(actual, expected).map_err(fail)? {
                    return Err(Outcome::Failed(format!(
                        "line {}: {}: {} where {} is expected, at element {} (of {} that differ)",
                        check.line,
                        check.expect.name(),
                        m.actual,
                        m.expected,
                        m.place,
                        m.count
                    )));
                }
                expectations += 1;
            }
        } else {
            return Err(Outcome::Unsupported("its `main` takes arguments".into()));
        }
    }
    Ok(expectations)
}
