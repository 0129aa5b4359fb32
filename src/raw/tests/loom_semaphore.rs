//! Models of the semaphore: permits are conserved and found, whoever dies, and whoever is late.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicUsize as LoomUsize;
use loom::thread::{self, JoinHandle};

use super::{expect_caught, model, race};
use crate::raw::semaphore::{Manner, Semaphore};
use crate::raw::wait::{Fence, Terms, Waited};
use crate::shim::{Futex, dies_at};
use crate::sys::clock::Deadline;

const BOUND: usize = 3;

/// A sequence whose next one is that of a book in which nothing was ever written.
const LAST: u64 = u64::MAX;

/// Where a participant can die, behind each of its changes to shared memory: acquiring, ...
const ACQUIRING: [&str; 4] =
    ["semaphore-booked", "semaphore-decided", "wait-announced", "wait-retracted"];

/// ... and releasing.
const RELEASING: [&str; 4] = ["semaphore-booked", "semaphore-decided", "bell-rung", "bell-quiet"];

/// A semaphore, and what its permits give access to.
struct Room {
    semaphore: Semaphore,
    permits: u32,
    manner: Manner,
    inside: UnsafeCell<u32>,
    epoch: Futex,
    race: LoomUsize,
}

impl Room {
    fn new(permits: u32, sequence: u64) -> Arc<Self> {
        Self::of(Manner::Bounded, permits, sequence)
    }

    fn of(manner: Manner, permits: u32, sequence: u64) -> Arc<Self> {
        let semaphore = Semaphore::new(permits, sequence);
        let (epoch, race) = (Futex::new(0), LoomUsize::new(0));
        Arc::new(Self { semaphore, permits, manner, inside: UnsafeCell::new(0), epoch, race })
    }

    fn try_acquire(&self, me: u32) -> bool {
        race(&self.race);
        self.semaphore.try_acquire(me, self.manner)
    }

    fn wait(&self, me: u32, deadline: Deadline) -> Waited {
        race(&self.race);
        let terms = || Terms { epoch: &self.epoch, how: Fence::Full, deadline };
        self.semaphore.acquire(me, self.manner, terms, || ())
    }

    fn acquire(&self, me: u32) {
        assert_eq!(self.wait(me, Deadline::NEVER), Waited::Ready);
    }

    fn release(&self, me: u32) {
        race(&self.race);
        self.semaphore.release(me, self.manner).unwrap();
    }

    fn sweep(&self, id: u32) {
        race(&self.race);
        self.semaphore.sweep(id, true);
    }

    /// Is where only one may be.
    fn enter(&self) {
        self.inside.with_mut(|inside| {
            // SAFETY: loom checks that nobody else is inside.
            unsafe { *inside += 1 }
        });
    }

    /// Nobody has a permit, and all of them are there.
    fn is_whole(&self) {
        assert_eq!(self.semaphore.holders().collect::<Vec<_>>(), []);
        assert_eq!(self.semaphore.available(), self.permits);
    }

    fn spawn(self: &Arc<Self>, body: impl FnOnce(&Self) + Send + 'static) -> JoinHandle<()> {
        let there = Arc::clone(self);
        thread::spawn(move || body(&there))
    }
}

/// One after the other is where one permit leads to; what the first did there, the second sees.
#[test]
fn a_permit_lets_one_in() {
    for manner in [Manner::Bounded, Manner::Unowned] {
        model(&format!("semaphore, 1 permit, 2 want it, {manner:?}"), BOUND, move || {
            let room = Room::of(manner, 1, 0);
            let visit = |me| {
                move |room: &Room| {
                    room.acquire(me);
                    room.enter();
                    room.release(me);
                }
            };
            let other = room.spawn(visit(1));
            visit(0)(&room);
            other.join().unwrap();
            room.is_whole();
        });
    }
}

