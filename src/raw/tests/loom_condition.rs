//! Models of the condition: each signal reaches one thread that lives, and only as many as given.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::AtomicUsize as LoomUsize;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::{expect_caught, model, race};
use crate::raw::condition::{Condition, Enlisted, Full, Signal, WAITERS_MAX};
use crate::raw::wait::{Fence, Terms};
use crate::shim::{AtomicU32, Futex, Ordering, dies_at, kill_point};
use crate::sys::clock::Deadline;

const BOUND: usize = 3;
const SHALLOW: usize = 2;

/// Items that threads wait for, under a lock.
struct Room {
    condition: Condition,
    lock: Lock,
    items: AtomicU32,
    epoch: Futex,
    race: LoomUsize,
}

/// A lock that knows its owner. Its only waiters are threads of a model, so it needs no futex.
struct Lock {
    owner: Mutex<Option<u32>>,
    is_free: Condvar,
}

impl Lock {
    fn lock(&self, me: u32) {
        let mut owner = self.owner.lock().unwrap();
        while owner.is_some() {
            owner = self.is_free.wait(owner).unwrap();
        }
        *owner = Some(me);
    }

    /// Frees the lock if this one has it: also what a janitor does.
    fn unlock(&self, me: u32) {
        let mut owner = self.owner.lock().unwrap();
        if *owner == Some(me) {
            *owner = None;
            self.is_free.notify_all();
        }
    }
}

impl Room {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            condition: Condition::new(),
            lock: Lock { owner: Mutex::new(None), is_free: Condvar::new() },
            items: AtomicU32::new(0),
            epoch: Futex::new(0),
            race: LoomUsize::new(0),
        })
    }

    fn enlist(&self, me: u32) -> Enlisted {
        self.condition.enlist(me).unwrap()
    }

    fn sleep(&self, enlisted: Enlisted, deadline: Deadline) -> Option<Signal> {
        race(&self.race);
        let terms = Terms { epoch: &self.epoch, how: Fence::Full, deadline };
        self.condition.wait(enlisted, terms, || ()).unwrap()
    }

    /// Waits for a signal, and accepts it.
    fn wake(&self, enlisted: Enlisted) {
        let signal = self.sleep(enlisted, Deadline::NEVER).unwrap();
        self.condition.accept(signal).unwrap();
    }

    /// Waits until there is an item, and takes it.
    fn take(&self, me: u32) {
        self.lock.lock(me);
        while self.items.load(Ordering::Relaxed) == 0 {
            let enlisted = self.enlist(me);
            self.lock.unlock(me);
            let signal = self.sleep(enlisted, Deadline::NEVER).unwrap();
            self.lock.lock(me);
            kill_point("model-locked");
            self.condition.accept(signal).unwrap();
        }
        self.items.fetch_sub(1, Ordering::Relaxed);
        self.lock.unlock(me);
    }

    fn add(&self, me: u32) {
        self.lock.lock(me);
        self.items.fetch_add(1, Ordering::Relaxed);
        self.lock.unlock(me);
    }

    fn give(&self, me: u32) {
        self.add(me);
        race(&self.race);
        self.condition.notify(1);
    }

    /// Demands that no slot is occupied.
    #[track_caller]
    fn assert_all_left(&self) {
        assert_eq!(self.condition.waiting(), 0);
        let all: Vec<_> = (0..WAITERS_MAX).map(|_| self.enlist(0)).collect();
        assert_eq!(all.len(), WAITERS_MAX);
        assert_eq!(self.condition.enlist(0).unwrap_err(), Full);
    }
}

fn spawn(room: &Arc<Room>, body: impl FnOnce(&Room) + Send + 'static) -> thread::JoinHandle<()> {
    let room = Arc::clone(room);
    thread::spawn(move || body(&room))
}

fn join<const N: usize>(threads: [thread::JoinHandle<()>; N]) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_signal_reaches_the_waiter() {
    model("condition, 1 waits, 1 notifies", BOUND, || {
        let room = Room::new();
        let waiter = spawn(&room, |room| room.take(1));
        room.give(3);
        join([waiter]);
        room.assert_all_left();
    });
}

#[test]
fn two_signals_reach_two_waiters() {
    model("condition, 2 wait, 2 signals", SHALLOW, || {
        let room = Room::new();
        let waiters = [1, 2].map(|me| spawn(&room, move |room| room.take(me)));
        room.give(3);
        room.give(3);
        join(waiters);
        room.assert_all_left();
    });
}

