//! Models of the mutex: one owner at a time, nobody forgotten, whoever dies.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicUsize as LoomUsize;
use loom::thread;

use super::{expect_caught, model, race};
use crate::raw::mutex::{Leaving, Legacy, Me, Mutex, Owner, Refusal};
use crate::raw::wait::{Fence, Terms};
use crate::shim::{Futex, dies_at};
use crate::sys::clock::Deadline;

const BOUND: usize = 3;
const SHALLOW: usize = 2;
/// The pid of participant `id`, in these models.
const fn pid(id: u32) -> u32 {
    100 + id
}

/// What a lock guards: loom sees two who are in it at once, or out of order.
struct Room {
    mutex: Mutex,
    cell: UnsafeCell<u32>,
    epoch: Futex,
    race: LoomUsize,
}

// SAFETY: the cell is reached under the lock alone; that this suffices is what loom checks.
unsafe impl Sync for Room {}

const fn me(participant: u32) -> Me {
    Me { participant, thread: participant + 1 }
}

impl Room {
    fn new() -> Arc<Self> {
        let (mutex, cell) = (Mutex::new(), UnsafeCell::new(0));
        Arc::new(Self { mutex, cell, epoch: Futex::new(0), race: LoomUsize::new(0) })
    }

    fn lock_until(&self, me: Me, deadline: Deadline) -> Result<Legacy, Refusal> {
        race(&self.race);
        let terms = || Terms { epoch: &self.epoch, how: Fence::Full, deadline };
        self.mutex.lock(me, terms, |_| Owner::Known)
    }

    fn lock(&self, me: Me) -> Legacy {
        self.lock_until(me, Deadline::NEVER).unwrap()
    }

    fn unlock(&self, me: Me) {
        race(&self.race);
        self.mutex.unlock(me.participant, Leaving::Done);
    }

    fn count(&self) {
        // SAFETY: called with the lock, see above.
        self.cell.with_mut(|count| unsafe { *count += 1 });
    }

    fn visit(&self, me: Me) -> Legacy {
        let legacy = self.lock(me);
        self.count();
        self.unlock(me);
        legacy
    }
}

fn spawn(room: &Arc<Room>, body: impl FnOnce(&Room) + Send + 'static) -> thread::JoinHandle<()> {
    let room = Arc::clone(room);
    thread::spawn(move || body(&room))
}

#[test]
fn two_are_never_in_it_at_once() {
    model("mutex, 2 lock", BOUND, || {
        let room = Room::new();
        let other = spawn(&room, |room| {
            room.visit(me(1));
        });
        room.visit(me(0));
        other.join().unwrap();
        room.lock(me(0));
        // SAFETY: with the lock, see `Room`.
        room.cell.with(|count| assert_eq!(unsafe { *count }, 2));
    });
}

#[test]
fn three_get_it_in_turn() {
    model("mutex, 3 lock", SHALLOW, || {
        let room = Room::new();
        let others = [1, 2].map(|id| {
            spawn(&room, move |room| {
                room.visit(me(id));
            })
        });
        room.visit(me(0));
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(!room.mutex.is_awaited() && room.mutex.owner().is_none());
    });
}

#[test]
fn a_lock_is_not_waited_for_by_its_owner() {
    model("mutex, one's own", BOUND, || {
        let room = Room::new();
        let other = spawn(&room, |room| {
            let theirs = Me { participant: 0, thread: 9 };
            assert!(matches!(room.mutex.try_lock(theirs), Ok(_) | Err(Refusal::Held)));
        });
        if let Ok(legacy) = room.mutex.try_lock(me(0)) {
            assert!(legacy.is_none());
            assert_eq!(room.mutex.try_lock(me(0)), Err(Refusal::Own));
            assert_eq!(room.lock_until(me(0), Deadline::NEVER), Err(Refusal::Own));
        }
        other.join().unwrap();
    });
}

