//! The receiving half: a message comes out of the ring whole, or not at all.

use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Cause, Context, Error, ErrorKind, Result};
use crate::raw::frame::FrameView;
use crate::raw::wait::{Fence, Waited};
use crate::sys::clock::Deadline;
use crate::sys::{letter, socket};
use crate::transfer;
use crate::transfer::codec::{Codec, CodecError};

use super::end::End;
use super::long::{CARGO, Long, Progress, Stage, advance};
use super::outlet::{disconnected, in_vain, kept, not_framed, not_slots};
use super::ring::{Reader, payload};

/// The receiving half of a connection.
pub(super) struct Inlet<T, C> {
    pub(super) ring: Reader<T>,
    pub(super) end: Arc<End>,
    pub(super) how: Fence,
    pub(super) socket: Option<Arc<OwnedFd>>,
    /// A message of several frames, as far as it has come.
    pub(super) long: Long,
    /// What went wrong behind the last message of a batch; the next call tells.
    pub(super) owed: Option<Cause>,
    scratch: Vec<u8>,
    codec: PhantomData<fn() -> C>,
}

impl<T, C> Inlet<T, C> {
    /// Attaches to a lane whose reading side is ours.
    pub(super) fn attach(end: Arc<End>, socket: Option<Arc<OwnedFd>>, how: Fence) -> Result<Self> {
        if how == Fence::Full {
            end.our_side().seat.demand_fences();
        }
        Ok(Self {
            ring: Reader::attach(&end)?,
            end,
            how,
            socket,
            long: Long::default(),
            owed: None,
            scratch: Vec::new(),
            codec: PhantomData,
        })
    }

    pub(super) fn end(&self) -> &Arc<End> {
        &self.end
    }

    /// Whether the half can leave now: not in the middle of a message, nor with something to tell
    /// that only this process knows. That the peer is gone is written in the lane.
    pub(super) fn is_between_messages(&self) -> bool {
        self.long.state == Stage::None && !matches!(self.owed, Some(Cause::Failed(_)))
    }

    /// The bytes of the message at hand, where they lie.
    pub(super) fn bytes(&self, frame: Option<FrameView>, flags: u8) -> &[u8] {
        let all = match (&self.ring, frame) {
            (Reader::Frames(ring), Some(frame)) => payload(ring, &frame),
            _ => &self.long.bytes,
        };
        if flags & CARGO != 0 { transfer::cargo::payload_of(all) } else { all }
    }
}

impl<T, C: Codec<T>> Inlet<T, C> {
    /// Receives one message if there is one, or waits for it until `deadline`.
    #[inline]
    pub(super) fn receive(&mut self, deadline: Option<Deadline>) -> Result<T, Cause> {
        self.check()?;
        if !C::SHAPE.is_plain() {
            return self.receive_framed(deadline, C::decode);
        }
        let Reader::Slots(ring) = &mut self.ring else { return Err(not_slots().into()) };
        let popped = Reader::pop(ring, &C::SHAPE).map_err(Error::from)?;
        if let Some(value) = popped {
            self.end.their_side().notify(self.how);
            return Ok(value);
        }
        self.receive_when_there(deadline)
    }

    /// Receives up to `most` framed messages that are there by now; waits for the first.
    pub(super) fn receive_frames(
        &mut self,
        into: &mut Vec<T>,
        most: usize,
        deadline: Option<Deadline>,
    ) -> Result<usize, Cause> {
        for received in 0..most {
            match self.receive(if received == 0 { deadline } else { None }) {
                Ok(value) => into.push(value),
                Err(cause) if received == 0 => return Err(cause),
                Err(Cause::WouldBlock) => return Ok(received),
                Err(cause) => {
                    self.owed = Some(cause);
                    return Ok(received);
                }
            }
        }
        Ok(most)
    }

    /// Receives up to `most` plain messages that are there by now; waits for the first.
    pub(super) fn receive_slots(
        &mut self,
        into: &mut Vec<T>,
        most: usize,
        deadline: Option<Deadline>,
    ) -> Result<usize, Cause> {
        self.check()?;
        let Reader::Slots(ring) = &mut self.ring else { return Err(not_slots().into()) };
        let popped = Reader::pop_many(ring, &C::SHAPE, most, into).map_err(Error::from)?;
        if popped > 0 || most == 0 {
            self.end.their_side().notify(self.how);
            return Ok(popped);
        }
        into.push(self.receive_when_there(deadline)?);
        Ok(1)
    }

    #[cold]
    fn receive_when_there(&mut self, deadline: Option<Deadline>) -> Result<T, Cause> {
        let Reader::Slots(ring) = &mut self.ring else { return Err(not_slots().into()) };
        let value = wait_for_writer(&self.end, self.how, deadline, || {
            Ok(Reader::pop(ring, &C::SHAPE).map_err(Error::from)?)
        })?;
        self.end.their_side().notify(self.how);
        Ok(value)
    }
}

