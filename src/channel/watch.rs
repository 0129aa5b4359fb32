//! A connection as one of several things that are waited for.

use crate::error::{Cause, Error, ErrorKind, Result};
use crate::raw::wait_many::{Post, Watched};

use super::connection::Connection;
use super::inlet::Inlet;
use super::long::{Progress, advance};
use super::ring::Reader;

/// After so many looks a message that still grows is waited for by whoever receives it. Bytes that
/// begin message after message would have a look go on for ever.
const LOOKS_MAX: u32 = 4096;

impl<T, C> Inlet<T, C> {
    /// Whether to receive would not wait: there is a message, an error, or an end. Pieces of a long
    /// message are taken in, and an error of theirs is kept for the next call.
    fn is_at_hand(&mut self) -> bool {
        if self.owed.is_some() {
            return true;
        }
        // What was sent before the writer closed is still read, so the flags are asked first.
        let is_gone = self.end.their_side().is_closed();
        match self.look() {
            Ok(found) => found || is_gone,
            Err(cause) => {
                self.owed = Some(cause);
                true
            }
        }
    }

    fn look(&mut self) -> Result<bool, Cause> {
        let Self { ring, end, long, how, .. } = self;
        if let Reader::Slots(ring) = ring {
            return Ok(!ring.is_empty().map_err(Error::from)?);
        }
        for _ in 0..LOOKS_MAX {
            match advance(ring, long, end, *how)? {
                None => return Ok(false),
                Some(Progress::Message(_)) => break,
                Some(Progress::Pieces) => {}
            }
        }
        Ok(true)
    }
}

impl<Out, In, C> Connection<Out, In, C> {
    /// The connection, for one who waits for a message, or its end.
    pub(crate) fn watched(&mut self) -> Result<&mut dyn Watched> {
        let Some(inlet) = &mut self.inlet else {
            let what = "wait for a message on a connection that only sends";
            return Err(Error::new(ErrorKind::Misuse, what));
        };
        if !inlet.end.is_valid() {
            inlet.end.follow_fork()?;
        }
        Ok(inlet)
    }
}

impl<T, C> Watched for Inlet<T, C> {
    fn post(&self) -> Post<'_> {
        let epoch = self.end.shared().segment().death_epoch();
        self.end.our_side().seat.post(epoch, self.how)
    }

    #[inline]
    fn is_ready(&mut self) -> bool {
        self.is_at_hand()
    }

    fn suspect(&mut self) {
        self.end.suspect_peer();
    }
}
