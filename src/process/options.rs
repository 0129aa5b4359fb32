//! What a process can be started with: how, and with which files as its standard streams.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::task;

/// How child processes are made.
///
/// # Examples
///
/// ```
/// use multiproc::{Process, StartMethod};
///
/// for method in [StartMethod::ForkServer, StartMethod::Spawn] {
///     let child = Process::builder().start_method(method).spawn(u32::count_ones, 7)?;
///     assert_eq!(child.join().unwrap(), 3);
/// }
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// By a process that was started from the program's own file at the first use, does nothing
    /// else, and copies itself. Fast, whatever the size of this process. Resource limits, priority,
    /// capabilities and namespaces of the children are those at the time of the first use; a later
    /// change of user or group ids is noticed. Python's `forkserver`.
    #[default]
    ForkServer,
    /// By executing the program's own file anew for each child. Slower; each child has an address
    /// space laid out anew, and everything that a new process has from its parent it has from now.
    Spawn,
}

#[cfg(feature = "tracing")]
impl StartMethod {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ForkServer => "fork server",
            Self::Spawn => "exec",
        }
    }
}

/// What a child process has as its standard input, output or error.
///
/// # Examples
///
/// ```
/// use multiproc::{Process, Stdio};
///
/// fn report(line: String) {
///     println!("{line}");
/// }
///
/// let (mut ours, theirs) = std::io::pipe()?;
/// let builder = Process::builder().stdout(std::os::fd::OwnedFd::from(theirs)).stderr(Stdio::Null);
/// let child = builder.spawn(report, "all is well".to_owned())?;
/// assert_eq!(std::io::read_to_string(&mut ours)?, "all is well\n");
/// child.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Stdio {
    /// What this process has there when the child is started.
    Inherit,
    /// `/dev/null`.
    Null,
    /// This file.
    Fd(OwnedFd),
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Self::Fd(fd)
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Self::Fd(file.into())
    }
}

impl Stdio {
    /// The fd that is sent for `number`; without one the child has `/dev/null` there.
    pub(super) fn given(&self, number: i32) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Inherit => task::standard(number),
            Self::Null => None,
            Self::Fd(fd) => Some(fd.as_fd()),
        }
    }
}
