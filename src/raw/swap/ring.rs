//! Push and pop: one exchange each.

use crate::raw::Corrupt;
use crate::shim::{AtomicU64, Ordering::*, at, mutant};

use super::{BEYOND, CASUALTY, HELD, Hints, NONE, Shape, SwapMemory};

/// Hints are raised every so many positions, or twice a lap in a smaller ring.
const RAISE_EVERY: u32 = 64;

/// One ring, as one process sees it.
#[derive(Clone, Debug)]
pub(crate) struct Ring<M> {
    memory: M,
    shape: Shape,
    /// Hints are raised where the slot has all of these bits.
    raise: u32,
}

/// What one handle knows of one ring; private to its process.
#[derive(Clone, Debug)]
pub(crate) struct Hand {
    handle: u32,
    /// The block that the handle owns: to be filled before a push, filled after a pop.
    block: u32,
    /// The upper bits of the scratch word.
    casualties: u64,
    tail: u64,
    head: u64,
}

/// What a handle has in its hands in one ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scratch {
    pub(crate) is_held: bool,
    /// How many messages were lost there, or delivered again from there.
    pub(crate) casualties: u64,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Pushed {
    Done,
    /// There were as many messages as there are slots.
    Full,
    /// The ring takes no more messages.
    Closed,
}

/// What became of a pop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Popped {
    /// The block of the hand now holds a message, until it is [acknowledged](Ring::acknowledge).
    Done,
    Empty,
    /// The ring is empty, and will be.
    Closed,
    /// The caller's condition did not hold.
    Elsewhere,
}

/// The slot at a cursor, once the cursor is where the others are.
pub(super) enum Found {
    /// In the state that the exchange needs.
    Ready(u64),
    /// Still in the state before it.
    NotYet(u64),
}

impl Hand {
    /// The block that the handle owns in this ring.
    pub(crate) fn block(&self) -> u32 {
        self.block
    }

    fn scratch(&self, held: u64) -> u64 {
        self.casualties | held | u64::from(self.block)
    }
}

impl<M: SwapMemory> Ring<M> {
    pub(crate) fn new(memory: M) -> Self {
        let shape = memory.shape();
        let every = (shape.slots() / 2).clamp(1, RAISE_EVERY);
        let raise = (1 << every.ilog2()) - 1;
        Self { memory, shape, raise }
    }

    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Writes the words of a ring that nobody else has seen; closed, if it is not the first.
    pub(crate) fn prepare(&self, is_closed: bool) {
        // Relaxed, all: whoever gets to see this ring does so behind a Release.
        for slot in 0..self.shape.slots() {
            self.memory.slot(slot).store(u64::from(slot), Relaxed);
        }
        if is_closed {
            self.memory.slot(0).store(self.shape.closed(), Relaxed);
        }
        for handle in 0..self.shape.handles() {
            let block = self.shape.first_block_of(handle);
            self.memory.owner(block).store(handle + 1, Relaxed);
            self.memory.scratch(handle).store(u64::from(block), Relaxed);
            self.memory.want(handle).store(block, Relaxed);
            self.memory.intent(handle).store(NONE, Relaxed);
        }
        self.memory.hints().tail.position.store(0, Relaxed);
        self.memory.hints().head.position.store(self.shape.step(), Relaxed);
    }

    /// What `handle`, which is the caller's and idle, has in this ring.
    pub(crate) fn hand(&self, handle: u32) -> Result<Hand, Corrupt> {
        // Relaxed: written by this handle, or before it became the caller's.
        let scratch = self.memory.scratch(handle).load(Relaxed);
        let block = scratch as u32;
        if handle >= self.shape.handles() || block >= self.shape.blocks() {
            return Err(Corrupt);
        }
        let (tail, head) = self.hinted()?;
        Ok(Hand { handle, block, casualties: scratch & !(CASUALTY - 1), tail, head })
    }

    /// Sends the block of `hand`, which gets an empty one for it.
    #[inline]
    pub(crate) fn push(&self, hand: &mut Hand) -> Result<Pushed, Corrupt> {
        // Not bounded, but a lost exchange was another one's push.
        loop {
            let word = match self.find(&mut hand.tail)? {
                Found::Ready(word) if !self.shape.is_closed(word) => word,
                Found::NotYet(word) if !self.shape.is_closed(word) => return Ok(Pushed::Full),
                _ => return Ok(Pushed::Closed),
            };
            if self.swap(hand, hand.tail, word, 0)? {
                hand.tail = self.go_on(hand.tail);
                return Ok(Pushed::Done);
            }
        }
    }

