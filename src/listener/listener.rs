//! The public face of the listening side.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use crate::channel::{Connection, PipeBuilder};
use crate::error::Result;
use crate::sys::clock::Deadline;
use crate::transfer;
use crate::transfer::codec::{Codec, Serde};

use super::builder::ListenerBuilder;
use super::door::Door;
use super::terms::{PeerCred, Terms};

/// A place in the file system where programs that were started apart, and perhaps built apart,
/// [connect](crate::connect()) and get one end of a pipe.
///
/// What both sides are told to exchange is compared when they connect: the codecs, and the names
/// and sizes of the types, without the paths that lead to them. Of types that serde carries, the
/// fields are compared as well, see [`Codec::identity`]; of others they are not. Two programs share
/// the types by sharing a crate or a file. The connection is a plain
/// [`Connection`]: values and bytes go through shared memory, and handles of any kind may be sent
/// through it. What names functions of the program stays within one family of processes: a task of
/// a pool, a call of a hosted object; see [`ManagerClient::connect`](crate::ManagerClient::connect)
/// for the latter.
///
/// Each pipe that it makes lies in memory of its own: whoever connects sees that, and what is sent
/// to it, and nothing else. A handle of a small object, as a lock or a pipe, comes with the *arena*
/// that the object lies in, where other small objects of this process are.
///
/// The socket at [`path`](Self::path) is for its user alone, unless the builder allows others. What
/// a dead listener left there is taken over, a living one is an error, and nothing that is not a
/// socket is ever removed. Dropping the listener removes it; connections that were accepted stay.
///
/// **Whoever is slow or hostile is in nobody's way.** All who have come are served at the same
/// time, each has a few seconds and a few kilobytes for the handshake, and connections are handed
/// out in the order in which handshakes end. Where a crowd comes, 64 may be silent in the middle of
/// it; then those go who are of the user, and of the process, that has the most there. Only who is
/// let in can have `accept` end with a connection, but whoever can open the socket can have it end
/// with an error, so call it again. This takes place in `accept`, in whatever thread that is
/// called; meanwhile others wait to be served, and there is no thread in the background. One
/// listener accepts one type of connections: who comes while an `accept` of other types is being
/// called is refused.
///
/// **A key is as good as the users at both ends.** Both prove that they know it *and* see one
/// another as the users that they are, so nobody of a third user, whom both admit, can stand
/// between them and pass on what they say. Where the two are in user namespaces that show them
/// other numbers of one another, they do not come together with a key.
///
/// A copy in a forked process (fork(2)) accepts nobody, but keeps the socket open as long as it
/// runs. So where the process of the listener is killed, the place stays taken, and whoever
/// connects waits until his time is up, as does who was in the middle of it.
///
/// # Examples
/// ```
/// use multiproc::{Connector, ErrorKind, Listener};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("echo");
/// let listener = Listener::bind(&path)?;
/// # let connecting = std::thread::spawn({
/// #     let path = path.clone();
/// #     move || multiproc::connect::<String, String>(path).map(|mut one| one.send("hi".into()))
/// # });
/// // In other programs: multiproc::connect::<String, String>(path)
/// loop {
///     match listener.accept::<String, String>() {
///         Ok((mut connection, peer)) => {
///             println!("{} says {}", peer, connection.recv()?);
///             # drop(connecting);
///             # break;
///         }
///         // One who was not let in. The others are still there.
///         Err(error) if error.kind() == ErrorKind::Refused => eprintln!("{error}"),
///         Err(error) => return Err(error.into()),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "multiprocessing.connection.Listener")]
#[must_use = "dropping a listener removes its socket"]
pub struct Listener<C = Serde> {
    door: Door,
    pipe: PipeBuilder<C>,
}

impl Listener {
    /// Listens at `path`, a place for a socket in a folder that is there.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let listener = Listener::bind(&path)?;
    /// assert_eq!(Listener::bind(&path).unwrap_err().kind(), multiproc::ErrorKind::InUse);
    /// drop(listener);
    /// assert!(!path.exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - [`InUse`](crate::ErrorKind::InUse): somebody listens there, or there is something else
    ///   than a socket.
    /// - [`Limit`](crate::ErrorKind::Limit): the name is longer than some 85 bytes in a path that
    ///   is longer than 107, or file descriptors have run out.
    /// - [`Os`](crate::ErrorKind::Os): the folder is not there, or may not be written to.
    /// - [`Timeout`](crate::ErrorKind::Timeout): others keep the folder locked (flock(2)).
    #[doc(alias = "address")]
    pub fn bind(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().bind(path)
    }

