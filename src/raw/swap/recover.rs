//! After a death: did the last exchange of each dead handle happen? All others go on meanwhile.
//!
//! A dead handle has announced position `n`, offering its block `m` for `X`. If its exchange
//! happened, `m` is in the slot; or somebody has announced to take it from there, which is `n`'s
//! next version; or somebody has taken it, and is its owner. Looked for in this order, a block that
//! moves meanwhile is not missed. If it did not happen, none of the three can be: the dead still
//! owns `m`. An announcement of somebody who is dead himself is true all the same.
//!
//! Every store may be the last one of this process; whoever comes next starts again from the top.

use crate::shim::{AtomicU64, Ordering::*, at, mutant};

use super::handle::{self, HandleTable, State};
use super::ring::Ring;
use super::{CASUALTY, HELD, NONE, SwapMemory};

/// What becomes of a message whose receiver died with it in its hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It is lost, and counted.
    AtMostOnce,
    /// Another receiver gets it.
    Redeliver,
}

/// All rings of one queue.
pub(crate) trait Rings: HandleTable {
    type Memory: SwapMemory;

    /// Ring `number`, if there ever was one.
    fn ring(&self, number: u32) -> Option<Ring<Self::Memory>>;

    /// How many rings there can be.
    fn rings(&self) -> u32;

    /// How many of them, from the first one on, were ever used.
    fn rings_used(&self) -> u32 {
        self.rings()
    }

    /// The word of the bitmap of orphans that handle `handle` is in.
    fn orphans(&self, handle: u32) -> &AtomicU64;

    /// Forgets that the waiter of this handle sleeps.
    fn strike(&self, handle: u32);

    /// Frees what belongs to an empty block. Idempotent.
    fn clear(&self, ring: u32, block: u32);
}

/// Recovers the handles of `participant`, which is dead and claimed by the caller.
pub(crate) fn recover<Q: Rings>(queue: &Q, participant: u32, policy: Policy) {
    for handle in 0..queue.handles() {
        let state = handle::state(queue, handle);
        if matches!(state, State::Live { participant: owner, .. } if owner == participant) {
            bury(queue, participant, handle, policy);
        }
    }
}

fn bury<Q: Rings>(queue: &Q, participant: u32, handle: u32, policy: Policy) {
    let mut is_orphan = false;
    for number in 0..queue.rings_used() {
        let Some(ring) = queue.ring(number) else { continue };
        ring.settle(handle);
        if policy == Policy::Redeliver && ring.held_by(handle).is_some() {
            is_orphan = true;
        } else if let Some(block) = ring.let_go(handle) {
            queue.clear(number, block);
        }
    }
    queue.strike(handle);
    let mark = orphan_mark(handle);
    if !is_orphan {
        // Relaxed: it may be left over, if who delivered for it died early.
        queue.orphans(handle).fetch_and(!mark, Relaxed);
        handle::detach(queue, handle, participant);
        return;
    }
    // Relaxed: set before the state, whose Release keeps it there, so that no orphan is overlooked.
    if !mutant("orphan-after-state") {
        queue.orphans(handle).fetch_or(mark, Relaxed);
    }
    handle::abandon(queue, handle, participant);
    if mutant("orphan-after-state") {
        queue.orphans(handle).fetch_or(mark, Relaxed);
    }
}

impl<M: SwapMemory> Ring<M> {
    /// Finishes the exchange that a dead handle announced, if it happened.
    fn settle(&self, handle: u32) {
        let shape = self.shape();
        // Relaxed, all: the kernel released the lease of the dead after its last store.
        let position = self.memory().intent(handle).load(Relaxed);
        let taken = self.memory().want(handle).load(Relaxed);
        let scratch = self.memory().scratch(handle).load(Relaxed);
        if position == NONE {
            return;
        }
        // What no handle could have announced did not happen.
        let is_possible = shape.is_position(position) && taken < shape.blocks();
        let happened = is_possible && self.happened(handle, position, scratch as u32);
        if mutant("recover-clears-first") {
            self.memory().intent(handle).store(NONE, at(Release, "intent"));
        }
        if happened {
            let casualties = scratch & !(CASUALTY - 1);
            let scratch = casualties | shape.held(position) | u64::from(taken);
            // Relaxed, both, in any order: as after an exchange of one's own.
            self.memory().owner(taken).store(handle + 1, Relaxed);
            self.memory().scratch(handle).store(scratch, Relaxed);
        }
        // Release `intent`: a kill that finds this done finds both done.
        self.memory().intent(handle).store(NONE, at(Release, "intent"));
    }

