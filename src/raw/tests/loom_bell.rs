//! Models of the bell: no ring is lost, whoever dies, and whoever slips in.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::AtomicUsize as LoomUsize;
use loom::thread;

use super::{expect_caught, model, race};
use crate::raw::bell::Bell;
use crate::raw::wait::{Fence, Terms, Waited};
use crate::shim::{AtomicU32, Futex, Ordering, dies_at};
use crate::sys::clock::Deadline;

const BOUND: usize = 3;

/// Permits that threads wait for.
struct Hall {
    bell: Bell,
    permits: AtomicU32,
    epoch: Futex,
    race: LoomUsize,
}

impl Hall {
    fn new() -> Arc<Self> {
        let (bell, permits) = (Bell::new(), AtomicU32::new(0));
        Arc::new(Self { bell, permits, epoch: Futex::new(0), race: LoomUsize::new(0) })
    }

    fn give(&self) {
        self.permits.fetch_add(1, Ordering::Release);
        race(&self.race);
        self.bell.ring_one();
    }

    /// A load before the RMW, as only a load may miss what was published. Whoever is refused though
    /// there is a permit must look again: a ring was spent on each.
    fn take(&self) -> bool {
        race(&self.race);
        let one = |seen: u32| seen.checked_sub(1);
        self.permits.fetch_update(Ordering::Acquire, Ordering::Relaxed, one).is_ok()
    }

    fn wait(&self, deadline: Deadline) -> Waited {
        let terms = Terms { epoch: &self.epoch, how: Fence::Full, deadline };
        self.bell.wait(terms, || self.take(), || ())
    }
}

#[test]
fn a_ring_reaches_the_waiter() {
    model("bell, 1 waits, 1 rings", BOUND, || {
        let hall = Hall::new();
        let there = Arc::clone(&hall);
        let waiter = thread::spawn(move || assert_eq!(there.wait(Deadline::NEVER), Waited::Ready));
        hall.give();
        waiter.join().unwrap();
    });
}

#[test]
fn two_rings_reach_two_waiters() {
    model("bell, 2 wait, 2 rings", 2, || {
        let hall = Hall::new();
        let waiters = [0, 1].map(|_| {
            let there = Arc::clone(&hall);
            thread::spawn(move || assert_eq!(there.wait(Deadline::NEVER), Waited::Ready))
        });
        hall.give();
        hall.give();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

/// The mark of a waiter that has gone sends a ring to nobody, while another one comes.
#[test]
fn who_comes_when_nobody_is_found_is_not_forgotten() {
    model("bell, 1 gave up, 1 comes", BOUND, || {
        let hall = Hall::new();
        assert_eq!(hall.wait(Deadline::after(Duration::ZERO)), Waited::TimedOut);
        let there = Arc::clone(&hall);
        let ringer = thread::spawn(move || {
            // Somebody else takes this one, perhaps, and then the bell is rung for nothing.
            there.give();
            there.give();
        });
        assert_eq!(hall.wait(Deadline::NEVER), Waited::Ready);
        assert_eq!(hall.wait(Deadline::NEVER), Waited::Ready);
        ringer.join().unwrap();
    });
}

#[test]
fn a_ring_in_vain_forgets_nobody() {
    model("bell, a ring in vain", BOUND, || {
        let hall = Hall::new();
        assert_eq!(hall.wait(Deadline::after(Duration::ZERO)), Waited::TimedOut);
        let there = Arc::clone(&hall);
        let ringer = thread::spawn(move || {
            // There is nothing to take, and nobody to take it.
            there.bell.ring_one();
            there.give();
        });
        assert_eq!(hall.wait(Deadline::NEVER), Waited::Ready);
        ringer.join().unwrap();
    });
}

#[test]
fn all_are_woken_by_one_that_rings_for_all() {
    model("bell, 2 wait for a flag", 2, || {
        let hall = Hall::new();
        let waiters = [0, 1].map(|_| {
            let there = Arc::clone(&hall);
            thread::spawn(move || {
                let terms =
                    Terms { epoch: &there.epoch, how: Fence::Full, deadline: Deadline::NEVER };
                let raised = || {
                    race(&there.race);
                    there.permits.load(Ordering::Relaxed) == 1
                };
                assert_eq!(there.bell.wait(terms, raised, || ()), Waited::Ready);
            })
        });
        hall.permits.fetch_or(1, Ordering::Relaxed);
        race(&hall.race);
        hall.bell.ring_all();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

/// Whoever dies on the way to a ring, the janitor's alarm is enough.
#[test]
fn a_ring_that_dies_is_made_good() {
    for point in ["bell-rung", "bell-quiet"] {
        model(&format!("bell, dies at {point}"), BOUND, move || {
            let hall = Hall::new();
            assert_eq!(hall.wait(Deadline::after(Duration::ZERO)), Waited::TimedOut);
            let there = Arc::clone(&hall);
            let ringer = thread::spawn(move || {
                dies_at(point, || there.give());
                there.bell.alarm();
            });
            assert_eq!(hall.wait(Deadline::NEVER), Waited::Ready);
            ringer.join().unwrap();
        });
    }
}

/// Who dies before it rings has changed what is waited for all the same.
#[test]
fn a_ring_that_never_came_is_made_good() {
    model("bell, dies before it rings", BOUND, || {
        let hall = Hall::new();
        let there = Arc::clone(&hall);
        let ringer = thread::spawn(move || {
            there.permits.fetch_add(1, Ordering::Release);
            race(&there.race);
            there.bell.alarm();
        });
        assert_eq!(hall.wait(Deadline::NEVER), Waited::Ready);
        ringer.join().unwrap();
    });
}

#[test]
fn mutants_are_caught() {
    const HERE: &str = "raw::tests::loom_bell";
    let caught = [
        ("bell/fence", "a_ring_reaches_the_waiter"),
        ("bell-slipped-in", "a_ring_in_vain_forgets_nobody"),
        ("bell-rescued/fence", "a_ring_that_never_came_is_made_good"),
        ("bell-alarm", "a_ring_that_dies_is_made_good"),
    ];
    let caught = caught.map(|(mutant, test)| (mutant, format!("{HERE}::{test}")));
    expect_caught(&caught.each_ref().map(|(mutant, test)| (*mutant, test.as_str())));
}
