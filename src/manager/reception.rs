//! A manager that is listened for, and those who connect to it: other runs of the same program.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::{Context, ErrorKind, Result};
use crate::listener::{Connector, Door, Listener, ListenerBuilder, Terms};
use crate::sys::clock::Deadline;
use crate::sys::{fork, image};
use crate::transfer;

use super::address::{Introduced, Introduction};
use super::link::Link;
use super::{Manager, ManagerClient};

/// How long nobody is let in after file descriptors or the like ran out.
const EXHAUSTED: Duration = Duration::from_millis(20);

/// A thread that lets others in, and tells them the way to the server.
pub(super) struct Reception {
    door: Arc<Door>,
    thread: Option<JoinHandle<()>>,
    generation: u32,
}

impl Reception {
    fn open(door: Door, link: Arc<Link>) -> Result<Self> {
        let door = Arc::new(door);
        let theirs = Arc::clone(&door);
        let thread = thread::Builder::new().name("manager-listen".to_owned());
        let thread = thread
            .spawn(move || receive(&theirs, &link))
            .context(|| "start a thread that listens for a manager".to_owned())?;
        Ok(Self { door, thread: Some(thread), generation: fork::generation() })
    }
}

fn receive(door: &Door, link: &Link) {
    let terms = terms();
    while !door.is_shut() {
        let introduce = || Ok((transfer::pack(&Introduction(link.address()))?, ()));
        match door.accept(&terms, Some(Deadline::NEVER), introduce) {
            Ok(_) => {}
            // One who heard why.
            Err(error) if error.kind() == ErrorKind::Refused => {}
            // It may be better later; `drop` does not wait for that.
            Err(_) => thread::park_timeout(EXHAUSTED),
        }
    }
}

/// What both sides must have in common: every function of the program, at the same address.
fn terms() -> Terms {
    Terms::common(format!("calls of functions of the program {:016x}", image::main().content()))
}

impl Drop for Reception {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            // The thread is the parent's.
            std::mem::forget(self.thread.take());
            return;
        }
        self.door.shut();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Reception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reception").field("door", &self.door).finish_non_exhaustive()
    }
}

impl Manager {
    /// Lets other runs of this program connect to the manager at `path`, by
    /// [`ManagerClient::connect`], until it is dropped.
    ///
    /// Who connects is trusted as a child is: it can have every function of the program called in
    /// the server. So it must be of the same user; [`listen_with`](Self::listen_with) can ask for
    /// a key. A thread of this process sees to it, and knows the program by its code: another
    /// program, or another build of it, is refused.
    ///
    /// What is to be found by those who connect goes into the [`root`](ManagerClient::root).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Dict, Manager, ManagerClient};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("registry");
    /// let manager = Manager::start()?;
    /// manager.root()?.set("visits", manager.dict::<String, u64>()?)?;
    /// manager.listen(&path)?;
    /// // In another run of the program:
    /// let client = ManagerClient::connect(&path)?;
    /// let visits: Dict<String, u64> = client.root()?.get("visits")?.expect("it was set");
    /// visits.insert("Ann".to_owned(), 1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Listener::bind`].
    #[doc(alias = "get_server")]
    #[doc(alias = "serve_forever")]
    pub fn listen(&self, path: impl AsRef<Path>) -> Result<()> {
        self.listen_with(path, Listener::builder())
    }

    /// As [`listen`](Self::listen), with a key, or for other users too. What the builder says of
    /// pipes has no meaning here.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{AuthKey, Connector, Listener, Manager, ManagerClient};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let key = || AuthKey::new("a secret of both");
    /// let manager = Manager::start()?;
    /// manager.listen_with(&path, Listener::builder().key(key()?))?;
    /// // Another run of this program:
    /// let client = ManagerClient::connect_with(&path, &Connector::new().key(key()?))?;
    /// assert_eq!(client.run(u32::count_ones, 7)?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Listener::bind`].
    pub fn listen_with<C>(&self, path: impl AsRef<Path>, how: ListenerBuilder<C>) -> Result<()> {
        let door = how.open(path.as_ref())?;
        self.receive(Reception::open(door, self.link())?);
        Ok(())
    }
}

impl ManagerClient {
    /// Connects to a manager of another run of this program, which [listens](Manager::listen) at
    /// `path`. What the client makes and finds is used as if the manager were this process's, also
    /// by processes that this one starts.
    ///
    /// The server is trusted as a parent is: results, and handles in them, are believed. So by
    /// itself a client speaks with servers of its own user only.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Manager, ManagerClient};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let manager = Manager::start()?;
    /// manager.root()?.set("limit", 10_u32)?;
    /// manager.listen(&path)?;
    /// // Another run of this program:
    /// let client = ManagerClient::connect(&path)?;
    /// assert_eq!(client.root()?.get::<u32>("limit")?, Some(10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`connect`](crate::connect()). A listener of another program, or of another build
    /// of this one, is refused, as functions have other addresses there. One that tells of a server
    /// which cannot be is [`Corrupt`](ErrorKind::Corrupt).
    pub fn connect(path: impl AsRef<Path>) -> Result<Self> {
        Self::connect_with(path, &Connector::new())
    }

    /// As [`connect`](Self::connect), with a key, a time-out, or to other users.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Manager, ManagerClient};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let manager = Manager::start()?;
    /// manager.listen(&path)?;
    /// // Another run of this program:
    /// let hurry = Connector::new().timeout(std::time::Duration::from_secs(5));
    /// assert!(ManagerClient::connect_with(&path, &hurry)?.root()?.names()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect).
    pub fn connect_with<C>(path: impl AsRef<Path>, how: &Connector<C>) -> Result<Self> {
        let (bytes, fds) = how.fetch(path.as_ref(), &terms())?;
        let Introduced(link) = transfer::unpack(&bytes, fds)?;
        let client = Self::new(link);
        client.ping()?;
        Ok(client)
    }
}
