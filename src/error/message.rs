//! What can happen to a message. Hot errors: no allocation where there is nothing to tell, and what
//! was not sent comes back.

use std::fmt;

use super::Error;
use super::cause::{Cause, Way};

/// A message that was not sent, and why. It is still there: [`into_inner`](Self::into_inner).
///
/// # Examples
/// ```
/// use multiproc::Queue;
///
/// let (mut sender, receiver) = Queue::channel(10)?;
/// drop(receiver);
/// let error = sender.send("hello".to_owned()).unwrap_err();
/// assert_eq!(error.to_string(), "sending on a closed queue");
/// assert_eq!(error.into_inner(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SendError<T> {
    value: T,
    cause: Cause,
    way: Way,
}

/// Why nothing was received.
///
/// # Examples
/// ```
/// use multiproc::Pipe;
///
/// let (here, mut there) = Pipe::simplex::<u64>()?;
/// assert_eq!(there.try_recv().unwrap_err().to_string(), "receiving on an empty pipe");
/// drop(here);
/// assert_eq!(there.try_recv().unwrap_err().to_string(), "receiving on a closed pipe");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RecvError {
    cause: Cause,
    way: Way,
}

/// For `?` in functions that return a [`Result`](crate::Result) of this crate. The message that was
/// not sent is dropped.
impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Self {
        let message = error.to_string();
        error.cause.into_error(message)
    }
}

/// For `?` in functions that return a [`Result`](crate::Result) of this crate.
impl From<RecvError> for Error {
    fn from(error: RecvError) -> Self {
        let message = error.to_string();
        error.cause.into_error(message)
    }
}

impl<T> SendError<T> {
    pub(crate) fn new(way: Way, value: T, cause: Cause) -> Self {
        Self { value, cause, way }
    }

    /// The message that was not sent.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Queue;
    ///
    /// let (mut small, mut large) = (Queue::bounded(1)?, Queue::unbounded()?);
    /// for number in 0..3 {
    ///     if let Err(error) = small.try_send(number) {
    ///         large.send(error.into_inner())?;
    ///     }
    /// }
    /// assert_eq!(large.drain().collect::<Vec<_>>(), [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Whether the other end was closed, or its process died. Nothing will ever be sent again.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, there) = Pipe::simplex::<u64>()?;
    /// drop(there);
    /// assert!(here.send(7).unwrap_err().is_disconnected());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self.cause, Cause::Disconnected { .. })
    }

    /// Whether the other end is gone because its process died.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Connection, Nothing, Pipe, Process};
    ///
    /// fn crash(_peer: Connection<Nothing, u64>) {
    ///     std::process::exit(1);
    /// }
    ///
    /// let (mut here, there) = Pipe::simplex()?;
    /// Process::spawn(crash, there)?.join().unwrap_err();
    /// assert!(here.send(7).unwrap_err().is_peer_dead());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_peer_dead(&self) -> bool {
        matches!(self.cause, Cause::Disconnected { died: true })
    }

    /// Whether there was no room, and the call was not one that waits.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(1)?;
    /// queue.try_send(1)?;
    /// assert!(queue.try_send(2).unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[doc(alias = "Full")]
    pub fn is_full(&self) -> bool {
        matches!(self.cause, Cause::WouldBlock)
    }

    /// Whether there was no room until the time-out.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(1)?;
    /// queue.send(1)?;
    /// assert!(queue.send_timeout(2, Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.cause, Cause::TimedOut)
    }

    /// The error behind it, if it was neither of the above: the value could not be encoded, is too
    /// long for the pipe or queue, memory ran out, or the pipe or queue is damaged.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Pipe};
    ///
    /// let (mut here, _there) = Pipe::builder().capacity(256).simplex::<String>()?;
    /// let error = here.try_send("x".repeat(1000)).unwrap_err();
    /// assert_eq!(error.error().unwrap().kind(), ErrorKind::Limit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    ///
    /// # Examples
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<u64>()?;
    /// here.send(7)?;
    /// drop(here);
    /// assert!(there.recv().is_ok());
    /// assert!(there.recv().unwrap_err().is_disconnected());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[doc(alias = "EOFError")]
    pub fn is_disconnected(&self) -> bool {
        matches!(self.cause, Cause::Disconnected { .. })
    }

    /// Whether the other end is gone because its process died.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Connection, Nothing, Pipe, Process};
    ///
    /// fn crash(mut peer: Connection<u64, Nothing>) {
    ///     peer.send(7).unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let (there, mut here) = Pipe::simplex()?;
    /// let child = Process::spawn(crash, there)?;
    /// // What it sent before is there.
    /// assert_eq!(here.recv()?, 7);
    /// assert!(here.recv().unwrap_err().is_peer_dead());
    /// child.join().unwrap_err();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_peer_dead(&self) -> bool {
        matches!(self.cause, Cause::Disconnected { died: true })
    }

    /// Whether there was no message, and the call was not one that waits.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue: Queue<u64> = Queue::bounded(1)?;
    /// assert!(queue.try_recv().unwrap_err().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[doc(alias = "Empty")]
    pub fn is_empty(&self) -> bool {
        matches!(self.cause, Cause::WouldBlock)
    }

    /// Whether there was no message until the time-out.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Queue;
    ///
    /// let mut queue: Queue<u64> = Queue::bounded(1)?;
    /// assert!(queue.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.cause, Cause::TimedOut)
    }

    /// The error behind it, if it was neither of the above: the bytes are not those of the expected
    /// type, the buffer is too short, memory ran out, or the pipe or queue is damaged.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Queue};
    ///
    /// let mut words: Queue<String> = Queue::bounded(10)?;
    /// words.send_bytes(b"\x01\xff")?;
    /// let error = words.recv().unwrap_err();
    /// assert_eq!(error.error().unwrap().kind(), ErrorKind::Codec);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

#[cfg(test)]
mod tests {
    use super::super::ErrorKind;
    use super::*;

    #[test]
    fn an_error_of_a_message_is_an_error_of_the_same_words() {
        let causes = [
            (Cause::Disconnected { died: true }, ErrorKind::Disconnected),
            (Cause::WouldBlock, ErrorKind::WouldBlock),
            (Cause::TimedOut, ErrorKind::Timeout),
        ];
        for (cause, kind) in causes {
            let error = RecvError::new(Way::Pipe, cause);
            let words = error.to_string();
            let error = Error::from(error);
            assert_eq!((error.kind(), error.to_string()), (kind, words));
        }
        let failed = Error::new(ErrorKind::Codec, "no such value");
        let error = Error::from(SendError::new(Way::Queue, 7, failed.into()));
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Codec, "no such value".into()));
        let full = Error::from(SendError::new(Way::Queue, 7, Cause::WouldBlock));
        assert_eq!(
            (full.kind(), full.to_string()),
            (ErrorKind::WouldBlock, "sending on a full queue".into())
        );
    }
}
