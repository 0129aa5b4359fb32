//! What the rings between two ends stand on: bytes in a mapping, or cells that a model watches.
//!
//! The ring of [`spsc`](super::spsc) reaches shared memory through a trait, so the code that ships
//! is the code that is model-checked. The trait brings a position into range itself: no position,
//! however it came about, leads out of the memory.
//!
//! ```text
//! slots    0    tail of the ring | 128  head | 256  slot 0, slot 1, … slot 2^k - 1
//! ```
//!
//! All of it is valid, and empty, when it is zero.
#![allow(unsafe_code)]
#![allow(clippy::disallowed_types, reason = "all of them come from shim")]

use std::fmt;
use std::ptr::NonNull;

#[cfg(not(multiproc_loom))]
use super::Corrupt;
use crate::shim::AtomicU64;

/// Two lines: the prefetcher of x86-64 fetches them as a pair, so one line apart still ping-pongs.
pub(crate) const LINE: usize = 128;

/// How far one end has come, where the other end can see it. Wraps around after 2^64.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Cursor {
    pub(super) position: AtomicU64,
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

    /// Calls `write` with the slot of message `index`, to be written.
    fn fill<R>(&self, index: u64, write: impl FnOnce(*mut Self::Slot) -> R) -> R;

    /// Calls `read` with the slot of message `index`, to be read.
    fn read<R>(&self, index: u64, read: impl FnOnce(*const Self::Slot) -> R) -> R;
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

#[cfg(not(multiproc_loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(align_of::<Cursor>() == LINE && size_of::<Cursor>() == LINE);
    assert!(offset_of!(Cursor, position) == 0);
    assert!(offset_of!(Cursors, tail) == 0 && offset_of!(Cursors, head) == LINE);
    assert!(size_of::<Cursors>() == 2 * LINE);
};
