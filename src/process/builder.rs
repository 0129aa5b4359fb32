//! How a process is to be started.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Process;
use super::entry::Entry;
use super::options::{StartMethod, Stdio};
use crate::error::Result;
use crate::transfer;

/// How a process is to be started; made by [`Process::builder`].
///
/// Whatever is not said here the child has as its parent has it *at the start*: environment,
/// working directory, umask, signal mask of the calling thread, CPU affinity, standard output and
/// standard error. Its standard input is `/dev/null`.
///
/// # Examples
///
/// ```
/// use multiproc::Process;
///
/// fn greeting(_: ()) -> String {
///     let me = multiproc::current();
///     format!("{} says {}", me.name(), std::env::var("WORD").unwrap())
/// }
///
/// let child = Process::builder().name("parrot").env("WORD", "hello").spawn(greeting, ())?;
/// assert_eq!(child.name(), "parrot");
/// assert_eq!(child.join().unwrap(), "parrot says hello");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is started before `spawn`"]
pub struct Builder {
    pub(super) name: Option<String>,
    pub(super) lifetime: Lifetime,
    pub(super) at_drop: AtDrop,
    pub(super) method: StartMethod,
    pub(super) stdio: [Stdio; 3],
    pub(super) directory: Option<PathBuf>,
    pub(super) umask: Option<u32>,
    pub(super) clears_environment: bool,
    pub(super) environment: BTreeMap<OsString, Option<OsString>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    DiesWithParent,
    Own,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtDrop {
    LeaveAlone,
    Kill,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            name: None,
            lifetime: Lifetime::DiesWithParent,
            at_drop: AtDrop::LeaveAlone,
            method: StartMethod::default(),
            stdio: [Stdio::Null, Stdio::Inherit, Stdio::Inherit],
            directory: None,
            umask: None,
            clears_environment: false,
            environment: BTreeMap::new(),
        }
    }

    /// Names the process; the default is `Process-1`, `Process-2` and so on, for the children of
    /// `Process-1` in turn `Process-1:1`. The first 15 bytes are seen in `ps` and `top`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// let child = Process::builder().name("parrot").spawn(u32::count_ones, 7)?;
    /// assert_eq!(child.name(), "parrot");
    /// # child.join().unwrap();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether the process dies with its parent, however that one ends; the default is `true`.
    ///
    /// The kernel sees to it, also when the parent is killed with `SIGKILL`. It does not outlive a
    /// change of the child's user or group ids. A daemon may have children of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// fn will_die_with_parent(_: ()) -> bool {
    ///     multiproc::current().is_daemon()
    /// }
    /// let child = Process::builder().daemon(false).spawn(will_die_with_parent, ())?;
    /// assert!(!child.join().unwrap());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.lifetime = if daemon { Lifetime::DiesWithParent } else { Lifetime::Own };
        self
    }

    /// Whether dropping the [`Process`] kills the process; the default is `false`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::{Connection, Pipe, Process};
    /// fn sleep(_there: Connection<(), ()>) {
    ///     std::thread::park();
    /// }
    /// let (mut here, there) = Pipe::duplex()?;
    /// drop(Process::builder().kill_on_drop(true).spawn(sleep, there)?);
    /// assert!(here.recv().is_err()); // nobody is there any more
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn kill_on_drop(mut self, kill: bool) -> Self {
        self.at_drop = if kill { AtDrop::Kill } else { AtDrop::LeaveAlone };
        self
    }

    /// Sets how the process is made.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::{Process, StartMethod};
    /// let builder = Process::builder().start_method(StartMethod::Spawn);
    /// assert_eq!(builder.spawn(u32::count_ones, 7)?.join().unwrap(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "set_start_method")]
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// Sets an environment variable.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// fn variable(name: String) -> Option<String> {
    ///     std::env::var(name).ok()
    /// }
    /// let child = Process::builder().env("WORD", "hello").spawn(variable, "WORD".to_owned())?;
    /// assert_eq!(child.join().unwrap().as_deref(), Some("hello"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(key.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Removes an environment variable.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// # fn variable(name: String) -> Option<String> {
    /// #     std::env::var(name).ok()
    /// # }
    /// let child = Process::builder().env_remove("PATH").spawn(variable, "PATH".to_owned())?;
    /// assert_eq!(child.join().unwrap(), None);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.environment.insert(key.as_ref().to_owned(), None);
        self
    }

    /// Removes all environment variables, also those set by [`env`](Self::env) before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// fn variables(_: ()) -> Vec<(String, String)> {
    ///     std::env::vars().collect()
    /// }
    /// let child = Process::builder().env_clear().env("WORD", "hello").spawn(variables, ())?;
    /// assert_eq!(child.join().unwrap(), [("WORD".to_owned(), "hello".to_owned())]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn env_clear(mut self) -> Self {
        self.clears_environment = true;
        self.environment.clear();
        self
    }

    /// Sets the working directory; a relative path is relative to the caller's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// fn folder(_: ()) -> std::path::PathBuf {
    ///     std::env::current_dir().unwrap()
    /// }
    /// let child = Process::builder().current_dir("/proc").spawn(folder, ())?;
    /// assert_eq!(child.join().unwrap().as_os_str(), "/proc");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn current_dir(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = Some(path.as_ref().to_owned());
        self
    }

    /// Sets what files of the process are created without, as umask(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// fn mask(_: ()) -> bool {
    ///     let status = std::fs::read_to_string("/proc/self/status").unwrap();
    ///     status.lines().any(|line| line == "Umask:\t0077")
    /// }
    /// assert!(Process::builder().umask(0o077).spawn(mask, ())?.join().unwrap());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// Sets the standard input; the default is [`Stdio::Null`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// fn first_line(_: ()) -> String {
    ///     std::io::stdin().lines().next().unwrap().unwrap()
    /// }
    /// let (theirs, mut ours) = std::io::pipe()?;
    /// std::io::Write::write_all(&mut ours, b"hello\n")?;
    /// let builder = Process::builder().stdin(std::os::fd::OwnedFd::from(theirs));
    /// let child = builder.spawn(first_line, ())?;
    /// assert_eq!(child.join()?, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stdin(mut self, stdio: impl Into<Stdio>) -> Self {
        self.stdio[0] = stdio.into();
        self
    }

    /// Sets the standard output; the default is [`Stdio::Inherit`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// fn greet(_: ()) {
    ///     println!("hello");
    /// }
    /// let (mut ours, theirs) = std::io::pipe()?;
    /// let builder = Process::builder().stdout(std::os::fd::OwnedFd::from(theirs));
    /// let child = builder.spawn(greet, ())?;
    /// assert_eq!(std::io::read_to_string(&mut ours)?, "hello\n");
    /// # child.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stdout(mut self, stdio: impl Into<Stdio>) -> Self {
        self.stdio[1] = stdio.into();
        self
    }

    /// Sets the standard error; the default is [`Stdio::Inherit`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::{Process, Stdio};
    /// fn warn(_: ()) {
    ///     eprintln!("nobody reads this");
    /// }
    /// Process::builder().stderr(Stdio::Null).spawn(warn, ())?.join().unwrap();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn stderr(mut self, stdio: impl Into<Stdio>) -> Self {
        self.stdio[2] = stdio.into();
        self
    }

    /// Starts a process that calls `f(args)`.
    ///
    /// See [`Process::spawn`], which this is the long form of.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// fn add((a, b): (u32, u32)) -> u32 {
    ///     a + b
    /// }
    /// let child = Process::builder().name("adder").spawn(add, (1, 2))?;
    /// assert_eq!(child.join().unwrap(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Process::spawn`], kind [`Os`](crate::ErrorKind::Os) if the working directory
    /// cannot be opened, and kind [`Misuse`](crate::ErrorKind::Misuse) if an environment variable
    /// can have no such name or value.
    #[doc(alias = "start")]
    pub fn spawn<A, R>(self, f: fn(A) -> R, args: A) -> Result<Process<R>>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let entry = Entry::of(f)?;
        let parcel = transfer::pack(&args)?;
        let started = self.start(entry, &parcel)?;
        parcel.commit();
        Ok(started.into())
    }
}
