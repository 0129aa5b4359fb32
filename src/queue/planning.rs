//! What a builder says, as the plan of a queue.

use crate::error::{Error, ErrorKind, Result};
use crate::raw::memory::{CACHE_LINE, LINE, PAGE};
use crate::raw::queue::{BLOCK_HEAD, Plan, PlanFlags};
use crate::raw::swap::chain::RINGS_MAX;
use crate::raw::swap::{HANDLES_MAX, Shape};
use crate::raw::units::UNIT;
use crate::shim::Wide;
use crate::transfer::codec::Codec;
use crate::transfer::identity::fingerprint;

use super::builder::QueueBuilder;

/// Framed messages of up to so many bytes lie in the ring unless told otherwise.
const INLINE_DEFAULT: usize = 496;

/// The same of a queue that grows, where what is short must not take much more than it needs.
const INLINE_GROWING: usize = 112;

/// How many messages a queue that grows has room for before it does.
const FIRST_RING: usize = 256;

/// What it grows by, about: 64 to 8192 messages.
const RING_BYTES: usize = 1 << 20;

/// How many times it can have grown at once: beyond memory, for all but huge machines.
const RINGS: u32 = RINGS_MAX;

/// Plain values of up to so many bytes lie in the ring.
const PLAIN_INLINE_MAX: usize = 4096;

impl<C> QueueBuilder<C> {
    /// The plan of a queue of so many messages, or of one that grows.
    pub(super) fn any_plan<T>(&self, capacity: Option<usize>, has_name: bool) -> Result<Plan>
    where
        C: Codec<T>,
    {
        match capacity {
            Some(capacity) => self.plan::<T>(capacity, false, has_name),
            None => self.plan::<T>(FIRST_RING, true, has_name),
        }
    }

    fn plan<T>(&self, capacity: usize, grows: bool, has_name: bool) -> Result<Plan>
    where
        C: Codec<T>,
    {
        let slots =
            check(capacity, QueueBuilder::CAPACITY_MAX, "messages", ", or grow: see `unbounded`")?;
        let handles = check(self.handles, QueueBuilder::HANDLES_MAX, "handles", "")?;
        // The name has one, too, where there are as many.
        let handles = (handles + u32::from(has_name)).min(HANDLES_MAX);
        if C::SHAPE.is_plain() && align_of::<T>() > PAGE as usize {
            let what = format!("a queue of values aligned to {} bytes", align_of::<T>());
            return Err(Error::new(ErrorKind::Limit, what));
        }
        if let Some(bytes) = self.inline.filter(|&bytes| bytes > QueueBuilder::INLINE_MAX) {
            let most = QueueBuilder::INLINE_MAX;
            let what = format!("a queue with {bytes} inline bytes: it can have {most} at most");
            return Err(Error::new(ErrorKind::Limit, what));
        }
        let is_possible = || Error::new(ErrorKind::Limit, "a queue of so many messages");
        let is_inline =
            C::SHAPE.is_plain() && size_of::<T>() <= PLAIN_INLINE_MAX && align_of::<T>() <= LINE;
        // A word has no block, and so no hands: who dies with it has received it.
        let is_wide = is_inline
            && !(grows || self.redelivers || self.counts_tasks)
            && size_of::<T>() <= size_of::<u64>()
            && align_of::<T>() <= align_of::<u64>()
            && Wide::is_available();
        let head = BLOCK_HEAD as usize;
        let (payload_at, payload) = match C::SHAPE.is_plain() {
            true if is_inline && !grows => (align_of::<T>().max(8), size_of::<T>()),
            true if is_inline => (align_of::<T>().max(head), size_of::<T>()),
            true => (head, 0),
            false if grows => (head, self.inline.unwrap_or(INLINE_GROWING)),
            false => (head, self.inline.unwrap_or(INLINE_DEFAULT)),
        };
        let stride = stride(payload_at, payload, align_of::<T>().max(8));
        let more = if grows { (RING_BYTES / stride).clamp(64, 8192) as u32 } else { slots };
        let units = if is_inline && !grows { 0 } else { self.memory as u64 / UNIT };
        let warm = (self.retained as u64).div_ceil(UNIT);
        Ok(Plan {
            shape: Shape::new(slots, handles).ok_or_else(is_possible)?,
            more: Shape::new(more, handles).ok_or_else(is_possible)?,
            rings: if grows { RINGS } else { 1 },
            stride: u32::try_from(stride).map_err(|_| is_possible())?,
            payload_at: payload_at as u32,
            flags: PlanFlags {
                is_wide,
                redelivers: self.redelivers,
                counts_tasks: self.counts_tasks,
                is_fixed: is_inline,
            },
            fingerprint: fingerprint::<T, C>(),
            units: u32::try_from(units).unwrap_or(u32::MAX),
            warm: u32::try_from(warm).unwrap_or(u32::MAX),
        })
    }
}

/// The bytes from one block to the next: a line for the small ones, so that two of them are never
/// fought over, and as few as possible for the others.
fn stride(payload_at: usize, payload: usize, align: usize) -> usize {
    let bytes = payload_at + payload;
    if bytes <= CACHE_LINE { CACHE_LINE } else { bytes.next_multiple_of(align) }
}

/// `else_what`: what there is instead.
fn check(number: usize, most: usize, unit: &str, else_what: &str) -> Result<u32> {
    if (1..=most).contains(&number) {
        return Ok(number as u32);
    }
    let what = format!("a queue of {number} {unit}: it must have 1 to {most}{else_what}");
    Err(Error::new(ErrorKind::Limit, what))
}