impl<T, C> Inlet<T, C> {
    /// Receives a framed message, and makes of its bytes what `decode` makes of them.
    #[inline]
    pub(super) fn receive_framed<X>(
        &mut self,
        deadline: Option<Deadline>,
        decode: impl FnOnce(&[u8]) -> Result<X, CodecError>,
    ) -> Result<X, Cause> {
        if let Some(frame) = self.simple_frame()?
            && let Reader::Frames(ring) = &mut self.ring
        {
            // Copied first: what is checked while it is decoded must not change meanwhile.
            self.scratch.clear();
            self.scratch.extend_from_slice(payload(ring, &frame));
            ring.release();
            self.end.their_side().notify(self.how);
            return Ok(transfer::decode_by(&self.scratch, None, decode)?);
        }
        self.receive_when_whole(deadline, decode)
    }

    /// Receives a message that is not there yet, or in several frames, or with handles.
    fn receive_when_whole<X>(
        &mut self,
        deadline: Option<Deadline>,
        decode: impl FnOnce(&[u8]) -> Result<X, CodecError>,
    ) -> Result<X, Cause> {
        let flags = self.wait_for_message(deadline)?;
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let value = self.take(&mut bytes).and_then(|()| self.decode(&mut bytes, flags, decode));
        self.scratch = kept(bytes);
        value
    }

    fn decode<X>(
        &self,
        bytes: &mut Vec<u8>,
        flags: u8,
        decode: impl FnOnce(&[u8]) -> Result<X, CodecError>,
    ) -> Result<X, Cause> {
        let fds = if flags & CARGO == 0 { None } else { Some(self.fetch_fds(bytes)?) };
        Ok(transfer::decode_by(bytes, fds, decode)?)
    }

    /// Receives the letter of a message, whose number is cut off its end.
    #[cold]
    fn fetch_fds(&self, bytes: &mut Vec<u8>) -> Result<Vec<OwnedFd>> {
        let lost = || Error::new(ErrorKind::Corrupt, "the fds of the handles in a message");
        let (_, number) = bytes.split_last_chunk::<8>().ok_or_else(lost)?;
        let number = u64::from_le_bytes(*number);
        bytes.truncate(bytes.len() - 8);
        let socket = self.socket.as_ref().ok_or_else(lost)?;
        // It was sent before the message, so it is there already.
        let now = Deadline::after(Duration::ZERO);
        // Bounded: every turn takes one letter that was sent, and numbers only grow.
        loop {
            let letter = match letter::receive(socket.as_fd(), now) {
                Err(cause) if cause.kind() == std::io::ErrorKind::TimedOut => return Err(lost()),
                received => received
                    .context(|| "receive the fds of the handles in a message".to_owned())?
                    .ok_or_else(lost)?,
            };
            let came = letter.bytes.first_chunk::<8>().map(|came| u64::from_le_bytes(*came));
            match came {
                Some(came) if came == number => return Ok(letter.fds),
                // Its message was never sent.
                Some(came) if came < number => {}
                _ => return Err(lost()),
            }
        }
    }

    /// The frame of a message that is at hand in one frame and without handles, the usual case.
    #[inline]
    fn simple_frame(&mut self) -> Result<Option<FrameView>, Cause> {
        match &mut self.ring {
            Reader::Frames(ring) if self.long.state == Stage::None && self.owed.is_none() => {
                let frame = ring.peek().map_err(Error::from)?;
                Ok(frame.filter(|frame| frame.flags == 0))
            }
            _ => Ok(None),
        }
    }

    /// Waits until a message is at hand; the frame it is in, unless it came in several, and its
    /// flags.
    #[inline]
    pub(super) fn peek(
        &mut self,
        deadline: Option<Deadline>,
    ) -> Result<(Option<FrameView>, u8), Cause> {
        self.check()?;
        if let Some(frame) = self.simple_frame()? {
            return Ok((Some(frame), 0));
        }
        let flags = self.wait_for_message(deadline)?;
        Ok((self.frame()?, flags))
    }

    /// Waits until a whole framed message is at hand, and returns its flags.
    pub(super) fn wait_for_message(&mut self, deadline: Option<Deadline>) -> Result<u8, Cause> {
        self.check()?;
        if let Some(cause) = self.owed.take() {
            return Err(cause);
        }
        let Self { ring, end, long, how, .. } = self;
        // Not bounded, but every turn waits or takes pieces that were sent, and time-outs end it.
        loop {
            let look = || Ok(advance(ring, long, end, *how)?);
            match (wait_for_writer(end, *how, deadline, look)?, deadline) {
                (Progress::Message(flags), _) => return Ok(flags),
                (Progress::Pieces, None) => return Err(Cause::WouldBlock),
                (Progress::Pieces, Some(deadline)) if deadline.is_past() => {
                    return Err(Cause::TimedOut);
                }
                (Progress::Pieces, Some(_)) => {}
            }
        }
    }

