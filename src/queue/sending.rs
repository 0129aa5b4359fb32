//! The way in: a message goes into the handle's block, and the block into the ring.

use crate::error::{Cause, Error, ErrorKind};
use crate::raw::Corrupt;
use crate::raw::queue::{Refused, RingAt};
use crate::raw::swap::Pushed;
use crate::raw::swap::chain::{ChainHand, Failure, Sent};
use crate::raw::swap::handle::Ends;
use crate::raw::swap::recover::Rings;
use crate::shim::Ordering::*;
use crate::sys::clock::Deadline;
use crate::transfer;
use crate::transfer::codec::Codec;

use super::body::{Body, Room};
use super::core::{CLOSED, Core, NO_RECEIVERS};
use super::port::Port;
use super::spill::Spill;
use super::track::Track;
use super::waiting::For;

impl<T, C> Port<T, C> {
    /// Gives back what was drafted and is not sent, for which others may wait.
    pub(super) fn discard_draft(&self) {
        if let Track::Swap(hand) = &self.track {
            self.core.free_spill(hand.tail_memory(), hand.outgoing().block);
        }
    }
}

/// A look at a queue that grows follows so many rings at the most, each of 64 messages or more that
/// others sent meanwhile; then it is time to look at the clock.
const MOVES_MAX: usize = 256;

impl<T, C: Codec<T>> Port<T, C> {
    /// Sends one message if it can go at once, or waits until `deadline` for room.
    #[inline]
    pub(super) fn send(&mut self, value: &T, deadline: Option<Deadline>) -> Result<(), Cause> {
        self.check_open()?;
        if !C::SHAPE.is_plain() {
            return self.send_framed(value, deadline);
        }
        if size_of::<T>() <= self.room.bytes() {
            self.outgoing(size_of::<T>())?.write(&C::SHAPE, value);
            return self.publish(deadline);
        }
        self.draft(size_of::<T>(), deadline)?.write(&C::SHAPE, value);
        self.commit(size_of::<T>(), deadline)
    }

