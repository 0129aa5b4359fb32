//! Functions that the tests of pools have done.

use std::thread;
use std::time::Duration;

use multiproc::Event;

pub fn square(n: u64) -> u64 {
    n * n
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
