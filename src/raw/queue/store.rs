//! The rings of a queue and the memory that they are made of: what the algorithms of `swap` stand
//! on.

use std::ops::Range;

use crate::raw::Corrupt;
use crate::raw::bench::wake_everyone;
use crate::raw::stock::Holder;
use crate::raw::swap::Ring;
use crate::raw::swap::chain::{self, Chain, ChainMemory, Entry, RINGS_MAX, Turns};
use crate::raw::swap::handle::{self, HandleTable, State};
use crate::raw::swap::recover::{self, Policy, Rings};
use crate::raw::units::{Deed, UNIT};
use crate::raw::wide::{WideCursor, WideRing};
use crate::shim::{AtomicU64, Ordering::*};

use super::at::QueueAt;
use super::plan::FIRST_WAITER;
use super::ring_at::RingAt;

/// The deeds of rings begin here; those of blocks, which begin with the number of their ring, are
/// smaller.
const RING_DEEDS: u64 = 0xffff << 32;

const _: () = assert!((RINGS_MAX as u64) << 32 < RING_DEEDS);
const _: () = assert!(RING_DEEDS + RINGS_MAX as u64 <= 1 << 48);

/// Why a queue got no more memory.
#[derive(Debug)]
pub(crate) enum Refused<R> {
    /// Its words are not what they must be.
    Corrupt,
    /// All that it was made for is in use.
    UsedUp,
    /// There are no pages.
    NoPages(R),
}

impl<R> From<Corrupt> for Refused<R> {
    fn from(Corrupt: Corrupt) -> Self {
        Self::Corrupt
    }
}

/// The pages of a queue's memory, counted in bytes from its beginning.
pub(crate) trait Pages {
    /// Why there are none.
    type Refused;

    /// Sees to it that a range has pages.
    fn furnish(&self, offset: u64, length: u64) -> Result<(), Self::Refused>;

    /// Gives the whole pages in a range back. Where the system refuses, they stay.
    fn discard(&self, offset: u64, length: u64);
}

/// A queue, and whoever gets memory for it.
#[derive(Debug)]
pub(crate) struct Store<P> {
    pub(crate) at: QueueAt,
    pub(crate) pages: P,
}

impl<P: Pages> Store<P> {
    pub(crate) fn new(at: QueueAt, pages: P) -> Self {
        Self { at, pages }
    }

    /// The queue as participant `me` sees it.
    pub(crate) fn into_chain(self, me: u32) -> Chain<Self> {
        let grows = self.at.plan.grows();
        Chain::new(self, me, grows)
    }

    /// What becomes of a message in the hands of a dead receiver.
    fn policy(&self) -> Policy {
        if self.at.plan.flags.redelivers { Policy::Redeliver } else { Policy::AtMostOnce }
    }

    /// Recovers, for `me`, whatever belonged to a participant that is gone, and wakes everybody.
    pub(crate) fn sweep(self, gone: u32, died: bool, me: u32) {
        let at = self.at;
        let suspects = if died { at.handles() } else { 0 };
        for handle in 0..suspects {
            if let State::Live { participant, ends } = handle::state(&at, handle)
                && participant == gone
            {
                at.note_death(ends);
            }
        }
        recover::recover(&self, gone, self.policy());
        if at.plan.grows() {
            // What is corrupt is left to itself.
            let _ = self.into_chain(me).recover(gone);
        }
        wake_everyone(at.waiters());
    }

    /// Leaves nothing behind in a handle that the caller is about to give up.
    pub(crate) fn vacate(&self, handle: u32) {
        for number in 0..self.rings_used() {
            if let Some(ring) = self.ring(number) {
                // What a forgotten guard still held is received by this.
                let block = ring.forget(handle);
                self.clear(number, block);
            }
        }
    }

    /// Whether a handle may be in the middle of taking a message, or holds one.
    pub(crate) fn is_popping(&self, handle: u32) -> bool {
        self.each_ring().any(|ring| ring.is_popping(handle))
    }

    /// Whether a handle holds a message.
    pub(crate) fn is_holding(&self, handle: u32) -> bool {
        self.each_ring().any(|ring| ring.scratch_of(handle).is_held)
    }

    /// How many messages died in the hands of those who had this handle.
    pub(crate) fn casualties(&self, handle: u32) -> u64 {
        self.each_ring().map(|ring| ring.scratch_of(handle).casualties).fold(0, u64::saturating_add)
    }

    /// How many messages were ever pushed and popped, for those who look. Exact while nobody acts.
    pub(crate) fn totals(&self) -> Result<(u64, u64), Corrupt> {
        if let Some(wide) = self.at.wide_ring() {
            return WideRing::new(wide?).totals(&mut WideCursor::default());
        }
        self.each_ring().try_fold((0_u64, 0_u64), |totals, ring| {
            let more = ring.totals_seen()?;
            Ok((totals.0.saturating_add(more.0), totals.1.saturating_add(more.1)))
        })
    }

    fn each_ring(&self) -> impl Iterator<Item = Ring<RingAt>> {
        (0..self.rings_used()).filter_map(|number| self.ring(number))
    }

