//! What can happen to a message. Hot errors: no allocation where there is nothing to tell, and what
//! was not sent comes back.

use std::fmt;

use super::Error;

/// A message that was not sent, and why. It is still there: [`into_inner`](Self::into_inner).
pub struct SendError<T> {
    value: T,
    cause: Cause,
    way: Way,
}

/// Why nothing was received.
pub struct RecvError {
    cause: Cause,
    way: Way,
}

/// What a message was to pass through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Pipe,
    Queue,
}

/// Why a message did not pass.
pub(crate) enum Cause {
    /// The other end is gone.
    Disconnected { died: bool },
    /// Nothing could be done without waiting.
    WouldBlock,
    /// The time-out passed.
    TimedOut,
    /// Something else.
    Failed(Error),
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<T> SendError<T> {
    pub(crate) fn new(way: Way, value: T, cause: Cause) -> Self {
        Self { value, cause, way }
    }

    /// The message that was not sent.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Whether the other end was closed, or its process died. Nothing will ever be sent again.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self.cause, Cause::Disconnected { .. })
    }

    /// Whether the other end is gone because its process died.
    #[must_use]
    pub fn is_peer_dead(&self) -> bool {
        matches!(self.cause, Cause::Disconnected { died: true })
    }

    /// Whether there was no room, and the call was not one that waits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.cause, Cause::WouldBlock)
    }

    /// Whether there was no room until the time-out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.cause, Cause::TimedOut)
    }

    /// The error behind it, if it was neither of the above: the value could not be encoded, is too
    /// long for the pipe or queue, memory ran out, or the pipe or queue is damaged.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match &self.cause {
            Cause::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl RecvError {
    pub(crate) fn new(way: Way, cause: Cause) -> Self {
        Self { cause, way }
    }

    /// Whether the other end was closed, or its process died, and everything it had sent was read.
    #[must_use]
    #[doc(alias = "EOFError")]
    pub fn is_disconnected(&self) -> bool {
        matches!(self.cause, Cause::Disconnected { .. })
    }

    /// Whether the other end is gone because its process died.
    #[must_use]
    pub fn is_peer_dead(&self) -> bool {
        matches!(self.cause, Cause::Disconnected { died: true })
    }

    /// Whether there was no message, and the call was not one that waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.cause, Cause::WouldBlock)
    }

    /// Whether there was no message until the time-out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.cause, Cause::TimedOut)
    }

    /// The error behind it, if it was neither of the above: the bytes are not those of the expected
    /// type, the buffer is too short, memory ran out, or the pipe or queue is damaged.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match &self.cause {
            Cause::Failed(error) => Some(error),
            _ => None,
        }
    }
}

fn describe(
    way: Way,
    cause: &Cause,
    verb: &str,
    block: &str,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let (name, whose_peer_died) = match way {
        Way::Pipe => ("pipe", "pipe whose other process died"),
        Way::Queue => ("queue", "queue whose other end is gone; a process died there"),
    };
    match cause {
        Cause::Disconnected { died: false } => write!(f, "{verb} a closed {name}"),
        Cause::Disconnected { died: true } => write!(f, "{verb} a {whose_peer_died}"),
        Cause::WouldBlock => write!(f, "{verb} {block} {name}"),
        Cause::TimedOut => write!(f, "{verb} a {name}: the time-out passed"),
        Cause::Failed(error) => write!(f, "{verb} a {name}: {error}"),
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(self.way, &self.cause, "sending on", "a full", f)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(self.way, &self.cause, "receiving on", "an empty", f)
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendError({self})")
    }
}

impl fmt::Debug for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvError({self})")
    }
}

impl<T> std::error::Error for SendError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().map(|error| error as _)
    }
}

impl std::error::Error for RecvError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().map(|error| error as _)
    }
}
