//! What can happen to who asks for a lock.

use std::fmt;

use super::{Error, ErrorKind};

/// Why a lock was not simply taken. Of two kinds: the lock was taken, but what it guards may be
/// half written ([`OwnerDied`](Self::OwnerDied), [`Panicked`](Self::Panicked)); or it was not.
///
/// As with [`std::sync::PoisonError`], the first kind has the guard inside:
/// [`into_inner`](Self::into_inner) goes on with it, and `clear_poison` of the lock tells the
/// others that all is well again.
///
/// `?` turns it into an [`Error`] and frees the lock; the lock stays poisoned.
///
/// # Examples
/// ```
/// use multiproc::{Lock, LockError, Process};
///
/// fn crash(lock: Lock) {
///     let _guard = lock.lock().unwrap();
///     std::process::exit(1);
/// }
///
/// let lock = Lock::new()?;
/// let child = Process::spawn(crash, lock.clone())?;
/// let its_pid = child.pid();
/// child.join().unwrap_err();
/// let guard = match lock.lock() {
///     Ok(_) => unreachable!("the child has died with it"),
///     Err(LockError::OwnerDied { guard, pid, .. }) => {
///         assert_eq!(pid, its_pid);
///         guard
///     }
///     Err(error) => return Err(error.into()),
/// };
/// // Put in order what the lock guards, and say so.
/// lock.clear_poison();
/// drop(guard);
/// assert!(lock.lock().is_ok());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[non_exhaustive]
pub enum LockError<G> {
    /// The lock is taken, and a process that had it died before it freed it.
    OwnerDied {
        /// The guard: what is seen through it may be half written.
        guard: G,
        /// The number of the dead process among those that shared the lock.
        participant: u32,
        /// Its process id, as it said itself.
        pid: u32,
    },
    /// The lock is taken, and a thread that had it panicked.
    Panicked {
        /// The guard: what is seen through it may be half written.
        guard: G,
    },
    /// Somebody has the lock, and the call was not one that waits.
    WouldBlock,
    /// Somebody had the lock until the time-out.
    TimedOut,
    /// This very thread has the lock already, and would wait for itself. `try_` verbs say so as
    /// well, as nobody else can free it.
    WouldDeadlock,
    /// Something else, as the kind of the [`Error`] says: there is no such element or range
    /// ([`Bounds`](ErrorKind::Bounds)), too many have it or wait ([`Limit`](ErrorKind::Limit)), the
    /// lock belongs to the parent of this fork ([`Forked`](ErrorKind::Forked)), or it is damaged
    /// ([`Corrupt`](ErrorKind::Corrupt)).
    Failed(Error),
}

