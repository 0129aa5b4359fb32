//! What the rings between two ends stand on: bytes in a mapping, or cells that a model watches.
//!
//! The rings of [`spsc`](super::spsc) and [`frame`](super::frame) reach shared memory through two
//! traits, so the code that ships is the code that is model-checked. The traits bring a position
//! into range themselves: no position, however it came about, leads out of the memory.
//!
//! ```text
//! slots    0    tail of the ring | 128  head | 256  slot 0, slot 1, … slot 2^k - 1
//! frames   0    head of the ring | 128  2^k bytes of records
//! ```
//!
//! All of it is valid, and empty, when it is zero.
#![allow(unsafe_code)]

use std::fmt;
use std::ptr::NonNull;

#[cfg(not(multiproc_loom))]
use super::Corrupt;
#[cfg(not(multiproc_loom))]
use crate::shim;
use crate::shim::AtomicU64;

/// Two lines: the prefetcher of x86-64 fetches them as a pair, so one line apart still ping-pongs.
pub(crate) const LINE: usize = 128;

/// What moves between two cores.
pub(crate) const CACHE_LINE: usize = 64;

/// What the kernel gives and takes memory in.
pub(crate) const PAGE: u64 = 4096;

/// How far one end has come, where the other end can see it. Wraps around after 2^64.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Cursor {
    pub(in crate::raw) position: AtomicU64,
}

/// Both cursors of a ring whose length lies between them.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Cursors {
    /// The number of messages ever published. Written by the producer.
    pub(super) tail: Cursor,
    /// The number of messages ever taken. Written by the consumer.
    pub(super) head: Cursor,
}

/// Slots for [`spsc`](super::spsc) and the cursors above them.
///
/// # Safety
///
/// - `capacity` and `cursors` always return the same, and `capacity` is at least one.
/// - `fill` and `read` pass a pointer to a slot that stays valid for the call, whatever the index.
/// - Two indices that differ by less than `capacity` are two slots that do not overlap.
pub(crate) unsafe trait SlotMemory {
    /// What one message takes.
    type Slot;

    /// The most messages the ring may hold.
    fn capacity(&self) -> u64;

    /// The two words that both ends read.
    fn cursors(&self) -> &Cursors;

    /// Has the line of message `index` fetched for writing, ahead of its time. Changes nothing.
    fn prepare(&self, _index: u64) {}

    /// How many slots share a line, rounded down to a power of two.
    fn slots_per_line(&self) -> u64 {
        1
    }

    /// Calls `write` with the slot of message `index`, to be written.
    fn fill<R>(&self, index: u64, write: impl FnOnce(*mut Self::Slot) -> R) -> R;

    /// Calls `read` with the slot of message `index`, to be read.
    fn read<R>(&self, index: u64, read: impl FnOnce(*const Self::Slot) -> R) -> R;
}

/// The size of the unit in which [`frame`](super::frame) hands out its bytes.
pub(crate) const GRANULE: u64 = 16;

/// The size of the word at the start of a record.
pub(crate) const HEADER: u64 = 8;

/// Bytes for [`frame`](super::frame) and the cursor above them.
///
/// # Safety
///
/// - `capacity` and `head` always return the same; `capacity` is a power of two of granules.
/// - `header` returns the first word of the granule that `position` modulo `capacity` lies in.
/// - `payload` points behind that word. The bytes from there to the end of the ring stay valid for
///   reads and writes as long as `self` exists.
pub(crate) unsafe trait FrameMemory {
    /// The length of the ring in bytes.
    fn capacity(&self) -> u64;

    /// The consumer's cursor.
    fn head(&self) -> &Cursor;

    /// Has the line at `position` fetched for writing, ahead of its time. Changes nothing.
    fn prepare(&self, _position: u64) {}

    /// The header of the record at `position`.
    fn header(&self, position: u64) -> &AtomicU64;

    /// The payload of the record at `position`.
    fn payload(&self, position: u64) -> NonNull<u8>;
}

/// Slots of `T` in a mapping.
#[cfg(not(multiproc_loom))]
pub(crate) struct SlotsAt<T> {
    cursors: NonNull<Cursors>,
    slots: NonNull<T>,
    mask: u64,
    capacity: u64,
}

#[cfg(not(multiproc_loom))]
impl<T> SlotsAt<T> {
    const ALIGNED: () = assert!(align_of::<T>() <= LINE, "a slot starts at most on a line");

