//! What a process can ask about itself and its family.

use super::family::{Me, family};
use crate::sys::child as kernel;

/// The process that asks, as [`current`] describes it.
///
/// # Examples
///
/// ```
/// fn describe(_: ()) -> String {
///     let me = multiproc::current();
///     format!("{}, {}", me.name(), if me.is_daemon() { "a daemon" } else { "on its own" })
/// }
/// let child = multiproc::Process::builder().name("parrot").spawn(describe, ())?;
/// assert_eq!(child.join().unwrap(), "parrot, a daemon");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Current {
    me: Me,
}

impl Current {
    /// Its name: `MainProcess` for the first process, and otherwise what it was started as.
    ///
    /// # Examples
    ///
    /// ```
    /// fn name(_: ()) -> String {
    ///     multiproc::current().name().to_owned()
    /// }
    /// let child = multiproc::Process::builder().name("parrot").spawn(name, ())?;
    /// assert_eq!(child.join().unwrap(), "parrot");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.me.name
    }

    /// Its process id.
    ///
    /// # Examples
    ///
    /// ```
    /// fn pid(_: ()) -> u32 {
    ///     multiproc::current().pid()
    /// }
    /// let child = multiproc::Process::spawn(pid, ())?;
    /// let seen = child.pid();
    /// assert_eq!(child.join().unwrap(), seen);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Whether it dies with its parent; `false` for the first process.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!multiproc::current().is_daemon());
    /// ```
    #[must_use]
    #[doc(alias = "daemon")]
    pub fn is_daemon(&self) -> bool {
        self.me.is_daemon
    }
}

/// Describes the process that asks.
///
/// # Examples
///
/// ```
/// assert_eq!(multiproc::current().name(), "MainProcess");
/// ```
#[must_use]
#[doc(alias = "current_process")]
pub fn current() -> Current {
    Current { me: family().me.clone() }
}

/// The process that started this one, as [`parent`] describes it.
///
/// # Examples
///
/// ```
/// fn parent(_: ()) -> (u32, String, bool) {
///     let parent = multiproc::parent().unwrap();
///     (parent.pid(), parent.name().to_owned(), parent.is_alive())
/// }
/// let seen = multiproc::Process::spawn(parent, ())?.join().unwrap();
/// assert_eq!(seen, (std::process::id(), "MainProcess".to_owned(), true));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Parent {
    pid: u32,
    name: String,
}

impl Parent {
    /// Its process id. It is nobody's, or somebody else's, once the parent is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// fn pid(_: ()) -> u32 {
    ///     multiproc::parent().unwrap().pid()
    /// }
    /// assert_eq!(multiproc::Process::spawn(pid, ())?.join().unwrap(), std::process::id());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name.
    ///
    /// # Examples
    ///
    /// ```
    /// fn name(_: ()) -> String {
    ///     multiproc::parent().unwrap().name().to_owned()
    /// }
    /// assert_eq!(multiproc::Process::spawn(name, ())?.join().unwrap(), "MainProcess");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is still there. It may be gone when this returns.
    ///
    /// # Examples
    ///
    /// ```
    /// fn has_parent(_: ()) -> bool {
    ///     multiproc::parent().unwrap().is_alive()
    /// }
    /// // Who waits for the answer is there.
    /// assert!(multiproc::Process::spawn(has_parent, ())?.join().unwrap());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // An orphan has another parent from then on, and never this one again.
        kernel::parent_pid() == self.pid
    }
}

/// Describes the process that started this one with this crate; `None` in the first process.
///
/// # Examples
///
/// ```
/// fn parent_of_child(_: ()) -> u32 {
///     multiproc::parent().unwrap().pid()
/// }
/// let child = multiproc::Process::spawn(parent_of_child, ())?;
/// assert_eq!(child.join().unwrap(), std::process::id());
/// assert!(multiproc::parent().is_none());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use]
#[doc(alias = "parent_process")]
pub fn parent() -> Option<Parent> {
    let (pid, name) = family().me.parent.clone()?;
    Some(Parent { pid, name })
}

/// A child of this process, as [`active_children`] lists it.
///
/// # Examples
///
/// ```
/// # use multiproc::Process;
/// # fn sleep(_: ()) {
/// #     std::thread::park();
/// # }
/// let child = Process::builder().name("sleeper").spawn(sleep, ())?;
/// let infos = multiproc::active_children();
/// let info = infos.iter().find(|info| info.pid() == child.pid()).unwrap();
/// assert_eq!((info.name(), info.is_daemon()), ("sleeper", true));
/// # child.kill()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildInfo {
    pid: u32,
    name: String,
    is_daemon: bool,
}

impl ChildInfo {
    /// Its process id. It may be somebody else's by now, so there is nothing to be done with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// # fn sleep(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let child = Process::spawn(sleep, ())?;
    /// let pids: Vec<u32> = multiproc::active_children().iter().map(|info| info.pid()).collect();
    /// assert_eq!(pids, [child.pid()]);
    /// # child.kill()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// # fn sleep(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let child = Process::builder().name("sleeper").spawn(sleep, ())?;
    /// assert_eq!(multiproc::active_children()[0].name(), "sleeper");
    /// # child.kill()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it dies with this process.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// # fn sleep(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let child = Process::builder().daemon(false).spawn(sleep, ())?;
    /// assert!(!multiproc::active_children()[0].is_daemon());
    /// # child.kill()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.is_daemon
    }
}

/// Lists the children of this process that have not ended, in the order of their start.
///
/// Unlike Python's, it is not needed to avoid zombies: every child is reaped when it ends.
///
/// # Examples
///
/// ```
/// # use multiproc::Process;
/// # use std::time::Duration;
/// let child = Process::spawn(std::thread::sleep, Duration::from_secs(3600))?;
/// assert!(multiproc::active_children().iter().any(|info| info.pid() == child.pid()));
/// child.kill()?;
/// assert!(child.join().is_err());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use]
pub fn active_children() -> Vec<ChildInfo> {
    let mut children = family().visible_children();
    children.retain(|child| child.try_reap().is_none());
    let describe = |child: &std::sync::Arc<super::family::Child>| ChildInfo {
        pid: child.pid,
        name: child.name.clone(),
        is_daemon: child.is_daemon,
    };
    children.iter().map(describe).collect()
}

/// How many processes can run at once: the CPUs that this one may use, or its cgroup's share of
/// them if that is less; at least 1.
///
/// # Examples
///
/// ```
/// assert!(multiproc::available_parallelism() >= 1);
/// ```
#[must_use]
#[doc(alias = "cpu_count")]
#[doc(alias = "process_cpu_count")]
pub fn available_parallelism() -> usize {
    // The standard library looks at sched_getaffinity(2) and at the quotas of cgroups v1 and v2.
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
