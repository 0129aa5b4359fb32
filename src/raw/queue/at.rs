//! A queue where it lies in a mapping.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use crate::raw::Corrupt;
use crate::raw::bench::Waiter;
use crate::raw::stock::{Run, Stock};
use crate::raw::swap::handle::{Ends, Handle, HandleTable};
use crate::raw::swap::{HANDLES_MAX, Shape};
use crate::raw::units::{StockAt, UNIT};
use crate::raw::wide::memory::WideAt;
use crate::shim::{AtomicU64, Ordering::*};

use super::plan::{FIRST_WAITER, Head, Layout, Plan, RingEntry, RingLayout};
use super::ring_at::RingAt;

/// A process died that had a sending end.
const SENDER_DIED: u32 = 1 << 16;
/// A process died that had a receiving end.
const RECEIVER_DIED: u32 = 1 << 17;

/// What a thread can sleep for at a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    Message,
    Room,
    /// Room beside the ring.
    Memory,
    /// That all messages are said to be done.
    Tasks,
}

/// A queue in mapped memory. Copies of it are the same queue.
///
/// Numbers out of range lead to some word of the right kind, never out of the memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueAt {
    pub(super) base: NonNull<u8>,
    pub(crate) plan: Plan,
    pub(crate) layout: Layout,
}

// SAFETY: `base` is the address of memory that belongs to no thread (`new` asks for it to be valid
// as long as the value exists); all of it that is reached through here are atomics.
unsafe impl Send for QueueAt {}
// SAFETY: as above.
unsafe impl Sync for QueueAt {}

impl QueueAt {
    /// Writes the plan of a queue into zeroed memory that nobody else has seen.
    ///
    /// # Safety
    ///
    /// - The bytes that the plan's layout says are furnished, at `base`, are valid for writes and
    ///   aligned to a line.
    pub(crate) unsafe fn plan_at(base: NonNull<u8>, plan: Plan) {
        // SAFETY: a queue begins with its head, which is made of atomics.
        unsafe { base.cast::<Head>().as_ref() }.prepare(plan);
    }

    /// The queue in the `length` bytes at `base`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if its plan is none, or does not fit there.
    ///
    /// # Safety
    ///
    /// - The `length` bytes at `base` are valid for reads and writes as long as the value exists,
    ///   aligned to a line, and used for nothing but this queue.
    pub(crate) unsafe fn new(base: NonNull<u8>, length: u64) -> Result<Self, Corrupt> {
        if length < size_of::<Head>() as u64 {
            return Err(Corrupt);
        }
        // SAFETY: within the caller's bytes, and made of atomics.
        let plan = unsafe { base.cast::<Head>().as_ref() }.plan().ok_or(Corrupt)?;
        let layout = plan.layout().ok_or(Corrupt)?;
        if layout.total as u64 > length {
            return Err(Corrupt);
        }
        Ok(Self { base, plan, layout })
    }

    #[inline]
    pub(crate) fn head(&self) -> &Head {
        // SAFETY: `new` found the head within the caller's bytes; it is atomics.
        unsafe { self.base.cast::<Head>().as_ref() }
    }

    /// The ring that is there from the beginning.
    pub(super) fn first_ring(&self) -> RingAt {
        self.ring_of(0, self.layout.ring_at, self.plan.shape, self.layout.first)
    }

    /// The ring of a queue whose messages are words; `None` if it has another kind of ring.
    pub(crate) fn wide_ring(&self) -> Option<Result<WideAt, Corrupt>> {
        // SAFETY: the first ring of such a queue is a wide one, and lies within the queue, as the
        // layout says.
        let ring = || unsafe {
            let base = self.base.add(self.layout.ring_at);
            WideAt::new(base, self.layout.first.length, self.plan.shape.slots().into())
        };
        self.plan.flags.is_wide.then(ring)
    }

    /// A ring that came later, in the stock from unit `unit` on, if it fits there.
    pub(super) fn later_ring(&self, number: u32, unit: u64) -> Option<RingAt> {
        let layout = self.layout.more;
        let end = unit.checked_mul(UNIT)?.checked_add(layout.length as u64)?;
        if end > u64::from(self.plan.units) * UNIT {
            return None;
        }
        let at = self.layout.units_at + (unit * UNIT) as usize;
        Some(self.ring_of(number, at, self.plan.more, layout))
    }

