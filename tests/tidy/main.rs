//! The house rules, checked on the source tree as text, where compiler and clippy have no say.
//!
//! Each rule is a function from a file to its findings, in `rooms`, `unsafety`, `labels`, `shape`,
//! `examples` and `public`. `snippets` shows every rule a bad piece of code, so that none of them
//! is vacuous.

mod examples;
mod labels;
mod public;
mod rooms;
mod shape;
mod snippets;
mod source;
mod unsafety;

use std::fmt;
use std::path::Path;

use source::Source;

/// What is wrong, where, and what to do about it.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    advice: String,
}

impl Finding {
    pub(crate) fn new(source: &Source, line: usize, rule: &'static str, advice: String) -> Self {
        Self { path: source.path.clone(), line, rule, advice }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.advice)
    }
}

/// Every Rust file of the repository.
fn tree() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in ["src", "tests", "benches", "examples", "fuzz"] {
        collect(root, &root.join(folder), &mut sources);
    }
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "the tree was not found");
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        if path.is_dir() && !path.ends_with("target") {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("a path below the root");
            let text = std::fs::read_to_string(&path).expect("a readable source file");
            sources.push(Source::new(&name.to_string_lossy(), &text));
        }
    }
}

/// Fails with one line for each finding.
fn demand_none(findings: Vec<Finding>) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

/// Applies a rule to each file of the repository.
fn everywhere(rule: impl Fn(&Source) -> Vec<Finding>) {
    demand_none(tree().iter().flat_map(rule).collect());
}

#[test]
fn a_file_imports_only_from_lower_rooms() {
    let tree = tree();
    let root = rooms::root_items(&tree);
    demand_none(tree.iter().flat_map(|source| rooms::imports(source, &root)).collect());
}

#[test]
fn unsafe_is_announced_and_proved() {
    everywhere(unsafety::announced);
    everywhere(unsafety::proved);
}

#[test]
fn shared_words_come_from_the_shim() {
    everywhere(rooms::atomics);
}

#[test]
fn the_kernel_is_spoken_to_only_in_sys() {
    everywhere(rooms::kernel);
}

#[test]
fn files_functions_and_lines_are_short() {
    everywhere(shape::sizes);
}

#[test]
fn every_public_item_is_shown_at_work() {
    everywhere(examples::shown);
}

#[test]
fn nothing_is_left_over() {
    everywhere(shape::leftovers);
}

#[test]
fn every_file_says_what_it_is_for() {
    everywhere(shape::heading);
}

#[test]
fn tests_do_not_sleep_to_synchronise() {
    everywhere(shape::sleeps);
}

#[test]
fn every_ordering_has_a_partner_and_a_mutant() {
    let tree = tree();
    demand_none(labels::pairs(&tree));
    demand_none(labels::mutants(&tree, labels::REDUNDANT));
}

#[test]
fn every_public_name_is_in_the_guides_list() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join(public::LIST);
    let list = std::fs::read_to_string(list).expect("a readable list");
    let listed = public::listed(&list);
    let tree = tree();
    let root = rooms::root_items(&tree);
    let mut missing: Vec<&String> =
        root.keys().filter(|name| !listed.contains(name.as_str())).collect();
    missing.sort();
    assert!(missing.is_empty(), "src/lib.rs has names that {} has not: {missing:?}", public::LIST);
    everywhere(|source| public::unlisted(source, &listed));
}
