//! Threads have numbers, so that a lock in shared memory can say which one has it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

thread_local! {
    static NUMBER: Cell<u32> = const { Cell::new(0) };
}

/// The number of this thread, of 31 bits: never zero, and until so many threads have asked for one,
/// no other of this process has it, nor of one that it was forked from.
#[inline]
pub(crate) fn number() -> u32 {
    match NUMBER.get() {
        0 => take_number(),
        known => known,
    }
}

#[cold]
fn take_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    // Relaxed: a number is all there is to it. After 2^31 threads they come again, and never zero.
    let number = (NEXT.fetch_add(1, Ordering::Relaxed) & (u32::MAX >> 1)).max(1);
    NUMBER.set(number);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_differ() {
        let mine = number();
        let theirs = std::thread::spawn(number).join().unwrap();
        assert!(mine != 0 && theirs != 0 && mine != theirs && mine == number());
    }
}
