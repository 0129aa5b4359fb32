//! The switch to another ring, from whichever step it has come to.

use crate::raw::Corrupt;
use crate::shim::{Ordering::*, at, mutant};

use super::super::Pushed;
use super::retire::{CLAIMED, FREE, LIVE, State, VIRGIN};
use super::{COUNT_AT, Chain, ChainHand, ChainMemory, END, RING, Sent, Turn, ring_of};

/// Why a push was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure<R> {
    Corrupt,
    NoMemory(R),
}

impl<R> From<Corrupt> for Failure<R> {
    fn from(Corrupt: Corrupt) -> Self {
        Self::Corrupt
    }
}

impl<Q: ChainMemory> Chain<Q> {
    /// Makes ring 0, open and empty, for a chain that nobody else has seen.
    pub(crate) fn begin(&self) -> Result<(), Failure<Q::Refused>> {
        self.furnish(0, false)?;
        // Relaxed: whoever gets to see this chain does so behind a Release.
        self.memory.entry(0).state.store(State::new(0, 0, LIVE).0, Relaxed);
        Ok(())
    }

    /// After a push that was refused: to the ring that takes messages now, made so if need be.
    #[cold]
    pub(super) fn move_on(
        &self,
        hand: &mut ChainHand<Q::Memory>,
        refused: Pushed,
    ) -> Result<Sent, Failure<Q::Refused>> {
        let (turn, from) = (hand.tail, hand.outgoing());
        // The ring was found full in this very turn, and so since it was opened: see `close`.
        if self.tail() == turn {
            if refused == Pushed::Full && !self.is_followed(turn)? {
                return Ok(Sent::Full);
            }
            self.finish(turn)?;
        }
        let tail = self.tail();
        if tail == turn {
            let is_sealed = self.next(turn)? == Some(END);
            return if is_sealed { Ok(Sent::Closed) } else { Err(Failure::Corrupt) };
        }
        self.follow_tail(hand, tail)?;
        Ok(Sent::Moved { from })
    }

    /// Sees to it that a ring follows the one of `turn`. False if there are no more rings.
    fn is_followed(&self, turn: Turn) -> Result<bool, Failure<Q::Refused>> {
        if self.next(turn)?.is_some() {
            return Ok(true);
        }
        let Some((number, claimed)) = self.claim() else {
            return Ok(self.next(turn)?.is_some());
        };
        let furnished = self.furnish(number, true);
        if furnished.is_err() || !self.append(turn, number) {
            self.give_back(number, claimed);
        }
        match furnished {
            Err(failure) if self.next(turn)?.is_none() => Err(failure),
            _ => Ok(true),
        }
    }

    /// Takes a ring that is not in use, for a switch. Its state, if there is one.
    fn claim(&self) -> Option<(u32, State)> {
        let head = self.head();
        (0..self.memory.rings()).find_map(|number| {
            // Relaxed: the exchange decides.
            let state = &self.memory.entry(number).state;
            let seen = State(state.load(Relaxed));
            let is_unused = match seen.stage() {
                VIRGIN | FREE => true,
                LIVE => seen.count() < head.count() || mutant("claim-live"),
                _ => false,
            };
            let claimed = State::new(seen.count(), self.me, CLAIMED);
            // Acquire `ring-freed`: who had it before is done with it.
            let claim = || {
                state
                    .compare_exchange(seen.0, claimed.0, at(Acquire, "ring-freed"), Relaxed)
                    .is_ok()
            };
            (is_unused && claim()).then_some((number, claimed))
        })
    }

    /// Gets the memory of a ring that is ours; and writes its words, if it is new.
    fn furnish(&self, number: u32, is_closed: bool) -> Result<(), Failure<Q::Refused>> {
        let place = &self.memory.entry(number).place;
        // Relaxed: only who claimed the ring writes it, and only once.
        let known = place.load(Relaxed).checked_sub(1);
        let found = self.memory.furnish(number, known).map_err(Failure::NoMemory)?;
        if known.is_none() {
            let ring = self.memory.ring_at(number, found).ok_or(Corrupt)?;
            ring.prepare(is_closed);
            // Release `place`: who finds the ring finds its words.
            place.store(found + 1, at(Release, "place"));
        }
        Ok(())
    }

    /// Lets `number` follow the ring of `turn`. False if another one does already.
    fn append(&self, turn: Turn, number: u32) -> bool {
        if mutant("close-before-append") {
            let _ = ring_of(&self.memory, turn.ring()).map(|ring| ring.close(|| true));
        }
        let next = &self.memory.entry(turn.ring()).next;
        // Relaxed: the exchange decides.
        let seen = next.load(Relaxed);
        let is_open = seen & RING == 0 || seen >> COUNT_AT < turn.count();
        let following = (turn.count() << COUNT_AT) | u64::from(number + 1);
        // Release `next`: who follows finds the ring claimed and furnished.
        is_open && next.compare_exchange(seen, following, at(Release, "next"), Relaxed).is_ok()
    }

