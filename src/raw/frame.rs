//! A ring of bytes between one producer and one consumer, in records of any length.
//!
//! A record is published by its own header, so a short one travels in a single cache line:
//!
//! ```text
//!   offset   0        8                     8 + length     a multiple of 16
//!            ┌────────┬─────────────────────┬╌╌╌╌╌╌╌╌╌╌╌╌╌╌┐┌────────┬╌╌╌
//!            │ header │ payload             │ up to 15 B   ││ header │ next record
//!            └────────┴─────────────────────┴╌╌╌╌╌╌╌╌╌╌╌╌╌╌┘└────────┴╌╌╌
//! ```
//!
//! | header word | what it says | who stores it |
//! |---|---|---|
//! | `0` | nothing is published here yet | the producer, before it publishes the record in front |
//! | `MARK`, flags, length | a record | the producer, when all of the record is written |
//! | `MARK`, `PAD` | the lap ends here; a record is at offset 0 | the producer, after that record |
//!
//! The payload is contiguous: a record that would cross the end of the ring starts the next lap,
//! behind a pad. The consumer follows headers and writes nothing but `head`, so what lies outside
//! `head..tail` is stale, except that **the header at `tail` is always 0**. To keep it so, a record
//! needs room for one granule beyond itself, where the producer puts the next 0.
//!
//! `tail` is not shared at all. Whoever takes up writing finds it as a reader would: from `head`
//! along the headers to the 0. So there is no second word to keep true when a producer is killed.
//!
//! # Crash
//!
//! A producer that dies leaves the records it committed and nothing else. A consumer that dies
//! leaves in the ring what it had not released, which the next one to attach sees again.
//!
//! # Corruption
//!
//! A header is read once, into private memory, and refused if its record could reach beyond the end
//! of the ring or a lap ahead of `head`. Each call follows at most two headers, except that of
//! `FrameProducer::attach`, which ends after one lap. The ring never waits.

use std::ptr::NonNull;

use super::Corrupt;
use super::memory::{CACHE_LINE, FrameMemory, GRANULE, HEADER};
use crate::shim::{Ordering, at, mutant};

/// The producer takes over so many lines behind the one of the next header before it needs them,
/// and those of another record as long as this. Strings of 32 bytes between far cores took 173 ns
/// each, 41 ns with this; 256 bytes one way 378 ns, now 300.
const LINES_AHEAD: u64 = 3;
/// More than this the caches fetch by themselves once a copy is running.
const LINES_AHEAD_MAX: u64 = 8;

/// Set in every header that is not 0.
const MARK: u64 = 1 << 63;
/// Set in a header that has no record: the rest of the lap is unused.
const PAD: u64 = 1 << 62;
/// The lowest of the eight bits that belong to the ring's user.
const FLAGS: u32 = 32;
/// The bits that are zero in the header of a record, but for `MARK`.
const KIND: u64 = u64::MAX << (FLAGS + 8);

/// What a payload of this length takes of the ring.
#[inline(always)]
fn record_size(length: u64) -> u64 {
    (HEADER + length + GRANULE - 1) & !(GRANULE - 1)
}

/// The longest payload that a ring of `capacity` bytes takes.
///
/// It fits whenever the ring is empty, wherever its cursors are: the record takes `capacity / 2` at
/// most, and a pad in front of it is shorter than the record and a multiple of a granule, as is
/// `capacity / 2`. So pad, record and the granule beyond take no more than
/// `(capacity / 2 - GRANULE) + capacity / 2 + GRANULE = capacity`. Without a pad they take less.
const fn longest_payload(capacity: u64) -> u64 {
    capacity / 2 - HEADER
}

/// The position where the lap of `position` ends.
#[inline(always)]
fn lap_end(position: u64, capacity: u64) -> u64 {
    (position | (capacity - 1)).wrapping_add(1)
}

/// A header that was found to be in order.
struct Record {
    /// Where the header is; behind `position` if there was a pad.
    start: u64,
    /// Where the next header is.
    end: u64,
    length: u32,
    flags: u8,
}

/// Reads the record at `position` of a ring whose oldest is at `head`; `None` if there is none yet.
#[inline]
fn follow<M: FrameMemory>(memory: &M, head: u64, position: u64) -> Result<Option<Record>, Corrupt> {
    let capacity = memory.capacity();
    let mut start = position;
    // Acquire `frame-written`: pairs with Release `frame-written` in `publish`. Without it the
    // payload could be read before it was written, and the next header before it was zeroed.
    let mut word = memory.header(start).load(at(Ordering::Acquire, "frame-written"));
    if word == 0 {
        return Ok(None);
    }
    if word == MARK | PAD {
        start = lap_end(position, capacity);
        // Relaxed: the producer stored it before the pad that the Acquire above has read. So it is
        // neither 0 nor another pad.
        word = memory.header(start).load(Ordering::Relaxed);
    }
    if word & KIND != MARK {
        return Err(Corrupt);
    }
    let length = word as u32;
    let size = record_size(u64::from(length));
    let end = start.wrapping_add(size);
    // The first bound keeps the sums of the others small. The second keeps the payload in the ring,
    // the third makes every step of a walk from `head` a step towards its end.
    let fits = u64::from(length) <= longest_payload(capacity)
        && (start & (capacity - 1)) + size <= capacity
        && end.wrapping_sub(head) <= capacity - GRANULE;
    if !fits {
        return Err(Corrupt);
    }
    Ok(Some(Record { start, end, length, flags: (word >> FLAGS) as u8 }))
}

