//! What Quax's own tests assert, restated: one module a topic, one test for each of its cases or groups of cases. A test's comment
//! names what it restates; where Quax has a hole, the test asserts what is owed to users instead.
//!
//! [`LEFT_OUT`] lists what is not restated, and why; `cargo test --test quax_contract -- --nocapture left_out` prints it.

mod aval;
mod carry;
mod cond;
mod construction;
mod core;
mod custom_jvp;
mod jit;
mod lora;
mod named;
mod scan;
mod sparse;
mod support;
mod units;
mod while_loop;
mod zero;

/// What Quax's tests assert and these do not, with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "core: non-array operand is a TypeError",
        "an operand is an `Array` by its type; what is no array does not compile",
    ),
    (
        "core: aval called once",
        "it may be asked for whenever a type is needed: it is pure, and usually reads a field",
    ),
    (
        "core: no-Value call is a pass-through (`compress`)",
        "a function may capture values or make them, so `quaxify` always traces it; what needs numbers is called outside",
    ),
    (
        "core: unfaithful types are not cached",
        "dispatch is by a value's Rust type, which never depends on its fields",
    ),
    (
        "construction: converters, `__check_init__`, missing fields, abstract classes, `__new__`",
        "structs are built by Rust's own rules; a constructor that checks returns a `Result`",
    ),
    (
        "stage_value lifts arrays",
        "there is no public staging of one value; `make_jaxpr` and `Quaxify::stages` show programs",
    ),
    (
        "jit cache: entries die with the jaxpr",
        "a cache belongs to the function that `jit` returned, and goes with it",
    ),
    (
        "jit cache: inline bypasses",
        "`jit` has no `inline`; a call inside a trace is one equation and is flattened when the whole is compiled",
    ),
    (
        "custom_jvp: symbolic zeros in and out, with `symbolic_zeros=True`",
        "a rule is traced once, with a tangent for every inexact argument; what turns out zero is left out afterwards",
    ),
    (
        "lora: adding a raw LoraArray inside raises",
        "a value built inside a function is one like any other and works",
    ),
    (
        "zero: zeros created inside becoming Zero (skipped by Quax)",
        "tests/types_zero.rs: zeros that a program writes are recognised",
    ),
    (
        "named: fixed sizes of axes that do not agree",
        "an axis is a name here; its size is that of the array",
    ),
    (
        "lax and numpy on a wrapper type with a rule for every primitive",
        "tests/types_programs.rs runs random programs over every primitive on such types",
    ),
    (
        "lax and numpy on plain arrays",
        "tests/primitives.rs, tests/numpy*.rs and tests/lax.rs compare with JAX's numbers",
    ),
    ("benchmarks", "benches/overhead.rs"),
];

/// The list is in order: no topic twice, a reason for each, and the files that it names exist.
#[test]
fn left_out() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (i, (what, why)) in LEFT_OUT.iter().enumerate() {
        println!("{what}\n    {why}");
        assert!(!what.is_empty() && why.len() > 10);
        assert!(LEFT_OUT[..i].iter().all(|(other, _)| other != what));
        for word in why.split([' ', ',', ';', ':']) {
            let named = word.starts_with("tests/") || word.starts_with("benches/");
            if named && !word.contains('*') {
                assert!(root.join(word).exists(), "{word} is named and not there");
            }
        }
    }
}
