//! The sending half: a message goes into the ring, and the reader hears of it.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::error::{Cause, Context, Error, ErrorKind, Result};
use crate::raw::lane::Side;
use crate::raw::wait::{BACKSTOP, Fence, Waited};
use crate::sys::clock::Deadline;
use crate::sys::{letter, socket};
use crate::transfer::cargo::Cargo;
use crate::transfer::codec::{Codec, CodecError};
use crate::transfer::{self};

use super::end::End;
use super::long::{BEGIN, CARGO, CONTINUE};
use super::ring::{Draft, Writer, draft};

/// A longer message goes in pieces, each of which takes exactly this part of the ring. Then both
/// sides copy at once, and no lap ends in a pad: 1 MiB through 64 KiB took 39 us in eighths and
/// 346 us in quarters that did not fit, where two copies of it take 36 us.
const PIECES_IN_RING: usize = 8;

/// A half keeps at most so many bytes for its next message.
const SCRATCH_MAX: usize = 256 << 10;

/// The sending half of a connection.
pub(super) struct Outlet<T, C> {
    ring: Writer<T>,
    end: Arc<End>,
    how: Fence,
    /// How many letters with fds were ever sent beside this lane, by whoever owned it.
    pub(super) letters: u64,
    pub(super) socket: Option<Arc<OwnedFd>>,
    /// A message that is longer goes in pieces of this many bytes.
    piece: usize,
    scratch: Vec<u8>,
    codec: PhantomData<fn() -> C>,
}

impl<T, C> Outlet<T, C> {
    /// Attaches to a lane whose writing side is ours.
    pub(super) fn attach(
        end: Arc<End>,
        socket: Option<Arc<OwnedFd>>,
        letters: u64,
        how: Fence,
    ) -> Result<Self> {
        if how == Fence::Full {
            end.our_side().seat.demand_fences();
        }
        let ring = Writer::attach(&end)?;
        let piece = ring.piece(PIECES_IN_RING);
        Ok(Self { ring, end, how, letters, socket, piece, scratch: Vec::new(), codec: PhantomData })
    }

    pub(super) fn end(&self) -> &Arc<End> {
        &self.end
    }
}

impl<T, C: Codec<T>> Outlet<T, C> {
    /// Sends one message if it can go at once, or waits until `deadline` for room.
    #[inline]
    pub(super) fn send(&mut self, value: &T, deadline: Option<Deadline>) -> Result<(), Cause> {
        self.check()?;
        if !C::SHAPE.is_plain() {
            return self.send_framed::<T>(deadline, |bytes| C::encode(value, bytes));
        }
        let Writer::Slots(ring) = &mut self.ring else { return Err(not_slots().into()) };
        let pushed = Writer::push(ring, &C::SHAPE, value).map_err(Error::from)?;
        if pushed {
            self.end.their_side().notify(self.how);
            return Ok(());
        }
        self.send_when_free(value, deadline)
    }

    /// Sends plain messages from the front of `values`, one wake-up for as many as fit at a time.
    pub(super) fn send_slots(
        &mut self,
        values: &[T],
        deadline: Option<Deadline>,
    ) -> (usize, Result<(), Cause>) {
        let mut sent = 0;
        while let Some(rest) = values.get(sent..).filter(|rest| !rest.is_empty()) {
            let pushed = self.check().and_then(|()| match &mut self.ring {
                Writer::Slots(ring) => {
                    Ok(Writer::push_many(ring, &C::SHAPE, rest).map_err(Error::from)?)
                }
                Writer::Frames(_) => Err(not_slots().into()),
            });
            let done = match pushed {
                Ok(0) => self.send_when_free(&rest[0], deadline).map(|()| 1),
                Ok(pushed) => {
                    self.end.their_side().notify(self.how);
                    Ok(pushed)
                }
                Err(cause) => Err(cause),
            };
            match done {
                Ok(more) => sent += more,
                Err(cause) => return (sent, Err(cause)),
            }
        }
        (sent, Ok(()))
    }

    #[cold]
    fn send_when_free(&mut self, value: &T, deadline: Option<Deadline>) -> Result<(), Cause> {
        let deadline = deadline.ok_or_else(|| in_vain(&self.end))?;
        let Writer::Slots(ring) = &mut self.ring else { return Err(not_slots().into()) };
        wait_for_reader(&self.end, self.how, deadline, || {
            match Writer::push(ring, &C::SHAPE, value) {
                Ok(true) => Some(Ok(())),
                Ok(false) => None,
                Err(corrupt) => Some(Err(Error::from(corrupt).into())),
            }
        })?;
        self.end.their_side().notify(self.how);
        Ok(())
    }
}

impl<T, C> Outlet<T, C> {
    /// Sends what `encode` appends, the bytes of an `X`, as one framed message.
    pub(super) fn send_framed<X>(
        &mut self,
        deadline: Option<Deadline>,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), Cause> {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let sent = match transfer::encode_by::<X>(&mut bytes, encode) {
            Ok(None) => self.send_bytes(&bytes, 0, deadline),
            Ok(Some(cargo)) => self.send_with(*cargo, &mut bytes, deadline),
            Err(error) => Err(error.into()),
        };
        self.scratch = kept(bytes);
        sent
    }

