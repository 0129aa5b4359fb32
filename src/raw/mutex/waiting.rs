//! How threads wait for a mutex: on its word, with a mark in it.

use std::cell::Cell;
use std::time::Instant;

use crate::shim::{self, Futex, Ordering, mutant};
use crate::sys::clock::Deadline;

use super::super::participants::PARTICIPANTS_MAX;
use super::super::wait::{self, Place, Terms, Waited};
use super::{AWAITED, CROWD, Legacy, Me, Mutex, OWNER, Owner, Refusal};

/// What no word is: a sleep on it ends at once.
const NEVER: u32 = u32::MAX;

impl Mutex {
    #[cold]
    pub(super) fn lock_slow(
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
        // Not bounded, but every refusal is somebody's success.
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

    /// Looks less and less often: each look takes the line away from the owner, who is about to
    /// write it, and two that look all the time hand the lock to and fro at each turn.
    fn linger(&self, deadline: Deadline, ready: &mut impl FnMut() -> bool) -> bool {
        for look in 0..shim::BACK_OFFS {
            shim::back_off(look);
            if ready() {
                return true;
            }
        }
        wait::give_way(Instant::now(), deadline, ready)
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
