//! Conditions: a notification that was given is somebody's, whoever dies.

use std::time::Duration;

use multiproc::{Condition, Lock, LockError, Process};

use crate::common::until;
use crate::stepping::{Fate, Gate, Operation, Say, alone, begin, end, sibling};

type Place = (Lock, Condition);

/// Another one who waits, and how many notifications were given.
struct Kept {
    place: Place,
    other: Process<()>,
    given: usize,
}

fn waits(((lock, condition), mut say): (Place, Say)) {
    let guard = lock.lock().or_else(LockError::recover).unwrap();
    say.send(()).unwrap();
    match condition.wait(guard) {
        Ok(_) | Err(LockError::OwnerDied { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

/// How many wait, and have no notification.
fn waiting(condition: &Condition) -> usize {
    let shown = format!("{condition:?}");
    let number = shown.strip_prefix("Condition { waiting: ").and_then(|end| end.strip_suffix(" }"));
    number.and_then(|number| number.parse().ok()).expect(&shown)
}

#[test]
fn wait_and_be_notified() {
    fn make() -> (Place, Kept) {
        let place = (Lock::new().unwrap(), Condition::new().unwrap());
        // It comes after the victim, once that sleeps.
        let other = Process::spawn(|()| {}, ()).unwrap();
        (place.clone(), Kept { place, other, given: 0 })
    }
    fn victim(((lock, condition), gate): (Place, Gate)) {
        begin(gate);
        let guard = lock.lock().unwrap();
        drop(condition.wait(guard).unwrap());
        end();
    }
    fn wake(kept: &mut Kept) {
        kept.other = sibling(waits, kept.place.clone());
        let (_, condition) = &kept.place;
        until(|| waiting(condition) == 2);
        // The victim waits longest.
        assert!(condition.notify_one().unwrap());
        kept.given = 1;
    }
    fn check(kept: Kept, fate: Fate) {
        let Kept { place: (lock, condition), other, given } = kept;
        if given == 0 {
            assert_eq!(waiting(&condition), 0);
            return other.join().unwrap();
        }
        // The dead had used it up only if it had the lock.
        let is_passed_on = waiting(&condition) == 0;
        let had_lock = lock.is_poisoned();
        assert!(is_passed_on || had_lock || fate.is_done());
        assert!(is_passed_on || !matches!(fate, Fate::Woken(_)), "a lost notification");
        assert!(!(is_passed_on && fate.is_done()), "one notification too many");
        if !is_passed_on {
            assert!(condition.notify_one().unwrap());
        }
        other.join().unwrap();
        assert!(!condition.notify_one().unwrap());
        assert!(lock.who_holds().is_none());
    }
    alone("wait_and_be_notified", |()| {
        let name = "condition: wait and be notified";
        Operation::new(name, make, victim, check).woken_by(wake).try_all();
    });
}

#[test]
fn wait_and_give_up() {
    fn make() -> (Place, Kept) {
        let place = (Lock::new().unwrap(), Condition::new().unwrap());
        let other = sibling(waits, place.clone());
        until(|| waiting(&place.1) == 1);
        (place.clone(), Kept { place, other, given: 0 })
    }
    fn victim(((lock, condition), gate): (Place, Gate)) {
        begin(gate);
        let guard = lock.lock().unwrap();
        drop(condition.wait_timeout(guard, Duration::ZERO).unwrap());
        end();
    }
    fn check(kept: Kept, _: Fate) {
        let (lock, condition) = kept.place;
        assert_eq!(waiting(&condition), 1);
        assert_eq!(condition.notify_all().unwrap(), 1);
        kept.other.join().unwrap();
        assert!(lock.who_holds().is_none());
        assert_eq!(condition.notify_all().unwrap(), 0);
    }
    alone("wait_and_give_up", |()| {
        Operation::new("condition: wait and give up", make, victim, check).try_all();
    });
}

type Two = (Place, [Process<()>; 2]);

fn with_two_who_wait() -> (Place, Two) {
    let place = (Lock::new().unwrap(), Condition::new().unwrap());
    let others = [0, 1].map(|_| sibling(waits, place.clone()));
    until(|| waiting(&place.1) == 2);
    (place.clone(), (place, others))
}

/// Whoever was notified wakes, also if the notifier died before the wake; the others do not.
fn those_who_were_notified_wake(((_, condition), others): Two, given: usize) {
    let left = waiting(&condition);
    assert!(left >= 2 - given);
    until(|| others.iter().filter(|other| other.is_alive()).count() == left);
    assert_eq!(condition.notify_all().unwrap(), left);
    others.into_iter().for_each(|other| other.join().unwrap());
}

#[test]
fn notify_one() {
    fn victim(((_, condition), gate): (Place, Gate)) {
        begin(gate);
        assert!(condition.notify_one().unwrap());
        end();
    }
    fn check(two: Two, fate: Fate) {
        assert!(waiting(&two.0.1) == 1 || !fate.is_done());
        those_who_were_notified_wake(two, 1);
    }
    alone("notify_one", |()| {
        let name = "condition: notify one of two";
        Operation::new(name, with_two_who_wait, victim, check).try_all();
    });
}

#[test]
fn notify_all() {
    fn victim(((_, condition), gate): (Place, Gate)) {
        begin(gate);
        assert_eq!(condition.notify_all().unwrap(), 2);
        end();
    }
    fn check(two: Two, fate: Fate) {
        assert!(waiting(&two.0.1) == 0 || !fate.is_done());
        those_who_were_notified_wake(two, 2);
    }
    alone("notify_all", |()| {
        let name = "condition: notify two";
        Operation::new(name, with_two_who_wait, victim, check).try_all();
    });
}
