//! Long messages: what the flags of frames mean, and how pieces become a message again.
//!
//! How long it is to be is said by bytes that came from outside, so memory is taken for what has
//! come, and for what is still to come only where it is little.

use crate::error::{Error, ErrorKind, Result};
use crate::raw::wait::Fence;
use crate::sys::memfd;

use super::end::End;
use super::outlet::not_framed;
use super::ring::{Reader, overwrite, payload};

/// The frame's handles came in a letter, whose number is the last eight bytes of the message.
pub(super) const CARGO: u8 = 1;
/// The frame is the first of several, and begins with the length of the whole message, 8 bytes.
pub(super) const BEGIN: u8 = 2;
/// The frame goes on with a message that has begun. One that never ends is dropped by the next.
pub(super) const CONTINUE: u8 = 4;

/// The length of a long message, at the front of its first frame.
pub(super) const LENGTH: usize = 8;

/// After so many pieces of a long message a receiver looks at the clock again.
const PIECES_AT_A_TIME: u32 = 16;

/// A longer message is believed only if the machine has that much memory, and gets it as it comes.
const EAGER_MAX: u64 = 16 << 20;

/// In the place of a long message's length: its first frame was taken before.
pub(super) const TAKEN: u64 = u64::MAX;

/// A message in several frames.
#[derive(Debug, Default)]
pub(super) struct Long {
    pub(super) bytes: Vec<u8>,
    /// How many bytes are still to come.
    missing: u64,
    pub(super) flags: u8,
    pub(super) state: Stage,
}

/// How far a long message has come.
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
    /// Takes in the first frame of a message, which says how long it is.
    pub(super) fn begin(&mut self, piece: &[u8], flags: u8) -> Result<()> {
        let begin = piece.split_first_chunk::<8>();
        let begin = begin.map(|(total, piece)| (u64::from_le_bytes(*total), piece));
        let Some((total, piece)) = begin.filter(|(total, _)| *total != TAKEN) else {
            *self = Self::default();
            return Err(Error::new(ErrorKind::Corrupt, "the first frame of a long message"));
        };
        *self = Self { missing: total, flags, state: Stage::Begun, ..Self::default() };
        let believed = total <= EAGER_MAX || memfd::is_available(total);
        let eager = total.min(EAGER_MAX) as usize;
        if !believed || self.bytes.try_reserve_exact(eager).is_err() {
            self.state = Stage::Skipped;
            self.go_on(piece)?;
            return Err(no_memory(total));
        }
        self.go_on(piece)
    }

    /// Takes in another frame of it.
    pub(super) fn go_on(&mut self, piece: &[u8]) -> Result<()> {
        let missing = self.missing.checked_sub(piece.len() as u64);
        let is_begun = matches!(self.state, Stage::Begun | Stage::Skipped);
        // No writer sends an empty piece; a ring full of them would never end.
        let Some(missing) = missing.filter(|_| is_begun && !piece.is_empty()) else {
            *self = Self::default();
            return Err(beyond_end());
        };
        self.missing = missing;
        let mut gone_on = Ok(());
        if self.state == Stage::Begun {
            if self.bytes.try_reserve(piece.len()).is_ok() {
                self.bytes.extend_from_slice(piece);
            } else {
                gone_on = Err(no_memory(self.bytes.len() as u64 + piece.len() as u64 + missing));
                self.bytes = Vec::new();
                self.state = Stage::Skipped;
            }
        }
        if missing == 0 {
            self.state = if self.state == Stage::Begun { Stage::Whole } else { Stage::None };
        }
        gone_on
    }
}

fn no_memory(total: u64) -> Error {
    Error::new(ErrorKind::Memory, format!("receive a message of {total} bytes"))
}

/// What a look at the ring came to, if it came to anything.
#[derive(Clone, Copy, Debug)]
pub(super) enum Progress {
    /// A whole message is at hand, with these flags.
    Message(u8),
    /// Pieces of a long one, and there may be more of them.
    Pieces,
}

/// Takes in pieces of a long message until a whole message is at hand, or enough were taken.
pub(super) fn advance<T>(
    ring: &mut Reader<T>,
    long: &mut Long,
    end: &End,
    how: Fence,
) -> Result<Option<Progress>> {
    let Reader::Frames(ring) = ring else { return Err(not_framed()) };
    for _ in 0..PIECES_AT_A_TIME {
        if long.state == Stage::Whole {
            return Ok(Some(Progress::Message(long.flags & CARGO)));
        }
        let Some(view) = ring.peek()? else { return Ok(None) };
        if view.flags & (BEGIN | CONTINUE) == 0 {
            if long.state != Stage::None {
                *long = Long::default();
            }
            return Ok(Some(Progress::Message(view.flags & CARGO)));
        }
        let piece = payload(ring, &view);
        let taken = if view.flags & BEGIN != 0 {
            let begun = long.begin(piece, view.flags);
            // Bytes that nobody sent anew must not begin another message a lap later.
            overwrite(ring, &view, TAKEN);
            begun
        } else {
            long.go_on(piece)
        };
        ring.release();
        end.their_side().notify(how);
        taken?;
    }
    Ok(Some(Progress::Pieces))
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
    Ok(Some(total.filter(|total| frame.flags == BEGIN && *total > 0)))
}

pub(super) fn beyond_end() -> Error {
    Error::new(ErrorKind::Corrupt, "a frame of no message, or beyond its end")
}
