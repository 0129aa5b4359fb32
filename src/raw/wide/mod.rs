//! A ring of messages of at most eight bytes, for any number of producers and consumers.
//!
//! A slot is sixteen bytes, a state and a message, and every step of its life is one exchange of
//! both. So nothing is ever half done: whoever is killed or stopped, at any instruction, has made
//! his step or has not. He stalls nobody, and leaves nothing to be recovered.
//!
//! ```text
//! state:   63     1 0        message:  63          0
//!         [ lap | full ]              [ 0 if empty ]
//!
//! (lap, empty, 0)      -> (lap, full, message)    by the push of message lap * capacity + index
//! (lap, full, message) -> (lap + 1, empty, 0)     by its pop
//! ```
//!
//! No word says where the ring begins and where it ends. Each handle has a cursor for either end,
//! which is there or behind, and the state of the slot that it points to says which:
//!
//! | a push in lap `n` finds   | a pop in lap `n` finds   | the handle                    |
//! |---------------------------|--------------------------|-------------------------------|
//! | `n`, empty                | `n`, full                | is at the end: makes the step |
//! | `n - 1`, full             | `n`, empty               | is at the end: full, or empty |
//! | `n`, full, or a later lap | `n + 1`, empty, or later | is behind: goes on            |
//! | anything before that      | anything before that     | is among foreign bytes        |
//!
//! Full and empty are exact. All before a cursor of pushes has been pushed; so if the message one
//! lap before it has not been popped, there are `capacity` messages in between. Likewise for pops.
//! Messages are pushed in the order of their positions, without a gap, and popped in that order.
//!
//! # Hints
//!
//! A cursor that is far behind would have a long way to go. So handles leave word, now and then, of
//! how far they have come. A hint may be late, and later than one before it, but never wrong.
//!
//! # Crash
//!
//! A producer that dies has pushed its last message or has not. A consumer that dies takes with it
//! what it had popped.
//!
//! # Corruption
//!
//! No position leads out of the memory. Past a slot that nobody changes, the next visit, one lap
//! later, finds an end there; so over bytes that lie still, a call is done within about a ringful
//! of slots. What no handle can have left behind is `Corrupt`.
//!
//! The ring never waits and wakes nobody: that is up to the caller, after each step.

pub(crate) mod memory;
mod whole;

use super::Corrupt;
use super::swap::Pushed;
use crate::shim::{AtomicU64, Ordering::*, Wide, at, mutant};
use memory::{CAPACITY_MAX, WideMemory};

/// At most so many steps lie between two that are told in a hint.
const STEPS_PER_HINT: u64 = 64;

/// The mark of a ring that takes no more messages, in the slot of its tail.
const CLOSED: u64 = Wide::TOP;

/// What became of a pop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum WidePopped {
    Done(u64),
    Empty,
    /// The ring is empty, and will be.
    Closed,
}

/// A place in the order of all messages: `lap << bits | index`, with the bits that an index needs.
///
/// Positions compare like the numbers of their messages, and the next one takes no division.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Position(u64);

/// How far a handle knows a ring to have come. A new one is right, though late, for any ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct WideCursor {
    /// All messages before this one have been pushed.
    tail: Position,
    /// All messages before this one have been popped.
    head: Position,
    /// Whether the last push found the ring full, so that the next one looks before it writes.
    was_full: bool,
}

/// Which step, and by how much later in a lap than a push it is.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push = 0,
    Pop = 1,
}

/// What a slot says of the step at a position.
enum Turn {
    /// It is the next one, and the slot is in this state.
    Now(u64),
    /// It needs the other one of a lap before first: the ring is full, or empty.
    Early(u64),
    /// It was made, and now the slot is in this state.
    Over(u64),
}

/// A ring and its geometry, in private memory.
#[derive(Debug)]
pub(crate) struct WideRing<M> {
    memory: M,
    capacity: u64,
    /// How many bits of a position are its index.
    index_bits: u32,
    /// Positions without these bits are told in a hint.
    unhinted: u64,
}

impl<M: WideMemory> WideRing<M> {
    pub(crate) fn new(memory: M) -> Self {
        let capacity = memory.capacity();
        debug_assert!((1..=CAPACITY_MAX).contains(&capacity));
        let index_bits = u64::BITS - (capacity - 1).leading_zeros();
        let steps = (capacity / 2).clamp(1, STEPS_PER_HINT);
        Self { memory, capacity, index_bits, unhinted: (1 << steps.ilog2()) - 1 }
    }

    /// Pushes a message.
    ///
    /// # Errors
    ///
    /// `Corrupt` if something else than such rings wrote into the memory.
    #[inline]
    pub(crate) fn push(&self, cursor: &mut WideCursor, message: u64) -> Result<Pushed, Corrupt> {
        if mutant("wide-hint-first") {
            self.leave_hint(Step::Push, self.next(cursor.tail));
        }
        // Not looked at first: that would fetch the line twice, once to read and once to write.
        if !cursor.was_full && self.put(cursor.tail, message)? {
            self.pushed(cursor);
            return Ok(Pushed::Done);
        }
        self.push_behind(cursor, message)
    }

