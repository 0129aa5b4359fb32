//! A program with an initialiser that starts a process before `main`: its children come to the
//! same place, and each of them is told that it must not.
#![allow(missing_docs)]
#![allow(unsafe_code, reason = "an initialiser")]
#![cfg_attr(multiproc_loom, no_main)]
#![cfg(not(multiproc_loom))]

use std::sync::OnceLock;

use multiproc::{ErrorKind, Process};

/// What became of the process that the initialiser has started.
static EARLY: OnceLock<multiproc::Result<multiproc::Result<u32>>> = OnceLock::new();

// The C library calls what is in this section before `main`, in the order of the linker: this
// program's before those of the crates that it uses.
#[used]
#[unsafe(link_section = ".init_array")]
static INITIALISER: extern "C" fn() = initialise;

extern "C" fn initialise() {
    let child = Process::spawn(u32::count_ones, 7);
    let result = child.map(|child| Ok(child.join()?));
    EARLY.set(result).expect("called once");
}

/// What this process was told when it was an initialiser's turn.
fn refusal(_: ()) -> Option<(ErrorKind, String)> {
    let refused = EARLY.get()?.as_ref().err()?;
    Some((refused.kind(), refused.to_string()))
}

fn main() {
    let early = EARLY.get().expect("an initialiser");
    assert_eq!(early.as_ref().unwrap().as_ref().unwrap(), &3);
    let (kind, text) = Process::spawn(refusal, ()).unwrap().join().unwrap().expect("a refusal");
    assert_eq!(kind, ErrorKind::Misuse);
    assert!(text.contains("do it in `main`"), "{text}");
}
