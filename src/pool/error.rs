//! Why a task has no result.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::process::{ExitStatus, Panic};

/// Why a task of a [`Pool`](crate::Pool) has no result. Only this task: the others go on.
///
/// # Examples
/// ```
/// use multiproc::{Pool, TaskError};
///
/// let pool = Pool::new(1)?;
/// match pool.apply(|code| -> () { std::process::exit(code) }, 3) {
///     Err(TaskError::WorkerDied { status, .. }) => assert_eq!(status.code(), Some(3)),
///     other => unreachable!("{other:?}"),
/// }
/// assert_eq!(pool.apply(u32::count_ones, 7)?, 3);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. Its worker goes on.
    Panicked(Panic),
    /// The worker died with the task in its hands: it was killed, or the function left the process.
    WorkerDied {
        /// The process id of the worker.
        pid: u32,
        /// How it ended: by which signal, or with which code.
        status: ExitStatus,
    },
    /// The task ran for longer than the pool allows, and its worker was killed.
    TimedOut {
        /// How long it was allowed to run.
        limit: Duration,
    },
    /// The task was cancelled: it never ran, or the worker that ran it was killed.
    Cancelled,
    /// The pool was terminated or dropped before the task was done.
    Terminated,
    /// The pool was interrupted, see [`Pool::interrupt`](crate::Pool::interrupt).
    Interrupted,
    /// The arguments or the result could not be carried, or no worker be started; or the pool gave
    /// up, as its workers die as fast as they are started.
    Error(Error),
}

impl TaskError {
    /// Whether the function panicked.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(1)?;
    /// fn fail(_: ()) {
    ///     panic!("out of cheese");
    /// }
    /// assert!(pool.apply(fail, ()).unwrap_err().is_panic());
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
    /// # let pool = multiproc::Pool::new(1)?;
    /// fn fail(_: ()) {
    ///     panic!("out of cheese");
    /// }
    /// let error = pool.apply(fail, ()).unwrap_err();
    /// assert_eq!(error.panic().unwrap().message(), "out of cheese");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn panic(&self) -> Option<&Panic> {
        if let Self::Panicked(panic) = self { Some(panic) } else { None }
    }

    /// Whether the worker died with the task in its hands.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(1)?;
    /// let error = pool.apply(|code| -> () { std::process::exit(code) }, 3).unwrap_err();
    /// assert!(error.is_worker_dead());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_worker_dead(&self) -> bool {
        matches!(self, Self::WorkerDied { .. })
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => write!(f, "task panicked: {panic}"),
            Self::WorkerDied { pid, status } => {
                write!(f, "the worker of the task, process {pid}, ended: {status}")
            }
            Self::TimedOut { limit } => write!(f, "task ran for longer than {limit:?}"),
            Self::Cancelled => f.write_str("task was cancelled"),
            Self::Terminated => f.write_str("the pool ended before the task was done"),
            Self::Interrupted => f.write_str("the pool was interrupted"),
            Self::Error(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Error(error) = self { error.source() } else { None }
    }
}

impl From<Error> for TaskError {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        let kind = match error {
            TaskError::Error(error) => return error,
            TaskError::Panicked(_) => ErrorKind::Worker,
            TaskError::TimedOut { .. } => ErrorKind::Timeout,
            _ => ErrorKind::Disconnected,
        };
        Self::new(kind, error.to_string())
    }
}
