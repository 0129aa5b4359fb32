//! What concerns a wide ring as a whole: how many messages there are, and that there will be no
//! more.

use crate::raw::Corrupt;
use crate::raw::swap::Popped;
use crate::shim::{Ordering::*, at};

use super::memory::WideMemory;
use super::{CLOSED, Position, Step, Turn, WideCursor, WidePopped, WideRing, nothing_in};

impl<M: WideMemory> WideRing<M> {
    /// Lets nothing be pushed any more, by anybody. What is there is still popped.
    ///
    /// # Errors
    ///
    /// `Corrupt` if something else than such rings wrote into the memory.
    pub(crate) fn close(&self, cursor: &mut WideCursor) -> Result<(), Corrupt> {
        // Lock-free: whenever this is too late, somebody else has pushed, popped or closed.
        loop {
            let (_, state) = self.seek(Step::Push, &mut cursor.tail)?;
            if state & CLOSED != 0 {
                return Ok(());
            }
            let slot = self.slot(cursor.tail);
            // Relaxed: the exchange compares it.
            let message = slot.second(Relaxed);
            // AcqRel `wide-slot`, and Relaxed: see `put`.
            let closed = (state | CLOSED, message);
            let order = at(AcqRel, "wide-slot");
            if slot.compare_exchange((state, message), closed, order, Relaxed).is_ok() {
                return Ok(());
            }
        }
    }

    /// What a pop would find: whether there is a message, or never will be.
    ///
    /// # Errors
    ///
    /// `Corrupt` if something else than such rings wrote into the memory.
    pub(crate) fn peek(&self, cursor: &mut WideCursor) -> Result<Popped, Corrupt> {
        let (is_now, state) = self.seek(Step::Pop, &mut cursor.head)?;
        Ok(match nothing_in(state) {
            _ if is_now => Popped::Done,
            WidePopped::Closed => Popped::Closed,
            _ => Popped::Empty,
        })
    }

    /// How many messages there are; exact while nobody pushes or pops.
    ///
    /// # Errors
    ///
    /// `Corrupt` if something else than such rings wrote into the memory.
    pub(crate) fn len(&self, cursor: &mut WideCursor) -> Result<u64, Corrupt> {
        let (pushed, popped) = self.totals(cursor)?;
        // A ring that is used meanwhile may move on by any number between the two.
        Ok((pushed - popped).min(self.capacity))
    }

    /// How many messages were ever pushed and popped; exact while nobody does, and the first never
    /// less than the second.
    ///
    /// # Errors
    ///
    /// `Corrupt` if something else than such rings wrote into the memory.
    pub(crate) fn totals(&self, cursor: &mut WideCursor) -> Result<(u64, u64), Corrupt> {
        self.catch_up(Step::Pop, &mut cursor.head)?;
        // What was popped has been pushed.
        cursor.tail = cursor.tail.max(cursor.head);
        self.catch_up(Step::Push, &mut cursor.tail)?;
        Ok((self.number(cursor.tail), self.number(cursor.head)))
    }

    /// Moves a cursor to where the end is, or at least was when this began.
    fn catch_up(&self, step: Step, cursor: &mut Position) -> Result<(), Corrupt> {
        // Bounded: the second move may be to a hint, and then the end is at most a ringful ahead.
        for moves in 0..self.capacity + 2 {
            match self.look(step, *cursor)? {
                Turn::Over(state) => *cursor = self.further(step, *cursor, state, moves)?,
                Turn::Now(_) | Turn::Early(_) => break,
            }
        }
        Ok(())
    }

    /// How many messages come before this position.
    fn number(&self, position: Position) -> u64 {
        self.lap(position) * self.capacity + self.index(position)
    }
}
