//! Functions that the tests of pools have done.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use multiproc::{Event, Value};

pub fn square(n: u64) -> u64 {
    n * n
}

pub fn length(text: String) -> usize {
    text.len()
}

pub fn pid_after(time: Duration) -> u32 {
    // The sleep is the work.
    thread::sleep(time);
    std::process::id()
}

pub fn stop(code: i32) -> i32 {
    std::process::exit(code)
}

pub fn kill_myself(_: ()) {
    super::die();
}

pub fn odd_is_wrong(n: u64) -> u64 {
    assert!(n.is_multiple_of(2), "{n} is odd");
    n / 2
}

pub fn for_ever(_: ()) {
    loop {
        thread::park();
    }
}

pub fn wait_for(event: Event) {
    event.wait().unwrap();
}

pub fn open(gate: Event) {
    gate.set().unwrap();
}

pub fn count_up(calls: Value<AtomicU64>) {
    calls.fetch_add(1, Relaxed);
}
