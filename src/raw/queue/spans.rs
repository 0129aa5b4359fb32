//! Which bytes of a queue say how it is, for those who copy these and look at the copy.
//!
//! No message is among them.

use std::ops::Range;

use crate::raw::memory::CACHE_LINE;
use crate::raw::swap::{Hints, SwapMemory};
use crate::shim::Ordering::Relaxed;

use super::at::QueueAt;
use super::plan::{RingEntry, RingLayout};

/// The bytes of a slot of a wide ring.
const WIDE_SLOT: usize = 16;

/// Of a ring with more bytes of slots than this, those near its hints are enough: 1 MiB.
const SLOTS_WHOLE: usize = 1 << 20;

/// So many slots behind a hint are near it: hints are told at every 64th, by whoever comes first.
const NEAR: usize = 1024;

impl QueueAt {
    /// The plan's words, the benches, handles and waiters, and what the first ring begins with.
    pub(crate) fn control(&self) -> Range<usize> {
        // A wide ring has no notes.
        let before_slots = self.layout.first.slots_at.max(size_of::<Hints>());
        0..self.layout.ring_at + before_slots
    }

    /// The slots of the first ring that are worth a look, once `control` is there.
    pub(crate) fn slots(&self) -> Vec<Range<usize>> {
        let ring_at = self.layout.ring_at;
        if let Some(Ok(wide)) = self.wide_ring() {
            use crate::raw::wide::memory::WideMemory;
            // Relaxed, both: hints about what to copy.
            let hints = [wide.tail_hint(), wide.head_hint()].map(|hint| hint.load(Relaxed));
            let count = self.plan.shape.slots() as usize;
            let index_mask = count.next_power_of_two() as u64 - 1;
            let near = hints.map(|hint| (hint & index_mask) as usize);
            let begin = ring_at + size_of::<Hints>();
            return near_by(begin, WIDE_SLOT, count, &[0, near[0], near[1]]);
        }
        self.slots_of(ring_at, self.layout.first, &self.first_ring())
    }

    fn slots_of(
        &self,
        ring_at: usize,
        layout: RingLayout,
        ring: &impl SwapMemory,
    ) -> Vec<Range<usize>> {
        let hints = ring.hints();
        let shape = ring.shape();
        // Relaxed, both: hints about what to copy. Slots that follow each other are in lines that
        // do.
        let near = [&hints.tail, &hints.head]
            .map(|hint| shape.slot(hint.position.load(Relaxed)) as usize % layout.lines as usize);
        near_by(ring_at + layout.slots_at, CACHE_LINE, layout.lines as usize, &near)
    }

    /// The entry of a ring in the table of rings.
    pub(crate) fn ring_entry_span(&self, number: u32) -> Range<usize> {
        let at = self.layout.rings_at + number as usize * size_of::<RingEntry>();
        at..at + size_of::<RingEntry>()
    }

    /// What a later ring begins with, and its slots, if it has memory at all. Its entry is there.
    pub(crate) fn later_span(&self, number: u32) -> Option<Range<usize>> {
        // Relaxed: about what to copy.
        let unit = self.ring_entry(number).entry.place.load(Relaxed).checked_sub(1)?;
        let ring = self.later_ring(number, unit)?;
        let at = ring.ring.as_ptr() as usize - self.base.as_ptr() as usize;
        Some(at..at + self.layout.more.blocks_at)
    }
}

/// The bytes of `count` things of `size` bytes from `begin` on; if these are many, of those near
/// each of `centres`.
fn near_by(begin: usize, size: usize, count: usize, centres: &[usize]) -> Vec<Range<usize>> {
    let bytes = |things: Range<usize>| begin + things.start * size..begin + things.end * size;
    if count * size <= SLOTS_WHOLE {
        return vec![bytes(0..count)];
    }
    let mut spans = Vec::new();
    for centre in centres.iter().map(|centre| (*centre).min(count - 1)) {
        let end = (centre + NEAR).min(count);
        spans.push(bytes(centre..end));
        spans.push(bytes(0..NEAR - (end - centre)));
    }
    spans
}