#[test]
fn a_release_reaches_the_waiter() {
    model("semaphore, 1 waits, 1 releases", BOUND, || {
        let room = Room::new(1, 0);
        assert!(room.try_acquire(0));
        let waiter = room.spawn(|room| {
            room.acquire(1);
            room.release(1);
        });
        room.release(0);
        waiter.join().unwrap();
        room.is_whole();
    });
}

#[test]
fn two_releases_reach_two_waiters() {
    model("semaphore, 2 wait, 1 releases twice", 2, || {
        let room = Room::new(2, 0);
        assert!(room.try_acquire(0) && room.try_acquire(0));
        let waiters = [1, 2].map(|me| room.spawn(move |room| room.acquire(me)));
        room.release(0);
        room.release(0);
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(room.semaphore.holders().collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    });
}

/// Each books for the other, late or not, and nothing twice.
#[test]
fn who_books_for_another_is_late() {
    for sequence in [0, LAST] {
        model(&format!("semaphore, 2 book, from {sequence:#x}"), BOUND, move || {
            let room = Room::new(2, sequence);
            let other = room.spawn(|room| {
                assert!(room.try_acquire(1));
                room.release(1);
            });
            for _ in 0..2 {
                assert!(room.try_acquire(0));
                room.release(0);
            }
            other.join().unwrap();
            room.is_whole();
        });
    }
}

/// Three at once: the one that books is neither the actor nor the next one to act.
#[test]
fn a_third_one_books() {
    model("semaphore, 3 book", 2, || {
        let room = Room::new(2, 0);
        let others = [1, 2].map(|me| {
            room.spawn(move |room| {
                if room.try_acquire(me) {
                    room.release(me);
                }
            })
        });
        if room.try_acquire(0) {
            room.release(0);
        }
        for other in others {
            other.join().unwrap();
        }
        room.is_whole();
    });
}

/// Two threads of one participant have one book.
#[test]
fn two_threads_share_a_book() {
    model("semaphore, 2 threads of 1 participant", BOUND, || {
        let room = Room::new(2, 0);
        let visit = |room: &Room| {
            assert!(room.try_acquire(0));
            room.release(0);
        };
        let other = room.spawn(visit);
        visit(&room);
        other.join().unwrap();
        room.is_whole();
    });
}

/// Only what is taken back needs no booking; and who books it late does no harm.
#[test]
fn who_takes_two_is_booked() {
    model("semaphore, one takes two", BOUND, || {
        let room = Room::new(3, 0);
        let other = room.spawn(|room| {
            assert!(room.try_acquire(1));
            room.release(1);
        });
        assert!(room.try_acquire(0) && room.try_acquire(0));
        room.release(0);
        room.release(0);
        other.join().unwrap();
        room.is_whole();
    });
}

/// The last turn of the sequences is told from this one.
#[test]
fn a_sequence_comes_again() {
    model("semaphore, a sequence comes again", BOUND, || {
        let room = Room::new(1, LAST);
        let other = room.spawn(|room| {
            let _ = dies_at("semaphore-decided", || room.try_acquire(1));
            room.sweep(1);
        });
        room.acquire(0);
        room.release(0);
        other.join().unwrap();
        room.is_whole();
    });
}

/// Whoever dies on the way to a permit leaves it to the one who waits.
#[test]
fn who_dies_acquiring_has_nothing_afterwards() {
    for point in ACQUIRING {
        model(&format!("semaphore, dies acquiring, at {point}"), BOUND, move || {
            let room = Room::new(1, 0);
            let other = room.spawn(move |room| {
                let _ = dies_at(point, || room.wait(1, Deadline::after(Duration::ZERO)));
                room.sweep(1);
            });
            room.acquire(0);
            room.release(0);
            other.join().unwrap();
            room.is_whole();
        });
    }
}

/// Whoever dies giving a permit back has given it back, or the janitor does.
#[test]
fn who_dies_releasing_has_nothing_afterwards() {
    for point in RELEASING {
        model(&format!("semaphore, dies releasing, at {point}"), BOUND, move || {
            let room = Room::new(2, 0);
            assert!(room.try_acquire(1) && room.try_acquire(1));
            // Leaves a mark, so that the bell is rung in vain if nobody has come by then.
            assert_eq!(room.wait(0, Deadline::after(Duration::ZERO)), Waited::TimedOut);
            let other = room.spawn(move |room| {
                let _ = dies_at(point, || room.release(1));
                room.sweep(1);
            });
            // One that is there, perhaps, and one that the janitor gives back.
            room.acquire(0);
            room.acquire(0);
            room.release(0);
            room.release(0);
            other.join().unwrap();
            room.is_whole();
        });
    }
}

/// Whoever leaves alive is swept as well, by itself, and gives back what it forgot.
#[test]
fn who_leaves_has_nothing_afterwards() {
    model("semaphore, leaves", BOUND, || {
        let room = Room::new(2, 0);
        assert!(room.try_acquire(1) && room.try_acquire(1));
        let other = room.spawn(|room| room.semaphore.sweep(1, false));
        room.acquire(0);
        room.release(0);
        other.join().unwrap();
        room.is_whole();
    });
}

/// Whoever is woken for a permit and dies leaves it to another who waits.
#[test]
fn who_dies_of_a_wake_does_not_keep_it() {
    for point in ["wait-retracted", "semaphore-decided"] {
        model(&format!("semaphore, a waiter dies at {point}"), 2, move || {
            let room = Room::new(1, 0);
            assert!(room.try_acquire(0));
            let doomed = room.spawn(move |room| {
                let _ = dies_at(point, || room.wait(1, Deadline::NEVER));
                room.sweep(1);
            });
            let waiter = room.spawn(|room| {
                room.acquire(2);
                room.release(2);
            });
            room.release(0);
            doomed.join().unwrap();
            waiter.join().unwrap();
            room.is_whole();
        });
    }
}

/// A janitor dies, too; the next one begins anew, while somebody waits.
#[test]
fn a_janitor_dies() {
    for point in ["semaphore-booked", "semaphore-decided"] {
        model(&format!("semaphore, a janitor dies at {point}"), BOUND, move || {
            let room = Room::new(2, 0);
            assert!(room.try_acquire(1) && room.try_acquire(1));
            let janitors = room.spawn(move |room| {
                let _ = dies_at(point, || room.sweep(1));
                room.sweep(1);
            });
            room.acquire(0);
            room.release(0);
            janitors.join().unwrap();
            room.is_whole();
        });
    }
}

/// What the dead had is given back once, also while others book it.
#[test]
fn the_dead_give_back_once() {
    model("semaphore, swept beside a visitor", BOUND, || {
        let room = Room::new(3, LAST - 1);
        assert!(room.try_acquire(1) && room.try_acquire(1));
        let janitor = room.spawn(|room| {
            room.sweep(1);
            room.sweep(1);
        });
        assert!(room.try_acquire(0));
        room.release(0);
        janitor.join().unwrap();
        room.is_whole();
    });
}

#[test]
fn mutants_are_caught() {
    const HERE: &str = "raw::tests::loom_semaphore";
    let caught = [
        ("decided/Acquire", "a_permit_lets_one_in"),
        ("decided/Release", "a_permit_lets_one_in"),
        ("booked/Acquire", "who_takes_two_is_booked"),
        ("booked/Release", "a_third_one_books"),
        ("semaphore-book", "who_dies_acquiring_has_nothing_afterwards"),
        ("semaphore-still", "who_takes_two_is_booked"),
        ("semaphore-odd", "who_books_for_another_is_late"),
        ("semaphore-not-back", "who_takes_two_is_booked"),
        ("semaphore-ring", "a_release_reaches_the_waiter"),
        ("semaphore-sweep-wake", "who_dies_releasing_has_nothing_afterwards"),
        ("semaphore-sweep-wake", "who_leaves_has_nothing_afterwards"),
    ];
    let caught = caught.map(|(mutant, test)| (mutant, format!("{HERE}::{test}")));
    expect_caught(&caught.each_ref().map(|(mutant, test)| (*mutant, test.as_str())));
}
