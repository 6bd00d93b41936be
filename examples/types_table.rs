//! What works for every array type, and for every pair of types, on every primitive: found out by trying.
//!
//! `types_table` prints how each try ended and why; `--markdown` the guide's tables, `--markdown --full` those of every primitive. Names of
//! types or primitives leave out the tries that are not about them.

#[path = "support/types_table/mod.rs"]
mod types_table;

use quaxide::prelude::*;
use std::process::ExitCode;
use types_table::{FAMILIES, Outcome, full, markdown, summary, table};

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| args.iter().any(|a| a == name);
    let (single, pairs) = (table(false)?, table(true)?);
    let all = || {
        let primitives = FAMILIES.iter().flat_map(|(_, names)| names.iter());
        primitives.flat_map(|p| {
            let tables = [&single, &pairs];
            tables
                .into_iter()
                .flat_map(move |t| t.get(p).into_iter().flatten().map(move |t| (p, t)))
        })
    };
    if flag("--markdown") {
        let print = if flag("--full") { full } else { markdown };
        print!("{}", print(&single, &pairs));
    } else {
        let words: Vec<&String> = args.iter().filter(|a| !a.starts_with("--")).collect();
        for (primitive, t) in all() {
            let about = |w: &&String| {
                w == primitive
                    || t.types.iter().any(|n| n == w)
                    || *w == &format!("{:?}", t.outcome)
            };
            if !words.iter().all(about) {
                continue;
            }
            let places: Vec<String> = t.places.iter().map(usize::to_string).collect();
            let types = t.types.join(", ");
            println!(
                "{primitive} of {types} at {}: {:?}, {}",
                places.join(", "),
                t.outcome,
                t.why.replace('\n', " ")
            );
        }
        println!("{}", summary(&single, &pairs));
    }
    let failed = |o: Outcome| o >= Outcome::Wrong;
    Ok(match all().any(|(_, t)| failed(t.outcome)) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}
