//! The public face of the connecting side.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use crate::channel::Connection;
use crate::error::Result;
use crate::sys::clock::Deadline;
use crate::transfer;
use crate::transfer::codec::{Codec, Plain, Serde};

use super::key::AuthKey;
use super::knock::{Brought, Manner, knock};
use super::terms::{Terms, Users};

/// A listener that is not there in this time has something else to do, or hangs.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to a [`Listener`](crate::Listener) at `path`, and gives this side's end of a new pipe:
/// it sends `Out` and receives `In`, so the listener accepts a `Connection<In, Out>`.
///
/// It takes 10 seconds at the most, speaks only with listeners of the same user, and has no key;
/// [`Connector`] is for the rest.
///
/// # Examples
/// ```
/// use multiproc::{Listener, connect};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("answers");
/// let listener = Listener::bind(&path)?;
/// let client = std::thread::spawn(move || {
///     let mut connection = connect::<String, usize>(&path)?;
///     connection.send("how long is this?".to_owned())?;
///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(connection.recv()?)
/// });
/// let (mut connection, peer) = listener.accept::<usize, String>()?;
/// assert_eq!(peer.pid, std::process::id());
/// let question = connection.recv()?;
/// connection.send(question.len())?;
/// assert_eq!(client.join().unwrap().unwrap(), 17);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// - [`Refused`](crate::ErrorKind::Refused): one of the two does not want the other: it is of
///   another user, has another key, or sends other messages; the message says what both have. The
///   listener hears of it too.
/// - [`Disconnected`](crate::ErrorKind::Disconnected): nobody listens there any more, or the
///   listener left in the middle of the handshake.
/// - [`Timeout`](crate::ErrorKind::Timeout): nobody accepted in time.
/// - [`Misuse`](crate::ErrorKind::Misuse): there is something else than a socket, or a socket of
///   another kind.
/// - [`Os`](crate::ErrorKind::Os): there is no such file, or it may not be opened.
/// - [`Limit`](crate::ErrorKind::Limit), [`Memory`](crate::ErrorKind::Memory): there is no room.
#[doc(alias = "Client")]
#[doc(alias = "multiprocessing.connection.Client")]
pub fn connect<Out, In>(path: impl AsRef<Path>) -> Result<Connection<Out, In>>
where
    Serde: Codec<Out> + Codec<In>,
{
    Connector::new().connect(path)
}

/// How to connect to a [`Listener`](crate::Listener).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use multiproc::{AuthKey, Connector, Listener, Pipe};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("numbers");
/// let key = AuthKey::new("a secret of both programs, long and random")?;
/// let listener = Listener::builder().pipe(Pipe::builder().plain()).key(key.clone()).bind(&path)?;
/// let client = std::thread::spawn(move || {
///     let mut connection = Connector::new()
///         .plain()
///         .key(key)
///         .timeout(Duration::from_secs(60))
///         .connect::<u64, u64>(&path)?;
///     connection.send(42)?;
///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
/// });
/// let (mut connection, _) = listener.accept::<u64, u64>()?;
/// assert_eq!(connection.recv()?, 42);
/// # client.join().unwrap().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a connector does nothing before `connect`"]
pub struct Connector<C = Serde> {
    key: Option<AuthKey>,
    users: Users,
    timeout: Duration,
    codec: PhantomData<fn() -> C>,
}

impl Connector {
    /// Connects as [`connect`] does, unless it is told otherwise.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let listener = Listener::bind(&path)?;
    /// # let path = path.clone();
    /// let client = std::thread::spawn(move || Connector::new().connect::<u8, u8>(path));
    /// let (mut connection, _) = listener.accept::<u8, u8>()?;
    /// client.join().unwrap()?.send(7)?;
    /// assert_eq!(connection.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[allow(clippy::new_without_default, reason = "it is begun, not a value")]
    pub fn new() -> Self {
        Self { key: None, users: Users::default(), timeout: TIMEOUT, codec: PhantomData }
    }
}

