//! What makes objects in a server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::process::remote::caught;
use crate::sys::clock::Deadline;

use super::address::Found;
use super::function::Taking;
use super::link::{Link, panicked};
use super::proxy::Proxy;
use super::server::{self, Server};
use super::{Carried, ManagerInfo, Namespace, entry};

/// The number of no object: for calls of functions alone.
const NO_OBJECT: u64 = 0;

/// Makes objects in the server of a [`Manager`](crate::Manager); what a manager dereferences to.
///
/// A client is `Clone`, and travels. It does not keep the server alive.
///
/// # Examples
/// ```
/// use multiproc::{List, Manager, ManagerClient, Process};
///
/// fn make(manager: ManagerClient) -> multiproc::Result<List<String>> {
///     let list = manager.list()?;
///     list.push("made by a child".to_owned())?;
///     Ok(list)
/// }
///
/// let manager = Manager::start()?;
/// let list = Process::spawn(make, manager.client())?.join().unwrap()?;
/// assert_eq!(list.len()?, 1);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone)]
pub struct ManagerClient {
    link: Arc<Link>,
    /// How long its own calls may take.
    timeout: Option<Duration>,
}

impl ManagerClient {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, timeout: None }
    }

    pub(super) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// The namespace that every client of the manager knows, with what was put there for others to
    /// find. It lives as long as the server.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// manager.root()?.set("limit", 10_u32)?;
    /// // Somebody else, who has but a client of the manager:
    /// assert_eq!(manager.client().root()?.get::<u32>("limit")?, Some(10));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`host`](Self::host).
    pub fn root(&self) -> Result<Namespace> {
        self.run(|()| here()?.root().map(Proxy::new), ())?
    }

    /// A client of the same manager, to be kept or sent.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{List, Manager, ManagerClient, Process};
    ///
    /// fn make(client: ManagerClient) -> multiproc::Result<List<u32>> {
    ///     client.list_from([1, 2])
    /// }
    /// let manager = Manager::start()?;
    /// let list = Process::spawn(make, manager.client())?.join().unwrap()?;
    /// assert_eq!(list.snapshot()?, [1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn client(&self) -> Self {
        self.clone()
    }

    /// Has the server host a value, and gives the first handle of it.
    ///
    /// As several calls may read it at the same time it must be `Sync`; what is not can be in a
    /// [`Mutex`](std::sync::Mutex).
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let account = manager.host(10_i64)?;
    /// account.call(|balance, amount| *balance += amount, 5)?;
    /// assert_eq!(account.read(|balance, ()| *balance, ())?, 15);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Disconnected`](ErrorKind::Disconnected): the server is gone.
    /// - [`Codec`](ErrorKind::Codec): the value cannot be carried.
    /// - [`Limit`](ErrorKind::Limit), [`Memory`](ErrorKind::Memory): there is no room.
    #[doc(alias = "register")]
    pub fn host<T: Carried + Sync>(&self, value: T) -> Result<Proxy<T>> {
        self.run(host, value)?
    }

    /// Has the server make a value by calling `f` with `args`, and host it.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// /// What cannot travel, and need not.
    /// struct Log(std::sync::Mutex<std::fs::File>);
    ///
    /// fn open(path: String) -> Log {
    ///     Log(std::fs::File::create(path).unwrap().into())
    /// }
    /// let log = manager.host_with(open, "/dev/null".to_owned())?;
    /// # fn write(log: &mut Log, line: String) -> bool {
    /// #     use std::io::Write;
    /// #     log.0.get_mut().unwrap().write_all(line.as_bytes()).is_ok()
    /// # }
    /// assert!(log.call(write, "hello".to_owned())?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`host`](Self::host); [`Worker`](ErrorKind::Worker) if `f` panicked.
    pub fn host_with<A, T>(&self, f: fn(A) -> T, args: A) -> Result<Proxy<T>>
    where
        A: Carried,
        T: Send + Sync + 'static,
    {
        self.run(host_with, (Taking::taking(f), args))?
    }

    /// Calls a function in the server's process.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let pid = manager.run(|_: ()| std::process::id(), ())?;
    /// assert_eq!(pid, manager.pid());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Proxy::call`].
    pub fn run<A: Carried, R: Carried>(&self, f: fn(A) -> R, args: A) -> Result<R> {
        if server::behind(&self.link).is_some() {
            return caught(|| f(args)).map_err(panicked);
        }
        let until = self.timeout.map_or(Deadline::NEVER, Deadline::after);
        self.link.ask(NO_OBJECT, entry::free(f)?, &args, until)
    }

    /// A client whose own calls take `timeout` at the most; those of the handles that it makes are
    /// not bounded by it, see [`Proxy::with_timeout`].
    ///
    /// # Examples
    /// ```
    /// # use multiproc::ErrorKind;
    /// # let manager = multiproc::Manager::start()?;
    /// let client = manager.with_timeout(std::time::Duration::from_millis(50));
    /// let error = client.run(|_: ()| std::thread::park(), ()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Timeout);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use = "it is the new client that gives up"]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self.clone() }
    }

    /// What the server has.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let _list = manager.list_from([1, 2])?;
    /// let info = manager.debug_info()?;
    /// assert!(info.objects.iter().any(|object| object.type_name.contains("Vec<i32>")));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Disconnected`](ErrorKind::Disconnected) if it is gone.
    #[doc(alias = "number_of_objects")]
    pub fn debug_info(&self) -> Result<ManagerInfo> {
        self.run(info, ())?
    }

    pub(super) fn ping(&self) -> Result<()> {
        self.run(drop::<()>, ())
    }

    /// Has the server end.
    pub(super) fn stop(&self) {
        self.link.close();
    }
}

/// The server that this is called in.
fn here() -> Result<&'static Server> {
    server::here().ok_or_else(|| Error::new(ErrorKind::Corrupt, "a manager's server that is none"))
}

fn host<T: Send + Sync + 'static>(value: T) -> Result<Proxy<T>> {
    here()?.host(value).map(Proxy::new)
}

fn host_with<A: 'static, T: Send + Sync + 'static>(
    (f, args): (Taking<A, T>, A),
) -> Result<Proxy<T>> {
    host(f.pointer()(args))
}

fn info((): ()) -> Result<ManagerInfo> {
    here().map(ManagerInfo::of)
}

impl PartialEq for ManagerClient {
    /// Whether both are of one manager.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.link, &other.link)
    }
}

impl Eq for ManagerClient {}

impl fmt::Debug for ManagerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerClient").finish_non_exhaustive()
    }
}

impl Serialize for ManagerClient {
    /// Puts the client into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes, of tasks and of calls of managers, and the
    /// messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.link.address(), self.timeout).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ManagerClient {
    /// Takes the client out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes, of tasks and of calls of managers, and the
    /// messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Found(link), timeout) = <(Found, Option<Duration>)>::deserialize(deserializer)?;
        Ok(Self { link, timeout })
    }
}
