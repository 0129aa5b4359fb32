//! The barrier with the machine's own atomics.

use super::*;
use crate::raw::participants::PARTICIPANTS_MAX;
use crate::raw::wait::Fence;
use crate::raw::wait::testing::{Watchdog, dawdle, terms};
use crate::shim::Futex;
use crate::sys::clock::Deadline;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;

const NO_ACTION: Option<fn()> = None;

fn wait(barrier: &Barrier, participant: u32, deadline: Deadline) -> Result<u32, Failure> {
    let (epoch, of) = (Futex::new(0), barrier.parties().unwrap());
    let terms = terms(&epoch, Fence::Full, deadline);
    barrier.wait(Party { of, participant }, terms, NO_ACTION, || ())
}

fn now() -> Deadline {
    Deadline::after(Duration::ZERO)
}

#[test]
fn one_party_never_waits() {
    let barrier = Barrier::new(1);
    for _ in 0..3 {
        assert_eq!(wait(&barrier, 7, now()), Ok(0));
    }
    assert_eq!(barrier.view(), View { waiting: 0, is_broken: false });
}

#[test]
fn a_barrier_of_no_parties_or_too_many_is_none() {
    for parties in [0, PARTIES_MAX + 1, u32::MAX] {
        let barrier = Barrier::new(0);
        barrier.prepare(parties);
        assert_eq!(barrier.parties(), Err(Corrupt));
    }
    assert_eq!(Barrier::new(PARTIES_MAX).parties(), Ok(PARTIES_MAX));
}

#[test]
fn the_last_of_the_most_parties_acts() {
    let barrier = Barrier::new(PARTIES_MAX);
    let word = (1..PARTIES_MAX).fold(Word(0), |word, _| word.with_one_more());
    barrier.word.store(word.0, Ordering::Relaxed);
    let (epoch, mut seen) = (Futex::new(0), None);
    let terms = terms(&epoch, Fence::Full, Deadline::NEVER);
    let action = || seen = Some(barrier.view());
    let party = Party { of: PARTIES_MAX, participant: 0 };
    assert_eq!(barrier.wait(party, terms, Some(action), || ()), Ok(PARTIES_MAX - 1));
    assert_eq!(seen, Some(View { waiting: PARTIES_MAX, is_broken: false }));
    assert_eq!(barrier.look(), word.next(Ending::Passed));
}

#[test]
fn more_than_all_parties_are_corrupt() {
    let barrier = Barrier::new(3);
    let three = Word(0).with_one_more().with_one_more().with_one_more();
    barrier.word.store(three.0, Ordering::Relaxed);
    assert_eq!(wait(&barrier, 0, Deadline::NEVER), Err(Failure::Corrupt));
}

#[test]
fn a_time_out_breaks_it_until_it_is_reset() {
    let barrier = Barrier::new(2);
    assert_eq!(wait(&barrier, 0, now()), Err(Failure::TimedOut));
    assert_eq!(wait(&barrier, 0, Deadline::NEVER), Err(Failure::Broken));
    assert_eq!(barrier.view(), View { waiting: 0, is_broken: true });
    barrier.reset();
    assert_eq!(barrier.view(), View { waiting: 0, is_broken: false });
    let fresh = barrier.look();
    barrier.reset();
    assert_eq!(barrier.look(), fresh, "nobody waits, so there is nothing to reset");
    barrier.abort();
    barrier.abort();
    assert_eq!(wait(&barrier, 1, Deadline::NEVER), Err(Failure::Broken));
}

#[test]
fn a_panic_in_the_action_breaks_it() {
    let barrier = Barrier::new(1);
    let epoch = Futex::new(0);
    let terms = terms(&epoch, Fence::Full, Deadline::NEVER);
    let action = Some(|| panic!("as it must"));
    let party = Party { of: 1, participant: 0 };
    let wait = || barrier.wait(party, terms, action, || ());
    assert!(catch_unwind(AssertUnwindSafe(wait)).is_err());
    assert!(barrier.view().is_broken);
}

