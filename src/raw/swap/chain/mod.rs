//! The chain: rings one behind the other, so that a queue grows while there is memory, and gives it
//! back when it is emptied. Nobody waits for another one here either.
//!
//! One ring takes messages, one is being emptied; often it is the same. A sender that finds its
//! ring full closes it and opens another one, which the receivers come to when theirs is empty.
//! That is the *switch*. Each of its steps can be made by anybody, so a sender that stops, or dies,
//! in the middle of one leaves it to the next who comes by.
//!
//! ```text
//! tail:   [ count 48 | ring 16 ]                the ring that takes messages; count: the switches
//! head:   [ count 48 | ring 16 ]                the ring that is being emptied      that led to it
//! and of each ring:
//! state:  [ count 48 | owner 12 | state 4 ]
//! next:   [ count 48 | ring + 1, 16 ]           where the switch from this count leads
//! place:  where its memory is, + 1
//! ```
//!
//! | state | by | next | when |
//! |-------|----|------|------|
//! | VIRGIN, FREE(c), LIVE(c < head's) | a sender p | CLAIMED(p, c) | wants to switch |
//! | CLAIMED(p, c) | anybody | LIVE(g + 1) | a `next` with count g > c - 1 leads to it |
//! | CLAIMED(p, c) | p, or who buries p | FREE(c) | no `next` leads to it, nor will |
//! | LIVE(c < head's) | anybody q | RETIRING(q, c) | to give its memory back |
//! | RETIRING(q, c) | q, or who buries q | FREE(c) | that is done |
//!
//! A switch from tail (g, x), in this order, which is normative:
//!
//! | step | by | what | so that |
//! |------|----|------|---------|
//! | 1 | who found x full | claim y, get its memory, set next of x to (g, y) | one y follows x |
//! | 2 | anybody | state of y: CLAIMED to LIVE(g + 1) | nobody takes it for anything else |
//! | 3 | anybody | close x | |
//! | 4 | anybody | open y | not two rings are open, ever |
//! | 5 | anybody | tail to (g + 1, y) | |
//! | 6 | who found x empty | head from (g, x) to (g + 1, y) | |
//! | 7 | who did 6; anybody | retire x | |
//!
//! Why a step that was begun long ago does no harm, as its exchange fails:
//!
//! - *1*: `next` of x has a count below g until somebody sets it for g, and tail stays (g, x) until
//!   then. *2*: the count of y only grows. *5, 6*: the count again.
//! - *3, 4*: the step looks at the slot, then at tail. If tail is (g, x) then, the word it saw is
//!   of this switch, and once exchanged, no word comes twice ([`close`](super::close)). Every
//!   earlier word of y was written before `next` led to it.
//! - *claims*: a count of a state that was LIVE never comes again. FREE(c) may, and is free.
//!
//! **Order.** A message is pushed by an exchange in an open ring, whatever its sender believes the
//! tail to be. A receiver pops from x only if head is (g, x) after it saw the message: whoever
//! pushed in a later life of x had seen that head was beyond. It leaves x when that is closed and
//! empty, and finishes the switch before it says that there is no message: there may be one in y
//! already.
//!
//! **The end.** A chain is sealed as if it switched to no ring: the next of its tail is `END`, and
//! then that ring is closed for ever. What is in it is still received.
//!
//! **Counts** have 48 bits: at a switch a microsecond, which is more than there can be, they last
//! for eight years.

mod count;
mod retire;
mod switch;

pub(crate) use switch::Failure;

use std::ops::Range;

use crate::raw::Corrupt;
use crate::raw::memory::Cursor;
use crate::shim::{AtomicU64, Ordering::*, at, mutant};

use super::recover::Rings;
use super::{Hand, Popped, Pushed, Ring, SwapMemory};

/// How many rings one chain can have.
pub(crate) const RINGS_MAX: u32 = END;

/// In the place of the ring that follows: none does, ever. The chain is sealed.
const END: u32 = 0xfffe;

/// The bits of a ring's number, or of that + 1.
const RING: u64 = 0xffff;

const COUNT_AT: u32 = 16;

/// The tail and the head of a chain. Zeroed memory is a chain of ring 0.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Turns {
    pub(in crate::raw) tail: Cursor,
    pub(in crate::raw) head: Cursor,
}

/// What a chain knows of one ring. Zeroed memory is a ring that never was.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Entry {
    pub(in crate::raw) state: AtomicU64,
    pub(in crate::raw) next: AtomicU64,
    pub(in crate::raw) place: AtomicU64,
}

/// The words of a chain, beside those of its rings, under the same terms as [`SwapMemory`]; and the
/// memory to make rings of.
///
/// - `Rings::ring` is [`ring_of`].
pub(crate) trait ChainMemory: Rings {
    /// Why there is no memory.
    type Refused;

