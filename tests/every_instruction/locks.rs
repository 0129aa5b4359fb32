//! Locks and their kin: taking and freeing, alone and with others who wait.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "a guard beside its lock")]

use multiproc::{Lock, LockError, LockGuard, Process, ReentrantLock, RwHolders, RwLock};

use crate::stepping::{Call, Cue, Fate, Gate, Operation, alone, begin, end, latecomer};

/// Whoever comes after a dead owner is told so. True if there was one.
fn is_told<G>(taken: Result<G, LockError<G>>) -> bool {
    match taken {
        Ok(_) => false,
        Err(LockError::OwnerDied { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

/// A lock is nobody's, and can be had.
fn is_well(lock: &Lock, fate: Fate) {
    assert!(lock.who_holds().is_none() && !lock.is_locked());
    let was_poisoned = lock.is_poisoned();
    assert_eq!(is_told(lock.lock()), was_poisoned);
    assert!(!(was_poisoned && fate.is_done()));
    lock.clear_poison();
    drop(lock.lock().unwrap());
}

#[test]
fn lock_and_unlock() {
    fn make() -> (Lock, Lock) {
        let lock = Lock::new().unwrap();
        (lock.clone(), lock)
    }
    fn victim((lock, gate): (Lock, Gate)) {
        begin(gate);
        drop(lock.lock().unwrap());
        end();
    }
    fn check(lock: Lock, fate: Fate) {
        is_well(&lock, fate);
    }
    alone("lock_and_unlock", |()| {
        Operation::new("lock and unlock", make, victim, check).try_all();
    });
}

#[test]
fn unlock_with_a_waiter() {
    fn takes((lock, cue): (Lock, Cue)) -> bool {
        cue.wait();
        is_told(lock.lock())
    }
    fn make() -> ((Lock, Call), (Lock, Process<bool>)) {
        let lock = Lock::new().unwrap();
        let (call, other) = latecomer(takes, lock.clone());
        ((lock.clone(), call), (lock, other))
    }
    fn victim(((lock, call), gate): ((Lock, Call), Gate)) {
        let guard = lock.lock().unwrap();
        call.make();
        begin(gate);
        drop(guard);
        end();
    }
    fn check((lock, other): (Lock, Process<bool>), fate: Fate) {
        assert_eq!(other.join().unwrap(), lock.is_poisoned());
        is_well(&lock, fate);
    }
    alone("unlock_with_a_waiter", |()| {
        Operation::new("unlock with a waiter", make, victim, check).try_all();
    });
}

/// A lock, and a guard of this thread's.
struct Held {
    guard: Option<LockGuard<'static>>,
    lock: Box<Lock>,
}

impl Held {
    fn new() -> Self {
        let lock = Box::new(Lock::new().unwrap());
        // The guard goes before the lock, which does not move.
        let there: &'static Lock = unsafe { std::mem::transmute(&*lock) };
        Self { guard: Some(there.lock().unwrap()), lock }
    }
}

#[test]
fn lock_that_has_to_wait() {
    type Others = (Held, Process<bool>);
    fn takes((lock, say): (Lock, crate::stepping::Say)) -> bool {
        { say }.send(()).unwrap();
        is_told(lock.lock())
    }
    fn make() -> (Lock, Others) {
        let held = Held::new();
        let other = crate::stepping::sibling(takes, (*held.lock).clone());
        ((*held.lock).clone(), (held, other))
    }
    fn victim((lock, gate): (Lock, Gate)) {
        begin(gate);
        let guard = lock.lock();
        drop(guard.or_else(LockError::recover).unwrap());
        end();
    }
    fn check((mut held, other): Others, fate: Fate) {
        held.guard = None;
        let was_told = other.join().unwrap();
        assert!(!was_told || held.lock.is_poisoned());
        is_well(&held.lock, fate);
    }
    alone("lock_that_has_to_wait", |()| {
        Operation::new("lock that has to wait", make, victim, check)
            .woken_by(|(held, _)| held.guard = None)
            .try_all();
    });
}

#[test]
fn two_levels_of_a_reentrant_lock() {
    fn make() -> (ReentrantLock, ReentrantLock) {
        let lock = ReentrantLock::new().unwrap();
        (lock.clone(), lock)
    }
    fn victim((lock, gate): (ReentrantLock, Gate)) {
        begin(gate);
        let guards = (lock.lock().unwrap(), lock.lock().unwrap());
        drop(guards);
        end();
    }
    fn check(lock: ReentrantLock, fate: Fate) {
        assert!(lock.who_holds().is_none() && !lock.is_locked());
        let was_poisoned = lock.is_poisoned();
        assert!(!(was_poisoned && fate.is_done()));
        let taken = lock.lock();
        assert_eq!(taken.as_ref().is_err_and(LockError::is_owner_dead), was_poisoned);
        let guard = taken.or_else(LockError::recover).unwrap();
        assert_eq!((guard.depth(), lock.who_holds().unwrap().count), (1, 1));
        lock.clear_poison();
        assert_eq!(lock.lock().unwrap().depth(), 2);
        drop(guard);
        assert!(!lock.is_locked() && !lock.is_poisoned());
    }
    alone("two_levels_of_a_reentrant_lock", |()| {
        Operation::new("reentrant lock: two levels", make, victim, check).try_all();
    });
}

#[test]
fn unlock_of_a_reentrant_lock_with_a_waiter() {
    type Others = (ReentrantLock, Process<bool>);
    fn takes((lock, cue): (ReentrantLock, Cue)) -> bool {
        cue.wait();
        is_told(lock.lock())
    }
    fn make() -> ((ReentrantLock, Call), Others) {
        let lock = ReentrantLock::new().unwrap();
        let (call, other) = latecomer(takes, lock.clone());
        ((lock.clone(), call), (lock, other))
    }
    fn victim(((lock, call), gate): ((ReentrantLock, Call), Gate)) {
        let outer = lock.lock().unwrap();
        let inner = lock.lock().unwrap();
        call.make();
        begin(gate);
        drop(inner);
        drop(outer);
        end();
    }
    fn check((lock, other): Others, fate: Fate) {
        let was_told = other.join().unwrap();
        assert!(was_told == lock.is_poisoned() && !(was_told && fate.is_done()));
        assert!(lock.who_holds().is_none() && !lock.is_locked());
    }
    alone("unlock_of_a_reentrant_lock_with_a_waiter", |()| {
        let name = "reentrant lock: unlock with a waiter";
        Operation::new(name, make, victim, check).try_all();
    });
}

/// A lock of readers and a writer is nobody's, and can be had by both.
fn is_free(lock: &RwLock, fate: Fate) {
    assert_eq!(lock.who_holds(), RwHolders::Nobody);
    let was_poisoned = lock.is_poisoned();
    assert!(!(was_poisoned && fate.is_done()));
    assert_eq!(is_told(lock.read()), was_poisoned);
    assert_eq!(is_told(lock.write()), was_poisoned);
    lock.clear_poison();
    drop(lock.write().unwrap());
    drop((lock.read().unwrap(), lock.read().unwrap()));
    assert_eq!(lock.who_holds(), RwHolders::Nobody);
}

fn pair() -> (RwLock, RwLock) {
    let lock = RwLock::new().unwrap();
    (lock.clone(), lock)
}

#[test]
fn read_and_unlock() {
    fn victim((lock, gate): (RwLock, Gate)) {
        begin(gate);
        drop(lock.read().unwrap());
        end();
    }
    fn check(lock: RwLock, fate: Fate) {
        // Who reads spoils nothing.
        assert!(!lock.is_poisoned());
        is_free(&lock, fate);
    }
    alone("read_and_unlock", |()| {
        Operation::new("rwlock: read and unlock", pair, victim, check).try_all();
    });
}

#[test]
fn write_and_unlock() {
    fn victim((lock, gate): (RwLock, Gate)) {
        begin(gate);
        drop(lock.write().unwrap());
        end();
    }
    fn check(lock: RwLock, fate: Fate) {
        is_free(&lock, fate);
    }
    alone("write_and_unlock", |()| {
        Operation::new("rwlock: write and unlock", pair, victim, check).try_all();
    });
}

fn writes((lock, cue): (RwLock, Cue)) -> bool {
    cue.wait();
    is_told(lock.write())
}

fn reads((lock, cue): (RwLock, Cue)) -> bool {
    cue.wait();
    is_told(lock.read())
}

type RwOthers = (RwLock, Vec<Process<bool>>);
type RwVictim = ((RwLock, Vec<Call>), Gate);

/// A reader and a writer, who both wait.
fn with_two() -> ((RwLock, Vec<Call>), RwOthers) {
    let lock = RwLock::new().unwrap();
    let comers = [latecomer(writes, lock.clone()), latecomer(reads, lock.clone())];
    let (calls, others) = comers.into_iter().unzip();
    ((lock.clone(), calls), (lock, others))
}

fn is_free_for_two((lock, others): RwOthers, fate: Fate) {
    let told: Vec<bool> = others.into_iter().map(|other| other.join().unwrap()).collect();
    assert_eq!(told, [lock.is_poisoned(); 2]);
    is_free(&lock, fate);
}

#[test]
fn end_of_a_read_with_others_who_wait() {
    fn victim(((lock, calls), gate): RwVictim) {
        let guard = lock.read().unwrap();
        calls.into_iter().for_each(Call::make);
        begin(gate);
        drop(guard);
        end();
    }
    alone("end_of_a_read_with_others_who_wait", |()| {
        let name = "rwlock: end of a read with waiters";
        Operation::new(name, with_two, victim, is_free_for_two).try_all();
    });
}

#[test]
fn end_of_a_write_with_others_who_wait() {
    fn victim(((lock, calls), gate): RwVictim) {
        let guard = lock.write().unwrap();
        calls.into_iter().for_each(Call::make);
        begin(gate);
        drop(guard);
        end();
    }
    alone("end_of_a_write_with_others_who_wait", |()| {
        let name = "rwlock: end of a write with waiters";
        Operation::new(name, with_two, victim, is_free_for_two).try_all();
    });
}
