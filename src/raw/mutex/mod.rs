//! The mutex: who holds it is in the same word as that it is held, so a dead owner is known.
//!
//! What the word says is changed by one compare-and-exchange each time, so whoever is killed has
//! the lock or has it not. What a dead owner had is given back by the janitor
//! ([`sweep`](Mutex::sweep)); the next owner is told, as its data may be half written.
//!
//! Sleepers wait on the word itself, and the kernel knows who they are, so a waiter that dies
//! leaves nothing behind but a mark.
//!
//! Source: the states of Ulrich Drepper's "Futexes Are Tricky" (mutex 2), with the owner in the
//! place of 1 and a flag in the place of 2.

mod owner;
mod waiting;

use crate::shim::{AtomicU32, AtomicU64, Futex, Ordering, at, kill_point, mutant};

use super::participants::PARTICIPANTS_MAX;
use super::wait::Terms;

/// The bits of the owner: its participant, and one more.
const OWNER: u32 = 0xfff;
/// Somebody may sleep until it is free.
const AWAITED: u32 = 1 << 12;
/// As `AWAITED`; all of them are to be woken, as they can go on side by side.
const CROWD: u32 = 1 << 13;
/// An owner died.
const DIED: u32 = 1 << 14;
/// An owner panicked.
const PANICKED: u32 = 1 << 15;

/// In `holder`, beside its thread: what the owner does leaves the data whole at every instruction.
const CALM: u32 = 1 << 31;

const _: () = assert!(PARTICIPANTS_MAX <= OWNER);

/// A thread of a participant. No two threads of one participant have the same number, and none has
/// zero; the top bit is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Me {
    pub(crate) participant: u32,
    pub(crate) thread: u32,
}

impl Me {
    /// The same thread, as one that leaves the data whole at every instruction from the first one
    /// on, until it says otherwise by [`Mutex::be_busy`]. Nobody is told when it dies.
    #[inline]
    pub(crate) fn calmly(self) -> Self {
        Self { thread: self.thread | CALM, ..self }
    }
}

/// A lock in place. Zeroed memory is one that is free.
///
/// | word                        | meaning                        | changed by                  |
/// |-----------------------------|--------------------------------|-----------------------------|
/// | 0                           | free                           |                             |
/// | `p + 1`                     | participant `p` has it         | `p`, from free              |
/// | `p + 1` and `AWAITED`       | and somebody may sleep         | a waiter, before it sleeps; |
/// |                             |                                | `p`, if it slept itself     |
/// | `p + 1` and `CROWD`         | and all sleepers are to wake   | the same                    |
/// | free, and `DIED`, `PANICKED`| what it guards may be torn     | the owner or its janitor;   |
/// |                             |                                | anybody takes it away       |
///
/// Whoever frees it takes both marks away and wakes one, or all. Who was woken puts the mark back
/// when it takes the lock, as others may sleep still; and when it gives up.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Mutex {
    word: Futex,
    /// How often the owner has it; for locks that count.
    depth: AtomicU32,
    /// The thread that has it, and whether it is `CALM`. Written by the owner alone, after it took
    /// the lock; zero again before it frees it, as by the janitor before it frees the lock of the
    /// dead. So a thread that finds itself here and its participant in the word has the lock; and
    /// an owner that is not found here has not begun to use it, or has done all that it would.
    holder: AtomicU32,
    _reserved: AtomicU32,
    /// Who died last with the lock in its hands: its participant, and its pid above. A remark.
    victim: AtomicU64,
}

/// How an owner leaves what the lock guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// As it means to.
    Done,
    /// It panicked, and did not mean to.
    Panicked,
}

/// Why a lock was not got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Somebody has it.
    Held,
    /// Somebody had it until the deadline.
    TimedOut,
    /// More of this participant's threads have it than can be counted.
    TooMany,
    /// This very thread has it.
    Own,
    /// The word is none of a lock.
    Corrupt,
}

/// What former owners left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Legacy(u32);

impl Legacy {
    /// All is well.
    pub(crate) const NONE: Self = Self(0);

    /// Whether there is any.
    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether an owner panicked.
    pub(crate) fn panicked(self) -> bool {
        self.0 & PANICKED != 0
    }

    /// Whether an owner died.
    pub(crate) fn died(self) -> bool {
        self.0 & DIED != 0
    }
}

/// What is known of a participant that is said to have a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// It lives, or was dead and is recovered.
    Known,
    /// There is no such participant.
    Unknown,
}

impl Mutex {
    /// Takes the lock if it is free.
    #[inline]
    pub(crate) fn try_lock(&self, me: Me) -> Result<Legacy, Refusal> {
        if self.take_unmarked(me) {
            return Ok(Legacy::NONE);
        }
        match self.take(me, 0) {
            Some(legacy) => Ok(legacy),
            None if self.is_held_by(me) => Err(Refusal::Own),
            None => Err(Refusal::Held),
        }
    }

