//! The lock for many readers or one writer: each participant counts its own readers, so what a dead
//! one had is known.
//!
//! A reader comes by counting itself, and looks for a writer; a writer comes by taking the mutex,
//! and looks for readers. With a fence between the two moves of each, one sees the other:
//!
//! ```text
//! reader                                  writer
//!   count itself (an RMW)                   take the mutex (an RMW)
//!   fence `rwlock`                          fence `rwlock`
//!   look at the mutex; back out if taken    look at the counts; wait until each was zero once
//! ```
//!
//! **Writers first.** The reader gives way, also to a writer that still waits for other readers. So
//! a stream of readers ends when a writer comes, and a thread that reads twice may wait for a
//! writer that waits for it.
//!
//! **Once is enough.** A count that was zero behind the writer's fence counts no reader that is in:
//! who came after sees the writer. So a writer asks each participant until its answer is zero, and
//! never again; readers that come and back out cannot keep it.
//!
//! **Poison.** A dead writer poisons the lock if its name is in `inside`: if it had waited for the
//! last reader, and had not said that it was done. Readers change nothing, and poison nothing.
//!
//! Source: the counters of Hsieh and Weihl, "Scalable Reader-Writer Locks for Parallel Systems"
//! (1992), with one a process in the place of one a processor.

use std::cell::Cell;

use crate::shim::{AtomicU32, Ordering, at, fence_after_rmw, kill_point, light_fence, mutant};

use super::bell::Bell;
use super::mutex::{Leaving, Legacy, Me, Mutex, Owner, Refusal};
use super::participants::PARTICIPANTS_MAX;
use super::wait::{Terms, Waited};

/// How many participants can be counted, and how many of the counts fill a line of 128 bytes. A
/// model has few, as each word costs it time.
pub(crate) const SEATS: usize = if cfg!(multiproc_loom) { 4 } else { PARTICIPANTS_MAX as usize };
const IN_LINE: usize = if cfg!(multiproc_loom) { 2 } else { 32 };

/// More readers than this, in one participant, are refused: threads that come at the same moment
/// cannot make the count run over.
const READERS_MAX: u32 = 1 << 31;

/// A lock in place. Zeroed memory is one that is free.
///
/// | word      | meaning                                 | changed by                         |
/// |-----------|-----------------------------------------|------------------------------------|
/// | `writer`  | free, or who writes, or waits to        | see [`Mutex`]                      |
/// | `inside`  | `p + 1`, where `p` has `writer`:        | who has `writer`                   |
/// |           | it may have begun to write              |                                    |
/// | `readers` | of participant `p`: how many of its     | threads of `p`, one RMW each; its  |
/// |           | threads read, or look whether they may  | janitor, to zero                   |
/// | `left`    | where a writer waits for readers        | see [`Bell`]                       |
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RwLock {
    writer: Mutex,
    left: Bell,
    inside: AtomicU32,
    readers: Readers,
}

#[derive(Debug)]
#[repr(C, align(128))]
struct Readers([AtomicU32; SEATS]);

impl Readers {
    /// The count of this participant. Neighbours in number are in different lines.
    #[inline]
    fn of(&self, id: u32) -> Option<&AtomicU32> {
        const LINES: usize = SEATS / IN_LINE;
        let id = id as usize;
        if id < SEATS { self.0.get(id % LINES * IN_LINE + id / LINES) } else { None }
    }
}

/// For readers.
impl RwLock {
    /// Lets this thread read if nobody writes, or waits to.
    #[inline]
    pub(crate) fn try_read(&self, me: Me) -> Result<Legacy, Refusal> {
        let Some(mine) = self.readers.of(me.participant) else { return Err(Refusal::Corrupt) };
        // Relaxed: the fence orders it.
        let before = mine.fetch_add(1, Ordering::Relaxed);
        kill_point("rwlock-counted");
        // Fence `rwlock`: meets the one of `claim`. The count is before it, the look at the writer
        // after it.
        fence_after_rmw("rwlock");
        match self.writer.legacy_if_free() {
            Some(legacy) if before < READERS_MAX => Ok(legacy),
            _ => Err(self.back_out(me, before)),
        }
    }

    /// Takes back that this thread reads, and says why.
    #[cold]
    fn back_out(&self, me: Me, before: u32) -> Refusal {
        self.unlock_read(me.participant);
        if before >= READERS_MAX {
            Refusal::TooMany
        } else if self.writer.is_held_by(me) {
            Refusal::Own
        } else {
            Refusal::Held
        }
    }

