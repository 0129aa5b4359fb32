//! A queue as one of several things that are waited for.

use crate::error::Result;
use crate::raw::Corrupt;
use crate::raw::swap::Popped;
use crate::raw::swap::handle::{self, HandleTable, State};
use crate::raw::wait_many::{Post, Watched};

use super::core::{CLOSED, Core, NO_SENDERS};
use super::ends::CanReceive;
use super::port::Port;
use super::queue::{Queue, no_handle};
use super::track::Track;
use super::waiting::For;

impl Core {
    /// Whether to receive would not wait: there is a message, an error, or an end. Takes nothing.
    fn is_at_hand(&self, track: &mut Track) -> bool {
        if self.at.plan.flags.redelivers && self.has_orphans() {
            return true;
        }
        // What was sent before the queue was closed is still received, so the flags are asked
        // first.
        let is_over = self.flags() & (CLOSED | NO_SENDERS) != 0;
        match track.peek(self) {
            Ok(Popped::Done) | Err(Corrupt) => true,
            Ok(found) => (is_over || found == Popped::Closed) && !self.may_inherit(),
        }
    }

    /// Whether a message of somebody dead waits for a receiver.
    fn has_orphans(&self) -> bool {
        (0..self.at.handles()).any(|other| handle::state(&self.at, other) == State::Orphan)
    }
}

impl Track {
    /// What a pop would find.
    fn peek(&mut self, core: &Core) -> Result<Popped, Corrupt> {
        match self {
            Self::Swap(hand) => core.chain.peek(hand),
            Self::Wide(wide) => wide.peek(),
        }
    }
}

impl<T, C, E: CanReceive> Queue<T, C, E> {
    /// The queue, for one who waits for a message, or its end.
    pub(crate) fn watched(&mut self) -> Result<&mut dyn Watched> {
        let port = self.port.as_mut().ok_or_else(no_handle)?;
        port.check()?;
        Ok(port)
    }
}

impl<T, C> Watched for Port<T, C> {
    fn post(&self) -> Post<'_> {
        let core = &self.core;
        let stool = core.bench(For::Messages).stool(core.at.waiters(), core.waiter(), core.how);
        stool.post(core.shared().segment().death_epoch())
    }

    #[inline]
    fn is_ready(&mut self) -> bool {
        self.owed.is_some() || self.core.is_at_hand(&mut self.track)
    }

    fn suspect(&mut self) {
        self.core.suspect();
    }
}
