//! Messages as bytes, received: copied out, or looked at where they lie.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::error::{Cause, RecvError, Way};
use crate::error::{Error, ErrorKind};
use crate::raw::frame::FrameView;
use crate::sys::clock::Deadline;
use crate::transfer::codec::{Codec, Framed};

use super::super::connection::{Connection, one_way};
use super::super::inlet::Inlet;

impl<Out, In, C: Codec<In> + Framed> Connection<Out, In, C> {
    /// Receives one message as bytes, waiting until there is one.
    ///
    /// # Examples
    ///
    /// A message of values is received as the bytes that the codec made of it:
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<String>()?;
    /// here.send("hello".to_owned())?;
    /// assert_eq!(there.recv_bytes()?, b"\x05hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`is_disconnected`](RecvError::is_disconnected) at the end. If there is no memory for the
    /// message, it is passed over.
    pub fn recv_bytes(&mut self) -> Result<Vec<u8>, RecvError> {
        self.recv_bytes_until(Some(Deadline::NEVER))
    }

    /// Receives one message as bytes if there is one now.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<()>()?;
    /// assert!(there.try_recv_bytes().unwrap_err().is_empty());
    /// here.send_bytes(b"hello")?;
    /// assert_eq!(there.try_recv_bytes()?, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv_bytes`](Self::recv_bytes); [`is_empty`](RecvError::is_empty) if there is none.
    pub fn try_recv_bytes(&mut self) -> Result<Vec<u8>, RecvError> {
        self.recv_bytes_until(None)
    }

    /// Receives one message as bytes, waiting at most `timeout` for one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Pipe;
    ///
    /// let (here, mut there) = Pipe::simplex::<()>()?;
    /// assert!(there.recv_bytes_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// drop(here);
    /// assert!(there.recv_bytes_timeout(Duration::MAX).unwrap_err().is_disconnected());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv_bytes`](Self::recv_bytes); [`is_timeout`](RecvError::is_timeout) if none came.
    pub fn recv_bytes_timeout(&mut self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.recv_bytes_until(Some(Deadline::after(timeout)))
    }

    /// Receives one message into the front of `buffer`, waiting until there is one; says how long
    /// it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<()>()?;
    /// here.send_bytes(b"hello")?;
    /// let mut buffer = [0; 8];
    /// let error = there.recv_bytes_into(&mut buffer[..4]).unwrap_err();
    /// assert!(error.to_string().contains("a message of 5 bytes for a buffer of 4"));
    /// let length = there.recv_bytes_into(&mut buffer)?;
    /// assert_eq!(&buffer[..length], b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv_bytes`](Self::recv_bytes). If the buffer is too short, the error says how long it
    /// must be, and the message stays in the pipe.
    #[doc(alias = "BufferTooShort")]
    pub fn recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.recv_bytes_into_by(buffer, Inlet::receive_into)
    }

    /// As [`recv_bytes_into`](Self::recv_bytes_into), if there is a message now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Pipe;
    /// let (mut here, mut there) = Pipe::duplex::<(), ()>()?;
    /// let mut buffer = [0; 5];
    /// assert!(there.try_recv_bytes_into(&mut buffer).unwrap_err().is_empty());
    /// here.send_bytes(b"hello")?;
    /// assert_eq!(there.try_recv_bytes_into(&mut buffer)?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv_bytes_into`](Self::recv_bytes_into); [`is_empty`](RecvError::is_empty) if not.
    pub fn try_recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.recv_bytes_into_by(buffer, |inlet, buffer| inlet.copy_into(buffer, None))
    }

    /// As [`recv_bytes_into`](Self::recv_bytes_into), waiting at most `timeout` for a message.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Pipe;
    /// # use std::time::Duration;
    /// let (mut here, mut there) = Pipe::duplex::<(), ()>()?;
    /// here.send_bytes(b"hello")?;
    /// let mut buffer = [0; 100];
    /// assert_eq!(there.recv_bytes_into_timeout(&mut buffer, Duration::from_secs(1))?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv_bytes_into`](Self::recv_bytes_into); [`is_timeout`](RecvError::is_timeout) if not.
    pub fn recv_bytes_into_timeout(
        &mut self,
        buffer: &mut [u8],
        timeout: Duration,
    ) -> Result<usize, RecvError> {
        let until = Some(Deadline::after(timeout));
        self.recv_bytes_into_by(buffer, |inlet, buffer| inlet.copy_into(buffer, until))
    }

    /// Looks at the next message where it lies, waiting until there is one. It stays in the pipe
    /// until it is [consumed](Message::consume).
    ///
    /// The bytes are in shared memory. The sender has given them up; one that is broken enough to
    /// write to them all the same changes what is read here.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<()>()?;
    /// here.send_bytes(b"hello")?;
    /// assert!(there.peek()?.starts_with(b"he"));
    /// // It is still there.
    /// assert_eq!(there.recv_bytes()?, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv_bytes`](Self::recv_bytes).
    #[inline]
    pub fn peek(&mut self) -> Result<Message<'_, In, C>, RecvError> {
        self.peek_until(Some(Deadline::NEVER))
    }

    /// Looks at the next message where it lies, if there is one now.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<()>()?;
    /// assert!(there.try_peek().unwrap_err().is_empty());
    /// here.send_bytes(b"hello")?;
    /// assert_eq!(&*there.try_peek()?, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`peek`](Self::peek); [`is_empty`](RecvError::is_empty) if there is none.
    #[inline]
    pub fn try_peek(&mut self) -> Result<Message<'_, In, C>, RecvError> {
        self.peek_until(None)
    }

    /// Looks at the next message where it lies, waiting at most `timeout` for one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Pipe;
    /// # use std::time::Duration;
    /// let (mut here, mut there) = Pipe::duplex::<(), ()>()?;
    /// here.send_bytes(b"hello")?;
    /// assert_eq!(&*there.peek_timeout(Duration::from_secs(1))?, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`peek`](Self::peek); [`is_timeout`](RecvError::is_timeout) if none came.
    pub fn peek_timeout(&mut self, timeout: Duration) -> Result<Message<'_, In, C>, RecvError> {
        self.peek_until(Some(Deadline::after(timeout)))
    }

    #[inline]
    fn peek_until(&mut self, until: Option<Deadline>) -> Result<Message<'_, In, C>, RecvError> {
        let Some(inlet) = &mut self.inlet else {
            return Err(RecvError::new(Way::Pipe, one_way("receive")));
        };
        let (frame, flags) = inlet.peek(until).map_err(|cause| RecvError::new(Way::Pipe, cause))?;
        // Where the payload ends is said in shared memory, so it is asked once.
        let length = inlet.bytes(frame, flags).len();
        Ok(Message { inlet, frame, flags, length })
    }

    fn recv_bytes_into_by(
        &mut self,
        buffer: &mut [u8],
        receive: impl FnOnce(&mut Inlet<In, C>, &mut [u8]) -> Result<usize, Cause>,
    ) -> Result<usize, RecvError> {
        let Some(inlet) = &mut self.inlet else {
            return Err(RecvError::new(Way::Pipe, one_way("receive")));
        };
        let length = receive(inlet, buffer).map_err(|cause| RecvError::new(Way::Pipe, cause))?;
        if length <= buffer.len() {
            return Ok(length);
        }
        let what = format!("a message of {length} bytes for a buffer of {}", buffer.len());
        Err(RecvError::new(Way::Pipe, Error::new(ErrorKind::Limit, what).into()))
    }

    fn recv_bytes_until(&mut self, until: Option<Deadline>) -> Result<Vec<u8>, RecvError> {
        let Some(inlet) = &mut self.inlet else {
            return Err(RecvError::new(Way::Pipe, one_way("receive")));
        };
        take_bytes(inlet, until).map_err(|cause| RecvError::new(Way::Pipe, cause))
    }
}

