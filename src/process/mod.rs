//! Room 7: processes, from the start of one to the news of its end.
//!
//! A child runs a *function*, named by where it is in the program ([`entry`]), in a process of the
//! same program, made by a fork server or by exec ([`client`], [`server`], [`hook`]). It is told
//! everything over a socket of its own ([`job`], [`child`]). The parent hears of its end by a
//! pidfd, in the thread that joins it or in the [`monitor`].
//!
//! Not supported: functions of libraries loaded with `dlopen`, which another process might not have
//! or have elsewhere; closures that capture, except with [`Process::fork`]; and control of
//! processes by number, because numbers are used again.

mod builder;
pub(crate) mod child;
mod client;
mod current;
mod ending;
pub(crate) mod entry;
mod exit;
pub(crate) mod family;
mod fork;
mod hook;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod job;
mod monitor;
mod options;
pub(crate) mod remote;
pub(crate) mod report;
pub(crate) mod seal;
mod server;
mod starting;
mod wait;

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use builder::Builder;
pub use current::{
    ChildInfo, Current, Parent, active_children, available_parallelism, current, parent,
};
pub use ending::JoinError;
pub use exit::{ExitStatus, Panic};
pub use hook::init;
pub use options::{StartMethod, Stdio};

use crate::error::{Context, Result};
use crate::sys::clock::Deadline;
use builder::AtDrop;
use family::Child;

/// A child process that runs a function and returns an `R`.
///
/// Dropping it unjoined leaves the process alone: it runs on, is reaped when it ends, and still
/// dies with its parent unless it was started with [`daemon(false)`](Builder::daemon).
///
/// # Examples
///
/// ```
/// use multiproc::Process;
///
/// fn sum(numbers: Vec<u64>) -> u64 {
///     numbers.iter().sum()
/// }
///
/// let child = Process::spawn(sum, vec![1, 2, 3])?;
/// assert_eq!(child.join().unwrap(), 6);
/// # Ok::<(), multiproc::Error>(())
/// ```
///
/// A process of one's own kind is a value with a method that takes it:
///
/// ```
/// # use multiproc::Process;
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Greeter { name: String }
///
/// impl Greeter {
///     fn run(self) -> String {
///         format!("hello, {}", self.name)
///     }
/// }
///
/// let child = Process::spawn(Greeter::run, Greeter { name: "world".into() })?;
/// assert_eq!(child.join().unwrap(), "hello, world");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "unless it is joined, nobody hears what became of it"]
pub struct Process<R> {
    child: Arc<Child>,
    socket: OwnedFd,
    at_drop: AtDrop,
    is_joined: bool,
    result: PhantomData<fn() -> R>,
}

/// A process that runs, before anybody knows what it returns.
struct Started {
    child: Arc<Child>,
    socket: OwnedFd,
    at_drop: AtDrop,
}

impl<R> From<Started> for Process<R> {
    fn from(Started { child, socket, at_drop }: Started) -> Self {
        Self { child, socket, at_drop, is_joined: false, result: PhantomData }
    }
}

impl Process<()> {
    /// Begins to say how a process is to be started.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// let child = Process::builder().name("counter").spawn(u32::count_ones, 7)?;
    /// assert_eq!((child.name(), child.is_daemon()), ("counter", true));
    /// # child.join().unwrap();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<R: Serialize + DeserializeOwned> Process<R> {
    /// Starts a process that calls `f(args)`.
    ///
    /// The process runs this same program, but not its `main`: only `f`. Arguments and result cross
    /// by [`serde`]; several arguments are a tuple. Shared handles may be anywhere in them. Statics
    /// are those of a program that has just started. What else it has is said at [`Builder`].
    ///
    /// The first call of a process starts the fork server, which takes some milliseconds. No later
    /// call depends on how much memory this process has.
    ///
    /// A closure cannot be given if it captures anything: give what it needs in `args`.
    ///
    /// ```compile_fail,E0308
    /// let n = 3;
    /// multiproc::Process::spawn(|m: u32| n + m, 4);
    /// ```
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// fn add((n, m): (u32, u32)) -> u32 {
    ///     n + m
    /// }
    /// let child = Process::spawn(add, (3, 4))?;
    /// assert_eq!(child.join().unwrap(), 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Image`](crate::ErrorKind::Image): the function is not part of the program itself.
    /// - [`Codec`](crate::ErrorKind::Codec): the arguments cannot be turned into bytes.
    /// - [`Limit`](crate::ErrorKind::Limit), [`Memory`](crate::ErrorKind::Memory): there can be no
    ///   further process, file descriptor or page.
    /// - [`Spawn`](crate::ErrorKind::Spawn): the program's file cannot be executed, or what was
    ///   executed does not answer.
    #[doc(alias = "start")]
    pub fn spawn<A>(f: fn(A) -> R, args: A) -> Result<Self>
    where
        A: Serialize + DeserializeOwned,
    {
        Builder::new().spawn(f, args)
    }
}

