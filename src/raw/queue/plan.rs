//! What a queue is like, and where its parts are.

use crate::raw::bench::{Bench, FIRST, Waiter};
use crate::raw::memory::{CACHE_LINE, LINE, PAGE};
use crate::raw::swap::chain::{Entry, RINGS_MAX, Turns};
use crate::raw::swap::handle::Handle;
use crate::raw::swap::{HANDLES_MAX, Hints, Shape};
use crate::raw::units::{StockAt, UNIT};
use crate::raw::wide::memory::WideAt;
use crate::shim::{AtomicU32, AtomicU64, Ordering::*};

/// How many words of marks a bench of a queue has: enough for every handle.
pub(crate) const MARKS: usize = 16;

/// The waiter of handle 0: the slots before it are not for waiters.
pub(crate) const FIRST_WAITER: u32 = FIRST as u32;

/// The largest block of a ring. What is longer lies in the stock.
pub(crate) const STRIDE_MAX: u32 = 1 << 16;

/// What a block begins with, where the queue has a stock.
pub(crate) const BLOCK_HEAD: u32 = 16;

/// What a queue is like. Chosen by its maker; copied and checked by everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Of the first ring, and how many handles there can be.
    pub(crate) shape: Shape,
    /// Of the rings that come later; how many rings there can be.
    pub(crate) more: Shape,
    pub(crate) rings: u32,
    /// The bytes of a block, and where in it the payload begins.
    pub(crate) stride: u32,
    pub(crate) payload_at: u32,
    /// See [`PlanFlags`].
    pub(crate) flags: PlanFlags,
    /// Tells the messages' type and codec from others.
    pub(crate) fingerprint: u64,
    /// How many units the stock has.
    pub(crate) units: u32,
    /// The units below this keep their pages when they are freed. What is taken first is taken
    /// from there, so a queue that is seldom deeper makes no system calls.
    pub(crate) warm: u32,
}

/// What kind of a queue it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlanFlags {
    /// Messages of up to eight bytes ride in the slots of a wide ring.
    pub(crate) is_wide: bool,
    /// What a dead receiver had in its hands is delivered again.
    pub(crate) redelivers: bool,
    /// Receivers say when they are done with a message.
    pub(crate) counts_tasks: bool,
    /// All messages have one length, and lie in their blocks.
    pub(crate) is_fixed: bool,
}

/// The first bytes of a queue.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Head {
    slots: AtomicU64,
    handles: AtomicU64,
    block: AtomicU64,
    flags: AtomicU64,
    fingerprint: AtomicU64,
    units: AtomicU64,
    more: AtomicU64,
    rings: AtomicU64,
    warm: AtomicU64,
    _line: [u64; 7],
    pub(crate) state: StateLine,
    pub(super) turns: Turns,
    pub(super) orphans: [AtomicU64; MARKS],
    pub(crate) not_empty: BenchLine,
    pub(crate) not_full: BenchLine,
    pub(crate) not_used_up: BenchLine,
    pub(crate) all_done: BenchLine,
}

/// Read with every message, written when an end is made or goes.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct StateLine {
    pub(crate) flags: AtomicU32,
    pub(super) taken_ever: AtomicU64,
}

/// A bench, apart from everything else.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct BenchLine(pub(crate) Bench<MARKS>);

/// What a queue knows of a ring that came later. Zeroed memory is a ring that never was.
#[repr(C)]
#[derive(Debug)]
pub(super) struct RingEntry {
    pub(super) entry: Entry,
    /// Where in the stock it lies.
    pub(super) run: AtomicU64,
}

/// Where the parts of a queue begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(super) handles_at: usize,
    pub(super) waiters_at: usize,
    pub(super) rings_at: usize,
    pub(super) first: RingLayout,
    pub(super) more: RingLayout,
    pub(super) ring_at: usize,
    pub(super) stock_at: usize,
    pub(crate) units_at: usize,
    /// The end of what has its pages from the beginning.
    pub(crate) furnished: usize,
    pub(crate) total: usize,
}

/// Where the parts of a ring begin, seen from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingLayout {
    pub(super) slots_at: usize,
    pub(super) blocks_at: usize,
    pub(super) length: usize,
    /// The lines of the slots are used in turn: this many, a power of two.
    pub(super) lines: u32,
}

impl Plan {
    fn ring(self, shape: Shape) -> Option<RingLayout> {
        let slots = shape.slots();
        let lines = slots.div_ceil(8).max(slots.min(64)).next_power_of_two();
        let notes = shape.handles() as usize * CACHE_LINE;
        let slots_at = size_of::<Hints>() + notes.next_multiple_of(LINE);
        let blocks_at = slots_at.checked_add(lines as usize * CACHE_LINE)?;
        let blocks_at = blocks_at.checked_next_multiple_of(LINE)?;
        let blocks = (shape.blocks() as usize).checked_mul(self.stride as usize)?;
        let length = blocks_at.checked_add(blocks)?.checked_next_multiple_of(LINE)?;
        Some(RingLayout { slots_at, blocks_at, length, lines })
    }

