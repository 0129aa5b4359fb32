//! A ring where it lies in a mapping.
#![allow(unsafe_code)]

use std::mem::offset_of;
use std::ptr::NonNull;

use crate::raw::memory::CACHE_LINE;
use crate::raw::stock::Holder;
use crate::raw::swap::{Hints, Shape, SwapMemory};
use crate::raw::units::Deed;
use crate::shim::{self, AtomicU32, AtomicU64};

use super::plan::BLOCK_HEAD;

/// A ring in mapped memory. Copies of it are the same ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingAt {
    pub(super) ring: NonNull<u8>,
    pub(super) slots: NonNull<AtomicU64>,
    pub(super) blocks: NonNull<u8>,
    pub(super) shape: Shape,
    pub(super) stride: u32,
    pub(super) lines: u32,
    pub(super) line_bits: u32,
    pub(super) number: u32,
}

// SAFETY: as for `QueueAt`.
unsafe impl Send for RingAt {}
// SAFETY: as above.
unsafe impl Sync for RingAt {}

/// What one handle says of itself in one ring: written by the handle, or by who buries it.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Notes {
    intent: AtomicU64,
    scratch: AtomicU64,
    want: AtomicU32,
}

/// What a block begins with.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct BlockHead {
    owner: AtomicU32,
    /// The bytes of the message.
    pub(crate) length: AtomicU32,
    /// Where in the stock it lies, if it does. Only where the plan has a stock.
    pub(crate) run: AtomicU64,
}

impl RingAt {
    /// The first byte of a block; of the last one, if there are not so many.
    #[inline]
    pub(crate) fn block(&self, block: u32) -> NonNull<u8> {
        let block = block.min(self.shape.blocks() - 1) as usize;
        // SAFETY: the ring has this block, by the layout.
        unsafe { self.blocks.add(block * self.stride as usize) }
    }

    /// How many bytes the message in a block has, in the block or in the stock.
    #[inline]
    pub(crate) fn length(&self, block: u32) -> &AtomicU32 {
        let at = self.block(block);
        // SAFETY: a block has eight bytes at least, aligned, and its first ones are atomics.
        unsafe { at.add(offset_of!(BlockHead, length)).cast::<AtomicU32>().as_ref() }
    }

    /// A block, as the stock sees it. Only where the plan has a stock.
    #[inline]
    pub(crate) fn holder(&self, block: u32) -> Option<Holder<'_>> {
        let deed = Deed::new((u64::from(self.number) << 32) + u64::from(block) + 1)?;
        let at = self.block(block);
        // SAFETY: a plan with a stock has blocks of at least sixteen bytes, and blocks are aligned
        // to eight; any bytes are a value of an atomic.
        let run = unsafe { at.add(offset_of!(BlockHead, run)).cast::<AtomicU64>().as_ref() };
        Some(Holder { deed, run })
    }

    #[inline]
    fn notes(&self, handle: u32) -> &Notes {
        let handle = handle.min(self.shape.handles() - 1) as usize;
        // SAFETY: those of each handle follow the hints, by the layout, and they are atomics.
        unsafe { self.ring.add(size_of::<Hints>()).cast::<Notes>().add(handle).as_ref() }
    }
}

impl SwapMemory for RingAt {
    #[inline]
    fn shape(&self) -> Shape {
        self.shape
    }

    #[inline]
    fn number(&self) -> u32 {
        self.number
    }

    #[inline]
    fn hints(&self) -> &Hints {
        // SAFETY: a ring begins with its hints, by the layout.
        unsafe { self.ring.cast::<Hints>().as_ref() }
    }

    #[inline]
    fn slot(&self, slot: u32) -> &AtomicU64 {
        // Neighbours are on different lines, so that who pushes and who pops stay apart.
        let word = ((slot & (self.lines - 1)) << 3) | ((slot >> self.line_bits) & 7);
        // SAFETY: `lines` lines of eight words each are there, by the layout.
        unsafe { self.slots.add(word as usize).as_ref() }
    }

    #[inline]
    fn owner(&self, block: u32) -> &AtomicU32 {
        // SAFETY: as in `length`.
        unsafe { self.block(block).cast::<AtomicU32>().as_ref() }
    }

    #[inline]
    fn intent(&self, handle: u32) -> &AtomicU64 {
        &self.notes(handle).intent
    }

    #[inline]
    fn want(&self, handle: u32) -> &AtomicU32 {
        &self.notes(handle).want
    }

    #[inline]
    fn scratch(&self, handle: u32) -> &AtomicU64 {
        &self.notes(handle).scratch
    }

    #[inline]
    fn prepare(&self, block: u32) {
        shim::fetch_for_writing(self.block(block).as_ptr());
    }
}

const _: () = assert!(size_of::<BlockHead>() == BLOCK_HEAD as usize);
const _: () = assert!(size_of::<Notes>() == CACHE_LINE);
