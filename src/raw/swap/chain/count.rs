//! How many messages a chain has, and whether there is one.

use crate::raw::Corrupt;
use crate::raw::swap::Popped;
use crate::shim::Ordering::Relaxed;

use super::{Chain, ChainHand, ChainMemory, ring_of};

impl<Q: ChainMemory> Chain<Q> {
    /// How many messages were ever pushed and popped, as of now. Exact while nobody else acts.
    pub(crate) fn totals(&self, hand: &mut ChainHand<Q::Memory>) -> Result<(u64, u64), Corrupt> {
        (0..self.memory.rings_used()).try_fold((0_u64, 0_u64), |totals, number| {
            let more = self.totals_of(hand, number)?;
            Ok((totals.0.saturating_add(more.0), totals.1.saturating_add(more.1)))
        })
    }

    /// How many messages there are, as of now. Exact while nobody else acts.
    pub(crate) fn len(&self, hand: &mut ChainHand<Q::Memory>) -> Result<u64, Corrupt> {
        // A ring that is open takes messages before it is the tail.
        self.finish(self.tail())?;
        let (tail, head) = (self.tail(), self.head());
        // All rings but those from the head to the tail are empty.
        let is_one = tail == head;
        let (pushed, popped) =
            if is_one { self.totals_of(hand, tail.ring())? } else { self.totals(hand)? };
        Ok(pushed.saturating_sub(popped))
    }

    /// What a pop would find: `Done` if there is a message, or `Empty` if there is none, or
    /// `Closed` if there will be none. Takes nothing, but goes to where the head is.
    pub(crate) fn peek(&self, hand: &mut ChainHand<Q::Memory>) -> Result<Popped, Corrupt> {
        // Not bounded, but each round follows a head that was moved.
        loop {
            let head = hand.head;
            let seat = hand.at_head.as_mut().unwrap_or(&mut hand.at_tail);
            // Relaxed: as in `pop`.
            let is_first =
                || !self.grows || self.memory.turns().head.position.load(Relaxed) == head.0;
            match seat.ring.peek(&mut seat.hand, is_first)? {
                Popped::Closed if !self.advance(head)? => return Ok(Popped::Closed),
                Popped::Closed | Popped::Elsewhere => {}
                found => return Ok(found),
            }
            self.follow_head(hand)?;
        }
    }

    fn totals_of(
        &self,
        hand: &mut ChainHand<Q::Memory>,
        number: u32,
    ) -> Result<(u64, u64), Corrupt> {
        let seats = [Some(&mut hand.at_tail), hand.at_head.as_mut()];
        if let Some(seat) = seats.into_iter().flatten().find(|seat| seat.number() == number) {
            return seat.ring.totals(&mut seat.hand);
        }
        let Some(ring) = ring_of(&self.memory, number) else { return Ok((0, 0)) };
        ring.totals(&mut ring.hand(hand.handle)?)
    }
}
