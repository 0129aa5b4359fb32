//! What the owner of a mutex does with it, and what everybody may ask.

#[cfg(test)]
use crate::shim::{AtomicU32, AtomicU64, Futex};
use crate::shim::{Ordering, at, kill_point, program_order};

use super::{AWAITED, CROWD};
use super::{CALM, DIED, Legacy, Me, Mutex, OWNER, PANICKED};

/// For who has the lock.
impl Mutex {
    #[inline]
    pub(super) fn hold(&self, me: Me) {
        // Relaxed: a thread looks for itself here, and finds what it wrote itself.
        self.holder.store(me.thread, Ordering::Relaxed);
        // The janitor is not to find a half of what follows, and nobody here.
        program_order();
    }

    /// Whoever frees the lock says so before.
    #[inline]
    pub(super) fn let_go(&self) {
        // The janitor is not to find nobody here, and a half of what came before.
        program_order();
        // Relaxed: as in `hold`.
        self.holder.store(0, Ordering::Relaxed);
        kill_point("mutex-let-go");
    }

    /// What the owner does from here on, until it frees the lock, is as of any owner that is not
    /// calm.
    #[inline]
    pub(crate) fn be_busy(&self, me: Me) {
        self.hold(Me { thread: me.thread & !CALM, ..me });
    }

    /// Whether this thread has the lock.
    #[inline]
    pub(crate) fn is_held_by(&self, me: Me) -> bool {
        // Acquire `mutex`: a thread of another participant may have this number, and have had the
        // lock; before it freed it, it took its number away.
        let word = self.word.word().load(at(Ordering::Acquire, "mutex"));
        // Relaxed: behind that Acquire stands this thread's number only if it wrote it itself.
        let holder = self.holder.load(Ordering::Relaxed);
        word & OWNER == me.participant + 1 && (holder ^ me.thread) & !CALM == 0
    }

    /// One level more of a lock that counts, for its owner. `None` if there are no more.
    pub(crate) fn deepen(&self) -> Option<u32> {
        // Relaxed: the owner's.
        let deeper = self.depth.load(Ordering::Relaxed).checked_add(1)?;
        self.depth.store(deeper, Ordering::Relaxed);
        Some(deeper)
    }

    /// One level less, for its owner; zero is the last.
    pub(crate) fn rise(&self) -> u32 {
        let left = self.depth.load(Ordering::Relaxed).saturating_sub(1);
        self.depth.store(left, Ordering::Relaxed);
        left
    }

    /// How deep the owner is, for the owner.
    pub(crate) fn depth(&self) -> u32 {
        self.depth.load(Ordering::Relaxed)
    }

    /// Sets how deep the owner is, for the owner.
    pub(crate) fn set_depth(&self, depth: u32) {
        self.depth.store(depth, Ordering::Relaxed);
    }

    /// Says that what the lock guards may have been left half written by a panic.
    pub(crate) fn say_panicked(&self) {
        // Relaxed, here and below: who must not miss it is told by what is freed after it.
        self.word.word().fetch_or(PANICKED, Ordering::Relaxed);
    }

    /// Says that what the lock guards was left half written by a dead participant.
    pub(crate) fn poison(&self, id: u32, pid: u32) {
        self.victim.store(u64::from(pid) << 32 | u64::from(id), Ordering::Relaxed);
        self.word.word().fetch_or(DIED, Ordering::Relaxed);
    }
}

/// For everybody.
impl Mutex {
    /// What is left behind, as of now.
    pub(crate) fn legacy(&self) -> Legacy {
        // Relaxed: a remark.
        Legacy(self.word.word().load(Ordering::Relaxed) & (DIED | PANICKED))
    }

    /// What is left behind, if nobody has the lock: for those who go on without taking it.
    #[inline]
    pub(crate) fn legacy_if_free(&self) -> Option<Legacy> {
        // Acquire `mutex`: what the last owner did under the lock is seen, and the janitor's.
        let seen = self.word.word().load(at(Ordering::Acquire, "mutex"));
        (seen & OWNER == 0).then_some(Legacy(seen & (DIED | PANICKED)))
    }

    /// Takes for granted what former owners left.
    pub(crate) fn clear(&self) {
        // Relaxed: who clears it has looked at the data, under the lock.
        self.word.word().fetch_and(!(DIED | PANICKED), Ordering::Relaxed);
    }

    /// Who died last with the lock in its hands, and its pid.
    pub(crate) fn victim(&self) -> (u32, u32) {
        // Relaxed: behind the Acquire that found `DIED`.
        let victim = self.victim.load(Ordering::Relaxed);
        (victim as u32, (victim >> 32) as u32)
    }

    /// The participant that has the lock, as of now.
    #[inline]
    pub(crate) fn owner(&self) -> Option<u32> {
        // Relaxed: a remark, or ordered by the fence of whoever asks.
        (self.word.word().load(Ordering::Relaxed) & OWNER).checked_sub(1)
    }

    /// Whether its owner, if it has one, leaves the data whole at every instruction.
    pub(crate) fn is_calm(&self) -> bool {
        // Relaxed: a remark.
        self.holder.load(Ordering::Relaxed) & CALM != 0
    }

    /// Whether somebody may sleep until it is free.
    pub(crate) fn is_awaited(&self) -> bool {
        // Relaxed: a remark.
        self.word.word().load(Ordering::Relaxed) & (AWAITED | CROWD) != 0
    }

    /// A lock outside of any segment.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self {
            word: Futex::new(0),
            depth: AtomicU32::new(0),
            holder: AtomicU32::new(0),
            _reserved: AtomicU32::new(0),
            victim: AtomicU64::new(0),
        }
    }
}
