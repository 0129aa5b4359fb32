//! A long message, put together from the frames that it streams through the ring in.
//!
//! How long it is to be is said by bytes that came from outside, so memory is taken for what has
//! come, and for what is still to come only where it is little.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::memfd;

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
        let believed =
            total <= EAGER_MAX || memfd::available().is_none_or(|available| total <= available);
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
            return Err(Error::new(ErrorKind::Corrupt, "a frame of no message, or beyond its end"));
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
