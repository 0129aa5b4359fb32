//! The bell: where any number of threads wait for a condition that is none of its business, such
//! as permits of a semaphore or the readers of a lock to leave.
//!
//! One mark says that somebody may wait; who waits, the kernel knows. So a waiter that dies leaves
//! nothing behind but the mark, which costs the next ring a system call in vain.
//!
//! ```text
//! publisher                               waiter
//!   change the condition (an RMW)           mark the bell
//!   fence `bell`                            fence `bell`
//!   look at the bell; ring if marked        look at the condition; sleep if the bell is as marked
//! ```
//!
//! **A baton only from those who take nothing.** A ring wakes a thread that sleeps, and changes the
//! word, so one that is about to sleep looks again. Who is woken looks before it gives up. So no
//! ring is spent on one that then leaves what it was rung for, unless it dies; then the janitor
//! wakes everybody. But who waits for many things leaves it, see
//! [`wait_many`](super::wait_many), and so rings for the next one.

use crate::shim::{Futex, Ordering, fence, fence_after_rmw, kill_point, mutant};

use super::wait::{self, Fence, Place, Terms, Waited};
use super::wait_many::{Post, Spot};

/// A thread may sleep here.
const MARK: u32 = 1 << 0;
/// One ring: the bits above the mark count them.
const RING: u32 = 1 << 1;

/// A place for any number of waiters. Zeroed memory is one without.
///
/// | word            | meaning                                    | changed by                    |
/// |-----------------|--------------------------------------------|-------------------------------|
/// | `n`             | nobody sleeps that has not been woken      |                               |
/// | `n` and `MARK`  | somebody may sleep, or be about to         | a waiter                      |
/// | `n + 1`, marked | one sleeper is about to be woken           | who rings for one             |
/// | `n`, unmarked   | all sleepers are about to be woken, or     | who rings for all, or for one |
/// |                 | there were none                            | and found nobody              |
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Bell(Futex);

impl Bell {
    /// Wakes one waiter if there is any. Call it after the RMW that changed what they wait for.
    #[inline]
    pub(crate) fn ring_one(&self) {
        if self.is_marked() {
            self.ring_marked();
        }
    }

    /// Wakes all waiters. Call it after the RMW that changed what they wait for.
    #[inline]
    pub(crate) fn ring_all(&self) {
        if self.is_marked() {
            self.empty();
        }
    }

    /// Whether somebody may wait. Call it after the RMW that changed what they may wait for.
    #[inline]
    pub(crate) fn is_marked(&self) -> bool {
        // Fence `bell`: meets the one of `Place::fence`. The change is before it, the look at the
        // mark after it.
        fence_after_rmw("bell");
        // Relaxed: see above.
        self.0.word().load(Ordering::Relaxed) & MARK != 0
    }

    /// Whether somebody may wait, for those who look.
    pub(crate) fn may_be_awaited(&self) -> bool {
        // Relaxed: a remark.
        self.0.word().load(Ordering::Relaxed) & MARK != 0
    }

    #[cold]
    fn ring_marked(&self) {
        // Relaxed: of two RMWs on one word the kernel's compare sees the later; the condition is
        // ordered by the fences.
        let rung = self.0.word().fetch_add(RING, Ordering::Relaxed).wrapping_add(RING);
        kill_point("bell-rung");
        if self.0.wake_one() {
            return;
        }
        // Nobody sleeps. A refusal means that somebody came or rang meanwhile.
        let quiet = rung & !MARK;
        // Relaxed: as above.
        let done =
            self.0.word().compare_exchange(rung, quiet, Ordering::Relaxed, Ordering::Relaxed);
        kill_point("bell-quiet");
        // Who went to sleep between the two had marked what was marked already.
        if done.is_ok() && !mutant("bell-slipped-in") {
            self.0.wake_all();
        }
    }

    #[cold]
    fn empty(&self) {
        // Relaxed, all: as in `ring_marked`. Not bounded, but every refusal is somebody's success.
        let mut seen = self.0.word().load(Ordering::Relaxed);
        while seen & MARK != 0 {
            let rung = (seen & !MARK).wrapping_add(RING);
            let word = self.0.word();
            match word.compare_exchange(seen, rung, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        kill_point("bell-rung");
        self.0.wake_all();
    }

    /// Wakes all waiters, marked or not: the janitor's remedy for rings that died.
    ///
    /// Idempotent. Each one looks again, and otherwise sleeps anew.
    #[cold]
    pub(crate) fn alarm(&self) {
        if mutant("bell-alarm") {
            return;
        }
        // Fence `bell-rescued`: meets the one of `Place::fence`. What the dead changed and did not
        // ring for is before it, as the janitor knows of the death; the bell's change is after it.
        fence("bell-rescued");
        // Relaxed: as in `ring_marked`.
        self.0.word().fetch_add(RING, Ordering::Relaxed);
        self.0.wake_all();
    }

    /// Waits until `ready` or the deadline, see [`wait::wait`].
    pub(crate) fn wait(
        &self,
        terms: Terms<'_>,
        ready: impl FnMut() -> bool,
        suspect: impl FnMut(),
    ) -> Waited {
        wait::wait(self, terms, ready, suspect)
    }

    /// Where a thread waits that waits for other things as well.
    pub(crate) fn post<'a>(&'a self, epoch: &'a Futex) -> Post<'a> {
        Post::new(Spot::Bell(self), Some(epoch), Fence::Full)
    }

    /// A bell outside of any segment.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self(Futex::new(0))
    }
}

impl Place for Bell {
    fn futex(&self) -> &Futex {
        &self.0
    }

    fn demand_fences(&self) -> bool {
        false
    }

    fn announce(&self) -> u32 {
        // Relaxed: the fence that follows orders it.
        self.0.word().fetch_or(MARK, Ordering::Relaxed) | MARK
    }

    fn is_heavy(&self) -> bool {
        false
    }

    fn fence(&self) {
        // Fence `bell`: meets the one of `is_marked`. The mark is before it, the second look after.
        fence_after_rmw("bell");
    }

    fn retract(&self, unwoken: u32) -> bool {
        // Relaxed: a remark. Who was woken by the janitor finds the bell rung as well, and the
        // epoch changed.
        self.0.word().load(Ordering::Relaxed) != unwoken
    }

    fn pass_on(&self) {}

    fn leave(&self) {
        self.ring_one();
    }
}
