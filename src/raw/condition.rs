//! The condition: where threads that gave up a lock wait until somebody says that things changed.
//!
//! Each waiting thread has a slot, which is one futex word, so a signal is given to one thread and
//! cannot be taken by another; whom it was given to is written where the janitor finds it.
//!
//! ```text
//! waiter                               notifier
//!   enlist (the lock is held)            takes a copy of the slots
//!   give up the lock                     WAITING -> SIGNALLED, those that came first
//!   sleep on its slot until SIGNALLED    wakes each of them
//!   take the lock
//!   SIGNALLED -> FREE
//! ```
//!
//! **The lock orders.** A notifier that changed something under the lock comes either before the
//! waiter, who then sees the change and does not wait, or behind it, and then sees its slot. So
//! there are no two words in which they could miss each other, and no fence: the word that says
//! "signalled" is the word slept on. It carries what the notifier did before, for those who change
//! things without the lock.
//!
//! **Deaths.** A waiter keeps its signal in its slot until it has the lock. If it dies before, the
//! janitor gives the signal to another one; if the janitor dies between that and freeing the slot,
//! the next one gives another signal, so a death can wake a thread too many, never one too few. A
//! notifier that dies between a signal and the wake is followed by the janitor's wake.

use crate::shim::{AtomicU32, Futex, Ordering, at, kill_point, mutant};

use super::Corrupt;
use super::participants::PARTICIPANTS_MAX;
use super::wait::{self, Place, Terms, Waited};

/// How many threads can wait at once.
#[cfg(not(multiproc_loom))]
pub(crate) const WAITERS_MAX: usize = 1024;
#[cfg(multiproc_loom)]
pub(crate) const WAITERS_MAX: usize = 3;

/// The state of a slot that nobody uses; the whole word is this.
const FREE: u32 = 0;
/// A thread waits, or is about to, and has no signal.
const WAITING: u32 = 1;
/// The thread has its signal, and not yet its lock.
const SIGNALLED: u32 = 2;

const STATE: u32 = 0b11;
const OWNER_SHIFT: u32 = 2;
const OWNER: u32 = 0xfff << OWNER_SHIFT;
/// One wait: the bits from here up are its number.
const TICKET: u32 = 1 << 14;

/// A place for waiters and their signals. Zeroed memory is one without.
///
/// Each slot is a word:
///
/// ```text
///  31    14 13   2 1     0
/// [ ticket | owner | state ]      the word 0 is FREE
///
/// FREE         -> WAITING(p)     by a thread of participant p, which holds its lock
/// WAITING(p)   -> SIGNALLED(p)   by a notifier
/// WAITING(p)   -> FREE           by the thread, whose time is up
/// SIGNALLED(p) -> FREE           by the thread, which has its lock again
///
/// WAITING(dead)   -> FREE        by the janitor
/// SIGNALLED(dead) -> FREE        by the janitor, who has given the signal to another
/// ```
///
/// Tickets are given out in the order in which threads came, and who has the oldest is signalled
/// first. They wrap around: who was overtaken by 2^17 others, none of whom was signalled, may be
/// signalled later than it should.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Condition {
    /// The ticket of the next that comes, in place; the bits below are 0.
    tickets: AtomicU32,
    /// One more than the highest slot that was ever used. Never sinks; raised before a slot is.
    mark: AtomicU32,
    slots: [Slot; WAITERS_MAX],
}

/// As many threads wait as can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// A thread that is about to wait: it can be signalled from now on.
#[derive(Debug)]
#[must_use = "a slot that nobody waits in swallows a signal"]
pub(crate) struct Enlisted {
    slot: usize,
    word: u32,
}

/// A signal that was given to this thread, and becomes another's if it dies.
#[derive(Debug)]
#[must_use = "a signal that is not accepted occupies a slot"]
pub(crate) struct Signal {
    slot: usize,
    word: u32,
}

impl Condition {
    /// Takes a slot for a thread of participant `me`, which holds its lock.
    pub(crate) fn enlist(&self, me: u32) -> Result<Enlisted, Full> {
        // Relaxed: a ticket says who came first, and nothing else.
        let ticket = self.tickets.fetch_add(TICKET, Ordering::Relaxed) & !(TICKET - 1);
        let word = ticket | (me << OWNER_SHIFT) & OWNER | WAITING;
        let slot = (0..WAITERS_MAX).find(|slot| self.occupy(*slot, word)).ok_or(Full)?;
        Ok(Enlisted { slot, word })
    }