    /// Pops the oldest message, if there is any.
    ///
    /// # Errors
    ///
    /// `Corrupt` if something else than such rings wrote into the memory.
    #[inline]
    pub(crate) fn pop(&self, cursor: &mut WideCursor) -> Result<WidePopped, Corrupt> {
        match self.look(Step::Pop, cursor.head)? {
            Turn::Early(state) => return Ok(nothing_in(state)),
            Turn::Now(state) => {
                if let Some(message) = self.take(cursor.head, state)? {
                    self.popped(cursor);
                    return Ok(WidePopped::Done(message));
                }
            }
            Turn::Over(_) => {}
        }
        self.pop_behind(cursor)
    }

    /// The push of a handle whose cursor is behind the end, or that found the ring full or closed.
    #[cold]
    fn push_behind(&self, cursor: &mut WideCursor, message: u64) -> Result<Pushed, Corrupt> {
        // Lock-free: whenever this is too late, somebody else has pushed.
        loop {
            let (is_now, state) = self.seek(Step::Push, &mut cursor.tail)?;
            if state & CLOSED != 0 {
                return Ok(Pushed::Closed);
            }
            if !is_now {
                cursor.was_full = true;
                return Ok(Pushed::Full);
            }
            if self.put(cursor.tail, message)? {
                self.pushed(cursor);
                return Ok(Pushed::Done);
            }
        }
    }

    /// The pop of a handle whose cursor is behind the end.
    #[cold]
    fn pop_behind(&self, cursor: &mut WideCursor) -> Result<WidePopped, Corrupt> {
        // Lock-free: whenever this is too late, somebody else has popped.
        loop {
            let (is_now, state) = self.seek(Step::Pop, &mut cursor.head)?;
            if !is_now {
                return Ok(nothing_in(state));
            }
            if let Some(message) = self.take(cursor.head, state)? {
                self.popped(cursor);
                return Ok(WidePopped::Done(message));
            }
        }
    }

    /// Pushes at this position; false if others were faster, or it is not its turn.
    #[inline(always)]
    fn put(&self, position: Position, message: u64) -> Result<bool, Corrupt> {
        let empty = self.due(Step::Push, position);
        let slot = self.slot(position);
        // AcqRel `wide-slot`, paired with itself and with `look`: who pops the message sees what
        // was done before its push, and who fills the slot again what was done before its pop.
        // Relaxed: after a failure comes a look.
        let exchanged = slot.compare_exchange(
            (empty, 0),
            (empty + 1, message),
            at(AcqRel, "wide-slot"),
            Relaxed,
        );
        was_made(exchanged, empty)
    }

    /// Pops at this position, whose turn it was in this state; nothing if others were faster.
    #[inline(always)]
    fn take(&self, position: Position, full: u64) -> Result<Option<u64>, Corrupt> {
        let emptied = if mutant("wide-same-lap") { full - 1 } else { full + 1 };
        let slot = self.slot(position);
        // Relaxed: the exchange compares it, and it is no older than the look that found it full.
        let message = slot.second(Relaxed);
        // AcqRel `wide-slot`, paired with itself and with `look`, and Relaxed: see `put`.
        let exchanged =
            slot.compare_exchange((full, message), (emptied, 0), at(AcqRel, "wide-slot"), Relaxed);
        Ok(was_made(exchanged, full)?.then_some(message))
    }

    /// Compares the slot at this position with the state it has at the step's turn.
    #[inline(always)]
    fn look(&self, step: Step, position: Position) -> Result<Turn, Corrupt> {
        let due = self.due(step, position);
        // Acquire `wide-slot`: pairs with AcqRel `wide-slot` in `put` and `take`. Whoever left this
        // state knew of all steps before his; so the other slots are found no earlier than they.
        let found = self.slot(position).first(at(Acquire, "wide-slot"));
        let state = found & !CLOSED;
        if state == due {
            return Ok(Turn::Now(found));
        }
        if state > due {
            return Ok(Turn::Over(state));
        }
        if state + 1 == due { Ok(Turn::Early(found)) } else { Err(Corrupt) }
    }

    /// Moves a cursor to the end: whether it is the step's turn there, or too early, and the state
    /// of the slot.
    fn seek(&self, step: Step, cursor: &mut Position) -> Result<(bool, u64), Corrupt> {
        let mut moves = 0;
        // Lock-free: round the ring once, it goes on only if others have gone on by a lap
        // meanwhile.
        loop {
            match self.look(step, *cursor)? {
                Turn::Over(state) => *cursor = self.further(step, *cursor, state, moves)?,
                Turn::Now(state) => return Ok((true, state)),
                Turn::Early(state) => return Ok((false, state)),
            }
            moves += 1;
        }
    }

