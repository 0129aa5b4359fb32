//! How many messages a chain has.

use crate::raw::Corrupt;

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
