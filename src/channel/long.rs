//! Long messages: what the flags of frames mean, and how pieces become a message again.

use crate::error::{Error, ErrorKind, Result};
use crate::raw::wait::Fence;

use super::end::End;
use super::outlet::not_framed;
use super::ring::{Reader, payload};

/// The frame's handles came in a letter, whose number is the last eight bytes of the message.
pub(super) const CARGO: u8 = 1;
/// The frame is the first of several, and begins with the length of the whole message, 8 bytes.
pub(super) const BEGIN: u8 = 2;
/// The frame goes on with a message that has begun. One that never ends is dropped by the next.
pub(super) const CONTINUE: u8 = 4;

/// The length of a long message, at the front of its first frame.
pub(super) const LENGTH: usize = 8;

/// A message in several frames.
#[derive(Debug, Default)]
pub(super) struct Long {
    pub(super) bytes: Vec<u8>,
    /// How many bytes are still to come.
    missing: u64,
    pub(super) flags: u8,
    pub(super) state: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// No such message.
    #[default]
    None,
    /// Some of it is in `bytes`.
    Begun,
    /// There was no memory for it: what is missing is passed over.
    Skipped,
    /// All of it is in `bytes`.
    Whole,
}

impl Long {
    fn begin(&mut self, piece: &[u8], flags: u8) -> Result<()> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "the first frame of a long message");
        let (total, piece) = piece.split_first_chunk::<8>().ok_or_else(corrupt)?;
        let total = u64::from_le_bytes(*total);
        *self = Self { missing: total, flags, state: Stage::Begun, ..Self::default() };
        let reserved = usize::try_from(total).map(|total| self.bytes.try_reserve_exact(total));
        if !matches!(reserved, Ok(Ok(()))) {
            self.state = Stage::Skipped;
            self.missing = total.saturating_sub(piece.len() as u64);
            let what = format!("receive a message of {total} bytes");
            return Err(Error::new(ErrorKind::Memory, what));
        }
        self.go_on(piece)
    }

    fn go_on(&mut self, piece: &[u8]) -> Result<()> {
        let missing = self.missing.checked_sub(piece.len() as u64);
        let missing = missing.filter(|_| matches!(self.state, Stage::Begun | Stage::Skipped));
        let Some(missing) = missing else {
            *self = Self::default();
            return Err(beyond_end());
        };
        self.missing = missing;
        if self.state == Stage::Begun {
            self.bytes.extend_from_slice(piece);
        }
        if missing == 0 {
            self.state = if self.state == Stage::Begun { Stage::Whole } else { Stage::None };
        }
        Ok(())
    }
}

/// Takes in pieces of a long message until a whole message is at hand; its flags if it is.
pub(super) fn advance<T>(
    ring: &mut Reader<T>,
    long: &mut Long,
    end: &End,
    how: Fence,
) -> Result<Option<u8>> {
    let Reader::Frames(ring) = ring else { return Err(not_framed()) };
    // Not bounded, but every turn takes a frame that the writer had to send.
    loop {
        if long.state == Stage::Whole {
            return Ok(Some(long.flags & CARGO));
        }
        let Some(view) = ring.peek()? else { return Ok(None) };
        if view.flags & (BEGIN | CONTINUE) == 0 {
            if long.state != Stage::None {
                *long = Long::default();
            }
            return Ok(Some(view.flags & CARGO));
        }
        let piece = payload(ring, &view);
        let taken =
            if view.flags & BEGIN != 0 { long.begin(piece, view.flags) } else { long.go_on(piece) };
        ring.release();
        end.their_side().notify(how);
        taken?;
    }
}

/// Whether a message is at hand, or begins: then how long it will be, if it is a long one without
/// handles of which nothing was taken yet.
pub(super) fn look_for_begin<T>(ring: &mut Reader<T>, long: &Long) -> Result<Option<Option<u64>>> {
    let Reader::Frames(ring) = ring else { return Err(not_framed()) };
    if long.state != Stage::None {
        return Ok(Some(None));
    }
    let Some(frame) = ring.peek()? else { return Ok(None) };
    let total = payload(ring, &frame).first_chunk::<LENGTH>().copied().map(u64::from_le_bytes);
    Ok(Some(total.filter(|_| frame.flags == BEGIN)))
}

pub(super) fn beyond_end() -> Error {
    Error::new(ErrorKind::Corrupt, "a frame of no message, or beyond its end")
}
