//! What can happen to who waits at a barrier.

use std::fmt;

use super::{Error, ErrorKind};

/// Why a party did not get past a barrier.
///
/// A barrier that is broken stays so until it is `reset`.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use multiproc::{Barrier, BarrierError};
///
/// let barrier = Barrier::new(2)?;
/// // The other one does not come, and what it would wait for is over.
/// let gave_up = barrier.wait_timeout(Duration::from_millis(1));
/// assert!(matches!(gave_up, Err(BarrierError::TimedOut)));
/// assert!(matches!(barrier.wait(), Err(BarrierError::Broken)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum BarrierError {
    /// A party died, gave up or panicked; or somebody aborted the barrier, or reset it.
    Broken,
    /// The others did not come in time. The barrier is broken, for all of them.
    TimedOut,
    /// Something else: the barrier is damaged, or belongs to the parent of this fork.
    Failed(Error),
}

impl BarrierError {
    /// Whether somebody else broke the barrier.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Barrier;
    ///
    /// let barrier = Barrier::new(2)?;
    /// barrier.abort()?;
    /// assert!(barrier.wait().unwrap_err().is_broken());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken)
    }

    /// Whether the others did not come in time, so that this wait broke the barrier.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Barrier;
    ///
    /// let barrier = Barrier::new(2)?;
    /// let error = barrier.wait_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut)
    }

    /// The error behind it, if it is none of the above.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Barrier;
    ///
    /// let barrier = Barrier::new(2)?;
    /// barrier.abort()?;
    /// // Broken, and nothing else.
    /// assert!(barrier.wait().unwrap_err().error().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<BarrierError> for Error {
    fn from(error: BarrierError) -> Self {
        let kind = match error {
            BarrierError::Failed(error) => return error,
            BarrierError::Broken => ErrorKind::Broken,
            BarrierError::TimedOut => ErrorKind::Timeout,
        };
        Self::new(kind, error.to_string())
    }
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str(
                "the barrier is broken: a party died or gave up, or it was aborted or reset; see \
                 to the parties, then call `reset`",
            ),
            Self::TimedOut => f.write_str(
                "the other parties did not come to the barrier in time, so it is broken: see to \
                 them, then call `reset`",
            ),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BarrierError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().map(|error| error as _)
    }
}
