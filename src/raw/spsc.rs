//! A ring of fixed-size slots between one producer and one consumer.
//!
//! ```text
//!            head                tail            head + capacity
//!   … free ──┤  unread messages  ├──  free slots  ├── …        message n is in slot n & mask
//! ```
//!
//! | message `n` | its slot belongs to | ends by |
//! |---|---|---|
//! | `head <= n < tail` | the consumer, who may read it | `head` moves past it |
//! | `tail <= n < head + capacity` | the producer, who may write it | `tail` moves past it |
//!
//! Each cursor is written by one end, which keeps its own copy, and a copy of what it last saw of
//! the other's; it looks at the other's again only when that copy says full, or empty. Both cursors
//! in shared memory are exact after every call, so an end can be dropped and attached elsewhere,
//! and whoever finds the ring full finds it full of messages that nobody has taken.
//!
//! # Crash
//!
//! A producer that dies leaves what it published and nothing else. A consumer that dies leaves in
//! the ring what it had not finished taking, which the next one to attach takes again.
//!
//! # Corruption
//!
//! A cursor of the other end is looked at once and refused unless the ring's length comes out
//! between zero and its capacity; the own cursor is never read back. The ring never waits.

use super::Corrupt;
use super::memory::{Cursors, SlotMemory};
use crate::shim::{Ordering, at, mutant};

impl Cursors {
    /// The consumer's position; its slots below it are free to be written once this returns.
    #[inline(always)]
    fn head(&self) -> u64 {
        // Acquire `slot-emptied`: pairs with Release `slot-emptied` in `Consumer::publish`. Without
        // it the next write of a slot could overtake the last read of it.
        self.head.position.load(at(Ordering::Acquire, "slot-emptied"))
    }

    /// The producer's position; its slots below it can be read once this returns.
    #[inline(always)]
    fn tail(&self) -> u64 {
        // Acquire `slot-filled`: pairs with Release `slot-filled` in `Producer::publish`. Without
        // it a slot could be read before it was written.
        self.tail.position.load(at(Ordering::Acquire, "slot-filled"))
    }
}

/// The producer takes over lines from the consumer's cache so far ahead of its writes, which wait
/// for one line after the other otherwise: 14.6 ns a u64 between far cores, 5.3 ns with this; 2.1
/// and 1.6 ns between near ones.
const LINES_AHEAD: u64 = 5;

impl Cursors {
    /// How many messages were ever published and taken, for those who look.
    pub(crate) fn counts(&self) -> (u64, u64) {
        // The head first: then there are never more taken than published.
        let head = self.head();
        (self.tail(), head)
    }
}

/// The number of messages between two cursors, if a ring of this capacity can hold them.
#[inline(always)]
fn length(tail: u64, head: u64, capacity: u64) -> Result<u64, Corrupt> {
    let length = tail.wrapping_sub(head);
    if length <= capacity { Ok(length) } else { Err(Corrupt) }
}

/// The end that writes.
#[derive(Debug)]
#[must_use = "the ring has no other way in"]
pub(crate) struct Producer<M> {
    memory: M,
    /// The next message, exactly as in shared memory. Never read back from there.
    tail: u64,
    /// The first message there is no room for, going by the last look at the other end.
    /// `limit - tail <= capacity` always.
    limit: u64,
}

impl<M: SlotMemory> Producer<M> {
    /// Takes up writing where the last producer left off.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the cursors are further apart than the capacity.
    pub(crate) fn attach(memory: M) -> Result<Self, Corrupt> {
        // Relaxed: only producers write `tail`, and the last one's happens before this by
        // `SlotMemory`'s hand-over.
        let tail = memory.cursors().tail.position.load(Ordering::Relaxed);
        let head = memory.cursors().head();
        let limit = head.wrapping_add(memory.capacity());
        length(tail, head, memory.capacity())?;
        Ok(Self { memory, tail, limit })
    }

    /// Writes one message, if there is room for it; whether there was.
    ///
    /// If `write` panics, nothing is published.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the consumer's cursor is out of range; the ring is then of no more use.
    #[inline]
    pub(crate) fn try_push(&mut self, write: impl FnOnce(*mut M::Slot)) -> Result<bool, Corrupt> {
        if self.tail == self.limit && self.look_again()? == 0 {
            return Ok(false);
        }
        let tail = self.tail.wrapping_add(1);
        if mutant("spsc-publish-first") {
            self.publish(tail);
        }
        self.prepare(self.tail);
        self.memory.fill(self.tail, write);
        self.publish(tail);
        self.tail = tail;
        Ok(true)
    }

    /// Writes messages one after the other and publishes them at once; returns how many.
    ///
    /// Stops at `most`, when the ring is full, or when `write` returns false, having then left its
    /// slot alone. If `write` panics, nothing is published.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the consumer's cursor is out of range; the ring is then of no more use.
    #[inline]
    pub(crate) fn push_many(
        &mut self,
        most: u64,
        mut write: impl FnMut(*mut M::Slot) -> bool,
    ) -> Result<u64, Corrupt> {
        let mut free = self.limit.wrapping_sub(self.tail);
        if free < most {
            free = self.look_again()?;
        }
        let most = most.min(free);
        let mut written = 0;
        while written < most {
            let index = self.tail.wrapping_add(written);
            self.prepare(index);
            if !self.memory.fill(index, &mut write) {
                break;
            }
            written += 1;
        }
        if written > 0 {
            let tail = self.tail.wrapping_add(written);
            self.publish(tail);
            self.tail = tail;
        }
        Ok(written)
    }

