//! R2: where `unsafe` may stand, and what must stand beside it.

use crate::Finding;
use crate::source::Source;

const RULE: &str = "unsafe";

/// The word `unsafe` and what it introduces, by token.
fn mentions(source: &Source) -> impl Iterator<Item = (usize, usize)> {
    let indices = (0..source.tokens.len()).filter(|index| source.word(*index) == "unsafe");
    indices.map(|index| (index, source.tokens[index].line))
}

/// `unsafe` stands only in files, or on items, that announce it with `allow(unsafe_code)`.
pub(crate) fn announced(source: &Source) -> Vec<Finding> {
    let allows: Vec<(usize, bool)> = (0..source.tokens.len())
        .filter(|index| source.word(*index) == "unsafe_code" && allow_before(source, *index))
        .map(|index| {
            let open = (0..index).rev().find(|at| source.word(*at) == "[").unwrap_or(0);
            (open, source.before(open, 1) == "!")
        })
        .collect();
    if allows.iter().any(|(_, whole_file)| *whole_file) {
        return Vec::new();
    }
    let items: Vec<_> = allows.iter().map(|(open, _)| item(source, *open)).collect();
    mentions(source)
        .filter(|(index, _)| !items.iter().any(|item| item.contains(index)))
        .map(|(_, line)| {
            let advice = "put `#![allow(unsafe_code)]` at the head of the file, or do without";
            Finding::new(source, line, RULE, advice.to_owned())
        })
        .collect()
}

fn allow_before(source: &Source, index: usize) -> bool {
    (1..8)
        .map_while(|back| Some(source.before(index, back)).filter(|word| *word != "["))
        .any(|word| word == "allow" || word == "expect")
}

/// The tokens of the item behind the attribute whose bracket opens at `open`.
fn item(source: &Source, open: usize) -> std::ops::RangeInclusive<usize> {
    let mut index = source.closing(open) + 1;
    while index < source.tokens.len() {
        match source.word(index) {
            "{" => return open..=source.closing(index),
            ";" => break,
            "(" | "[" => index = source.closing(index),
            _ => {}
        }
        index += 1;
    }
    open..=index
}

/// Every `unsafe` block and impl has a `SAFETY` comment, every `unsafe fn` and trait a section.
///
/// A test that says at its head why it does without is believed, as by clippy.
pub(crate) fn proved(source: &Source) -> Vec<Finding> {
    let is_excused = source.path.starts_with("tests/")
        && source.tokens.iter().any(|token| token.text == "undocumented_unsafe_blocks");
    let mut findings = Vec::new();
    if is_excused {
        return findings;
    }
    for (index, line) in mentions(source) {
        let (missing, advice) = match source.word(index + 1) {
            "fn" if source.word(index + 2) == "(" => continue,
            "(" => continue,
            "fn" | "trait" if !implements(source, line) => (
                !documented(source, line),
                "say in a `# Safety` section what the caller must see to",
            ),
            "extern" if source.word(index + 2) == "fn" || source.word(index + 3) == "fn" => {
                let pointer = source.word(index + 3) == "(" || source.word(index + 4) == "(";
                (!pointer && !documented(source, line), "say in `# Safety` who may call it")
            }
            "{" | "impl" | "extern" => {
                (!argued(source, line), "prove it in a `// SAFETY:` comment right above")
            }
            _ => continue,
        };
        if missing {
            findings.push(Finding::new(source, line, RULE, advice.to_owned()));
        }
    }
    findings
}

/// Whether a comment on this line or above its statement argues for its safety. Clippy is stricter.
fn argued(source: &Source, line: usize) -> bool {
    if source.line(line).contains("SAFETY:") {
        return true;
    }
    for above in (1..line).rev().map(|number| source.line(number).trim()) {
        if above.starts_with("//") {
            if above.contains("SAFETY:") {
                return true;
            }
        } else if !above.starts_with("#[") && (above.is_empty() || above.ends_with([';', '}'])) {
            return false;
        }
    }
    false
}

/// Whether the doc comment above has a section called `Safety`.
fn documented(source: &Source, line: usize) -> bool {
    let above = (1..line).rev().map(|number| source.line(number).trim());
    let mut head = above.take_while(|text| text.starts_with("///") || text.starts_with("#["));
    head.any(|text| text.trim_start_matches('/').trim() == "# Safety")
}

/// Whether the function of this line stands in an `impl Trait for`, which has the section already.
fn implements(source: &Source, line: usize) -> bool {
    let indent = |text: &str| text.len() - text.trim_start().len();
    let mine = indent(source.line(line));
    let outer = (1..line).rev().map(|number| source.line(number));
    let mut outer = outer.filter(|text| !text.trim().is_empty() && indent(text) < mine);
    outer.next().is_some_and(|text| text.contains("impl") && text.contains(" for "))
}
