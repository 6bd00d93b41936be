//! The text of programs, as `jax.make_jaxpr` prints it: a pretty printer after Wadler and Lindig ("Strictly Pretty"), width 80.
//!
//! As there, a program that stands in several places or is long is printed once, in front and under a name: `let f = { … } in`.

use super::{Atom, Eqn, Jaxpr, Literal, Program, Var, op::Param};
use crate::array::Scalar;
use indexmap::IndexMap;
use rustc_hash::{FxHashMap, FxHashSet};
use std::{collections::VecDeque, fmt};

const WIDTH: isize = 80;

/// A document: text, line breaks, and groups that stand on one line where they fit.
enum Doc {
    Text(String),
    /// Prints as its text, or as a new line where the enclosing group does not fit.
    Break(&'static str),
    Concat(Vec<Doc>),
    Nest(usize, Box<Doc>),
    Group(Box<Doc>),
}

fn text(s: impl Into<String>) -> Doc {
    Doc::Text(s.into())
}
fn group(d: Doc) -> Doc {
    Doc::Group(Box::new(d))
}
fn nest(n: usize, d: Doc) -> Doc {
    Doc::Nest(n, Box::new(d))
}
fn join(separator: impl Fn() -> Doc, docs: Vec<Doc>) -> Doc {
    let mut all = vec![];
    for (i, d) in docs.into_iter().enumerate() {
        if i > 0 {
            all.push(separator());
        }
        all.push(d);
    }
    Doc::Concat(all)
}

/// Does a document, laid out flat, fit into the rest of the line?
fn fits(mut room: isize, first: &Doc) -> bool {
    let mut agenda = vec![first];
    while let Some(d) = agenda.pop() {
        match d {
            Doc::Text(s) => room -= s.chars().count() as isize,
            Doc::Break(s) => room -= s.len() as isize,
            Doc::Concat(ds) => agenda.extend(ds.iter().rev()),
            Doc::Nest(_, d) | Doc::Group(d) => agenda.push(d),
        }
        if room < 0 {
            return false;
        }
    }
    true
}

fn layout(doc: &Doc) -> String {
    let (mut out, mut column) = (String::new(), 0isize);
    let mut agenda = vec![(0usize, false, doc)];
    while let Some((indent, flat, d)) = agenda.pop() {
        match d {
            Doc::Text(s) => {
                out.push_str(s);
                column += s.chars().count() as isize;
            }
            Doc::Break(s) if flat => {
                out.push_str(s);
                column += s.len() as isize;
            }
            Doc::Break(_) => {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                column = indent as isize;
            }
            Doc::Concat(ds) => agenda.extend(ds.iter().rev().map(|d| (indent, flat, d))),
            Doc::Nest(n, d) => agenda.push((indent + n, flat, d)),
            Doc::Group(d) => {
                let flat = flat || fits(WIDTH - column, d);
                agenda.push((indent, flat, d));
            }
        }
    }
    out
}

/// Names of variables, given in the order in which they are first printed, across all programs of one text.
#[derive(Default)]
struct Names {
    given: FxHashMap<(usize, Var), String>,
    count: usize,
    /// Programs with names of their own, by their addresses.
    programs: FxHashMap<usize, String>,
    /// Their names, which no variable takes.
    taken: FxHashSet<String>,
}

impl Names {
    fn of(&mut self, program: usize, v: Var) -> String {
        if let Some(name) = self.given.get(&(program, v)) {
            return name.clone();
        }
        let name = loop {
            let name = alphabetic(self.count);
            self.count += 1;
            if !self.taken.contains(&name) {
                break name;
            }
        };
        self.given.insert((program, v), name.clone());
        name
    }

    /// Inner variables take the names of the outer ones that they stand for, each outer one once.
    fn share(&mut self, inner: (usize, &[Atom]), outer: (usize, &[Atom])) {
        let mut used = FxHashSet::default();
        for (i, o) in inner.1.iter().zip(outer.1) {
            if let (Atom::Var(i), Atom::Var(o)) = (i, o)
                && !self.given.contains_key(&(inner.0, *i))
                && used.insert(*o)
            {
                let name = self.of(outer.0, *o);
                self.given.insert((inner.0, *i), name);
            }
        }
    }
}

/// a, b, …, z, ba, bb, …
fn alphabetic(mut n: usize) -> String {
    let mut letters = vec![];
    loop {
        letters.push(char::from(b'a' + (n % 26) as u8));
        n /= 26;
        if n == 0 {
            break;
        }
    }
    letters.iter().rev().collect()
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", python_number(self.value()), self.aval())
    }
}

/// As Python's `str` writes it.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&python_number(*self))
    }
}