    /// Whether a call to receive would return at once: there is a message, or there will be none.
    pub(super) fn poll(&mut self, deadline: Option<Deadline>) -> Result<bool, Cause> {
        self.check()?;
        if self.owed.is_some() {
            return Ok(true);
        }
        let polled = match &self.ring {
            Reader::Slots(ring) => wait_for_writer(&self.end, self.how, deadline, || {
                let is_empty = ring.is_empty().map_err(Error::from)?;
                Ok((!is_empty).then_some(()))
            }),
            Reader::Frames(_) => self.wait_for_message(deadline).map(drop),
        };
        match polled {
            Ok(()) | Err(Cause::Disconnected { .. }) => Ok(true),
            Err(Cause::WouldBlock | Cause::TimedOut) => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    /// The frame that holds the message at hand, unless it was put together from several.
    pub(super) fn frame(&mut self) -> Result<Option<FrameView>, Cause> {
        match &mut self.ring {
            _ if self.long.state == Stage::Whole => Ok(None),
            Reader::Frames(ring) => Ok(ring.peek().map_err(Error::from)?),
            Reader::Slots(_) => Err(not_framed().into()),
        }
    }

    /// Whether handles came with the message at hand.
    pub(super) fn has_handles(&self, flags: u8) -> bool {
        flags & CARGO != 0
    }

    /// Takes the message at hand, appending its bytes to `into` or, if that is empty, moving them.
    pub(super) fn take(&mut self, into: &mut Vec<u8>) -> Result<(), Cause> {
        if self.long.state == Stage::Whole {
            *into = std::mem::take(&mut self.long).bytes;
            return Ok(());
        }
        let Reader::Frames(ring) = &mut self.ring else { return Err(not_framed().into()) };
        if let Some(view) = ring.peek().map_err(Error::from)? {
            into.extend_from_slice(payload(ring, &view));
        }
        self.drop_message(0)
    }

    /// Passes over the message at hand; the handles that came with it are closed.
    #[inline]
    pub(super) fn drop_message(&mut self, flags: u8) -> Result<(), Cause> {
        if flags & CARGO != 0 {
            let mut bytes = Vec::new();
            self.take(&mut bytes)?;
            let fds = self.fetch_fds(&mut bytes)?;
            drop(transfer::cargo::Unpacking::begin(&bytes, fds)?);
            return Ok(());
        }
        if self.long.state == Stage::Whole {
            self.long = Long::default();
            return Ok(());
        }
        let Reader::Frames(ring) = &mut self.ring else { return Err(not_framed().into()) };
        ring.release();
        self.end.their_side().notify(self.how);
        Ok(())
    }

    #[inline]
    pub(super) fn check(&mut self) -> Result<(), Cause> {
        if !self.end.is_valid() {
            self.end.follow_fork()?;
        }
        Ok(())
    }
}

/// The socket may live on with the other half, here or elsewhere; the handles that lie in it, and
/// that nobody will read, must not.
impl<T, C> Drop for Inlet<T, C> {
    fn drop(&mut self) {
        if self.end.close()
            && let Some(socket) = &self.socket
        {
            socket::refuse(socket.as_fd());
        }
    }
}

/// Waits on our seat until `look` finds something, the writer is gone and the ring is empty, or the
/// deadline passes.
#[inline]
pub(super) fn wait_for_writer<R>(
    end: &End,
    how: Fence,
    deadline: Option<Deadline>,
    mut look: impl FnMut() -> Result<Option<R>, Cause>,
) -> Result<R, Cause> {
    // What was sent before the writer closed is still read, so the flags are asked first.
    let mut attempt = || {
        let gone = end.their_side().is_closed();
        match look() {
            Ok(Some(found)) => Some(Ok(found)),
            Ok(None) if gone => Some(Err(disconnected(end.their_side()))),
            Ok(None) => None,
            Err(cause) => Some(Err(cause)),
        }
    };
    let Some(deadline) = deadline else { return attempt().unwrap_or_else(|| Err(in_vain(end))) };
    let mut outcome = None;
    let waited = end.our_side().seat.wait(
        end.terms(how, deadline),
        || {
            outcome = attempt();
            outcome.is_some()
        },
        || end.suspect_peer(),
    );
    match (waited, outcome) {
        (Waited::Ready, Some(outcome)) => outcome,
        _ => Err(Cause::TimedOut),
    }
}