    /// The ring that follows the one of `turn`.
    pub(super) fn next(&self, turn: Turn) -> Result<Option<u32>, Corrupt> {
        if turn.ring() >= self.memory.rings() {
            return Err(Corrupt);
        }
        // Acquire `next`: the ring is claimed and furnished.
        let next = Turn(self.memory.entry(turn.ring()).next.load(at(Acquire, "next")));
        let number = next.ring().checked_sub(1).filter(|_| next.count() == turn.count());
        if number.is_some_and(|number| number >= self.memory.rings() && number != END) {
            return Err(Corrupt);
        }
        Ok(number)
    }

    /// Makes the steps of the switch from `turn` that are still to be made, if its first one was.
    pub(super) fn finish(&self, turn: Turn) -> Result<(), Corrupt> {
        let Some(number) = self.next(turn)? else { return Ok(()) };
        let ring = |number| ring_of(&self.memory, number).ok_or(Corrupt);
        if number == END {
            return ring(turn.ring())?.close(|| true);
        }
        let then = turn.then(number);
        // Relaxed: the slot was loaded before, and is Acquire. Whoever wrote a later word there
        // knew of a later tail.
        let is_due = || self.memory.turns().tail.position.load(Relaxed) == turn.0;
        self.enliven(number, then);
        if mutant("open-before-close") {
            ring(number)?.open(is_due)?;
        }
        ring(turn.ring())?.close(is_due)?;
        if mutant("tail-before-open") {
            self.turn_tail(turn, then);
        }
        ring(number)?.open(is_due)?;
        self.turn_tail(turn, then);
        Ok(())
    }

    /// The ring that was claimed to follow is in use from here on.
    fn enliven(&self, number: u32, then: Turn) {
        let state = &self.memory.entry(number).state;
        // Relaxed, both: who needs to know gets here by the tail.
        let seen = State(state.load(Relaxed));
        if seen.stage() == CLAIMED && (seen.count() < then.count() || mutant("enliven-any")) {
            let live = State::new(then.count(), 0, LIVE);
            // A refusal means that somebody was faster with the same.
            let _ = state.compare_exchange(seen.0, live.0, Relaxed, Relaxed);
        }
    }

    fn turn_tail(&self, turn: Turn, then: Turn) {
        let tail = &self.memory.turns().tail.position;
        // Release `tail`: who finds it moved finds the old ring closed, and the new one open. A
        // refusal means that somebody was faster with the same.
        let _ = tail.compare_exchange(turn.0, then.0, at(Release, "tail"), Relaxed);
    }

    /// Lets nothing be pushed any more, by anybody.
    pub(crate) fn seal(&self) -> Result<(), Corrupt> {
        // Not bounded, but each round follows a switch, or makes the last one.
        loop {
            let tail = self.tail();
            let next = self.next(tail)?;
            if next.is_none() {
                // Refused, if somebody was faster: here, or with a whole switch.
                let is_set = self.append(tail, END) || self.next(tail)?.is_some();
                if !is_set && self.tail() == tail {
                    return Err(Corrupt);
                }
                continue;
            }
            self.finish(tail)?;
            match next {
                Some(END) => return Ok(()),
                _ if self.tail() == tail => return Err(Corrupt),
                _ => {}
            }
        }
    }

    /// The ring of `turn` is closed and empty: the head goes on, and its memory back. False if it
    /// was the last one.
    #[cold]
    pub(super) fn advance(&self, turn: Turn) -> Result<bool, Corrupt> {
        if !mutant("head-before-tail") && self.tail() == turn {
            self.finish(turn)?;
            if self.tail() == turn {
                return if self.next(turn)? == Some(END) { Ok(false) } else { Err(Corrupt) };
            }
        }
        if mutant("retire-before-head") {
            self.retire(turn.ring(), State::new(turn.count(), 0, LIVE));
        }
        let head = &self.memory.turns().head.position;
        if let Some(number) = self.next(turn)? {
            let then = turn.then(number);
            // Release `head`: who finds it moved may take this ring for empty.
            if head.compare_exchange(turn.0, then.0, at(Release, "head"), Relaxed).is_ok() {
                self.retire(turn.ring(), State::new(turn.count(), 0, LIVE));
            }
        }
        // Relaxed: our own exchange, or what made it fail.
        if head.load(Relaxed) == turn.0 { Err(Corrupt) } else { Ok(true) }
    }
}