impl<C> Connector<C> {
    /// Messages are plain values ([`bytemuck::Pod`]); the listener must say the same.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, Pipe};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let listener = Listener::builder().pipe(Pipe::builder().plain()).bind(&path)?;
    /// let client = std::thread::spawn(move || Connector::new().plain().connect::<u64, u64>(path));
    /// let (mut connection, _) = listener.accept::<u64, u64>()?;
    /// client.join().unwrap()?.send(7)?;
    /// assert_eq!(connection.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn plain(self) -> Connector<Plain> {
        self.codec()
    }

    /// Messages are encoded by `D`; the listener must say the same.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, Pipe, Plain};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let listener = Listener::builder().pipe(Pipe::builder().codec::<Plain>()).bind(&path)?;
    /// let connector = Connector::new().codec::<Plain>();
    /// let client = std::thread::spawn(move || connector.connect::<u64, u64>(path));
    /// # listener.accept::<u64, u64>()?;
    /// assert!(client.join().unwrap().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn codec<D>(self) -> Connector<D> {
        let Self { key, users, timeout, .. } = self;
        Connector { key, users, timeout, codec: PhantomData }
    }

    /// Proves to know `key`, and wants proof that the listener does. Both prove also that they see
    /// one another as the users that they are: see [`Listener`](crate::Listener) on user
    /// namespaces.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{AuthKey, Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let key = || AuthKey::new("a secret of both");
    /// let listener = Listener::builder().key(key()?).bind(&path)?;
    /// let connector = Connector::new().key(key()?);
    /// let client = std::thread::spawn(move || connector.connect::<u8, u8>(path));
    /// listener.accept::<u8, u8>()?;
    /// assert!(client.join().unwrap().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "authkey")]
    #[doc(alias = "auth_key")]
    pub fn key(mut self, key: AuthKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Speaks also with a listener of this user: who listens is the one who *began* to, whoever has
    /// the socket by now.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let service = 999; // the user of the program that listens
    /// let connector = Connector::new().allow_user(service);
    /// let error = connector.connect::<u8, u8>(&path).unwrap_err();
    /// assert_eq!(error.kind(), multiproc::ErrorKind::Os); // it does not run
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allow_user(mut self, uid: u32) -> Self {
        self.users.allow(uid);
        self
    }

    /// Speaks with a listener of any user. Use a [`key`](Self::key) then.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{AuthKey, Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let key = || AuthKey::new("a secret of both");
    /// let listener = Listener::builder().key(key()?).allow_all_users().bind(&path)?;
    /// let connector = Connector::new().key(key()?).allow_all_users();
    /// let client = std::thread::spawn(move || connector.connect::<u8, u8>(path));
    /// # listener.accept::<u8, u8>()?;
    /// assert!(client.join().unwrap().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allow_all_users(mut self) -> Self {
        self.users.allow_all();
        self
    }

    /// How long it may take, the wait for a listener that has no time included: 10 s by default.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let _listener = Listener::bind(&path)?; // and nobody accepts
    /// let connector = Connector::new().timeout(std::time::Duration::from_millis(10));
    /// let error = connector.connect::<u8, u8>(&path).unwrap_err();
    /// assert_eq!(error.kind(), multiproc::ErrorKind::Timeout);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Connects. See [`connect`].
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let listener = Listener::bind(&path)?;
    /// let client = std::thread::spawn(move || Connector::new().connect::<u8, String>(path));
    /// let (mut connection, _) = listener.accept::<String, u8>()?;
    /// connection.send("hello".to_owned())?;
    /// assert_eq!(client.join().unwrap()?.recv()?, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`connect`].
    pub fn connect<Out, In>(&self, path: impl AsRef<Path>) -> Result<Connection<Out, In, C>>
    where
        C: Codec<Out> + Codec<In>,
    {
        let (bytes, fds) = self.fetch(path.as_ref(), &Terms::of::<Out, In, C>())?;
        transfer::unpack(&bytes, fds)
    }

    /// Fetches a parcel from a door.
    pub(crate) fn fetch(&self, path: &Path, terms: &Terms) -> Result<Brought> {
        let until = Deadline::after(self.timeout);
        knock(path, terms, &Manner { key: self.key.as_ref(), users: &self.users, until })
    }
}