    /// Takes the lock, or waits for it until the deadline.
    ///
    /// `suspect` is told whom the word names, when a sleep ended without a wake; it recovers the
    /// dead.
    #[inline]
    pub(crate) fn lock<'a>(
        &self,
        me: Me,
        terms: impl FnOnce() -> Terms<'a>,
        suspect: impl FnMut(u32) -> Owner,
    ) -> Result<Legacy, Refusal> {
        if self.take_unmarked(me) { Ok(Legacy::NONE) } else { self.lock_slow(me, terms(), suspect) }
    }

    /// The whole of a lock that nobody else wants: free, and nothing to be said about it.
    #[inline]
    fn take_unmarked(&self, me: Me) -> bool {
        let word = self.word.word();
        let taken = me.participant + 1;
        // Acquire `mutex`: what the last owner did under the lock is seen, and the janitor's.
        let success = at(Ordering::Acquire, "mutex");
        let is_taken = word.compare_exchange(0, taken, success, Ordering::Relaxed).is_ok();
        if is_taken {
            kill_point("mutex-taken");
            self.hold(me);
        }
        is_taken
    }

    /// Takes the lock if it is free, setting `marks` with it. `None` if somebody has it.
    fn take(&self, me: Me, marks: u32) -> Option<Legacy> {
        let word = self.word.word();
        // Relaxed: the exchange decides.
        let mut seen = word.load(Ordering::Relaxed);
        // Not bounded, but every refusal is somebody's success.
        while seen & OWNER == 0 {
            let taken = seen | marks | (me.participant + 1);
            // Acquire `mutex`: as in `take_unmarked`.
            let success = at(Ordering::Acquire, "mutex");
            match word.compare_exchange(seen, taken, success, Ordering::Relaxed) {
                Ok(_) => {
                    kill_point("mutex-taken");
                    self.hold(me);
                    return Some(Legacy(seen & (DIED | PANICKED)));
                }
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Frees the lock that a thread of participant `owner`, the caller, has.
    ///
    /// Where the word names somebody else, it was written over, and is left alone.
    #[inline]
    pub(crate) fn unlock(&self, owner: u32, leaving: Leaving) {
        if leaving == Leaving::Panicked {
            self.say_panicked();
        }
        self.let_go();
        // Release `mutex`: what was done under the lock is seen by the next owner.
        let success = at(Ordering::Release, "mutex");
        let mine = owner + 1;
        if self.word.word().compare_exchange(mine, 0, success, Ordering::Relaxed).is_err() {
            self.unlock_slow(owner);
        }
    }

    #[cold]
    fn unlock_slow(&self, owner: u32) {
        let word = self.word.word();
        // Relaxed: the exchange decides.
        let mut seen = word.load(Ordering::Relaxed);
        // Not bounded, but every refusal is somebody's success.
        while seen & OWNER == owner + 1 {
            let free = seen & (DIED | PANICKED);
            // Release `mutex`: as in `unlock`.
            let success = at(Ordering::Release, "mutex");
            match word.compare_exchange(seen, free, success, Ordering::Relaxed) {
                Ok(_) => {
                    kill_point("mutex-freed");
                    return self.wake(seen);
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Wakes whom the word of before asks for.
    fn wake(&self, before: u32) {
        if before & CROWD != 0 {
            self.word.wake_all();
        } else if before & AWAITED != 0 && !mutant("mutex-wake") {
            let _ = self.word.wake_one();
        }
    }

    /// Gives back what participant `id`, whose process was `pid`, had: as its last will if it
    /// `died`, and otherwise as it would have itself. Wakes those whose waker died.
    pub(crate) fn sweep(&self, id: u32, pid: u32, died: bool) {
        // Acquire `mutex`: behind it comes what the dead owner did.
        let seen = self.word.word().load(at(Ordering::Acquire, "mutex"));
        if seen & OWNER == id + 1 {
            // Relaxed, both: seen behind the Acquire of the next owner.
            let holder = self.holder.load(Ordering::Relaxed);
            self.depth.store(0, Ordering::Relaxed);
            // Before the holder goes, by whom the next janitor would know it too.
            if died && holder != 0 && holder & CALM == 0 && !mutant("mutex-poison") {
                self.poison(id, pid);
            }
            kill_point("mutex-swept");
            self.let_go();
            self.unlock_slow(id);
        }
        if died && !mutant("mutex-sweep-wake") {
            self.alarm();
        }
    }

    /// Wakes all waiters, marked or not: the janitor's remedy for wakes that died.
    #[cold]
    pub(crate) fn alarm(&self) {
        self.word.wake_all();
    }
}

#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<Mutex>() == 24);

#[cfg(all(test, not(multiproc_loom)))]
mod tests {
    use super::*;
    use crate::raw::wait::Fence;
    use crate::sys::clock::Deadline;
    use std::time::Duration;

    const ME: Me = Me { participant: 0, thread: 1 };

    fn lock_in(
        mutex: &Mutex,
        time: Duration,
        ask: impl FnMut(u32) -> Owner,
    ) -> Result<(), Refusal> {
        let epoch = Futex::new(0);
        let terms = || Terms { epoch: &epoch, how: Fence::Full, deadline: Deadline::after(time) };
        mutex.lock(ME, terms, ask).map(drop)
    }

    #[test]
    fn an_owner_that_does_not_exist_is_found_out() {
        let mutex = Mutex::new();
        mutex.try_lock(Me { participant: 77, thread: 1 }).unwrap();
        let mut asked = Vec::new();
        let ask = |owner| {
            asked.push(owner);
            Owner::Unknown
        };
        assert_eq!(lock_in(&mutex, Duration::from_secs(60), ask), Err(Refusal::Corrupt));
        assert_eq!(asked, [77, 77]);
    }

    #[test]
    fn any_word_is_answered() {
        for word in (0..32).map(|bit| 1 << bit).chain([u32::MAX, OWNER, PARTICIPANTS_MAX + 1]) {
            let mutex = Mutex::new();
            mutex.word.word().store(word, Ordering::Relaxed);
            let got = lock_in(&mutex, Duration::ZERO, |_| Owner::Known);
            assert_eq!(got.is_ok(), word & OWNER == 0, "{word:#x}");
            mutex.unlock(ME.participant, Leaving::Done);
            mutex.sweep(3, 4, true);
            mutex.clear();
        }
    }
}
