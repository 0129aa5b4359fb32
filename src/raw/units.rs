//! The units of a [stock](super::stock): what their words say, and where the words are.
//!
//! ```text
//! word of a unit:  63      8 7       0
//!                 [  owner  |  pages  ]
//!
//! FREE(n)     -> BOUND(d, n)   by a taker, for the block of deed d, in an exchange
//! BOUND(d, n) -> BOUND(d, m)   by the owner of block d: m pages have memory, or soon none has
//! BOUND(d, n) -> BOUND(e, n)   by him, if he owns block e as well
//! BOUND(d, n) -> FREE(n or 0)  by him, when he is done with it
//! ```
//!
//! `pages` of a unit, from its beginning on, have memory. More may have, never less.
#![allow(unsafe_code)]

use std::ops::Range;
#[cfg(not(multiproc_loom))]
use std::{fmt, ptr::NonNull};

#[cfg(not(multiproc_loom))]
use super::Corrupt;
#[cfg(not(multiproc_loom))]
use super::memory::LINE;
pub(super) use super::memory::PAGE;
use crate::shim::AtomicU64;

/// The bytes of a unit.
pub(crate) const UNIT: u64 = 16 << 10;

/// The owner of a unit that is free.
pub(super) const FREE: u64 = 0;

/// The number by which the stock knows a block: that of no other block with the same stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deed(u64);

impl Deed {
    /// `None` for 0, which stands for nobody, and from 2^48 on.
    pub(crate) fn new(number: u64) -> Option<Self> {
        (number != FREE && number < 1 << 48).then_some(Self(number))
    }
}

/// The word of a unit that belongs to a block.
pub(super) fn bound(deed: Deed, pages: u64) -> u64 {
    deed.0 << 8 | pages
}

/// The word of a unit that belongs to nobody.
pub(super) fn free(pages: u64) -> u64 {
    FREE << 8 | pages
}

pub(super) fn is_free(word: u64) -> bool {
    word >> 8 == FREE
}

pub(super) fn is_bound(word: u64, deed: Deed) -> bool {
    word >> 8 == deed.0
}

/// How many pages of the unit have memory.
pub(super) fn pages(word: u64) -> u64 {
    word & 0xff
}

/// Where units are, in bytes from the beginning of the first one of the stock.
pub(super) fn bytes_of(units: Range<u32>) -> Range<u64> {
    u64::from(units.start) * UNIT..u64::from(units.end) * UNIT
}

/// What a stock keeps in shared memory. Zeroed, all units are free and have no memory.
pub(crate) trait StockMemory {
    /// The number of units, by this process's own account.
    fn units(&self) -> u32;

    /// The word of a unit; `index` is below [`units`](Self::units).
    fn word(&self, index: u32) -> &AtomicU64;

    /// The unit to begin the next search with. A hint, and untrusted.
    fn hint(&self) -> &AtomicU64;
}

/// A stock in a mapping.
///
/// ```text
///   0  hint
/// 128  the words of the units, one after the other
/// ```
#[cfg(not(multiproc_loom))]
pub(crate) struct StockAt {
    hint: NonNull<AtomicU64>,
    words: NonNull<AtomicU64>,
    units: u32,
}

#[cfg(not(multiproc_loom))]
impl StockAt {
    /// The bytes that the words of so many units need.
    pub(crate) const fn bytes_for(units: u32) -> usize {
        LINE + units as usize * size_of::<AtomicU64>()
    }

    /// The stock of `units` units whose words are in the `length` bytes at `base`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if so many do not fit there or `base` is not aligned to a line.
    ///
    /// # Safety
    ///
    /// - The `length` bytes at `base` are valid for reads and writes as long as the value exists.
    /// - Nothing touches them meanwhile but by atomics.
    pub(crate) unsafe fn new(
        base: NonNull<u8>,
        length: usize,
        units: u32,
    ) -> Result<Self, Corrupt> {
        if length < Self::bytes_for(units) || !base.addr().get().is_multiple_of(LINE) {
            return Err(Corrupt);
        }
        // SAFETY: the caller's bytes are longer than a line by the check above.
        let words = unsafe { base.add(LINE) }.cast();
        Ok(Self { hint: base.cast(), words, units })
    }
}

// SAFETY: `hint` and `words` are addresses of memory that belongs to no thread (`new` asks for it
// to be valid as long as the value exists, wherever that is), `units` is an integer.
#[cfg(not(multiproc_loom))]
unsafe impl Send for StockAt {}

#[cfg(not(multiproc_loom))]
impl StockMemory for StockAt {
    #[inline(always)]
    fn units(&self) -> u32 {
        self.units
    }

    #[inline(always)]
    fn word(&self, index: u32) -> &AtomicU64 {
        // SAFETY: `new` found so many aligned words within the caller's bytes, and any bytes are a
        // value of an atomic.
        let words =
            unsafe { NonNull::slice_from_raw_parts(self.words, self.units as usize).as_ref() };
        &words[index as usize]
    }

    #[inline(always)]
    fn hint(&self) -> &AtomicU64 {
        // SAFETY: aligned and within the caller's bytes by `new`; any bytes are a value of an
        // atomic.
        unsafe { self.hint.as_ref() }
    }
}

#[cfg(not(multiproc_loom))]
impl fmt::Debug for StockAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StockAt").field("units", &self.units).finish_non_exhaustive()
    }
}

#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<AtomicU64>() == 8 && UNIT.is_multiple_of(PAGE));