    /// The tail and the head.
    fn turns(&self) -> &Turns;

    /// What there is to know of ring `number`.
    fn entry(&self, number: u32) -> &Entry;

    /// Ring `number`, whose memory is at `place`; `None` if it cannot be there.
    fn ring_at(&self, number: u32, place: u64) -> Option<Ring<Self::Memory>>;

    /// Gets memory for ring `number`, all that it can need; where it is, or shall be, for ever.
    ///
    /// Nobody else asks for this ring meanwhile, but it may have its memory already: all of it, or
    /// what is left after `discard`s, or after somebody died in here. Refused, it takes nothing.
    fn furnish(&self, number: u32, place: Option<u64>) -> Result<u64, Self::Refused>;

    /// Gives the memory of these blocks of ring `number` back. Nobody else touches them. What was
    /// in them, their owners included, may be anything afterwards, or zero.
    fn discard(&self, number: u32, blocks: Range<u32>);
}

/// Ring `number`, if it ever had a place.
pub(crate) fn ring_of<Q: ChainMemory>(memory: &Q, number: u32) -> Option<Ring<Q::Memory>> {
    if number >= memory.rings() {
        return None;
    }
    // Acquire `place`: the words of the ring are written.
    let place = memory.entry(number).place.load(at(Acquire, "place"));
    memory.ring_at(number, place.checked_sub(1)?)
}

/// A value of `tail` or `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn(u64);

impl Turn {
    fn count(self) -> u64 {
        self.0 >> COUNT_AT
    }

    fn ring(self) -> u32 {
        (self.0 & RING) as u32
    }

    /// The turn behind this one.
    fn then(self, ring: u32) -> Self {
        Self((self.count().wrapping_add(1) << COUNT_AT) | u64::from(ring))
    }
}

/// One chain, as one participant sees it.
#[derive(Debug)]
pub(crate) struct Chain<Q> {
    memory: Q,
    me: u32,
    /// False for a bounded queue: it is its first ring, and nothing here costs it anything.
    grows: bool,
}

/// What one handle knows of one ring.
#[derive(Clone, Debug)]
struct Seat<M> {
    ring: Ring<M>,
    hand: Hand,
}

/// What one handle knows of one chain; private to its process.
#[derive(Clone, Debug)]
pub(crate) struct ChainHand<M> {
    handle: u32,
    tail: Turn,
    head: Turn,
    at_tail: Seat<M>,
    /// `None` if it is the same ring, where the handle has only one block.
    at_head: Option<Seat<M>>,
}

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) ring: u32,
    pub(crate) block: u32,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Sent {
    Done,
    /// The queue is bounded and full, or there are no more rings.
    Full,
    /// Nothing is sent. What is in the block at `from` belongs into the outgoing block, which is
    /// perhaps another one now; then push again.
    Moved {
        from: Place,
    },
    /// Nothing is sent, and never will be: the chain is sealed.
    Closed,
}

impl<M: SwapMemory> Seat<M> {
    fn number(&self) -> u32 {
        self.ring.memory().number()
    }

    fn place(&self) -> Place {
        Place { ring: self.number(), block: self.hand.block() }
    }
}

impl<M: SwapMemory> ChainHand<M> {
    /// The ring of the outgoing block.
    pub(crate) fn tail_memory(&self) -> &M {
        self.at_tail.ring.memory()
    }

    /// The block to fill before a push.
    pub(crate) fn outgoing(&self) -> Place {
        self.at_tail.place()
    }

    /// The ring of the incoming block.
    pub(crate) fn head_memory(&self) -> &M {
        self.at_head.as_ref().unwrap_or(&self.at_tail).ring.memory()
    }

    /// The block that holds the message after a pop.
    pub(crate) fn incoming(&self) -> Place {
        self.at_head.as_ref().unwrap_or(&self.at_tail).place()
    }
}

impl<Q: ChainMemory> Chain<Q> {
    pub(crate) fn new(memory: Q, me: u32, grows: bool) -> Self {
        Self { memory, me, grows }
    }

    /// The same chain, for who has become participant `me`.
    pub(crate) fn become_participant(&mut self, me: u32) {
        self.me = me;
    }

    pub(crate) fn memory(&self) -> &Q {
        &self.memory
    }

    /// What `handle`, which is the caller's and idle, has in this chain.
    pub(crate) fn hand(&self, handle: u32) -> Result<ChainHand<Q::Memory>, Corrupt> {
        let (tail, head) = (self.tail(), self.head());
        let at_tail = self.seat(tail, handle)?;
        let is_same = head.ring() == tail.ring();
        let at_head = if is_same { None } else { Some(self.seat(head, handle)?) };
        Ok(ChainHand { handle, tail, head, at_tail, at_head })
    }

