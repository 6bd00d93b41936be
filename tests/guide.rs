//! The guide hangs together. Its code is compiled and run by the documentation tests (`src/lib.rs`).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The pages that a reader may open: the guide's chapters and those at the root.
fn pages() -> Vec<PathBuf> {
    let in_dir = |dir: &str| {
        fs::read_dir(root().join(dir))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "md"))
            .collect::<Vec<_>>()
    };
    [in_dir("docs/guide/src"), in_dir(".")].concat()
}

/// The targets of `[text](target)`, outside of code blocks.
fn links(text: &str) -> Vec<String> {
    let mut code = false;
    let mut found = vec![];
    for line in text.lines() {
        code ^= line.trim_start().starts_with("```");
        if code {
            continue;
        }
        for part in line.split("](").skip(1) {
            found.extend(part.split(')').next().map(str::to_string));
        }
    }
    found
}

/// The names by which a page's headings are linked.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|l| l.starts_with('#'));
    let name = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c })
            .collect::<String>()
    };
    headings.map(name).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        for link in links(&read(&page)) {
            let (target, anchor) = link.split_once('#').unwrap_or((&link, ""));
            if target.contains("://") {
                continue;
            }
            let there = match target {
                "" => page.clone(),
                _ => page.parent().unwrap().join(target),
            };
            assert!(there.exists(), "{}: broken link {link}", page.display());
            assert!(
                anchor.is_empty() || anchors(&read(&there)).iter().any(|a| a == anchor),
                "{}: no heading for {link}",
                page.display()
            );
        }
    }
}

#[test]
fn every_chapter_is_listed_and_tested() {
    let listed: BTreeSet<String> = links(&read("docs/guide/src/SUMMARY.md"))
        .into_iter()
        .collect();
    let library = read("src/lib.rs");
    let chapters = fs::read_dir(root().join("docs/guide/src")).unwrap();
    for chapter in chapters {
        let name = chapter.unwrap().file_name().into_string().unwrap();
        if name == "SUMMARY.md" {
            continue;
        }
        assert!(listed.contains(&name), "SUMMARY.md lacks {name}");
        assert!(
            library.contains(&format!("\"{name}\"")),
            "src/lib.rs does not test {name}"
        );
    }
}

/// A block below `<!-- from path -->` stands in that file as it is.
#[test]
fn quotations_are_verbatim() {
    let mut quoted = 0;
    for page in pages() {
        let text = read(&page);
        for part in text.split("<!-- from ").skip(1) {
            let (file, rest) = part.split_once(" -->").unwrap();
            let block = rest.split("```").nth(1).unwrap();
            let (_, code) = block.split_once('\n').unwrap();
            let source = read(file);
            assert!(
                source.contains(code),
                "{}: this is not in {file}:\n{code}",
                page.display()
            );
            quoted += 1;
        }
    }
    assert!(quoted > 0);
}

/// The worked example is a page long, and the chapter shows all of it.
#[test]
fn a_type_in_sixty_lines() {
    let source = read("examples/array_type/src/lib.rs");
    assert!(source.lines().count() <= 60, "{}", source.lines().count());
    assert!(read("docs/guide/src/write-an-array-type.md").contains(&source));
    for part in [
        "fn materialise",
        "r.binary",
        "r.unary",
        "r.default",
        "#[test]",
        "assert_snapshot",
    ] {
        assert!(source.contains(part), "{part}");
    }
}