#[test]
fn one_that_notifies_all_reaches_two_waiters() {
    model("condition, 2 wait, all are notified", SHALLOW, || {
        let room = Room::new();
        let waiters = [1, 2].map(|me| spawn(&room, move |room| room.take(me)));
        room.add(3);
        room.add(3);
        race(&room.race);
        assert!(room.condition.notify(usize::MAX) <= 2);
        join(waiters);
        room.assert_all_left();
    });
}

/// Who came first has the lower slot in one round, and the higher one in the other.
#[test]
fn as_many_are_signalled_as_are_to_be_and_who_came_first_is_first() {
    model("condition, 2 wait, 1 signal", BOUND, || {
        let room = Room::new();
        let (gone, first) = (room.enlist(0), room.enlist(1));
        let over = Deadline::after(Duration::ZERO);
        assert!(room.sleep(gone, over).is_none());
        let second = room.enlist(2);
        let first = spawn(&room, move |room| room.wake(first));
        race(&room.race);
        assert_eq!(room.condition.notify(1), 1);
        first.join().unwrap();
        assert_eq!(room.condition.waiting(), 1);
        let second = spawn(&room, move |room| room.wake(second));
        race(&room.race);
        assert_eq!(room.condition.notify(2), 1);
        assert_eq!(room.condition.notify(2), 0);
        join([second]);
        room.assert_all_left();
    });
}

#[test]
fn two_notifiers_do_not_signal_the_same_thread() {
    model("condition, 2 wait, 2 notify", SHALLOW, || {
        let room = Room::new();
        let waiters = [1, 2].map(|me| {
            let enlisted = room.enlist(me);
            spawn(&room, move |room| room.wake(enlisted))
        });
        let notifier = spawn(&room, |room| {
            race(&room.race);
            assert_eq!(room.condition.notify(1), 1);
        });
        race(&room.race);
        assert_eq!(room.condition.notify(1), 1);
        join(waiters);
        join([notifier]);
        room.assert_all_left();
    });
}

/// A signal is given to one that gives up, or to the one that stays, and never to both or none.
#[test]
fn a_signal_is_not_lost_to_one_that_gives_up() {
    model("condition, 1 gives up, 1 waits", BOUND, || {
        let room = Room::new();
        let (hasty, patient) = (room.enlist(1), room.enlist(2));
        let notifier = spawn(&room, |room| {
            race(&room.race);
            assert_eq!(room.condition.notify(1), 1);
        });
        let signal = room.sleep(hasty, Deadline::after(Duration::ZERO));
        notifier.join().unwrap();
        if let Some(signal) = signal {
            room.condition.accept(signal).unwrap();
            assert_eq!(room.condition.waiting(), 1);
            assert_eq!(room.condition.notify(1), 1);
        }
        assert_eq!(room.condition.waiting(), 0);
        room.wake(patient);
        room.assert_all_left();
    });
}

/// Without any lock: what was done before a signal is seen by whom it wakes, or was handed on to.
#[test]
fn what_was_done_before_a_signal_is_seen_behind_it() {
    model("condition, a signal publishes", BOUND, || {
        let room = Room::new();
        let enlisted = room.enlist(1);
        let notifier = spawn(&room, |room| {
            room.items.store(1, Ordering::Relaxed);
            room.condition.notify(1);
        });
        let signal = room.sleep(enlisted, Deadline::after(Duration::ZERO));
        if let Some(signal) = signal {
            assert_eq!(room.items.load(Ordering::Relaxed), 1);
            room.condition.accept(signal).unwrap();
        }
        join([notifier]);
        room.assert_all_left();
    });
}

#[test]
fn what_was_done_before_a_signal_is_seen_when_it_is_handed_on() {
    model("condition, a signal publishes, by way of the dead", BOUND, || {
        let room = Room::new();
        let (dead, enlisted) = (room.enlist(1), room.enlist(2));
        let notifier = spawn(&room, |room| {
            room.items.store(1, Ordering::Relaxed);
            room.condition.notify(1);
        });
        let janitor = spawn(&room, |room| {
            race(&room.race);
            room.condition.sweep(1);
        });
        let signal = room.sleep(enlisted, Deadline::after(Duration::ZERO));
        if let Some(signal) = signal {
            assert_eq!(room.items.load(Ordering::Relaxed), 1);
            room.condition.accept(signal).unwrap();
        }
        join([notifier, janitor]);
        drop(dead);
        room.assert_all_left();
    });
}