    /// Lets this thread read, or waits for it until the deadline.
    ///
    /// `suspect` is told who writes, as in [`Mutex::lock`].
    #[inline]
    pub(crate) fn read<'a>(
        &self,
        me: Me,
        terms: impl FnOnce() -> Terms<'a>,
        suspect: impl FnMut(u32) -> Owner,
    ) -> Result<Legacy, Refusal> {
        match self.try_read(me) {
            Err(Refusal::Held) => self.read_slow(me, terms(), suspect),
            done => done,
        }
    }

    #[cold]
    fn read_slow(
        &self,
        me: Me,
        terms: Terms<'_>,
        suspect: impl FnMut(u32) -> Owner,
    ) -> Result<Legacy, Refusal> {
        let mut got = Err(Refusal::Held);
        let ready = || {
            // It counts itself only where it looks well, so as not to disturb a writer that waits.
            if self.writer.owner().is_none() {
                got = self.try_read(me);
            }
            got != Err(Refusal::Held)
        };
        let waited = self.writer.wait_until_free(terms, ready, suspect);
        if got == Err(Refusal::Held) { waited.and(got) } else { got }
    }

    /// Says that a thread of participant `reader` reads no more.
    #[inline]
    pub(crate) fn unlock_read(&self, reader: u32) {
        let Some(mine) = self.readers.of(reader) else { return };
        // Release `readers`: what was read is read before the next writer writes.
        let before = mine.fetch_sub(1, at(Ordering::Release, "readers"));
        kill_point("rwlock-left");
        match before {
            // Only a count that was written over: it goes back, as nobody else would change it.
            0 => _ = mine.fetch_add(1, Ordering::Relaxed),
            // Only one writer waits at a time.
            1 => self.left.ring_one(),
            _ => {}
        }
    }
}

/// For writers.
impl RwLock {
    /// Lets this thread write if nobody else reads or writes.
    ///
    /// `bound` is one more than the highest participant there ever was. It is asked for behind the
    /// fence, so a reader above it sees the writer.
    pub(crate) fn try_write(&self, me: Me, bound: impl Fn() -> u32) -> Result<Legacy, Refusal> {
        let legacy = self.writer.try_lock(me)?;
        self.claim();
        if self.have_left(&Cell::new(0), &bound) {
            self.enter(me);
            Ok(legacy)
        } else {
            self.writer.unlock(me.participant, Leaving::Done);
            Err(Refusal::Held)
        }
    }

