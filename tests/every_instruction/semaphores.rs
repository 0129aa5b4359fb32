//! Semaphores, events and barriers.

use multiproc::{Barrier, BarrierError, Event, Permit, Process, Semaphore};

use crate::stepping::{Fate, Gate, Operation, Say, alone, begin, end, sibling};

fn take_and_free((semaphore, gate): (Semaphore, Gate)) {
    begin(gate);
    drop(semaphore.acquire().unwrap());
    end();
}

/// Nobody has any of the two permits, and there are no more.
fn has_two(semaphore: Semaphore, _: Fate) {
    assert!(semaphore.who_holds().is_empty());
    assert_eq!(semaphore.available(), 2);
    let permits = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
    assert!(semaphore.try_acquire().unwrap().is_none());
    assert_eq!(semaphore.who_holds()[0].count, 2);
    drop(permits);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn acquire_and_release() {
    alone("acquire_and_release", |()| {
        let make = || {
            let semaphore = Semaphore::new(2).unwrap();
            (semaphore.clone(), semaphore)
        };
        let name = "semaphore: acquire and release";
        Operation::new(name, make, take_and_free, has_two).try_all();
    });
}

#[test]
fn acquire_and_release_of_a_bounded_one() {
    alone("acquire_and_release_of_a_bounded_one", |()| {
        let make = || {
            let semaphore = Semaphore::bounded(2).unwrap();
            (semaphore.clone(), semaphore)
        };
        let name = "bounded semaphore: acquire and release";
        Operation::new(name, make, take_and_free, has_two).try_all();
    });
}

/// What the dead had is lost, and not more than that.
#[test]
fn acquire_and_release_of_an_unowned_one() {
    fn check(semaphore: Semaphore, fate: Fate) {
        let available = semaphore.available();
        assert!(available == 2 || available == 1 && !fate.is_done(), "{available}");
        semaphore.release().unwrap();
        assert_eq!(semaphore.available(), available + 1);
        (0..=available).for_each(|_| semaphore.acquire().unwrap().forget());
        assert!(semaphore.try_acquire().unwrap().is_none());
    }
    alone("acquire_and_release_of_an_unowned_one", |()| {
        let make = || {
            let semaphore = Semaphore::unowned(2).unwrap();
            (semaphore.clone(), semaphore)
        };
        let name = "unowned semaphore: acquire and release";
        Operation::new(name, make, take_and_free, check).try_all();
    });
}

fn acquires((semaphore, mut say): (Semaphore, Say)) {
    say.send(()).unwrap();
    drop(semaphore.acquire().unwrap());
}

type Others = (Semaphore, Process<()>);

#[test]
fn release_to_one_who_waits() {
    fn make() -> (Semaphore, Others) {
        let semaphore = Semaphore::new(0).unwrap();
        (semaphore.clone(), (semaphore.clone(), sibling(acquires, semaphore)))
    }
    fn victim((semaphore, gate): (Semaphore, Gate)) {
        begin(gate);
        semaphore.release().unwrap();
        end();
    }
    fn check((semaphore, other): Others, fate: Fate) {
        // A permit out of nothing: it is there from one instruction to the next.
        let released = other.is_alive() && semaphore.available() == 0 && !fate.is_done();
        if released {
            semaphore.release().unwrap();
        }
        other.join().unwrap();
        let most = 1 + u32::from(released);
        assert!((1..=most).contains(&semaphore.available()));
        assert!(semaphore.who_holds().is_empty());
    }
    alone("release_to_one_who_waits", |()| {
        let name = "semaphore: release to one who waits";
        Operation::new(name, make, victim, check).try_all();
    });
}

/// The permit that woke the dead goes to the other one who waits.
#[test]
fn acquire_that_has_to_wait() {
    struct Kept {
        semaphore: Semaphore,
        other: Process<()>,
        is_released: bool,
    }
    fn make() -> (Semaphore, Kept) {
        let semaphore = Semaphore::new(1).unwrap();
        semaphore.acquire().map(Permit::forget).unwrap();
        let other = sibling(acquires, semaphore.clone());
        (semaphore.clone(), Kept { semaphore, other, is_released: false })
    }
    fn check(kept: Kept, _: Fate) {
        if !kept.is_released {
            kept.semaphore.release().unwrap();
        }
        kept.other.join().unwrap();
        assert_eq!(kept.semaphore.available(), 1);
        assert!(kept.semaphore.who_holds().is_empty());
    }
    alone("acquire_that_has_to_wait", |()| {
        Operation::new("semaphore: acquire that has to wait", make, take_and_free, check)
            .woken_by(|kept| {
                kept.semaphore.release().unwrap();
                kept.is_released = true;
            })
            .try_all();
    });
}

fn waits((event, mut say): (Event, Say)) {
    say.send(()).unwrap();
    event.wait().unwrap();
}

type Waiting = (Event, Process<()>);

fn with_one_who_waits() -> (Event, Waiting) {
    let event = Event::new().unwrap();
    (event.clone(), (event.clone(), sibling(waits, event)))
}

#[test]
fn set_of_an_event() {
    fn victim((event, gate): (Event, Gate)) {
        begin(gate);
        event.set().unwrap();
        end();
    }
    fn check((event, other): Waiting, fate: Fate) {
        if !event.is_set() {
            assert!(!fate.is_done());
            event.set().unwrap();
        }
        other.join().unwrap();
        event.wait().unwrap();
    }
    alone("set_of_an_event", |()| {
        Operation::new("event: set", with_one_who_waits, victim, check).try_all();
    });
}

#[test]
fn wait_for_an_event() {
    fn victim((event, gate): (Event, Gate)) {
        begin(gate);
        event.wait().unwrap();
        end();
    }
    fn check((event, other): Waiting, _: Fate) {
        event.set().unwrap();
        other.join().unwrap();
        event.clear().unwrap();
        assert!(!event.is_set());
    }
    alone("wait_for_an_event", |()| {
        Operation::new("event: wait", with_one_who_waits, victim, check)
            .woken_by(|(event, _)| event.set().unwrap())
            .try_all();
    });
}

/// Whether it was passed, and not broken.
fn passes((barrier, mut say): (Barrier, Say)) -> bool {
    say.send(()).unwrap();
    is_passed(&barrier)
}

fn is_passed(barrier: &Barrier) -> bool {
    match barrier.wait() {
        Ok(_) => true,
        Err(BarrierError::Broken) => false,
        Err(error) => panic!("{error}"),
    }
}

fn comes((barrier, gate): (Barrier, Gate)) {
    begin(gate);
    barrier.wait().unwrap();
    end();
}

/// After a reset it is as new.
fn works_again(barrier: &Barrier) {
    barrier.reset().unwrap();
    assert!(!barrier.is_broken() && barrier.waiting() == 0);
    let others: Vec<_> = (1..barrier.parties())
        .map(|_| {
            let barrier = barrier.clone();
            std::thread::spawn(move || barrier.wait().unwrap())
        })
        .collect();
    barrier.wait().unwrap();
    others.into_iter().for_each(|other| assert!(other.join().unwrap().index() < 3));
}

type Parties = (Barrier, Process<bool>);

#[test]
fn the_last_party_of_a_barrier() {
    fn make() -> (Barrier, Parties) {
        let barrier = Barrier::new(2).unwrap();
        let other = sibling(passes, barrier.clone());
        (barrier.clone(), (barrier, other))
    }
    fn check((barrier, other): Parties, fate: Fate) {
        // It had not come: who waits does so for somebody who may still come.
        let has_come = fate.is_done() || barrier.is_broken() || barrier.waiting() == 0;
        let is_ours_passed = has_come || is_passed(&barrier);
        let is_theirs_passed = other.join().unwrap();
        assert!(is_theirs_passed || !fate.is_done());
        assert!(is_ours_passed);
        works_again(&barrier);
    }
    alone("the_last_party_of_a_barrier", |()| {
        Operation::new("barrier: the last party", make, comes, check).try_all();
    });
}

/// Who waits with the dead is told, and does not wait for ever.
#[test]
fn a_party_of_a_barrier_that_waits() {
    fn make() -> (Barrier, Parties) {
        let barrier = Barrier::new(3).unwrap();
        let other = sibling(passes, barrier.clone());
        (barrier.clone(), (barrier, other))
    }
    fn check((barrier, other): Parties, fate: Fate) {
        if matches!(fate, Fate::Asleep(_)) {
            assert!(!other.join().unwrap() && barrier.is_broken());
        } else {
            // Either it was passed, or the dead is missed: by its death, or for not having come.
            if barrier.waiting() == 1 && !barrier.is_broken() {
                barrier.abort().unwrap();
            }
            assert!(other.join().unwrap() || !fate.is_done());
        }
        works_again(&barrier);
    }
    alone("a_party_of_a_barrier_that_waits", |()| {
        Operation::new("barrier: a party that waits", make, comes, check)
            .woken_by(|(barrier, _)| drop(barrier.wait()))
            .try_all();
    });
}