    /// Where to go on from a position whose step is over, by the state of its slot, as move number
    /// `moves` in a row.
    fn further(
        &self,
        step: Step,
        position: Position,
        state: u64,
        moves: u64,
    ) -> Result<Position, Corrupt> {
        // The last lap in which this step was made here.
        let lap = if mutant("wide-too-far") { state >> 1 } else { (state - 1 - step as u64) >> 1 };
        let next = self.next(self.position(lap, self.index(position))?);
        // The first move is often enough: somebody else was just faster. The second is not when
        // the handle has been away, so the hint is worth a look.
        Ok(if moves == 1 { next.max(self.hint(step)?) } else { next })
    }

    #[inline(always)]
    fn pushed(&self, cursor: &mut WideCursor) {
        cursor.tail = self.next(cursor.tail);
        cursor.was_full = false;
        self.leave_hint(Step::Push, cursor.tail);
    }

    #[inline(always)]
    fn popped(&self, cursor: &mut WideCursor) {
        cursor.head = self.next(cursor.head);
        self.leave_hint(Step::Pop, cursor.head);
    }

    /// Leaves word, now and then, that all before `reached` is passed.
    #[inline(always)]
    fn leave_hint(&self, step: Step, reached: Position) {
        if reached.0 & self.unhinted != 0 {
            return;
        }
        // Relaxed: a hint that another one overtakes here is as true as before.
        if self.hint_word(step).load(Relaxed) < reached.0 {
            // Release `wide-hint`: pairs with Acquire `wide-hint` in `hint`. The slots are found no
            // earlier than this handle knows them to be.
            self.hint_word(step).store(reached.0, at(Release, "wide-hint"));
        }
    }

    /// The position up to which all is passed, going by the hint.
    fn hint(&self, step: Step) -> Result<Position, Corrupt> {
        // Acquire `wide-hint`: pairs with Release `wide-hint` in `leave_hint`.
        let hint = Position(self.hint_word(step).load(at(Acquire, "wide-hint")));
        self.position(self.lap(hint), self.index(hint))
    }

    fn hint_word(&self, step: Step) -> &AtomicU64 {
        match step {
            Step::Push => self.memory.tail_hint(),
            Step::Pop => self.memory.head_hint(),
        }
    }

    #[inline(always)]
    fn slot(&self, position: Position) -> &Wide {
        self.memory.slot(self.index(position))
    }

    /// The state of the slot at this position when it is the step's turn.
    #[inline(always)]
    fn due(&self, step: Step, position: Position) -> u64 {
        self.lap(position) << 1 | step as u64
    }

    #[inline(always)]
    fn index(&self, position: Position) -> u64 {
        position.0 & ((1 << self.index_bits) - 1)
    }

    #[inline(always)]
    fn lap(&self, position: Position) -> u64 {
        position.0 >> self.index_bits
    }

    #[inline(always)]
    fn next(&self, position: Position) -> Position {
        let next = Position(position.0 + 1);
        if self.index(next) == self.capacity {
            return Position((self.lap(next) + 1) << self.index_bits);
        }
        next
    }

    /// The position that somebody else claims to have passed.
    fn position(&self, lap: u64, index: u64) -> Result<Position, Corrupt> {
        // At a message a nanosecond it takes more than half a century to get there. States, which
        // are twice as large, stay clear of their highest bits, also when they go on from here.
        let laps = 1 << (61 - self.index_bits);
        if lap < laps && index < self.capacity {
            return Ok(Position(lap << self.index_bits | index));
        }
        Err(Corrupt)
    }
}

/// What a pop says that found nothing in a slot of this state.
fn nothing_in(state: u64) -> WidePopped {
    if state & CLOSED == 0 { WidePopped::Empty } else { WidePopped::Closed }
}

/// Whether an exchange that expected the state `due` was made.
#[inline(always)]
fn was_made(exchanged: Result<(), (u64, u64)>, due: u64) -> Result<bool, Corrupt> {
    match exchanged {
        Ok(()) => Ok(true),
        // As long as a state lasts, so does the message with it, and an empty slot has none.
        Err((state, _)) if state == due => Err(Corrupt),
        Err(_) => Ok(false),
    }
}

/// For tests that close no ring.
#[cfg(test)]
impl<M: WideMemory> WideRing<M> {
    /// Pushes; false if the ring is full.
    pub(crate) fn try_push(&self, cursor: &mut WideCursor, message: u64) -> Result<bool, Corrupt> {
        Ok(self.push(cursor, message)? == Pushed::Done)
    }

    /// Pops, if there is a message.
    pub(crate) fn try_pop(&self, cursor: &mut WideCursor) -> Result<Option<u64>, Corrupt> {
        Ok(match self.pop(cursor)? {
            WidePopped::Done(message) => Some(message),
            _ => None,
        })
    }
}

#[cfg(all(test, not(multiproc_loom)))]
#[path = "../tests/wide.rs"]
mod tests;
