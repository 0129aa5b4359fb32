//! The public face of a pipe's end.

use std::fmt;
use std::time::Duration;

use crate::error::{Cause, SendError, Way};
use crate::error::{Error, ErrorKind};
use crate::sys::clock::Deadline;
use crate::transfer::codec::{Codec, CodecError, Serde};

use super::inlet::Inlet;
use super::outlet::Outlet;

/// What goes the way that a [`Connection`] does not have. There is no value of it.
///
/// # Examples
///
/// ```
/// use multiproc::{Connection, Nothing, Pipe, Process};
///
/// /// Can only receive: there is no `Nothing` to send.
/// fn sum(mut numbers: Connection<Nothing, u64>) -> u64 {
///     numbers.iter().sum()
/// }
///
/// let (mut here, there) = Pipe::simplex()?;
/// let child = Process::spawn(sum, there)?;
/// here.send_batch(&mut vec![1, 2, 3])?;
/// drop(here);
/// assert_eq!(child.join()?, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nothing {}

/// One end of a pipe: sends `Out`, receives `In`.
///
/// The other end is in another process, in another thread, or not yet anywhere. A connection moves:
/// as an argument or a result of a process, or inside a message of another connection. Whoever has
/// it last closes it by dropping it, or by dying.
///
/// What the other process may do meanwhile: read, send, close, or die, at any instruction. What was
/// sent before it closed or died is received; nothing is received in part or twice. A peer that is
/// stopped, and not dead, is waited for.
///
/// A connection is sent through another one, not through itself nor through its own peer: then
/// only the kernel would hold it, and nobody would hear of its end until some socket is closed.
///
/// The verbs are the same everywhere: the bare verb waits, `try_` never does, `_timeout` waits for
/// so long at the most. A waiting process takes no CPU time to speak of.
///
/// # Examples
///
/// ```
/// use multiproc::{Connection, Pipe, Process};
///
/// fn upper(mut peer: Connection<String, String>) {
///     while let Ok(line) = peer.recv() {
///         if peer.send(line.to_uppercase()).is_err() {
///             return;
///         }
///     }
/// }
///
/// let (mut here, there) = Pipe::duplex::<String, String>()?;
/// let process = Process::spawn(upper, there)?;
/// here.send("hello".to_owned())?;
/// assert_eq!(here.recv()?, "HELLO");
/// drop(here);
/// process.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "multiprocessing.connection.Connection")]
#[must_use = "dropping a connection closes it"]
pub struct Connection<Out, In, C = Serde> {
    pub(super) outlet: Option<Outlet<Out, C>>,
    pub(super) inlet: Option<Inlet<In, C>>,
}

impl<Out, In, C> Connection<Out, In, C> {
    pub(super) fn new(outlet: Option<Outlet<Out, C>>, inlet: Option<Inlet<In, C>>) -> Self {
        Self { outlet, inlet }
    }

    /// Sends what `encode` appends to its bytes, which is an `X`, as one message of a framed pipe.
    pub(crate) fn send_as<X>(
        &mut self,
        until: Deadline,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), Cause> {
        let outlet = self.outlet.as_mut().ok_or_else(|| one_way("send"))?;
        outlet.check()?;
        outlet.send_framed::<X>(Some(until), encode)
    }

    /// Receives what `decode` makes of the bytes of a message of a framed pipe.
    pub(crate) fn recv_as<X>(
        &mut self,
        until: Deadline,
        decode: impl FnOnce(&[u8]) -> Result<X, CodecError>,
    ) -> Result<X, Cause> {
        let inlet = self.inlet.as_mut().ok_or_else(|| one_way("receive"))?;
        inlet.check()?;
        inlet.receive_framed(Some(until), decode)
    }

    /// Takes the two directions apart, so that one thread can send and another receive.
    ///
    /// The direction that a simplex connection does not have stays without a peer.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (here, mut there) = Pipe::duplex::<u64, String>()?;
    /// let (mut numbers, mut words) = here.split();
    /// let sending = std::thread::spawn(move || numbers.send(7));
    /// there.send("seven".to_owned())?;
    /// assert_eq!(words.recv()?, "seven");
    /// assert_eq!(there.recv()?, 7);
    /// sending.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> (Connection<Out, Nothing, C>, Connection<Nothing, In, C>) {
        (Connection::new(self.outlet, None), Connection::new(None, self.inlet))
    }
}