    /// Sends bytes whose handles travel beside them: first the letter with the fds, then the frame
    /// that ends the message and names it. Only a death in between leaves a letter without a
    /// message, which the reader passes over: many of them would fill the socket.
    #[cold]
    fn send_with(
        &mut self,
        cargo: Cargo,
        bytes: &mut Vec<u8>,
        deadline: Option<Deadline>,
    ) -> Result<(), Cause> {
        let number = self.letters;
        // The first of them came in a parcel, so it may be any number.
        self.letters = number.wrapping_add(1);
        bytes.extend_from_slice(&number.to_le_bytes());
        let letter = |outlet: &mut Self| outlet.send_letter(number, &cargo, deadline);
        self.send_behind(letter, bytes, CARGO, deadline)?;
        cargo.commit();
        Ok(())
    }

    fn send_letter(
        &mut self,
        number: u64,
        cargo: &Cargo,
        deadline: Option<Deadline>,
    ) -> Result<(), Cause> {
        let Some(socket) = &self.socket else {
            let what = "a handle in a message of a pipe that was made without a socket for them";
            return Err(Error::new(ErrorKind::Misuse, what).into());
        };
        let until = deadline.unwrap_or(Deadline::after(std::time::Duration::ZERO));
        self.wait_for_mailbox(socket.as_fd(), until)?;
        match letter::send(socket.as_fd(), &number.to_le_bytes(), &cargo.fds(), until) {
            Err(cause) if cause.kind() == std::io::ErrorKind::TimedOut => {
                Err(if deadline.is_some() { Cause::TimedOut } else { Cause::WouldBlock })
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(self.disconnected())
            }
            sent => Ok(sent.context(|| "send the fds of the handles in a message".to_owned())?),
        }
    }

    /// Waits until the socket takes a letter. It stays open as long as anybody has either half of
    /// the other end, so whether there is still a reader is asked meanwhile.
    fn wait_for_mailbox(&self, socket: BorrowedFd<'_>, until: Deadline) -> Result<(), Cause> {
        let writable = [(socket, socket::PollFlags::POLLOUT)];
        loop {
            let slice = Deadline::after(until.left_at_most(BACKSTOP));
            let ready = socket::ready(&writable, slice);
            if ready.context(|| "wait for room for a letter".to_owned())?.is_some() {
                return Ok(());
            }
            self.end.suspect_peer();
            if self.end.their_side().is_closed() {
                return Err(self.disconnected());
            }
            if until.is_past() {
                return Ok(());
            }
        }
    }

    /// Sends bytes as one message: in one frame, or in pieces if they are many.
    #[inline]
    pub(super) fn send_bytes(
        &mut self,
        bytes: &[u8],
        flags: u8,
        deadline: Option<Deadline>,
    ) -> Result<(), Cause> {
        self.send_behind(|_| Ok(()), bytes, flags, deadline)
    }

    /// Sends bytes; `prepare` is called when there is room for all, and nothing can fail behind it.
    #[inline]
    fn send_behind(
        &mut self,
        prepare: impl FnOnce(&mut Self) -> Result<(), Cause>,
        bytes: &[u8],
        flags: u8,
        deadline: Option<Deadline>,
    ) -> Result<(), Cause> {
        if bytes.len() > self.piece && deadline.is_some() {
            return self.send_in_pieces(prepare, bytes, flags, deadline);
        }
        let mut draft = self.draft(bytes.len(), deadline)?;
        draft.bytes().copy_from_slice(bytes);
        prepare(self)?;
        self.commit(draft, bytes.len(), flags)
    }

    fn send_in_pieces(
        &mut self,
        prepare: impl FnOnce(&mut Self) -> Result<(), Cause>,
        bytes: &[u8],
        flags: u8,
        deadline: Option<Deadline>,
    ) -> Result<(), Cause> {
        let piece = self.piece;
        let total = (bytes.len() as u64).to_le_bytes();
        let (first, rest) = bytes.split_at(piece - total.len());
        let mut draft = self.draft(piece, deadline)?;
        draft.bytes()[..total.len()].copy_from_slice(&total);
        draft.bytes()[total.len()..].copy_from_slice(first);
        self.commit(draft, piece, flags | BEGIN)?;
        let (parts, last) = rest.split_at((rest.len() - 1) / piece * piece);
        for part in parts.chunks(piece) {
            let mut draft = self.draft(part.len(), deadline)?;
            draft.bytes().copy_from_slice(part);
            self.commit(draft, part.len(), CONTINUE)?;
        }
        let mut draft = self.draft(last.len(), deadline)?;
        draft.bytes().copy_from_slice(last);
        prepare(self)?;
        self.commit(draft, last.len(), CONTINUE)
    }

