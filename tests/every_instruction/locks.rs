//! Locks and their kin.

use multiproc::{Lock, LockError};

use crate::stepping::{Fate, Gate, Operation, begin, end};

#[test]
fn lock_and_unlock() {
    fn victim((lock, gate): (Lock, Gate)) {
        begin(gate);
        drop(lock.lock().unwrap());
        end();
    }
    fn check(lock: Lock, fate: Fate) {
        match lock.lock() {
            Ok(_) => {}
            Err(LockError::OwnerDied { .. }) => {
                assert!(!fate.is_done());
                lock.clear_poison();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(lock.who_holds().is_none() && !lock.is_poisoned());
        drop(lock.lock().unwrap());
    }
    let make = || {
        let lock = Lock::new().unwrap();
        (lock.clone(), lock)
    };
    Operation { name: "lock and unlock", make, victim, check }.try_all();
}