    /// Takes the oldest message, if `is_first` says that it is also the oldest of the queue.
    #[inline]
    pub(crate) fn pop(
        &self,
        hand: &mut Hand,
        is_first: impl Fn() -> bool,
    ) -> Result<Popped, Corrupt> {
        // Not bounded, but a lost exchange was another one's pop.
        loop {
            let word = match self.find(&mut hand.head)? {
                _ if !is_first() => return Ok(Popped::Elsewhere),
                Found::Ready(word) => word,
                Found::NotYet(word) if !self.shape.is_closed(word) => return Ok(Popped::Empty),
                Found::NotYet(_) => return Ok(Popped::Closed),
            };
            self.memory.prepare(self.shape.block(word));
            if self.swap(hand, hand.head, word, HELD)? {
                hand.head = self.go_on(hand.head);
                return Ok(Popped::Done);
            }
        }
    }

    /// What a pop would find, `Done` if there is a message. Takes nothing.
    pub(crate) fn peek(
        &self,
        hand: &mut Hand,
        is_first: impl Fn() -> bool,
    ) -> Result<Popped, Corrupt> {
        Ok(match self.find(&mut hand.head)? {
            _ if !is_first() => Popped::Elsewhere,
            Found::Ready(_) => Popped::Done,
            Found::NotYet(word) if !self.shape.is_closed(word) => Popped::Empty,
            Found::NotYet(_) => Popped::Closed,
        })
    }

    /// Says that the message in the block of `hand` was read: from here on nobody else will.
    #[inline]
    pub(crate) fn acknowledge(&self, hand: &Hand) {
        // Release `scratch`: a kill that finds this done finds the message read.
        self.memory.scratch(hand.handle).store(hand.scratch(0), at(Release, "scratch"));
    }

    /// Lets go of what `handle`, which is the caller's and idle, may still hold. Its block.
    pub(crate) fn forget(&self, handle: u32) -> u32 {
        let scratch = self.memory.scratch(handle);
        // Relaxed: the handle is the caller's.
        let word = scratch.load(Relaxed);
        if word & HELD != 0 {
            // Release `scratch`: as in `acknowledge`.
            scratch.store(word & !HELD, at(Release, "scratch"));
        }
        word as u32
    }

    /// Exchanges the block of `hand` for the one in `word`. False if somebody else was faster.
    #[inline]
    fn swap(&self, hand: &mut Hand, position: u64, word: u64, held: u64) -> Result<bool, Corrupt> {
        let block = self.shape.block(word);
        if block >= self.shape.blocks() {
            return Err(Corrupt);
        }
        if !mutant("announce-after") {
            self.announce(hand.handle, position, block);
        }
        let slot = self.memory.slot(self.shape.slot(position));
        let exchanged = self.shape.exchanged(word, hand.block);
        // AcqRel `slot`: what is in the block goes along with it. A refusal gives nothing.
        if slot.compare_exchange(word, exchanged, at(AcqRel, "slot"), Relaxed).is_err() {
            // Release `intent`: as below. Who looks for messages in hands would see one here.
            self.memory.intent(hand.handle).store(NONE, at(Release, "intent"));
            return Ok(false);
        }
        if mutant("announce-after") {
            self.announce(hand.handle, position, block);
        }
        hand.block = block;
        self.conclude(hand, held);
        Ok(true)
    }

    /// Says what is about to be tried, for those who may have to find out whether it happened.
    #[inline]
    fn announce(&self, me: u32, position: u64, block: u32) {
        if mutant("intent-before-want") {
            self.memory.intent(me).store(position, at(Release, "intent"));
        }
        // Release `want`: who sees a newer want sees the owner of what was taken before.
        self.memory.want(me).store(block, at(Release, "want"));
        // Release `intent`: who sees the intent sees its want.
        self.memory.intent(me).store(position, at(Release, "intent"));
    }

    /// Says whose the block of `hand` is now.
    #[inline]
    fn conclude(&self, hand: &Hand, held: u64) {
        // Relaxed, both, in any order: they are right once the announcement is gone.
        let own = || self.memory.owner(hand.block).store(hand.handle + 1, Relaxed);
        let keep = || self.memory.scratch(hand.handle).store(hand.scratch(held), Relaxed);
        if !mutant("owner-after-clear") {
            own();
        }
        if !mutant("scratch-after-clear") {
            keep();
        }
        // Release `intent`: who sees the announcement gone sees both.
        self.memory.intent(hand.handle).store(NONE, at(Release, "intent"));
        if mutant("owner-after-clear") {
            own();
        }
        if mutant("scratch-after-clear") {
            keep();
        }
    }