    /// The bytes that a ring of `capacity` messages needs; `None` for zero and for more than exist.
    ///
    /// The number of slots is the next power of two, which makes a slot one `and` away.
    pub(crate) fn bytes_for(capacity: u64) -> Option<usize> {
        let () = Self::ALIGNED;
        let slots = capacity.checked_next_power_of_two().filter(|_| capacity != 0)?;
        let slots = usize::try_from(slots).ok()?.checked_mul(size_of::<T>())?;
        slots.checked_add(size_of::<Cursors>()).filter(|&bytes| isize::try_from(bytes).is_ok())
    }

    /// Slots for `capacity` messages in the `length` bytes at `base`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if a ring of this capacity does not fit there or `base` is not aligned to a line.
    ///
    /// # Safety
    ///
    /// - The `length` bytes at `base` are valid for reads and writes as long as the value exists.
    /// - Nothing but rings of this capacity and this `T` touches them meanwhile.
    /// - Of all values made for these bytes, in all processes, at most one at a time is with a
    ///   `Producer` and at most one with a `Consumer`; when that role passes from one to another,
    ///   what the first did happens before what the second does.
    pub(crate) unsafe fn new(
        base: NonNull<u8>,
        length: usize,
        capacity: u64,
    ) -> Result<Self, Corrupt> {
        let needed = Self::bytes_for(capacity).ok_or(Corrupt)?;
        let cursors = base.cast::<Cursors>();
        if length < needed || !cursors.is_aligned() {
            return Err(Corrupt);
        }
        // SAFETY: `needed`, which is within the caller's bytes, is no less than the cursors.
        let slots = unsafe { base.add(size_of::<Cursors>()) }.cast::<T>();
        Ok(Self { cursors, slots, mask: capacity.next_power_of_two() - 1, capacity })
    }

    #[inline(always)]
    fn slot(&self, index: u64) -> NonNull<T> {
        // SAFETY: the masked index is below the number of slots, all of which `new` found to lie
        // within the caller's bytes, and so within `isize::MAX` of the first.
        unsafe { self.slots.add((index & self.mask) as usize) }
    }
}

// SAFETY: `cursors` and `slots` are addresses of memory that belongs to no thread (`new` asks for
// it to be valid as long as the value exists, wherever that is), the rest are integers. Messages
// pass from the producer's thread to the consumer's, hence `T: Send`.
#[cfg(not(multiproc_loom))]
unsafe impl<T: Send> Send for SlotsAt<T> {}

// SAFETY: no field changes after `new`, which checked that there are as many slots as the mask
// says; the mask brings every index below that; two indices less than `capacity` apart, which is
// no more than the number of slots, differ under the mask.
#[cfg(not(multiproc_loom))]
unsafe impl<T> SlotMemory for SlotsAt<T> {
    type Slot = T;

    #[inline(always)]
    fn capacity(&self) -> u64 {
        self.capacity
    }

    #[inline(always)]
    fn cursors(&self) -> &Cursors {
        // SAFETY: aligned and within the caller's bytes by `new`; all of it that is ever accessed
        // are two atomics, for which any bytes are a value.
        unsafe { self.cursors.as_ref() }
    }

    #[inline(always)]
    fn prepare(&self, index: u64) {
        shim::fetch_for_writing(self.slot(index).as_ptr().cast());
    }

    #[inline(always)]
    fn slots_per_line(&self) -> u64 {
        // As a power of two, since lines are told apart by a mask.
        1 << (CACHE_LINE / size_of::<T>().clamp(1, CACHE_LINE)).ilog2()
    }

    #[inline(always)]
    fn fill<R>(&self, index: u64, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.slot(index).as_ptr())
    }

    #[inline(always)]
    fn read<R>(&self, index: u64, read: impl FnOnce(*const T) -> R) -> R {
        read(self.slot(index).as_ptr())
    }
}

#[cfg(not(multiproc_loom))]
impl<T> fmt::Debug for SlotsAt<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotsAt").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// Bytes of records in a mapping.
#[cfg(not(multiproc_loom))]
pub(crate) struct BytesAt {
    head: NonNull<Cursor>,
    bytes: NonNull<u8>,
    /// The offset of the last granule, and so the bits that an offset of a granule has.
    mask: u64,
}

#[cfg(not(multiproc_loom))]
impl BytesAt {
    /// The smallest ring: one granule with a record in it and one for the header behind it.
    pub(crate) const LEAST: u64 = 2 * GRANULE;