/// Threads of two processes may have the same number, and one of them had the lock before.
#[test]
fn a_lock_is_not_taken_for_ones_own() {
    model("mutex, a namesake", BOUND, || {
        let room = Room::new();
        let namesake = |participant| Me { participant, thread: 7 };
        let before = spawn(&room, move |room| {
            if room.mutex.try_lock(namesake(1)).is_ok() {
                room.unlock(namesake(1));
            }
        });
        let other = spawn(&room, |room| {
            race(&room.race);
            let theirs = Me { participant: 0, thread: 8 };
            assert!(matches!(room.mutex.try_lock(theirs), Ok(_) | Err(Refusal::Held)));
        });
        race(&room.race);
        assert!(!room.mutex.is_held_by(namesake(0)));
        before.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn who_has_no_time_disturbs_nobody() {
    model("mutex, 1 has no time", SHALLOW, || {
        let room = Room::new();
        room.lock(me(0));
        let patient = spawn(&room, |room| {
            room.visit(me(1));
        });
        let hasty =
            spawn(&room, |room| match room.lock_until(me(2), Deadline::after(Duration::ZERO)) {
                Ok(_) => room.unlock(me(2)),
                Err(refusal) => assert_eq!(refusal, Refusal::TimedOut),
            });
        room.unlock(me(0));
        patient.join().unwrap();
        hasty.join().unwrap();
    });
}

/// The one wake may be spent on a waiter whose time is up by then, while somebody who came in
/// between has no reason to wake anybody.
#[test]
fn who_gives_up_passes_its_wake_on() {
    model("mutex, 1 gives up", SHALLOW, || {
        let room = Room::new();
        room.lock(me(0));
        let patient = spawn(&room, |room| {
            room.visit(me(1));
        });
        let tired = spawn(&room, |room| {
            race(&room.race);
            room.mutex.sleep_and_give_up(&room.epoch);
        });
        room.unlock(me(0));
        room.visit(me(0));
        patient.join().unwrap();
        // It takes no lock, so it may sleep when nobody comes any more.
        room.mutex.sweep(2, pid(2), true);
        tired.join().unwrap();
    });
}

/// An owner dies before it has begun to use the lock, or when it has done so: who waits gets the
/// lock, and need not hear of it.
#[test]
fn a_dead_owner_leaves_the_lock_to_the_next() {
    for point in ["mutex-taken", "mutex-let-go", "mutex-freed"] {
        model(&format!("mutex, owner dies at {point}"), BOUND, move || {
            let room = Room::new();
            // With a mark, so that the slow way out is walked too.
            let waiter = spawn(&room, move |room| assert!(room.visit(me(1)).is_none()));
            let janitor = spawn(&room, move |room| {
                dies_at(point, || room.visit(me(0)));
                race(&room.race);
                room.mutex.sweep(0, pid(0), true);
            });
            janitor.join().unwrap();
            waiter.join().unwrap();
            assert!(room.mutex.owner().is_none());
        });
    }
}

#[test]
fn a_panic_is_told_though_its_process_dies_on_the_way_out() {
    for point in ["mutex-let-go", "mutex-freed"] {
        model(&format!("mutex, dies at {point} in a panic"), BOUND, move || {
            let room = Room::new();
            room.lock(me(0));
            let waiter = spawn(&room, |room| assert!(!room.visit(me(1)).is_none()));
            let janitor = spawn(&room, move |room| {
                room.count();
                dies_at(point, || room.mutex.unlock(0, Leaving::Panicked));
                race(&room.race);
                room.mutex.sweep(0, pid(0), true);
            });
            janitor.join().unwrap();
            waiter.join().unwrap();
        });
    }
}

#[test]
fn the_next_owner_hears_of_a_death_in_the_lock() {
    model("mutex, death in the lock", BOUND, || {
        let room = Room::new();
        room.lock(me(0));
        room.count();
        let janitor = spawn(&room, |room| room.mutex.sweep(0, pid(0), true));
        let waiter = spawn(&room, |room| {
            assert!(room.visit(me(1)).died());
            assert_eq!(room.mutex.victim(), (0, pid(0)));
        });
        janitor.join().unwrap();
        waiter.join().unwrap();
    });
}

#[test]
fn a_calm_owner_leaves_nothing_to_hear_of() {
    for point in ["mutex-taken", "mutex-let-go", "mutex-freed", "never"] {
        model(&format!("mutex, calm owner dies at {point}"), BOUND, move || {
            let room = Room::new();
            let janitor = spawn(&room, move |room| {
                dies_at(point, || {
                    room.lock(me(0).calmly());
                    if point != "never" {
                        room.unlock(me(0));
                    }
                });
                // The first dies in the middle of it.
                dies_at("mutex-swept", || room.mutex.sweep(0, pid(0), true));
                room.mutex.sweep(0, pid(0), true);
            });
            let waiter = spawn(&room, |room| assert!(room.visit(me(1)).is_none()));
            janitor.join().unwrap();
            waiter.join().unwrap();
            // Who is calm no more is as any owner.
            room.lock(me(2).calmly());
            assert!(room.mutex.is_held_by(me(2)) && room.mutex.is_calm());
            room.mutex.be_busy(me(2).calmly());
            assert!(room.mutex.is_held_by(me(2)) && !room.mutex.is_calm());
            room.mutex.sweep(2, pid(2), true);
            assert!(room.lock(me(1)).died());
        });
    }
}

#[test]
fn a_janitor_that_dies_is_followed_by_another() {
    for point in ["mutex-swept", "mutex-let-go", "mutex-freed"] {
        model(&format!("mutex, janitor dies at {point}"), BOUND, move || {
            let room = Room::new();
            room.lock(me(0));
            let waiter = spawn(&room, |room| assert!(room.visit(me(1)).died()));
            let janitor = spawn(&room, move |room| {
                dies_at(point, || room.mutex.sweep(0, pid(0), true));
                room.mutex.sweep(0, pid(0), true);
            });
            janitor.join().unwrap();
            waiter.join().unwrap();
        });
    }
}

/// A waiter dies asleep, or awake with the wake that was meant for one of two.
#[test]
fn a_dead_waiter_takes_no_wake_along() {
    for point in ["wait-announced", "wait-retracted", "mutex-taken"] {
        model(&format!("mutex, waiter dies at {point}"), SHALLOW, move || {
            let room = Room::new();
            room.lock(me(0));
            let doomed = spawn(&room, move |room| {
                dies_at(point, || room.visit(me(1)));
                room.mutex.sweep(1, pid(1), true);
            });
            let waiter = spawn(&room, |room| {
                room.visit(me(2));
            });
            room.unlock(me(0));
            doomed.join().unwrap();
            waiter.join().unwrap();
        });
    }
}

/// Readers of a kind: they wait until it is free, and all of them go on.
#[test]
fn a_crowd_is_woken_as_one() {
    model("mutex, 2 wait until it is free", SHALLOW, || {
        let room = Room::new();
        room.lock(me(0));
        let waiters = [1, 2].map(|_| {
            spawn(&room, |room| {
                let terms =
                    Terms { epoch: &room.epoch, how: Fence::Full, deadline: Deadline::NEVER };
                let is_free = || {
                    race(&room.race);
                    room.mutex.owner().is_none()
                };
                room.mutex.wait_until_free(terms, is_free, |_| Owner::Known).unwrap();
            })
        });
        room.unlock(me(0));
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn mutants_are_caught() {
    macro_rules! caught {
        ($($mutant:literal by $test:ident,)*) => {
            expect_caught(&[$((
                $mutant,
                concat!("raw::tests::loom_mutex::", stringify!($test)),
            )),*]);
        };
    }
    caught! {
        "mutex/Acquire" by two_are_never_in_it_at_once,
        "mutex/Release" by two_are_never_in_it_at_once,
        "mutex/Release" by the_next_owner_hears_of_a_death_in_the_lock,
        "mutex-wake" by two_are_never_in_it_at_once,
        "mutex-free-sleep" by three_get_it_in_turn,
        "mutex-keep" by three_get_it_in_turn,
        "mutex-pass-on" by who_gives_up_passes_its_wake_on,
        "mutex-poison" by the_next_owner_hears_of_a_death_in_the_lock,
        "mutex-sweep-wake" by a_dead_waiter_takes_no_wake_along,
    }
}