impl<R: DeserializeOwned> Process<R> {
    /// Waits for the end of the process, and gives what its function returned.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// assert_eq!(Process::spawn(u32::count_ones, 7)?.join().unwrap(), 3);
    /// // A panic is an error here, and a line on the standard error there.
    /// fn fail(_: ()) {
    ///     panic!("out of cheese");
    /// }
    /// let child = Process::spawn(fail, ())?;
    /// assert!(child.join().unwrap_err().is_panic());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`JoinError`] if the function did not return, or its result did not arrive.
    pub fn join(mut self) -> Result<R, JoinError> {
        match self.join_until(Deadline::NEVER)? {
            Some(result) => Ok(result),
            None => unreachable!("never is not over"),
        }
    }

    /// Waits for the end of the process, but not longer than `timeout`; `None` if it still runs.
    ///
    /// The result can be had once: after it, joining is an error of kind
    /// [`Misuse`](crate::ErrorKind::Misuse).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// # use std::time::Duration;
    /// let mut child = Process::spawn(std::thread::sleep, Duration::from_millis(50))?;
    /// while child.join_timeout(Duration::from_millis(10)).unwrap().is_none() {
    ///     println!("still waiting");
    /// }
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`join`](Self::join).
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<Option<R>, JoinError> {
        self.join_until(Deadline::after(timeout))
    }
}

impl<R> Process<R> {
    /// The child itself, for those who watch it.
    pub(crate) fn child(&self) -> &Arc<Child> {
        &self.child
    }

    /// Whether the process has not ended. It may have when this returns.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// # fn sleep(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let child = Process::spawn(sleep, ())?;
    /// assert!(child.is_alive());
    /// child.kill()?;
    /// assert!(child.join().is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.exit_status().is_none() && !wait::has_ended(&self.child)
    }

    /// How the process ended; `None` while it runs.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// let mut child = Process::spawn(u32::count_ones, 7)?;
    /// child.join_timeout(std::time::Duration::MAX).unwrap();
    /// assert_eq!(child.exit_status().unwrap().code(), Some(0));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "exitcode")]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child.try_reap()
    }

    /// Asks the process to end, with `SIGTERM`. It is no error if it has ended already.
    ///
    /// # Examples
    ///
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
    ///
    /// # Errors
    ///
    /// Kind [`Os`](crate::ErrorKind::Os) if the process has changed its user, and this one may not
    /// signal it.
    pub fn terminate(&self) -> Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// Ends the process, with `SIGKILL`. It is no error if it has ended already.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// # fn sleep(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let mut child = Process::spawn(sleep, ())?;
    /// child.kill()?;
    /// assert!(child.join_timeout(std::time::Duration::MAX).is_err());
    /// child.kill()?; // Nobody is hit, and it is no error.
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate).
    pub fn kill(&self) -> Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Sends the process a signal; never another process that came by its number.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// # fn sleep(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// const SIGINT: i32 = 2;
    /// let child = Process::spawn(sleep, ())?;
    /// child.signal(SIGINT)?;
    /// assert_eq!(child.join().unwrap_err().signal(), Some(SIGINT));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate), also if there is no such signal.
    #[doc(alias = "send_signal")]
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.child.signal(signal).context(|| format!("signal {signal} to {}", self.name()))
    }

    /// The process id, for people to read. Once the process has ended it may be somebody else's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// let child = Process::spawn(|_: ()| std::process::id(), ())?;
    /// let pid = child.pid();
    /// assert_eq!(child.join().unwrap(), pid);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        self.child.pid
    }

    /// The name that the process was started with.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// let child = Process::spawn(u32::count_ones, 7)?;
    /// assert_eq!(child.name(), "Process-1");
    /// # child.join().unwrap();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.child.name
    }

    /// Whether the process dies with its parent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// let child = Process::builder().daemon(false).spawn(u32::count_ones, 7)?;
    /// assert!(!child.is_daemon());
    /// # child.join().unwrap();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "daemon")]
    pub fn is_daemon(&self) -> bool {
        self.child.is_daemon
    }
}

/// A pidfd: readable from the end of the process on, also when it has been joined.
impl<R> AsFd for Process<R> {
    #[doc(alias = "sentinel")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        let is_ours = self.child.check_is_ours().is_ok();
        if self.at_drop == AtDrop::Kill && is_ours && self.child.ended().is_none() {
            let _ = self.kill();
        }
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("ended", &self.child.ended_at_a_glance())
            .finish_non_exhaustive()
    }
}
