//! Shows every rule code that breaks it, and code that comes close and does not.

use std::collections::HashMap;

use crate::source::Source;
use crate::{Finding, examples, labels, public, rooms, shape, unsafety};

/// The lines that a rule objects to in `text`, as if it stood at `path`.
fn lines(rule: impl Fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text)).iter().map(|finding| finding.line).collect()
}

#[test]
fn words_in_comments_and_strings_are_no_code() {
    let text = r##"
        // todo!() in a comment
        /* todo!() /* nested */ todo!() */
        let a = "todo!() \" todo!()"; let b = r#"todo!() " todo!()"#; let c = b"todo!()";
        let d = '"'; let e = '\''; let f: &'static str = ""; let g = r#type;
        todo!()
    "##;
    assert_eq!(lines(shape::leftovers, "src/a.rs", text), [6]);
}

#[test]
fn groups_and_renamings_in_use_are_resolved() {
    let text = "use a::{b::{self, C as D}, e::*};\nlet x = f::g::<h::I>();\n";
    let paths = Source::new("src/a.rs", text).paths();
    let found: Vec<String> =
        paths.iter().map(|path| format!("{}={}", path.name, path.segments.join("::"))).collect();
    let wanted = ["self=a::b::self", "D=a::b::C", "*=a::e::*", "g=f::g", "I=h::I"];
    assert_eq!(found, wanted);
}

#[test]
fn imports_from_above_and_beside_are_found() {
    let root = Source::new("src/lib.rs", "pub use channel::{Queue, Sender as Tx};\n");
    let root = rooms::root_items(&[root]);
    let check = |path: &str, text: &str| lines(|source| rooms::imports(source, &root), path, text);
    assert_eq!(check("src/raw/lock.rs", "use crate::segment::Segment;\n"), [1]);
    assert_eq!(check("src/raw/lock.rs", "\nfn f() { crate::segment::open() }\n"), [2]);
    assert_eq!(check("src/raw/lock.rs", "use crate::{shim::at, process::Process};\n"), [1]);
    assert_eq!(check("src/raw/lock.rs", "use super::super::pool::Pool;\n"), [1]);
    assert_eq!(check("src/value.rs", "use super::array::Array;\n"), [1]);
    assert_eq!(check("src/segment/mod.rs", "use crate::Queue;\nuse crate::Tx;\n"), [1, 2]);
    assert_eq!(check("src/attic/mod.rs", "\n"), [1]);
    let allowed =
        "use crate::error::Error;\nuse crate::shim::at;\nuse super::wait;\nuse crate::X;\n";
    assert_eq!(check("src/raw/lock.rs", allowed), [0; 0]);
    assert_eq!(check("src/pool/mod.rs", "use crate::Queue;\n"), [0; 0]);
    let test = "#[cfg(test)]\nmod tests {\n    use crate::pool::Pool;\n}\n";
    assert_eq!(check("src/raw/lock.rs", test), [0; 0]);
    let test = test.replace("(test)", "(all(test, not(loom)))");
    assert_eq!(check("src/raw/lock.rs", &test), [0; 0]);
    assert_eq!(check("src/raw/lock.rs", "#[cfg(not(test))]\nmod a { use crate::pool::P; }\n"), [2]);
}

#[test]
fn unsafe_without_announcement_is_found() {
    let check = |text: &str| lines(unsafety::announced, "src/raw/a.rs", text);
    assert_eq!(check("fn f() {\n    unsafe { g() }\n}\n"), [2]);
    assert_eq!(check("#![deny(unsafe_code)]\nunsafe impl Send for X {}\n"), [2]);
    assert_eq!(check("#![allow(unsafe_code)]\nfn f() { unsafe { g() } }\n"), [0; 0]);
    let item = "#[allow(unsafe_code)]\nfn f(a: [u8; 2]) {\n    unsafe { g() }\n}\n";
    assert_eq!(check(item), [0; 0]);
    assert_eq!(check(&format!("{item}unsafe impl Send for X {{}}\n")), [5]);
}

