//! R9 and its neighbours: sizes, headings, leftovers, sleeps.

use crate::Finding;
use crate::source::Source;

pub(crate) const WIDTH: &str = "width";

/// A file that needs more has two ideas in it. Lines, without documentation (`///` and `//!`), of
/// which examples make any amount, and without the test module at the end.
const FILE_LINES: usize = 400;

/// A function that needs more does not fit a screen. Lines, from `fn` to its closing brace.
const FUNCTION_LINES: usize = 70;

/// What rustfmt is told, and cannot do to comments and strings. Characters.
const COLUMNS: usize = 100;

/// Macros that stand for code that is not there yet, or not to stay.
const LEFTOVERS: &[&str] = &["dbg", "todo", "unimplemented"];

/// Files, functions and lines have an upper size.
pub(crate) fn sizes(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let length = source.length();
    if length > FILE_LINES && !source.is_test(1) {
        let advice = format!(
            "{length} lines that are no documentation, {FILE_LINES} at most: divide it by its ideas"
        );
        findings.push(Finding::new(source, source.body().len(), "file length", advice));
    }
    for (index, text) in source.lines.iter().enumerate() {
        let columns = text.chars().count();
        if columns > COLUMNS {
            let advice = format!("{columns} columns, {COLUMNS} at most: break the line");
            findings.push(Finding::new(source, index + 1, WIDTH, advice));
        }
    }
    for (name, line, length) in functions(source) {
        if length > FUNCTION_LINES {
            let advice =
                format!("`{name}` has {length} lines, {FUNCTION_LINES} at most: divide it");
            findings.push(Finding::new(source, line, "function length", advice));
        }
    }
    findings
}

/// Name, line and length of every function with a body.
fn functions(source: &Source) -> Vec<(String, usize, usize)> {
    let mut functions = Vec::new();
    for index in (0..source.tokens.len()).filter(|index| source.word(*index) == "fn") {
        if matches!(source.word(index + 1), "" | "(") {
            continue;
        }
        let mut body = index + 1;
        while !matches!(source.word(body), "{" | ";") && body < source.tokens.len() {
            body = if matches!(source.word(body), "(" | "[") { source.closing(body) } else { body };
            body += 1;
        }
        if source.word(body) == "{" {
            let first = source.tokens[index].line;
            let last = source.tokens[source.closing(body)].line;
            functions.push((source.word(index + 1).to_owned(), first, last - first + 1));
        }
    }
    functions
}

/// Nothing unfinished and no debugging aid stays behind.
pub(crate) fn leftovers(source: &Source) -> Vec<Finding> {
    let marks = (0..source.tokens.len())
        .filter(|index| LEFTOVERS.contains(&source.word(*index)) && source.word(index + 1) == "!");
    marks
        .map(|index| {
            let advice = format!("`{}!`: finish it or take it out", source.word(index));
            Finding::new(source, source.tokens[index].line, "leftover", advice)
        })
        .collect()
}

/// Every file begins with a line of documentation.
pub(crate) fn heading(source: &Source) -> Vec<Finding> {
    if source.line(1).starts_with("//!") || source.line(1).starts_with("#!/") {
        return Vec::new();
    }
    let advice = "begin the file with `//!` and what it is for";
    vec![Finding::new(source, 1, "heading", advice.to_owned())]
}

/// What a comment says of a sleep that nobody is waited for by: that it is what somebody is to do,
/// or that the test holds whatever happens meanwhile, and only sees more of it.
const EXCUSES: [&str; 2] = ["The sleep is the work", "earlier must do as well"];

/// A test sleeps only where that is not how it waits for somebody, and says so.
pub(crate) fn sleeps(source: &Source) -> Vec<Finding> {
    let sleeps = source.paths().into_iter().filter(|path| {
        path.segments.ends_with(&["thread".to_owned(), "sleep".to_owned()])
            && source.is_test(path.line)
    });
    let excused = |line: usize| {
        let here = source.line(line).split_once("//").map(|(_, comment)| comment);
        let above = source.line(line.saturating_sub(1)).trim().strip_prefix("//");
        here.into_iter()
            .chain(above)
            .any(|comment| EXCUSES.iter().any(|excuse| comment.contains(excuse)))
    };
    sleeps
        .filter(|path| !excused(path.line))
        .map(|path| {
            let [work, chance] = EXCUSES;
            let advice = format!("wait for an event, or comment: `{work}` or `{chance}`");
            Finding::new(source, path.line, "sleep", advice)
        })
        .collect()
}
