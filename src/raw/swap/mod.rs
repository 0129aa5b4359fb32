//! The block-swap ring: a queue with many producers and many consumers, none of whom ever waits for
//! another, dead, stopped or slow.
//!
//! Every slot and every handle owns exactly one block at any time. A push fills the handle's block
//! and exchanges it for the empty one in the tail's slot; a pop exchanges the handle's empty block
//! for the full one in the head's slot. Both are one compare-and-exchange, so nothing is ever
//! claimed and not yet done. A death leaves one question open, whether the exchange of the dead
//! handle happened, and [`recover`] answers it while everybody else goes on.
//!
//! ```text
//! slot:      [ version | era 1 | closed 1 | block ]  even version: empty, odd: full
//! position:  [ version | 0     | 0        | slot  ]  names one exchange, to version + 1, for ever
//!
//! Of one handle in one ring:
//! intent:    the position of the exchange that it is about to try, or NONE
//! want:      the block that it would take there
//! scratch:   [ casualties 31 | held 1 | block 32 ]  the block that it owns
//! ```
//!
//! | slot               | by                             | next                             |
//! |--------------------|--------------------------------|----------------------------------|
//! | empty(v, X)        | a sender with block m, filled  | full(v + 1, m)                   |
//! | full(v, B)         | a receiver with block y, empty | empty(v + 1, y)                  |
//! | any, the tail's    | whoever closes the ring        | the same, closed                 |
//! | closed, the tail's | whoever opens it again         | the same, open, of the other era |
//!
//! The order of the stores is normative:
//!
//! ```text
//! push:  want = X; intent = v; EXCHANGE; owner[X] = me, scratch = X;         intent = NONE
//! pop:   want = B; intent = v; EXCHANGE; owner[B] = me, scratch = B, held;   intent = NONE;
//!        read B; scratch = B
//! either, when the exchange is refused:                                      intent = NONE
//! ```
//!
//! Positions of one side are used in order, so a full slot at the tail says that the ring is full,
//! and an empty one at the head that it is empty. Cursors are private; the hints in the ring only
//! help a cursor that was away.
//!
//! The rules that matter: `want` before `intent`, both before the exchange; owner and scratch
//! before the intent is cleared; whoever looks for evidence reads the slot, then the intents and
//! their wants, then the owner. The models break each of them, and fail.
//!
//! An announcement says that its handle saw that block in that slot. It is evidence about one ring,
//! and so every ring has announcements of its own: positions of two rings may be the same number.

pub(crate) mod chain;
mod close;
pub(crate) mod handle;
pub(crate) mod recover;
mod ring;

pub(crate) use ring::{Hand, Popped, Pushed, Ring};

use crate::shim::{AtomicU32, AtomicU64};

use super::memory::Cursor;

/// How many handles one queue can have.
pub(crate) const HANDLES_MAX: u32 = 1008;

/// How many slots one ring can have.
pub(crate) const SLOTS_MAX: u32 = 1 << 30;

/// No exchange is announced.
pub(crate) const NONE: u64 = u64::MAX;

/// In a scratch word: the block holds a message that is not yet acknowledged.
const HELD: u64 = 1 << 32;

/// In a scratch word: one message that its owner died with. It was lost, or delivered again: the
/// queue's policy knows.
const CASUALTY: u64 = 1 << 33;

/// Words from here on up were never reached by counting, so arithmetic below cannot overflow.
const BEYOND: u64 = 1 << 63;

/// How a ring's words are divided. Two numbers, chosen by the maker, copied at attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    slots: u32,
    handles: u32,
    bits: u32,
}

impl Shape {
    /// A ring of `slots` slots for `handles` handles; `None` for zero or too many of either.
    pub(crate) fn new(slots: u32, handles: u32) -> Option<Self> {
        let possible = (1..=SLOTS_MAX).contains(&slots) && (1..=HANDLES_MAX).contains(&handles);
        possible.then(|| {
            let bits = (slots + handles).next_power_of_two().ilog2();
            Self { slots, handles, bits }
        })
    }

    /// How many messages fit.
    pub(crate) fn slots(self) -> u32 {
        self.slots
    }

