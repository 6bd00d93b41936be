//! The table as text.

use super::{FAMILIES, KINDS, Outcome, Table, Try};
use std::fmt::Write;

fn sign(o: Outcome) -> char {
    match o {
        Outcome::Works => '✓',
        Outcome::Materialises => 'm',
        Outcome::Refuses => '–',
        Outcome::Wrong => '?',
        Outcome::Panics => '!',
    }
}

fn of<'t>(table: &'t Table, primitive: &str, types: &[&str]) -> Vec<&'t Try> {
    let types: Vec<String> = types.iter().map(|t| t.to_string()).collect();
    let all = table.get(primitive).map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|t| t.types == types).collect()
}

/// The signs of all places, or one where they are the same; a dot where nothing was tried.
fn signs<'t>(tries: impl IntoIterator<Item = &'t Try>) -> String {
    let all: Vec<char> = tries.into_iter().map(|t| sign(t.outcome)).collect();
    match all.first() {
        None => "·".into(),
        Some(first) if all.iter().all(|s| s == first) => first.to_string(),
        _ => all.iter().collect(),
    }
}

/// How many of each outcome, of those that occur.
fn counts<'t>(tries: impl IntoIterator<Item = &'t Try>) -> String {
    let all: Vec<Outcome> = tries.into_iter().map(|t| t.outcome).collect();
    let one = |o: Outcome| {
        let n = all.iter().filter(|x| **x == o).count();
        (n > 0).then(|| match n == all.len() {
            true => sign(o).to_string(),
            false => format!("{n}{}", sign(o)),
        })
    };
    let outcomes = [
        Outcome::Works,
        Outcome::Materialises,
        Outcome::Refuses,
        Outcome::Wrong,
        Outcome::Panics,
    ];
    let parts: Vec<String> = outcomes.into_iter().filter_map(one).collect();
    match parts.is_empty() {
        true => "·".into(),
        false => parts.join(" "),
    }
}

fn names() -> Vec<&'static str> {
    KINDS.iter().map(|k| k.name).collect()
}

fn row(out: &mut String, head: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(out, "| {head} | {} |", cells.join(" | "));
}

fn head(out: &mut String, first: &str, names: &[&str]) {
    row(out, first, names.iter().map(|n| n.to_string()));
    row(out, "---", names.iter().map(|_| ":-:".to_string()));
}

/// Two tables: each type by family of primitives, and each pair over all primitives.
pub fn markdown(single: &Table, pairs: &Table) -> String {
    let names = names();
    let mut out = String::new();
    head(&mut out, "primitives", &names);
    for (family, primitives) in FAMILIES {
        let cell = |name: &&str| counts(primitives.iter().flat_map(|p| of(single, p, &[*name])));
        row(&mut out, family, names.iter().map(cell));
    }
    out.push('\n');
    head(&mut out, "beside", &names);
    for a in &names {
        let cell = |b: &&str| {
            let all = FAMILIES
                .iter()
                .flat_map(|(_, primitives)| primitives.iter());
            let place = |n: &str| names.iter().position(|m| *m == n);
            match place(a) <= place(b) {
                true => counts(all.flat_map(|p| of(pairs, p, &[*a, *b]))),
                false => String::new(),
            }
        };
        row(&mut out, a, names.iter().map(cell));
    }
    out
}

/// The tables primitive by primitive.
pub fn full(single: &Table, pairs: &Table) -> String {
    let names = names();
    let mut out = String::new();
    head(&mut out, "primitive", &names);
    for (_, primitives) in FAMILIES {
        for p in *primitives {
            let cell = |name: &&str| signs(of(single, p, &[*name]));
            row(&mut out, &format!("`{p}`"), names.iter().map(cell));
        }
    }
    let tried = |p: &str| pairs.get(p).is_some_and(|t| !t.is_empty());
    for (i, a) in names.iter().enumerate() {
        let _ = writeln!(out, "\n### {a} and another\n");
        let others = names.get(i..).unwrap_or_default();
        head(&mut out, "primitive", others);
        for (_, primitives) in FAMILIES {
            for p in primitives.iter().filter(|p| tried(p)) {
                let cells: Vec<String> = others
                    .iter()
                    .map(|b| signs(of(pairs, p, &[*a, *b])))
                    .collect();
                if cells.iter().any(|c| c != "·") {
                    row(&mut out, &format!("`{p}`"), cells.into_iter());
                }
            }
        }
    }
    out
}

/// The line that counts.
pub fn summary(single: &Table, pairs: &Table) -> String {
    let all: Vec<&Try> = single.values().chain(pairs.values()).flatten().collect();
    let count = |o: Outcome| all.iter().filter(|t| t.outcome == o).count();
    let n = KINDS.len();
    format!(
        "types={n} pairs={} cells={} works={} materialises={} refuses={} panics={}",
        n * (n + 1) / 2,
        all.len(),
        count(Outcome::Works),
        count(Outcome::Materialises),
        count(Outcome::Refuses),
        count(Outcome::Panics)
    )
}