#[test]
fn unsafe_without_proof_is_found() {
    let check = |text: &str| lines(unsafety::proved, "src/raw/a.rs", text);
    assert_eq!(check("let a = 1;\nunsafe { g() };\n"), [2]);
    assert_eq!(check("// SAFETY: of another.\nf();\nlet x = unsafe { g() };\n"), [3]);
    assert_eq!(check("unsafe impl Send for X {}\n"), [1]);
    assert_eq!(check("/// Does.\nunsafe fn f() {}\n"), [2]);
    assert_eq!(check("/// Does.\nunsafe extern \"C\" fn f() {}\n"), [2]);
    assert_eq!(check("pub unsafe trait T {}\n"), [1]);
    let proved = "// SAFETY: it is.\n#[cfg(a)]\nlet x =\n    unsafe { g() };\n\
                  /// # Safety\n/// - Tick.\n#[inline]\npub(crate) unsafe fn f() {}\n\
                  type F = unsafe fn(u8);\ntype G = unsafe extern \"C\" fn();\n\
                  impl T for X {\n    unsafe fn f() {}\n}\n";
    assert_eq!(check(proved), [0; 0]);
}

#[test]
fn atomics_and_cells_beside_the_shim_are_found() {
    let check = |path: &str, text: &str| lines(rooms::atomics, path, text);
    assert_eq!(check("src/raw/a.rs", "use std::sync::atomic::Ordering;\n"), [1]);
    assert_eq!(check("src/pool/a.rs", "use std::sync::{Arc, atomic::AtomicU32};\n"), [1]);
    assert_eq!(check("src/pool/a.rs", "use core::sync::atomic;\n"), [1]);
    assert_eq!(check("src/pool/a.rs", "use std::sync::atomic::{self, AtomicBool};\n"), [1]);
    assert_eq!(check("src/pool/a.rs", "use std::cell::{Cell, UnsafeCell};\n"), [1]);
    assert_eq!(check("src/raw/a.rs", "\nuse loom::thread;\n"), [2]);
    assert_eq!(check("src/raw/tests/a.rs", "use loom::thread;\n"), [0; 0]);
    assert_eq!(check("src/sys/a.rs", "use std::sync::atomic::AtomicU32;\n"), [0; 0]);
    assert_eq!(check("src/pool/a.rs", "use std::sync::atomic::{AtomicUsize, Ordering};\n"), [0; 0]);
}

#[test]
fn system_calls_outside_sys_are_found() {
    let check = |path: &str, text: &str| lines(rooms::kernel, path, text);
    assert_eq!(check("src/process/a.rs", "fn f() { unsafe { libc::fork() } }\n"), [1]);
    assert_eq!(check("src/segment/a.rs", "use {memmap2::MmapRaw, nix::unistd};\n"), [1, 1]);
    let numbers = "let a = [libc::EMFILE, libc::SIGKILL];\nlet b = libc::WIFEXITED(1);\n";
    assert_eq!(check("src/process/a.rs", numbers), [2]);
    assert_eq!(check("src/sys/a.rs", "use nix::unistd::fork;\n"), [0; 0]);
    assert_eq!(check("benches/a.rs", "fn f() { libc::getpid(); }\n"), [0; 0]);
}

#[test]
fn long_files_functions_and_lines_are_found() {
    let check = |text: &str| lines(shape::sizes, "src/a.rs", text);
    let body =
        |lines: usize| format!("fn f(a: [u8; 2]) -> bool {{\n{}}}\n", "g();\n".repeat(lines));
    assert_eq!(check(&body(69)), [1]);
    assert_eq!(check(&body(68)), [0; 0]);
    assert_eq!(check(&"\n".repeat(401)), [401]);
    let tested = format!("{}#[cfg(test)]\nmod tests {{\n\n}}\n", "\n".repeat(400));
    assert_eq!(check(&tested), [0; 0]);
    assert_eq!(check(&format!("{tested}\n")), [405]);
    let documented = format!("//! A.\n{}{}", "    /// B.\n".repeat(100), "\n".repeat(400));
    assert_eq!(check(&documented), [0; 0]);
    assert_eq!(check(&format!("{documented}// C.\n")), [502]);
    assert_eq!(check(&format!("{documented}//// D.\n")), [502]);
    assert_eq!(check(&format!("// {}\n// {}\n", "ä".repeat(98), "ä".repeat(97))), [1]);
}

