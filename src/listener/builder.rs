//! How a listener is made.

use std::path::Path;
use std::time::Duration;

use crate::channel::{Pipe, PipeBuilder};
use crate::error::Result;
use crate::transfer::codec::Serde;

use super::door::{Door, Rules};
use super::key::AuthKey;
use super::listener::Listener;
use super::terms::Users;

/// An honest one is through in a millisecond; one that was stopped in the middle need not hurry.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a [`Listener`] is to be made; begun by [`Listener::builder`].
///
/// # Examples
/// A listener for anybody who knows the key, whose connections carry plain numbers:
///
/// ```
/// use multiproc::{AuthKey, Listener, Pipe};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("numbers");
/// let listener = Listener::builder()
///     .pipe(Pipe::builder().plain().slots(64))
///     .key(AuthKey::new("a secret of both programs, long and random")?)
///     .allow_all_users()
///     .bind(&path)?;
/// assert_eq!(listener.path(), path);
/// assert!(listener.try_accept::<u64, u64>()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "nobody listens before `bind`"]
pub struct ListenerBuilder<C = Serde> {
    pipe: PipeBuilder<C>,
    rules: Rules,
}

impl ListenerBuilder {
    pub(super) fn new() -> Self {
        let rules = Rules { key: None, users: Users::default(), patience: PATIENCE };
        Self { pipe: Pipe::builder(), rules }
    }
}

impl<C> ListenerBuilder<C> {
    /// What the pipes of its connections are like: their codec and their capacity.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, Pipe};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let pipe = Pipe::builder().plain().slots(4);
    /// let listener = Listener::builder().pipe(pipe).bind(&path)?;
    /// let client = std::thread::spawn(move || Connector::new().plain().connect::<u64, u64>(path));
    /// let (mut connection, _) = listener.accept::<u64, u64>()?;
    /// # let _client = client.join().unwrap()?;
    /// (0..4).try_for_each(|number| connection.try_send(number))?;
    /// assert!(connection.try_send(4).unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pipe<D>(self, pipe: PipeBuilder<D>) -> ListenerBuilder<D> {
        ListenerBuilder { pipe, rules: self.rules }
    }

    /// Lets in who proves to know `key`, and proves to know it. Whoever has none is refused.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{AuthKey, Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let listener = Listener::builder().key(AuthKey::new("a secret of both")?).bind(&path)?;
    /// let stranger = std::thread::spawn(move || connect::<u8, u8>(path));
    /// assert_eq!(listener.accept::<u8, u8>().unwrap_err().kind(), multiproc::ErrorKind::Refused);
    /// assert!(stranger.join().unwrap().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "authkey")]
    #[doc(alias = "auth_key")]
    pub fn key(mut self, key: AuthKey) -> Self {
        self.rules.key = Some(key);
        self
    }

    /// Lets in also this user. The socket is then open to all (mode 0666), and whoever is not
    /// allowed is refused when he has connected.
    ///
    /// In a user namespace the kernel shows every user that has no number there as the overflow
    /// user (65534, nobody); where that is allowed, or is the listener's own, so are all of those.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// let customer = 1000; // a user of this machine
    /// let _listener = Listener::builder().allow_user(customer).bind(&path)?;
    /// assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o666);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allow_user(mut self, uid: u32) -> Self {
        self.rules.users.allow(uid);
        self
    }

    /// Lets in every user of the machine. Use a [`key`](Self::key) then.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{AuthKey, Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let key = AuthKey::new("a secret of everybody who may come")?;
    /// let listener = Listener::builder().allow_all_users().key(key).bind(&path)?;
    /// assert!(listener.try_accept::<u8, u8>()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allow_all_users(mut self) -> Self {
        self.rules.users.allow_all();
        self
    }

    /// How long a handshake may take, from when it is begun to be served: 5 s by default.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let hurry = std::time::Duration::from_millis(10);
    /// let listener = Listener::builder().handshake_timeout(hurry).bind(&path)?;
    /// // Somebody connects, and says nothing.
    /// # use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
    /// # let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
    /// # let silent = socket::socket(family, kind, SockFlag::empty(), None)?;
    /// # socket::connect(std::os::fd::AsRawFd::as_raw_fd(&silent), &UnixAddr::new(&path)?)?;
    /// let error = listener.accept::<u8, u8>().unwrap_err();
    /// assert_eq!(error.kind(), multiproc::ErrorKind::Refused);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.rules.patience = timeout;
        self
    }

    /// Listens at `path`.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let listener = Listener::builder().bind(&path)?;
    /// assert_eq!(listener.path(), path);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Listener::bind`].
    pub fn bind(self, path: impl AsRef<Path>) -> Result<Listener<C>> {
        let door = Door::open(path.as_ref(), self.rules)?;
        Ok(Listener::new(door, self.pipe))
    }

    /// Opens a door for something else than connections.
    pub(crate) fn open(self, path: &Path) -> Result<Door> {
        Door::open(path, self.rules)
    }
}
