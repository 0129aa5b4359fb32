//! What the wide ring stands on: slots in a mapping, or slots that a model watches.
//!
//! ```text
//! 0    hint of the tail | 128  hint of the head | 256  slot 0, slot 1, … slot capacity - 1
//! ```
//!
//! All of it is valid, and empty, when it is zero.
#![allow(unsafe_code)]

#[cfg(not(multiproc_loom))]
use std::fmt;
#[cfg(not(multiproc_loom))]
use std::ptr::NonNull;

use crate::shim::{AtomicU64, Wide};

#[cfg(not(multiproc_loom))]
use super::super::Corrupt;
#[cfg(not(multiproc_loom))]
use super::super::memory::LINE;

/// The most slots a ring may have. An index takes 32 bits of a position, which leaves 2^29 laps.
pub(crate) const CAPACITY_MAX: u64 = u32::MAX as u64;

/// Slots for [`WideRing`](super::WideRing) and the hints above them.
///
/// Each function always returns the same, and `capacity` is from one to [`CAPACITY_MAX`]. Whatever
/// the index, `slot` returns one of the slots; each of those below `capacity` has its own.
pub(crate) trait WideMemory {
    /// The number of slots.
    fn capacity(&self) -> u64;

    /// The slot at this index.
    fn slot(&self, index: u64) -> &Wide;

    /// How far the pushes have come, at least.
    fn tail_hint(&self) -> &AtomicU64;

    /// How far the pops have come, at least.
    fn head_hint(&self) -> &AtomicU64;
}

/// A hint, apart from all that others write.
#[cfg(not(multiproc_loom))]
#[derive(Debug)]
#[repr(C, align(128))]
struct Hint {
    position: AtomicU64,
}

#[cfg(not(multiproc_loom))]
#[derive(Debug)]
#[repr(C)]
struct Hints {
    tail: Hint,
    head: Hint,
}

/// Slots in a mapping.
#[cfg(not(multiproc_loom))]
pub(crate) struct WideAt {
    hints: NonNull<Hints>,
    slots: NonNull<Wide>,
    /// The index of the last slot.
    last: u64,
}

/// The size of a slot, and its alignment.
#[cfg(not(multiproc_loom))]
const SLOT: usize = 16;

#[cfg(not(multiproc_loom))]
impl WideAt {
    /// The bytes that a ring of `capacity` messages needs; `None` for zero and above
    /// [`CAPACITY_MAX`].
    pub(crate) fn bytes_for(capacity: u64) -> Option<usize> {
        let slots = usize::try_from(capacity).ok().filter(|_| capacity <= CAPACITY_MAX)?;
        let bytes = slots.checked_mul(SLOT)?.checked_add(size_of::<Hints>())?;
        (slots > 0 && isize::try_from(bytes).is_ok()).then_some(bytes)
    }

    /// A ring of `capacity` messages in the `length` bytes at `base`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if a ring of this capacity does not fit there, if `base` is not aligned to a pair
    /// of lines, or if this machine cannot change a slot as one: no peer on it made such a ring.
    ///
    /// # Safety
    ///
    /// - The `length` bytes at `base` are valid for reads and writes as long as the value exists.
    /// - Nothing but wide rings of this capacity touches them meanwhile.
    pub(crate) unsafe fn new(
        base: NonNull<u8>,
        length: usize,
        capacity: u64,
    ) -> Result<Self, Corrupt> {
        let needed = Self::bytes_for(capacity).ok_or(Corrupt)?;
        let hints = base.cast::<Hints>();
        if length < needed || !hints.is_aligned() || !Wide::is_available() {
            return Err(Corrupt);
        }
        // SAFETY: `needed`, which is within the caller's bytes, is no less than the hints.
        let slots = unsafe { base.add(size_of::<Hints>()) }.cast::<Wide>();
        Ok(Self { hints, slots, last: capacity - 1 })
    }

    #[inline(always)]
    fn hints(&self) -> &Hints {
        // SAFETY: aligned and within the caller's bytes by `new`; all of it that is ever accessed
        // are two atomics, for which any bytes are a value.
        unsafe { self.hints.as_ref() }
    }
}

// SAFETY: `hints` and `slots` are addresses of memory that belongs to no thread (`new` asks for it
// to be valid as long as the value exists, wherever that is), `last` is an integer.
#[cfg(not(multiproc_loom))]
unsafe impl Send for WideAt {}
// SAFETY: as above; what it leads to are slots and atomics, which any thread may use.
#[cfg(not(multiproc_loom))]
unsafe impl Sync for WideAt {}

#[cfg(not(multiproc_loom))]
impl WideMemory for WideAt {
    #[inline(always)]
    fn capacity(&self) -> u64 {
        self.last + 1
    }

    #[inline(always)]
    fn slot(&self, index: u64) -> &Wide {
        let index = index.min(self.last) as usize;
        // SAFETY: `new` found all slots up to the last to lie within the caller's bytes, aligned
        // like the line they begin on, and the machine to have what changes them. Any bytes are a
        // value of a slot.
        unsafe { self.slots.add(index).as_ref() }
    }

    #[inline(always)]
    fn tail_hint(&self) -> &AtomicU64 {
        &self.hints().tail.position
    }

    #[inline(always)]
    fn head_hint(&self) -> &AtomicU64 {
        &self.hints().head.position
    }
}

#[cfg(not(multiproc_loom))]
impl fmt::Debug for WideAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WideAt").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

#[cfg(not(multiproc_loom))]
const _: () = {
    assert!(align_of::<Hints>() == LINE && size_of::<Hints>() == 2 * LINE);
    assert!(std::mem::offset_of!(Hints, tail) == 0 && LINE.is_multiple_of(SLOT));
};
#[cfg(all(not(multiproc_loom), target_arch = "x86_64"))]
const _: () = assert!(size_of::<Wide>() == SLOT && align_of::<Wide>() == SLOT);