#[test]
fn public_items_without_an_example_are_found() {
    let check = |path: &str, text: &str| lines(examples::shown, path, text);
    let queue = |text: &str| check("src/queue/a.rs", text);
    assert_eq!(queue("//! ```\n/// Does.\npub fn f() {}\n"), [3]);
    assert_eq!(
        queue("/// ```\npub fn f() {}\n/// Is.\npub(crate) struct S;\n/// Is.\npub struct T;\n"),
        [6]
    );
    assert_eq!(queue("/// Is.\n#[derive(A, B)]\n/// Also.\n#[c]\npub unsafe trait T {}\n"), [5]);
    assert_eq!(queue("impl A {\n    /// Is.\n    pub const fn f() {}\n}\n"), [3]);
    assert_eq!(
        check("src/sync/guard.rs", "/// Is.\npub trait Sealed {}\n/// Is.\npub enum E {}\n"),
        [4]
    );
    let shown =
        "/// Is.\n///\n/// ```no_run\n/// f();\n/// ```\n#[a]\n#[b = \"]\"]\npub enum E {}\n";
    assert_eq!(queue(shown), [0; 0]);
    assert_eq!(queue("/// Is.\n#[doc(hidden)]\npub fn f() {}\n"), [0; 0]);
    assert_eq!(
        queue("/// Is.\npub const A: u8 = 1;\n/// Is.\npub use a::b;\npub fn f() {}\n"),
        [0; 0]
    );
    assert_eq!(check("src/raw/a.rs", "/// Does.\npub fn f() {}\n"), [0; 0]);
}

#[test]
fn leftovers_and_missing_headings_are_found() {
    let text = "fn f() {\n    dbg!(1);\n    unimplemented!()\n}\n";
    assert_eq!(lines(shape::leftovers, "tests/a.rs", text), [2, 3]);
    assert_eq!(lines(shape::heading, "src/a.rs", "use b;\n"), [1]);
    assert_eq!(lines(shape::heading, "src/a.rs", "//! What it is.\n"), [0; 0]);
}

#[test]
fn sleeps_that_are_not_the_work_are_found() {
    let check = |path: &str, text: &str| lines(shape::sleeps, path, text);
    assert_eq!(check("tests/it/a.rs", "thread::sleep(A);\n"), [1]);
    assert_eq!(check("tests/it/a.rs", "\nuse std::thread::sleep;\n"), [2]);
    assert_eq!(check("tests/it/a.rs", "thread::sleep(A); // The sleep is the work.\n"), [0; 0]);
    assert_eq!(
        check("tests/it/a.rs", "// Late; earlier must do as well.\nthread::sleep(A);\n"),
        [0; 0]
    );
    assert_eq!(check("tests/it/a.rs", "// Time for the work to begin.\nthread::sleep(A);\n"), [2]);
    assert_eq!(check("src/pool/a.rs", "fn f() { std::thread::sleep(A); }\n"), [0; 0]);
    let inner = "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() { std::thread::sleep(A); }\n}\n";
    assert_eq!(check("src/pool/a.rs", inner), [4]);
}

