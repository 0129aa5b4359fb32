//! A handle on one block: keeps it, and gives it back with the last handle of all processes.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::Result;
use crate::raw::kind::Kind;

use super::arena::Place;
use super::{Segment, registry};

/// The block of a handle that was let go.
const NO_BLOCK: u32 = u32::MAX;

/// One handle of this process on one block.
#[derive(Debug)]
pub(crate) struct Shared {
    segment: Arc<Segment>,
    block: u32,
    at: NonNull<u8>,
    length: u64,
}

// SAFETY: the address is of shared memory, which is used from everywhere by nature, and everything
// typed that is found there is Sync or guarded by a protocol of its own (`get` demands it).
unsafe impl Send for Shared {}
// SAFETY: as above; the handle itself is immutable.
unsafe impl Sync for Shared {}

impl Shared {
    /// The handle of whoever made the block. The gate is already passed.
    pub(super) fn first(segment: Arc<Segment>, place: Place) -> Self {
        let Place { index, at, length } = place;
        segment.count_first(index);
        Self { segment, block: index, at, length }
    }

    /// A handle on a block that this process, or a courier to it, holds at this moment.
    pub(crate) fn on(segment: &Arc<Segment>, block: u32) -> Result<Self> {
        let _gate = registry::gate();
        let (at, length) = segment.locate(block)?;
        segment.hold(block);
        Ok(Self { segment: Arc::clone(segment), block, at, length })
    }

    #[inline]
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(crate) fn block(&self) -> u32 {
        self.block
    }

    /// Drops the handle. How many of the block this process still has.
    pub(crate) fn let_go(mut self) -> u32 {
        if !self.segment.is_ours() {
            return 0;
        }
        let block = std::mem::replace(&mut self.block, NO_BLOCK);
        let _gate = registry::gate();
        self.segment.unhold(block)
    }

    /// Whether this is the last handle of all processes and parcels.
    pub(crate) fn is_alone(&self) -> bool {
        let _gate = registry::gate();
        self.segment.is_alone_on(self.block)
    }

    /// How many other participants hold the block: processes, and parcels on their way.
    pub(crate) fn others(&self) -> usize {
        self.segment.others_on(self.block)
    }

    /// Whether the block holds an object of this kind, and is long enough to begin with its head.
    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.segment.kind_of(self.block) == Some(kind) && self.length >= kind.least_bytes()
    }

    /// The first byte of the block; aligned to 128.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.at
    }

    /// How many bytes the block has, which may be more than were asked for.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Gives pages to a range of the block, see [`Segment::furnish`].
    pub(crate) fn furnish(&self, offset: u64, length: u64) -> Result<()> {
        self.segment.furnish(&self.place(), offset, length)
    }

    /// Takes the pages of a range of the block back, see [`Segment::discard`].
    pub(crate) fn discard(&self, offset: u64, length: u64) -> Result<()> {
        self.segment.discard(&self.place(), offset, length)
    }

    /// Where the block is, without a lock of the segment: no gate is passed for that.
    fn place(&self) -> Place {
        Place { index: self.block, at: self.at, length: self.length }
    }

    /// The object at the beginning of the block.
    ///
    /// # Safety
    /// - `T` is made of atomics, for which every bit pattern is valid, or was written before the
    ///   block was opened and never changes.
    /// - The block is one of the kind that begins with a `T`.
    #[inline]
    pub(crate) unsafe fn get<T>(&self) -> &T {
        assert!(size_of::<T>() as u64 <= self.length && align_of::<T>() <= 128);
        // SAFETY: in range and aligned (checked above), mapped as long as `self.segment`, and a
        // valid `T` by the caller's word.
        unsafe { self.at.cast::<T>().as_ref() }
    }
}

impl Clone for Shared {
    fn clone(&self) -> Self {
        let _gate = registry::gate();
        self.segment.hold(self.block);
        Self { segment: Arc::clone(&self.segment), ..*self }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.block == NO_BLOCK || !self.segment.is_ours() {
            // Let go, or inherited by a fork that may have left the gate shut for ever.
            return;
        }
        let _gate = registry::gate();
        self.segment.unhold(self.block);
    }
}