    /// How many handles there can be.
    pub(crate) fn handles(self) -> u32 {
        self.handles
    }

    /// How many blocks there are: one a slot, one a handle.
    pub(crate) fn blocks(self) -> u32 {
        self.slots + self.handles
    }

    /// The block that handle `handle` has in the beginning. Slot `n` has block `n`.
    pub(crate) fn first_block_of(self, handle: u32) -> u32 {
        self.slots + handle
    }

    /// What is added to a word, or a position, for the next version.
    fn step(self) -> u64 {
        4 << self.bits
    }

    /// The mark of a ring that takes no more messages, in the slot of its tail.
    fn closed(self) -> u64 {
        1 << self.bits
    }

    /// Changes in a slot whenever its mark is taken away, so that no word comes twice.
    fn era(self) -> u64 {
        2 << self.bits
    }

    fn is_closed(self, word: u64) -> bool {
        word & self.closed() != 0
    }

    fn version(self, word: u64) -> u64 {
        word >> (self.bits + 2)
    }

    fn block(self, word: u64) -> u32 {
        (word & (self.closed() - 1)) as u32
    }

    /// The slot of a position.
    pub(crate) fn slot(self, position: u64) -> u32 {
        self.block(position)
    }

    fn position(self, version: u64, slot: u32) -> u64 {
        (version << (self.bits + 2)) | u64::from(slot)
    }

    /// The word of a slot after an exchange that left `block` there. A mark stays.
    fn exchanged(self, word: u64, block: u32) -> u64 {
        (word & !(self.closed() - 1)).wrapping_add(self.step()) | u64::from(block)
    }

    /// The position behind this one, on the same side.
    fn behind(self, position: u64) -> u64 {
        if self.slot(position) + 1 < self.slots {
            position + 1
        } else {
            self.position(self.version(position), 0).wrapping_add(2 * self.step())
        }
    }

    /// Whether this is a position: a peer may have written anything.
    fn is_position(self, word: u64) -> bool {
        word < BEYOND && self.slot(word) < self.slots && word & (self.closed() | self.era()) == 0
    }

    /// Whether this is a position of that side: `like` is one.
    fn is_like(self, position: u64, like: u64) -> bool {
        self.is_position(position) && (position ^ like) & self.step() == 0
    }

    /// Whether pushes have this position, or pops.
    pub(crate) fn is_push(self, position: u64) -> bool {
        position & self.step() == 0
    }

    /// What an exchange at this position leaves its handle with: a message, or none.
    fn held(self, position: u64) -> u64 {
        if self.is_push(position) { 0 } else { HELD }
    }

    /// How many exchanges of one side came before this position.
    fn count(self, position: u64) -> u64 {
        self.version(position) / 2 * u64::from(self.slots) + u64::from(self.slot(position))
    }
}

/// Jump starts for cursors that were away. Each is the position of somebody's next exchange once.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Hints {
    pub(in crate::raw) tail: Cursor,
    pub(in crate::raw) head: Cursor,
}

/// The words of one ring.
///
/// - `shape` always returns the same. The other functions return the same word for the same number,
///   and different ones for different numbers in range; numbers out of range get any of them.
pub(crate) trait SwapMemory {
    /// How many slots and handles there are.
    fn shape(&self) -> Shape;

    /// Which ring of its queue this is.
    fn number(&self) -> u32;

    /// The hints of this ring.
    fn hints(&self) -> &Hints;

    /// The word of slot `slot`.
    fn slot(&self, slot: u32) -> &AtomicU64;

    /// Who took block `block` last: a handle + 1, or nobody yet.
    fn owner(&self, block: u32) -> &AtomicU32;

    /// Which exchange handle `handle` is about to try: its position, or `NONE`.
    fn intent(&self, handle: u32) -> &AtomicU64;

    /// The block that it would take.
    fn want(&self, handle: u32) -> &AtomicU32;

    /// The block that it has.
    fn scratch(&self, handle: u32) -> &AtomicU64;

    /// Has the beginning of a block fetched for writing, ahead of its time. Changes nothing.
    fn prepare(&self, _block: u32) {}
}

#[cfg(all(test, not(multiproc_loom)))]
#[path = "../tests/swap.rs"]
mod tests;
