//! How a process ended, and why it has no result.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sys::child;

/// How a process ended.
///
/// # Examples
///
/// ```
/// # use multiproc::Process;
/// fn work(_: ()) {
///     std::process::exit(3);
/// }
/// let mut child = Process::spawn(work, ())?;
/// assert!(child.join_timeout(std::time::Duration::MAX).is_err());
/// let status = child.exit_status().unwrap();
/// assert_eq!((status.code(), status.signal()), (Some(3), None));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExitStatus {
    /// In the encoding of waitpid(2); `None` if somebody else reaped the process.
    raw: Option<i32>,
}

impl ExitStatus {
    pub(crate) const UNKNOWN: Self = Self { raw: None };

    pub(crate) fn from_raw(raw: i32) -> Self {
        Self { raw: Some(raw) }
    }

    /// The code that the process exited with, if it was not killed.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// let child = Process::spawn(|code| -> () { std::process::exit(code) }, 3)?;
    /// assert_eq!(child.join().unwrap_err().code(), Some(3));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn code(self) -> Option<i32> {
        child::exit_code(self.raw?)
    }

    /// The signal that killed the process, if one did.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// # fn sleep(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let mut child = Process::spawn(sleep, ())?;
    /// child.kill()?;
    /// assert!(child.join_timeout(std::time::Duration::MAX).is_err());
    /// assert_eq!(child.exit_status().unwrap().signal(), Some(9)); // SIGKILL
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        child::end_signal(self.raw?)
    }

    /// Whether the process exited with code 0.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// let mut child = Process::spawn(u32::count_ones, 7)?;
    /// child.join_timeout(std::time::Duration::MAX).unwrap();
    /// assert!(child.exit_status().unwrap().success());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn success(self) -> bool {
        self.code() == Some(0)
    }

    /// Whether the signal left a core dump.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// # fn sleep(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let mut child = Process::spawn(sleep, ())?;
    /// child.kill()?;
    /// assert!(child.join_timeout(std::time::Duration::MAX).is_err());
    /// assert!(!child.exit_status().unwrap().core_dumped()); // SIGKILL leaves none
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn core_dumped(self) -> bool {
        self.raw.is_some_and(child::has_dumped_core)
    }

    /// Python's `exitcode`: the code, or the signal with a minus sign.
    ///
    /// `None` only if the program reaped the process behind this crate's back, with `waitpid(-1)`
    /// or by ignoring `SIGCHLD`, on a Linux before 6.15.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// # fn sleep(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let mut child = Process::spawn(sleep, ())?;
    /// child.kill()?;
    /// assert!(child.join_timeout(std::time::Duration::MAX).is_err());
    /// assert_eq!(child.exit_status().unwrap().exit_code(), Some(-9));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "exitcode")]
    pub fn exit_code(self) -> Option<i32> {
        self.code().or_else(|| self.signal().map(|signal| -signal))
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code(), self.signal()) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "killed by {}", Signal(signal)),
            (None, None) => f.write_str("an unknown exit status"),
        }
    }
}

impl fmt::Debug for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExitStatus({self})")
    }
}

pub(super) struct Signal(pub(super) i32);

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match child::signal_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// A panic that ended another process.
///
/// # Examples
/// ```
/// use multiproc::{JoinError, Process};
///
/// fn fail(_: ()) {
///     panic!("out of cheese");
/// }
/// let child = Process::spawn(fail, ())?;
/// let Err(JoinError::Panicked(panic)) = child.join() else { unreachable!() };
/// assert_eq!(panic.message(), "out of cheese");
/// assert!(panic.location().is_some());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
}

impl Panic {
    /// What the panic said, if it said it with a string.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// fn fail(n: u32) {
    ///     panic!("{n} is too much");
    /// }
    /// let error = Process::spawn(fail, 7)?.join().unwrap_err();
    /// assert_eq!(error.panic().unwrap().message(), "7 is too much");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it was, as `file:line:column`. Unknown if the function had set its own panic hook.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// fn fail(_: ()) {
    ///     panic!("here");
    /// }
    /// let error = Process::spawn(fail, ())?.join().unwrap_err();
    /// let (file, _) = error.panic().unwrap().location().unwrap().split_once(':').unwrap();
    /// assert!(file.ends_with(".rs"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The stack, if `RUST_BACKTRACE` asked for it in the process that panicked.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Process;
    /// fn fail(_: ()) {
    ///     panic!("here");
    /// }
    /// let child = Process::builder().env("RUST_BACKTRACE", "1").spawn(fail, ())?;
    /// let error = child.join().unwrap_err();
    /// assert!(error.panic().unwrap().backtrace().unwrap().contains("panic"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.location {
            Some(location) => write!(f, ", at {location}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic")
            .field("message", &self.message)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}
