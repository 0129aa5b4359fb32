//! A program that calls `init` first: its children run in there, inside `main`.
#![allow(missing_docs)]
#![cfg_attr(multiproc_loom, no_main)]
#![cfg(not(multiproc_loom))]

use std::sync::atomic::{AtomicBool, Ordering};

use multiproc::{Process, StartMethod};

static IS_IN_MAIN: AtomicBool = AtomicBool::new(false);
static IS_PAST_INIT: AtomicBool = AtomicBool::new(false);

fn where_am_i(_: ()) -> (bool, bool, Option<String>) {
    let name = std::thread::current().name().map(str::to_owned);
    (IS_IN_MAIN.load(Ordering::Relaxed), IS_PAST_INIT.load(Ordering::Relaxed), name)
}

fn nested(_: ()) -> (bool, bool, Option<String>) {
    Process::spawn(where_am_i, ()).unwrap().join().unwrap()
}

fn main() {
    IS_IN_MAIN.store(true, Ordering::Relaxed);
    multiproc::init();
    IS_PAST_INIT.store(true, Ordering::Relaxed);

    let inside = (true, false, Some("main".to_owned()));
    let first = Process::spawn(where_am_i, ()).unwrap();
    assert_eq!(first.name(), "Process-1");
    assert_eq!(first.join().unwrap(), inside);
    let second = Process::builder().start_method(StartMethod::Spawn).spawn(where_am_i, ()).unwrap();
    assert_eq!(second.name(), "Process-2");
    assert_eq!(second.join().unwrap(), inside);
    let third = Process::spawn(nested, ()).unwrap();
    assert_eq!(third.name(), "Process-3");
    assert_eq!(third.join().unwrap(), inside);
    assert_eq!(multiproc::current().name(), "MainProcess");
    multiproc::init();
}
