//! Who may import what: rooms, atomics, and the door to the kernel.

use std::collections::HashMap;

use crate::Finding;
use crate::source::{Path, Source};

/// Rooms and their numbers. A file imports from lower numbers and from its own room.
const ROOMS: &[(&str, u8)] = &[
    ("error", 0),
    ("sys", 0),
    ("shim", 1),
    ("raw", 2),
    ("trace", 2),
    ("segment", 3),
    ("transfer", 4),
    ("channel", 5),
    ("queue", 5),
    ("sync", 5),
    ("array", 6),
    ("memory", 6),
    ("value", 6),
    ("inspect", 7),
    ("listener", 7),
    ("process", 7),
    ("manager", 8),
    ("pool", 8),
    ("select", 9),
    ("fuzzing", 10),
    ("guide", 10),
];

/// What every room may import: what can go wrong, and what is told of what happens.
const HALLS: &[&str] = &["error", "trace"];

/// Process-private atomics: a model of shared memory has nothing to say about them.
const PRIVATE_ATOMICS: &[&str] =
    &["AtomicBool", "AtomicI32", "AtomicPtr", "AtomicUsize", "Ordering"];

/// From this room on a file may have process-private atomics.
const PRIVATE_FROM: u8 = 3;

/// Crates that stand for system calls, and so belong to `sys`.
const KERNEL: &[&str] = &["libc", "memmap2", "nix"];

fn number(room: &str) -> Option<u8> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, number)| *number)
}

/// The modules that a file of the library stands in, itself included: `src/sys/fork.rs` is
/// `[sys, fork]`. `None` outside the library.
fn modules(path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let names = inner.split('/').filter(|name| !matches!(*name, "mod" | "lib"));
    Some(names.map(str::to_owned).collect())
}

/// The room of a library file. `lib.rs` is the hall that leads to all of them.
fn room(path: &str) -> Option<String> {
    modules(path)?.into_iter().next()
}

/// Which room each name at the crate root was re-exported from.
pub(crate) fn root_items(tree: &[Source]) -> HashMap<String, String> {
    let root = tree.iter().filter(|source| source.path == "src/lib.rs");
    let paths = root.flat_map(Source::paths);
    let named = paths.filter_map(|path| {
        let mut segments = path.segments.into_iter().skip_while(|s| s == "crate" || s == "self");
        Some((path.name, segments.next()?))
    });
    named.filter(|(_, room)| number(room).is_some()).collect()
}

/// The room that a path leads to, if it leads through the crate.
fn target(path: &Path, here: &[String], root: &HashMap<String, String>) -> Option<String> {
    let ups = path.segments.iter().take_while(|segment| *segment == "super").count();
    let from_here = match path.segments.first()?.as_str() {
        "crate" => &[],
        "super" => here.get(..here.len().saturating_sub(ups))?,
        _ => return None,
    };
    let rest = path.segments.iter().skip(ups.max(1));
    let first = from_here.iter().chain(rest).next()?;
    Some(root.get(first).unwrap_or(first).clone())
}

/// R1: a file imports only from rooms of a lower number, or from its own.
pub(crate) fn imports(source: &Source, root: &HashMap<String, String>) -> Vec<Finding> {
    let rule = "rooms";
    let Some(here) = modules(&source.path) else { return Vec::new() };
    let Some(mine) = here.first() else { return Vec::new() };
    let Some(my_number) = number(mine) else {
        let advice = format!("give `{mine}` a number in ROOMS of tests/tidy/rooms.rs");
        return vec![Finding::new(source, 1, rule, advice)];
    };
    let mut findings = Vec::new();
    for path in source.paths().iter().filter(|path| !source.is_test(path.line)) {
        let Some(theirs) = target(path, &here, root) else { continue };
        let Some(their_number) = number(&theirs) else { continue };
        let is_hall = HALLS.contains(&theirs.as_str());
        if theirs == *mine || is_hall || their_number < my_number {
            continue;
        }
        let whole = path.segments.join("::");
        let advice = format!(
            "`{whole}` is of room {their_number} `{theirs}`, this is room {my_number} `{mine}`: \
             import from below, or move the code up"
        );
        findings.push(Finding::new(source, path.line, rule, advice));
    }
    findings
}

/// R3: atomics and cells come from `shim`, so that the models see every one of them.
pub(crate) fn atomics(source: &Source) -> Vec<Finding> {
    let Some(room) = room(&source.path).or_else(|| modules(&source.path).map(|_| String::new()))
    else {
        return Vec::new();
    };
    if matches!(room.as_str(), "sys" | "shim") {
        return Vec::new();
    }
    let may_be_private = number(&room).is_none_or(|number| number >= PRIVATE_FROM);
    let mut findings = Vec::new();
    for path in source.paths().iter().filter(|path| !source.is_test(path.line)) {
        let names: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let behind = |outer: &str, inner: &str| {
            let at = names.windows(2).position(|pair| *pair == [outer, inner])?;
            Some(names.get(at + 2).copied().unwrap_or("self"))
        };
        let private = if may_be_private { PRIVATE_ATOMICS } else { &[] };
        let atomic = behind("sync", "atomic").filter(|item| !private.contains(item));
        let cell = names.contains(&"cell") && path.segments.ends_with(&["UnsafeCell".to_owned()]);
        if atomic.is_none() && !cell && names.first() != Some(&"loom") {
            continue;
        }
        let advice = format!(
            "`{}`: take it from `crate::shim`; only rooms from {PRIVATE_FROM} on may have \
             std's {PRIVATE_ATOMICS:?}, for what no other process sees",
            names.join("::")
        );
        findings.push(Finding::new(source, path.line, "atomics", advice));
    }
    findings
}

/// R4: system calls only in `sys`. Others may name signals and the values of `errno`.
pub(crate) fn kernel(source: &Source) -> Vec<Finding> {
    if modules(&source.path).is_none() || room(&source.path).as_deref() == Some("sys") {
        return Vec::new();
    }
    let is_number = |path: &Path| {
        let constant = path.segments.len() == 2
            && path.name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        constant && path.segments[0] == "libc" && path.name.starts_with(['E', 'S'])
    };
    let paths = source.paths();
    let kernel = paths.iter().filter(|path| KERNEL.contains(&path.segments[0].as_str()));
    let wrong = kernel.filter(|path| !source.is_test(path.line) && !is_number(path));
    wrong
        .map(|path| {
            let advice = format!(
                "`{}`: wrap it in `sys`, the only door to the kernel",
                path.segments.join("::")
            );
            Finding::new(source, path.line, "kernel", advice)
        })
        .collect()
}