    fn wide_ring(self) -> Option<RingLayout> {
        let length = WideAt::bytes_for(self.shape.slots().into())?;
        let length = length.checked_next_multiple_of(LINE)?;
        Some(RingLayout { slots_at: 0, blocks_at: 0, length, lines: 1 })
    }

    /// Where everything is, if there is a queue like this.
    pub(crate) fn layout(self) -> Option<Layout> {
        let is_possible = (8..=STRIDE_MAX).contains(&self.stride)
            && self.stride.is_multiple_of(8)
            && self.payload_at.is_multiple_of(8)
            && (8..=self.stride).contains(&self.payload_at)
            && (self.units == 0 || BLOCK_HEAD <= self.payload_at)
            && (1..=RINGS_MAX).contains(&self.rings)
            && self.shape.handles() == self.more.handles();
        if !is_possible {
            return None;
        }
        let handles = self.shape.handles() as usize;
        let handles_at = size_of::<Head>();
        let waiters_at = handles_at + handles * size_of::<Handle>();
        let waiters = FIRST_WAITER as usize + handles;
        let ring_at = (waiters_at + waiters * size_of::<Waiter>()).next_multiple_of(LINE);
        let more = self.ring(self.more)?;
        let first = if self.flags.is_wide { self.wide_ring()? } else { self.ring(self.shape)? };
        let rings_at = ring_at.checked_add(first.length)?;
        let rings = self.rings as usize * size_of::<RingEntry>();
        let stock_at = rings_at.checked_add(rings)?.checked_next_multiple_of(LINE)?;
        let (mut units_at, mut furnished, mut total) = (stock_at, stock_at, stock_at);
        if self.units > 0 {
            let words = StockAt::bytes_for(self.units);
            units_at = stock_at.checked_add(words)?.checked_next_multiple_of(PAGE as usize)?;
            // The tables of what comes later get their pages as they are used.
            furnished = rings_at + size_of::<RingEntry>();
            let units = usize::try_from(u64::from(self.units) * UNIT).ok()?;
            total = units_at.checked_add(units)?;
        }
        isize::try_from(total).ok()?;
        Some(Layout {
            handles_at,
            waiters_at,
            rings_at,
            first,
            more,
            ring_at,
            stock_at,
            units_at,
            furnished,
            total,
        })
    }

    /// How many bytes of payload a block has.
    pub(crate) fn room(self) -> usize {
        (self.stride - self.payload_at) as usize
    }

    /// Whether more rings are added when one is full.
    pub(crate) fn grows(self) -> bool {
        self.rings > 1
    }
}

impl Head {
    /// Writes the plan of a queue that nobody else has seen.
    pub(crate) fn prepare(&self, plan: Plan) {
        // Relaxed, all: the block is opened behind it.
        self.slots.store(plan.shape.slots().into(), Relaxed);
        self.handles.store(plan.shape.handles().into(), Relaxed);
        self.block.store(u64::from(plan.stride) << 32 | u64::from(plan.payload_at), Relaxed);
        self.flags.store(plan.flags.number(), Relaxed);
        self.fingerprint.store(plan.fingerprint, Relaxed);
        self.units.store(plan.units.into(), Relaxed);
        self.more.store(plan.more.slots().into(), Relaxed);
        self.rings.store(plan.rings.into(), Relaxed);
        self.warm.store(plan.warm.into(), Relaxed);
    }

    /// The plan that is written here, if it can be one.
    pub(super) fn plan(&self) -> Option<Plan> {
        // Relaxed, all: written before the queue was opened, and never again.
        let number = |word: &AtomicU64| u32::try_from(word.load(Relaxed)).ok();
        let block = self.block.load(Relaxed);
        let handles = number(&self.handles)?;
        Some(Plan {
            shape: Shape::new(number(&self.slots)?, handles)?,
            more: Shape::new(number(&self.more)?, handles)?,
            rings: number(&self.rings)?,
            stride: (block >> 32) as u32,
            payload_at: block as u32,
            flags: PlanFlags::from_number(self.flags.load(Relaxed))?,
            fingerprint: self.fingerprint.load(Relaxed),
            units: number(&self.units)?,
            warm: number(&self.warm)?,
        })
    }
}

impl PlanFlags {
    fn number(self) -> u64 {
        let flags = [self.is_wide, self.redelivers, self.counts_tasks, self.is_fixed];
        flags.into_iter().rev().fold(0, |number, flag| number << 1 | u64::from(flag))
    }

    fn from_number(number: u64) -> Option<Self> {
        let bit = |bit: u32| number >> bit & 1 == 1;
        let flags =
            Self { is_wide: bit(0), redelivers: bit(1), counts_tasks: bit(2), is_fixed: bit(3) };
        (flags.number() == number).then_some(flags)
    }
}

const _: () = assert!(size_of::<Head>().is_multiple_of(LINE) && size_of::<Handle>() == LINE);
const _: () = assert!(HANDLES_MAX as usize + FIRST <= 64 * MARKS);