#[test]
fn a_break_or_a_reset_during_the_action_is_told_to_the_last() {
    for reset in [false, true] {
        let barrier = Barrier::new(1);
        let epoch = Futex::new(0);
        let terms = terms(&epoch, Fence::Full, Deadline::NEVER);
        let action = || if reset { barrier.reset() } else { barrier.abort() };
        let party = Party { of: 1, participant: 0 };
        let waited = barrier.wait(party, terms, Some(action), || ());
        assert_eq!(waited, Err(Failure::Broken));
        assert_eq!(barrier.view(), View { waiting: 0, is_broken: !reset });
    }
}

#[test]
fn who_comes_while_the_last_acts_stays_outside() {
    let barrier = Barrier::new(1);
    let epoch = Futex::new(0);
    let terms = terms(&epoch, Fence::Full, Deadline::NEVER);
    let outside = || assert_eq!(wait(&barrier, 1, now()), Err(Failure::TimedOut));
    let party = Party { of: 1, participant: 0 };
    let waited = barrier.wait(party, terms, Some(outside), || ());
    // It gave up, and so broke it for everybody.
    assert_eq!(waited, Err(Failure::Broken));
    assert_eq!(barrier.marks.of(1).load(Ordering::Relaxed), NOBODY);
}

#[test]
fn who_is_expected_is_swept() {
    let barrier = &Barrier::new(2);
    let pass = |one, other| {
        thread::scope(|scope| {
            scope.spawn(move || assert!(wait(barrier, one, Deadline::NEVER).is_ok()));
            assert!(wait(barrier, other, Deadline::NEVER).is_ok());
        });
    };
    pass(3, 4);
    pass(6, 7);
    for dead in (0..PARTICIPANTS_MAX).filter(|dead| ![6, 7].contains(dead)) {
        barrier.sweep(dead, true);
    }
    barrier.sweep(6, false);
    barrier.sweep(6, true);
    assert!(!barrier.view().is_broken, "it had left before it died");
    barrier.sweep(7, true);
    assert!(barrier.view().is_broken, "it had passed just now");
    barrier.reset();
    // Somebody is on its way.
    barrier.mark(5);
    barrier.sweep(4, true);
    assert!(!barrier.view().is_broken);
    barrier.sweep(5, true);
    assert!(barrier.view().is_broken);
    barrier.reset();
    barrier.sweep(5, true);
    assert!(!barrier.view().is_broken, "it was swept before, and died in an earlier one");
}

#[test]
fn all_that_are_inside_are_named_in_turn() {
    let barrier = Barrier::new(9);
    assert_eq!(barrier.next_inside(3), None);
    for participant in [0, 7, PARTICIPANTS_MAX - 1] {
        barrier.mark(participant);
    }
    assert_eq!(barrier.next_inside(0), Some(7));
    assert_eq!(barrier.next_inside(7), Some(PARTICIPANTS_MAX - 1));
    assert_eq!(barrier.next_inside(PARTICIPANTS_MAX - 1), Some(0));
    assert_eq!(barrier.next_inside(u32::MAX), Some(0));
}

/// Four go through many rounds; in each all see the work of all, and the indexes are all there.
#[test]
fn nobody_is_ahead_of_anybody() {
    const ROUNDS: usize = 4_000;
    let _dog = Watchdog::new("nobody_is_ahead_of_anybody");
    let (barrier, work) = (Barrier::new(4), AtomicUsize::new(0));
    let indexes = AtomicUsize::new(0);
    thread::scope(|scope| {
        for participant in 0..4 {
            let (barrier, work, indexes) = (&barrier, &work, &indexes);
            scope.spawn(move || {
                for round in 1..=ROUNDS {
                    if round.is_multiple_of(16) {
                        dawdle(participant + round as u32);
                    }
                    work.fetch_add(1, Ordering::Relaxed);
                    let index = wait(barrier, participant, Deadline::NEVER).unwrap();
                    assert_eq!(work.load(Ordering::Relaxed), 4 * round);
                    indexes.fetch_add(1 << (8 * index), Ordering::Relaxed);
                    let _ = wait(barrier, participant, Deadline::NEVER).unwrap();
                    if index == 0 {
                        assert_eq!(indexes.swap(0, Ordering::Relaxed), 0x0101_0101);
                    }
                    let _ = wait(barrier, participant, Deadline::NEVER).unwrap();
                }
            });
        }
    });
}
