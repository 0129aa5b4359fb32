//! How a manager is to be made.

use std::sync::{Arc, Mutex};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::{Process, StartMethod};
use crate::sync::Event;
use crate::sys::{fork, random, socket};
use crate::trace;

use super::address::Found;
use super::client::ManagerClient;
use super::link::{Address, Family, Link, Socket};
use super::server::{self, Start};
use super::{CONNECTIONS_MAX, Manager};

/// How a manager is to be made; begun by [`Manager::builder`].
///
/// # Examples
/// ```
/// use multiproc::{Manager, StartMethod};
///
/// let manager = Manager::builder().name("registry").start_method(StartMethod::Spawn).start()?;
/// assert!(manager.is_alive());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "there is no server before `start`"]
pub struct ManagerBuilder {
    name: String,
    method: StartMethod,
    connections: usize,
}

impl ManagerBuilder {
    pub(super) fn new() -> Self {
        let method = StartMethod::default();
        Self { name: "Manager".to_owned(), method, connections: CONNECTIONS_MAX }
    }

    /// What the server's process is called. `Manager` by default.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Manager;
    /// fn name(_: ()) -> String {
    ///     multiproc::current().name().to_owned()
    /// }
    /// let manager = Manager::builder().name("registry").start()?;
    /// assert_eq!(manager.run(name, ())?, "registry");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How the server's process is made.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Manager, StartMethod};
    ///
    /// let manager = Manager::builder().start_method(StartMethod::Spawn).start()?;
    /// assert!(manager.is_alive());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "ctx")]
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// How many pipes the server has at the most, each with a thread: 1 to [`CONNECTIONS_MAX`].
    /// So many calls can be under way; one more ends with
    /// [`Limit`](crate::ErrorKind::Limit).
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{ErrorKind, Manager};
    /// assert!(Manager::builder().connections(20).start()?.is_alive());
    /// assert_eq!(Manager::builder().connections(0).start().unwrap_err().kind(), ErrorKind::Limit);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = most;
        self
    }

    /// Starts the server, and waits until it answers.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Manager;
    /// let manager = Manager::builder().start()?;
    /// assert_eq!(manager.run(u32::count_ones, 7)?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Limit`](crate::ErrorKind::Limit) if `connections` is out of its range; those of
    /// [`Process::spawn`].
    pub fn start(self) -> Result<Manager> {
        let connections = self.connections;
        if !(1..=CONNECTIONS_MAX).contains(&connections) {
            let what = format!("a manager of {connections} pipes: it has 1 to {CONNECTIONS_MAX}");
            return Err(Error::new(ErrorKind::Limit, what));
        }
        trace::begin!(start);
        let what = || "start a manager".to_owned();
        let server = random::uuid().context(what)?;
        let (ours, theirs) = socket::pair().context(what)?;
        let litter = Event::new()?;
        let family = Family::Ours;
        let link =
            Link::to(server, || Ok(Address { server, door: Arc::new(ours), litter, family }))?;
        let terms = Start { door: Socket(theirs), link: Found(Arc::clone(&link)), connections };
        let process =
            Process::builder().name(self.name).start_method(self.method).kill_on_drop(true);
        let process = process.spawn(server::main, terms)?;
        let client = ManagerClient::new(link);
        let pid = process.pid();
        let generation = fork::generation();
        let receptions = Mutex::default();
        let manager = Manager { process: Some(process), client, pid, receptions, generation };
        manager.client.ping()?;
        trace::note!(
            DEBUG,
            ManagerStarted {
                pid,
                name: manager.process.as_ref().map_or("", Process::name).to_owned(),
                took: start.elapsed(),
            }
        );
        Ok(manager)
    }
}
