//! The way out: a block comes out of the ring, its message out of the block.

use crate::error::Cause;
use crate::raw::Corrupt;
use crate::raw::swap::Popped;
use crate::raw::swap::handle::Ends;
use crate::sys::clock::Deadline;
use crate::transfer;
use crate::transfer::codec::Codec;

use super::core::{CLOSED, Core, NO_SENDERS};
use super::port::{Legacy, Port};
use super::track::Track;
use super::waiting::For;

impl<T, C: Codec<T>> Port<T, C> {
    /// Receives one message if there is one, or waits for it until `deadline`.
    #[inline]
    pub(super) fn receive(&mut self, deadline: Option<Deadline>) -> Result<T, Cause> {
        self.hold(deadline)?;
        if C::SHAPE.is_plain() {
            return self.take_plain();
        }
        // Copied first: what is checked while it is decoded must not change meanwhile.
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let copied = self.body().map(|body| bytes.extend_from_slice(body.bytes()));
        self.release();
        let value = copied.and_then(|()| Ok(transfer::decode::<T, C>(&bytes, None)?));
        self.keep(bytes);
        value
    }

    /// Receives one message as it lies there.
    pub(super) fn receive_bytes(&mut self, deadline: Option<Deadline>) -> Result<Vec<u8>, Cause> {
        self.hold(deadline)?;
        let copied = self.body().map(|body| body.bytes().to_vec());
        self.release();
        copied
    }

    /// The plain message that is held, which is let go of.
    #[inline]
    fn take_plain(&mut self) -> Result<T, Cause> {
        match self.body() {
            Ok(body) if body.has_length(size_of::<T>()) => {
                let value = body.read(&C::SHAPE);
                self.release();
                Ok(value)
            }
            other => {
                self.release();
                Err(other.err().unwrap_or_else(|| Corrupt.into()))
            }
        }
    }

    /// Receives up to `most` messages that are there by now; waits for the first until `deadline`.
    pub(super) fn receive_batch(
        &mut self,
        into: &mut Vec<T>,
        most: usize,
        deadline: Option<Deadline>,
    ) -> Result<usize, Cause> {
        for received in 0..most {
            match self.receive(if received == 0 { deadline } else { None }) {
                Ok(value) => into.push(value),
                Err(cause) if received == 0 => return Err(cause),
                Err(cause) => {
                    // Everything else is so the next time as well.
                    if let Cause::Failed(error) = cause {
                        self.owed = Some(error);
                    }
                    return Ok(received);
                }
            }
        }
        Ok(most)
    }

    /// Takes a message into the handle's block, where it is held until it is released.
    #[inline]
    pub(super) fn hold(&mut self, deadline: Option<Deadline>) -> Result<(), Cause> {
        self.check()?;
        // Plain messages are always what they are.
        if !C::SHAPE.is_plain()
            && let Some(error) = self.owed.take()
        {
            return Err(error.into());
        }
        if self.core.at.plan.flags.redelivers {
            self.drop_forgotten();
            return self.hold_when_there(deadline);
        }
        let is_done = match &mut self.track {
            Track::Swap(hand) => self.core.chain.pop(hand)? == Popped::Done,
            Track::Wide(wide) => wide.pop()? == Popped::Done,
        };
        match is_done {
            true => {
                self.core.notify_sender();
                Ok(())
            }
            false => self.hold_when_there(deadline),
        }
    }

    #[cold]
    fn hold_when_there(&mut self, deadline: Option<Deadline>) -> Result<(), Cause> {
        let Self { core, track, legacy, .. } = self;
        core.wait(For::Messages, deadline, |core| attempt(core, track, legacy))?;
        core.notify_sender();
        Ok(())
    }
}

/// Looks for a message once. What was sent before the queue was closed is still received, so the
/// flags are asked first.
fn attempt(
    core: &Core,
    track: &mut Track,
    legacy: &mut Option<Legacy>,
) -> Option<Result<(), Cause>> {
    if core.at.plan.flags.redelivers {
        *legacy = Legacy::find(core);
        if legacy.is_some() {
            return Some(Ok(()));
        }
    }
    let is_over = core.flags() & (CLOSED | NO_SENDERS) != 0;
    let popped = match track {
        Track::Swap(hand) => core.chain.pop(hand),
        Track::Wide(wide) => wide.pop(),
    };
    match popped {
        Ok(Popped::Done) => Some(Ok(())),
        Ok(popped) if (is_over || popped == Popped::Closed) && !core.may_inherit() => {
            Some(Err(core.disconnected(Ends::SENDER)))
        }
        Ok(_) => None,
        Err(corrupt) => Some(Err(corrupt.into())),
    }
}
