//! How a process is to be started.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Process;
use super::client::{self, Baseline, Newborn, start_error};
use super::entry::Entry;
use super::family::{Family, family};
use super::job::{self, Environment, Job};
use super::seal;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clock::Deadline;
use crate::sys::{letter, task};
use crate::trace;
use crate::transfer::{self, Parcel};

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
    fn name(self) -> &'static str {
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
    name: Option<String>,
    lifetime: Lifetime,
    at_drop: AtDrop,
    method: StartMethod,
    stdio: [Stdio; 3],
    directory: Option<PathBuf>,
    umask: Option<u32>,
    clears_environment: bool,
    environment: BTreeMap<OsString, Option<OsString>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifetime {
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

    fn start(self, entry: Entry, parcel: &Parcel) -> Result<super::Started> {
        trace::begin!(start);
        self.check_environment()?;
        let family = family();
        let identity = family.next_identity();
        let name = self.name.clone().unwrap_or_else(|| format!("Process-{identity}"));
        let directory = match &self.directory {
            None => None,
            Some(path) => {
                Some(task::open_directory(path).context(|| format!("enter {}", path.display()))?)
            }
        };
        // Looked at once: the next file that this process opens may get the number of a closed one.
        let stdio: [_; 3] = std::array::from_fn(|number| self.stdio[number].given(number as i32));
        let given = stdio.map(|fd| fd.is_some());
        let prepare =
            |baseline: &Baseline| self.job(family, entry, &name, &identity, baseline, given);
        let Newborn { born, socket, prepared } = match self.method {
            StartMethod::ForkServer => client::from_server(family, prepare)?,
            StartMethod::Spawn => client::from_exec(family, prepare)?,
        };
        let sent = prepared.and_then(|job| {
            let mut fds: Vec<BorrowedFd<'_>> = Vec::with_capacity(8);
            fds.extend(stdio.into_iter().flatten());
            fds.extend(directory.as_ref().map(AsFd::as_fd));
            fds.extend(parcel.fds());
            letter::send_joined(socket.as_fd(), [&job, parcel.bytes()], &fds, Deadline::NEVER)
        });
        // Only now, so that the child is at work meanwhile.
        let child = family.adopt(born, name.clone(), self.lifetime == Lifetime::DiesWithParent)?;
        if let Err(cause) = sent {
            // It has nothing to do; the monitor buries it.
            let _ = child.signal(libc::SIGKILL);
            return Err(start_error("send a process its job", cause));
        }
        child.show();
        trace::note!(
            DEBUG,
            Started {
                pid: child.pid,
                name: child.name.clone(),
                method: self.method.name(),
                took: start.elapsed(),
            }
        );
        Ok(super::Started { child, socket, at_drop: self.at_drop })
    }

    /// The letter that tells the child everything, but for the arguments.
    fn job(
        &self,
        family: &Family,
        entry: Entry,
        name: &str,
        identity: &str,
        baseline: &Baseline,
        stdio: [bool; 3],
    ) -> std::io::Result<Vec<u8>> {
        let affinity = task::affinity()?;
        job::encode(&Job {
            entry,
            secret: seal::secret()?,
            name: Cow::Borrowed(name),
            identity: Cow::Borrowed(identity),
            parent_name: Cow::Borrowed(&family.me.name),
            parent: std::process::id(),
            is_daemon: self.lifetime == Lifetime::DiesWithParent,
            stdio,
            has_directory: self.directory.is_some(),
            umask: self.umask,
            signal_mask: task::signal_mask()?,
            affinity: if affinity == baseline.affinity { Vec::new() } else { affinity },
            environment: self.environment(baseline),
        })
    }

    /// Looks at what the child would otherwise abort of, before it could tell anybody.
    fn check_environment(&self) -> Result<()> {
        let values =
            self.environment.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        for (name, value) in values {
            let what = if !is_name(name) {
                format!("set the environment variable {name:?}: no variable has such a name")
            } else if value.as_bytes().contains(&0) {
                format!("set the environment variable {name:?}: a NUL in its value")
            } else {
                continue;
            };
            return Err(Error::new(ErrorKind::Misuse, what));
        }
        Ok(())
    }

    /// What the child must change in the environment that it is born with.
    fn environment(&self, baseline: &Baseline) -> Environment<'static> {
        let now: Vec<_> = std::env::vars_os().collect();
        let is_untouched = !self.clears_environment && self.environment.is_empty();
        if is_untouched && now == baseline.environment {
            return Environment::default();
        }
        let inherited = if self.clears_environment { Vec::new() } else { now };
        let mut wanted: BTreeMap<OsString, OsString> = inherited.into_iter().collect();
        for (key, value) in &self.environment {
            match value {
                Some(value) => wanted.insert(key.clone(), value.clone()),
                None => wanted.remove(key),
            };
        }
        let born: BTreeMap<_, _> = baseline.environment.iter().map(|(k, v)| (k, v)).collect();
        let bytes = |text: &OsStr| Cow::Owned(text.as_bytes().to_vec());
        let gone = born.keys().filter(|key| is_name(key) && !wanted.contains_key(**key));
        Environment {
            remove: gone.map(|key| bytes(key.as_os_str())).collect(),
            set: wanted
                .iter()
                .filter(|(key, value)| is_name(key) && born.get(key) != Some(value))
                .map(|(key, value)| (bytes(key), Cow::Owned(value.clone().into_vec())))
                .collect(),
        }
    }
}

/// Whether a variable of this name can be set and removed. Others can be inherited all the same.
fn is_name(name: &OsStr) -> bool {
    !name.is_empty() && !name.as_bytes().iter().any(|byte| matches!(byte, b'=' | 0))
}

impl Stdio {
    /// The fd that is sent for `number`; without one the child has `/dev/null` there.
    fn given(&self, number: i32) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Inherit => task::standard(number),
            Self::Null => None,
            Self::Fd(fd) => Some(fd.as_fd()),
        }
    }
}
