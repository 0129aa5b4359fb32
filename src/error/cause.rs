//! Why a message did not pass, before anybody is told.

use super::{Error, ErrorKind};

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

impl Cause {
    /// The error of this cause, which describes it in these words.
    pub(super) fn into_error(self, message: String) -> Error {
        let kind = match self {
            Self::Disconnected { .. } => ErrorKind::Disconnected,
            Self::WouldBlock => ErrorKind::WouldBlock,
            Self::TimedOut => ErrorKind::Timeout,
            Self::Failed(error) => return error,
        };
        Error::new(kind, message)
    }
}
