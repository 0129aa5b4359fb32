//! Ranges: parts of an array that threads have for themselves side by side, and the whole of it.
//!
//! A mutex guards the table of who has which part. Who takes a part has the mutex for a moment, to
//! see that nobody has any of it and to write itself down. Who takes the whole keeps the mutex, so
//! that nobody comes any more, and waits for those that are there to leave. Who leaves needs no
//! mutex: it strikes itself out and rings the bell.
//!
//! An entry names its participant, so what the dead had is known. The janitor
//! ([`sweep`](Ranges::sweep)) says that it may be half written before it lets go of it.

mod caller;

use crate::shim::{AtomicU32, AtomicU64, Ordering, at, kill_point, mutant};

use super::bell::Bell;
use super::mutex::{Leaving, Legacy, Me, Mutex, Owner, Refusal};
use super::participants::PARTICIPANTS_MAX;
use super::wait::Terms;

use caller::Blocker;
pub(crate) use caller::Caller;

/// So many parts of one array can be taken at once.
#[cfg(not(multiproc_loom))]
pub(crate) const RANGES_MAX: usize = 64;
#[cfg(multiproc_loom)]
pub(crate) const RANGES_MAX: usize = 2;

/// The bits of the owner in the word of an entry: its participant, and one more.
const OWNER: u64 = 0xfff;
/// The bits above count how often the entry was freed.
const ONCE: u64 = 1 << 12;

const _: () = assert!(PARTICIPANTS_MAX as u64 <= OWNER && RANGES_MAX <= u64::BITS as usize);

/// From the first of these elements to the one before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Span {
    fn overlaps(self, other: Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }
}

/// A range that was taken: its entry, and what that said then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    entry: u32,
    word: u64,
}

/// One range that somebody has.
///
/// | word           | meaning                          | changed by                             |
/// |----------------|----------------------------------|----------------------------------------|
/// | `n`, 0         | free, for the `n`th time         |                                        |
/// | `n`, `p + 1`   | `p` has the range                | `p`, from free, with the mutex         |
/// | `n + 1`, 0     | free again                       | `p`, or its janitor; without the mutex |
///
/// So the word is never again what it was while somebody had the range. The other three are written
/// before the word names somebody, and mean nothing while it does not.
#[derive(Debug)]
#[repr(C)]
struct Entry {
    word: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
    thread: AtomicU32,
    _reserved: AtomicU32,
}

fn owner_of(word: u64) -> Option<u32> {
    ((word & OWNER) as u32).checked_sub(1)
}

impl Entry {
    /// What the entry says of whoever has it.
    fn span(&self) -> Span {
        // Relaxed, both: written before the word named somebody, which whoever asks has seen.
        Span { start: self.start.load(Ordering::Relaxed), end: self.end.load(Ordering::Relaxed) }
    }

    /// Whether this thread has it. Only it itself can be sure of the answer, and the owner of the
    /// mutex.
    fn is_of(&self, me: Me) -> bool {
        // Relaxed, both: what this thread wrote itself, or somebody who had the mutex before.
        owner_of(self.word.load(Ordering::Relaxed)) == Some(me.participant)
            && self.thread.load(Ordering::Relaxed) == me.thread
    }

    /// Frees the entry if its word is as it was. What was done in the range is seen by whoever
    /// finds it free.
    fn free(&self, word: u64) -> bool {
        let free = (word & !OWNER).wrapping_add(ONCE);
        // Release `range`: pairs with Acquire `range` of those that look.
        let success = at(Ordering::Release, "range");
        self.word.compare_exchange(word, free, success, Ordering::Relaxed).is_ok()
    }
}

/// The table of an array in place. Zeroed memory is one that nobody has any part of.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Ranges {
    mutex: Mutex,
    /// Rung when a range is free. Waited at without the mutex by those who want a part, and with
    /// it by who wants the whole.
    bell: Bell,
    _reserved: AtomicU32,
    /// A bit for each entry that may be taken. Changed by the owner of the mutex: set before the
    /// entry is taken, unset when it was seen free.
    used: AtomicU64,
    entries: [Entry; RANGES_MAX],
}

impl Ranges {
    /// The mutex, for those who ask who has the whole and what is left behind.
    #[inline]
    pub(crate) fn mutex(&self) -> &Mutex {
        &self.mutex
    }