    /// Takes this slot if it is free.
    fn occupy(&self, slot: usize, word: u32) -> bool {
        // Relaxed: the exchange decides.
        if self.slots[slot].load(Ordering::Relaxed) != FREE {
            return false;
        }
        // First the mark: nobody looks for a slot beyond it.
        if !mutant("condition-mark-first") {
            self.raise_mark(slot);
        }
        kill_point("condition-marked");
        let is_taken = self.slots[slot].change(FREE, word).is_ok();
        kill_point("condition-enlisted");
        if mutant("condition-mark-first") {
            self.raise_mark(slot);
        }
        is_taken
    }

    fn raise_mark(&self, slot: usize) {
        let end = slot as u32 + 1;
        // Relaxed, both: whoever must find the slot comes behind the lock, or behind the death of
        // its owner.
        if self.mark.load(Ordering::Relaxed) < end {
            self.mark.fetch_max(end, Ordering::Relaxed);
        }
    }

    /// Waits for the signal of a thread that enlisted, and has given up its lock since. `None` if
    /// the deadline came first: the slot is free again.
    ///
    /// # Errors
    ///
    /// `Corrupt` if somebody has written over the slot.
    pub(crate) fn wait(
        &self,
        Enlisted { slot, word }: Enlisted,
        terms: Terms<'_>,
        suspect: impl FnMut(),
    ) -> Result<Option<Signal>, Corrupt> {
        let spot = Spot { slot: &self.slots[slot], waiting: word };
        let mut seen = word;
        let ready = || {
            seen = spot.slot.load(at(Ordering::Acquire, "signalled"));
            seen != word
        };
        if wait::wait(&spot, terms, ready, suspect) == Waited::TimedOut {
            match spot.slot.change(word, FREE) {
                Ok(()) => return Ok(None),
                Err(now) => seen = now,
            }
        }
        kill_point("condition-woken");
        if seen == signalled(word) { Ok(Some(Signal { slot, word: seen })) } else { Err(Corrupt) }
    }

    /// Frees the slot of a thread that was signalled, and has its lock again.
    ///
    /// # Errors
    ///
    /// `Corrupt` if somebody has written over the slot.
    pub(crate) fn accept(&self, Signal { slot, word }: Signal) -> Result<(), Corrupt> {
        self.slots[slot].change(word, FREE).map_err(|_| Corrupt)
    }

    /// Signals those `most` threads that have waited longest, or all if they are fewer, and says
    /// how many it signalled. Without a waiter it changes nothing.
    #[inline]
    pub(crate) fn notify(&self, most: usize) -> usize {
        if self.is_awaited() { self.notify_waiting(most) } else { 0 }
    }

    #[cold]
    fn notify_waiting(&self, most: usize) -> usize {
        // In the copy each wait is found once, so none takes two signals of one notifier.
        let mut copy = [Candidate::default(); WAITERS_MAX];
        let mut rest = self.copy_waiting(&mut copy);
        let mut given = 0;
        // Bounded: each round makes the rest smaller.
        while given < most && !rest.is_empty() {
            let wanted = rest.len().min(most - given);
            if wanted < rest.len() && !mutant("condition-in-turn") {
                rest.select_nth_unstable(wanted);
            }
            let (oldest, younger) = rest.split_at_mut(wanted);
            // Who refuses has given up, or has a signal of another notifier.
            given += oldest.iter().filter(|candidate| self.signal(candidate)).count();
            rest = younger;
        }
        given
    }