#[test]
fn public_names_that_are_not_listed_are_found() {
    let listed = public::listed("Text `a`, [`b`](crate::b) and `C::d()`; e is no code.");
    let check =
        |path: &str, text: &str| lines(|source| public::unlisted(source, &listed), path, text);
    assert_eq!(check("src/a.rs", "pub fn a() {}\npub fn e() {}\n"), [2]);
    assert_eq!(check("src/a.rs", "pub const fn crate_() {}\npub unsafe fn f() {}\n"), [1, 2]);
    let items =
        "pub struct C {\n    pub d: u8,\n    pub e: u8,\n    f: u8,\n}\npub const G: u8 = 0;\n";
    assert_eq!(check("src/a.rs", items), [3, 6]);
    assert_eq!(check("src/a.rs", "pub use x::Y;\npub(crate) fn f() {}\nfn g() {}\n"), [0; 0]);
    assert_eq!(check("src/a.rs", "#[cfg(test)]\nmod tests {\n    pub fn f() {}\n}\n"), [0; 0]);
    assert_eq!(check("tests/a.rs", "pub fn f() {}\n"), [0; 0]);
}

/// The lines that the label rules object to in a file of `raw` with this `model` beside it.
fn labelled(raw: &str, model: &str, redundant: &[(&str, &str)]) -> Vec<(&'static str, usize)> {
    let tree = [Source::new("src/raw/a.rs", raw), Source::new("src/raw/tests/a.rs", model)];
    let findings = labels::pairs(&tree).into_iter().chain(labels::mutants(&tree, redundant));
    findings.map(|finding| (finding.rule, finding.line)).collect()
}

#[test]
fn labels_without_partner_or_mutant_are_found() {
    let raw = "use shim::{at, Ordering::{self, Acquire}};\n\
               w.store(1, at(Ordering::Release, \"x\"));\n\
               w.load(\n    at(Ordering::Acquire, \"x\"),\n);\n";
    let model = "expect_caught(&[(\"x/Release\", \"t\"), (\"x/Acquire\", \"t\")]);\n";
    assert_eq!(labelled(raw, model, &[]), []);
    assert_eq!(
        labelled(raw, "// \"x/Release\" \"x/Acquire\"\n", &[]),
        [("mutant", 2), ("mutant", 4)]
    );
    assert_eq!(labelled(raw, "f(\"x/Acquire\");\n", &[("x/Release", "why")]), []);
    assert_eq!(labelled(raw, model, &[("y/Release", "why")]), [("mutant", 1)]);
    let alone = "w.store(1, at(Ordering::Release, \"x\"));\n";
    assert_eq!(labelled(alone, model, &[]), [("label", 1)]);
    let modelled = "w.load(at(Ordering::Acquire, \"x\")); f(\"x/Release\");\n";
    assert_eq!(labelled(alone, modelled, &[]), []);
    let hidden = "w.load(at(Ordering::Acquire, label));\nw.load(Ordering::Acquire);\n";
    assert_eq!(labelled(hidden, "f(\"/Acquire\");\n", &[]), [("label", 1), ("label", 2)]);
}

#[test]
fn fences_and_named_steps_want_mutants_too() {
    let raw = "light_fence(\"x\");\nheavy_fence(\"x\");\nif mutant(\"skip\") {}\n\
               w.load(at(Ordering::Relaxed, \"y\"));\nlet z = at(Ordering::Relaxed);\n";
    let missing = [("label", 4), ("label", 5), ("mutant", 1), ("mutant", 2), ("mutant", 3)];
    assert_eq!(labelled(raw, "", &[]), missing);
    let model = "f(&[\"x/light\", \"x/heavy\", \"skip\"]);\n";
    assert_eq!(labelled(raw, model, &[]), [("label", 4), ("label", 5)]);
}

#[test]
fn a_finding_says_where_what_and_what_to_do() {
    let source = Source::new("src/raw/a.rs", "use crate::pool::Pool;\n");
    let findings = rooms::imports(&source, &HashMap::new());
    let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let wanted = "src/raw/a.rs:1: rooms: `crate::pool::Pool` is of room 8 `pool`, \
                  this is room 2 `raw`: import from below, or move the code up";
    assert_eq!(said, [wanted]);
}