/// Room for a record that is not published yet. Dropping it publishes nothing.
#[derive(Debug)]
#[must_use = "the record is published by `commit`"]
pub(crate) struct Reservation {
    /// The first byte of the payload; only the producer touches it until `commit`.
    pub(crate) payload: NonNull<u8>,
    /// The length that was asked for.
    pub(crate) length: u32,
    /// Where the producer was, to recognise a reservation that something else was committed after.
    tail: u64,
    /// Where the header goes: at `tail`, or at the start of the next lap.
    start: u64,
}

/// What came of asking for room.
#[derive(Debug)]
pub(crate) enum Reserve {
    /// Here it is.
    Granted(Reservation),
    /// Not before the consumer releases something.
    Full,
    /// Never in this ring: see `FrameProducer::longest`.
    TooLong,
}

/// The end that writes.
#[derive(Debug)]
#[must_use = "the ring has no other way in"]
pub(crate) struct FrameProducer<M> {
    memory: M,
    /// Where the next header goes. The word there is 0.
    tail: u64,
    /// The first byte there is no room for, going by the last look at the other end.
    /// `limit - tail <= capacity` always.
    limit: u64,
}

impl<M: FrameMemory> FrameProducer<M> {
    /// Takes up writing where the last producer left off, however it ended.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the consumer's cursor is not the start of a record, or what follows it is not
    /// a row of records that ends within a lap.
    pub(crate) fn attach(memory: M) -> Result<Self, Corrupt> {
        let mut producer = Self { memory, tail: 0, limit: 0 };
        let head = producer.head();
        if !head.is_multiple_of(GRANULE) {
            return Err(Corrupt);
        }
        let mut tail = head;
        // At most one turn for each granule: `follow` refuses an end that is a lap from `head`. The
        // consumer may move on meanwhile, but it changes no header.
        while let Some(record) = follow(&producer.memory, head, tail)? {
            tail = record.end;
        }
        producer.tail = tail;
        producer.limit = head.wrapping_add(producer.memory.capacity());
        Ok(producer)
    }

