//! The one error of everything that is not a hot path.

mod barrier;
mod cause;
mod lock;
mod message;
mod travel;

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

pub use barrier::BarrierError;
pub(crate) use cause::{Cause, Way};
pub use lock::LockError;
pub use message::{RecvError, SendError};

/// The result of the operations that set things up or take them down.
///
/// # Examples
/// ```
/// use multiproc::{Event, Lock};
///
/// fn prepare() -> multiproc::Result<(Lock, Event)> {
///     Ok((Lock::new()?, Event::new()?))
/// }
///
/// let (lock, event) = prepare()?;
/// assert!(!lock.is_locked() && !event.is_set());
/// # Ok::<(), multiproc::Error>(())
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed: a [kind](ErrorKind), the object that it concerned, and the cause.
///
/// Hot operations have errors of their own that give the value back
/// ([`SendError`](crate::SendError), [`RecvError`](crate::RecvError)).
///
/// # Examples
/// ```
/// use multiproc::{ErrorKind, Event};
///
/// let error = Event::open("nobody-has-made-this").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert!(error.to_string().contains("nobody-has-made-this"));
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    object: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of failure an [`Error`] reports.
///
/// # Examples
/// Whoever comes second goes on with what is there:
/// ```
/// use multiproc::{ErrorKind, Name, Value};
///
/// let name = Name::new(&format!("kind-{}", std::process::id()))?;
/// let total = match Value::create(&name, 0u64) {
///     Err(error) if error.kind() == ErrorKind::Exists => Value::open(&name)?,
///     made => made?,
/// };
/// assert_eq!(total.get()?, 0);
/// name.unlink()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused; the cause is the `io::Error`.
    Os,
    /// A named limit was reached: file descriptors, processes, participants, blocks, sizes.
    Limit,
    /// There is not enough memory.
    Memory,
    /// Bytes in shared memory are not what they must be: another participant wrote over them.
    Corrupt,
    /// A value could not be turned into bytes, or bytes not into a value.
    Codec,
    /// A handle was used where it does not belong: serialized outside a parcel, or after it moved.
    Misuse,
    /// The handle was inherited by `fork` and belongs to the other process.
    Forked,
    /// The function is not in the program's own image, so another process could not find it.
    Image,
    /// A process could not be started.
    Spawn,
    /// The other side is gone.
    Disconnected,
    /// The deadline passed.
    Timeout,
    /// Nothing could be done without waiting, and the call was not one that waits.
    WouldBlock,
    /// This thread would wait for itself.
    Deadlock,
    /// A function of another process, a task of a pool, or a call of a hosted object, has no
    /// result: it panicked, or the workers do not stay alive.
    Worker,
    /// What a lock guards may be half written: an owner died or panicked.
    Poisoned,
    /// A barrier was broken by somebody who died, gave up or aborted it.
    Broken,
    /// There are no such elements in an array or a list.
    Bounds,
    /// Nothing has this name.
    NotFound,
    /// Shared memory has this name already, or a process has what this call is to replace or to
    /// take: a [`Name`](crate::Name) is taken, in use, or both ends of its pipe are.
    Exists,
    /// Two programs mean different things: what one has made is not what the other one asks for.
    Mismatch,
    /// A [`Listener`](crate::Listener) can not have this place in the file system: somebody listens
    /// there, or something else is there.
    InUse,
    /// One side did not let the other in: another user, another key, other messages, or no
    /// handshake at all. It concerns that one connection alone.
    Refused,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, object: impl Into<String>) -> Self {
        Self { inner: Box::new(Inner { kind, object: object.into(), source: None }) }
    }

    pub(crate) fn because(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// The kind of failure.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Name};
    ///
    /// let error = Name::new("not/a/name").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Misuse);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The `errno` behind this error, if the operating system was the cause.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Process;
    ///
    /// fn child(_: ()) {}
    ///
    /// let error = Process::builder().current_dir("/no/such/folder").spawn(child, ()).unwrap_err();
    /// assert_eq!(error.raw_os_error(), Some(2)); // ENOENT
    /// ```
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.inner.source.as_ref()?.downcast_ref::<io::Error>()?.raw_os_error()
    }
}

/// Says of an `io::Error` what was being done, and to what.
pub(crate) trait Context<T> {
    fn context(self, object: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, object: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| {
            let kind = match cause.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE | libc::ETOOMANYREFS | libc::EAGAIN) => {
                    ErrorKind::Limit
                }
                Some(libc::ENOMEM | libc::ENOSPC) => ErrorKind::Memory,
                Some(libc::ETIMEDOUT) => ErrorKind::Timeout,
                // Our own words for bytes that came from outside.
                None if cause.kind() == io::ErrorKind::InvalidData => ErrorKind::Corrupt,
                _ => ErrorKind::Os,
            };
            Error::new(kind, object()).because(cause)
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.source {
            Some(source) => write!(f, "{}: {source}", self.inner.object),
            None => f.write_str(&self.inner.object),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.inner.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.inner.source.as_deref()?;
        Some(source as &(dyn std::error::Error + 'static))
    }
}