/// One item, and two that wait for it and pass it on, of whom one dies.
#[test]
fn a_waiter_that_dies_leaves_its_signal_to_another() {
    for point in [
        "condition-marked",
        "condition-enlisted",
        "wait-announced",
        "wait-retracted",
        "condition-woken",
        "model-locked",
    ] {
        model(&format!("condition, a waiter dies at {point}"), BOUND, move || {
            let room = Room::new();
            let mortal = spawn(&room, move |room| {
                if dies_at(point, || room.take(1)).is_some() {
                    room.give(1);
                } else {
                    room.lock.unlock(1);
                    room.condition.sweep(1);
                }
            });
            let waiter = spawn(&room, |room| {
                room.take(2);
                room.give(2);
            });
            room.give(3);
            join([mortal, waiter]);
            room.assert_all_left();
        });
    }
}

#[test]
fn a_notifier_that_dies_has_woken_whom_it_signalled() {
    for point in ["condition-signalled"] {
        model(&format!("condition, a notifier dies at {point}"), BOUND, move || {
            let room = Room::new();
            let enlisted = room.enlist(1);
            let waiter = spawn(&room, |room| room.wake(enlisted));
            race(&room.race);
            assert_eq!(dies_at(point, || room.condition.notify(1)), None);
            room.condition.sweep(3);
            join([waiter]);
            room.assert_all_left();
        });
    }
}

/// The dead had threads with a signal and threads without one; the janitor dies as well.
#[test]
fn a_janitor_that_dies_is_repeated() {
    for point in ["condition-struck", "condition-signalled", "condition-handed-on"] {
        model(&format!("condition, a janitor dies at {point}"), BOUND, move || {
            let room = Room::new();
            let dead = [room.enlist(1), room.enlist(1)];
            let enlisted = room.enlist(2);
            assert_eq!(room.condition.notify(1), 1);
            let waiter = spawn(&room, |room| room.wake(enlisted));
            let janitor = spawn(&room, move |room| {
                dies_at(point, || room.condition.sweep(1));
                room.condition.sweep(1);
                // The dead janitor was participant 3.
                room.condition.sweep(3);
            });
            join([waiter, janitor]);
            drop(dead);
            room.assert_all_left();
        });
    }
}

/// The slot of the dead that is signalled lies beyond one that is not.
#[test]
fn a_signal_of_the_dead_is_not_handed_on_to_the_dead() {
    model("condition, the dead waited twice", BOUND, || {
        let room = Room::new();
        let gone = room.enlist(0);
        let signalled = room.enlist(1);
        assert!(room.sleep(gone, Deadline::after(Duration::ZERO)).is_none());
        let waiting = room.enlist(1);
        let living = room.enlist(2);
        assert_eq!(room.condition.notify(1), 1);
        let janitor = spawn(&room, |room| {
            race(&room.race);
            room.condition.sweep(1);
        });
        room.wake(living);
        join([janitor]);
        drop((signalled, waiting));
        room.assert_all_left();
    });
}

#[test]
fn mutants_are_caught() {
    const HERE: &str = "raw::tests::loom_condition";
    let caught = [
        ("condition-mark-first", "a_waiter_that_dies_leaves_its_signal_to_another"),
        ("condition-in-turn", "as_many_are_signalled_as_are_to_be_and_who_came_first_is_first"),
        ("condition-wake", "a_signal_reaches_the_waiter"),
        ("condition-wake-again", "a_notifier_that_dies_has_woken_whom_it_signalled"),
        ("condition-strike", "a_signal_of_the_dead_is_not_handed_on_to_the_dead"),
        ("condition-hand-on", "a_janitor_that_dies_is_repeated"),
        ("signalled/Release", "what_was_done_before_a_signal_is_seen_behind_it"),
        ("signalled/Acquire", "what_was_done_before_a_signal_is_seen_behind_it"),
        ("signalled/Acquire", "what_was_done_before_a_signal_is_seen_when_it_is_handed_on"),
    ];
    let caught = caught.map(|(mutant, test)| (mutant, format!("{HERE}::{test}")));
    expect_caught(&caught.each_ref().map(|(mutant, test)| (*mutant, test.as_str())));
}