    /// Sends the outgoing block of `hand`, which gets an empty one for it.
    #[inline]
    pub(crate) fn push(
        &self,
        hand: &mut ChainHand<Q::Memory>,
    ) -> Result<Sent, Failure<Q::Refused>> {
        match hand.at_tail.ring.push(&mut hand.at_tail.hand)? {
            Pushed::Done => Ok(Sent::Done),
            Pushed::Full if !self.grows => Ok(Sent::Full),
            refused => self.move_on(hand, refused),
        }
    }

    /// Takes the oldest message: `Done`, or `Empty` if there is none, or `Closed` if there will be
    /// none.
    #[inline]
    pub(crate) fn pop(&self, hand: &mut ChainHand<Q::Memory>) -> Result<Popped, Corrupt> {
        // Not bounded, but each round follows a head that was moved.
        loop {
            let head = hand.head;
            let seat = hand.at_head.as_mut().unwrap_or(&mut hand.at_tail);
            // Relaxed: the slot was loaded before, and is Acquire. Whoever wrote a later message
            // there knew of a later head.
            let is_first = || {
                !self.grows
                    || self.memory.turns().head.position.load(Relaxed) == head.0
                    || mutant("pop-anywhere")
            };
            match seat.ring.pop(&mut seat.hand, is_first)? {
                Popped::Closed if !self.advance(head)? => return Ok(Popped::Closed),
                Popped::Closed => {}
                Popped::Elsewhere => {}
                popped => return Ok(popped),
            }
            self.follow_head(hand)?;
        }
    }

    /// Says that the message in the incoming block was read: from here on nobody else will.
    #[inline]
    pub(crate) fn acknowledge(&self, hand: &ChainHand<Q::Memory>) {
        let seat = hand.at_head.as_ref().unwrap_or(&hand.at_tail);
        seat.ring.acknowledge(&seat.hand);
    }

    /// The tail; its ring is open, and furnished, and its words are visible.
    fn tail(&self) -> Turn {
        // Acquire `tail`: as the doc says.
        Turn(self.memory.turns().tail.position.load(at(Acquire, "tail")))
    }

    /// The head; whoever left the rings before it found them empty.
    fn head(&self) -> Turn {
        // Acquire `head`: as the doc says.
        Turn(self.memory.turns().head.position.load(at(Acquire, "head")))
    }

    fn seat(&self, turn: Turn, handle: u32) -> Result<Seat<Q::Memory>, Corrupt> {
        let ring = ring_of(&self.memory, turn.ring()).ok_or(Corrupt)?;
        let hand = ring.hand(handle)?;
        Ok(Seat { ring, hand })
    }

    /// Goes where the tail is.
    fn follow_tail(&self, hand: &mut ChainHand<Q::Memory>, tail: Turn) -> Result<(), Corrupt> {
        if tail.ring() != hand.tail.ring() {
            let was_one = hand.at_head.is_none();
            let met = hand.at_head.take_if(|seat| seat.number() == tail.ring());
            let seat = met.map_or_else(|| self.seat(tail, hand.handle), Ok)?;
            let left = std::mem::replace(&mut hand.at_tail, seat);
            if was_one {
                hand.at_head = Some(left);
            }
        }
        hand.tail = tail;
        Ok(())
    }

    /// Goes where the head is.
    fn follow_head(&self, hand: &mut ChainHand<Q::Memory>) -> Result<(), Corrupt> {
        let head = self.head();
        if head.ring() != hand.head.ring() {
            let is_one = head.ring() == hand.tail.ring();
            hand.at_head = if is_one { None } else { Some(self.seat(head, hand.handle)?) };
        }
        hand.head = head;
        Ok(())
    }
}

impl Entry {
    /// Whether nobody has ever claimed the ring. Rings are claimed from the first one on, so those
    /// behind it are as it is; but for those that are claimed meanwhile.
    pub(crate) fn is_virgin(&self) -> bool {
        // Relaxed: who knows of a ring knows that those before it were claimed.
        self.state.load(Relaxed) == 0
    }
}

#[cfg(test)]
impl Turns {
    pub(crate) fn new() -> Self {
        let cursor = || Cursor { position: AtomicU64::new(0) };
        Self { tail: cursor(), head: cursor() }
    }
}

#[cfg(test)]
impl Entry {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU64::new(0), next: AtomicU64::new(0), place: AtomicU64::new(0) }
    }

    /// Whether nobody has the ring.
    pub(crate) fn is_free(&self) -> bool {
        let stage = retire::State(self.state.load(at(Acquire, "ring-freed"))).stage();
        matches!(stage, retire::VIRGIN | retire::FREE)
    }

    /// Whether the ring ever had memory.
    pub(crate) fn has_place(&self) -> bool {
        self.place.load(at(Acquire, "place")) != 0
    }
}

#[cfg(all(test, not(multiproc_loom)))]
#[path = "../../tests/chain.rs"]
mod tests;