fn take_bytes<In, C: Codec<In>>(
    inlet: &mut Inlet<In, C>,
    until: Option<Deadline>,
) -> Result<Vec<u8>, Cause> {
    let flags = inlet.wait_for_message(until)?;
    let mut bytes = Vec::new();
    if inlet.has_handles(flags) {
        // A typed message: its handles are closed, its bytes are as good as any.
        let frame = inlet.frame()?;
        bytes.extend_from_slice(inlet.bytes(frame, flags));
        inlet.drop_message(flags)?;
    } else {
        inlet.take(&mut bytes)?;
    }
    Ok(bytes)
}

/// A message where it lies in the pipe. Dropped, it stays there.
///
/// # Examples
///
/// ```
/// use multiproc::Pipe;
///
/// let (mut here, mut there) = Pipe::simplex::<()>()?;
/// here.send_bytes(b"1 2 3")?;
/// let message = there.peek()?;
/// let words = std::str::from_utf8(&message)?.split(' ');
/// assert_eq!(words.count(), 3);
/// message.consume()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the message stays in the pipe until it is consumed"]
pub struct Message<'a, In, C> {
    inlet: &'a mut Inlet<In, C>,
    frame: Option<FrameView>,
    flags: u8,
    length: usize,
}

impl<In, C: Codec<In>> Message<'_, In, C> {
    /// Takes the message out of the pipe; its room is the sender's again.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Pipe;
    ///
    /// let (mut here, mut there) = Pipe::simplex::<()>()?;
    /// here.send_bytes(b"first")?;
    /// here.send_bytes(b"second")?;
    /// there.peek()?.consume()?;
    /// assert_eq!(&*there.peek()?, b"second");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the pipe is damaged.
    #[inline]
    pub fn consume(self) -> Result<(), RecvError> {
        // A fork in between has made two looks at one message of one.
        let Self { inlet, flags, .. } = self;
        inlet
            .check()
            .and_then(|()| inlet.drop_message(flags))
            .map_err(|cause| RecvError::new(Way::Pipe, cause))
    }
}

impl<In, C> Deref for Message<'_, In, C> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let whole = self.inlet.bytes(self.frame, 0);
        whole.get(..self.length).unwrap_or(whole)
    }
}

impl<In, C> fmt::Debug for Message<'_, In, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").finish_non_exhaustive()
    }
}
