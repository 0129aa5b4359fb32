//! Values and arrays: nothing is torn, and no part of them stays the dead one's.

use std::sync::atomic::{AtomicU64, Ordering::*};

use multiproc::{Array, LockError, Process, Value};

use crate::stepping::{Call, Cue, Fate, Gate, Operation, alone, begin, end, latecomer};

type Four = Value<[u64; 4]>;

fn make_value() -> (Four, Four) {
    let value = Value::new([1; 4]).unwrap();
    (value.clone(), value)
}

/// It is what it was or what it was to be, and nobody is told anything: it is whole.
fn is_whole(value: Four, fate: Fate) {
    assert!(value.who_holds().is_none() && !value.is_locked() && !value.is_poisoned());
    let now = value.get().unwrap();
    assert!(now == [2; 4] || now == [1; 4] && !fate.is_done(), "{now:?}");
    value.update(|now| now[0] = 3).unwrap();
    assert_eq!(value.get().unwrap()[0], 3);
}

#[test]
fn set_of_a_value() {
    fn victim((value, gate): (Four, Gate)) {
        begin(gate);
        value.set([2; 4]).unwrap();
        end();
    }
    alone("set_of_a_value", |()| {
        Operation::new("value: set", make_value, victim, is_whole).try_all();
    });
}

#[test]
fn update_of_a_value() {
    fn victim((value, gate): (Four, Gate)) {
        begin(gate);
        value.update(|four| four.iter_mut().for_each(|one| *one += 1)).unwrap();
        end();
    }
    alone("update_of_a_value", |()| {
        Operation::new("value: update", make_value, victim, is_whole).try_all();
    });
}

#[test]
fn get_of_a_value() {
    fn victim((value, gate): (Four, Gate)) {
        begin(gate);
        assert_eq!(value.get().unwrap(), [1; 4]);
        end();
    }
    fn check(value: Four, _: Fate) {
        assert_eq!(value.get().unwrap(), [1; 4]);
        value.set([2; 4]).unwrap();
        is_whole(value, Fate::Done(0));
    }
    alone("get_of_a_value", |()| {
        Operation::new("value: get", make_value, victim, check).try_all();
    });
}

/// Another one waits for the value meanwhile, and adds to whatever there is.
#[test]
fn update_of_a_value_with_one_who_waits() {
    type Others = (Four, Process<bool>);
    fn adds((value, cue): (Four, Cue)) -> bool {
        cue.wait();
        let (guard, was_told) = match value.lock() {
            Ok(guard) => (guard, false),
            Err(LockError::OwnerDied { guard, .. }) => (guard, true),
            Err(error) => panic!("{error}"),
        };
        let mut guard = guard;
        guard.iter_mut().for_each(|one| *one += 10);
        was_told
    }
    fn make() -> ((Four, Call), Others) {
        let value = Value::new([1; 4]).unwrap();
        let (call, other) = latecomer(adds, value.clone());
        ((value.clone(), call), (value, other))
    }
    fn victim(((value, call), gate): ((Four, Call), Gate)) {
        let mut guard = value.lock().unwrap();
        call.make();
        begin(gate);
        guard.iter_mut().for_each(|one| *one += 1);
        drop(guard);
        end();
    }
    fn check((value, other): Others, fate: Fate) {
        let was_told = other.join().unwrap();
        assert_eq!(was_told, value.is_poisoned());
        assert!(!(was_told && fate.is_done()));
        assert!(value.who_holds().is_none() && !value.is_locked());
        let now = value.get().or_else(|error| error.into_inner().ok_or(())).unwrap();
        // Torn only if its next owner was told.
        assert!(now == [12; 4] || was_told && now.iter().all(|one| [11, 12].contains(one)));
        value.clear_poison();
        value.set([1; 4]).unwrap();
    }
    alone("update_of_a_value_with_one_who_waits", |()| {
        let name = "value: guard, with one who waits";
        Operation::new(name, make, victim, check).try_all();
    });
}

#[test]
fn adding_to_an_atomic() {
    type Number = Value<AtomicU64>;
    fn make() -> (Number, Number) {
        let number = Value::<u64>::atomic(1).unwrap();
        (number.clone(), number)
    }
    fn victim((number, gate): (Number, Gate)) {
        begin(gate);
        number.fetch_add(1 << 33, Relaxed);
        end();
    }
    fn check(number: Number, fate: Fate) {
        let now = number.load(Relaxed);
        assert!(now == 1 + (1 << 33) || now == 1 && !fate.is_done());
    }
    alone("adding_to_an_atomic", |()| {
        Operation::new("atomic: add", make, victim, check).try_all();
    });
}

