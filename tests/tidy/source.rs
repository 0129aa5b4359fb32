//! A Rust file as the rules see it: lines, tokens and paths. Not a parser, and it need not be one.

use std::ops::RangeInclusive;

/// One file and what was found in it.
pub(crate) struct Source {
    /// The path from the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) lines: Vec<String>,
    pub(crate) tokens: Vec<Token>,
    /// Lines of modules that exist only in tests.
    tests: Vec<RangeInclusive<usize>>,
}

/// A word, a punctuation mark, or the contents of a string. Comments are no tokens.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) is_string: bool,
}

/// `a::b::c`, also where the file says it as `use a::{b::c}`.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    /// What a `use` calls it.
    pub(crate) name: String,
    pub(crate) line: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let tokens = Lexer { text: text.chars().collect(), at: 0, line: 1 }.tokens();
        let tests = test_modules(&tokens);
        let lines = text.lines().map(str::to_owned).collect();
        Self { path: path.to_owned(), lines, tokens, tests }
    }

    /// Whether this line is compiled only for tests.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        let parts = self.path.split('/');
        parts.into_iter().any(|part| part == "tests" || part == "tests.rs")
            || self.tests.iter().any(|lines| lines.contains(&line))
    }

    /// The lines before a test module that ends the file.
    pub(crate) fn body(&self) -> &[String] {
        match self.tests.last() {
            Some(tests) if *tests.end() == self.lines.len() => &self.lines[..tests.start() - 1],
            _ => &self.lines,
        }
    }

    /// How many lines of the body are no documentation.
    pub(crate) fn length(&self) -> usize {
        let is_documentation = |line: &&String| {
            let line = line.trim_start();
            line.starts_with("//!") || line.starts_with("///") && !line.starts_with("////")
        };
        self.body().iter().filter(|line| !is_documentation(line)).count()
    }

    /// Line `number`, counted from 1; empty beyond the ends.
    pub(crate) fn line(&self, number: usize) -> &str {
        number.checked_sub(1).and_then(|index| self.lines.get(index)).map_or("", |line| line)
    }

    /// The word or mark at `index`; empty for strings and beyond the ends.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.tokens.get(index).filter(|token| !token.is_string).map_or("", |token| &token.text)
    }

    /// The word or mark `back` tokens before `index`.
    pub(crate) fn before(&self, index: usize, back: usize) -> &str {
        index.checked_sub(back).map_or("", |index| self.word(index))
    }

    /// The index of the bracket that closes the one at `open`.
    pub(crate) fn closing(&self, open: usize) -> usize {
        closing(&self.tokens, open)
    }

    /// Every path in the file, groups and renamings of `use` resolved.
    pub(crate) fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        let mut index = 0;
        while index < self.tokens.len() {
            if self.word(index) == "use" && self.word(index + 1) != "<" {
                index = self.tree(index + 1, &[], &mut paths);
            } else if is_word(self.word(index)) && self.word(index + 1) == "::" {
                let first = index;
                let mut segments = vec![self.word(index).to_owned()];
                while self.word(index + 1) == "::" && is_word(self.word(index + 2)) {
                    index += 2;
                    segments.push(self.word(index).to_owned());
                }
                let name = segments.last().cloned().unwrap_or_default();
                paths.push(Path { segments, name, line: self.tokens[first].line });
            }
            index += 1;
        }
        paths
    }

    /// Reads one branch of a `use` tree from `index` and returns the index of what ends it.
    fn tree(&self, mut index: usize, prefix: &[String], paths: &mut Vec<Path>) -> usize {
        let mut segments = prefix.to_vec();
        let mut name = None;
        let line = self.tokens.get(index).map_or(0, |token| token.line);
        loop {
            match self.word(index) {
                "::" => {}
                "{" => {
                    let end = self.closing(index);
                    while index < end {
                        index = self.tree(index + 1, &segments, paths);
                    }
                    return end + 1;
                }
                "as" => {
                    name = Some(self.word(index + 1).to_owned());
                    index += 1;
                }
                word if is_word(word) || word == "*" => segments.push(word.to_owned()),
                _ => break,
            }
            index += 1;
        }
        if segments.len() > prefix.len() {
            let name = name.or_else(|| segments.last().cloned()).unwrap_or_default();
            paths.push(Path { segments, name, line });
        }
        index
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open).filter(|(_, t)| !t.is_string) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len().saturating_sub(1)
}

