//! The promises of ARCHITECTURE.md, checked.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
    all
}

/// The places that the code map names.
fn mapped() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = text
        .lines()
        .filter_map(|l| l.strip_prefix("| `")?.split('`').next());
    rows.filter(|p| p.starts_with("src") || *p == "derive")
        .map(str::to_string)
        .collect()
}

#[test]
fn every_mapped_place_exists() {
    for place in mapped() {
        assert!(
            root().join(&place).exists(),
            "ARCHITECTURE.md names {place}, which is not there"
        );
    }
}

#[test]
fn every_room_is_on_the_map() {
    let map = mapped();
    for entry in fs::read_dir(root().join("src")).unwrap().flatten() {
        let name = format!("src/{}", entry.file_name().to_string_lossy());
        let known = map.contains(&name) || map.iter().any(|m| m.starts_with(&format!("{name}/")));
        assert!(known, "{name} is not in ARCHITECTURE.md's code map");
    }
}

/// The core leaves through three doors and no others.
#[test]
fn the_core_names_no_consumer() {
    let doors = ["src/trace/bind.rs", "src/transform/run.rs"];
    for room in ["array", "tree", "trace", "transform"] {
        for file in rust_files(&root().join("src").join(room)) {
            let name = file
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .to_string();
            if doors.contains(&name.as_str()) {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
            for line in code {
                for consumer in ["interp", "dispatch", "rules"] {
                    assert!(
                        !line.contains(&format!("crate::{consumer}"))
                            && !line.contains(&format!(" {consumer}::")),
                        "{name} names `{consumer}`: {line}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_doors_are_single_calls() {
    let count = |file: &str, what: &str| {
        fs::read_to_string(root().join(file))
            .unwrap()
            .matches(what)
            .count()
    };
    assert_eq!(count("src/trace/bind.rs", "crate::dispatch::"), 1);
    assert_eq!(count("src/trace/bind.rs", "crate::interp::"), 1);
    assert_eq!(count("src/transform/run.rs", "crate::rules::algebra::"), 1);
}

#[test]
fn unsafe_code_stays_in_the_kernels() {
    for file in rust_files(&root().join("src")) {
        let name = file
            .strip_prefix(root())
            .unwrap()
            .to_string_lossy()
            .to_string();
        if name.starts_with("src/interp/compiled/kernels") {
            continue;
        }
        // The one module that may hold unsafe code is let in where it is declared.
        let door = name == "src/interp/compiled/mod.rs";
        let text = fs::read_to_string(&file).unwrap();
        let found = text
            .lines()
            .any(|l| l.contains("unsafe {") || l.contains("allow(unsafe_code") && !door);
        assert!(!found, "{name} has unsafe code");
    }
}

#[test]
fn every_package_has_its_reason() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, table) = text.split_once("## The packages").unwrap();
    let cargo = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut wanted = false;
    for line in cargo.lines() {
        if line.starts_with('[') {
            wanted = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (wanted, line.split_once('=')) {
            let name = name.trim();
            assert!(
                name == "quaxide-derive" || table.contains(&format!("`{name}`")),
                "ARCHITECTURE.md does not say what {name} is for"
            );
        }
    }
}