    fn send_framed(&mut self, value: &T, deadline: Option<Deadline>) -> Result<(), Cause> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let sent = match transfer::encode::<T, C>(value, &mut bytes) {
            Ok(None) => self.send_bytes(&bytes, deadline),
            Ok(Some(_cargo)) => Err(handles_inside().into()),
            Err(error) => Err(error.into()),
        };
        self.keep(bytes);
        sent
    }

    /// Sends bytes as one message.
    pub(super) fn send_bytes(
        &mut self,
        bytes: &[u8],
        deadline: Option<Deadline>,
    ) -> Result<(), Cause> {
        self.draft(bytes.len(), deadline)?.bytes_mut().copy_from_slice(bytes);
        self.commit(bytes.len(), deadline)
    }

    /// Room for a message of `length` bytes: in the handle's block, or in the stock, where it is
    /// waited for.
    pub(super) fn draft(
        &mut self,
        length: usize,
        deadline: Option<Deadline>,
    ) -> Result<Body, Cause> {
        self.check_open()?;
        if length <= self.room.bytes() {
            return self.outgoing(length);
        }
        let Self { core, track, .. } = self;
        let hand = track.hand()?;
        let drafted = core.wait(For::Memory, deadline, |core| {
            if core.flags() & (CLOSED | NO_RECEIVERS) != 0 {
                return Some(Err(core.disconnected(Ends::RECEIVER)));
            }
            Spill { core, ring: hand.tail_memory(), block: hand.outgoing().block }
                .take(length)
                .transpose()
        });
        if drafted.is_err() {
            self.discard_draft();
        }
        drafted
    }

    /// Sends the first `length` bytes of what was drafted.
    pub(super) fn commit(
        &mut self,
        length: usize,
        deadline: Option<Deadline>,
    ) -> Result<(), Cause> {
        // Relaxed: it goes along with the block.
        if let Track::Swap(hand) = &self.track {
            let block = hand.outgoing().block;
            hand.tail_memory().length(block).store(length as u32, Relaxed);
        }
        let sent = self.publish(deadline);
        if sent.is_err() {
            self.discard_draft();
        }
        sent
    }

    /// Sends the handle's block.
    #[inline]
    pub(super) fn publish(&mut self, deadline: Option<Deadline>) -> Result<(), Cause> {
        match &mut self.track {
            Track::Swap(hand) => match self.core.chain.push(hand) {
                Ok(Sent::Done) => {}
                refused => self.publish_when_free(refused, deadline)?,
            },
            Track::Wide(wide) => match wide.push() {
                Ok(Pushed::Done) => {}
                _ => self.publish_word_when_free(deadline)?,
            },
        }
        self.core.notify_receiver();
        Ok(())
    }

    /// Where the next message is written, if it has no more bytes than there is room for.
    #[inline]
    fn outgoing(&mut self, length: usize) -> Result<Body, Cause> {
        let body = match &mut self.track {
            Track::Swap(hand) => self.room.body(hand.tail_memory(), hand.outgoing().block, length),
            Track::Wide(wide) => wide.body(length),
        };
        body.of_length(length).ok_or_else(|| Corrupt.into())
    }

    #[cold]
    fn publish_word_when_free(&mut self, deadline: Option<Deadline>) -> Result<(), Cause> {
        let Self { core, track, .. } = self;
        let Track::Wide(wide) = track else { return Ok(()) };
        core.wait(For::Room, deadline, |core| {
            if core.flags() & (CLOSED | NO_RECEIVERS) != 0 {
                return Some(Err(core.disconnected(Ends::RECEIVER)));
            }
            match wide.push() {
                Ok(Pushed::Done) => Some(Ok(())),
                Ok(Pushed::Closed) => Some(Err(core.disconnected(Ends::RECEIVER))),
                Ok(Pushed::Full) => None,
                Err(corrupt) => Some(Err(corrupt.into())),
            }
        })
    }

    #[cold]
    fn publish_when_free(
        &mut self,
        refused: Result<Sent, Failure<Refused<Error>>>,
        deadline: Option<Deadline>,
    ) -> Result<(), Cause> {
        let Self { core, track, room, .. } = self;
        let hand = track.hand()?;
        follow(core, hand, *room, outcome_of(refused)?)?;
        core.wait(For::Room, deadline, |core| {
            if core.flags() & (CLOSED | NO_RECEIVERS) != 0 {
                return Some(Err(core.disconnected(Ends::RECEIVER)));
            }
            // Each move follows a ring that was found full: others filled it, or its words lie.
            for _ in 0..MOVES_MAX {
                match outcome_of(core.chain.push(hand)) {
                    Ok(Sent::Done) => return Some(Ok(())),
                    Ok(Sent::Full) => return None,
                    Ok(Sent::Closed) => return Some(Err(core.disconnected(Ends::RECEIVER))),
                    Ok(moved) => {
                        if let Err(cause) = follow(core, hand, *room, moved) {
                            return Some(Err(cause));
                        }
                    }
                    Err(cause) => return Some(Err(cause)),
                }
            }
            None
        })
    }
}

/// Carries a message that was not sent from its block to the one to send now, if that is another.
fn follow(core: &Core, hand: &ChainHand<RingAt>, room: Room, refused: Sent) -> Result<(), Cause> {
    let to = hand.outgoing();
    let Some(from) = (match refused {
        Sent::Moved { from } if from != to => Some(from),
        _ => None,
    }) else {
        return Ok(());
    };
    let old = core.store().ring(from.ring).ok_or(Corrupt)?;
    let (old, new) = (old.memory(), hand.tail_memory());
    // Relaxed, both: both blocks are ours.
    let length = old.length(from.block).load(Relaxed);
    new.length(to.block).store(length, Relaxed);
    core.store().free(new, to.block)?;
    if core.at.plan.units > 0
        && let (Some(stock), Some(old), Some(new)) =
            (core.at.stock(), old.holder(from.block), new.holder(to.block))
    {
        stock.move_to(&old, &new)?;
    }
    let bytes = room.bytes();
    room.body(new, to.block, bytes).copy_from(room.body(old, from.block, bytes));
    Ok(())
}

/// What became of a push. Where it would have taken more memory than the queue was made for, the
/// queue is full.
fn outcome_of(pushed: Result<Sent, Failure<Refused<Error>>>) -> Result<Sent, Cause> {
    match pushed {
        Ok(sent) => Ok(sent),
        Err(Failure::NoMemory(Refused::UsedUp)) => Ok(Sent::Full),
        Err(Failure::NoMemory(Refused::NoPages(error))) => Err(error.into()),
        Err(Failure::Corrupt | Failure::NoMemory(Refused::Corrupt)) => Err(Corrupt.into()),
    }
}

fn handles_inside() -> Error {
    let what = "a handle in a message of a queue: its receiver is not known yet, so send handles \
                through connections, or as arguments of processes";
    Error::new(ErrorKind::Misuse, what)
}