    /// Takes the mutex as soon as nobody has any of `span`, which is within `length`; calmly.
    #[inline]
    pub(crate) fn enter<'a>(
        &self,
        caller: &Caller<impl Fn() -> Terms<'a>, impl Fn(u32) -> Owner>,
        span: Span,
        length: u64,
    ) -> Result<Legacy, Refusal> {
        let legacy = caller.take(&self.mutex)?;
        // Relaxed: the mutex orders it.
        if self.used.load(Ordering::Relaxed) == 0 {
            return Ok(legacy);
        }
        self.enter_among(caller, span, length)
    }

    /// The rest of `enter`, where others may be.
    #[cold]
    fn enter_among<'a>(
        &self,
        caller: &Caller<impl Fn() -> Terms<'a>, impl Fn(u32) -> Owner>,
        span: Span,
        length: u64,
    ) -> Result<Legacy, Refusal> {
        // Not bounded, but it waits: each round sleeps until an entry changes.
        while let Some(blocker) = self.look(caller.me, span, length)? {
            self.unlock(caller.me.participant, Leaving::Done);
            // Relaxed: whoever finds it changed looks again with the mutex.
            let word = || self.entries[blocker.entry].word.load(Ordering::Relaxed);
            caller.wait(&self.bell, || Some(blocker).filter(|blocker| word() == blocker.word))?;
            let _ = caller.take(&self.mutex)?;
        }
        Ok(self.legacy_behind())
    }

    /// The entries of these bits.
    fn among(&self, mut used: u64) -> impl Iterator<Item = (usize, &Entry)> {
        std::iter::from_fn(move || {
            let index = used.trailing_zeros() as usize;
            used &= used.wrapping_sub(1);
            self.entries.get(index).map(|entry| (index, entry))
        })
    }

    /// The legacy of those whose ranges were seen free, too.
    fn legacy_behind(&self) -> Legacy {
        // What the janitor says of a range it says before the range is free, see `sweep`.
        self.mutex.legacy()
    }

    /// Who has some of a part, for a thread with the mutex. If nobody has, forgets the entries that
    /// are free; if that is an error, frees the mutex.
    fn look(&self, me: Me, span: Span, length: u64) -> Result<Option<Blocker>, Refusal> {
        // Relaxed: the mutex orders it.
        let mut used = self.used.load(Ordering::Relaxed);
        for (index, entry) in self.among(used) {
            // Acquire `range`: what was done in a range that is free now is seen.
            let word = entry.word.load(at(Ordering::Acquire, "range"));
            if owner_of(word).is_none() {
                used &= !(1 << index);
                continue;
            }
            let theirs = entry.span();
            if theirs.end < theirs.start || length < theirs.end {
                self.unlock(me.participant, Leaving::Done);
                return Err(Refusal::Corrupt);
            }
            if theirs.overlaps(span) && entry.is_of(me) {
                self.unlock(me.participant, Leaving::Done);
                return Err(Refusal::Own);
            }
            if theirs.overlaps(span) && !mutant("range-overlap") {
                return Ok(Some(Blocker { entry: index, word }));
            }
        }
        // Relaxed: as above.
        self.used.store(used, Ordering::Relaxed);
        Ok(None)
    }

    /// Takes a range as soon as nobody has any of it, and an entry is free.
    pub(crate) fn take<'a>(
        &self,
        caller: &Caller<impl Fn() -> Terms<'a>, impl Fn(u32) -> Owner>,
        span: Span,
        length: u64,
    ) -> Result<(Ticket, Legacy), Refusal> {
        let me = caller.me;
        // Not bounded, but it waits: each round sleeps until an entry is free.
        loop {
            let legacy = self.enter(caller, span, length)?;
            let kept = self.keep(me, span);
            let all_mine = kept.is_none() && self.entries.iter().all(|entry| entry.is_of(me));
            self.unlock(me.participant, Leaving::Done);
            match kept {
                Some(ticket) => return Ok((ticket, legacy)),
                None if all_mine => return Err(Refusal::Own),
                None => caller.wait(&self.bell, || self.blocker_of_all())?,
            }
        }
    }

    /// Writes this thread, which has the mutex, down for a range. `None` if no entry is free.
    fn keep(&self, me: Me, span: Span) -> Option<Ticket> {
        // Relaxed, all: the mutex publishes them.
        let used = self.used.load(Ordering::Relaxed);
        let index = used.trailing_ones();
        let entry = self.entries.get(index as usize)?;
        self.used.store(used | 1 << index, Ordering::Relaxed);
        entry.start.store(span.start, Ordering::Relaxed);
        entry.end.store(span.end, Ordering::Relaxed);
        entry.thread.store(me.thread, Ordering::Relaxed);
        kill_point("range-written");
        let free = entry.word.load(Ordering::Relaxed) & !OWNER;
        let word = free | u64::from(me.participant + 1);
        entry.word.store(word, Ordering::Relaxed);
        kill_point("range-taken");
        Some(Ticket { entry: index, word })
    }

    /// An entry that is taken, if all are.
    fn blocker_of_all(&self) -> Option<Blocker> {
        let mut last = None;
        for (index, entry) in self.entries.iter().enumerate() {
            // Relaxed: whoever is told that one is free looks again with the mutex.
            let word = entry.word.load(Ordering::Relaxed);
            owner_of(word)?;
            last = Some(Blocker { entry: index, word });
        }
        last
    }

    /// Gives a range back, for the thread that has it.
    ///
    /// Where its entry names somebody else, it was written over, and is left alone.
    pub(crate) fn release(&self, ticket: Ticket, leaving: Leaving) {
        if leaving == Leaving::Panicked {
            self.mutex.say_panicked();
        }
        kill_point("range-let-go");
        let entry = self.entries.get(ticket.entry as usize);
        if entry.is_some_and(|entry| entry.free(ticket.word)) {
            kill_point("range-freed");
            self.bell.ring_all();
        }
    }

    /// Takes the whole: the mutex, when nobody has a part any more.
    #[inline]
    pub(crate) fn lock<'a>(
        &self,
        caller: &Caller<impl Fn() -> Terms<'a>, impl Fn(u32) -> Owner>,
    ) -> Result<Legacy, Refusal> {
        let legacy = caller.take(&self.mutex)?;
        // Relaxed: the mutex orders it.
        let legacy = match self.used.load(Ordering::Relaxed) {
            0 => legacy,
            _ => self.wait_for_all(caller)?,
        };
        kill_point("range-all");
        if !mutant("range-stay-calm") {
            self.mutex.be_busy(caller.me);
        }
        Ok(legacy)
    }

    /// Waits with the mutex until nobody has a part, or frees it.
    #[cold]
    fn wait_for_all<'a>(
        &self,
        caller: &Caller<impl Fn() -> Terms<'a>, impl Fn(u32) -> Owner>,
    ) -> Result<Legacy, Refusal> {
        // Relaxed: as in `lock`.
        let used = self.used.load(Ordering::Relaxed);
        let waited = if self.among(used).any(|(_, entry)| entry.is_of(caller.me)) {
            Err(Refusal::Own)
        } else {
            caller.wait(&self.bell, || self.blocker_among(used))
        };
        if let Err(refusal) = waited {
            self.unlock(caller.me.participant, Leaving::Done);
            return Err(refusal);
        }
        // Relaxed: all have been seen free, and nobody takes one without the mutex.
        self.used.store(0, Ordering::Relaxed);
        Ok(self.legacy_behind())
    }

    /// An entry of these bits that is taken, if any is.
    fn blocker_among(&self, used: u64) -> Option<Blocker> {
        self.among(used).find_map(|(entry, of)| {
            // Acquire `range`: what was done in a range that is free now is seen.
            let word = of.word.load(at(Ordering::Acquire, "range"));
            owner_of(word).map(|_| Blocker { entry, word })
        })
    }

    /// Frees the mutex, which `enter` or `lock` took.
    #[inline]
    pub(crate) fn unlock(&self, owner: u32, leaving: Leaving) {
        self.mutex.unlock(owner, leaving);
    }

    /// Who has the whole, as of now; not who waits for it, or looks at the table.
    pub(crate) fn holder_of_all(&self) -> Option<u32> {
        self.mutex.owner().filter(|_| !self.mutex.is_calm())
    }

    /// Who has which part, as of now. The participants are as their entries say.
    pub(crate) fn holders(&self) -> impl Iterator<Item = (u32, Span)> {
        self.entries.iter().filter_map(|entry| {
            // Relaxed: a remark.
            let word = entry.word.load(Ordering::Relaxed);
            let owner = owner_of(word)?;
            let span = entry.span();
            let is_still = entry.word.load(Ordering::Relaxed) == word;
            is_still.then_some((owner, span))
        })
    }

    /// Whether somebody may wait for a range, or for all of them, as of now.
    pub(crate) fn is_awaited(&self) -> bool {
        self.bell.may_be_awaited()
    }

    /// Gives back what participant `id`, whose process was `pid`, had: see [`Mutex::sweep`].
    pub(crate) fn sweep(&self, id: u32, pid: u32, died: bool) {
        self.mutex.sweep(id, pid, died);
        for entry in &self.entries {
            // Relaxed: the dead write no more, and nobody else takes an entry in their name.
            let word = entry.word.load(Ordering::Relaxed);
            if owner_of(word) != Some(id) {
                continue;
            }
            // Before the entry is free: who finds it free finds out that it may be torn.
            if died && !mutant("range-poison") {
                self.mutex.poison(id, pid);
            }
            kill_point("range-swept");
            entry.free(word);
        }
        kill_point("range-buried");
        self.bell.alarm();
    }

    /// A table outside of any segment.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        let entry = |_| Entry {
            word: AtomicU64::new(0),
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
            thread: AtomicU32::new(0),
            _reserved: AtomicU32::new(0),
        };
        Self {
            mutex: Mutex::new(),
            bell: Bell::new(),
            _reserved: AtomicU32::new(0),
            used: AtomicU64::new(0),
            entries: std::array::from_fn(entry),
        }
    }
}

#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<Ranges>() == 40 + 32 * RANGES_MAX);

#[cfg(all(test, not(multiproc_loom)))]
#[path = "../tests/ranges.rs"]
mod tests;
