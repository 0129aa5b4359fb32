//! What users call is shown at work: every public item of the rooms that they see has an example.

use crate::Finding;
use crate::source::Source;

/// The rooms whose public items are the crate's, and what else of it is public.
const FACADE: &[&str] = &[
    "src/array/",
    "src/channel/",
    "src/error/",
    "src/inspect/",
    "src/listener/",
    "src/manager/",
    "src/memory/",
    "src/pool/",
    "src/process/",
    "src/queue/",
    "src/segment/name.rs",
    "src/segment/names.rs",
    "src/select/",
    "src/sync/",
    "src/transfer/codec.rs",
    "src/value/",
];

/// Items that need no example: the file, the item, and why.
const EXEMPT: &[(&str, &str, &str)] = &[
    ("src/select/waitable.rs", "Source", "public in a private module: users cannot name it"),
    ("src/sync/guard.rs", "Sealed", "public in a private module: users cannot name it"),
];

/// Every public function, struct, enum and trait with a documentation has a code block in it.
pub(crate) fn shown(source: &Source) -> Vec<Finding> {
    if !FACADE.iter().any(|room| source.path.starts_with(room)) {
        return Vec::new();
    }
    let public = (0..source.tokens.len()).filter(|index| source.word(*index) == "pub");
    let items = public.filter_map(|index| Some((item(source, index)?, index)));
    let hidden = items.filter(|(name, index)| {
        let line = source.tokens[*index].line;
        !source.is_test(line) && !is_exempt(source, name) && is_documented_without(source, *index)
    });
    hidden
        .map(|(name, index)| {
            let advice = format!("`{name}` has no code block: show what it does");
            Finding::new(source, source.tokens[index].line, "example", advice)
        })
        .collect()
}

/// The name of the function, struct, enum or trait that the `pub` at `index` makes public.
fn item(source: &Source, index: usize) -> Option<String> {
    let is_before = |index: &usize| matches!(source.word(*index), "const" | "unsafe" | "async");
    let kind = (index + 1..).find(|index| !is_before(index))?;
    let is_item = matches!(source.word(kind), "fn" | "struct" | "enum" | "trait");
    is_item.then(|| source.word(kind + 1).to_owned())
}

fn is_exempt(source: &Source, name: &str) -> bool {
    EXEMPT.iter().any(|(path, item, _)| source.path == *path && name == *item)
}

/// Whether the item at `index` has a documentation, which readers see, and no code block in it.
fn is_documented_without(source: &Source, index: usize) -> bool {
    let first = first_attribute(source, index);
    let is_hidden = (first..index)
        .any(|index| source.word(index) == "doc" && source.word(index + 2) == "hidden");
    let before = first.checked_sub(1).map_or(0, |index| source.tokens[index].line);
    let docs = (before + 1..source.tokens[index].line).map(|line| source.line(line).trim());
    let docs: Vec<&str> = docs.filter_map(|line| line.strip_prefix("///")).collect();
    !is_hidden && !docs.is_empty() && !docs.iter().any(|line| line.trim().starts_with("```"))
}

/// The index of the first attribute of the item at `index`, or of the item if it has none.
fn first_attribute(source: &Source, index: usize) -> usize {
    let mut first = index;
    while source.before(first, 1) == "]" {
        let mut depth = 0_usize;
        let open = (0..first).rev().find(|index| {
            match source.word(*index) {
                "]" => depth += 1,
                "[" => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        match open {
            Some(open) if source.before(open, 1) == "#" => first = open - 1,
            _ => return first,
        }
    }
    first
}
