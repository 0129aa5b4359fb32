//! Rings that are not in use: who has them, what becomes of their memory, and after a death.
//!
//! The slots of a closed and empty ring hold blocks that nobody else can touch: a receiver had to
//! give each of them up to put it there, and nobody can exchange it before the ring is opened. So
//! their memory can go, and come back as zeros. Each handle has one more block of the ring in its
//! hands, which may be in use at any time, by one who was stopped long ago: these stay.
//!
//! *Which block a handle has* is its scratch; or what it wants, if the exchange happened and it did
//! not come to say so. Who says so wants something else only later, so the want is read first. A
//! want that is old keeps a block that could go, until the next time.
//!
//! *The evidence of recovery* stays too. A block in a slot shows that the exchange which put it
//! there happened; its owner, which may go with it, could only show the same. Where an owner
//! counts, the block is in nobody's slot, and so in somebody's hands.

use std::ops::Range;

use crate::raw::Corrupt;
use crate::raw::swap::{HANDLES_MAX, SwapMemory};
use crate::shim::{Ordering::*, at, mutant};

use super::{COUNT_AT, Chain, ChainMemory, ring_of};

pub(super) const VIRGIN: u64 = 0;
pub(super) const CLAIMED: u64 = 1;
pub(super) const LIVE: u64 = 2;
pub(super) const RETIRING: u64 = 3;
pub(super) const FREE: u64 = 4;

const STAGE: u64 = 0xf;
const OWNER_AT: u32 = 4;
const OWNER: u64 = 0xfff << OWNER_AT;

/// A value of the state of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(pub(super) u64);

impl State {
    pub(super) fn new(count: u64, owner: u32, stage: u64) -> Self {
        Self((count << COUNT_AT) | (u64::from(owner) << OWNER_AT) & OWNER | stage)
    }

    /// The last turn in which the ring was in use.
    pub(super) fn count(self) -> u64 {
        self.0 >> COUNT_AT
    }

    fn owner(self) -> u32 {
        ((self.0 & OWNER) >> OWNER_AT) as u32
    }

    pub(super) fn stage(self) -> u64 {
        self.0 & STAGE
    }
}

impl<Q: ChainMemory> Chain<Q> {
    /// Frees a ring that nobody uses, unless its state changed since it was `seen`.
    pub(super) fn retire(&self, number: u32, seen: State) {
        let retiring = State::new(seen.count(), self.me, RETIRING);
        let state = &self.memory.entry(number).state;
        // Relaxed: the caller knows why the ring is empty, and nobody's.
        if state.compare_exchange(seen.0, retiring.0, Relaxed, Relaxed).is_ok() {
            self.give_back(number, retiring);
        }
    }

    /// Frees a ring that is ours, and gives its memory back.
    pub(super) fn give_back(&self, number: u32, owned: State) {
        self.discard(number);
        let free = State::new(owned.count(), 0, FREE);
        let state = &self.memory.entry(number).state;
        // Release `ring-freed`: pairs with Acquire `ring-freed` in `claim`. A refusal means that
        // the word was scribbled over.
        let _ = state.compare_exchange(owned.0, free.0, at(Release, "ring-freed"), Relaxed);
    }

    /// Gives the memory of the blocks back that no handle has.
    fn discard(&self, number: u32) {
        let Some(ring) = ring_of(&self.memory, number) else { return };
        let shape = ring.memory().shape();
        let mut kept = Kept::new();
        for handle in 0..shape.handles() {
            // Acquire `want`: if it is newer than the exchange, so is the scratch below.
            let want = ring.memory().want(handle).load(at(Acquire, "want"));
            if !mutant("discard-wanted") {
                kept.add(want);
            }
            // Relaxed: see above.
            kept.add(ring.memory().scratch(handle).load(Relaxed) as u32);
        }
        kept.gaps(shape.blocks(), |blocks| self.memory.discard(number, blocks));
    }

    /// Finishes the switch that the dead `participant`, claimed by the caller, may have begun, and
    /// frees the rings that it had in its hands.
    pub(crate) fn recover(&self, participant: u32) -> Result<(), Corrupt> {
        // The tail is no older than the one that the dead knew. If it let a ring follow it, that is
        // in use from here on, and what it still has is in nobody's way.
        if !mutant("retire-followers") {
            self.finish(self.tail())?;
        }
        let head = self.head();
        for number in 0..self.memory.rings_used() {
            // Relaxed: the kernel released the lease of the dead after its last store.
            let seen = State(self.memory.entry(number).state.load(Relaxed));
            let is_left = match seen.stage() {
                CLAIMED | RETIRING => seen.owner() == participant,
                // It may be the dead who left it.
                LIVE => seen.count() < head.count(),
                _ => false,
            };
            if is_left {
                self.retire(number, seen);
            }
        }
        Ok(())
    }
}

/// The blocks in the hands of the handles of a ring: two of each, at most.
struct Kept {
    blocks: [u32; 2 * HANDLES_MAX as usize],
    length: usize,
}

impl Kept {
    fn new() -> Self {
        Self { blocks: [0; _], length: 0 }
    }

    fn add(&mut self, block: u32) {
        if let Some(free) = self.blocks.get_mut(self.length) {
            *free = block;
            self.length += 1;
        }
    }

    /// Calls `each` with the ranges between them, up to `end`.
    fn gaps(mut self, end: u32, mut each: impl FnMut(Range<u32>)) {
        let kept = &mut self.blocks[..self.length];
        kept.sort_unstable();
        let mut start = 0;
        for &block in kept.iter().take_while(|&&block| block < end) {
            if start < block {
                each(start..block);
            }
            start = block + 1;
        }
        if start < end {
            each(start..end);
        }
    }
}