    /// Frees what a block has in the stock, if it has something. Whether it had.
    #[inline]
    pub(crate) fn free(&self, ring: &RingAt, block: u32) -> Result<bool, Corrupt> {
        let Some(holder) = ring.holder(block).filter(|_| self.at.plan.units > 0) else {
            return Ok(false);
        };
        // Relaxed: the word came with the block.
        if holder.run.load(Relaxed) == 0 {
            return Ok(false);
        }
        let stock = self.at.stock().ok_or(Corrupt)?;
        let discard = |bytes: Range<u64>| {
            self.pages.discard(self.offset(bytes.start), bytes.end - bytes.start);
        };
        stock.free(&holder, |unit| unit < self.at.plan.warm, discard)?;
        Ok(true)
    }

    /// Where a byte of the stock is, seen from the beginning of the queue.
    pub(crate) fn offset(&self, byte: u64) -> u64 {
        (self.at.layout.units_at as u64).saturating_add(byte)
    }

    /// The unit that a new ring begins with.
    fn unit_for(&self, number: u32) -> Result<u64, Refused<P::Refused>> {
        let entry = self.at.ring_entry(number);
        let deed = Deed::new(RING_DEEDS + u64::from(number)).ok_or(Corrupt)?;
        let holder = Holder { deed, run: &entry.run };
        let stock = self.at.stock().ok_or(Corrupt)?;
        // Somebody who died in here may have taken it, or a part of it.
        if let Some(run) = stock.find(&holder)? {
            return Ok(run.bytes().start / UNIT);
        }
        stock.free(&holder, |_| true, |_| {})?;
        let count = (self.at.layout.more.length as u64).div_ceil(UNIT) as u32;
        let run = stock.take(&holder, count)?.ok_or(Refused::UsedUp)?;
        Ok(run.bytes().start / UNIT)
    }
}

impl<P: Pages> HandleTable for Store<P> {
    fn handles(&self) -> u32 {
        self.at.handles()
    }

    fn word(&self, handle: u32) -> &AtomicU64 {
        self.at.word(handle)
    }

    fn taken_ever(&self) -> &AtomicU64 {
        self.at.taken_ever()
    }
}

impl<P: Pages> Rings for Store<P> {
    type Memory = RingAt;

    fn ring(&self, number: u32) -> Option<Ring<RingAt>> {
        chain::ring_of(self, number)
    }

    fn rings(&self) -> u32 {
        if self.at.plan.flags.is_wide { 0 } else { self.at.plan.rings }
    }

    fn rings_used(&self) -> u32 {
        let is_virgin = |number: &u32| self.at.ring_entry(*number).entry.is_virgin();
        (0..self.rings()).find(is_virgin).unwrap_or(self.rings())
    }

    fn orphans(&self, handle: u32) -> &AtomicU64 {
        self.at.orphans(handle)
    }

    fn strike(&self, handle: u32) {
        let slot = (FIRST_WAITER + handle) as usize;
        // Relaxed: what the dead had not done is not waited for any more, once its handle is free.
        self.at.entry(handle).outstanding.store(0, Relaxed);
        self.at.waiters()[slot].release();
        let head = self.at.head();
        for bench in [&head.not_empty, &head.not_full, &head.not_used_up, &head.all_done] {
            bench.0.strike(self.at.waiters(), slot);
        }
    }

    fn clear(&self, ring: u32, block: u32) {
        if let Some(ring) = self.ring(ring) {
            // A stock that is damaged is left alone.
            let _ = self.free(ring.memory(), block);
        }
    }
}

impl<P: Pages> ChainMemory for Store<P> {
    type Refused = Refused<P::Refused>;

    fn turns(&self) -> &Turns {
        &self.at.head().turns
    }

    fn entry(&self, number: u32) -> &Entry {
        &self.at.ring_entry(number).entry
    }

    fn ring_at(&self, number: u32, place: u64) -> Option<Ring<RingAt>> {
        match number {
            0 => Some(Ring::new(self.at.first_ring())),
            _ => self.at.later_ring(number, place).map(Ring::new),
        }
    }

    fn furnish(&self, number: u32, place: Option<u64>) -> Result<u64, Self::Refused> {
        if number == 0 {
            return Ok(0);
        }
        let unit = place.map_or_else(|| self.unit_for(number), Ok)?;
        let length = self.at.layout.more.length as u64;
        let offset = self.offset(unit.saturating_mul(UNIT));
        self.pages.furnish(offset, length).map_err(Refused::NoPages)?;
        Ok(unit)
    }

    fn discard(&self, number: u32, blocks: Range<u32>) {
        let entry = self.at.ring_entry(number);
        // Relaxed: the caller has found the ring by it.
        let place = entry.entry.place.load(Relaxed);
        if number == 0 || place == 0 {
            return;
        }
        let stride = u64::from(self.at.plan.stride);
        let begin = self
            .offset((place - 1).saturating_mul(UNIT))
            .saturating_add(self.at.layout.more.blocks_at as u64);
        let [start, end] = [blocks.start, blocks.end].map(|block| u64::from(block) * stride);
        self.pages.discard(begin.saturating_add(start), end.saturating_sub(start));
    }
}

impl<P: Pages> Chain<Store<P>> {
    /// Writes the words of a queue that nobody else has seen, into zeroed memory.
    pub(crate) fn prepare(&self) {
        if !self.memory().at.plan.flags.is_wide {
            // The first ring has its memory, so nothing can be refused.
            let _ = self.begin();
        }
    }
}