    fn ring_of(&self, number: u32, at: usize, shape: Shape, layout: RingLayout) -> RingAt {
        // SAFETY: both callers' rings lie within the queue, and their parts within the ring, as the
        // layouts say.
        unsafe {
            let ring = self.base.add(at);
            RingAt {
                ring,
                slots: ring.add(layout.slots_at).cast(),
                blocks: ring.add(layout.blocks_at),
                shape,
                stride: self.plan.stride,
                lines: layout.lines,
                line_bits: layout.lines.trailing_zeros(),
                number,
            }
        }
    }

    /// The entry of a handle; of the last one, if there are not so many.
    #[inline]
    pub(crate) fn entry(&self, handle: u32) -> &Handle {
        let handle = handle.min(self.plan.shape.handles() - 1) as usize;
        // SAFETY: the table has this entry, by the layout, and it is atomics.
        unsafe { self.base.add(self.layout.handles_at).cast::<Handle>().add(handle).as_ref() }
    }

    /// The entry of a ring; of the last one, if there are not so many.
    pub(super) fn ring_entry(&self, number: u32) -> &RingEntry {
        let number = number.min(self.plan.rings - 1) as usize;
        // SAFETY: as in `entry`.
        unsafe { self.base.add(self.layout.rings_at).cast::<RingEntry>().add(number).as_ref() }
    }

    /// The waiters of the handles, from [`FIRST_WAITER`] on.
    #[inline]
    pub(crate) fn waiters(&self) -> &[Waiter] {
        let count = (FIRST_WAITER + self.plan.shape.handles()) as usize;
        // SAFETY: the table lies there, by the layout; waiters are atomics, 64-aligned.
        unsafe {
            let table = self.base.add(self.layout.waiters_at).cast::<Waiter>();
            std::slice::from_raw_parts(table.as_ptr(), count)
        }
    }

    /// The word of the bitmap of orphans that a handle is in.
    pub(super) fn orphans(&self, handle: u32) -> &AtomicU64 {
        &self.head().orphans[handle.min(HANDLES_MAX - 1) as usize / 64]
    }

    /// Notes that a process died that had these ends.
    pub(super) fn note_death(&self, ends: Ends) {
        // Relaxed: a remark, ordered by what is done to the handle next.
        self.head().state.flags.fetch_or(died_flags(ends), Relaxed);
    }

    /// Whether a process died that had one of these ends.
    pub(crate) fn has_died(&self, ends: Ends) -> bool {
        // Relaxed: asked behind the scan that missed it.
        self.head().state.flags.load(Relaxed) & died_flags(ends) != 0
    }

    /// The stock, if there is one.
    pub(crate) fn stock(&self) -> Option<Stock<StockAt>> {
        let length = self.layout.units_at - self.layout.stock_at;
        // SAFETY: the words of the stock lie there, by the layout; they are used as such alone.
        let words = unsafe {
            let base = self.base.add(self.layout.stock_at);
            StockAt::new(base, length, self.plan.units)
        };
        (self.plan.units > 0).then_some(Stock::new(words.ok()?))
    }

    /// The first byte of a run.
    pub(crate) fn run_at(&self, run: Run) -> NonNull<u8> {
        // SAFETY: a run lies among the units that the stock has, which are there by the layout.
        unsafe { self.base.add(self.layout.units_at + run.bytes().start as usize) }
    }

    /// Whether the thread of a handle sleeps, or is about to.
    pub(crate) fn is_asleep(&self, handle: u32) -> bool {
        self.awaited_by(handle).is_some()
    }

    /// What the thread of a handle sleeps for, or is about to.
    pub(crate) fn awaited_by(&self, handle: u32) -> Option<Awaited> {
        let (slot, head) = ((FIRST_WAITER + handle) as usize, self.head());
        let benches = [
            (&head.not_empty, Awaited::Message),
            (&head.not_full, Awaited::Room),
            (&head.not_used_up, Awaited::Memory),
            (&head.all_done, Awaited::Tasks),
        ];
        benches.iter().find(|(bench, _)| bench.0.is_marked_at(slot)).map(|(_, awaited)| *awaited)
    }
}

fn died_flags(ends: Ends) -> u32 {
    let flag = |end, flag| if ends.has(end) { flag } else { 0 };
    flag(Ends::SENDER, SENDER_DIED) | flag(Ends::RECEIVER, RECEIVER_DIED)
}

impl HandleTable for QueueAt {
    fn handles(&self) -> u32 {
        self.plan.shape.handles()
    }

    fn word(&self, handle: u32) -> &AtomicU64 {
        &self.entry(handle).word
    }

    fn taken_ever(&self) -> &AtomicU64 {
        &self.head().state.taken_ever
    }
}