impl<G> LockError<G> {
    /// The guard, or the value, if there is one.
    ///
    /// # Examples
    /// Of a value that may be half changed, and is looked at all the same:
    /// ```
    /// use multiproc::{Process, Value};
    ///
    /// fn crash(total: Value<u64>) {
    ///     *total.lock().unwrap() += 1;
    ///     let _guard = total.lock().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let total = Value::new(6u64)?;
    /// Process::spawn(crash, total.clone())?.join().unwrap_err();
    /// assert_eq!(total.get().unwrap_err().into_inner(), Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_inner(self) -> Option<G> {
        match self {
            Self::OwnerDied { guard, .. } | Self::Panicked { guard } => Some(guard),
            _ => None,
        }
    }

    /// The guard of a lock that is only poisoned; every other failure stays one.
    ///
    /// For those who can go on with what a dead owner left:
    /// `lock.lock().or_else(LockError::recover)`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Lock, LockError, Process};
    ///
    /// fn crash(lock: Lock) {
    ///     let _guard = lock.lock().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let lock = Lock::new()?;
    /// Process::spawn(crash, lock.clone())?.join().unwrap_err();
    /// let _guard = lock.lock().or_else(LockError::recover)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the lock was not taken.
    pub fn recover(self) -> Result<G, Error> {
        match self {
            Self::OwnerDied { guard, .. } | Self::Panicked { guard } => Ok(guard),
            other => Err(other.into()),
        }
    }

    /// Whether the lock is taken, and an owner before died or panicked.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Lock;
    ///
    /// let lock = Lock::new()?;
    /// let panicked = std::thread::scope(|threads| {
    ///     let thread = threads.spawn(|| {
    ///         let _guard = lock.lock().unwrap();
    ///         panic!("in the middle of something");
    ///     });
    ///     thread.join()
    /// });
    /// assert!(panicked.is_err());
    /// assert!(lock.lock().unwrap_err().is_poisoned());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        matches!(self, Self::OwnerDied { .. } | Self::Panicked { .. })
    }

    /// Whether a process died with the lock in its hands.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Lock, Process};
    ///
    /// fn crash(lock: Lock) {
    ///     let _guard = lock.lock().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let lock = Lock::new()?;
    /// Process::spawn(crash, lock.clone())?.join().unwrap_err();
    /// assert!(lock.lock().unwrap_err().is_owner_dead());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_owner_dead(&self) -> bool {
        matches!(self, Self::OwnerDied { .. })
    }

    /// Whether somebody has the lock, and the call was not one that waits.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Lock, Process};
    ///
    /// fn is_held(lock: Lock) -> bool {
    ///     lock.try_lock().is_err_and(|error| error.is_held())
    /// }
    ///
    /// let lock = Lock::new()?;
    /// let _guard = lock.lock()?;
    /// assert!(Process::spawn(is_held, lock.clone())?.join().unwrap());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self, Self::WouldBlock)
    }

    /// Whether somebody had the lock until the time-out.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::{Lock, Process};
    ///
    /// fn gives_up(lock: Lock) -> bool {
    ///     lock.lock_timeout(Duration::from_millis(1)).is_err_and(|error| error.is_timeout())
    /// }
    ///
    /// let lock = Lock::new()?;
    /// let _guard = lock.lock()?;
    /// assert!(Process::spawn(gives_up, lock.clone())?.join().unwrap());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut)
    }

    /// The error behind it, if it is none of the above.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, ErrorKind};
    ///
    /// let array = Array::from_slice(&[1, 2, 3])?;
    /// let error = array.get(3).unwrap_err();
    /// assert_eq!(error.error().unwrap().kind(), ErrorKind::Bounds);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// The same error with another guard.
    pub(crate) fn map<H>(self, with: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            Self::OwnerDied { guard, participant, pid } => {
                LockError::OwnerDied { guard: with(guard), participant, pid }
            }
            Self::Panicked { guard } => LockError::Panicked { guard: with(guard) },
            Self::WouldBlock => LockError::WouldBlock,
            Self::TimedOut => LockError::TimedOut,
            Self::WouldDeadlock => LockError::WouldDeadlock,
            Self::Failed(error) => LockError::Failed(error),
        }
    }
}

impl<G> From<LockError<G>> for Error {
    fn from(error: LockError<G>) -> Self {
        let kind = match error {
            LockError::Failed(error) => return error,
            LockError::OwnerDied { .. } | LockError::Panicked { .. } => ErrorKind::Poisoned,
            LockError::WouldBlock => ErrorKind::WouldBlock,
            LockError::TimedOut => ErrorKind::Timeout,
            LockError::WouldDeadlock => ErrorKind::Deadlock,
        };
        Self::new(kind, error.to_string())
    }
}

impl<G> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied { participant, pid, .. } => write!(
                f,
                "process {pid} (participant {participant}) died with the lock in its hands: check \
                 what it guards, then call `clear_poison`"
            ),
            Self::Panicked { .. } => f.write_str(
                "a thread panicked with the lock in its hands: check what it guards, then call \
                 `clear_poison`",
            ),
            Self::WouldBlock => f.write_str("somebody has the lock: `who_holds` tells who"),
            Self::TimedOut => {
                f.write_str("somebody had the lock until the time-out: `who_holds` tells who")
            }
            Self::WouldDeadlock => f.write_str(
                "this thread has the lock already and would wait for itself: drop the guard first, \
                 or use a `ReentrantLock`",
            ),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockError({self})")
    }
}

impl<G> std::error::Error for LockError<G> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().map(|error| error as _)
    }
}
