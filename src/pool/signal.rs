//! News for those who wait at a mutex: nothing to pay while nobody sleeps, and no sleep while
//! news are likely to come soon.

use std::sync::PoisonError;
use std::time::Instant;

use crate::shim::{self, AtomicU32, Condvar, Mutex, MutexGuard, Ordering, lock, mutant};
use crate::sys::clock::Deadline;

/// A condition variable that knows whether anybody sleeps.
pub(super) struct Signal {
    news: Condvar,
    /// How many sleep, or were woken and have not got the mutex yet. Changed under the mutex.
    sleepers: AtomicU32,
}

impl Signal {
    pub(super) fn new() -> Self {
        Self { news: Condvar::new(), sleepers: AtomicU32::new(0) }
    }

    /// Wakes one of those who sleep, after something was changed under the mutex.
    pub(super) fn notify_one(&self) {
        if self.has_sleepers() {
            self.news.notify_one();
        }
    }

    /// Wakes all those who sleep, after something was changed under the mutex.
    pub(super) fn notify_all(&self) {
        if self.has_sleepers() {
            self.news.notify_all();
        }
    }

    fn has_sleepers(&self) -> bool {
        // Relaxed: who had the mutex before the change and counted itself is seen because of the
        // mutex; who has it after the change sees that.
        self.sleepers.load(Ordering::Relaxed) > 0
    }

    /// Sleeps until there is news, or the deadline; may end earlier.
    pub(super) fn wait<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Deadline,
    ) -> MutexGuard<'a, T> {
        // Relaxed: see `has_sleepers`.
        self.sleepers.fetch_add(u32::from(!mutant("signal-sleepers")), Ordering::Relaxed);
        let guard = match deadline.left() {
            None => self.news.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(left) => {
                self.news.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        // Relaxed: see `has_sleepers`.
        self.sleepers.fetch_sub(u32::from(!mutant("signal-sleepers")), Ordering::Relaxed);
        guard
    }
}

/// Lets others run for as long as that is cheaper than to sleep, until `is_here` or the deadline.
///
/// It does not spin: who is waited for may need this CPU.
pub(super) fn linger<'a, T>(
    mutex: &'a Mutex<T>,
    deadline: Deadline,
    mut is_here: impl FnMut(&T) -> bool,
) -> MutexGuard<'a, T> {
    let mut guard = lock(mutex);
    if is_here(&guard) {
        return guard;
    }
    let start = Instant::now();
    while start.elapsed() < shim::YIELD_BUDGET && !deadline.is_past() {
        drop(guard);
        shim::yield_now();
        guard = lock(mutex);
        if is_here(&guard) {
            break;
        }
    }
    guard
}
