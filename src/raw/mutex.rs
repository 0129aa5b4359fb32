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

use std::cell::Cell;

use crate::shim::{AtomicU32, AtomicU64, Futex, Ordering, at, kill_point, mutant};

use super::participants::PARTICIPANTS_MAX;
use super::wait::{self, Place, Terms, Waited};

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

/// In `holder`: what the owner does leaves the data whole at every instruction.
const CALM: u64 = 1 << 32;

const _: () = assert!(PARTICIPANTS_MAX <= OWNER);

/// A thread of a participant. No two threads of one participant have the same number, and none has
/// zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Me {
    pub(crate) participant: u32,
    pub(crate) thread: u32,
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
    /// The thread that has it and whether it is `CALM`, or zero. Written by the owner alone, after
    /// it took the lock and before it frees it; so a thread that finds itself here and its
    /// participant in the word has the lock. By the janitor, before it frees the lock of the dead.
    holder: AtomicU64,
    /// Who died last with the lock in its hands: its participant, and its pid above. A remark.
    victim: AtomicU64,
}

/// What no word is: a sleep on it ends at once.
const NEVER: u32 = u32::MAX;

/// How an owner leaves what the lock guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// As it means to.
    Done,
    /// It panicked, and did not mean to.
    Panicked,
    /// As it means to, after [`Mutex::be_calm`].
    Calm,
}

/// Why a lock was not got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Somebody has it.
    Held,
    /// Somebody had it until the deadline.
    TimedOut,
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

    #[cold]
    fn lock_slow(
        &self,
        me: Me,
        terms: Terms<'_>,
        mut suspect: impl FnMut(u32) -> Owner,
    ) -> Result<Legacy, Refusal> {
        if self.is_held_by(me) {
            return Err(Refusal::Own);
        }
        let place = Spot { mutex: self, mark: AWAITED, has_marked: Cell::new(false) };
        let mut legacy = None;
        let is_corrupt = Cell::new(false);
        let mut unknown = 0;
        let ready = || {
            let marks = if place.has_marked.get() && !mutant("mutex-keep") { AWAITED } else { 0 };
            legacy = self.take(me, marks);
            legacy.is_some() || is_corrupt.get()
        };
        let suspect = || self.suspect(&mut suspect, &mut unknown, &is_corrupt);
        match wait::wait(&place, terms, ready, suspect) {
            Waited::TimedOut => Err(Refusal::TimedOut),
            Waited::Ready => legacy.ok_or(Refusal::Corrupt),
        }
    }

    /// Asks about the owner. Twice unknown without a change in between, it is none.
    fn suspect(
        &self,
        ask: &mut impl FnMut(u32) -> Owner,
        unknown: &mut u32,
        is_corrupt: &Cell<bool>,
    ) {
        // Relaxed: whoever asks looks at the word again.
        let owner = self.word.word().load(Ordering::Relaxed) & OWNER;
        let Some(participant) = owner.checked_sub(1) else { return };
        if participant < PARTICIPANTS_MAX && ask(participant) == Owner::Known {
            *unknown = 0;
        } else if *unknown == owner {
            is_corrupt.set(true);
        } else {
            *unknown = owner;
        }
    }

    /// Waits until nobody has the lock, beside others who do the same: `ready` says whether that is
    /// enough. Each one that frees the lock wakes all of them.
    pub(crate) fn wait_until_free(
        &self,
        terms: Terms<'_>,
        ready: impl FnMut() -> bool,
        mut suspect: impl FnMut(u32) -> Owner,
    ) -> Result<(), Refusal> {
        let place = Spot { mutex: self, mark: CROWD, has_marked: Cell::new(false) };
        let is_corrupt = Cell::new(false);
        let mut unknown = 0;
        let mut ready = ready;
        let suspect = || self.suspect(&mut suspect, &mut unknown, &is_corrupt);
        match wait::wait(&place, terms, || ready() || is_corrupt.get(), suspect) {
            Waited::TimedOut => Err(Refusal::TimedOut),
            Waited::Ready if is_corrupt.get() => Err(Refusal::Corrupt),
            Waited::Ready => Ok(()),
        }
    }

    /// Frees the lock that this thread has.
    ///
    /// Where the word names somebody else, it was written over, and is left alone.
    #[inline]
    pub(crate) fn unlock(&self, me: Me, leaving: Leaving) {
        let holder = if leaving == Leaving::Calm { CALM } else { 0 };
        // Relaxed: a thread looks for itself here, and finds what it wrote itself.
        self.holder.store(holder, Ordering::Relaxed);
        kill_point("mutex-let-go");
        // Release `mutex`: what was done under the lock is seen by the next owner.
        let success = at(Ordering::Release, "mutex");
        let mine = me.participant + 1;
        let panicked = leaving == Leaving::Panicked;
        let is_done = !panicked
            && self.word.word().compare_exchange(mine, 0, success, Ordering::Relaxed).is_ok();
        if !is_done {
            self.unlock_slow(me.participant, if panicked { PANICKED } else { 0 });
        }
    }

    #[cold]
    fn unlock_slow(&self, owner: u32, news: u32) {
        let word = self.word.word();
        // Relaxed: the exchange decides.
        let mut seen = word.load(Ordering::Relaxed);
        // Bounded: the flags of a word that names one owner change four times at the most.
        while seen & OWNER == owner + 1 {
            let free = (seen & (DIED | PANICKED)) | news;
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
            // Relaxed, all: seen behind the Acquire of the next owner.
            let calm = self.holder.load(Ordering::Relaxed) & CALM;
            self.holder.store(calm, Ordering::Relaxed);
            self.depth.store(0, Ordering::Relaxed);
            let is_torn = died && calm == 0 && !mutant("mutex-poison");
            if is_torn {
                self.victim.store(u64::from(pid) << 32 | u64::from(id), Ordering::Relaxed);
            }
            kill_point("mutex-swept");
            self.unlock_slow(id, if is_torn { DIED } else { 0 });
        }
        if died && !mutant("mutex-sweep-wake") {
            self.word.wake_all();
        }
    }
}