/// A number as Python's `str` writes it.
pub(crate) fn python_number(x: Scalar) -> String {
    match x {
        Scalar::Bool(true) => "True".into(),
        Scalar::Bool(false) => "False".into(),
        Scalar::Int(i) => i.to_string(),
        Scalar::Float(x) => python_float(x),
        Scalar::Complex(z) => {
            let part = |x: f64| python_float(x).trim_end_matches(".0").to_string();
            if z.re == 0.0 && z.re.is_sign_positive() {
                format!("{}j", part(z.im))
            } else {
                let sign = if z.im.is_sign_negative() { "" } else { "+" };
                format!("({}{sign}{}j)", part(z.re), part(z.im))
            }
        }
    }
}

/// A float as Python's `repr` writes it: the shortest digits that read back, scientific below 1e-4 and from 1e16.
pub(crate) fn python_float(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let magnitude = x.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let s = format!("{x:e}");
        let (digits, exponent) = s.split_once('e').unwrap_or((&s, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(e) => ('-', e),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let s = format!("{x}");
    if s.contains('.') { s } else { format!("{s}.0") }
}

/// A program with more equations than this has a name even if it stands in one place.
const LONG: usize = 10;

/// What is known of programs within programs, as they are met level by level.
#[derive(Default)]
struct Walk {
    /// The programs of the next levels.
    next: VecDeque<Program>,
    /// The name of the first equation that names a program.
    called: FxHashMap<usize, String>,
}

impl Walk {
    fn meet(&mut self, eqns: &[Eqn]) {
        for e in eqns {
            if e.op.inner().is_none() {
                continue;
            }
            // Those of a `custom_linear_solve`, which are texts of their own, have no names: nothing in the text would use these.
            let (mut name, mut programs) = (None, vec![]);
            for (key, value) in e.op.params() {
                match value {
                    Param::Text(s) if key == "name" => name = Some(word(&s)),
                    Param::Text(_) => {}
                    Param::Program(p) => programs.push(p),
                    Param::Programs(ps) => programs.extend(ps),
                }
            }
            for p in programs {
                if let Some(name) = &name {
                    self.called.entry(p.id()).or_insert_with(|| name.clone());
                }
                self.next.push_back(p);
            }
        }
    }
}

/// A function's name as one that a program can have: `lambda` for `<lambda>`.
fn word(name: &str) -> String {
    let name = name.trim_matches(['<', '>']);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let means = matches!(name, "True" | "False" | "None" | "nan" | "inf" | "let");
    match starts && !means && name.chars().all(fits) {
        true => name.into(),
        false => "jaxpr".into(),
    }
}

/// The programs that have names, in the order in which they are met: those that stand in several places, and the long ones.
fn named(whole: &Jaxpr) -> Vec<(String, Program)> {
    let mut walk = Walk::default();
    walk.meet(whole.eqns());
    let mut met: IndexMap<usize, (Program, u8)> = IndexMap::new();
    while let Some(p) = walk.next.pop_front() {
        let (_, times) = met.entry(p.id()).or_insert_with(|| (p.clone(), 0));
        // A program that stands in two places has its own in two as well: a third look tells nothing new.
        if *times < 2 {
            *times += 1;
            walk.meet(p.eqns());
        }
    }
    let mut taken: FxHashMap<String, usize> = FxHashMap::default();
    let mut all = vec![];
    for (id, (program, times)) in met {
        if times < 2 && program.eqns().len() <= LONG {
            continue;
        }
        let base = walk.called.remove(&id).unwrap_or_else(|| "jaxpr".into());
        let (mut name, mut n) = (base.clone(), taken.get(&base).copied().unwrap_or(0));
        while taken.contains_key(&name) {
            name = format!("{base}{n}");
            n += 1;
        }
        taken.insert(base, n.max(1));
        taken.entry(name.clone()).or_insert(1);
        all.push((name, program));
    }
    all
}

struct Printer {
    names: Names,
}

impl Printer {
    fn atom(&mut self, id: usize, a: &Atom) -> Doc {
        match a {
            Atom::Var(v) => text(self.names.of(id, *v)),
            Atom::Lit(l) => text(l.to_string()),
        }
    }

    fn binder(&mut self, j: &Jaxpr, id: usize, v: Var, used: bool) -> Doc {
        let name = if used {
            self.names.of(id, v)
        } else {
            "_".into()
        };
        match j.labels.get(&v) {
            Some(label) => text(format!("{name}:{label}")),
            None => text(format!("{name}:{}", j.aval(v))),
        }
    }

    fn list(docs: Vec<Doc>, separator: &'static str) -> Doc {
        let separator = || Doc::Concat(vec![text(separator), group(Doc::Break(" "))]);
        nest(2, group(join(separator, docs)))
    }

    /// The whole text: programs with names, and then the program that uses them.
    fn text(&mut self, j: &Jaxpr) -> String {
        let named = named(j);
        for (name, p) in &named {
            self.names.programs.insert(p.id(), name.clone());
            self.names.taken.insert(name.clone());
        }
        let mut docs = vec![];
        for (name, p) in &named {
            let program = self.program(p, p.id());
            let parts = vec![
                text(format!("let {name} = ")),
                program,
                text(" in"),
                Doc::Break(" "),
            ];
            docs.push(Doc::Concat(parts));
        }
        docs.push(self.program(j, std::ptr::from_ref(j) as usize));
        layout(&Doc::Concat(docs))
    }

    fn program(&mut self, j: &Jaxpr, id: usize) -> Doc {
        let mut used: FxHashSet<Var> = j.outs.iter().filter_map(|a| a.var()).collect();
        used.extend(
            j.eqns
                .iter()
                .flat_map(|e| e.inputs.iter().filter_map(|a| a.var())),
        );
        let consts = j
            .consts
            .iter()
            .map(|(v, _)| self.binder(j, id, *v, true))
            .collect();
        let inputs = j
            .invars
            .iter()
            .map(|v| self.binder(j, id, *v, true))
            .collect();
        let (consts, inputs) = (Self::list(consts, ""), Self::list(inputs, ""));
        let eqns: Vec<Doc> = j
            .eqns
            .iter()
            .map(|e| self.equation(j, id, e, &used))
            .collect();
        let outs: Vec<Doc> = j.outs.iter().map(|a| self.atom(id, a)).collect();
        let close = if outs.len() == 1 { ",)" } else { ")" };
        let body = join(|| Doc::Break("; "), eqns);
        group(Doc::Concat(vec![
            nest(
                2,
                Doc::Concat(vec![
                    text("{ lambda "),
                    consts,
                    text("; "),
                    inputs,
                    text(". let"),
                    nest(2, Doc::Concat(vec![Doc::Break(" "), body])),
                    Doc::Break(" "),
                    text("in ("),
                    Self::list(outs, ","),
                    text(close),
                ]),
            ),
            text(" }"),
        ]))
    }

    fn inner(&mut self, p: &Program) -> Doc {
        match self.names.programs.get(&p.id()) {
            Some(name) => text(name.clone()),
            None => self.program(p, p.id()),
        }
    }

    fn equation(&mut self, j: &Jaxpr, id: usize, e: &Eqn, used: &FxHashSet<Var>) -> Doc {
        let call = e.op.get::<super::op::Jit>();
        let here = |p: &Program, names: &Names| !names.programs.contains_key(&p.id());
        if let Some(p) = call.map(|c| &c.jaxpr).filter(|p| here(p, &self.names)) {
            let vars = |v: &[Var]| v.iter().map(|v| Atom::Var(*v)).collect::<Vec<_>>();
            self.names
                .share((p.id(), &vars(&p.invars)), (id, &e.inputs));
            let kept: Vec<Var> = e.outputs.to_vec();
            for v in &kept {
                if used.contains(v) {
                    self.names.of(id, *v);
                }
            }
            self.names.share((p.id(), &p.outs), (id, &vars(&kept)));
        }
        let outputs: Vec<Doc> = e
            .outputs
            .iter()
            .map(|v| self.binder(j, id, *v, used.contains(v)))
            .collect();
        let mut parts = vec![];
        if !outputs.is_empty() {
            parts.extend([Self::list(outputs, ""), text(" = ")]);
        }
        parts.push(text(e.op.name()));
        let params = e.op.params();
        if !params.is_empty() {
            let pairs = params.into_iter().map(|(key, value)| {
                let value = match value {
                    Param::Text(s) => text(s),
                    Param::Program(p) => self.inner(&p),
                    Param::Programs(ps) => {
                        let ps = ps.iter().map(|p| self.inner(p)).collect();
                        group(Doc::Concat(vec![
                            nest(
                                2,
                                Doc::Concat(vec![
                                    text("("),
                                    Doc::Break(""),
                                    join(|| Doc::Break(" "), ps),
                                ]),
                            ),
                            Doc::Break(""),
                            text(")"),
                        ]))
                    }
                };
                Doc::Concat(vec![text(format!("{key}=")), value])
            });
            let pairs = join(|| Doc::Break(" "), pairs.collect());
            parts.push(group(Doc::Concat(vec![
                nest(2, Doc::Concat(vec![text("["), Doc::Break(""), pairs])),
                Doc::Break(""),
                text("]"),
            ])));
        }
        let inputs = e.inputs.iter().map(|a| self.atom(id, a)).collect();
        parts.push(text(" "));
        parts.push(Self::list(inputs, ""));
        Doc::Concat(parts)
    }
}

impl fmt::Display for Jaxpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printer = Printer {
            names: Names::default(),
        };
        f.write_str(printer.text(self).trim_end())
    }
}
