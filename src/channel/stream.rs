//! Receiving a message into memory that the caller has: each byte is copied once.

use crate::error::{Cause, Error};
use crate::sys::clock::Deadline;
use crate::transfer::codec::Codec;

use super::inlet::{Inlet, wait_for_writer};
use super::long::{BEGIN, CONTINUE, LENGTH, TAKEN, beyond_end, look_for_begin};
use super::outlet::not_framed;
use super::ring::{Reader, overwrite, payload};

impl<T, C: Codec<T>> Inlet<T, C> {
    /// Receives one message into the front of `buffer`; its length, even if that is more than the
    /// buffer has. Then the message stays.
    ///
    /// The pieces of a long message go where they belong at once, without being put together first.
    pub(super) fn receive_into(&mut self, buffer: &mut [u8]) -> Result<usize, Cause> {
        let deadline = Some(Deadline::NEVER);
        self.check()?;
        if let Some(cause) = self.owed.take() {
            return Err(cause);
        }
        // Not bounded, but every turn takes a message that the writer began and gave up.
        loop {
            let begun = {
                let Self { ring, end, long, how, .. } = self;
                wait_for_writer(end, *how, deadline, || Ok(look_for_begin(ring, long)?))?
            };
            match begun {
                Some(total) if total <= buffer.len() as u64 => {
                    if self.fill(buffer, total as usize)? {
                        return Ok(total as usize);
                    }
                }
                _ => break,
            }
        }
        self.copy_into(buffer, deadline)
    }

    /// As [`receive_into`](Self::receive_into), of a message that is put together first: so nothing
    /// of it is lost if the deadline passes in the middle.
    pub(super) fn copy_into(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Deadline>,
    ) -> Result<usize, Cause> {
        let (frame, flags) = self.peek(deadline)?;
        let message = self.bytes(frame, flags);
        let length = message.len();
        if let Some(front) = buffer.get_mut(..length) {
            front.copy_from_slice(message);
            self.drop_message(flags)?;
        }
        Ok(length)
    }

    /// Takes the frames of a long message of `total` bytes, the first of which is at hand. False if
    /// the writer gave it up and began another one.
    fn fill(&mut self, buffer: &mut [u8], total: usize) -> Result<bool, Cause> {
        let Self { ring, end, how, .. } = self;
        let Reader::Frames(ring) = ring else { return Err(not_framed().into()) };
        let mut filled = 0;
        let mut skip = LENGTH;
        while filled < total {
            let frame = wait_for_writer(end, *how, Some(Deadline::NEVER), || {
                Ok(ring.peek().map_err(Error::from)?)
            })?;
            let is_first = skip > 0;
            if is_first != (frame.flags & BEGIN != 0) || frame.flags & (BEGIN | CONTINUE) == 0 {
                return Ok(false);
            }
            let piece = payload(ring, &frame).get(skip..).unwrap_or_default();
            let place = buffer[..total].get_mut(filled..filled + piece.len());
            // No writer sends an empty piece; a ring full of them would never end.
            let Some(place) = place.filter(|place| !place.is_empty()) else {
                ring.release();
                return Err(beyond_end().into());
            };
            place.copy_from_slice(piece);
            filled += piece.len();
            skip = 0;
            if is_first {
                // Bytes that nobody sent anew must not begin another message a lap later.
                overwrite(ring, &frame, TAKEN);
            }
            ring.release();
            end.their_side().notify(*how);
        }
        Ok(true)
    }
}