    /// How many bytes of records were ever written and released, by what was found at the
    /// beginning; for those who look.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.tail, self.limit.wrapping_sub(self.memory.capacity()))
    }

    /// How many bytes the ring takes.
    pub(crate) fn capacity(&self) -> u64 {
        self.memory.capacity()
    }

    /// The longest payload that can ever be reserved: half the ring, less a header.
    pub(crate) fn longest(&self) -> u64 {
        longest_payload(self.memory.capacity())
    }

    /// Whether a payload of this length could be reserved. Only this end can change a yes.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the consumer's cursor is out of range.
    #[cfg(test)]
    pub(crate) fn has_room(&mut self, length: usize) -> Result<bool, Corrupt> {
        Ok(matches!(self.reserve(length)?, Reserve::Granted(_)))
    }

    /// Finds room for a payload of at most `length` bytes, which may be none.
    ///
    /// What is there already is stale bytes of earlier records. An empty ring has room for every
    /// payload up to `longest`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the consumer's cursor is out of range; the ring is then of no more use.
    #[inline]
    pub(crate) fn reserve(&mut self, length: usize) -> Result<Reserve, Corrupt> {
        if length as u64 > self.longest() {
            return Ok(Reserve::TooLong);
        }
        let size = record_size(length as u64);
        let left = lap_end(self.tail, self.memory.capacity()).wrapping_sub(self.tail);
        let pad = if size <= left { 0 } else { left };
        // One granule more, to zero the header behind this record: at the very end of the room it
        // would be the header of a record that is yet to be read.
        let spare = if mutant("frame-spare") { 0 } else { GRANULE };
        let needed = pad + size + spare;
        if self.limit.wrapping_sub(self.tail) < needed && self.look_again()? < needed {
            return Ok(Reserve::Full);
        }
        let start = self.tail.wrapping_add(pad);
        self.prepare(start.wrapping_add(size), size);
        let payload = self.memory.payload(start);
        Ok(Reserve::Granted(Reservation { payload, length: length as u32, tail: self.tail, start }))
    }

    /// Publishes the first `length` bytes of what was reserved, with eight bits for the consumer.
    ///
    /// # Panics
    ///
    /// If `length` is more than was reserved, or another record was committed since.
    #[inline]
    pub(crate) fn commit(&mut self, reservation: Reservation, length: usize, flags: u8) {
        assert!(length <= reservation.length as usize, "the record is longer than its reservation");
        assert!(reservation.tail == self.tail, "the reservation is out of date");
        let start = reservation.start;
        let end = start.wrapping_add(record_size(length as u64));
        let word = MARK | (u64::from(flags) << FLAGS) | length as u64;
        // Relaxed: no consumer looks there before the header stored below sends it there.
        if !mutant("frame-zero") && !mutant("frame-zero-late") {
            self.memory.header(end).store(0, Ordering::Relaxed);
        }
        if start == self.tail {
            self.publish(start, word);
        } else {
            self.publish_behind_pad(start, word);
        }
        if mutant("frame-zero-late") {
            self.memory.header(end).store(0, Ordering::Relaxed);
        }
        self.tail = end;
    }

    /// Begins to take over the lines that the next record of this size is going to be written to.
    #[inline(always)]
    fn prepare(&self, end: u64, size: u64) {
        let lines = (LINES_AHEAD + size / CACHE_LINE as u64).min(LINES_AHEAD_MAX);
        // What is still to be read stays where it is read.
        if self.limit.wrapping_sub(end) > (lines + 1) * CACHE_LINE as u64 {
            for line in 1..=lines {
                self.memory.prepare(end.wrapping_add(line * CACHE_LINE as u64));
            }
        }
    }

    /// One store publishes pad and record: a producer that dies leaves both or neither.
    #[cold]
    fn publish_behind_pad(&self, start: u64, word: u64) {
        if mutant("frame-pad-first") {
            self.publish(self.tail, MARK | PAD);
        }
        // Relaxed: the store of the pad publishes it.
        self.memory.header(start).store(word, Ordering::Relaxed);
        self.publish(self.tail, MARK | PAD);
    }

    #[inline(always)]
    fn publish(&self, position: u64, word: u64) {
        // Release `frame-written`: pairs with Acquire `frame-written` in `follow`. Written are the
        // payload, the header at the end of it, and the header behind a pad.
        self.memory.header(position).store(word, at(Ordering::Release, "frame-written"));
    }

    /// Reads the consumer's cursor and returns how many bytes are free.
    #[cold]
    fn look_again(&mut self) -> Result<u64, Corrupt> {
        let head = self.head();
        let used = self.tail.wrapping_sub(head);
        // The granule that holds the 0 at `tail` is free, but never given away.
        if used <= self.memory.capacity() - GRANULE && head.is_multiple_of(GRANULE) {
            self.limit = head.wrapping_add(self.memory.capacity());
            return Ok(self.memory.capacity() - used);
        }
        Err(Corrupt)
    }

    #[inline(always)]
    fn head(&self) -> u64 {
        // Acquire `frame-read`: pairs with Release `frame-read` in `FrameConsumer::release`.
        // Without it the next write of these bytes could overtake the last read of them.
        self.memory.head().position.load(at(Ordering::Acquire, "frame-read"))
    }
}

/// A record that was published and not released yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameView {
    /// The first byte of the payload; the producer leaves it alone until `release`.
    pub(crate) payload: NonNull<u8>,
    /// How many bytes it has, all of them within the ring.
    pub(crate) length: u32,
    /// What the producer said with it.
    pub(crate) flags: u8,
}

/// The end that reads.
#[derive(Debug)]
#[must_use = "the ring has no other way out"]
pub(crate) struct FrameConsumer<M> {
    memory: M,
    /// The oldest record, exactly as in shared memory. Never read back from there.
    head: u64,
    /// The end of the record that was peeked; `head` if none was.
    peeked: u64,
}

impl<M: FrameMemory> FrameConsumer<M> {
    /// Takes up reading at the oldest record that was not released.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the cursor is not the start of a record.
    pub(crate) fn attach(memory: M) -> Result<Self, Corrupt> {
        // Relaxed: only consumers write `head`, and the last one's happens before this by
        // `FrameMemory`'s hand-over.
        let head = memory.head().position.load(Ordering::Relaxed);
        if !head.is_multiple_of(GRANULE) {
            return Err(Corrupt);
        }
        Ok(Self { memory, head, peeked: head })
    }

    /// The oldest record, if there is one. Returns the same again until `release`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if its header cannot be the producer's work; the ring is then of no more use.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<Option<FrameView>, Corrupt> {
        let Some(record) = follow(&self.memory, self.head, self.head)? else {
            return Ok(None);
        };
        self.peeked = record.end;
        let payload = self.memory.payload(record.start);
        Ok(Some(FrameView { payload, length: record.length, flags: record.flags }))
    }

    /// Gives the bytes of the record last peeked back to the producer, if there is one.
    #[inline]
    pub(crate) fn release(&mut self) {
        self.head = self.peeked;
        if mutant("frame-release") {
            return;
        }
        // Release `frame-read`: pairs with Acquire `frame-read` in `FrameProducer::head`. The bytes
        // below `head` are read.
        self.memory.head().position.store(self.head, at(Ordering::Release, "frame-read"));
    }
}

#[cfg(all(test, not(multiproc_loom)))]
#[path = "tests/frame.rs"]
mod tests;
