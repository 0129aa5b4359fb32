//! Orderings have labels, labels have partners, and every ordering has a mutant that a model kills.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;
use crate::source::Source;

const RULE: &str = "label";

/// Orderings and fences that no model can miss, and why they stay all the same.
pub(crate) const REDUNDANT: &[(&str, &str)] = &[];

/// The shim's doors, and the mutant of a fence. `at` has one for each of its orderings, and
/// `mutant` is named in full.
const DOORS: &[(&str, Option<&str>)] = &[
    ("at", None),
    ("fence", Some("fence")),
    ("fence_after_rmw", Some("fence")),
    ("heavy_fence", Some("heavy")),
    ("light_fence", Some("light")),
    ("mutant", None),
];

/// Orderings that order something.
const STRONG: &[&str] = &["Acquire", "Release", "AcqRel", "SeqCst"];

/// One call of a door: `at(Ordering::Release, "slot-filled")`.
struct Call {
    door: &'static str,
    label: Option<String>,
    line: usize,
    /// What a model may be told to leave out or weaken.
    mutants: Vec<String>,
    tokens: std::ops::RangeInclusive<usize>,
}

fn calls(source: &Source) -> Vec<Call> {
    let mut calls = Vec::new();
    for index in 0..source.tokens.len() {
        let Some((door, what)) = DOORS.iter().find(|(name, _)| *name == source.word(index)) else {
            continue;
        };
        let is_call =
            source.word(index + 1) == "(" && !matches!(source.before(index, 1), "." | "fn");
        if !is_call {
            continue;
        }
        let tokens = index..=source.closing(index + 1);
        let arguments = &source.tokens[tokens.clone()];
        let label = arguments.iter().find(|token| token.is_string).map(|token| token.text.clone());
        let named = label.as_deref().unwrap_or_default();
        let strong = arguments.iter().filter(|token| STRONG.contains(&token.text.as_str()));
        let mutants = match (*door, what) {
            ("at", _) => strong.map(|token| format!("{named}/{}", token.text)).collect(),
            (_, Some(what)) => vec![format!("{named}/{what}")],
            _ => vec![named.to_owned()],
        };
        calls.push(Call { door, label, line: source.tokens[index].line, mutants, tokens });
    }
    calls
}

fn is_raw(source: &Source) -> bool {
    source.path.starts_with("src/raw/") && !source.path.contains("/tests/")
}

fn is_above_shim(source: &Source) -> bool {
    source.path.starts_with("src/")
        && !["src/shim/", "src/sys/"].iter().any(|room| source.path.starts_with(room))
}

/// Every strong ordering in `raw` has a label, and every label there has another end.
///
/// The other end may be in a higher room, or in the model that stands for it. A fence needs none:
/// it is named by itself, and its comment says which one it meets.
pub(crate) fn pairs(tree: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for source in tree.iter().filter(|source| is_above_shim(source)) {
        for call in calls(source).into_iter().filter(|call| call.door == "at") {
            // An exchange that acquires and releases meets the next one of its kind.
            let is_both = call.mutants.iter().any(|mutant| mutant.ends_with("/AcqRel"));
            *ends.entry(call.label.unwrap_or_default()).or_default() += 1 + usize::from(is_both);
        }
    }
    for source in tree.iter().filter(|source| is_raw(source)) {
        let calls = calls(source);
        for call in calls.iter().filter(|call| !source.is_test(call.line)) {
            let advice = match &call.label {
                None => format!("write the label of `{}` as a string, here", call.door),
                Some(label) if call.door == "at" && ends[label] < 2 => {
                    format!("\"{label}\" has one end: label its partner, or do without")
                }
                Some(_) => continue,
            };
            findings.push(Finding::new(source, call.line, RULE, advice));
        }
        findings.extend(unlabelled(source, &calls));
    }
    findings
}

/// Orderings that order something and are not inside a call of `at`.
fn unlabelled(source: &Source, calls: &[Call]) -> Vec<Finding> {
    let imports = (0..source.tokens.len()).filter(|index| source.word(*index) == "use");
    let imports: Vec<_> = imports
        .map(|first| {
            let end = (first..source.tokens.len()).find(|index| source.word(*index) == ";");
            first..=end.unwrap_or(first)
        })
        .collect();
    let bare = (0..source.tokens.len()).filter(|index| {
        STRONG.contains(&source.word(*index))
            && !calls.iter().any(|call| call.tokens.contains(index))
            && !imports.iter().any(|tokens| tokens.contains(index))
            && !source.is_test(source.tokens[*index].line)
    });
    bare.map(|index| {
        let ordering = source.word(index);
        let advice = format!("`{ordering}` without a label: write `at({ordering}, \"edge\")`");
        Finding::new(source, source.tokens[index].line, RULE, advice)
    })
    .collect()
}

/// Every labelled step in `raw` has a mutant in a model's table, or a reason in `redundant`.
pub(crate) fn mutants(tree: &[Source], redundant: &[(&str, &str)]) -> Vec<Finding> {
    let models = tree.iter().filter(|source| source.path.starts_with("src/raw/tests/"));
    let strings = models.flat_map(|source| source.tokens.iter().filter(|token| token.is_string));
    let caught: BTreeSet<&str> = strings.map(|token| token.text.as_str()).collect();
    let mut findings = Vec::new();
    let mut known = BTreeSet::new();
    for source in tree.iter().filter(|source| is_raw(source)) {
        for call in calls(source).into_iter().filter(|call| !source.is_test(call.line)) {
            for mutant in call.mutants {
                let excused = redundant.iter().any(|(name, _)| *name == mutant);
                if !excused && !caught.contains(mutant.as_str()) {
                    let advice = format!(
                        "no model is shown the mutant \"{mutant}\": add it to a table in \
                         src/raw/tests, or to REDUNDANT in tests/tidy/labels.rs with the reason"
                    );
                    findings.push(Finding::new(source, call.line, "mutant", advice));
                }
                known.insert(mutant);
            }
        }
    }
    let here = Source::new("tests/tidy/labels.rs", "");
    for (name, _) in redundant.iter().filter(|(name, _)| !known.contains(*name)) {
        let advice = format!("\"{name}\" is in REDUNDANT and nowhere in src/raw: take it out");
        findings.push(Finding::new(&here, 1, "mutant", advice));
    }
    findings
}
