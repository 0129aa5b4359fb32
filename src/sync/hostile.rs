//! P2: whatever words are in the memory of a lock or its kin, its verbs give an error or an answer.
//! They do not crash, do not hang, and do not panic, and neither does a drop or a recovery.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use super::object::{Machine, Object};
use super::*;
use crate::error::LockError;
use crate::raw::chance::{Dice, Told};
use crate::raw::wait::testing::Watchdog;
use crate::shim::{AtomicU64, Ordering::*};

const SOON: Duration = Duration::from_micros(50);
const ROUNDS: u64 = 300;

impl Dice {
    /// A word as a broken program leaves it.
    fn word(&mut self, before: u64) -> u64 {
        match self.next() % 8 {
            0 => 0,
            1 => u64::MAX,
            2 => self.next(),
            3 => self.next() % 4096,
            4 => (self.next() % 4096) << 32,
            5 => before.wrapping_add(1),
            6 => before.wrapping_sub(1),
            _ => before ^ 1 << (self.next() % 64),
        }
    }

    fn scribble(&mut self, words: &[AtomicU64]) {
        // The first words are looked at more often than the rest.
        let near = self.next().is_multiple_of(2);
        let end = if near { words.len().min(8) } else { words.len() };
        let word = &words[self.next() as usize % end];
        word.store(self.word(word.load(Relaxed)), Relaxed);
    }
}

/// Tries the verbs of an object whose words were written over, or are while it is used.
pub(crate) fn torment<H: Sync, M: Machine>(
    name: &'static str,
    make: impl Fn() -> H,
    object: impl Fn(&H) -> &Object<M> + Copy + Sync,
    verbs: impl Fn(&H, &mut Dice),
) {
    let _dog = Watchdog::new(name);
    for seed in 0..ROUNDS {
        let _told = Told(name, seed);
        let mut dice = Dice::new(seed);
        let handle = make();
        for _ in 0..1 + seed % 5 {
            (0..1 + seed % 7).for_each(|_| dice.scribble(object(&handle).words()));
            verbs(&handle, &mut dice);
        }
        // What a dead participant had is looked for in the same words.
        let id = dice.next() as u32 % 3;
        object(&handle).segment().recover_one(id);
        drop(handle);
    }
    let handle = make();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice::new(ROUNDS);
            while !is_over.load(Relaxed) {
                dice.scribble(object(&handle).words());
                (0..dice.next() % 64).for_each(|_| std::hint::spin_loop());
            }
        });
        let mut dice = Dice::new(ROUNDS + 1);
        (0..ROUNDS).for_each(|_| verbs(&handle, &mut dice));
        is_over.store(true, Relaxed);
    });
}

#[test]
fn any_bytes_are_a_lock() {
    torment(
        "any_bytes_are_a_lock",
        || Lock::new().unwrap(),
        Lock::object,
        |lock, _| {
            drop(lock.try_lock());
            drop(lock.lock_timeout(SOON));
            let guard = lock.lock_timeout(SOON).map_err(LockError::into_inner);
            let _ = (lock.who_holds(), lock.is_locked(), lock.is_poisoned(), format!("{lock:?}"));
            lock.clear_poison();
            drop(guard);
        },
    );
}

#[test]
fn any_bytes_are_a_reentrant_lock() {
    let make = || ReentrantLock::new().unwrap();
    torment("any_bytes_are_a_reentrant_lock", make, ReentrantLock::object, |lock, _| {
        let outer = lock.try_lock();
        let inner = lock.lock_timeout(SOON);
        let _ = (lock.who_holds(), lock.is_locked(), format!("{lock:?}"));
        if let Ok(guard) = &inner {
            let _ = guard.depth();
        }
        drop(outer);
        drop(inner);
        lock.clear_poison();
    });
}

#[test]
fn any_bytes_are_an_event() {
    torment(
        "any_bytes_are_an_event",
        || Event::new().unwrap(),
        Event::object,
        |event, dice| {
            let _ = (event.wait_timeout(SOON), event.is_set(), format!("{event:?}"));
            event.set().unwrap();
            if dice.next().is_multiple_of(2) {
                event.clear().unwrap();
            }
        },
    );
}

#[test]
fn any_bytes_are_a_barrier() {
    torment(
        "any_bytes_are_a_barrier",
        || Barrier::new(2).unwrap(),
        Barrier::object,
        |barrier, dice| {
            thread::scope(|scope| {
                scope.spawn(|| drop(barrier.wait_timeout(SOON)));
                drop(barrier.wait_timeout(SOON));
            });
            let _ = (barrier.waiting(), barrier.is_broken(), format!("{barrier:?}"));
            match dice.next() % 3 {
                0 => barrier.abort().unwrap(),
                1 => barrier.reset().unwrap(),
                _ => {}
            }
        },
    );
}

#[test]
fn any_bytes_are_a_condition() {
    type Shop = (Lock, Condition);
    torment(
        "any_bytes_are_a_condition",
        || (Lock::new().unwrap(), Condition::new().unwrap()),
        |(_, condition): &Shop| condition.object(),
        |(lock, condition), dice| {
            let wait = || {
                let guard = lock.lock().unwrap();
                drop(condition.wait_timeout(guard, SOON));
                let guard = lock.lock().unwrap();
                let mut looks = 0;
                let not_yet = |_: &mut ()| {
                    looks += 1;
                    looks < 3
                };
                drop(condition.wait_timeout_while(guard, SOON, not_yet));
            };
            thread::scope(|scope| {
                scope.spawn(wait);
                let _ = condition.notify_one();
                let _ = condition.notify(dice.next() as usize);
                let _ = (condition.notify_all(), format!("{condition:?}"));
            });
        },
    );
}

#[test]
fn any_bytes_are_a_semaphore() {
    for make in [Semaphore::new, Semaphore::bounded, Semaphore::unowned] {
        let make = || make(2).unwrap();
        torment("any_bytes_are_a_semaphore", make, Semaphore::object, |semaphore, _| {
            let permit = semaphore.try_acquire();
            let _ = (semaphore.acquire_timeout(SOON), semaphore.release(), semaphore.available());
            let _ = (semaphore.who_holds(), format!("{semaphore:?}"));
            drop(permit);
        });
    }
}

#[test]
fn any_bytes_are_an_rwlock() {
    let make = || RwLock::new().unwrap();
    torment("any_bytes_are_an_rwlock", make, RwLock::object, |lock, _| {
        let reader = lock.read_timeout(SOON).map_err(LockError::into_inner);
        let other = lock.try_read().map_err(LockError::into_inner);
        drop(lock.try_write());
        drop(reader);
        let writer = lock.write_timeout(SOON).map_err(LockError::into_inner);
        let _ = (lock.who_holds(), lock.is_poisoned(), format!("{lock:?}"));
        lock.clear_poison();
        drop(other);
        drop(writer);
    });
}
