//! Why a process that was joined has no result.

use std::fmt;

use crate::error::{Error, ErrorKind};

use super::exit::{ExitStatus, Panic, Signal};

/// Why a process that was joined has no result.
///
/// # Examples
///
/// ```
/// # use multiproc::{JoinError, Process};
/// fn divide((a, b): (u32, u32)) -> u32 {
///     a / b
/// }
/// let error = Process::spawn(divide, (1, 0))?.join().unwrap_err();
/// assert!(error.is_panic());
/// let JoinError::Panicked(panic) = error else { unreachable!() };
/// assert_eq!(panic.message(), "attempt to divide by zero");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The function panicked. The process exited with code 101.
    Panicked(Panic),
    /// The process left with [`std::process::exit`], or something like it, and this code.
    Exited(i32),
    /// The process was killed by this signal.
    Signaled(i32),
    /// The process ended before it could run the function.
    NotStarted(ExitStatus),
    /// The process is gone, and how it ended is not known: the program reaped it itself.
    Lost,
    /// The arguments or the result could not be carried, or this `Process` cannot be joined.
    ///
    /// The kind is [`Codec`](crate::ErrorKind::Codec) if a value did not survive its encoding,
    /// [`Forked`](crate::ErrorKind::Forked) if the process is a child of the process that this one
    /// was forked from, and [`Misuse`](crate::ErrorKind::Misuse) if the result has been taken.
    Error(Error),
}

impl JoinError {
    /// Whether the function panicked.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// fn fail(_: ()) {
    ///     panic!("out of cheese");
    /// }
    /// let error = Process::spawn(fail, ())?.join().unwrap_err();
    /// assert!(error.is_panic());
    /// let child = Process::spawn(|code| -> () { std::process::exit(code) }, 3)?;
    /// let error = child.join().unwrap_err();
    /// assert!(!error.is_panic());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }

    /// The panic, if the function panicked.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// fn fail(_: ()) {
    ///     panic!("out of cheese");
    /// }
    /// let error = Process::spawn(fail, ())?.join().unwrap_err();
    /// assert_eq!(error.panic().map(|panic| panic.message()), Some("out of cheese"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn panic(&self) -> Option<&Panic> {
        if let Self::Panicked(panic) = self { Some(panic) } else { None }
    }

    /// The code that the process exited with instead of returning from the function.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// let child = Process::spawn(|code| -> () { std::process::exit(code) }, 3)?;
    /// let error = child.join().unwrap_err();
    /// assert_eq!((error.code(), error.signal()), (Some(3), None));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(*code),
            Self::NotStarted(status) => status.code(),
            _ => None,
        }
    }

    /// The signal that killed the process.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// # fn sleep(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let child = Process::spawn(sleep, ())?;
    /// child.terminate()?;
    /// assert_eq!(child.join().unwrap_err().signal(), Some(15)); // SIGTERM
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self {
            Self::Signaled(signal) => Some(*signal),
            Self::NotStarted(status) => status.signal(),
            _ => None,
        }
    }

    /// What a process that said nothing died of.
    pub(crate) fn silent(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Signaled(signal),
            (None, None) => Self::Lost,
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => write!(f, "process panicked: {panic}"),
            Self::Exited(code) => write!(f, "process exited with code {code}, without a result"),
            Self::Signaled(signal) => write!(f, "process was killed by {}", Signal(*signal)),
            Self::NotStarted(status) => write!(f, "process ended before it started: {status}"),
            Self::Lost => f.write_str("process ended, and its status was taken by somebody else"),
            Self::Error(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Error(error) = self { error.source() } else { None }
    }
}

impl From<Error> for JoinError {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// For `?` in functions that return a [`Result`](crate::Result) of this crate: of the kind
/// [`Worker`](ErrorKind::Worker) if the function panicked, [`Spawn`](ErrorKind::Spawn) if it was
/// never called, [`Disconnected`](ErrorKind::Disconnected) if the process ended before it returned.
impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        let kind = match error {
            JoinError::Error(error) => return error,
            JoinError::Panicked(_) => ErrorKind::Worker,
            JoinError::NotStarted(_) => ErrorKind::Spawn,
            JoinError::Exited(_) | JoinError::Signaled(_) | JoinError::Lost => {
                ErrorKind::Disconnected
            }
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_process_ended_is_an_error_of_the_same_words() {
        let ends = [
            (JoinError::Exited(3), ErrorKind::Disconnected),
            (JoinError::Lost, ErrorKind::Disconnected),
            (JoinError::Error(Error::new(ErrorKind::Codec, "no such value")), ErrorKind::Codec),
        ];
        for (end, kind) in ends {
            let words = end.to_string();
            let error = Error::from(end);
            assert_eq!((error.kind(), error.to_string()), (kind, words));
        }
    }
}
