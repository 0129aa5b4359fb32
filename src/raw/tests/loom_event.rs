//! Models of the event: no set is missed, cleared or not, and whoever dies.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicUsize as LoomUsize;
use loom::thread;

use super::{expect_caught, model, race};
use crate::raw::event::{Event, Moment};
use crate::raw::wait::{Fence, Terms, Waited};
use crate::shim::{AtomicU32, Futex, Ordering, dies_at};
use crate::sys::clock::Deadline;

const BOUND: usize = 3;

/// An event, and what the one who sets it has done before.
struct Stage {
    event: Event,
    epoch: Futex,
    work: UnsafeCell<u32>,
    item: AtomicU32,
    race: LoomUsize,
}

// SAFETY: loom checks that nobody is at the work while somebody writes it; that is modelled.
unsafe impl Sync for Stage {}
// SAFETY: nothing in here belongs to a thread.
unsafe impl Send for Stage {}

impl Stage {
    fn new() -> Arc<Self> {
        let (work, race) = (UnsafeCell::new(0), LoomUsize::new(0));
        let (event, epoch, item) = (Event::new(), Futex::new(0), AtomicU32::new(0));
        Arc::new(Self { event, epoch, work, item, race })
    }

    fn set(&self) -> bool {
        race(&self.race);
        self.event.set()
    }

    fn clear(&self) {
        race(&self.race);
        self.event.clear();
    }

    fn wait_since(&self, began: Moment, deadline: Deadline) -> Waited {
        race(&self.race);
        let terms = Terms { epoch: &self.epoch, how: Fence::Full, deadline };
        self.event.wait(began, terms, || ())
    }

    fn wait(&self) {
        assert_eq!(self.wait_since(self.event.now(), Deadline::NEVER), Waited::Ready);
    }

    fn write(&self) {
        // SAFETY: loom checks it, see above.
        self.work.with_mut(|work| unsafe { *work += 1 });
    }

    fn read(&self) -> u32 {
        // SAFETY: loom checks it, see above.
        self.work.with(|work| unsafe { *work })
    }
}

#[test]
fn a_set_ends_the_wait_and_shows_the_work() {
    model("event, 1 waits, 1 sets", BOUND, || {
        let stage = Stage::new();
        let there = Arc::clone(&stage);
        let waiter = thread::spawn(move || {
            there.wait();
            assert_eq!(there.read(), 1);
        });
        stage.write();
        assert!(stage.set());
        waiter.join().unwrap();
    });
}

#[test]
fn one_set_ends_two_waits() {
    model("event, 2 wait, 1 sets", 2, || {
        let stage = Stage::new();
        let waiters = [0, 1].map(|_| {
            let there = Arc::clone(&stage);
            thread::spawn(move || there.wait())
        });
        assert!(stage.set());
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

/// CPython's events lose this one.
#[test]
fn a_set_that_is_cleared_at_once_ends_waits_from_before() {
    model("event, set and cleared", BOUND, || {
        let stage = Stage::new();
        let there = Arc::clone(&stage);
        let began = stage.event.now();
        let waiter = thread::spawn(move || {
            assert_eq!(there.wait_since(began, Deadline::NEVER), Waited::Ready);
            assert_eq!(there.read(), 1);
        });
        stage.write();
        assert!(stage.set());
        stage.clear();
        waiter.join().unwrap();
    });
}

/// Whoever clears the flag and then looks misses nothing, though the set was no news.
#[test]
fn who_clears_finds_the_work_of_every_set() {
    model("event, work before a clear", BOUND, || {
        let stage = Stage::new();
        assert!(stage.set());
        let there = Arc::clone(&stage);
        let setter = thread::spawn(move || {
            there.item.store(1, Ordering::Relaxed);
            there.set()
        });
        stage.clear();
        let saw = stage.item.load(Ordering::Relaxed) == 1;
        let is_news = setter.join().unwrap();
        // Who has seen nothing is told by a flag that is set again.
        assert!(saw || is_news);
        assert_eq!(stage.event.is_set(), is_news);
    });
}

/// Whoever finds the flag cleared finds what was done before.
#[test]
fn a_clear_shows_the_work() {
    model("event, 1 clears, 1 sets again", BOUND, || {
        let stage = Stage::new();
        assert!(stage.set());
        let there = Arc::clone(&stage);
        let clearer = thread::spawn(move || {
            there.write();
            there.clear();
        });
        if stage.set() {
            assert_eq!(stage.read(), 1);
        }
        clearer.join().unwrap();
    });
}

/// Whoever gave up leaves a mark, which wakes nobody and keeps nobody asleep.
#[test]
fn who_gave_up_is_not_in_the_way() {
    model("event, 1 gave up, 1 waits", BOUND, || {
        let stage = Stage::new();
        let now = Deadline::after(Duration::ZERO);
        assert_eq!(stage.wait_since(stage.event.now(), now), Waited::TimedOut);
        let there = Arc::clone(&stage);
        let setter = thread::spawn(move || {
            there.set();
            there.clear();
            there.set();
        });
        stage.wait();
        setter.join().unwrap();
        stage.wait();
    });
}

/// The alarm is enough for sleepers whose setter died before it woke them.
#[test]
fn a_set_that_dies_is_made_good() {
    model("event, setter dies", BOUND, || {
        let stage = Stage::new();
        let there = Arc::clone(&stage);
        let setter = thread::spawn(move || {
            assert!(dies_at("event-set", || there.set()).is_none());
            there.event.alarm();
        });
        stage.wait();
        setter.join().unwrap();
    });
}

#[test]
fn mutants_are_caught() {
    const HERE: &str = "raw::tests::loom_event";
    let caught = [
        ("event-changed/AcqRel", "a_set_ends_the_wait_and_shows_the_work"),
        ("event-changed/AcqRel", "a_clear_shows_the_work"),
        ("event-changed/AcqRel", "who_clears_finds_the_work_of_every_set"),
        ("event-old-set", "who_clears_finds_the_work_of_every_set"),
        ("event-changed/Acquire", "a_set_ends_the_wait_and_shows_the_work"),
        ("event-generation", "a_set_that_is_cleared_at_once_ends_waits_from_before"),
        ("event-mark", "a_set_ends_the_wait_and_shows_the_work"),
        ("event-wake", "one_set_ends_two_waits"),
        ("event-alarm", "a_set_that_dies_is_made_good"),
    ];
    let caught = caught.map(|(mutant, test)| (mutant, format!("{HERE}::{test}")));
    expect_caught(&caught.each_ref().map(|(mutant, test)| (*mutant, test.as_str())));
}
