//! The list of public names in the guide is complete.

use std::collections::HashSet;

use crate::Finding;
use crate::source::Source;

/// Where the list is.
pub(crate) const LIST: &str = "src/guide/api.md";

/// Files of the library whose public items are nobody's to use, or are looked at by themselves.
const HIDDEN: &[&str] = &["src/fuzzing.rs", "src/guide/mod.rs", "src/lib.rs"];

/// What is public for the compiler's sake, in modules that nobody can name.
const NAMELESS: &[&str] = &["Sealed", "Source"];

/// What comes before the name of an item.
const KINDS: &[&str] = &["fn", "struct", "enum", "trait", "type", "const", "static", "mod"];

/// The names that a text has as code, between backticks.
pub(crate) fn listed(text: &str) -> HashSet<&str> {
    let code = text.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_')).collect()
}

/// Public items, methods and fields of a library file that are not in the list. The compiler sees
/// to it that what is `pub` can be reached (`unreachable_pub`), and what cannot is `pub(crate)`.
pub(crate) fn unlisted(source: &Source, listed: &HashSet<&str>) -> Vec<Finding> {
    if !source.path.starts_with("src/") || HIDDEN.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let is_public = |index: &usize| source.word(*index) == "pub" && source.word(index + 1) != "(";
    let publics = (0..source.tokens.len()).filter(is_public);
    let names = publics.filter(|index| !source.is_test(source.tokens[*index].line));
    let missing = names.filter_map(|index| name(source, index + 1));
    missing
        .filter(|index| !NAMELESS.contains(&source.word(*index)))
        .filter(|index| !listed.contains(source.word(*index)))
        .map(|index| {
            let advice = format!("`{}` is public: list it in {LIST}", source.word(index));
            Finding::new(source, source.tokens[index].line, "list of names", advice)
        })
        .collect()
}

/// Where the name of an item, a method or a field is, of which this is the first word behind `pub`.
fn name(source: &Source, mut index: usize) -> Option<usize> {
    if source.word(index + 1) == ":" {
        return Some(index);
    }
    while matches!(source.word(index), "const" | "unsafe" | "async")
        && matches!(source.word(index + 1), "fn" | "trait" | "unsafe" | "async")
    {
        index += 1;
    }
    KINDS.contains(&source.word(index)).then_some(index + 1)
}
