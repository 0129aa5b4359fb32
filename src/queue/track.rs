//! The ring that a handle stands at: a chain of swap rings, or a wide one, where a message is a
//! word.

use crate::error::{Cause, Result};
use crate::raw::Corrupt;
use crate::raw::queue::RingAt;
use crate::raw::swap::chain::ChainHand;
use crate::raw::swap::{Popped, Pushed};
use crate::raw::wide::memory::WideAt;
use crate::raw::wide::{WideCursor, WidePopped, WideRing};

use super::body::Body;
use super::core::Core;

/// What one handle knows of its queue's ring; private to its process.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the larger one is the usual one")]
pub(super) enum Track {
    Swap(ChainHand<RingAt>),
    Wide(Box<WideTrack>),
}

/// A handle at a wide ring.
#[derive(Debug)]
pub(super) struct WideTrack {
    ring: WideRing<WideAt>,
    cursor: WideCursor,
    /// The message that is being written, or was read.
    message: u64,
}

impl Track {
    /// What handle `handle` of a queue knows in the beginning.
    pub(super) fn new(core: &Core, handle: u32) -> Result<Self, Corrupt> {
        match core.at.wide_ring() {
            Some(ring) => {
                let ring = WideRing::new(ring?);
                let (cursor, message) = (WideCursor::default(), 0);
                Ok(Self::Wide(Box::new(WideTrack { ring, cursor, message })))
            }
            None => Ok(Self::Swap(core.chain.hand(handle)?)),
        }
    }

    /// The hand of a handle whose messages have blocks.
    #[inline]
    pub(super) fn hand(&mut self) -> Result<&mut ChainHand<RingAt>, Cause> {
        match self {
            Self::Swap(hand) => Ok(hand),
            Self::Wide(_) => Err(Corrupt.into()),
        }
    }

    /// Lets nothing be sent any more, by anybody.
    pub(super) fn close(&self, core: &Core) -> Result<(), Corrupt> {
        match self {
            Self::Swap(_) => core.chain.seal(),
            Self::Wide(wide) => wide.ring.close(&mut wide.cursor.clone()),
        }
    }

    /// How many messages were ever pushed and popped. Exact while nobody acts.
    pub(super) fn totals(&self, core: &Core) -> Result<(u64, u64), Corrupt> {
        match self {
            Self::Swap(hand) => core.chain.totals(&mut hand.clone()),
            Self::Wide(wide) => wide.ring.totals(&mut wide.cursor.clone()),
        }
    }

    /// How many messages there are. Exact while nobody acts.
    pub(super) fn len(&self, core: &Core) -> Result<u64, Corrupt> {
        match self {
            Self::Swap(hand) => core.chain.len(&mut hand.clone()),
            Self::Wide(wide) => wide.ring.len(&mut wide.cursor.clone()),
        }
    }
}

impl WideTrack {
    /// Where the message is written, and read.
    #[inline]
    pub(super) fn body(&mut self, length: usize) -> Body {
        Body::in_word(&mut self.message, length)
    }

    #[inline]
    pub(super) fn push(&mut self) -> Result<Pushed, Corrupt> {
        self.ring.push(&mut self.cursor, self.message)
    }

    /// What a pop would find.
    pub(super) fn peek(&mut self) -> Result<Popped, Corrupt> {
        self.ring.peek(&mut self.cursor)
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Result<Popped, Corrupt> {
        Ok(match self.ring.pop(&mut self.cursor)? {
            WidePopped::Done(message) => {
                self.message = message;
                Popped::Done
            }
            WidePopped::Empty => Popped::Empty,
            WidePopped::Closed => Popped::Closed,
        })
    }
}