    /// Lets this thread write, or waits for it until the deadline.
    ///
    /// `bound` as in [`try_write`](Self::try_write). `suspect` is told who writes, or reads, when a
    /// sleep ended without a wake; it recovers the dead.
    #[inline]
    pub(crate) fn write<'a>(
        &self,
        me: Me,
        bound: impl Fn() -> u32,
        terms: impl Fn() -> Terms<'a>,
        mut suspect: impl FnMut(u32) -> Owner,
    ) -> Result<Legacy, Refusal> {
        let legacy = self.writer.lock(me, &terms, &mut suspect)?;
        self.claim();
        let asked = Cell::new(0);
        if !self.have_left(&asked, &bound)
            && let Err(refusal) = self.await_readers(&asked, &bound, terms(), suspect)
        {
            self.writer.unlock(me.participant, Leaving::Done);
            return Err(refusal);
        }
        self.enter(me);
        Ok(legacy)
    }

    /// From here on no reader comes in.
    #[inline]
    fn claim(&self) {
        // Relaxed: who died or panicked inside has left its name, and may have been as we are.
        self.inside.store(0, Ordering::Relaxed);
        kill_point("rwlock-claimed");
        // Fence `rwlock`: meets the one of `try_read`. The mutex is taken before it, the look at
        // the counts is after it.
        fence_after_rmw("rwlock");
    }

    /// Whether the count of each participant was zero at some time since the writer came; `asked`
    /// is the first of which that is not known. Bounded: it only goes up.
    #[inline]
    fn have_left(&self, asked: &Cell<u32>, bound: &impl Fn() -> u32) -> bool {
        while asked.get() < bound() {
            let Some(count) = self.readers.of(asked.get()) else { return true };
            // Acquire `readers`: what the last reader read, and the one before it, as each count
            // is changed by nothing but RMWs.
            if count.load(at(Ordering::Acquire, "readers")) != 0 {
                return false;
            }
            asked.set(asked.get() + 1);
        }
        true
    }

    #[cold]
    fn await_readers(
        &self,
        asked: &Cell<u32>,
        bound: &impl Fn() -> u32,
        terms: Terms<'_>,
        mut suspect: impl FnMut(u32) -> Owner,
    ) -> Result<(), Refusal> {
        let is_corrupt = Cell::new(false);
        let mut unknown = None;
        let ready = || self.have_left(asked, bound) || is_corrupt.get();
        let suspect = || {
            // Who is unknown and reads, twice in a row, is none.
            let now = self.suspect(asked.get()..bound(), &mut suspect);
            is_corrupt.set(now.is_some() && now == unknown);
            unknown = now;
        };
        match self.left.wait(terms, ready, suspect) {
            Waited::Ready if self.have_left(asked, bound) => Ok(()),
            Waited::Ready => Err(Refusal::Corrupt),
            Waited::TimedOut => Err(Refusal::TimedOut),
        }
    }

    /// Asks about all who read, and gives the first one that nobody knows.
    fn suspect(
        &self,
        ids: std::ops::Range<u32>,
        ask: &mut impl FnMut(u32) -> Owner,
    ) -> Option<u32> {
        let mut unknown = None;
        for id in ids.take_while(|id| self.readers.of(*id).is_some()) {
            // The second look: it may have left while it was asked about.
            if self.readers_of(id) != 0 && ask(id) == Owner::Unknown && self.readers_of(id) != 0 {
                unknown = unknown.or(Some(id));
            }
        }
        unknown
    }

    /// From here on a death leaves the data torn.
    #[inline]
    fn enter(&self, me: Me) {
        kill_point("rwlock-alone");
        // Relaxed: the fence orders it.
        self.inside.store(me.participant + 1, Ordering::Relaxed);
        // Fence `rwlock-inside`: the name is written before the data. The janitor comes after a
        // kill, which falls between two instructions: so it is enough to stop the compiler.
        light_fence("rwlock-inside");
    }

    /// Says that participant `writer` writes no more.
    ///
    /// Where the mutex names somebody else, it was written over, and is left alone.
    #[inline]
    pub(crate) fn unlock_write(&self, writer: u32, leaving: Leaving) {
        if leaving != Leaving::Panicked {
            // Release `rwlock-inside`: the data is written before the name goes.
            self.inside.store(0, at(Ordering::Release, "rwlock-inside"));
            kill_point("rwlock-outside");
        }
        self.writer.unlock(writer, leaving);
    }
}

/// For everybody.
impl RwLock {
    /// Who writes, or waits for readers to leave, and what former writers left.
    pub(crate) fn writer(&self) -> &Mutex {
        &self.writer
    }

    /// Whether participant `id` has come as far as to write, as of now.
    pub(crate) fn is_inside(&self, id: u32) -> bool {
        // Relaxed: a remark.
        self.inside.load(Ordering::Relaxed) == id + 1
    }

    /// How many threads of a participant read, or look whether they may, as of now.
    pub(crate) fn readers_of(&self, id: u32) -> u32 {
        // Relaxed: a remark.
        self.readers.of(id).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Gives back what participant `id`, whose process was `pid`, had: as its last will if it
    /// `died`, and otherwise as it would have itself. Wakes those whose waker died.
    pub(crate) fn sweep(&self, id: u32, pid: u32, died: bool) {
        let Some(mine) = self.readers.of(id) else { return };
        // Acquire `rwlock-inside`: no name, and all that was written is there.
        let was_inside = self.inside.load(at(Ordering::Acquire, "rwlock-inside")) == id + 1;
        let is_torn = died && was_inside && !mutant("rwlock-poison");
        self.writer.sweep(id, pid, is_torn);
        kill_point("rwlock-swept");
        if died && !mutant("rwlock-wake") {
            self.writer.alarm();
        }
        // Release `readers`: as in `unlock_read`.
        let had = if mutant("rwlock-readers") {
            0
        } else {
            mine.swap(0, at(Ordering::Release, "readers"))
        };
        kill_point("rwlock-emptied");
        if died && !mutant("rwlock-alarm") {
            self.left.alarm();
        } else if had != 0 {
            self.left.ring_one();
        }
    }

    /// A lock outside of any segment.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        let readers = Readers(std::array::from_fn(|_| AtomicU32::new(0)));
        Self { writer: Mutex::new(), left: Bell::new(), inside: AtomicU32::new(0), readers }
    }
}

#[cfg(not(multiproc_loom))]
const _: () = {
    assert!(std::mem::offset_of!(RwLock, readers) == 128);
    assert!(IN_LINE * size_of::<AtomicU32>() == 128 && SEATS.is_multiple_of(IN_LINE));
};

#[cfg(all(test, not(multiproc_loom)))]
#[path = "tests/rwlock.rs"]
mod tests;