    /// Whether the exchange at `position` happened, which offered block `mine` of the dead handle.
    fn happened(&self, dead: u32, position: u64, mine: u32) -> bool {
        let (memory, shape) = (self.memory(), self.shape());
        let next = position + shape.step();
        let is_in_slot = || {
            // Acquire `slot`: who took it from there announced that before.
            let word = memory.slot(shape.slot(position)).load(at(Acquire, "slot"));
            let is_done = shape.version(word) == shape.version(next);
            !mutant("no-slot-evidence") && is_done && shape.block(word) == mine
        };
        let is_announced = || {
            // Acquire `want`: if it is newer, the owner of what was taken before is seen below.
            let want = |taker| memory.want(taker).load(at(Acquire, "want"));
            !mutant("no-intent-evidence")
                && (0..shape.handles()).any(|taker| {
                    let early = mutant("want-before-intent").then(|| want(taker));
                    // Acquire `intent`: its want is at least as new; and if it is gone, its owner
                    // is seen below.
                    let intent = memory.intent(taker).load(at(Acquire, "intent"));
                    intent == next && early.unwrap_or_else(|| want(taker)) == mine
                })
        };
        let is_recorded = || {
            // Relaxed: what was seen above brings the owner along.
            !mutant("no-owner-evidence") && memory.owner(mine).load(Relaxed) != dead + 1
        };
        match () {
            () if mutant("intents-before-slot") => is_announced() || is_in_slot() || is_recorded(),
            () if mutant("owner-before-intents") => is_in_slot() || is_recorded() || is_announced(),
            () => is_in_slot() || is_announced() || is_recorded(),
        }
    }

    /// The block of a handle that is settled, if there is a message in it.
    fn held_by(&self, handle: u32) -> Option<u32> {
        // Relaxed: written by its owner, or before it became the caller's.
        let scratch = self.memory().scratch(handle).load(Relaxed);
        let is_held = scratch & HELD != 0 && (scratch as u32) < self.shape().blocks();
        is_held.then_some(scratch as u32)
    }

    /// Lets go of the message in the block of a handle that is settled, if there is one, and counts
    /// it. The block is empty then.
    fn let_go(&self, handle: u32) -> Option<u32> {
        let scratch = self.memory().scratch(handle).load(Relaxed);
        if scratch & HELD != 0 {
            // Release `scratch`: as in `acknowledge`. One store lets it go and counts it.
            let counted = (scratch & !HELD).wrapping_add(CASUALTY);
            self.memory().scratch(handle).store(counted, at(Release, "scratch"));
        }
        let block = scratch as u32;
        (block < self.shape().blocks()).then_some(block)
    }
}

/// The bit of a handle in its word of orphans.
pub(crate) fn orphan_mark(handle: u32) -> u64 {
    1 << (handle % 64)
}

/// Takes over an orphan, if there is one: a handle whose message `participant` delivers in its
/// place. The caller reads its block, and [`deliver`]s.
pub(crate) fn adopt<Q: Rings>(queue: &Q, participant: u32) -> Option<u32> {
    for first in (0..queue.handles()).step_by(64) {
        // Relaxed: a hint; the exchange decides, and is Acquire.
        let mut marks = queue.orphans(first).load(Relaxed);
        while marks != 0 {
            let handle = first + marks.trailing_zeros();
            marks &= marks - 1;
            if handle < queue.handles() && handle::adopt(queue, handle, participant) {
                // Relaxed: as above.
                queue.orphans(handle).fetch_and(!orphan_mark(handle), Relaxed);
                return Some(handle);
            }
        }
    }
    None
}

/// Where the message of an adopted handle is: the ring, and the block.
pub(crate) fn legacy<Q: Rings>(queue: &Q, handle: u32) -> Option<(u32, u32)> {
    (0..queue.rings_used()).find_map(|number| Some((number, queue.ring(number)?.held_by(handle)?)))
}

/// Says that the message of an adopted handle was read, counts it, and frees the handle.
pub(crate) fn deliver<Q: Rings>(queue: &Q, handle: u32, number: u32, participant: u32) {
    if let Some(block) = queue.ring(number).and_then(|ring| ring.let_go(handle)) {
        queue.clear(number, block);
    }
    handle::detach(queue, handle, participant);
}