impl<Out, In, C: Codec<Out>> Connection<Out, In, C> {
    /// Sends a message, waiting while the pipe is full.
    ///
    /// It has arrived in the pipe when this returns, and will be received even if this process dies
    /// at the next instruction. A message longer than the pipe streams through it: then this
    /// returns when the reader has most of it.
    ///
    /// # Examples
    ///
    /// What cannot be sent any more comes back:
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<String>()?;
    /// here.send("first".to_owned())?;
    /// assert_eq!(there.recv()?, "first");
    /// drop(there);
    /// let error = here.send("second".to_owned()).unwrap_err();
    /// assert!(error.is_disconnected());
    /// assert_eq!(error.into_inner(), "second");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The value comes back if the other end is gone, the value cannot be encoded, or the pipe is
    /// damaged.
    #[inline]
    pub fn send(&mut self, value: Out) -> Result<(), SendError<Out>> {
        self.send_until(value, Some(Deadline::NEVER))
    }

    /// Sends a message if there is room for it now.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, _there) = Pipe::builder().plain().slots(1).simplex::<u64>()?;
    /// here.try_send(1)?;
    /// let error = here.try_send(2).unwrap_err();
    /// assert!(error.is_full());
    /// assert_eq!(error.into_inner(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`is_full`](SendError::is_full) if there is no room. A message
    /// longer than half of the pipe's capacity never fits; its error says so.
    #[inline]
    pub fn try_send(&mut self, value: Out) -> Result<(), SendError<Out>> {
        self.send_until(value, None)
    }

    /// Sends a message, waiting at most `timeout` for room.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::builder().plain().slots(1).simplex::<u64>()?;
    /// here.send(1)?;
    /// let error = here.send_timeout(2, Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout());
    /// assert_eq!(there.recv()?, 1);
    /// here.send(error.into_inner())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`is_timeout`](SendError::is_timeout) if there was no room in time.
    /// A long message of which a part had gone through is dropped by the reader.
    pub fn send_timeout(&mut self, value: Out, timeout: Duration) -> Result<(), SendError<Out>> {
        self.send_until(value, Some(Deadline::after(timeout)))
    }

    /// Sends all of `batch` in order, waiting while the pipe is full, and leaves it empty.
    ///
    /// Plain values are published as many at a time as there is room for, which costs a fraction of
    /// sending them one by one.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<u64>()?;
    /// let mut batch = vec![1, 2, 3];
    /// here.send_batch(&mut batch)?;
    /// assert!(batch.is_empty());
    /// assert_eq!(there.recv()?, 1);
    ///
    /// drop(there);
    /// batch.extend([4, 5]);
    /// assert!(here.send_batch(&mut batch).unwrap_err().is_disconnected());
    /// assert_eq!(batch, [4, 5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send). What was not sent is still in `batch`, the first of it in front.
    pub fn send_batch(&mut self, batch: &mut Vec<Out>) -> Result<(), SendError<()>> {
        let Some(outlet) = &mut self.outlet else {
            return Err(SendError::new(Way::Pipe, (), one_way("send")));
        };
        let deadline = Some(Deadline::NEVER);
        let (sent, result) = if C::SHAPE.is_plain() {
            outlet.send_slots(batch, deadline)
        } else {
            let mut sent = 0;
            let result = batch.iter().try_for_each(|value| {
                outlet.send(value, deadline)?;
                sent += 1;
                Ok(())
            });
            (sent, result)
        };
        batch.drain(..sent);
        result.map_err(|cause| SendError::new(Way::Pipe, (), cause))
    }

    #[inline]
    fn send_until(&mut self, value: Out, until: Option<Deadline>) -> Result<(), SendError<Out>> {
        let Some(outlet) = &mut self.outlet else {
            return Err(SendError::new(Way::Pipe, value, one_way("send")));
        };
        match outlet.send(&value, until) {
            Ok(()) => Ok(()),
            Err(cause) => Err(SendError::new(Way::Pipe, value, cause)),
        }
    }
}

pub(super) fn one_way(verb: &str) -> Cause {
    let what = format!("{verb} on a connection that does not go this way");
    Error::new(ErrorKind::Misuse, what).into()
}

impl<Out, In, C> fmt::Debug for Connection<Out, In, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("sends", &self.outlet.is_some())
            .field("receives", &self.inlet.is_some())
            .finish_non_exhaustive()
    }
}