    /// Copies who waits.
    fn copy_waiting<'a>(&self, copy: &'a mut [Candidate; WAITERS_MAX]) -> &'a mut [Candidate] {
        // Relaxed: all tickets are about as old as this one.
        let first = self.tickets.load(Ordering::Relaxed).wrapping_sub(1 << 31);
        let mut count = 0;
        for (slot, word) in self.words() {
            if word & STATE == WAITING {
                copy[count] = Candidate { rank: word.wrapping_sub(first), slot, word };
                count += 1;
            }
        }
        &mut copy[..count]
    }

    /// Signals one that was found waiting. False if it waits no more.
    fn signal(&self, candidate: &Candidate) -> bool {
        let slot = &self.slots[candidate.slot];
        let given = slot.change(candidate.word, signalled(candidate.word)).is_ok();
        kill_point("condition-signalled");
        if given && !mutant("condition-wake") {
            slot.0.wake_one();
        }
        given
    }

    /// Whether anybody waits without a signal.
    fn is_awaited(&self) -> bool {
        self.words().any(|(_, word)| word & STATE == WAITING)
    }

    /// How many threads wait without a signal, for those who look.
    pub(crate) fn waiting(&self) -> usize {
        self.words().filter(|(_, word)| word & STATE == WAITING).count()
    }

    /// Those who wait without a signal, one entry a thread, for those who look.
    pub(crate) fn waiters(&self) -> impl Iterator<Item = u32> {
        let waiting = self.words().filter(|(_, word)| word & STATE == WAITING);
        waiting.map(|(_, word)| (word & OWNER) >> OWNER_SHIFT)
    }

    /// The participants that have a signal and not yet their lock: if they are dead, others wait
    /// for their janitor.
    pub(crate) fn suspects(&self) -> impl Iterator<Item = u32> {
        let signalled = self.words().filter(|(_, word)| word & STATE == SIGNALLED);
        signalled.map(|(_, word)| (word & OWNER) >> OWNER_SHIFT)
    }

    /// Takes back the slots of the dead, and gives its signals to others.
    ///
    /// Idempotent; repeated after the death of a janitor, it may give one signal twice.
    #[cold]
    pub(crate) fn sweep(&self, dead: u32) {
        // First those without a signal, so that none is given to the dead from here on.
        for (slot, word) in self.words() {
            if word == owned(word, dead, WAITING) && !mutant("condition-strike") {
                // A refusal means that it was signalled; then it is below.
                let _ = self.slots[slot].change(word, FREE);
            }
        }
        kill_point("condition-struck");
        for (slot, word) in self.words() {
            if word == owned(word, dead, SIGNALLED) {
                self.hand_on(slot, word);
            } else if word & STATE == SIGNALLED && !mutant("condition-wake-again") {
                // The dead may have signalled it, and then not woken it.
                self.slots[slot].0.wake_one();
            }
        }
    }

    /// Gives the signal of a dead waiter to another one.
    fn hand_on(&self, slot: usize, word: u32) {
        // First the signal: once the slot is free, nobody knows of it any more.
        if !mutant("condition-hand-on") {
            self.notify(1);
        }
        kill_point("condition-handed-on");
        // Nobody else changes the slot of a signalled thread that is dead.
        let _ = self.slots[slot].change(word, FREE);
    }

    /// The slots that were ever used, and what is in them.
    fn words(&self) -> impl Iterator<Item = (usize, u32)> {
        // Relaxed: as in `raise_mark`.
        let used = (self.mark.load(Ordering::Relaxed) as usize).min(WAITERS_MAX);
        // Acquire `signalled`: what was done before the signal is done before it is handed on.
        let word = |slot: &Slot| slot.load(at(Ordering::Acquire, "signalled"));
        self.slots[..used].iter().map(word).enumerate()
    }
}

/// One that was found waiting. Who came first is the smallest.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    slot: usize,
    word: u32,
}

/// A slot and its word, see [`Condition`].
#[derive(Debug)]
#[repr(transparent)]
struct Slot(Futex);

impl Slot {
    fn load(&self, ordering: Ordering) -> u32 {
        self.0.word().load(ordering)
    }

    /// Replaces `from` by `to`, or says what is there instead.
    fn change(&self, from: u32, to: u32) -> Result<(), u32> {
        // Release and Acquire `signalled`: what a notifier did before its signal is seen by whom it
        // signalled, also by one that was about to give up.
        let (success, failure) =
            (at(Ordering::Release, "signalled"), at(Ordering::Acquire, "signalled"));
        self.0.word().compare_exchange(from, to, success, failure).map(drop)
    }
}

/// The slot of a thread that waits for a signal in it.
struct Spot<'a> {
    slot: &'a Slot,
    waiting: u32,
}

impl Place for Spot<'_> {
    fn futex(&self) -> &Futex {
        &self.slot.0
    }

    fn demand_fences(&self) -> bool {
        false
    }

    /// It was announced when it enlisted.
    fn announce(&self) -> u32 {
        self.waiting
    }

    /// What is waited for is in the word slept on: there is nothing to miss.
    fn fence(&self) {}

    fn retract(&self, unwoken: u32) -> bool {
        // Relaxed: `ready` looks again, and takes what is there.
        self.slot.load(Ordering::Relaxed) != unwoken
    }

    /// A signal stays where it is until it is accepted.
    fn pass_on(&self) {}
}

/// The word of a slot as it is when a notifier has been there.
fn signalled(waiting: u32) -> u32 {
    waiting & !STATE | SIGNALLED
}

/// A word like this one, of this owner and in this state.
fn owned(word: u32, owner: u32, state: u32) -> u32 {
    word & !(OWNER | STATE) | (owner << OWNER_SHIFT) & OWNER | state
}

#[cfg(any(test, multiproc_loom))]
impl Condition {
    /// A condition outside of any segment.
    pub(crate) fn new() -> Self {
        let slots = std::array::from_fn(|_| Slot(Futex::new(0)));
        Self { tickets: AtomicU32::new(0), mark: AtomicU32::new(0), slots }
    }
}

const _: () = assert!(PARTICIPANTS_MAX <= OWNER >> OWNER_SHIFT);
#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<Condition>() == 8 + 4 * WAITERS_MAX);

#[cfg(all(test, not(multiproc_loom)))]
#[path = "tests/condition.rs"]
mod tests;