    /// How many messages there is room for. Only this end makes it less.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the consumer's cursor is out of range.
    pub(crate) fn free(&self) -> Result<u64, Corrupt> {
        Ok(self.memory.capacity() - self.len()?)
    }

    /// How many messages wait to be read. Only this end makes it more.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the consumer's cursor is out of range.
    pub(crate) fn len(&self) -> Result<u64, Corrupt> {
        length(self.tail, self.memory.cursors().head(), self.memory.capacity())
    }

    /// Whether the ring is full. Only the consumer can change a yes.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the consumer's cursor is out of range.
    #[cfg(test)]
    pub(crate) fn is_full(&self) -> Result<bool, Corrupt> {
        Ok(self.len()? == self.memory.capacity())
    }

    /// Reads the consumer's cursor and returns how many messages there is now room for.
    #[cold]
    fn look_again(&mut self) -> Result<u64, Corrupt> {
        let free = self.free()?;
        self.limit = self.tail.wrapping_add(free);
        Ok(free)
    }

    /// Begins to take over the line that is to be written some lines after that of message `index`,
    /// if that is the first of its line and the other one is free.
    #[inline(always)]
    fn prepare(&self, index: u64) {
        let per_line = self.memory.slots_per_line();
        let ahead = LINES_AHEAD * per_line;
        if index & (per_line - 1) == 0 && self.limit.wrapping_sub(index) > ahead {
            self.memory.prepare(index.wrapping_add(ahead));
        }
    }

    #[inline(always)]
    fn publish(&self, tail: u64) {
        // Release `slot-filled`: pairs with Acquire `slot-filled` in `Cursors::tail`. The slots
        // below `tail` are written.
        self.memory.cursors().tail.position.store(tail, at(Ordering::Release, "slot-filled"));
    }
}

/// The end that reads.
#[derive(Debug)]
#[must_use = "the ring has no other way out"]
pub(crate) struct Consumer<M> {
    memory: M,
    /// The next message, exactly as in shared memory. Never read back from there.
    head: u64,
    /// The first message that is not there yet, going by the last look at the other end.
    /// `limit - head <= capacity` always.
    limit: u64,
}

impl<M: SlotMemory> Consumer<M> {
    /// Takes up reading where the last consumer left off.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the cursors are further apart than the capacity.
    pub(crate) fn attach(memory: M) -> Result<Self, Corrupt> {
        // Relaxed: only consumers write `head`, and the last one's happens before this by
        // `SlotMemory`'s hand-over.
        let head = memory.cursors().head.position.load(Ordering::Relaxed);
        let limit = memory.cursors().tail();
        length(limit, head, memory.capacity())?;
        Ok(Self { memory, head, limit })
    }

    /// Reads the oldest message and gives its slot back, if there is one.
    ///
    /// If `read` panics, the message stays.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the producer's cursor is out of range; the ring is then of no more use.
    #[inline]
    pub(crate) fn try_pop<R>(
        &mut self,
        read: impl FnOnce(*const M::Slot) -> R,
    ) -> Result<Option<R>, Corrupt> {
        if self.head == self.limit && self.look_again()? == 0 {
            return Ok(None);
        }
        let head = self.head.wrapping_add(1);
        if mutant("spsc-give-back-first") {
            self.publish(head);
        }
        let message = self.memory.read(self.head, read);
        self.publish(head);
        self.head = head;
        Ok(Some(message))
    }

    /// Reads at most `most` messages and gives their slots back at once; returns how many.
    ///
    /// If `read` panics, all of them stay.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the producer's cursor is out of range; the ring is then of no more use.
    #[inline]
    pub(crate) fn pop_many(
        &mut self,
        most: u64,
        mut read: impl FnMut(*const M::Slot),
    ) -> Result<u64, Corrupt> {
        let mut ready = self.limit.wrapping_sub(self.head);
        if ready < most {
            ready = self.look_again()?;
        }
        let taken = most.min(ready);
        for index in 0..taken {
            self.memory.read(self.head.wrapping_add(index), &mut read);
        }
        if taken > 0 {
            let head = self.head.wrapping_add(taken);
            self.publish(head);
            self.head = head;
        }
        Ok(taken)
    }

    /// How many messages wait to be read. Only this end makes it less.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the producer's cursor is out of range.
    pub(crate) fn len(&self) -> Result<u64, Corrupt> {
        length(self.memory.cursors().tail(), self.head, self.memory.capacity())
    }

    /// Whether there is nothing to read. Only the producer can change a yes.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the producer's cursor is out of range.
    pub(crate) fn is_empty(&self) -> Result<bool, Corrupt> {
        Ok(self.len()? == 0)
    }

    /// Reads the producer's cursor and returns how many messages are there now.
    #[cold]
    fn look_again(&mut self) -> Result<u64, Corrupt> {
        let ready = self.len()?;
        self.limit = self.head.wrapping_add(ready);
        Ok(ready)
    }

    #[inline(always)]
    fn publish(&self, head: u64) {
        if mutant("spsc-give-back") {
            return;
        }
        // Release `slot-emptied`: pairs with Acquire `slot-emptied` in `Cursors::head`. The slots
        // below `head` are read.
        self.memory.cursors().head.position.store(head, at(Ordering::Release, "slot-emptied"));
    }
}

#[cfg(all(test, not(multiproc_loom)))]
#[path = "tests/spsc.rs"]
mod tests;