type Numbers = Array<u64>;

fn make_array() -> (Numbers, Numbers) {
    let array = Array::new(100, 1).unwrap();
    (array.clone(), array)
}

/// No part of it is anybody's, and who comes after a dead owner was told.
fn is_free(array: &Numbers, fate: Fate) {
    assert!(array.who_holds().is_empty() && !array.is_locked());
    let was_poisoned = array.is_poisoned();
    assert!(!(was_poisoned && fate.is_done()));
    assert_eq!(array.lock().is_err_and(|error| error.is_owner_dead()), was_poisoned);
    array.clear_poison();
    // As many parts as there can be, so a line of the dead would be missed.
    let parts: Vec<_> = (0..64).map(|at| array.try_lock_range(at..=at).unwrap()).collect();
    assert_eq!(array.who_holds().len(), 64);
    drop(parts);
    drop(array.lock().unwrap());
}

#[test]
fn a_part_of_an_array() {
    fn victim((array, gate): (Numbers, Gate)) {
        begin(gate);
        array.lock_range(10..20).unwrap()[0] = 2;
        end();
    }
    fn check(array: Numbers, fate: Fate) {
        is_free(&array, fate);
        assert!(array.get(10).unwrap() == 2 || !fate.is_done());
    }
    alone("a_part_of_an_array", |()| {
        Operation::new("array: lock of a range", make_array, victim, check).try_all();
    });
}

#[test]
fn the_whole_of_an_array() {
    fn victim((array, gate): (Numbers, Gate)) {
        begin(gate);
        array.lock().unwrap()[99] = 2;
        end();
    }
    fn check(array: Numbers, fate: Fate) {
        is_free(&array, fate);
        assert!(array.get(99).unwrap() == 2 || !fate.is_done());
    }
    alone("the_whole_of_an_array", |()| {
        Operation::new("array: lock of the whole", make_array, victim, check).try_all();
    });
}

#[test]
fn an_element_of_an_array() {
    fn victim((array, gate): (Numbers, Gate)) {
        begin(gate);
        array.set(5, u64::MAX).unwrap();
        end();
    }
    fn check(array: Numbers, fate: Fate) {
        // Who died while it wrote may have left half of it: then the next ones are told.
        let was_poisoned = array.is_poisoned();
        is_free(&array, fate);
        let now = array.get(5).unwrap();
        let is_whole = now == u64::MAX || now == 1 && !fate.is_done();
        assert!(is_whole || was_poisoned, "{now:x}");
    }
    alone("an_element_of_an_array", |()| {
        Operation::new("array: set of an element", make_array, victim, check).try_all();
    });
}

#[test]
fn end_of_a_range_with_others_who_wait() {
    type Others = (Numbers, Vec<Process<bool>>);
    type Victim = ((Numbers, Vec<Call>), Gate);
    fn wants_part((array, cue): (Numbers, Cue)) -> bool {
        cue.wait();
        array.lock_range(15..30).is_err_and(|error| error.is_owner_dead())
    }
    fn wants_all((array, cue): (Numbers, Cue)) -> bool {
        cue.wait();
        array.lock().is_err_and(|error| error.is_owner_dead())
    }
    fn make() -> ((Numbers, Vec<Call>), Others) {
        let array = Array::new(100, 1).unwrap();
        let comers = [latecomer(wants_part, array.clone()), latecomer(wants_all, array.clone())];
        let (calls, others) = comers.into_iter().unzip();
        ((array.clone(), calls), (array, others))
    }
    fn victim(((array, calls), gate): Victim) {
        let part = array.lock_range(10..20).unwrap();
        calls.into_iter().for_each(Call::make);
        begin(gate);
        drop(part);
        end();
    }
    fn check((array, others): Others, fate: Fate) {
        let was_poisoned: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
        assert_eq!(was_poisoned, [array.is_poisoned(); 2]);
        is_free(&array, fate);
    }
    alone("end_of_a_range_with_others_who_wait", |()| {
        let name = "array: end of a range with waiters";
        Operation::new(name, make, victim, check).try_all();
    });
}