    /// Finds room for one frame, waiting for it until `deadline`.
    #[inline]
    pub(super) fn draft(
        &mut self,
        length: usize,
        deadline: Option<Deadline>,
    ) -> Result<Draft, Cause> {
        self.check()?;
        let Writer::Frames(ring) = &mut self.ring else { return Err(not_framed().into()) };
        if let Some(draft) = draft(ring, length)? {
            return Ok(draft);
        }
        self.draft_when_free(length, deadline)
    }

    #[cold]
    fn draft_when_free(
        &mut self,
        length: usize,
        deadline: Option<Deadline>,
    ) -> Result<Draft, Cause> {
        let deadline = deadline.ok_or_else(|| in_vain(&self.end))?;
        let Writer::Frames(ring) = &mut self.ring else { return Err(not_framed().into()) };
        wait_for_reader(&self.end, self.how, deadline, || match draft(ring, length) {
            Ok(Some(draft)) => Some(Ok(draft)),
            Ok(None) => None,
            Err(error) => Some(Err(error.into())),
        })
    }

    /// Publishes a frame.
    #[inline]
    pub(super) fn commit(&mut self, draft: Draft, length: usize, flags: u8) -> Result<(), Cause> {
        let Writer::Frames(ring) = &mut self.ring else { return Err(not_framed().into()) };
        draft.commit(ring, length, flags);
        self.end.their_side().notify(self.how);
        Ok(())
    }

    /// Whether this half may send: it is this process's, and somebody will read.
    #[inline]
    pub(super) fn check(&mut self) -> Result<(), Cause> {
        self.check_ours()?;
        if self.end.their_side().is_closed() { Err(self.disconnected()) } else { Ok(()) }
    }

    /// Whether this half is this process's.
    #[inline]
    pub(super) fn check_ours(&self) -> Result<(), Cause> {
        if !self.end.is_valid() {
            self.end.follow_fork()?;
        }
        Ok(())
    }

    #[cold]
    fn disconnected(&self) -> Cause {
        disconnected(self.end.their_side())
    }
}

/// Waits on our seat until `attempt` gets somewhere, the reader is gone, or the deadline passes.
fn wait_for_reader<R>(
    end: &End,
    how: Fence,
    deadline: Deadline,
    mut attempt: impl FnMut() -> Option<Result<R, Cause>>,
) -> Result<R, Cause> {
    let mut outcome = None;
    let waited = end.our_side().seat.wait(
        end.terms(how, deadline),
        || {
            let gone = end.their_side().is_closed();
            outcome = if gone { Some(Err(disconnected(end.their_side()))) } else { attempt() };
            outcome.is_some()
        },
        || end.suspect_peer(),
    );
    match (waited, outcome) {
        (Waited::Ready, Some(outcome)) => outcome,
        _ => Err(Cause::TimedOut),
    }
}

/// A buffer for the next message: what a long one took is given back.
pub(super) fn kept(bytes: Vec<u8>) -> Vec<u8> {
    if bytes.capacity() > SCRATCH_MAX { Vec::new() } else { bytes }
}

/// A look that does not wait found nothing to do. Who only ever looks hears of deaths as well.
#[cold]
pub(super) fn in_vain(end: &End) -> Cause {
    end.looked_in_vain();
    Cause::WouldBlock
}

/// What the flags of the other side say.
pub(super) fn disconnected(side: &Side) -> Cause {
    Cause::Disconnected { died: side.has_died() }
}

pub(super) fn not_slots() -> Error {
    Error::new(ErrorKind::Misuse, "slots of a pipe that carries frames")
}

pub(super) fn not_framed() -> Error {
    Error::new(ErrorKind::Misuse, "bytes on a pipe that carries plain values")
}

#[cfg(test)]
mod tests {
    use crate::channel::{Connection, Nothing, Pipe};
    use crate::raw::lane::Geometry;

    #[test]
    fn a_scribbled_geometry_changes_no_pipe_that_is_attached() {
        for capacity in [0, 1, 33, u64::MAX] {
            let (mut here, mut there) = Pipe::duplex::<(), ()>().unwrap();
            let end = here.outlet.as_ref().unwrap().end();
            let owner = end.our_side().owner().unwrap();
            end.lane().prepare(Geometry { slot: None, capacity, fingerprint: 0 }, owner);
            here.send_bytes(&[7; 40_000]).unwrap();
            assert_eq!(there.recv_bytes().unwrap(), [7; 40_000]);
        }
    }

    /// The count of letters arrives in a parcel, and overflowed when it was as large as it can be.
    #[test]
    fn the_number_of_letters_wraps_around() {
        let (mut here, mut there) = Pipe::simplex::<Connection<u8, Nothing>>().unwrap();
        here.outlet.as_mut().unwrap().letters = u64::MAX;
        for _ in 0..2 {
            let (out, _inn) = Pipe::simplex::<u8>().unwrap();
            here.send(out).unwrap();
            assert!(there.try_recv().is_ok());
        }
    }
}
