//! Room 5: locks and their kin, as handles that travel. What they do is in `raw`.

mod atomic;
mod barrier;
mod condition;
mod data;
mod event;
pub(crate) mod guard;
#[cfg(test)]
pub(crate) mod hostile;
mod lock;
pub(crate) mod named;
pub(crate) mod object;
pub(crate) mod owned;
mod permits;
mod reentrant;
mod rwlock;
mod semaphore;
#[cfg(test)]
mod sizes;

pub use atomic::{Atomic, Integer};
pub use barrier::{Barrier, BarrierWait};
pub use condition::Condition;
pub use data::Data;
pub use event::Event;
pub(crate) use event::EventWatch;
pub use guard::Guard;
pub use lock::{Lock, LockGuard};
pub use permits::Permits;
pub use reentrant::{ReentrantGuard, ReentrantLock};
pub use rwlock::{ReadGuard, RwHolders, RwLock, WriteGuard};
pub use semaphore::{Permit, Semaphore};

use crate::segment::Segment;

/// A process that has something of a shared object in its hands, as it was a moment ago.
///
/// # Examples
/// ```
/// use multiproc::{Holder, Semaphore};
///
/// let desks = Semaphore::bounded(3)?;
/// let _desks = (desks.acquire()?, desks.acquire()?);
/// let holders: Vec<Holder> = desks.who_holds();
/// assert_eq!((holders[0].pid, holders[0].count), (std::process::id(), 2));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its number among the processes that share the object.
    pub participant: u32,
    /// Its process id, as it said itself.
    pub pid: u32,
    /// How much it has: levels of a lock, permits of a semaphore.
    pub count: u32,
}

impl Holder {
    pub(crate) fn new(segment: &Segment, participant: u32, count: u32) -> Self {
        Self { participant, pid: segment.pid_of(participant), count }
    }
}
