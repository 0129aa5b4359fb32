//! What a handle may do: both ends, or one of them.

use crate::raw::swap::handle::Ends;

/// The ends of this type of handle.
pub(super) fn ends_of<E: End>() -> Ends {
    match E::HAS {
        (true, true) => Ends::BOTH,
        (true, false) => Ends::SENDER,
        (false, true) => Ends::RECEIVER,
        (false, false) => Ends::NONE,
    }
}

mod sealed {
    pub trait Sealed {
        /// Whether there is a sending end, and a receiving one.
        const HAS: (bool, bool);
    }
}

use sealed::Sealed;

/// Which ends of a queue a handle has: [`Both`], [`Sending`] or [`Receiving`].
pub trait End: Sealed {}

/// Handles that can send.
pub trait CanSend: End {}

/// Handles that can receive.
pub trait CanReceive: End {}

/// Both ends: a [`Queue`](crate::Queue).
#[derive(Clone, Copy, Debug)]
pub enum Both {}

/// The sending end alone: a [`Sender`](crate::Sender).
#[derive(Clone, Copy, Debug)]
pub enum Sending {}

/// The receiving end alone: a [`Receiver`](crate::Receiver).
#[derive(Clone, Copy, Debug)]
pub enum Receiving {}

impl Sealed for Both {
    const HAS: (bool, bool) = (true, true);
}
impl Sealed for Sending {
    const HAS: (bool, bool) = (true, false);
}
impl Sealed for Receiving {
    const HAS: (bool, bool) = (false, true);
}
impl End for Both {}
impl End for Sending {}
impl End for Receiving {}
impl CanSend for Both {}
impl CanSend for Sending {}
impl CanReceive for Both {}
impl CanReceive for Receiving {}