/// The lines of every `#[cfg(test)] mod name { … }`, attributes included.
fn test_modules(tokens: &[Token]) -> Vec<RangeInclusive<usize>> {
    let word = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let mut modules = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let first = index;
        let mut is_test = false;
        while word(index) == "#" && word(index + 1) == "[" {
            let end = closing(tokens, index + 1);
            is_test |= word(index + 2) == "cfg" && wants_test(tokens, index + 3..end);
            index = end + 1;
        }
        if is_test && word(index) == "mod" && word(index + 2) == "{" {
            index = closing(tokens, index + 2);
            modules.push(tokens[first].line..=tokens[index].line);
        }
        index += 1;
    }
    modules
}

/// Whether a `cfg` with these tokens holds only in tests: `all(test, not(loom))`, not `not(test)`.
fn wants_test(tokens: &[Token], range: std::ops::Range<usize>) -> bool {
    let mut index = range.start;
    while index < range.end {
        match tokens[index].text.as_str() {
            "not" | "any" => index = closing(tokens, index + 1),
            "test" => return true,
            _ => {}
        }
        index += 1;
    }
    false
}

struct Lexer {
    text: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn tokens(mut self) -> Vec<Token> {
        let mut tokens = Vec::new();
        while let Some(first) = self.peek(0) {
            let line = self.line;
            let mut token = |text: String, is_string| tokens.push(Token { text, line, is_string });
            match (first, self.peek(1)) {
                ('/', Some('/')) => drop(self.take_while(|c| c != '\n')),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => token(self.string(), true),
                ('\'', next) => match (next, self.peek(2)) {
                    (Some('\\'), _) => self.escaped_character(),
                    (_, Some('\'')) => (0..3).for_each(|_| self.step()),
                    _ => {
                        // A lifetime is no word: `'use` imports nothing.
                        self.step();
                        token(format!("'{}", self.identifier()), false);
                    }
                },
                (':', Some(':')) => {
                    (0..2).for_each(|_| self.step());
                    token("::".to_owned(), false);
                }
                (c, _) if c.is_alphanumeric() || c == '_' => {
                    let word = self.identifier();
                    match (word.as_str(), self.peek(0), self.peek(1)) {
                        ("r" | "br" | "cr", Some('"'), _)
                        | ("r" | "br" | "cr", Some('#'), Some('"' | '#')) => {
                            token(self.raw_string(), true);
                        }
                        ("b" | "c", Some('"'), _) => token(self.string(), true),
                        _ => token(word, false),
                    }
                }
                (c, _) => {
                    self.step();
                    if !c.is_whitespace() {
                        token(c.to_string(), false);
                    }
                }
            }
        }
        tokens
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn step(&mut self) {
        self.line += usize::from(self.peek(0) == Some('\n'));
        self.at += 1;
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.peek(0).filter(|c| wanted(*c)) {
            taken.push(c);
            self.step();
        }
        taken
    }

    fn identifier(&mut self) -> String {
        self.take_while(|c| c.is_alphanumeric() || c == '_')
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.step();
                    continue;
                }
            }
            (0..2).for_each(|_| self.step());
            if depth == 0 {
                return;
            }
        }
    }

    fn escaped_character(&mut self) {
        (0..3).for_each(|_| self.step());
        self.take_while(|c| c != '\'');
        self.step();
    }

    fn string(&mut self) -> String {
        let mut contents = String::new();
        self.step();
        while let Some(c) = self.peek(0).filter(|c| *c != '"') {
            contents.push(c);
            if c == '\\' {
                self.step();
                contents.extend(self.peek(0));
            }
            self.step();
        }
        self.step();
        contents
    }

    fn raw_string(&mut self) -> String {
        let hashes = self.take_while(|c| c == '#').len();
        self.step();
        let end: Vec<char> = std::iter::once('"').chain(vec!['#'; hashes]).collect();
        let start = self.at;
        while self.at < self.text.len() && !self.text[self.at..].starts_with(&end) {
            self.step();
        }
        let contents = self.text[start..self.at].iter().collect();
        end.iter().for_each(|_| self.step());
        contents
    }
}
