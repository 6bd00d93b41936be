//! The table of types: every primitive is tried, nothing panics, refusals say what to write, and the guide's tables are current.

#[path = "../examples/support/types_table/mod.rs"]
#[allow(dead_code, reason = "the example uses another part")]
mod types_table;

use std::{collections::BTreeSet, fs, path::Path, sync::LazyLock};
use types_table::{
    FAMILIES, KINDS, Outcome, Table, Try, WITHOUT_OPERANDS, full, markdown, summary, table,
};

static SINGLE: LazyLock<Table> = LazyLock::new(|| table(false).unwrap());
static PAIRS: LazyLock<Table> = LazyLock::new(|| table(true).unwrap());

fn all() -> impl Iterator<Item = (&'static str, &'static Try)> {
    let tables: [&'static Table; 2] = [&SINGLE, &PAIRS];
    let one = |t: &'static Table| {
        t.iter()
            .flat_map(|(p, all)| all.iter().map(move |t| (*p, t)))
    };
    tables.into_iter().flat_map(one)
}

#[test]
fn every_primitive_is_tried_with_every_type() {
    let listed = FAMILIES.iter().flat_map(|(_, names)| names.iter());
    let listed: BTreeSet<&str> = listed.chain(WITHOUT_OPERANDS).copied().collect();
    let known: BTreeSet<&str> = quaxide::op::NAMES.iter().copied().collect();
    assert_eq!(listed, known, "the families do not list the primitives");
    for name in known.iter().filter(|n| !WITHOUT_OPERANDS.contains(n)) {
        assert!(SINGLE.contains_key(name), "`{name}` is not tried");
    }
    for kind in KINDS {
        let tries = all().filter(|(_, t)| t.types == [kind.name]);
        let tried: BTreeSet<&str> = tries.map(|(p, _)| p).collect();
        assert!(
            tried.len() > 100,
            "{} meets {} primitives",
            kind.name,
            tried.len()
        );
    }
}

#[test]
fn nothing_panics_and_nothing_is_wrong() {
    for (p, t) in all() {
        assert!(t.outcome < Outcome::Wrong, "{p} of {t:?}");
    }
    let line = summary(&SINGLE, &PAIRS);
    assert!(
        line.starts_with("types=") && line.ends_with(" panics=0"),
        "{line}"
    );
}

/// Where two types meet and nothing comes of it, the error names both and says what to write.
#[test]
fn refusals_of_pairs_name_both() {
    for (p, t) in PAIRS
        .iter()
        .flat_map(|(p, all)| all.iter().map(move |t| (p, t)))
    {
        // Programs inside meet no rules.
        let inside = quaxide::op::PROGRAMS_INSIDE.contains(p);
        if t.outcome != Outcome::Refuses || t.types[0] == t.types[1] || inside {
            continue;
        }
        for name in &t.types {
            let named = t.why.contains(&format!(" {name}")) || t.why.contains(&format!("&{name}"));
            assert!(named, "{p} of {t:?}");
        }
        assert!(t.why.contains("would say what it means"), "{p} of {t:?}");
    }
}

fn guide(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/guide/src")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn the_guide_has_the_tables() {
    let how = "write the output of `cargo run --example types_table -- --markdown` (with `--full` for types-table.md) there";
    assert!(
        guide("types.md").contains(&markdown(&SINGLE, &PAIRS)),
        "docs/guide/src/types.md: {how}"
    );
    assert!(
        guide("types-table.md").contains(&full(&SINGLE, &PAIRS)),
        "docs/guide/src/types-table.md: {how}"
    );
}