/// For who has the lock.
impl Mutex {
    #[inline]
    fn hold(&self, me: Me) {
        // Relaxed: see `unlock`. Not calm, whatever a calm owner that died left here.
        self.holder.store(u64::from(me.thread), Ordering::Relaxed);
    }

    /// What the owner does from here on, until it frees the lock, leaves the data whole at every
    /// instruction.
    #[inline]
    pub(crate) fn be_calm(&self, me: Me) {
        // Relaxed: should it come later than what follows, a death in between is taken for worse
        // than it was.
        self.holder.store(CALM | u64::from(me.thread), Ordering::Relaxed);
    }

    /// Whether this thread has the lock.
    #[inline]
    pub(crate) fn is_held_by(&self, me: Me) -> bool {
        // Relaxed, both: a thread sees what it wrote itself, and nobody else writes its number.
        let word = self.word.word().load(Ordering::Relaxed);
        word & OWNER == me.participant + 1
            && self.holder.load(Ordering::Relaxed) as u32 == me.thread
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

    /// Whether somebody may sleep until it is free.
    pub(crate) fn is_awaited(&self) -> bool {
        // Relaxed: a remark.
        self.word.word().load(Ordering::Relaxed) & (AWAITED | CROWD) != 0
    }

    /// A wait whose time is up after one sleep, however it ended.
    #[cfg(all(test, multiproc_loom))]
    pub(crate) fn sleep_and_give_up(&self, epoch: &Futex) {
        let place = Spot { mutex: self, mark: AWAITED, has_marked: Cell::new(false) };
        let unwoken = place.announce();
        self.word.wait_or(unwoken, epoch, 0, None);
        if place.retract(unwoken) {
            place.pass_on();
        }
    }

    /// A lock outside of any segment.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self {
            word: Futex::new(0),
            depth: AtomicU32::new(0),
            holder: AtomicU64::new(0),
            victim: AtomicU64::new(0),
        }
    }
}

/// A waiter's place: the word itself.
struct Spot<'a> {
    mutex: &'a Mutex,
    /// What it asks of whoever frees the lock.
    mark: u32,
    has_marked: Cell<bool>,
}

impl Spot<'_> {
    /// Marks the word if somebody has the lock. The word as it is then, or `NEVER` if nobody has.
    fn leave_mark(&self) -> u32 {
        let word = self.mutex.word.word();
        // Relaxed, all: one word says whether it is free, and whom to wake.
        let mut seen = word.load(Ordering::Relaxed);
        // Bounded as in `unlock_slow`, or every refusal is somebody's success.
        while seen & OWNER != 0 && seen & self.mark == 0 {
            let marked = seen | self.mark;
            match word.compare_exchange(seen, marked, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return marked,
                Err(now) => seen = now,
            }
        }
        // A sleep on a free word would not be ended by anybody.
        if seen & OWNER == 0 && !mutant("mutex-free-sleep") { NEVER } else { seen }
    }
}

impl Place for Spot<'_> {
    fn futex(&self) -> &Futex {
        &self.mutex.word
    }

    fn demand_fences(&self) -> bool {
        false
    }

    fn announce(&self) -> u32 {
        self.has_marked.set(true);
        self.leave_mark()
    }

    /// The word is the condition and the mark, so there is nothing to be ordered.
    fn fence(&self) {}

    fn retract(&self, _unwoken: u32) -> bool {
        // Relaxed: the mark says by itself that nobody is owed a wake.
        self.mutex.word.word().load(Ordering::Relaxed) & self.mark == 0
    }

    /// The wake may have been meant for another: it is left to who frees the lock next.
    fn pass_on(&self) {
        if mutant("mutex-pass-on") {
            return;
        }
        if self.leave_mark() == NEVER {
            self.mutex.wake(self.mark);
        }
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
            mutex.unlock(ME, Leaving::Done);
            mutex.sweep(3, 4, true);
            mutex.clear();
        }
    }
}