    /// Begins to say what the listener is to be like.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// use std::time::Duration;
    ///
    /// let hurry = Duration::from_secs(1);
    /// let listener = Listener::builder().handshake_timeout(hurry).bind(&path)?;
    /// assert!(listener.try_accept::<u8, u8>()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder::new()
    }
}

impl<C> Listener<C> {
    pub(super) fn new(door: Door, pipe: PipeBuilder<C>) -> Self {
        Self { door, pipe }
    }

    /// Waits for somebody to connect, and gives this side's end of a new pipe with him, which sends
    /// `Out` and receives `In`, and who he is.
    ///
    /// He may be gone by then: the connection says so when it is used.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let listener = Listener::bind(&path)?;
    /// let client = std::thread::spawn(move || connect::<u8, u8>(path));
    /// let (mut connection, peer) = listener.accept::<u8, u8>()?;
    /// assert_eq!(peer.pid, std::process::id());
    /// # client.join().unwrap()?.send(7)?;
    /// # assert_eq!(connection.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - [`Refused`](crate::ErrorKind::Refused): somebody was not let in, and this says who and
    ///   why: he is of another user, has another key, exchanges other messages, speaks otherwise,
    ///   or was too slow. Call again for the next one: whoever is through is given first, and who
    ///   was refused meanwhile is told by calls to come. Whoever just went away is no error.
    /// - [`Limit`](crate::ErrorKind::Limit), [`Memory`](crate::ErrorKind::Memory): there is no room
    ///   for one more connection.
    /// - [`Forked`](crate::ErrorKind::Forked): this is a copy in a forked process.
    pub fn accept<Out, In>(&self) -> Result<(Connection<Out, In, C>, PeerCred)>
    where
        C: Codec<Out> + Codec<In>,
    {
        loop {
            if let Some(accepted) = self.accept_until(Some(Deadline::NEVER))? {
                return Ok(accepted);
            }
        }
    }

    /// As [`accept`](Self::accept), without waiting: `None` if nobody is through with the
    /// handshake. It takes two or three calls until one is, as he has to answer in between.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let listener = Listener::bind(&path)?;
    /// assert!(listener.try_accept::<u8, u8>()?.is_none());
    /// let client = std::thread::spawn(move || connect::<u8, u8>(path));
    /// let (mut connection, _) = loop {
    ///     match listener.try_accept::<u8, u8>()? {
    ///         Some(accepted) => break accepted,
    ///         None => std::thread::yield_now(), // or whatever else there is to do
    ///     }
    /// };
    /// # client.join().unwrap()?.send(7)?;
    /// # assert_eq!(connection.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`accept`](Self::accept).
    #[allow(clippy::type_complexity, reason = "as `accept`, or nothing")]
    pub fn try_accept<Out, In>(&self) -> Result<Option<(Connection<Out, In, C>, PeerCred)>>
    where
        C: Codec<Out> + Codec<In>,
    {
        self.accept_until(None)
    }

    /// As [`accept`](Self::accept), waiting at most `timeout`; `None` if nobody came.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// let listener = Listener::bind(&path)?;
    /// let nobody = listener.accept_timeout::<u8, u8>(std::time::Duration::from_millis(5))?;
    /// assert!(nobody.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`accept`](Self::accept).
    #[allow(clippy::type_complexity, reason = "as `accept`, or nothing")]
    pub fn accept_timeout<Out, In>(
        &self,
        timeout: Duration,
    ) -> Result<Option<(Connection<Out, In, C>, PeerCred)>>
    where
        C: Codec<Out> + Codec<In>,
    {
        self.accept_until(Some(Deadline::after(timeout)))
    }

    /// The place, as it was given.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Connector, Listener, connect};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("door");
    /// assert_eq!(Listener::bind(&path)?.path(), path);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn path(&self) -> &Path {
        self.door.path()
    }

    #[allow(clippy::type_complexity, reason = "as `accept`, or nothing")]
    fn accept_until<Out, In>(
        &self,
        until: Option<Deadline>,
    ) -> Result<Option<(Connection<Out, In, C>, PeerCred)>>
    where
        C: Codec<Out> + Codec<In>,
    {
        self.door.accept(&Terms::of::<Out, In, C>(), until, || {
            let (ours, theirs) = self.pipe.clone().apart().duplex::<Out, In>()?;
            Ok((transfer::pack(&theirs)?, ours))
        })
    }
}

impl<C> AsFd for Listener<C> {
    /// Readable when somebody knocks, or has said something since: then
    /// [`try_accept`](Self::try_accept) has something to do, until it gives `None`.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.door.as_fd()
    }
}

impl<C> fmt::Debug for Listener<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("path", &self.path()).finish_non_exhaustive()
    }
}
