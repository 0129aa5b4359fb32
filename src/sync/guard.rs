//! What a condition must know of a guard: how to give it up, and how to have it back.

use crate::error::LockError;

pub(crate) mod sealed {
    use super::LockError;

    /// A guard through which a `D` is seen.
    pub trait Sealed<D: ?Sized>: Sized {
        /// What is left of a guard while the lock is given up.
        type Rest;

        /// Frees the lock, however often this thread has it.
        fn give_up(self) -> Self::Rest;

        /// Takes the lock again, waiting for it as long as it takes, and as often as it was had.
        fn take_again(rest: Self::Rest) -> Result<Self, LockError<Self>>;

        /// Asks about the data.
        fn ask(&mut self, question: impl FnOnce(&mut D) -> bool) -> bool;
    }
}

/// A guard that [`Condition::wait`](crate::Condition::wait) can give up and take again: that of a
/// [`Lock`](crate::Lock), a [`ReentrantLock`](crate::ReentrantLock), a [`Value`](crate::Value), or
/// an [`Array`](crate::Array) or a part of one.
///
/// # Examples
/// A function for the guards of all locks:
/// ```
/// use std::time::Duration;
///
/// use multiproc::{Condition, Guard, Lock, Value};
///
/// fn is_told<G: Guard>(changed: &Condition, guard: G) -> bool {
///     changed.wait_timeout(guard, Duration::from_millis(1)).is_ok_and(|(_, is_told)| is_told)
/// }
///
/// let (lock, total, changed) = (Lock::new()?, Value::new(7u64)?, Condition::new()?);
/// assert!(!is_told(&changed, lock.lock()?));
/// assert!(!is_told(&changed, total.lock()?));
/// # Ok::<(), multiproc::Error>(())
/// ```
pub trait Guard: sealed::Sealed<<Self as Guard>::Data> {
    /// What is seen through the guard: `()` where the lock has no data.
    type Data: ?Sized;
}
