//! The condition with the machine's own atomics.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::raw::wait::Fence;
use crate::raw::wait::testing::{self, Watchdog};
use crate::sys::clock::Deadline;

fn wait(
    condition: &Condition,
    enlisted: Enlisted,
    deadline: Deadline,
) -> Result<Option<Signal>, Corrupt> {
    let epoch = Futex::new(0);
    condition.wait(enlisted, testing::terms(&epoch, Fence::Full, deadline), || ())
}

/// Whether this one has been signalled by now.
fn is_signalled(condition: &Condition, enlisted: Enlisted) -> bool {
    let signal = wait(condition, enlisted, Deadline::after(Duration::ZERO)).unwrap();
    signal.map(|signal| condition.accept(signal).unwrap()).is_some()
}

#[test]
fn as_many_threads_wake_as_were_signalled() {
    const THREADS: usize = 6;
    const SIGNALS: usize = 20_000;
    let _dog = Watchdog::new("as_many_threads_wake_as_were_signalled");
    let (condition, woken) = (Condition::new(), Mutex::new(0));
    let wait_until_the_end = || {
        let mut count = woken.lock().unwrap();
        while *count < SIGNALS {
            let enlisted = condition.enlist(1).unwrap();
            drop(count);
            let signal = wait(&condition, enlisted, Deadline::NEVER).unwrap().unwrap();
            count = woken.lock().unwrap();
            condition.accept(signal).unwrap();
            *count += 1;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(wait_until_the_end);
        }
        let mut given = 0;
        while given < SIGNALS {
            given += condition.notify((SIGNALS - given).min(1 + given % THREADS));
        }
        // Those who saw the last count but one wait again, and are owed nothing.
        while *woken.lock().unwrap() < SIGNALS {
            std::thread::yield_now();
        }
        assert_eq!(*woken.lock().unwrap(), SIGNALS);
        assert!(condition.notify(usize::MAX) < THREADS);
    });
    assert_eq!(condition.waiting(), 0);
}

#[test]
fn who_came_first_is_signalled_first() {
    let condition = Condition::new();
    // Whoever leaves makes a low slot free for one that comes late.
    let mut line: Vec<Enlisted> = (0..5).map(|_| condition.enlist(1).unwrap()).collect();
    for _ in 0..3 * WAITERS_MAX {
        assert_eq!(condition.notify(2), 2);
        for first in line.drain(..2) {
            assert!(is_signalled(&condition, first));
        }
        line.extend((0..2).map(|_| condition.enlist(1).unwrap()));
    }
    line.into_iter().for_each(|waiting| assert!(!is_signalled(&condition, waiting)));
}

#[test]
fn the_order_survives_the_last_ticket() {
    let condition = Condition::new();
    condition.tickets.store(u32::MAX - TICKET, Ordering::Relaxed);
    let line: Vec<Enlisted> = (0..4).map(|_| condition.enlist(1).unwrap()).collect();
    assert_eq!(condition.notify(2), 2);
    let signalled = line.into_iter().map(|waiting| is_signalled(&condition, waiting));
    assert_eq!(signalled.collect::<Vec<_>>(), [true, true, false, false]);
}

#[test]
fn one_too_many_is_told_so() {
    let condition = Condition::new();
    let all: Vec<_> = (0..WAITERS_MAX).map(|_| condition.enlist(1).unwrap()).collect();
    assert_eq!(condition.enlist(1).unwrap_err(), Full);
    assert_eq!(condition.notify(usize::MAX), WAITERS_MAX);
    assert_eq!(condition.enlist(1).unwrap_err(), Full);
    all.into_iter().for_each(|waiting| assert!(is_signalled(&condition, waiting)));
    drop(condition.enlist(1).unwrap());
}

#[test]
fn the_slots_of_the_dead_are_free_again() {
    let condition = Condition::new();
    let dead: Vec<_> = (0..WAITERS_MAX).map(|_| condition.enlist(7).unwrap()).collect();
    assert_eq!(condition.notify(3), 3);
    condition.sweep(6);
    assert_eq!(condition.waiting(), WAITERS_MAX - 3);
    condition.sweep(7);
    assert_eq!(condition.waiting(), 0);
    assert!((0..WAITERS_MAX).all(|_| condition.enlist(1).is_ok()));
    drop(dead);
}

#[test]
fn whatever_is_in_the_slots_nobody_hangs_or_panics() {
    let condition = Condition::new();
    let mut random = 1_u32;
    for _ in 0..200 {
        for word in condition.slots.iter().map(|slot| slot.0.word()) {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            word.store(random.rotate_left(7), Ordering::Relaxed);
        }
        condition.mark.store(random, Ordering::Relaxed);
        condition.tickets.store(random, Ordering::Relaxed);
        assert!(condition.notify(5) <= 5);
        condition.sweep(random % PARTICIPANTS_MAX);
        assert!(condition.notify(usize::MAX) <= WAITERS_MAX);
        assert_eq!(condition.waiting(), 0);
    }
}

#[test]
fn a_slot_that_is_written_over_is_corrupt() {
    let condition = Condition::new();
    let over = Deadline::after(Duration::ZERO);
    for other in [FREE, 3, SIGNALLED, WAITING | 9 << OWNER_SHIFT] {
        let enlisted = condition.enlist(1).unwrap();
        let (slot, word) = (enlisted.slot, enlisted.word);
        condition.slots[slot].0.word().store(other, Ordering::Relaxed);
        assert_eq!(wait(&condition, enlisted, over).unwrap_err(), Corrupt, "{word} {other}");
        assert_eq!(condition.accept(Signal { slot, word }), Err(Corrupt));
        condition.slots[slot].0.word().store(FREE, Ordering::Relaxed);
    }
}