    /// The largest ring: the length of its longest payload still fits the 32 bits in a header.
    pub(crate) const MOST: u64 = 1 << 32;

    /// The bytes that a ring of `capacity` bytes needs with its cursor; `None` unless it is a power
    /// of two from [`LEAST`](Self::LEAST) to [`MOST`](Self::MOST).
    pub(crate) fn bytes_for(capacity: u64) -> Option<usize> {
        let possible = capacity.is_power_of_two() && (Self::LEAST..=Self::MOST).contains(&capacity);
        if !possible {
            return None;
        }
        usize::try_from(capacity).ok()?.checked_add(size_of::<Cursor>())
    }

    /// A ring of `capacity` bytes in the `length` bytes at `base`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if a ring of this capacity does not fit there or `base` is not aligned to a line.
    ///
    /// # Safety
    ///
    /// - The `length` bytes at `base` are valid for reads and writes as long as the value exists.
    /// - Nothing but rings of this capacity touches them meanwhile.
    /// - Of all values made for these bytes, in all processes, at most one at a time is with a
    ///   `FrameProducer` and at most one with a `FrameConsumer`; when that role passes from one to
    ///   another, what the first did happens before what the second does.
    pub(crate) unsafe fn new(
        base: NonNull<u8>,
        length: usize,
        capacity: u64,
    ) -> Result<Self, Corrupt> {
        let needed = Self::bytes_for(capacity).ok_or(Corrupt)?;
        let head = base.cast::<Cursor>();
        if length < needed || !head.is_aligned() {
            return Err(Corrupt);
        }
        // SAFETY: `needed`, which is within the caller's bytes, is no less than the cursor.
        let bytes = unsafe { base.add(size_of::<Cursor>()) };
        Ok(Self { head, bytes, mask: capacity - GRANULE })
    }

    /// The first byte of the granule of `position`.
    #[inline(always)]
    fn granule(&self, position: u64) -> NonNull<u8> {
        // SAFETY: the masked offset is that of a granule, all of which `new` found to lie within
        // the caller's bytes.
        unsafe { self.bytes.add((position & self.mask) as usize) }
    }
}

// SAFETY: `head` and `bytes` are addresses of memory that belongs to no thread (`new` asks for it
// to be valid as long as the value exists, wherever that is), `mask` is an integer.
#[cfg(not(multiproc_loom))]
unsafe impl Send for BytesAt {}

// SAFETY: no field changes after `new`, which checked that the capacity is a power of two of at
// least two granules and lies within the caller's bytes. A granule begins at a multiple of its size
// from a line, and the word and the payload behind it lie between that and the end of the ring.
#[cfg(not(multiproc_loom))]
unsafe impl FrameMemory for BytesAt {
    #[inline(always)]
    fn capacity(&self) -> u64 {
        self.mask + GRANULE
    }

    #[inline(always)]
    fn head(&self) -> &Cursor {
        // SAFETY: aligned and within the caller's bytes by `new`; all of it that is ever accessed
        // is an atomic, for which any bytes are a value.
        unsafe { self.head.as_ref() }
    }

    #[inline(always)]
    fn prepare(&self, position: u64) {
        shim::fetch_for_writing(self.granule(position).as_ptr());
    }

    #[inline(always)]
    fn header(&self, position: u64) -> &AtomicU64 {
        // SAFETY: a granule is aligned to sixteen, longer than the word and within the caller's
        // bytes; any bytes are a value of an atomic.
        unsafe { self.granule(position).cast::<AtomicU64>().as_ref() }
    }

    #[inline(always)]
    fn payload(&self, position: u64) -> NonNull<u8> {
        // SAFETY: the granule is within the ring and longer than the header at its start.
        unsafe { self.granule(position).add(HEADER as usize) }
    }
}

#[cfg(not(multiproc_loom))]
impl fmt::Debug for BytesAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BytesAt").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

#[cfg(not(multiproc_loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(align_of::<Cursor>() == LINE && size_of::<Cursor>() == LINE);
    assert!(offset_of!(Cursor, position) == 0);
    assert!(offset_of!(Cursors, tail) == 0 && offset_of!(Cursors, head) == LINE);
    assert!(size_of::<Cursors>() == 2 * LINE);
    assert!(HEADER as usize == size_of::<AtomicU64>() && GRANULE == 2 * HEADER);
    assert!((LINE as u64).is_multiple_of(GRANULE));
};
