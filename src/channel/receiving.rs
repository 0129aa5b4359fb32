//! What a connection receives: one message, many at once, or one after the other until the end.

use std::marker::PhantomData;
use std::time::Duration;

use crate::error::{RecvError, Way};
use crate::sys::clock::Deadline;
use crate::transfer::codec::Codec;

use super::connection::{Connection, one_way};

impl<Out, In, C: Codec<In>> Connection<Out, In, C> {
    /// Receives a message, waiting until there is one.
    ///
    /// # Examples
    ///
    /// What was sent before the other end was closed is still received:
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<u64>()?;
    /// here.send(7)?;
    /// drop(here);
    /// assert_eq!(there.recv()?, 7);
    /// assert!(there.recv().unwrap_err().is_disconnected());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`is_disconnected`](RecvError::is_disconnected) when the other end is gone and everything it
    /// sent was received. An error of another kind if the bytes are not those of an `In`; that
    /// message is used up, the next one is not affected.
    #[inline]
    pub fn recv(&mut self) -> Result<In, RecvError> {
        self.recv_until(Some(Deadline::NEVER))
    }

    /// Receives a message if there is one now.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<u64>()?;
    /// assert!(there.try_recv().unwrap_err().is_empty());
    /// here.send(7)?;
    /// assert_eq!(there.try_recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv); [`is_empty`](RecvError::is_empty) if there is none.
    #[inline]
    pub fn try_recv(&mut self) -> Result<In, RecvError> {
        self.recv_until(None)
    }

    /// Receives a message, waiting at most `timeout` for one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<u64>()?;
    /// assert!(there.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// here.send(7)?;
    /// assert_eq!(there.recv_timeout(Duration::from_millis(1))?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv); [`is_timeout`](RecvError::is_timeout) if none came in time.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<In, RecvError> {
        self.recv_until(Some(Deadline::after(timeout)))
    }

    /// Receives at least one message and at most `most`, appending them to `batch`; says how many.
    ///
    /// Waits for the first, and takes with it what is there by then.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<u64>()?;
    /// here.send_batch(&mut vec![1, 2, 3])?;
    /// let mut batch = Vec::new();
    /// assert_eq!(there.recv_batch(&mut batch, 2)?, 2);
    /// assert_eq!(there.recv_batch(&mut batch, 2)?, 1);
    /// assert_eq!(batch, [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv), if there is not even one. An error behind the first message is
    /// reported by the next call.
    pub fn recv_batch(&mut self, batch: &mut Vec<In>, most: usize) -> Result<usize, RecvError> {
        let Some(inlet) = &mut self.inlet else {
            return Err(RecvError::new(Way::Pipe, one_way("receive")));
        };
        let deadline = Some(Deadline::NEVER);
        let received = if C::SHAPE.is_plain() {
            inlet.receive_slots(batch, most, deadline)
        } else {
            inlet.receive_frames(batch, most, deadline)
        };
        received.map_err(|cause| RecvError::new(Way::Pipe, cause))
    }

    /// Whether [`recv`](Self::recv) would return at once, waiting up to `timeout` for that to
    /// become true. It is true at the end as well, when `recv` reports that the other side is
    /// gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<u64>()?;
    /// assert!(!there.poll(Duration::ZERO)?);
    /// here.send(7)?;
    /// assert!(there.poll(Duration::ZERO)?);
    /// assert_eq!(there.recv()?, 7);
    ///
    /// drop(here);
    /// assert!(there.poll(Duration::ZERO)?);
    /// assert!(there.recv().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the pipe is damaged.
    pub fn poll(&mut self, timeout: Duration) -> Result<bool, RecvError> {
        let Some(inlet) = &mut self.inlet else {
            return Err(RecvError::new(Way::Pipe, one_way("receive")));
        };
        let deadline = (!timeout.is_zero()).then(|| Deadline::after(timeout));
        inlet.poll(deadline).map_err(|cause| RecvError::new(Way::Pipe, cause))
    }

    /// Iterates over the messages until the other side is gone, or something else goes wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<u64>()?;
    /// here.send_batch(&mut vec![1, 2, 3])?;
    /// drop(here);
    /// assert_eq!(there.iter().collect::<Vec<_>>(), [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&mut self) -> Iter<'_, Out, In, C> {
        Iter { connection: self, codec: PhantomData }
    }

    #[inline]
    fn recv_until(&mut self, until: Option<Deadline>) -> Result<In, RecvError> {
        let Some(inlet) = &mut self.inlet else {
            return Err(RecvError::new(Way::Pipe, one_way("receive")));
        };
        inlet.receive(until).map_err(|cause| RecvError::new(Way::Pipe, cause))
    }
}

impl<'a, Out, In, C: Codec<In>> IntoIterator for &'a mut Connection<Out, In, C> {
    type Item = In;
    type IntoIter = Iter<'a, Out, In, C>;

    /// As [`iter`](Connection::iter).
    fn into_iter(self) -> Iter<'a, Out, In, C> {
        self.iter()
    }
}

/// The messages of a connection, one after the other. Made by [`Connection::iter`].
///
/// # Examples
///
/// The connection is borrowed, and goes on where the iterator was left:
///
/// ```
/// use multiproc::Pipe;
///
/// let (mut here, mut there) = Pipe::simplex::<u64>()?;
/// here.send_batch(&mut vec![1, 2, 3])?;
/// assert_eq!(there.iter().take(2).collect::<Vec<_>>(), [1, 2]);
/// assert_eq!(there.recv()?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is received before `next`"]
pub struct Iter<'a, Out, In, C> {
    connection: &'a mut Connection<Out, In, C>,
    codec: PhantomData<C>,
}

impl<Out, In, C: Codec<In>> Iterator for Iter<'_, Out, In, C> {
    type Item = In;

    fn next(&mut self) -> Option<In> {
        self.connection.recv().ok()
    }
}
