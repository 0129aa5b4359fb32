//! Room 8: a server process that hosts objects, and handles through which they are called.
//!
//! The server ([`server`]) opens a door, a socket at which clients knock with the end of a pipe of
//! their own ([`link`]); from then on requests and replies go through shared memory. A request
//! names an object, a function of the program, and has its arguments ([`entry`]). An object
//! ([`hosted`]) is a value behind a lock, and a block of shared memory without content: whoever has
//! a handle ([`reference`]) holds the block, so the books that tell which blocks the dead held tell
//! when an object has no handles any more. Everything else is written in terms of [`Proxy::call`].
//! Other runs of the program come in by a listener ([`reception`]) and are told the way
//! ([`address`]).

mod address;
mod builder;
mod client;
mod dict;
mod entry;
mod function;
mod gate;
mod hosted;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod info;
mod link;
mod list;
mod namespace;
mod proxy;
mod reception;
mod reference;
mod server;
mod serverless;
mod set;
mod waits;

use std::fmt;
use std::ops::Deref;
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::process::Process;
use crate::shim::lock;
use crate::sys::fork;
use crate::trace;

use reception::Reception;

pub use builder::ManagerBuilder;
pub use client::ManagerClient;
pub use dict::Dict;
pub use info::{ManagerInfo, ObjectInfo};
pub use list::List;
pub use namespace::{Fields, Namespace};
pub use proxy::Proxy;
pub use set::Set;

/// How many pipes the server of a manager has at the most, each with a thread: as many calls, of
/// all its clients together, can be under way at the same time. A process keeps up to 16 of them.
///
/// # Examples
/// ```
/// use multiproc::{CONNECTIONS_MAX, Manager};
///
/// assert!(Manager::builder().connections(CONNECTIONS_MAX + 1).start().is_err());
/// ```
pub const CONNECTIONS_MAX: usize = 1000;

/// How long a server may take to drop its objects before it is killed.
const FAREWELL: Duration = Duration::from_secs(2);

/// What can be an argument or a result of a call of a hosted object. Every type that is all of this
/// is `Carried`.
///
/// # Examples
/// ```
/// use multiproc::{Carried, Manager, ManagerClient, Proxy};
///
/// fn share<T: Carried + Sync>(client: &ManagerClient, value: T) -> multiproc::Result<Proxy<T>> {
///     client.host(value)
/// }
///
/// let manager = Manager::start()?;
/// assert_eq!(share(&manager, 7)?.read(|number, ()| *number, ())?, 7);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub trait Carried: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Carried for T {}

/// A process that hosts objects, which are called from everywhere.
///
/// [`host`](ManagerClient::host) takes a value of any type, and gives a [`Proxy`] through which
/// functions of the program are called with it. [`dict`](ManagerClient::dict),
/// [`list`](ManagerClient::list), [`set`](ManagerClient::set) and
/// [`namespace`](ManagerClient::namespace) make the usual collections. Proxies travel to other
/// processes as all handles do.
///
/// Calls go through shared memory, and each one that is under way has a thread of the server's, so
/// a long call of one object is in no other one's way. Locks, queues and values need no manager,
/// they are shared already; those that a manager makes are the same.
///
/// The manager is the owner of its server: when it is dropped, or its process dies, the server
/// ends, and so do all calls, with [`Disconnected`](ErrorKind::Disconnected). Others make objects
/// through a [`ManagerClient`], which is what a manager dereferences to, and what travels.
///
/// # Examples
/// ```
/// use multiproc::{Dict, Manager, Process};
///
/// fn count_words((text, counts): (String, Dict<String, u64>)) -> multiproc::Result<()> {
///     for word in text.split_whitespace() {
///         counts.update_or_insert(word.to_owned(), 0, |count, _| *count += 1, ())?;
///     }
///     Ok(())
/// }
///
/// let manager = Manager::start()?;
/// let counts = manager.dict()?;
/// for text in ["the cat and the dog", "the bird"] {
///     Process::spawn(count_words, (text.to_owned(), counts.clone()))?.join().unwrap()?;
/// }
/// assert_eq!(counts.get("the")?, Some(3));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "SyncManager")]
#[doc(alias = "BaseManager")]
#[must_use = "dropping a manager ends its server"]
pub struct Manager {
    process: Option<Process<()>>,
    client: ManagerClient,
    pid: u32,
    /// Where it is listened for.
    receptions: Mutex<Vec<Reception>>,
    /// Of the process that made it; a copy in a forked one is not the owner.
    generation: u32,
}

impl Manager {
    /// Starts a server.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Manager;
    /// let manager = Manager::start()?;
    /// assert!(manager.is_alive() && manager.pid() != std::process::id());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Process::spawn`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Begins to say what the server is to be like.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Manager;
    /// let manager = Manager::builder().name("registry").connections(100).start()?;
    /// assert!(manager.is_alive());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::new()
    }

    /// The process id of the server.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// assert_eq!(manager.run(|_: ()| std::process::id(), ())?, manager.pid());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the server is there.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// assert!(manager.is_alive());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_alive)
    }

    /// Ends the server: its objects are dropped in the order in which they were made, and calls
    /// that are under way end with [`Disconnected`](ErrorKind::Disconnected). What takes longer
    /// than two seconds is killed.
    ///
    /// Dropping the manager does the same.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2])?;
    /// manager.shutdown()?;
    /// assert_eq!(list.len().unwrap_err().kind(), multiproc::ErrorKind::Disconnected);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Disconnected`](ErrorKind::Disconnected): the server had died before, or had to be
    ///   killed.
    /// - [`Forked`](ErrorKind::Forked): this is a copy in a forked process, and not the owner.
    pub fn shutdown(mut self) -> Result<()> {
        self.end()
    }

    fn receive(&self, reception: Reception) {
        lock(&self.receptions).push(reception);
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        // Nobody comes to a server that goes.
        lock(&self.receptions).clear();
        if self.generation != fork::generation() {
            std::mem::forget(process);
            let what = "shut down a manager that was inherited by fork: it belongs to the parent";
            return Err(Error::new(ErrorKind::Forked, what));
        }
        self.client.stop();
        if let Ok(Some(())) = process.join_timeout(FAREWELL) {
            trace::note!(DEBUG, ManagerEnded { pid: self.pid, status: "exit code 0".to_owned() });
            return Ok(());
        }
        let _ = process.kill();
        let _ = process.join_timeout(FAREWELL);
        let status = process.exit_status();
        trace::note!(
            DEBUG,
            ManagerEnded {
                pid: self.pid,
                status: status.map_or("unknown".to_owned(), |status| status.to_string()),
            }
        );
        let status = status.map_or("it was killed".to_owned(), |status| status.to_string());
        let what = format!("shut down a manager, whose server did not end by itself: {status}");
        Err(Error::new(ErrorKind::Disconnected, what))
    }
}

impl Deref for Manager {
    type Target = ManagerClient;

    fn deref(&self) -> &ManagerClient {
        &self.client
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Manager");
        debug.field("pid", &self.pid).field("is_alive", &self.is_alive()).finish()
    }
}
