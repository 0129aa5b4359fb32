//! What the docs say of sizes is true.

use super::object::{Machine, Object};
use super::*;

fn bytes<M: Machine>(object: &Object<M>) -> usize {
    size_of_val(object.words())
}

#[test]
fn locks_and_their_kin_are_as_large_as_is_said() {
    assert_eq!(bytes(Lock::new().unwrap().object()), 128);
    assert_eq!(bytes(ReentrantLock::new().unwrap().object()), 128);
    assert_eq!(bytes(Event::new().unwrap().object()), 128);
    assert_eq!(bytes(RwLock::new().unwrap().object()), 5 << 10);
    assert_eq!(bytes(Condition::new().unwrap().object()), 5 << 10);
    assert_eq!(bytes(Semaphore::new(1).unwrap().object()), 10 << 10);
    assert_eq!(bytes(Barrier::new(2).unwrap().object()), 10 << 10);
}
