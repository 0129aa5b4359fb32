//! Messages as bytes, sent: copied in, or built where they will lie.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::error::{SendError, Way};
use crate::sys::clock::Deadline;
use crate::transfer::codec::{Codec, Framed};

use super::super::connection::{Connection, one_way};
use super::super::outlet::Outlet;
use super::super::ring::Draft;

impl<Out, In, C: Codec<Out> + Framed> Connection<Out, In, C> {
    /// Sends bytes as one message, waiting while the pipe is full.
    ///
    /// The other end must receive them as bytes: they are not those of an `Out`.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<()>()?;
    /// here.send_bytes(b"hello")?;
    /// assert_eq!(there.recv_bytes()?, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the other end is gone or the pipe is damaged.
    #[inline]
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError<()>> {
        self.send_bytes_until(bytes, Some(Deadline::NEVER))
    }

    /// Sends bytes as one message if there is room for them now.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, _there) = Pipe::builder().capacity(256).simplex::<()>()?;
    /// here.try_send_bytes(&[1; 100])?;
    /// here.try_send_bytes(&[2; 100])?;
    /// assert!(here.try_send_bytes(&[3; 100]).unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send_bytes`](Self::send_bytes); [`is_full`](SendError::is_full) if there is no room.
    #[inline]
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError<()>> {
        self.send_bytes_until(bytes, None)
    }

    /// Sends bytes as one message, waiting at most `timeout` for room.
    ///
    /// # Examples
    ///
    /// Here nobody reads, so that a part of the message gets into the pipe at the most:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::builder().capacity(256).simplex::<()>()?;
    /// let error = here.send_bytes_timeout(&[7; 1000], Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout());
    /// assert!(there.try_recv_bytes().unwrap_err().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send_bytes`](Self::send_bytes); [`is_timeout`](SendError::is_timeout) if there was no
    /// room in time. A long message of which a part had gone through is dropped by the reader.
    pub fn send_bytes_timeout(
        &mut self,
        bytes: &[u8],
        timeout: Duration,
    ) -> Result<(), SendError<()>> {
        self.send_bytes_until(bytes, Some(Deadline::after(timeout)))
    }

    /// Finds room for a message of up to `length` bytes, to be written where it will be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::duplex::<(), ()>()?;
    /// let mut message = here.reserve(1000)?;
    /// message[..5].copy_from_slice(b"hello");
    /// message.commit(5)?;
    /// assert_eq!(&*there.peek()?, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the other end is gone, or `length` is more than half of the pipe's capacity.
    pub fn reserve(&mut self, length: usize) -> Result<Reserved<'_, Out, C>, SendError<()>> {
        self.reserve_until(length, Some(Deadline::NEVER))
    }

    /// As [`reserve`](Self::reserve), if there is room now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Pipe;
    /// let (mut here, _there) = Pipe::builder().capacity(256).duplex::<(), ()>()?;
    /// here.try_reserve(100)?.commit(100)?;
    /// here.try_reserve(100)?.commit(100)?;
    /// assert!(here.try_reserve(100).unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve); [`is_full`](SendError::is_full) if there is no room.
    pub fn try_reserve(&mut self, length: usize) -> Result<Reserved<'_, Out, C>, SendError<()>> {
        self.reserve_until(length, None)
    }

    /// As [`reserve`](Self::reserve), waiting at most `timeout` for room.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Pipe;
    /// # use std::time::Duration;
    /// let (mut here, mut there) = Pipe::duplex::<(), ()>()?;
    /// here.reserve_timeout(100, Duration::from_secs(1))?.commit(0)?;
    /// assert!(there.recv_bytes()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve); [`is_timeout`](SendError::is_timeout) if there was no room.
    pub fn reserve_timeout(
        &mut self,
        length: usize,
        timeout: Duration,
    ) -> Result<Reserved<'_, Out, C>, SendError<()>> {
        self.reserve_until(length, Some(Deadline::after(timeout)))
    }

    fn reserve_until(
        &mut self,
        length: usize,
        until: Option<Deadline>,
    ) -> Result<Reserved<'_, Out, C>, SendError<()>> {
        let Some(outlet) = &mut self.outlet else {
            return Err(SendError::new(Way::Pipe, (), one_way("send")));
        };
        match outlet.draft(length, until) {
            Ok(draft) => Ok(Reserved { outlet, draft }),
            Err(cause) => Err(SendError::new(Way::Pipe, (), cause)),
        }
    }

    #[inline]
    fn send_bytes_until(
        &mut self,
        bytes: &[u8],
        until: Option<Deadline>,
    ) -> Result<(), SendError<()>> {
        let Some(outlet) = &mut self.outlet else {
            return Err(SendError::new(Way::Pipe, (), one_way("send")));
        };
        outlet.send_bytes(bytes, 0, until).map_err(|cause| SendError::new(Way::Pipe, (), cause))
    }
}

/// Room in a pipe for a message that is being written. Dropped, it sends nothing.
///
/// # Examples
///
/// ```
/// use multiproc::Pipe;
///
/// let (mut here, mut there) = Pipe::simplex::<()>()?;
/// let mut message = here.reserve(5)?;
/// message.copy_from_slice(b"hello");
/// drop(message);
/// assert!(there.try_peek().unwrap_err().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is sent before `commit`"]
pub struct Reserved<'a, Out, C> {
    outlet: &'a mut Outlet<Out, C>,
    draft: Draft,
}

impl<Out, C: Codec<Out>> Reserved<'_, Out, C> {
    /// Sends the first `length` bytes as one message.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<()>()?;
    /// let mut message = here.reserve(20)?;
    /// let mut rest = &mut message[..];
    /// write!(rest, "{}", 1 << 20)?;
    /// let length = 20 - rest.len();
    /// message.commit(length)?;
    /// assert_eq!(there.recv_bytes()?, b"1048576");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the pipe is damaged.
    ///
    /// # Panics
    /// If `length` is more than was reserved.
    pub fn commit(self, length: usize) -> Result<(), SendError<()>> {
        let Self { outlet, draft } = self;
        // A fork in between has made two drafts of one.
        outlet.check_ours().map_err(|cause| SendError::new(Way::Pipe, (), cause))?;
        outlet.commit(draft, length, 0).map_err(|cause| SendError::new(Way::Pipe, (), cause))
    }
}

impl<Out, C> Deref for Reserved<'_, Out, C> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.draft.written()
    }
}

impl<Out, C> DerefMut for Reserved<'_, Out, C> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.draft.bytes()
    }
}

impl<Out, C> fmt::Debug for Reserved<'_, Out, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").field("length", &self.len()).finish()
    }
}