    /// Moves the cursor to the first exchange of its side that is still to be made.
    #[inline]
    pub(super) fn find(&self, cursor: &mut u64) -> Result<Found, Corrupt> {
        // Not bounded, but the cursor only grows, past words that somebody moved: a ring in which
        // nothing moves is left after a lap.
        loop {
            // Acquire `slot`: what is in the block came with it.
            let word = self.memory.slot(self.shape.slot(*cursor)).load(at(Acquire, "slot"));
            let (seen, wanted) = (self.shape.version(word), self.shape.version(*cursor));
            if seen == wanted {
                return Ok(Found::Ready(word));
            }
            if seen < wanted {
                return if seen + 1 == wanted { Ok(Found::NotYet(word)) } else { Err(Corrupt) };
            }
            *cursor = self.catch_up(*cursor, word)?;
        }
    }

    /// A later cursor than one whose slot was found to be at `word`: others were here since.
    fn catch_up(&self, cursor: u64, word: u64) -> Result<u64, Corrupt> {
        if word >= BEYOND {
            return Err(Corrupt);
        }
        // The last exchange of this side that the slot has seen.
        let before = self.shape.version(word) - 1;
        let last = before - ((before ^ self.shape.version(cursor)) & 1);
        let seen = self.shape.behind(self.shape.position(last, self.shape.slot(cursor)));
        // Acquire `hint`: as in `hand`.
        let hint = self.hint(cursor).load(at(Acquire, "hint"));
        Ok(if self.shape.is_like(hint, cursor) { seen.max(hint) } else { seen })
    }

    /// The position behind one that was just used.
    #[inline]
    fn go_on(&self, position: u64) -> u64 {
        let next = self.shape.behind(position);
        let is_raised_here = self.shape.slot(position) & self.raise == self.raise;
        // Relaxed: a hint that a slower one sets back is only slower.
        if is_raised_here && self.hint(position).load(Relaxed) < next {
            // Release `hint`: pairs with Acquire `hint`.
            self.hint(position).store(next, at(Release, "hint"));
        }
        next
    }

    /// The hint of the side that this position is of.
    fn hint(&self, position: u64) -> &AtomicU64 {
        let Hints { tail, head } = self.memory.hints();
        if self.shape.is_push(position) { &tail.position } else { &head.position }
    }

    /// What a handle has in its hands, for those who look.
    pub(crate) fn scratch_of(&self, handle: u32) -> Scratch {
        // Acquire `scratch`: who sees that a message was let go of sees what was done with it.
        let word = self.memory.scratch(handle).load(at(Acquire, "scratch"));
        Scratch { is_held: word & HELD != 0, casualties: word / CASUALTY }
    }

    /// Whether a handle holds a message, or may be in the middle of taking one.
    pub(crate) fn is_popping(&self, handle: u32) -> bool {
        // Acquire `intent`: when the announcement is gone, the message is in the scratch word.
        let intent = self.memory.intent(handle).load(at(Acquire, "intent"));
        let is_about_to = intent != NONE && !self.shape.is_push(intent);
        is_about_to || self.scratch_of(handle).is_held
    }

    /// The same as [`totals`](Self::totals), for those who look and have no handle.
    pub(crate) fn totals_seen(&self) -> Result<(u64, u64), Corrupt> {
        let (mut tail, mut head) = self.hinted()?;
        self.find(&mut head)?;
        self.find(&mut tail)?;
        Ok((self.shape.count(tail), self.shape.count(head)))
    }

    /// Where the cursors were once, by the hints.
    fn hinted(&self) -> Result<(u64, u64), Corrupt> {
        let hints = self.memory.hints();
        // Acquire `hint`: behind a hint, the slots are seen as those saw them who raised it.
        let tail = hints.tail.position.load(at(Acquire, "hint"));
        let head = hints.head.position.load(at(Acquire, "hint"));
        let is_possible =
            self.shape.is_like(tail, 0) && self.shape.is_like(head, self.shape.step());
        if is_possible { Ok((tail, head)) } else { Err(Corrupt) }
    }

    /// How many messages were ever pushed and popped, as of now. Exact while nobody else acts.
    pub(crate) fn totals(&self, hand: &mut Hand) -> Result<(u64, u64), Corrupt> {
        // The head first: then there are never more popped than pushed.
        self.find(&mut hand.head)?;
        self.find(&mut hand.tail)?;
        Ok((self.shape.count(hand.tail), self.shape.count(hand.head)))
    }
}
